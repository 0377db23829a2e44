//! Synapse's admin API by real requests: who may, and the shapes that Ketesa, Draupnir and scripts
//! read.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::process::{Answer, Process, SERVER_NAME, php};

/// All endpoints under `/_synapse/admin` that need an admin.
const ENDPOINTS: &str = "\
GET /_synapse/admin/v2/users
GET /_synapse/admin/v3/users
GET /_synapse/admin/v2/users/{user_id}
PUT /_synapse/admin/v2/users/{user_id}
GET /_synapse/admin/v1/whois/{user_id}
POST /_synapse/admin/v1/deactivate/{user_id}
PUT /_synapse/admin/v1/suspend/{user_id}
POST /_synapse/admin/v1/reset_password/{user_id}
GET /_synapse/admin/v1/users/{user_id}/admin
PUT /_synapse/admin/v1/users/{user_id}/admin
GET /_synapse/admin/v1/users/{user_id}/joined_rooms
GET /_synapse/admin/v1/users/{user_id}/memberships
GET /_synapse/admin/v1/users/{user_id}/sent_invite_count
GET /_synapse/admin/v1/users/{user_id}/cumulative_joined_room_count
GET /_synapse/admin/v1/users/{user_id}/accountdata
GET /_synapse/admin/v1/users/{user_id}/media
DELETE /_synapse/admin/v1/users/{user_id}/media
POST /_synapse/admin/v1/users/{user_id}/login
POST /_synapse/admin/v1/users/{user_id}/_allow_cross_signing_replacement_without_uia
GET /_synapse/admin/v2/users/{user_id}/devices
POST /_synapse/admin/v2/users/{user_id}/devices
POST /_synapse/admin/v2/users/{user_id}/delete_devices
GET /_synapse/admin/v2/users/{user_id}/devices/{x}
PUT /_synapse/admin/v2/users/{user_id}/devices/{x}
DELETE /_synapse/admin/v2/users/{user_id}/devices/{x}
GET /_synapse/admin/v1/users/{user_id}/pushers
POST /_synapse/admin/v1/users/{user_id}/shadow_ban
DELETE /_synapse/admin/v1/users/{user_id}/shadow_ban
GET /_synapse/admin/v1/users/{user_id}/override_ratelimit
POST /_synapse/admin/v1/users/{user_id}/override_ratelimit
DELETE /_synapse/admin/v1/users/{user_id}/override_ratelimit
GET /_synapse/admin/v1/username_available
GET /_synapse/admin/v1/auth_providers/{x}/users/{x}
GET /_synapse/admin/v1/threepid/{x}/users/{x}
POST /_synapse/admin/v1/user/{user_id}/redact
GET /_synapse/admin/v1/user/redact_status/{x}
GET /_synapse/admin/v1/search_users/{user_id}
POST /_synapse/admin/v1/account_validity/validity
GET /_synapse/admin/v1/experimental_features/{user_id}
PUT /_synapse/admin/v1/experimental_features/{user_id}
GET /_synapse/admin/v1/rooms
GET /_synapse/admin/v1/rooms/{room_id}
DELETE /_synapse/admin/v1/rooms/{room_id}
DELETE /_synapse/admin/v2/rooms/{room_id}
GET /_synapse/admin/v2/rooms/{room_id}/delete_status
GET /_synapse/admin/v2/rooms/delete_status/{x}
GET /_synapse/admin/v1/rooms/{room_id}/members
GET /_synapse/admin/v1/rooms/{room_id}/state
GET /_synapse/admin/v1/rooms/{room_id}/messages
GET /_synapse/admin/v1/rooms/{room_id}/context/{x}
GET /_synapse/admin/v1/rooms/{room_id}/timestamp_to_event
GET /_synapse/admin/v1/rooms/{room_id}/hierarchy
GET /_synapse/admin/v1/rooms/{room_id}/block
PUT /_synapse/admin/v1/rooms/{room_id}/block
POST /_synapse/admin/v1/join/{room_id}
POST /_synapse/admin/v1/rooms/{room_id}/make_room_admin
GET /_synapse/admin/v1/rooms/{room_id}/forward_extremities
DELETE /_synapse/admin/v1/rooms/{room_id}/forward_extremities
POST /_synapse/admin/v1/purge_history/{room_id}
POST /_synapse/admin/v1/purge_history/{room_id}/{x}
GET /_synapse/admin/v1/purge_history_status/{x}
GET /_synapse/admin/v1/fetch_event/{x}
GET /_synapse/admin/v1/room/{room_id}/media
GET /_synapse/admin/v1/media/{x}/{x}
DELETE /_synapse/admin/v1/media/{x}/{x}
POST /_synapse/admin/v1/media/delete
POST /_synapse/admin/v1/media/{x}/delete
POST /_synapse/admin/v1/purge_media_cache
POST /_synapse/admin/v1/media/quarantine/{x}/{x}
POST /_synapse/admin/v1/media/unquarantine/{x}/{x}
POST /_synapse/admin/v1/room/{room_id}/media/quarantine
POST /_synapse/admin/v1/quarantine_media/{room_id}
POST /_synapse/admin/v1/user/{user_id}/media/quarantine
GET /_synapse/admin/v1/media/quarantine_changes
POST /_synapse/admin/v1/media/protect/{x}
POST /_synapse/admin/v1/media/unprotect/{x}
GET /_synapse/admin/v1/event_reports
GET /_synapse/admin/v1/event_reports/{x}
DELETE /_synapse/admin/v1/event_reports/{x}
GET /_synapse/admin/v1/user_reports
GET /_synapse/admin/v1/user_reports/{x}
DELETE /_synapse/admin/v1/user_reports/{x}
GET /_synapse/admin/v1/registration_tokens
POST /_synapse/admin/v1/registration_tokens/new
GET /_synapse/admin/v1/registration_tokens/{x}
PUT /_synapse/admin/v1/registration_tokens/{x}
DELETE /_synapse/admin/v1/registration_tokens/{x}
GET /_synapse/admin/v1/federation/destinations
GET /_synapse/admin/v1/federation/destinations/{x}
GET /_synapse/admin/v1/federation/destinations/{x}/rooms
POST /_synapse/admin/v1/federation/destinations/{x}/reset_connection
POST /_synapse/admin/v1/send_server_notice
PUT /_synapse/admin/v1/send_server_notice/{x}
GET /_synapse/admin/v1/scheduled_tasks
GET /_synapse/admin/v1/statistics/users/media
GET /_synapse/admin/v1/statistics/database/rooms
GET /_synapse/admin/v1/background_updates/status
GET /_synapse/admin/v1/background_updates/enabled
POST /_synapse/admin/v1/background_updates/enabled
POST /_synapse/admin/v1/background_updates/start_job";

