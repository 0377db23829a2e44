//! The server: registration tokens, statistics, background updates, features.

use serde_json::{Value, json};

use super::{Scene, id};

use crate::process::php;

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
    // The version is for admins and who provisions; a program's first guess has no token.
    let version = "/_synapse/admin/v1/server_version";
    let none = scene.server.send("GET", version, &[], "");
    assert_eq!(none.code(), "401 M_MISSING_TOKEN");
    let provisioning = scene.server.command(&["token", "provision"]);
    assert_eq!(
        scene.server.ask(&provisioning, "GET", version, "").status,
        200
    );
    // The account that writes notices is nobody else's.
    let notices = format!("/v2/users/{}", php(&id("notices")));
    assert_eq!(scene.admin("PUT", &notices, "{}").code(), "400 M_EXCLUSIVE");
    assert_eq!(
        scene
            .admin("GET", "/v1/username_available?username=notices", "")
            .code(),
        "400 M_EXCLUSIVE"
    );
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
        json!([{ "name": id("alice"), "is_guest": false, "admin": false, "user_type": null }])
    );
}
