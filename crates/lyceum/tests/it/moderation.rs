//! Locking and suspending by the specification's own endpoints (Client-Server API, "Server
//! Administration").

use serde_json::{Value, json};

use crate::{
    process::php,
    synapse_admin::{Scene, id},
};

const PREFIXES: [&str; 2] = [
    "/_matrix/client/v1/admin",
    "/_matrix/client/unstable/uk.timedout.msc4323/admin",
];

fn path(prefix: &str, what: &str, user_id: &str) -> String {
    format!("{prefix}/{what}/{}", php(user_id))
}

#[test]
fn accounts_are_locked_and_suspended() {
    let scene = Scene::start();
    let ask = |method: &str, path: &str, body: &Value| {
        let answer = scene
            .server
            .ask(&scene.admin, method, path, &body.to_string());
        (answer.status, answer.json())
    };
    for prefix in PREFIXES {
        let suspend = path(prefix, "suspend", &id("alice"));
        let is = |suspended: bool| (200, json!({ "suspended": suspended }));
        assert_eq!(ask("GET", &suspend, &json!({})), is(false));
        for suspended in [true, true, false] {
            let body = json!({ "suspended": suspended });
            assert_eq!(ask("PUT", &suspend, &body), is(suspended));
            assert_eq!(ask("GET", &suspend, &json!({})), is(suspended));
            let made = scene.client(&scene.alice, "POST", "/createRoom", &json!({}));
            let expected = if suspended { 403 } else { 200 };
            assert_eq!(made.status, expected, "{made:?}");
        }

        let lock = path(prefix, "lock", &id("alice"));
        let is = |locked: bool| (200, json!({ "locked": locked }));
        assert_eq!(ask("GET", &lock, &json!({})), is(false));
        for locked in [true, false] {
            assert_eq!(ask("PUT", &lock, &json!({ "locked": locked })), is(locked));
            assert_eq!(ask("GET", &lock, &json!({})), is(locked));
            let asked = scene.client(&scene.alice, "GET", "/account/whoami", &json!({}));
            let expected = if locked { "401 M_USER_LOCKED" } else { "200" };
            assert_eq!(asked.code(), expected, "{asked:?}");
        }
    }
}

#[test]
fn only_admins_moderate_and_only_others() {
    let scene = Scene::start();
    let gone = id("gone");
    scene.server.user("gone", &[]);
    scene.ok("POST", &format!("/v1/deactivate/{}", php(&gone)), "{}");
    let provisioning = scene.server.command(&["token", "provision"]);
    let body = |what: &str| match what {
        "lock" => json!({ "locked": true }).to_string(),
        _ => json!({ "suspended": true }).to_string(),
    };
    for (what, method) in [
        ("lock", "GET"),
        ("lock", "PUT"),
        ("suspend", "GET"),
        ("suspend", "PUT"),
    ] {
        let code = |token: &str, user_id: &str| {
            let path = path(PREFIXES[0], what, user_id);
            scene.server.ask(token, method, &path, &body(what)).code()
        };
        // Who may not is told nothing about who there is.
        for token in [&scene.alice, &provisioning] {
            for user_id in [id("alice"), id("nobody"), id("hsadmin")] {
                assert_eq!(code(token, &user_id), "403 M_FORBIDDEN");
            }
        }
        let refusals = [
            (id("hsadmin"), "403 M_FORBIDDEN"),
            (id("nobody"), "404 M_NOT_FOUND"),
            (gone.clone(), "404 M_NOT_FOUND"),
            ("@alice:elsewhere.example".to_owned(), "400 M_INVALID_PARAM"),
            ("alice".to_owned(), "400 M_INVALID_PARAM"),
        ];
        for (user_id, expected) in refusals {
            assert_eq!(code(&scene.admin, &user_id), expected, "{what} {user_id}");
        }
    }
    let promote = format!("/v1/users/{}/admin", php(&id("alice")));
    scene.ok("PUT", &promote, r#"{"admin":true}"#);
    for what in ["lock", "suspend"] {
        let path = path(PREFIXES[0], what, &id("alice"));
        let other = scene.server.ask(&scene.admin, "PUT", &path, &body(what));
        assert_eq!(other.code(), "403 M_FORBIDDEN");
        for wrong in [r#"{}"#, r#"{"locked":1,"suspended":"yes"}"#, "[]"] {
            let refused = scene.server.ask(&scene.admin, "PUT", &path, wrong);
            assert_eq!(refused.status, 400, "{wrong}: {refused:?}");
        }
    }
}

#[test]
fn admins_are_told_that_they_can_moderate() {
    let scene = Scene::start();
    let capabilities = |token: &str| {
        let answer = scene.client(token, "GET", "/capabilities", &json!({}));
        answer.json()["capabilities"]["m.account_moderation"].clone()
    };
    let both = json!({ "suspend": true, "lock": true });
    assert_eq!(capabilities(&scene.admin), both);
    assert_eq!(capabilities(&scene.alice), Value::Null);
}
