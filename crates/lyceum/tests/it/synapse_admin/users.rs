//! Accounts: made, listed, changed, their sessions and limits; spam of theirs.

use std::collections::BTreeSet;

use serde_json::json;

use super::{Scene, id, keys};

use crate::process::php;

#[test]
fn accounts_are_made_listed_and_changed() {
    let scene = Scene::start();
    let path = format!("/v2/users/{}", php(&id("bob")));
    let body = json!({
        "password": "pass word", "displayname": "Bob", "user_type": "bot",
        "threepids": [{ "medium": "email", "address": "Bob@Example.Org" }],
        "external_ids": [{ "auth_provider": "oidc", "external_id": "4/2" }],
    });
    let made = scene.admin("PUT", &path, &body.to_string());
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(
        made.json()["threepids"][0]["address"],
        json!("bob@example.org")
    );
    assert_eq!(made.json()["external_ids"], body["external_ids"]);
    let bob = scene.server.log_in("bob");
    assert_eq!(
        scene.ok("GET", "/v1/threepid/email/users/bob%40example.org", ""),
        json!({ "user_id": id("bob") })
    );
    assert_eq!(
        scene.ok("GET", "/v1/auth_providers/oidc/users/4%2F2", ""),
        json!({ "user_id": id("bob") })
    );
    // An id that belongs to somebody else.
    let alice = format!("/v2/users/{}", php(&id("alice")));
    let taken = json!({ "external_ids": body["external_ids"] }).to_string();
    assert_eq!(scene.admin("PUT", &alice, &taken).code(), "409 M_UNKNOWN");

    let list = scene.ok("GET", "/v2/users?from=0&limit=2&order_by=name&dir=b", "");
    assert_eq!(
        (&list["total"], &list["next_token"]),
        (&json!(3), &json!("2"))
    );
    assert_eq!(list["users"][0]["name"], json!(id("hsadmin")));
    assert_eq!(
        keys(&list["users"][0]),
        [
            "admin",
            "avatar_url",
            "creation_ts",
            "deactivated",
            "displayname",
            "erased",
            "is_guest",
            "last_seen_ts",
            "locked",
            "name",
            "shadow_banned",
            "suspended",
            "user_type"
        ]
    );
    let names = |query: &str| -> Vec<String> {
        let list = scene.ok("GET", &format!("/v3/users?{query}"), "");
        let users = list["users"].as_array().unwrap();
        users
            .iter()
            .map(|user| user["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names("name=BO"), [id("bob")]);
    assert_eq!(names("admins=true"), [id("hsadmin")]);
    assert_eq!(names("not_user_type=bot"), [id("alice"), id("hsadmin")]);
    assert_eq!(names("not_user_type=&not_user_type=support"), [id("bob")]);
    assert_eq!(names("user_id=alice"), [id("alice")]);

    // Locked, unlocked, closed, opened again.
    assert_eq!(
        scene.ok("PUT", &path, r#"{"locked":true}"#)["locked"],
        json!(true)
    );
    assert_eq!(
        scene
            .client(&bob, "GET", "/account/whoami", &json!({}))
            .code(),
        "401 M_USER_LOCKED"
    );
    assert_eq!(names("locked=true").len(), 3);
    assert_eq!(names(""), [id("alice"), id("hsadmin")]);
    scene.ok("PUT", &path, r#"{"locked":false}"#);
    assert_eq!(
        scene
            .client(&bob, "GET", "/account/whoami", &json!({}))
            .status,
        200
    );
    let closed = scene.ok(
        "POST",
        &format!("/v1/deactivate/{}", php(&id("bob"))),
        r#"{"erase":true}"#,
    );
    assert_eq!(closed, json!({ "id_server_unbind_result": "success" }));
    assert_eq!(names("deactivated=true"), [id("bob")]);
    assert_eq!(scene.ok("GET", "/v2/users", "")["total"], json!(2));
    let again = scene.ok(
        "PUT",
        &path,
        r#"{"deactivated":false,"password":"another pass"}"#,
    );
    assert_eq!(
        (&again["deactivated"], &again["erased"]),
        (&json!(false), &json!(false))
    );

    // Admin, suspended, a new password.
    let admin = format!("/v1/users/{}/admin", php(&id("alice")));
    assert_eq!(scene.ok("GET", &admin, ""), json!({ "admin": false }));
    scene.ok("PUT", &admin, r#"{"admin":true}"#);
    assert_eq!(scene.ok("GET", &admin, ""), json!({ "admin": true }));
    let mine = scene
        .server
        .ask(&scene.alice, "GET", "/_synapse/admin/v2/users", "");
    assert_eq!(mine.status, 200);
    let suspend = format!("/v1/suspend/{}", php(&id("alice")));
    scene.ok("PUT", &suspend, r#"{"suspend":true}"#);
    let made = scene.client(&scene.alice, "POST", "/createRoom", &json!({}));
    assert_eq!(made.code(), "403 M_USER_SUSPENDED");
    scene.ok("PUT", &suspend, r#"{"suspend":false}"#);
    let reset = format!("/v1/reset_password/{}", php(&id("alice")));
    scene.ok("POST", &reset, r#"{"new_password":"pass word"}"#);
    assert_eq!(
        scene
            .client(&scene.alice, "GET", "/account/whoami", &json!({}))
            .code(),
        "401 M_UNKNOWN_TOKEN"
    );
    scene.server.log_in("alice");
    // An end of the account.
    let end = json!({ "user_id": id("alice"), "expiration_ts": 1 }).to_string();
    let alice = scene.server.log_in("alice");
    assert_eq!(
        scene.ok("POST", "/v1/account_validity/validity", &end),
        json!({ "expiration_ts": 1 })
    );
    let who = scene.client(&alice, "GET", "/account/whoami", &json!({}));
    assert_eq!(who.code(), "403 ORG_MATRIX_EXPIRED_ACCOUNT");

    // Ketesa writes so what a table of people to import leaves empty.
    let empty = json!({ "threepids": "", "external_ids": "" }).to_string();
    let carol = format!("/v2/users/{}", php(&id("carol")));
    let made = scene.admin("PUT", &carol, &empty);
    assert_eq!((made.status, &made.json()["threepids"]), (201, &json!([])));
    let odd = json!({ "threepids": { "medium": "email" } }).to_string();
    assert_eq!(
        scene.admin("PUT", &carol, &odd).code(),
        "400 M_MISSING_PARAM"
    );
    // An address of 500 characters is the longest one.
    for (length, status) in [(500, 200), (501, 400)] {
        let address = format!("{:a<length$}", "c@");
        let body = json!({ "threepids": [{ "medium": "email", "address": address }] });
        let put = scene.admin("PUT", &carol, &body.to_string());
        assert_eq!(put.status, status, "{length}: {put:?}");
    }
    // Who is locked is not found by others.
    let search = |term: &str| {
        let body = json!({ "search_term": term });
        let found = scene.client(&scene.admin, "POST", "/user_directory/search", &body);
        found.json()["results"].as_array().unwrap().len()
    };
    assert_eq!(search("carol"), 1);
    scene.ok("PUT", &carol, r#"{"locked":true}"#);
    assert_eq!(search("carol"), 0);
}

#[test]
fn sessions_devices_and_limits() {
    let scene = Scene::start();
    let alice = php(&id("alice"));
    let devices = format!("/v2/users/{alice}/devices");
    let list = scene.ok("GET", &devices, "");
    assert_eq!(list["total"], json!(1));
    assert_eq!(
        keys(&list["devices"][0]),
        [
            "dehydrated",
            "device_id",
            "display_name",
            "last_seen_ip",
            "last_seen_ts",
            "last_seen_user_agent",
            "user_id"
        ]
    );
    assert_eq!(
        scene
            .admin("POST", &devices, r#"{"device_id":"NEW"}"#)
            .status,
        201
    );
    scene.ok(
        "PUT",
        &format!("{devices}/NEW"),
        r#"{"display_name":"Phone"}"#,
    );
    assert_eq!(
        scene.ok("GET", &format!("{devices}/NEW"), "")["display_name"],
        json!("Phone")
    );
    scene.ok("DELETE", &format!("{devices}/NEW"), "{}");
    // As Synapse has it: what is not there gets no name, but without a name there is nothing to
    // do; and first it is asked whose devices they are.
    let body = r#"{"display_name":"Phone"}"#;
    let renamed = scene.admin("PUT", &format!("{devices}/NEW"), body);
    assert_eq!(renamed.code(), "404 M_NOT_FOUND");
    scene.ok("PUT", &format!("{devices}/NEW"), "");
    let long = json!({ "display_name": "n".repeat(101) }).to_string();
    let refused = scene.admin("PUT", &format!("{devices}/NEW"), &long);
    assert_eq!(refused.code(), "400 M_TOO_LARGE");
    let unknown = format!("/v2/users/{}/delete_devices", php(&id("nobody")));
    assert_eq!(scene.admin("POST", &unknown, "").code(), "404 M_NOT_FOUND");
    let own = list["devices"][0]["device_id"].clone();
    scene.ok(
        "POST",
        &format!("/v2/users/{alice}/delete_devices"),
        &json!({ "devices": [own] }).to_string(),
    );
    assert_eq!(
        scene
            .client(&scene.alice, "GET", "/account/whoami", &json!({}))
            .code(),
        "401 M_UNKNOWN_TOKEN"
    );
    // What was used just now is told at once, wherever devices are told.
    let me = php(&id("hsadmin"));
    let whois = scene.ok("GET", &format!("/v1/whois/{me}"), "");
    let connection = &whois["devices"][""]["sessions"][0]["connections"][0];
    assert_eq!(connection["ip"], json!("127.0.0.1"), "{whois}");
    assert_eq!(connection["user_agent"], json!("curl/8.5.0"), "{whois}");
    let seen = &connection["last_seen"];
    let mine = scene.ok("GET", &format!("/v2/users/{me}"), "");
    assert_eq!(&mine["last_seen_ts"], seen);
    let mine = scene.ok("GET", "/v2/users?name=hsadmin", "");
    assert_eq!(&mine["users"][0]["last_seen_ts"], seen);
    let mine = scene.ok("GET", &format!("/v2/users/{me}/devices"), "");
    assert_eq!(&mine["devices"][0]["last_seen_ts"], seen);

    // A body that may be missing may be null.
    for (method, path) in [
        ("POST", format!("/v1/users/{alice}/override_ratelimit")),
        ("POST", format!("/v1/users/{alice}/login")),
        ("PUT", format!("{devices}/NEW")),
    ] {
        scene.ok(method, &path, "null");
    }
    scene.ok(
        "DELETE",
        &format!("/v1/users/{alice}/override_ratelimit"),
        "",
    );

    // An admin acts as a user, without a device, until the admin ends it.
    let token = scene.ok("POST", &format!("/v1/users/{alice}/login"), "{}")["access_token"].clone();
    let token = token.as_str().unwrap();
    let own = scene.server.log_in("alice");
    assert_eq!(
        scene.client(&own, "POST", "/logout/all", &json!({})).status,
        200
    );
    assert_eq!(
        scene
            .client(&own, "GET", "/account/whoami", &json!({}))
            .status,
        401
    );
    assert_eq!(
        scene
            .client(token, "GET", "/account/whoami", &json!({}))
            .status,
        200
    );
    let who = scene
        .client(token, "GET", "/account/whoami", &json!({}))
        .json();
    assert_eq!(
        (&who["user_id"], who.get("device_id")),
        (&json!(id("alice")), None)
    );
    assert_eq!(scene.ok("GET", &devices, "")["total"], json!(0));
    // It ends when the admin logs out everywhere, and when the admin is none any more.
    let second = scene.server.user("second", &["--admin"]);
    let login = format!("/_synapse/admin/v1/users/{alice}/login");
    let acting = |admin: &str| {
        let answer = scene.server.ask(admin, "POST", &login, "{}").json();
        answer["access_token"].as_str().unwrap().to_owned()
    };
    let who = |token: &str| {
        scene
            .client(token, "GET", "/account/whoami", &json!({}))
            .status
    };
    let puppet = acting(&second);
    assert_eq!(who(&puppet), 200);
    // Many at once all get one.
    let many = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..16).map(|_| scope.spawn(|| acting(&second))).collect();
        asked
            .into_iter()
            .map(|asked| asked.join().unwrap())
            .collect::<BTreeSet<_>>()
    });
    assert_eq!(many.len(), 16);
    scene.client(&second, "POST", "/logout/all", &json!({}));
    assert_eq!(who(&puppet), 401);
    let puppet = acting(&scene.server.log_in("second"));
    assert_eq!(who(&puppet), 200);
    let second = format!("/v1/users/{}/admin", php(&id("second")));
    scene.ok("PUT", &second, r#"{"admin":false}"#);
    assert_eq!(who(&puppet), 401);
    assert_eq!(
        scene.client(token, "POST", "/logout", &json!({})).status,
        200
    );
    assert_eq!(
        scene
            .client(token, "GET", "/account/whoami", &json!({}))
            .code(),
        "401 M_UNKNOWN_TOKEN"
    );

    let limit = format!("/v1/users/{alice}/override_ratelimit");
    assert_eq!(scene.ok("GET", &limit, ""), json!({}));
    let rate = json!({ "messages_per_second": 1, "burst_count": 2 });
    assert_eq!(scene.ok("POST", &limit, &rate.to_string()), rate);
    assert_eq!(scene.ok("GET", &limit, ""), rate);
    let alice_token = scene.server.log_in("alice");
    let room = scene.room(&alice_token, &json!({}));
    let codes: Vec<u16> = (0..3)
        .map(|number| {
            let path = format!("/rooms/{}/send/m.room.message/t{number}", php(&room));
            scene
                .client(&alice_token, "PUT", &path, &json!({ "body": "x" }))
                .status
        })
        .collect();
    assert_eq!(codes, [200, 200, 429]);
    scene.ok("DELETE", &limit, "");
    scene.say(&alice_token, &room, "t4", "free again");
    assert_eq!(
        scene.ok("GET", &format!("/v1/users/{alice}/pushers"), ""),
        json!({ "pushers": [], "total": 0 })
    );
    let data = scene.ok("GET", &format!("/v1/users/{alice}/accountdata"), "");
    assert_eq!(keys(&data["account_data"]), ["global", "rooms"]);
}

#[test]
fn spam_goes() {
    let scene = Scene::start();
    let room = scene.room(&scene.alice, &json!({ "preset": "public_chat" }));
    scene.client(
        &scene.admin,
        "POST",
        &format!("/join/{}", php(&room)),
        &json!({}),
    );
    let events: Vec<String> = (0..3)
        .map(|number| scene.say(&scene.alice, &room, &format!("t{number}"), "spam"))
        .collect();
    let wish = json!({ "rooms": [], "reason": "spam", "limit": 2 }).to_string();
    let begun = scene.ok(
        "POST",
        &format!("/v1/user/{}/redact", php(&id("alice"))),
        &wish,
    );
    let job = begun["redact_id"].as_str().unwrap();
    let done = scene.finished(&format!("/v1/user/redact_status/{job}"));
    assert_eq!(
        done,
        json!({ "status": "complete", "failed_redactions": {} })
    );
    let bodies: Vec<bool> = events
        .iter()
        .map(|event| {
            let path = format!("/v1/fetch_event/{}", php(event));
            scene.ok("GET", &path, "")["event"]["content"]
                .get("body")
                .is_some()
        })
        .collect();
    assert_eq!(bodies, [true, false, false]);

    // Also of who is banned or has left: in their own name, where they still could.
    for (name, how) in [("bob", "ban"), ("carol", "kick"), ("dora", "leave")] {
        let spammer = scene.server.user(name, &[]);
        let path = format!("/join/{}", php(&room));
        assert_eq!(
            scene.client(&spammer, "POST", &path, &json!({})).status,
            200
        );
        let events: Vec<String> = (0..3)
            .map(|number| scene.say(&spammer, &room, &format!("{name}{number}"), "spam"))
            .collect();
        let (by, body) = match how {
            "leave" => (&spammer, json!({})),
            _ => (&scene.alice, json!({ "user_id": id(name) })),
        };
        let path = format!("/rooms/{}/{how}", php(&room));
        assert_eq!(scene.client(by, "POST", &path, &body).status, 200);
        let wish = json!({ "rooms": [room] }).to_string();
        let path = format!("/v1/user/{}/redact", php(&id(name)));
        let begun = scene.ok("POST", &path, &wish);
        let job = begun["redact_id"].as_str().unwrap();
        let done = scene.finished(&format!("/v1/user/redact_status/{job}"));
        assert_eq!(done["failed_redactions"], json!({}), "{how}");
        for event in events {
            let path = format!("/rooms/{}/event/{}", php(&room), php(&event));
            let event = scene.client(&scene.alice, "GET", &path, &json!({})).json();
            assert_eq!(event["content"], json!({}), "{how}");
            let because = &event["unsigned"]["redacted_because"];
            assert_eq!(because["sender"], json!(id(name)), "{how}");
        }
    }
    // The room goes on.
    scene.say(&scene.alice, &room, "on", "on");

    // A shadow ban: she is told that it was sent, and nobody else hears of it.
    let ban = format!("/v1/users/{}/shadow_ban", php(&id("alice")));
    scene.ok("POST", &ban, "{}");
    let unheard = scene.say(&scene.alice, &room, "unheard", "buy");
    assert_eq!(
        scene
            .admin("GET", &format!("/v1/fetch_event/{}", php(&unheard)), "")
            .code(),
        "404 M_NOT_FOUND"
    );
    let typing = format!("/rooms/{}/typing/{}", php(&room), php(&id("alice")));
    let types = json!({ "typing": true, "timeout": 30_000 });
    assert_eq!(
        scene.client(&scene.alice, "PUT", &typing, &types).status,
        200
    );
    let name = format!("/profile/{}/displayname", php(&id("alice")));
    let named = scene.client(
        &scene.alice,
        "PUT",
        &name,
        &json!({ "displayname": "Buy!" }),
    );
    assert_eq!(named.status, 200);
    let member = format!(
        "/rooms/{}/state/m.room.member/{}",
        php(&room),
        php(&id("alice"))
    );
    let named = json!({ "membership": "join", "displayname": "Buy!" });
    let named = scene.client(&scene.alice, "PUT", &member, &named);
    assert_eq!(named.status, 200);
    let upgrade = format!("/rooms/{}/upgrade", php(&room));
    let upgraded = scene.client(
        &scene.alice,
        "POST",
        &upgrade,
        &json!({ "new_version": "11" }),
    );
    let upgraded = upgraded.json()["replacement_room"]
        .as_str()
        .unwrap()
        .to_owned();
    let unknown = scene.admin("GET", &format!("/v1/rooms/{}", php(&upgraded)), "");
    assert_eq!(unknown.code(), "404 M_NOT_FOUND");
    let own = scene.room(&scene.alice, &json!({ "invite": [id("hsadmin")] }));
    let sync = scene
        .client(&scene.admin, "GET", "/sync", &json!({}))
        .json();
    assert!(
        sync["rooms"]["invite"].is_null(),
        "{}",
        sync["rooms"]["invite"]
    );
    let told = sync["rooms"]["join"][&room].to_string();
    assert!(
        !told.contains("Buy!") && !told.contains("m.typing"),
        "{told}"
    );
    // Coming and going is theirs, however it is said.
    let member = format!(
        "/rooms/{}/state/m.room.member/{}",
        php(&own),
        php(&id("alice"))
    );
    let left = scene.client(
        &scene.alice,
        "PUT",
        &member,
        &json!({ "membership": "leave" }),
    );
    assert_eq!(left.status, 200);
    let members = scene.ok("GET", &format!("/v1/rooms/{}/members", php(&own)), "");
    assert_eq!(members["members"], json!([]));
    scene.ok("DELETE", &ban, "");
    let heard = scene.say(&scene.alice, &room, "heard", "sorry");
    scene.ok("GET", &format!("/v1/fetch_event/{}", php(&heard)), "");
}

#[test]
fn a_closed_account_loses_its_settings_and_backups() {
    let scene = Scene::start();
    let user = format!("/v2/users/{}", php(&id("bob")));
    let open = r#"{"password":"pass word","deactivated":false}"#;
    scene.ok("PUT", &user, open);
    for close in [
        ("PUT", user.clone(), r#"{"deactivated":true}"#),
        ("POST", format!("/v1/deactivate/{}", php(&id("bob"))), "{}"),
    ] {
        let bob = scene.server.log_in("bob");
        let room = scene.room(&bob, &json!({}));
        let data = format!("/user/{}/account_data/org.x", php(&id("bob")));
        let tag = format!("/user/{}/rooms/{}/tags/u.x", php(&id("bob")), php(&room));
        let rule = "/pushrules/global/content/x";
        let backup = json!({ "algorithm": "m.x", "auth_data": { "public_key": "x" } });
        for (method, path, body) in [
            ("PUT", data.as_str(), json!({ "a": 1 })),
            ("PUT", &tag, json!({})),
            ("PUT", rule, json!({ "pattern": "x", "actions": [] })),
            ("POST", "/room_keys/version", backup),
        ] {
            let answer = scene.client(&bob, method, path, &body);
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
        }
        scene.ok(close.0, &close.1, close.2);
        let path = format!("/v1/users/{}/accountdata", php(&id("bob")));
        let told = scene.ok("GET", &path, "");
        assert_eq!(told["account_data"], json!({ "global": {}, "rooms": {} }));
        scene.ok("PUT", &user, open);
        let bob = scene.server.log_in("bob");
        for path in [&data, rule, "/room_keys/version"] {
            let answer = scene.client(&bob, "GET", path, &json!({}));
            assert_eq!(answer.code(), "404 M_NOT_FOUND", "{path}");
        }
    }
}

#[test]
fn what_a_room_is_called_outlives_what_its_maker_said() {
    let scene = Scene::start();
    let room = scene.room(
        &scene.alice,
        &json!({ "name": "Room one", "topic": "Topic" }),
    );
    let said = scene.say(&scene.alice, &room, "1", "hello");
    let path = format!("/v1/user/{}/redact", php(&id("alice")));
    let begun = scene.ok("POST", &path, r#"{"rooms":[]}"#);
    let job = begun["redact_id"].as_str().unwrap();
    scene.finished(&format!("/v1/user/redact_status/{job}"));
    let details = scene.ok("GET", &format!("/v1/rooms/{}", php(&room)), "");
    assert_eq!(
        (&details["name"], &details["topic"]),
        (&json!("Room one"), &json!("Topic"))
    );
    let path = format!("/rooms/{}/event/{}", php(&room), php(&said));
    let event = scene.client(&scene.alice, "GET", &path, &json!({})).json();
    assert_eq!(event["content"], json!({}));
}