/// A server with an admin and a user.
struct Scene {
    server: Process,
    admin: String,
    alice: String,
}

impl Scene {
    fn start() -> Self {
        let server = Process::start();
        let admin = server.user("hsadmin", &["--admin"]);
        let alice = server.user("alice", &[]);
        Self {
            server,
            admin,
            alice,
        }
    }

    fn admin(&self, method: &str, path: &str, body: &str) -> Answer {
        self.server
            .ask(&self.admin, method, &format!("/_synapse/admin{path}"), body)
    }

    /// What an admin gets from a request that must succeed.
    fn ok(&self, method: &str, path: &str, body: &str) -> Value {
        let answer = self.admin(method, path, body);
        assert!(answer.status < 300, "{method} {path} {body}: {answer:?}");
        answer.json()
    }

    fn client(&self, token: &str, method: &str, path: &str, body: &Value) -> Answer {
        let path = format!("/_matrix/client/v3{path}");
        self.server.ask(token, method, &path, &body.to_string())
    }

    fn room(&self, token: &str, body: &Value) -> String {
        let made = self.client(token, "POST", "/createRoom", body);
        made.json()["room_id"]
            .as_str()
            .unwrap_or_else(|| panic!("{made:?}"))
            .to_owned()
    }

    fn say(&self, token: &str, room: &str, name: &str, body: &str) -> String {
        let path = format!("/rooms/{}/send/m.room.message/{name}", php(room));
        let sent = self.client(
            token,
            "PUT",
            &path,
            &json!({ "msgtype": "m.text", "body": body }),
        );
        sent.json()["event_id"]
            .as_str()
            .unwrap_or_else(|| panic!("{sent:?}"))
            .to_owned()
    }

    fn upload(&self, token: &str, name: &str, bytes: &str) -> String {
        let path = format!("/_matrix/media/v3/upload?filename={name}");
        let uri = self.server.ask(token, "POST", &path, bytes).json()["content_uri"].clone();
        uri.as_str().unwrap().rsplit('/').next().unwrap().to_owned()
    }

    fn download(&self, token: &str, media_id: &str) -> u16 {
        let path = format!("/_matrix/client/v1/media/download/{SERVER_NAME}/{media_id}");
        self.server.ask(token, "GET", &path, "").status
    }

    /// Waits until a job ends; its last answer.
    fn finished(&self, path: &str) -> Value {
        for _ in 0..500 {
            let answer = self.ok("GET", path, "");
            if !["scheduled", "active"].contains(&answer["status"].as_str().unwrap_or_default()) {
                return answer;
            }
            std::thread::park_timeout(std::time::Duration::from_millis(20));
        }
        panic!("{path} does not end");
    }
}

fn id(name: &str) -> String {
    format!("@{name}:{SERVER_NAME}")
}

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap_or_else(|| panic!("{value}"))
        .keys()
        .map(String::as_str)
        .collect()
}

#[test]
fn without_an_admins_token_all_endpoints_refuse() {
    let scene = Scene::start();
    for line in ENDPOINTS.lines() {
        let (method, path) = line.split_once(' ').unwrap();
        let path = path
            .replace("{user_id}", &php(&id("alice")))
            .replace("{room_id}", "%21a%3Ab")
            .replace("{x}", "x");
        let none = scene.server.send(method, &path, &[], "{}");
        assert_eq!(none.code(), "401 M_MISSING_TOKEN", "{line}");
        let wrong = scene.server.ask("lyc_wrong", method, &path, "{}");
        assert_eq!(wrong.code(), "401 M_UNKNOWN_TOKEN", "{line}");
        let user = scene.server.ask(&scene.alice, method, &path, "not json");
        assert_eq!(user.code(), "403 M_FORBIDDEN", "{line}");
        let post = if method == "GET" { "[]" } else { "{}" };
        let admin = scene.server.ask(&scene.admin, "PATCH", &path, post);
        assert_eq!(admin.code(), "405 M_UNRECOGNIZED", "{line}");
    }
    let version = scene
        .server
        .send("GET", "/_synapse/admin/v1/server_version", &[], "");
    assert_eq!(keys(&version.json()), ["server_version"]);
}

