//! Moodle's own Matrix provider, request by request as it was seen on the wire (Moodle 4.5.6):
//! its headers, its bodies, its escapes, and the odd things that it does.

use serde_json::{Value, json};

use crate::process::{Answer, Process, SERVER_NAME, php};

/// Moodle with a token: an admin's, or one for provisioning.
struct Moodle<'a> {
    server: &'a Process,
    token: String,
}

/// The bodies of `PUT …/state/m.room.power_levels` but for the users.
const LEVELS: &str = r#""ban":100,"invite":50,"kick":50,"notifications":{"room":50},"redact":50"#;

impl Moodle<'_> {
    fn send(&self, method: &str, path: &str, body: &str) -> Answer {
        let authorization = format!("Bearer {}", self.token);
        let headers = [
            ("User-Agent", "MoodleBot/4.5 (+http://127.0.0.1:18080)"),
            ("Content-Type", "application/json"),
            ("Authorization", authorization.as_str()),
        ];
        self.server.send(method, path, &headers, body)
    }

    /// A request that must succeed as Guzzle and Moodle see it.
    fn ok(&self, method: &str, path: &str, body: &str) -> Value {
        let answer = self.send(method, path, body);
        assert!(
            (answer.status, answer.reason.as_str()) == (200, "OK"),
            "{method} {path} {body}: {answer:?}"
        );
        answer.json()
    }

    fn create_room(&self, name: &str, topic: &str) -> String {
        let body = format!(
            r#"{{"name":"{name}","visibility":"private","preset":"private_chat","initial_state":[],"topic":"{topic}"}}"#
        );
        let room = self.ok("POST", "/_matrix/client/v3/createRoom", &body);
        room["room_id"].as_str().unwrap().to_owned()
    }

    fn put_user(&self, user_id: &str, name: &str, email: &str) -> Answer {
        let path = format!("/_synapse/admin/v2/users/{}", php(user_id));
        let name = name.replace('/', "\\/");
        let body = format!(
            r#"{{"displayname":"{name}","threepids":[{{"medium":"email","address":"{email}"}}],"externalids":[]}}"#
        );
        self.send("PUT", &path, &body)
    }

    fn exists(&self, user_id: &str) -> bool {
        let path = format!("/_synapse/admin/v2/users/{}", php(user_id));
        self.send("GET", &path, "[]").json().get("name").is_some()
    }

    fn members(&self, room: &str) -> Vec<String> {
        let path = format!("/_matrix/client/v3/rooms/{}/joined_members", php(room));
        let body = self.ok("GET", &path, "[]");
        let joined = body["joined"].as_object().unwrap();
        joined.keys().cloned().collect()
    }

    fn levels(&self, room: &str) -> Value {
        let path = format!(
            "/_matrix/client/r0/rooms/{}/state/m.room.power_levels",
            php(room)
        );
        self.ok("GET", &path, "[]")
    }

    fn put_levels(&self, room: &str, users: &str) -> Answer {
        let path = format!(
            "/_matrix/client/v3/rooms/{}/state/m.room.power_levels",
            php(room)
        );
        self.send("PUT", &path, &format!("{{{LEVELS},\"users\":{users}}}"))
    }

    fn put_state(&self, room: &str, kind: &str, content: &str) -> Answer {
        let path = format!("/_matrix/client/v3/rooms/{}/state/{kind}", php(room));
        self.send("PUT", &path, content)
    }

    fn join(&self, room: &str, user_id: &str) -> Answer {
        let path = format!("/_synapse/admin/v1/join/{}", php(room));
        self.send("POST", &path, &format!(r#"{{"user_id":"{user_id}"}}"#))
    }

    fn kick(&self, room: &str, user_id: &str) -> Answer {
        let path = format!("/_matrix/client/v3/rooms/{}/kick", php(room));
        self.send("POST", &path, &format!(r#"{{"user_id":"{user_id}"}}"#))
    }

    /// Enrols somebody as `add_members_to_room` does; whether Moodle goes on with the next one.
    fn enrol(&self, room: &str, user_id: &str, email: &str) -> bool {
        if !self.exists(user_id) {
            let put = self.put_user(user_id, "Some One", email);
            if !(200..300).contains(&put.status) {
                return false;
            }
            if put.json()["name"].as_str().unwrap_or_default().is_empty() {
                return true;
            }
        }
        if !self.members(room).contains(&user_id.to_owned()) {
            let joined = self.join(room, user_id);
            return joined.status == 200;
        }
        true
    }

    /// Unenrols somebody as `remove_members_from_room` does.
    fn unenrol(&self, room: &str, user_id: &str) -> bool {
        if self.exists(user_id) && self.members(room).contains(&user_id.to_owned()) {
            return self.kick(room, user_id).status == 200;
        }
        true
    }
}

fn id(name: &str) -> String {
    format!("@{name}:{SERVER_NAME}")
}

/// Runs a test with an admin's token and with one for provisioning.
fn with_both_tokens(test: impl Fn(&Moodle<'_>, &str)) {
    with_both_tokens_and("", test);
}

/// With these lines in the configuration.
fn with_both_tokens_and(configuration: &str, test: impl Fn(&Moodle<'_>, &str)) {
    let server = Process::start_with(configuration);
    let admin = server.user("hsadmin", &["--admin"]);
    test(
        &Moodle {
            server: &server,
            token: admin,
        },
        "hsadmin",
    );
    let server = Process::start_with(configuration);
    server.user("hsadmin", &["--admin"]);
    let token = server.command(&["token", "provision"]);
    test(
        &Moodle {
            server: &server,
            token,
        },
        "moodle.provisioning",
    );
}

#[test]
fn the_seed_of_it_all() {
    let server = Process::start();
    server.command(&["user", "add", "admin", "--admin", "--password", "pass word"]);
    // curl -XPOST -d '{"type":"m.login.password", "user":"@admin:SERVER", "password":"…"}' URL
    let body = format!(
        r#"{{"type":"m.login.password", "user":"@admin:{SERVER_NAME}", "password":"pass word"}}"#
    );
    let headers = [
        ("User-Agent", "curl/7.88.1"),
        ("Accept", "*/*"),
        ("Content-Type", "application/x-www-form-urlencoded"),
    ];
    let answer = server.send("POST", "/_matrix/client/r0/login", &headers, &body);
    assert_eq!(answer.status, 200, "{answer:?}");
    let session = answer.json();
    assert_eq!(session["user_id"], json!(id("admin")));
    assert_eq!(session["home_server"], json!(SERVER_NAME));
    assert!(session["device_id"].is_string());
    let token = session["access_token"].as_str().unwrap().to_owned();
    let moodle = Moodle {
        server: &server,
        token,
    };
    let room = moodle.create_room("Room one", "Topic one");
    assert!(moodle.enrol(&room, &id("stud1"), "stud1@example.invalid"));
    assert_eq!(moodle.members(&room), [id("admin"), id("stud1")]);
}

#[test]
fn a_whole_term() {
    with_both_tokens(|moodle, owner| {
        // Versions: asked without a token and without a body.
        let agent = [("User-Agent", "MoodleBot/4.5 (+http://127.0.0.1:18080)")];
        let versions = moodle
            .server
            .send("GET", "/_matrix/client/versions", &agent, "")
            .json();
        let versions = versions["versions"].as_array().unwrap().clone();
        assert!((1..=7).any(|minor| versions.contains(&json!(format!("v1.{minor}")))));

        // Configured: a room without a picture.
        let room = moodle.create_room("Room one", "Topic one");
        let avatar = moodle.put_state(&room, "m.room.avatar", r#"{"url":null}"#);
        assert_eq!((avatar.status, avatar.reason.as_str()), (200, "OK"));

        // Enrolled: new users, then known ones.
        let people = [
            "mgr1",
            "stud1",
            "user12345",
            "a.b.example",
            "sla/sh",
            "eq=ual",
            "-dash_",
        ];
        for name in people {
            let user_id = id(name);
            let put = moodle.put_user(
                &user_id,
                &format!("{name} Lastname"),
                &format!("{name}@example.invalid"),
            );
            assert_eq!(
                (put.status, put.reason.as_str()),
                (201, "Created"),
                "{put:?}"
            );
            let made = put.json();
            assert_eq!(made["name"], json!(user_id));
            assert_eq!(made["displayname"], json!(format!("{name} Lastname")));
            assert_eq!(
                made["threepids"][0]["address"],
                json!(format!("{name}@example.invalid"))
            );
            assert!(moodle.exists(&user_id));
            assert!(!moodle.members(&room).contains(&user_id));
            assert_eq!(
                moodle.join(&room, &user_id).json(),
                json!({ "room_id": room })
            );
            assert!(moodle.members(&room).contains(&user_id));
        }
        // The shape of the answer is Synapse's.
        let user = moodle.ok(
            "GET",
            &format!("/_synapse/admin/v2/users/{}", php(&id("stud1"))),
            "[]",
        );
        let keys: Vec<_> = user
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(
            keys,
            [
                "admin",
                "appservice_id",
                "avatar_url",
                "consent_server_notice_sent",
                "consent_ts",
                "consent_version",
                "creation_ts",
                "deactivated",
                "displayname",
                "erased",
                "external_ids",
                "is_guest",
                "last_seen_ts",
                "locked",
                "name",
                "shadow_banned",
                "suspended",
                "threepids",
                "user_type"
            ]
        );
        assert!(user["creation_ts"].as_u64().unwrap() < 10_000_000_000);

        // Roles: a moderator comes, another level that somebody set by hand stays, one goes.
        let users = format!(r#"{{"{}":51,"{}":75}}"#, id("mgr1"), id("stud1"));
        let put = moodle.put_levels(&room, &users);
        assert_eq!(put.status, 200, "{put:?}");
        assert!(put.json()["event_id"].is_string());
        let levels = moodle.levels(&room);
        assert_eq!(levels["users"], json!({ id("mgr1"): 51, id("stud1"): 75 }));
        assert_eq!(levels["ban"], json!(100));

        // Renamed, a new topic, what an admin sees of it.
        assert_eq!(
            moodle
                .put_state(&room, "m.room.name", r#"{"name":"Room one renamed"}"#)
                .status,
            200
        );
        assert_eq!(
            moodle
                .put_state(&room, "m.room.topic", r#"{"topic":"New \u2014 topic\/"}"#)
                .status,
            200
        );
        let details = moodle.ok(
            "GET",
            &format!("/_synapse/admin/v1/rooms/{}", php(&room)),
            "[]",
        );
        assert_eq!(details["name"], json!("Room one renamed"));
        assert_eq!(details["topic"], json!("New \u{2014} topic/"));
        assert_eq!(details["joined_members"], json!(8));
        let keys: Vec<_> = details
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(
            keys,
            [
                "avatar",
                "canonical_alias",
                "creator",
                "encryption",
                "federatable",
                "forgotten",
                "guest_access",
                "history_visibility",
                "join_rules",
                "joined_local_devices",
                "joined_local_members",
                "joined_members",
                "name",
                "public",
                "replacement_room",
                "room_id",
                "room_type",
                "state_events",
                "tombstoned",
                "topic",
                "version"
            ]
        );
        assert_eq!(
            moodle
                .put_state(&room, "m.room.topic", r#"{"topic":""}"#)
                .status,
            200
        );
        let details = moodle.ok(
            "GET",
            &format!("/_synapse/admin/v1/rooms/{}", php(&room)),
            "[]",
        );
        assert_eq!(details.get("topic"), Some(&Value::Null));

        // Suspended, back, a changed name, unenrolled.
        assert!(moodle.unenrol(&room, &id("stud1")));
        assert!(!moodle.members(&room).contains(&id("stud1")));
        assert!(moodle.enrol(&room, &id("stud1"), "stud1@example.invalid"));
        assert!(moodle.members(&room).contains(&id("stud1")));
        let put = moodle.put_user(&id("stud1"), "Stud1 New/name", "new@example.invalid");
        assert_eq!(put.status, 200);
        assert_eq!(put.json()["displayname"], json!("Stud1 New/name"));
        assert_eq!(
            put.json()["threepids"][0]["address"],
            json!("new@example.invalid")
        );
        for name in people {
            assert!(moodle.unenrol(&room, &id(name)), "{name}");
        }
        assert_eq!(moodle.members(&room), [id(owner)]);

        // A room that is not there, and one that the account is not in.
        let gone = moodle.put_state(
            "!BwkxXFtVtWbpmxRLpm:moodle.test",
            "m.room.name",
            r#"{"name":"R5"}"#,
        );
        assert!(gone.status == 403 || gone.status == 404, "{gone:?}");
    });
}

#[test]
fn another_client_sees_the_course_room() {
    let server = Process::start();
    let admin = server.user("hsadmin", &["--admin"]);
    let moodle = Moodle {
        server: &server,
        token: admin.clone(),
    };
    let room = moodle.create_room("Room one", "Topic one");
    assert!(moodle.enrol(&room, &id("stud1"), "stud1@example.invalid"));
    // An admin gives the student a password, so that they can log in.
    let body = r#"{"new_password":"pass word","logout_devices":true}"#;
    let path = format!("/_synapse/admin/v1/reset_password/{}", php(&id("stud1")));
    assert_eq!(server.ask(&admin, "POST", &path, body).status, 200);
    let student = server.log_in("stud1");
    let sync = server
        .ask(&student, "GET", "/_matrix/client/v3/sync?timeout=0", "")
        .json();
    let state = &sync["rooms"]["join"][&room];
    assert!(state.is_object(), "{sync}");
    let name = format!("/_matrix/client/v3/rooms/{}/state/m.room.name", php(&room));
    assert_eq!(
        server.ask(&student, "GET", &name, "").json(),
        json!({ "name": "Room one" })
    );
    // Moodle goes on with this account: it is still the one that it made.
    assert_eq!(
        moodle
            .put_user(&id("stud1"), "Stud One", "stud1@example.invalid")
            .status,
        200
    );
}

#[test]
fn trap_1_the_last_moderator_leaves_a_room_of_version_12() {
    with_both_tokens(|moodle, _| {
        let room = moodle.create_room("Room one", "");
        assert!(moodle.enrol(&room, &id("teach1"), "teach1@example.invalid"));
        assert_eq!(
            moodle
                .put_levels(&room, &format!(r#"{{"{}":51}}"#, id("teach1")))
                .status,
            200
        );
        let put = moodle.put_levels(&room, "[]");
        assert_eq!(put.status, 200, "{put:?}");
        assert_eq!(moodle.levels(&room)["users"], json!({}));
        assert!(moodle.unenrol(&room, &id("teach1")));
    });
}

#[test]
fn trap_2_the_provisioning_account_is_never_kicked() {
    with_both_tokens(|moodle, owner| {
        let room = moodle.create_room("Room one", "");
        assert_eq!(moodle.kick(&room, &id(owner)).status, 200);
        assert_eq!(moodle.members(&room), [id(owner)]);
        // Nor does a Moodle user of its name take away its power.
        assert_eq!(
            moodle
                .put_levels(&room, &format!(r#"{{"{}":51}}"#, id(owner)))
                .status,
            200
        );
        assert_eq!(
            moodle
                .put_state(&room, "m.room.name", r#"{"name":"Still mine"}"#)
                .status,
            200
        );
    });
}

#[test]
fn trap_3_a_moderator_without_a_matrix_id() {
    with_both_tokens(|moodle, _| {
        let room = moodle.create_room("Room one", "");
        assert!(moodle.enrol(&room, &id("gt"), "gt@example.invalid"));
        let users = format!(
            r#"{{"":51,"{}":51,"@o'neil:{SERVER_NAME}\u0000":51}}"#,
            id("gt")
        );
        let put = moodle.put_levels(&room, &users);
        assert_eq!(put.status, 200, "{put:?}");
        assert_eq!(moodle.levels(&room)["users"], json!({ id("gt"): 51 }));
    });
}

#[test]
fn trap_4_no_rate_limits() {
    let server = Process::start_with(
        "[rate_limits]\nmessage = { per_second = 0.1, burst = 1 }\n\
         membership = { per_second = 0.1, burst = 1 }\nrequest = { per_second = 0.1, burst = 1 }",
    );
    let admin = server.user("hsadmin", &["--admin"]);
    for token in [admin.clone(), server.command(&["token", "provision"])] {
        let moodle = Moodle {
            server: &server,
            token,
        };
        for number in 0..5 {
            let room = moodle.create_room(&format!("Room {number}"), "");
            let name = format!("stud{number}");
            assert!(moodle.enrol(&room, &id(&name), &format!("{name}@example.invalid")));
            let put = moodle.put_state(&room, "m.room.name", r#"{"name":"Another"}"#);
            assert_eq!(put.status, 200, "{put:?}");
            assert!(moodle.unenrol(&room, &id(&name)));
        }
    }
    // The same admin with another program is limited.
    let room = r#"{"name":"R"}"#;
    let codes: Vec<String> = (0..3)
        .map(|_| {
            server
                .ask(&admin, "POST", "/_matrix/client/v3/createRoom", room)
                .code()
        })
        .collect();
    assert!(
        codes.contains(&"429 M_LIMIT_EXCEEDED".to_owned()),
        "{codes:?}"
    );
}

#[test]
fn trap_5_the_picture_of_a_course() {
    with_both_tokens(|moodle, _| {
        let room = moodle.create_room("Room one", "");
        for number in 0..7 {
            let promised = moodle.ok("POST", "/_matrix/media/v1/create", "[]");
            let uri = promised["content_uri"].as_str().unwrap().to_owned();
            let content = format!(r#"{{"url":"{}"}}"#, uri.replace('/', "\\/"));
            let avatar = moodle.put_state(&room, "m.room.avatar", &content);
            assert_eq!((avatar.status, avatar.reason.as_str()), (200, "OK"));
            let path = format!("/_matrix/media/v3/upload?filename=course{number}.png");
            let bytes = format!("picture {number}");
            let uploaded = moodle.ok("POST", &path, &bytes);
            assert_eq!(uploaded["content_uri"], json!(uri));
            // Whoever sees the room sees the picture.
            let reader = format!("reader{number}");
            let reader = moodle.server.user(&reader, &[]);
            let (_, name) = uri.split_once("mxc://").unwrap();
            let path = format!("/_matrix/client/v1/media/download/{name}");
            let picture = moodle.server.ask(&reader, "GET", &path, "");
            assert_eq!((picture.status, picture.text), (200, bytes));
        }
    });
}

/// Several cron processes fill courses side by side.
#[test]
fn pictures_at_the_same_time_spoil_no_later_one() {
    with_both_tokens(|moodle, _| {
        let promise = || {
            let promised = moodle.ok("POST", "/_matrix/media/v1/create", "[]");
            promised["content_uri"].as_str().unwrap().to_owned()
        };
        let upload = |name: &str| {
            let path = format!("/_matrix/media/v3/upload?filename={name}.png");
            moodle.ok("POST", &path, name)["content_uri"].clone()
        };
        // Which picture is whose cannot be told; nobody gets a wrong one, and nobody is refused.
        let promised: Vec<String> = (0..8).map(|_| promise()).collect();
        for number in 0..8 {
            let uploaded = upload(&format!("course{number}"));
            assert!(!promised.iter().any(|uri| uploaded == json!(uri)));
        }
        let alone = promise();
        assert_eq!(upload("alone"), json!(alone));
    });
}

#[test]
fn a_picture_that_is_too_large_keeps_nobody_out() {
    with_both_tokens_and("[media]\nupload_bytes_max = 1000", |moodle, _| {
        let server = moodle.server;
        let path = "/_matrix/media/v3/upload?filename=big.png";
        let large = "x".repeat(300_000);
        moodle.ok("POST", "/_matrix/media/v1/create", "[]");
        let answer = moodle.ok("POST", path, &large);
        assert_eq!(answer, json!({ "content_uri": null }));
        // What was refused is awaited no more.
        let promised = moodle.ok("POST", "/_matrix/media/v1/create", "[]");
        let uploaded = moodle.ok("POST", path, "small");
        assert_eq!(uploaded["content_uri"], promised["content_uri"]);
        // Another program with the same admin's token is told.
        let admin = server.log_in("hsadmin");
        let refused = server.ask(&admin, "POST", path, &large);
        assert_eq!(refused.code(), "413 M_TOO_LARGE");
    });
}

#[test]
fn trap_6_two_users_with_one_address() {
    with_both_tokens(|moodle, _| {
        let shared = "family@example.invalid";
        let first = moodle.put_user(&id("first"), "First", shared);
        assert_eq!(first.status, 201);
        let second = moodle.put_user(&id("second"), "Second", shared);
        assert_eq!(
            (second.status, second.json()["name"].clone()),
            (201, json!(id("second")))
        );
        assert_eq!(second.json()["threepids"], json!([]));
        let first = moodle.ok(
            "GET",
            &format!("/_synapse/admin/v2/users/{}", php(&id("first"))),
            "[]",
        );
        assert_eq!(first["threepids"][0]["address"], json!(shared));
    });
}

#[test]
fn what_is_no_address_is_left_out() {
    with_both_tokens(|moodle, _| {
        let made = moodle.put_user(&id("stud1"), "Stud One", "nonsense");
        assert_eq!((made.status, &made.json()["threepids"]), (201, &json!([])));
        let address = "stud1@example.invalid";
        let changed = moodle.put_user(&id("stud1"), "Stud One", address).json();
        assert_eq!(changed["threepids"][0]["address"], json!(address));
        let changed = moodle.put_user(&id("stud1"), "Stud 1", "");
        let shown = changed.json();
        assert_eq!((changed.status, &shown["threepids"]), (200, &json!([])));
        assert_eq!(shown["displayname"], json!("Stud 1"));
    });
}

#[test]
fn trap_7_nobody_is_taken_over() {
    with_both_tokens(|moodle, _| {
        let server = moodle.server;
        server.user("alice", &[]);
        let room = moodle.create_room("Room one", "");
        for name in ["hsadmin", "alice"] {
            let put = moodle.put_user(&id(name), "Mallory", "mallory@example.invalid");
            assert_eq!(put.status, 200, "{put:?}");
            let body = put.json();
            assert!(body.is_object() && body.get("name").is_none(), "{body}");
            assert!(!moodle.exists(&id(name)));
            let joined = moodle.join(&room, &id(name));
            assert_eq!((joined.status, joined.json()), (200, json!({})));
            // The rest of the batch goes on.
            assert!(moodle.enrol(&room, &id(name), "mallory@example.invalid"));
            assert!(moodle.enrol(&room, &id("stud1"), "stud1@example.invalid"));
        }
        assert!(!moodle.members(&room).contains(&id("alice")));
        // The accounts are as they were, and another program with an admin's token may change them.
        let admin = server.log_in("hsadmin");
        let path = format!("/_synapse/admin/v2/users/{}", php(&id("alice")));
        let alice = server.ask(&admin, "GET", &path, "").json();
        assert_eq!(
            (&alice["displayname"], &alice["threepids"]),
            (&json!("alice"), &json!([]))
        );
        let changed = server.ask(&admin, "PUT", &path, r#"{"displayname":"Alice A."}"#);
        assert_eq!(
            (changed.status, changed.json()["displayname"].clone()),
            (200, json!("Alice A."))
        );
        // The key that only Moodle sends is a mark of its own.
        let marked = r#"{"displayname":"Mallory","threepids":[],"externalids":[]}"#;
        let put = server.ask(&admin, "PUT", &path, marked);
        assert_eq!((put.status, put.json().get("name")), (200, None));
    });
}

#[test]
fn who_was_deactivated_here_stays_away() {
    with_both_tokens(|moodle, _| {
        let (server, gone) = (moodle.server, id("gone"));
        moodle.put_user(&gone, "Gone", "gone@example.invalid");
        let admin = server.log_in("hsadmin");
        let path = format!("/_synapse/admin/v1/deactivate/{}", php(&gone));
        assert_eq!(server.ask(&admin, "POST", &path, "{}").status, 200);
        let put = moodle.put_user(&gone, "Gone", "gone@example.invalid");
        let why = json!({ "passed_over": "This account is deactivated" });
        assert_eq!((put.status, put.json()), (200, why));
    });
}

#[test]
fn trap_8_two_names_become_one_account() {
    with_both_tokens(|moodle, _| {
        // `a.b` and `a@b` are both @a.b: the second puts the name right, nothing breaks.
        assert_eq!(
            moodle
                .put_user(&id("a.b"), "A. B.", "a.b@example.invalid")
                .status,
            201
        );
        let second = moodle.put_user(&id("a.b"), "A at B", "ab@example.invalid");
        assert_eq!(
            (second.status, second.json()["displayname"].clone()),
            (200, json!("A at B"))
        );
    });
}

#[test]
fn refused_names_do_not_block_who_comes_behind() {
    with_both_tokens(|moodle, _| {
        let room = moodle.create_room("Room one", "");
        for name in ["o'neil53451", "ünï", "col:on", "Big", "_under", ""] {
            let put = moodle.put_user(&id(name), "Odd", &format!("{}@example.invalid", name.len()));
            assert_eq!(put.status, 200, "{name}: {put:?}");
            // Without the key PHP would warn, for each person in each task.
            assert!(put.json().get("name").is_none(), "{name}: {put:?}");
            let joined = moodle.join(&room, &id(name));
            assert_eq!((joined.status, joined.json()), (200, json!({})), "{name}");
            assert_eq!(moodle.kick(&room, &id(name)).status, 200);
            // What Moodle reads is JSON in every case.
            moodle.exists(&id(name));
        }
        // A space becomes + in the path; Moodle itself goes on to write a space.
        let put = moodle.put_user(&id("with space"), "Spaced", "spaced@example.invalid");
        assert_eq!(
            (put.status, put.json()["name"].clone()),
            (201, json!(id("with+space")))
        );
        assert_eq!(
            moodle.join(&room, &id("with space")).json(),
            json!({ "room_id": room })
        );
        let levels = moodle.put_levels(&room, &format!(r#"{{"{}":51}}"#, id("with space")));
        assert_eq!(levels.status, 200, "{levels:?}");
        assert_eq!(
            moodle.levels(&room)["users"],
            json!({ id("with+space"): 51 })
        );
        assert_eq!(moodle.kick(&room, &id("with space")).status, 200);
        assert!(!moodle.members(&room).contains(&id("with+space")));
    });
}

#[test]
fn who_has_a_space_in_the_name_goes_when_unenrolled() {
    with_both_tokens(|moodle, owner| {
        let room = moodle.create_room("Room one", "");
        let spaced = id("with space");
        for name in ["with space", "other"] {
            assert!(moodle.enrol(&room, &id(name), &format!("{}@a.example", name.len())));
        }
        // Moodle looks for its own spelling among the members, and kicks only whom it finds.
        assert!(moodle.members(&room).contains(&spaced));
        assert!(moodle.unenrol(&room, &spaced));
        assert_eq!(moodle.members(&room), [id(owner), id("other")]);
        // No other program sees ids that are none.
        assert!(moodle.enrol(&room, &spaced, "10@a.example"));
        let path = format!("/_matrix/client/v3/rooms/{}/joined_members", php(&room));
        if owner == "hsadmin" {
            let members = moodle.server.ask(&moodle.token, "GET", &path, "").json();
            let members: Vec<_> = members["joined"].as_object().unwrap().keys().collect();
            assert_eq!(members, [&id(owner), &id("other"), &id("with+space")]);
        }
    });
}

#[test]
fn what_is_bent_for_moodle_is_bent_for_nobody_else() {
    let server = Process::start();
    let admin = server.user("hsadmin", &["--admin"]);
    let user = server.user("alice", &[]);
    let agent = [
        ("User-Agent", "MoodleBot/4.5"),
        ("Authorization", &format!("Bearer {user}")),
    ];
    let room = server
        .send(
            "POST",
            "/_matrix/client/v3/createRoom",
            &agent,
            r#"{"preset":"private_chat"}"#,
        )
        .json()["room_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!(
        "/_matrix/client/v3/rooms/{}/state/m.room.power_levels",
        php(&room)
    );
    let check = |answer: Answer, expect: &str| assert_eq!(answer.code(), expect, "{answer:?}");
    // A user who calls itself Moodle is no admin.
    check(
        server.send("PUT", &path, &agent, r#"{"users":[]}"#),
        "400 M_BAD_JSON",
    );
    check(
        server.send("PUT", &path, &agent, r#"{"users":{"":51}}"#),
        "400 M_BAD_JSON",
    );
    let user_path = format!("/_synapse/admin/v2/users/{}", php(&id("bob")));
    check(
        server.send("PUT", &user_path, &agent, r#"{"externalids":[]}"#),
        "403 M_FORBIDDEN",
    );
    // An admin with another program gets Synapse's refusals.
    let odd = format!("/_synapse/admin/v2/users/{}", php(&id("o'neil")));
    check(
        server.ask(&admin, "PUT", &odd, "{}"),
        "400 M_INVALID_USERNAME",
    );
    let colon = format!("/_synapse/admin/v2/users/{}", php("@col:on:else.test"));
    check(
        server.ask(&admin, "PUT", &colon, "{}"),
        "400 M_INVALID_PARAM",
    );
    let other = format!("/_synapse/admin/v2/users/{}", php("@bob:else.test"));
    check(server.ask(&admin, "PUT", &other, "{}"), "400 M_UNKNOWN");
}

#[test]
fn a_provisioning_token_does_nothing_else() {
    let server = Process::start();
    let admin = server.user("hsadmin", &["--admin"]);
    let token = server.command(&["token", "provision"]);
    let moodle = Moodle {
        server: &server,
        token: token.clone(),
    };
    let room = moodle.create_room("Room one", "");
    assert!(moodle.enrol(&room, &id("stud1"), "stud1@example.invalid"));
    let others = format!("/_matrix/client/v3/rooms/{}", php(&room));
    let student = php(&id("stud1"));
    let check = |method: &str, path: &str, body: &str, expect: &str| {
        let answer = moodle.send(method, path, body);
        assert_eq!(answer.code(), expect, "{method} {path}: {answer:?}");
    };
    for (method, path) in [
        ("GET", "/_matrix/client/v3/sync".to_owned()),
        ("GET", format!("{others}/messages?dir=b")),
        ("GET", format!("{others}/state")),
        ("GET", format!("{others}/state/m.room.member/{student}")),
        ("PUT", format!("{others}/send/m.room.message/1")),
        ("PUT", format!("{others}/state/m.room.join_rules")),
        ("POST", format!("{others}/invite")),
        ("POST", "/_matrix/client/v1/login/get_token".to_owned()),
        ("GET", "/_matrix/client/v3/devices".to_owned()),
        ("POST", format!("/_synapse/admin/v1/users/{student}/login")),
        (
            "POST",
            format!("/_synapse/admin/v1/reset_password/{student}"),
        ),
        ("GET", "/_synapse/admin/v2/users".to_owned()),
        ("GET", "/_synapse/admin/v1/rooms".to_owned()),
        ("DELETE", format!("/_synapse/admin/v1/rooms/{}", php(&room))),
    ] {
        check(method, &path, "{}", "403 M_FORBIDDEN");
    }
    let user = format!("/_synapse/admin/v2/users/{student}");
    check(
        "PUT",
        &user,
        r#"{"password":"mine now"}"#,
        "403 M_FORBIDDEN",
    );
    check("PUT", &user, r#"{"admin":true}"#, "403 M_FORBIDDEN");
    // It sees its own rooms only.
    let theirs = server
        .ask(&admin, "POST", "/_matrix/client/v3/createRoom", "{}")
        .json()["room_id"]
        .as_str()
        .unwrap()
        .to_owned();
    check(
        "GET",
        &format!("/_synapse/admin/v1/rooms/{}", php(&theirs)),
        "[]",
        "403 M_FORBIDDEN",
    );
    let public = server
        .ask(
            &admin,
            "POST",
            "/_matrix/client/v3/createRoom",
            r#"{"preset":"public_chat"}"#,
        )
        .json();
    let join = format!(
        "/_synapse/admin/v1/join/{}",
        php(public["room_id"].as_str().unwrap())
    );
    let student_in = format!(r#"{{"user_id":"{}"}}"#, id("stud1"));
    check("POST", &join, &student_in, "403 M_FORBIDDEN");
    // It is no login, and it can be ended.
    let login = format!(r#"{{"type":"m.login.token","token":"{token}"}}"#);
    let answer = server.send("POST", "/_matrix/client/v3/login", &[], &login);
    assert_eq!(answer.code(), "403 M_FORBIDDEN");
    server.command(&["token", "revoke"]);
    check("GET", &user, "[]", "401 M_UNKNOWN_TOKEN");
}

#[test]
fn a_trailing_slash_in_the_configured_address() {
    let server = Process::start();
    let admin = server.user("hsadmin", &["--admin"]);
    let moodle = Moodle {
        server: &server,
        token: admin,
    };
    let body = r#"{"name":"R","visibility":"private","preset":"private_chat","initial_state":[],"topic":""}"#;
    let room = moodle.ok("POST", "//_matrix/client/v3/createRoom", body);
    let room = php(room["room_id"].as_str().unwrap());
    moodle.ok("GET", &format!("//_synapse/admin/v1/rooms/{room}"), "[]");
    moodle.ok(
        "GET",
        &format!("//_matrix/client/r0/rooms/{room}/state/m.room.power_levels"),
        "[]",
    );
}

#[test]
fn moodle_4_4_reads_power_levels_from_a_sync() {
    with_both_tokens(|moodle, owner| {
        let room = moodle.create_room("Room one", "");
        assert!(moodle.enrol(&room, &id("teach1"), "teach1@example.invalid"));
        let levels = format!(r#"{{"{}":51}}"#, id("teach1"));
        assert_eq!(moodle.put_levels(&room, &levels).status, 200);
        let nothing = json!({ "not_types": ["*"] });
        let filter = json!({
            "account_data": nothing,
            "event_fields": ["type", "content"],
            "event_format": "client",
            "presence": nothing,
            "room": {
                "rooms": [room],
                "state": { "types": ["m.room.power_levels"] },
                "ephemeral": nothing,
                "timeline": nothing,
            },
        });
        let path = |filter: &Value| {
            let filter = php(&filter.to_string());
            format!("/_matrix/client/v3/sync?filter={filter}")
        };
        let sync = moodle.ok("GET", &path(&filter), "");
        let events = sync["rooms"]["join"][&room]["state"]["events"].as_array();
        let levels = events
            .unwrap()
            .iter()
            .find(|event| event["type"] == "m.room.power_levels");
        assert_eq!(
            levels.unwrap()["content"]["users"],
            json!({ id("teach1"): 51 })
        );
        // With any other filter a provisioning token is told nothing.
        let expect = if owner == "hsadmin" { 200 } else { 403 };
        for (pointer, wanted) in [
            ("/room/timeline", json!({})),
            ("/room/ephemeral", json!({})),
            ("/presence", json!({})),
            ("/room/state", json!({})),
            (
                "/room/state/types",
                json!(["m.room.power_levels", "m.room.topic"]),
            ),
            ("/room/state/types", json!(["*"])),
            ("/room/state/lazy_load_members", json!(true)),
        ] {
            let mut other = filter.clone();
            match other.pointer_mut(pointer) {
                Some(value) => *value = wanted,
                None => other["room"]["state"]["lazy_load_members"] = wanted,
            }
            let answer = moodle.send("GET", &path(&other), "");
            assert_eq!(answer.status, expect, "{other}: {answer:?}");
        }
    });
}