#[test]
fn bad_input_gets_synapses_codes() {
    let scene = Scene::start();
    let check = |method: &str, path: &str, body: &str, expect: &str| {
        let answer = scene.admin(method, path, body);
        assert_eq!(answer.code(), expect, "{method} {path} {body}: {answer:?}");
    };
    let nobody = php(&id("nobody"));
    let alice = php(&id("alice"));
    let user = format!("/v2/users/{alice}");
    check("GET", &format!("/v2/users/{nobody}"), "", "404 M_NOT_FOUND");
    check("GET", "/v2/users/%40x%3Aelse.test", "", "400 M_UNKNOWN");
    check("GET", "/v2/users/nonsense", "", "400 M_INVALID_PARAM");
    check("PUT", &user, "not json", "400 M_NOT_JSON");
    check("PUT", &user, "[]", "400 M_BAD_JSON");
    check("PUT", &user, r#"{"admin":"yes"}"#, "400 M_BAD_JSON");
    check("PUT", &user, r#"{"password":5}"#, "400 M_UNKNOWN");
    check("PUT", &user, r#"{"user_type":"king"}"#, "400 M_UNKNOWN");
    check(
        "PUT",
        &user,
        r#"{"deactivated":true,"locked":true}"#,
        "400 M_UNKNOWN",
    );
    check(
        "PUT",
        &user,
        r#"{"threepids":[{"medium":"email"}]}"#,
        "400 M_MISSING_PARAM",
    );
    let me = format!("/v2/users/{}", php(&id("hsadmin")));
    check("PUT", &me, r#"{"admin":false}"#, "400 M_UNKNOWN");
    check(
        "PUT",
        &format!("/v1/users/{}/admin", php(&id("hsadmin"))),
        r#"{"admin":false}"#,
        "400 M_UNKNOWN",
    );
    check("GET", "/v2/users?from=-1", "", "400 M_INVALID_PARAM");
    check(
        "GET",
        "/v2/users?order_by=height",
        "",
        "400 M_INVALID_PARAM",
    );
    check("GET", "/v1/rooms?search_term=", "", "400 M_INVALID_PARAM");
    check("GET", "/v1/rooms/%21nowhere%3Ax", "", "404 M_NOT_FOUND");
    check("GET", "/v1/rooms/nonsense", "", "400 M_UNKNOWN");
    check(
        "PUT",
        "/v1/rooms/%21a%3Ab/block",
        r#"{"block":1}"#,
        "400 M_BAD_JSON",
    );
    check(
        "DELETE",
        "/v2/rooms/%21nowhere%3Ax",
        "{}",
        "404 M_NOT_FOUND",
    );
    check(
        "DELETE",
        "/v1/rooms/%21nowhere%3Ax",
        r#"{"purge":1}"#,
        "400 M_BAD_JSON",
    );
    check("GET", "/v2/rooms/delete_status/x", "", "404 M_NOT_FOUND");
    check("GET", "/v1/user/redact_status/x", "", "404 M_NOT_FOUND");
    check(
        "POST",
        &format!("/v1/user/{alice}/redact"),
        r#"{"rooms":[],"limit":0}"#,
        "400 M_UNKNOWN",
    );
    check(
        "POST",
        "/v1/join/%21nowhere%3Ax",
        &format!(r#"{{"user_id":"{}"}}"#, id("alice")),
        "404 M_NOT_FOUND",
    );
    check(
        "POST",
        "/v1/join/%21nowhere%3Ax",
        &format!(r#"{{"user_id":"{}"}}"#, id("nobody")),
        "404 M_NOT_FOUND",
    );
    check(
        "POST",
        "/v1/join/%21nowhere%3Ax",
        "{}",
        "400 M_MISSING_PARAM",
    );
    check(
        "POST",
        &format!("/v1/users/{}/login", php(&id("hsadmin"))),
        "{}",
        "400 M_UNKNOWN",
    );
    check(
        "POST",
        &format!("/v1/reset_password/{alice}"),
        "{}",
        "400 M_MISSING_PARAM",
    );
    check(
        "POST",
        &format!("/v1/users/{alice}/override_ratelimit"),
        r#"{"burst_count":-1}"#,
        "400 M_INVALID_PARAM",
    );
    check(
        "GET",
        &format!("/v1/users/{alice}/sent_invite_count"),
        "",
        "400 M_MISSING_PARAM",
    );
    check(
        "POST",
        &format!("/v1/users/{alice}/_allow_cross_signing_replacement_without_uia"),
        "{}",
        "404 M_NOT_FOUND",
    );
    check(
        "GET",
        &format!("/v2/users/{alice}/devices/NONE"),
        "",
        "404 M_NOT_FOUND",
    );
    check(
        "POST",
        &format!("/v2/users/{alice}/devices"),
        "{}",
        "400 M_UNKNOWN",
    );
    check(
        "GET",
        "/v1/username_available?username=alice",
        "",
        "400 M_USER_IN_USE",
    );
    check(
        "GET",
        "/v1/username_available?username=%C3%BC",
        "",
        "400 M_INVALID_USERNAME",
    );
    check(
        "GET",
        "/v1/threepid/email/users/x%40y",
        "",
        "404 M_NOT_FOUND",
    );
    check(
        "GET",
        "/v1/auth_providers/oidc/users/1",
        "",
        "404 M_NOT_FOUND",
    );
    check("GET", "/v1/registration_tokens/none", "", "404 M_NOT_FOUND");
    check(
        "POST",
        "/v1/registration_tokens/new",
        r#"{"token":"a b"}"#,
        "400 M_INVALID_PARAM",
    );
    check(
        "POST",
        "/v1/registration_tokens/new",
        r#"{"length":65}"#,
        "400 M_INVALID_PARAM",
    );
    check(
        "POST",
        "/v1/registration_tokens/new",
        r#"{"uses_allowed":-1}"#,
        "400 M_INVALID_PARAM",
    );
    check(
        "POST",
        "/v1/registration_tokens/new",
        r#"{"expiry_time":1}"#,
        "400 M_INVALID_PARAM",
    );
    check("GET", "/v1/event_reports/x", "", "400 M_INVALID_PARAM");
    check("GET", "/v1/event_reports/77", "", "404 M_NOT_FOUND");
    check("GET", "/v1/user_reports/77", "", "404 M_NOT_FOUND");
    check(
        "GET",
        "/v1/federation/destinations/else.test",
        "",
        "404 M_NOT_FOUND",
    );
    check(
        "GET",
        &format!("/v1/media/{SERVER_NAME}/none"),
        "",
        "404 M_NOT_FOUND",
    );
    check("DELETE", "/v1/media/else.test/none", "", "400 M_UNKNOWN");
    check(
        "POST",
        "/v1/media/delete?before_ts=1600000000",
        "",
        "400 M_INVALID_PARAM",
    );
    check("POST", "/v1/purge_media_cache", "", "400 M_MISSING_PARAM");
    check("GET", "/v1/fetch_event/%24none", "", "404 M_NOT_FOUND");
    check("POST", "/v1/purge_history/%21a%3Ab", "{}", "400 M_BAD_JSON");
    check(
        "POST",
        "/v1/purge_history/%21a%3Ab",
        r#"{"purge_up_to_ts":"x"}"#,
        "400 M_BAD_JSON",
    );
    check(
        "POST",
        "/v1/purge_history/%21a%3Ab",
        r#"{"purge_up_to_ts":1}"#,
        "404 M_NOT_FOUND",
    );
    check(
        "POST",
        "/v1/purge_history/%21a%3Ab/%24none",
        "{}",
        "404 M_NOT_FOUND",
    );
    check(
        "GET",
        "/v1/purge_history_status/none",
        "",
        "404 M_NOT_FOUND",
    );
    check(
        "POST",
        "/v1/background_updates/start_job",
        r#"{"job_name":"x"}"#,
        "400 M_UNKNOWN",
    );
    check(
        "POST",
        "/v1/background_updates/enabled",
        "{}",
        "400 M_UNKNOWN",
    );
    check(
        "POST",
        "/v1/send_server_notice",
        "{}",
        "400 M_MISSING_PARAM",
    );
    check(
        "POST",
        "/v1/send_server_notice",
        r#"{"user_id":"@x:else.test","content":{}}"#,
        "400 M_UNKNOWN",
    );
    check(
        "PUT",
        &format!("/v1/experimental_features/{alice}"),
        r#"{"features":{"msc1":true}}"#,
        "400 M_UNKNOWN",
    );
    check("GET", "/v1/nothing", "", "404 M_UNRECOGNIZED");
}

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
    let whois = scene.ok("GET", &format!("/v1/whois/{alice}"), "");
    assert!(
        whois["devices"][""]["sessions"][0]["connections"].is_array(),
        "{whois}"
    );

    // An admin acts as a user, without a device.
    let token = scene.ok("POST", &format!("/v1/users/{alice}/login"), "{}")["access_token"].clone();
    let token = token.as_str().unwrap();
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
fn rooms_are_read_and_ruled() {
    let scene = Scene::start();
    let alice = php(&id("alice"));
    let room = scene.room(
        &scene.alice,
        &json!({ "name": "Music", "topic": "Theory", "preset": "private_chat" }),
    );
    let other = scene.room(
        &scene.alice,
        &json!({ "name": "Art", "preset": "public_chat" }),
    );
    let said = scene.say(&scene.alice, &room, "1", "hello");
    let one = format!("/v1/rooms/{}", php(&room));

    let list = scene.ok("GET", "/v1/rooms?limit=1&order_by=name", "");
    assert_eq!(list["rooms"][0]["name"], json!("Art"));
    assert_eq!(
        (&list["offset"], &list["total_rooms"], &list["next_batch"]),
        (&json!(0), &json!(2), &json!(1))
    );
    assert_eq!(
        keys(&list["rooms"][0]),
        [
            "canonical_alias",
            "creator",
            "encryption",
            "federatable",
            "guest_access",
            "history_visibility",
            "join_rules",
            "joined_local_members",
            "joined_members",
            "name",
            "public",
            "room_id",
            "room_type",
            "state_events",
            "version"
        ]
    );
    let list = scene.ok("GET", "/v1/rooms?from=1&search_term=mus", "");
    assert_eq!(
        (&list["total_rooms"], &list["prev_batch"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(
        scene.ok("GET", &format!("{one}/members"), ""),
        json!({ "members": [id("alice")], "total": 1 })
    );
    let state = scene.ok("GET", &format!("{one}/state?type=m.room.name"), "");
    assert_eq!(state["state"][0]["content"], json!({ "name": "Music" }));
    let messages = scene.ok("GET", &format!("{one}/messages?dir=b&limit=1"), "");
    assert_eq!(messages["chunk"][0]["event_id"], json!(said));
    let end = messages["end"].as_str().unwrap();
    let before = scene.ok(
        "GET",
        &format!("{one}/messages?dir=b&limit=1&from={end}"),
        "",
    );
    assert_ne!(before["chunk"][0]["event_id"], json!(said));
    let context = scene.ok("GET", &format!("{one}/context/{}?limit=2", php(&said)), "");
    assert_eq!(context["event"]["content"]["body"], json!("hello"));
    assert_eq!(
        keys(&context),
        [
            "end",
            "event",
            "events_after",
            "events_before",
            "start",
            "state"
        ]
    );
    let found = scene.ok("GET", &format!("{one}/timestamp_to_event?ts=0&dir=f"), "");
    assert_eq!(keys(&found), ["event_id", "origin_server_ts"]);
    let fetched = scene.ok("GET", &format!("/v1/fetch_event/{}", php(&said)), "");
    assert_eq!(fetched["event"]["event_id"], json!(said));
    assert!(fetched["event"]["hashes"].is_object());
    let space = scene.room(
        &scene.alice,
        &json!({ "creation_content": { "type": "m.space" } }),
    );
    let child = format!("/rooms/{}/state/m.space.child/{}", php(&space), php(&room));
    scene.client(
        &scene.alice,
        "PUT",
        &child,
        &json!({ "via": [SERVER_NAME] }),
    );
    let tree = scene.ok("GET", &format!("/v1/rooms/{}/hierarchy", php(&space)), "");
    assert_eq!(tree["rooms"].as_array().unwrap().len(), 2);
    assert_eq!(
        tree["rooms"][0]["children_state"][0]["state_key"],
        json!(room)
    );
    let heads = scene.ok("GET", &format!("{one}/forward_extremities"), "");
    assert_eq!(
        (&heads["count"], &heads["results"][0]["event_id"]),
        (&json!(1), &json!(said))
    );
    assert_eq!(
        scene.ok("DELETE", &format!("{one}/forward_extremities"), ""),
        json!({ "deleted": 0 })
    );

    // The admin gets into the room, and power in it.
    scene.ok("POST", &format!("{one}/make_room_admin"), "{}");
    let joined = scene.client(
        &scene.admin,
        "POST",
        &format!("/join/{}", php(&room)),
        &json!({}),
    );
    assert_eq!(joined.status, 200, "{joined:?}");
    let levels = format!("/rooms/{}/state/m.room.power_levels", php(&room));
    let levels = scene
        .client(&scene.admin, "GET", &levels, &json!({}))
        .json();
    assert!(
        levels["users"][id("hsadmin")].as_i64().unwrap() >= 100,
        "{levels}"
    );
    let name = format!("/rooms/{}/state/m.room.name", php(&room));
    assert_eq!(
        scene
            .client(&scene.admin, "PUT", &name, &json!({ "name": "Mine" }))
            .status,
        200
    );

    // Blocked.
    let block = format!("/v1/rooms/{}/block", php(&other));
    assert_eq!(scene.ok("GET", &block, ""), json!({ "block": false }));
    assert_eq!(
        scene.ok("PUT", &block, r#"{"block":true}"#),
        json!({ "block": true })
    );
    assert_eq!(
        scene.ok("GET", &block, ""),
        json!({ "block": true, "user_id": id("hsadmin") })
    );
    let refused = scene.client(
        &scene.admin,
        "POST",
        &format!("/join/{}", php(&other)),
        &json!({}),
    );
    assert_eq!(refused.code(), "403 M_FORBIDDEN");
    scene.ok("PUT", &block, r#"{"block":false}"#);
    let joined = scene.client(
        &scene.admin,
        "POST",
        &format!("/join/{}", php(&other)),
        &json!({}),
    );
    assert_eq!(joined.status, 200);

    let rooms = scene.ok("GET", &format!("/v1/users/{alice}/joined_rooms"), "");
    assert_eq!(rooms["total"], json!(3));
    scene.client(
        &scene.alice,
        "POST",
        &format!("/rooms/{}/leave", php(&other)),
        &json!({}),
    );
    let all = scene.ok("GET", &format!("/v1/users/{alice}/memberships"), "");
    assert_eq!(all["memberships"][&other], json!("leave"));
    let count = scene.ok(
        "GET",
        &format!("/v1/users/{alice}/cumulative_joined_room_count?from_ts=0"),
        "",
    );
    assert_eq!(count, json!({ "cumulative_joined_room_count": 3 }));
    let count = scene.ok(
        "GET",
        &format!("/v1/users/{alice}/sent_invite_count?from_ts=0"),
        "",
    );
    assert_eq!(count, json!({ "invite_count": 1 }));
}

#[test]
fn rooms_are_deleted() {
    let scene = Scene::start();
    let bob = scene.server.user("bob", &[]);
    let body = json!({ "preset": "public_chat", "room_alias_name": "bad", "name": "Bad" });
    let room = scene.room(&scene.alice, &body);
    scene.client(&bob, "POST", &format!("/join/{}", php(&room)), &json!({}));
    let wish = json!({ "new_room_user_id": id("hsadmin"), "room_name": "Sorry", "message": "It is gone.", "block": true });
    let begun = scene.ok(
        "DELETE",
        &format!("/v2/rooms/{}", php(&room)),
        &wish.to_string(),
    );
    let job = begun["delete_id"].as_str().unwrap();
    let done = scene.finished(&format!("/v2/rooms/delete_status/{job}"));
    assert_eq!(done["status"], json!("complete"), "{done}");
    let shutdown = &done["shutdown_room"];
    assert_eq!(shutdown["kicked_users"], json!([id("alice"), id("bob")]));
    assert_eq!(shutdown["failed_to_kick_users"], json!([]));
    assert_eq!(
        shutdown["local_aliases"],
        json!([format!("#bad:{SERVER_NAME}")])
    );
    let new_room = shutdown["new_room_id"].as_str().unwrap();
    let joined = scene
        .client(&bob, "GET", "/joined_rooms", &json!({}))
        .json();
    assert_eq!(joined["joined_rooms"], json!([new_room]));
    assert_eq!(
        scene
            .admin("GET", &format!("/v1/rooms/{}", php(&room)), "")
            .code(),
        "404 M_NOT_FOUND"
    );
    let status = scene.ok(
        "GET",
        &format!("/v2/rooms/{}/delete_status", php(&room)),
        "",
    );
    assert_eq!(status["results"][0]["delete_id"], json!(job));
    let tasks = scene.ok(
        "GET",
        &format!(
            "/v1/scheduled_tasks?resource_id={}&status=complete",
            php(&room)
        ),
        "",
    );
    assert_eq!(
        keys(&tasks["scheduled_tasks"][0]),
        [
            "action",
            "error",
            "id",
            "resource_id",
            "result",
            "status",
            "timestamp_ms"
        ]
    );
    // Version 1 answers when it is done; here the room stays, empty.
    let room = scene.room(&scene.alice, &json!({}));
    let done = scene.ok(
        "DELETE",
        &format!("/v1/rooms/{}", php(&room)),
        r#"{"purge":false}"#,
    );
    assert_eq!(done["kicked_users"], json!([id("alice")]));
    let left = scene.ok("GET", &format!("/v1/rooms/{}", php(&room)), "");
    assert_eq!(left["joined_members"], json!(0));
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
        json!({ "status": "completed", "failed_redactions": {} })
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
    scene.ok("DELETE", &ban, "");
    let heard = scene.say(&scene.alice, &room, "heard", "sorry");
    scene.ok("GET", &format!("/v1/fetch_event/{}", php(&heard)), "");
}

#[test]
fn history_is_purged() {
    let scene = Scene::start();
    let room = scene.room(&scene.alice, &json!({ "name": "Old" }));
    let said: Vec<String> = (0..3)
        .map(|number| scene.say(&scene.alice, &room, &format!("t{number}"), "x"))
        .collect();
    let there = |event: &String| {
        scene
            .admin("GET", &format!("/v1/fetch_event/{}", php(event)), "")
            .status
            == 200
    };
    let purge = |body: &str| {
        let path = format!("/v1/purge_history/{}/{}", php(&room), php(&said[1]));
        let id = scene.ok("POST", &path, body)["purge_id"].clone();
        let path = format!("/v1/purge_history_status/{}", id.as_str().unwrap());
        assert_eq!(scene.finished(&path), json!({ "status": "complete" }));
    };
    // What users of this server wrote stays unless it is to go.
    purge("{}");
    assert_eq!(
        said.iter().map(there).collect::<Vec<_>>(),
        [true, true, true]
    );
    purge(r#"{"delete_local_events":true}"#);
    assert_eq!(
        said.iter().map(there).collect::<Vec<_>>(),
        [false, true, true]
    );
    let path = format!("/rooms/{}/messages?dir=b&limit=2", php(&room));
    let messages = scene.client(&scene.alice, "GET", &path, &json!({})).json();
    assert_eq!(messages["chunk"][1]["event_id"], json!(said[1]));
    let name = format!("/rooms/{}/state/m.room.name", php(&room));
    assert_eq!(
        scene.client(&scene.alice, "GET", &name, &json!({})).json(),
        json!({ "name": "Old" })
    );
}

#[test]
fn files_are_listed_quarantined_and_deleted() {
    let scene = Scene::start();
    let first = scene.upload(&scene.alice, "first.txt", "same bytes");
    let second = scene.upload(&scene.alice, "second.txt", "same bytes");
    let third = scene.upload(&scene.alice, "third.txt", "others");
    let files = format!("/v1/users/{}/media", php(&id("alice")));
    let list = scene.ok("GET", &format!("{files}?limit=2&order_by=upload_name"), "");
    assert_eq!(
        (&list["total"], &list["next_token"]),
        (&json!(3), &json!(2))
    );
    assert_eq!(list["media"][0]["upload_name"], json!("first.txt"));
    assert_eq!(
        keys(&list["media"][0]),
        [
            "created_ts",
            "last_access_ts",
            "media_id",
            "media_length",
            "media_type",
            "quarantined_by",
            "safe_from_quarantine",
            "upload_name"
        ]
    );
    let one = |media_id: &str| {
        scene.ok("GET", &format!("/v1/media/{SERVER_NAME}/{media_id}"), "")["media_info"].clone()
    };
    assert_eq!(one(&first)["media_length"], json!(10));
    assert_eq!(one(&first)["sha256"], one(&second)["sha256"]);

    let room = scene.room(&scene.alice, &json!({}));
    let path = format!("/rooms/{}/send/m.room.message/1", php(&room));
    let uri = format!("mxc://{SERVER_NAME}/{first}");
    scene.client(
        &scene.alice,
        "PUT",
        &path,
        &json!({ "msgtype": "m.file", "body": "f", "url": uri }),
    );
    let shown = scene.ok("GET", &format!("/v1/room/{}/media", php(&room)), "");
    assert_eq!(shown, json!({ "local": [uri], "remote": [] }));
    // The second has the same bytes, so it goes into quarantine with the first.
    let count = scene.ok(
        "POST",
        &format!("/v1/room/{}/media/quarantine", php(&room)),
        "{}",
    );
    assert_eq!(count, json!({ "num_quarantined": 2 }));
    assert_eq!(scene.download(&scene.alice, &second), 404);
    scene.ok(
        "POST",
        &format!("/v1/media/unquarantine/{SERVER_NAME}/{second}"),
        "{}",
    );
    assert_eq!(scene.download(&scene.alice, &second), 200);
    scene.ok("POST", &format!("/v1/media/protect/{third}"), "{}");
    let count = scene.ok(
        "POST",
        &format!("/v1/user/{}/media/quarantine", php(&id("alice"))),
        "{}",
    );
    assert_eq!(count, json!({ "num_quarantined": 1 }));
    assert_eq!(scene.download(&scene.alice, &third), 200);
    let changes = scene.ok("GET", "/v1/media/quarantine_changes", "");
    assert_eq!(
        (
            changes["changes"].as_array().unwrap().len(),
            &changes["next_batch"]
        ),
        (4, &json!(4))
    );
    let rest = scene.ok("GET", "/v1/media/quarantine_changes?from=3", "");
    assert_eq!(
        rest["changes"],
        json!([{ "origin": SERVER_NAME, "media_id": second, "quarantined": true }])
    );

    let usage = scene.ok(
        "GET",
        "/v1/statistics/users/media?order_by=media_length&dir=b",
        "",
    );
    assert_eq!(
        usage["users"],
        json!([{ "displayname": "alice", "media_count": 3, "media_length": 26, "user_id": id("alice") }])
    );
    scene.ok("POST", &format!("/v1/media/unprotect/{third}"), "{}");
    let deleted = scene.ok("DELETE", &format!("/v1/media/{SERVER_NAME}/{third}"), "");
    assert_eq!(deleted, json!({ "deleted_media": [third], "total": 1 }));
    assert_eq!(scene.download(&scene.alice, &third), 404);
    scene.ok(
        "POST",
        &format!("/v1/media/unquarantine/{SERVER_NAME}/{first}"),
        "{}",
    );
    scene.ok("DELETE", &format!("/v1/media/{SERVER_NAME}/{second}"), "");
    // The bytes stay as long as another file has them.
    assert_eq!(scene.download(&scene.alice, &first), 200);
    let old = scene.ok(
        "POST",
        "/v1/media/delete?before_ts=99999999999999&size_gt=1",
        "{}",
    );
    assert_eq!(old, json!({ "deleted_media": [first], "total": 1 }));
    assert_eq!(scene.ok("DELETE", &files, "")["total"], json!(0));
    assert_eq!(
        scene.ok(
            "POST",
            "/v1/purge_media_cache?before_ts=99999999999999",
            "{}"
        ),
        json!({ "deleted": 0 })
    );
}

#[test]
fn reports_and_notices() {
    let scene = Scene::start();
    let room = scene.room(
        &scene.admin,
        &json!({ "preset": "public_chat", "name": "Hall" }),
    );
    scene.client(
        &scene.alice,
        "POST",
        &format!("/join/{}", php(&room)),
        &json!({}),
    );
    let said = scene.say(&scene.admin, &room, "1", "rude");
    let path = format!("/rooms/{}/report/{}", php(&room), php(&said));
    let report = json!({ "reason": "rude", "score": -50 });
    assert_eq!(
        scene.client(&scene.alice, "POST", &path, &report).status,
        200
    );
    let list = scene.ok("GET", "/v1/event_reports", "");
    assert_eq!(list["total"], json!(1));
    assert_eq!(
        keys(&list["event_reports"][0]),
        [
            "canonical_alias",
            "event_id",
            "id",
            "name",
            "reason",
            "received_ts",
            "room_id",
            "score",
            "sender",
            "user_id"
        ]
    );
    assert_eq!(
        scene.ok("GET", "/v1/event_reports?user_id=%40x%3Ay", "")["total"],
        json!(0)
    );
    let one = scene.ok("GET", "/v1/event_reports/1", "");
    assert_eq!(one["event_json"]["content"]["body"], json!("rude"));
    assert_eq!(scene.ok("DELETE", "/v1/event_reports/1", ""), json!({}));
    assert_eq!(scene.ok("GET", "/v1/event_reports", "")["total"], json!(0));
    let path = format!("/users/{}/report", php(&id("hsadmin")));
    assert_eq!(
        scene
            .client(&scene.alice, "POST", &path, &json!({ "reason": "rude" }))
            .status,
        200
    );
    let one = scene.ok("GET", "/v1/user_reports/1", "");
    assert_eq!(
        keys(&one),
        ["id", "reason", "received_ts", "target_user_id", "user_id"]
    );
    assert_eq!(
        scene.ok("GET", "/v1/user_reports", "")["user_reports"][0],
        one
    );
    scene.ok("DELETE", "/v1/user_reports/1", "");

    // A notice comes as an invite to a room with the tag; a repeated one comes once.
    let body = json!({ "user_id": id("alice"), "content": { "msgtype": "m.text", "body": "Maintenance" } });
    let sent = scene.ok("PUT", "/v1/send_server_notice/1", &body.to_string());
    assert_eq!(
        scene.ok("PUT", "/v1/send_server_notice/1", &body.to_string()),
        sent
    );
    let sync = scene
        .client(&scene.alice, "GET", "/sync", &json!({}))
        .json();
    let invited = sync["rooms"]["invite"]
        .as_object()
        .unwrap()
        .keys()
        .next()
        .unwrap()
        .clone();
    scene.client(
        &scene.alice,
        "POST",
        &format!("/join/{}", php(&invited)),
        &json!({}),
    );
    let path = format!(
        "/rooms/{}/event/{}",
        php(&invited),
        php(sent["event_id"].as_str().unwrap())
    );
    let notice = scene.client(&scene.alice, "GET", &path, &json!({})).json();
    assert_eq!(notice["content"]["body"], json!("Maintenance"));
    let tags = format!("/user/{}/rooms/{}/tags", php(&id("alice")), php(&invited));
    let tags = scene.client(&scene.alice, "GET", &tags, &json!({})).json();
    assert_eq!(keys(&tags["tags"]), ["m.server_notice"]);
    let other = scene.ok("POST", "/v1/send_server_notice", &body.to_string());
    assert_ne!(other, sent);
    let rooms = scene.ok(
        "GET",
        &format!("/v1/users/{}/joined_rooms", php(&id("alice"))),
        "",
    );
    assert_eq!(rooms["total"], json!(2));
}

#[test]
fn registration_tokens_and_the_rest() {
    let scene = Scene::start();
    let made = scene.ok(
        "POST",
        "/v1/registration_tokens/new",
        r#"{"token":"abcd","uses_allowed":3}"#,
    );
    let token = json!({ "token": "abcd", "uses_allowed": 3, "pending": 0, "completed": 0, "expiry_time": null });
    assert_eq!(made, token);
    assert_eq!(
        scene
            .admin("POST", "/v1/registration_tokens/new", r#"{"token":"abcd"}"#)
            .code(),
        "400 M_INVALID_PARAM"
    );
    assert_eq!(scene.ok("GET", "/v1/registration_tokens/abcd", ""), token);
    let changed = scene.ok(
        "PUT",
        "/v1/registration_tokens/abcd",
        r#"{"uses_allowed":0}"#,
    );
    assert_eq!(changed["uses_allowed"], json!(0));
    let random = scene.ok("POST", "/v1/registration_tokens/new", r#"{"length":40}"#);
    assert_eq!(random["token"].as_str().unwrap().len(), 40);
    let list = |query: &str| {
        scene.ok("GET", &format!("/v1/registration_tokens{query}"), "")["registration_tokens"]
            .clone()
    };
    assert_eq!(list("").as_array().unwrap().len(), 2);
    assert_eq!(list("?valid=false"), json!([changed]));
    assert_eq!(list("?valid=true"), json!([random]));
    assert_eq!(
        scene.ok("DELETE", "/v1/registration_tokens/abcd", ""),
        json!({})
    );

    let check = |path: &str, expect: Value| assert_eq!(scene.ok("GET", path, ""), expect, "{path}");
    check(
        "/v1/federation/destinations",
        json!({ "destinations": [], "total": 0 }),
    );
    check(
        "/v1/background_updates/status",
        json!({ "enabled": true, "current_updates": {} }),
    );
    scene.ok(
        "POST",
        "/v1/background_updates/enabled",
        r#"{"enabled":false}"#,
    );
    check(
        "/v1/background_updates/enabled",
        json!({ "enabled": false }),
    );
    scene.ok(
        "POST",
        "/v1/background_updates/start_job",
        r#"{"job_name":"regenerate_directory"}"#,
    );
    check("/v1/scheduled_tasks", json!({ "scheduled_tasks": [] }));
    check(
        "/v1/username_available?username=carol",
        json!({ "available": true }),
    );
    let alice = php(&id("alice"));
    let features = format!("/v1/experimental_features/{alice}");
    check(
        &features,
        json!({ "features": { "msc3575": false, "msc3881": false, "msc4222": true } }),
    );
    scene.ok(
        "PUT",
        &features,
        r#"{"features":{"msc4222":true,"msc3881":false}}"#,
    );
    let room = scene.room(&scene.alice, &json!({}));
    let rooms = scene.ok("GET", "/v1/statistics/database/rooms", "");
    assert_eq!(rooms["rooms"][0]["room_id"], json!(room));
    assert!(rooms["rooms"][0]["estimated_size"].as_u64().unwrap() > 1_000);
    let found = scene.ok("GET", &format!("/v1/search_users/{alice}?term=ali"), "");
    assert_eq!(
        found,
        json!([{ "name": id("alice"), "is_guest": 0, "admin": 0 }])
    );
}
