//! Who may ask, and what wrong requests get.

use super::{ENDPOINTS, Scene, id, table};
use crate::process::php;

#[test]
fn without_an_admins_token_all_endpoints_refuse() {
    let scene = Scene::start();
    for line in ENDPOINTS.lines() {
        let (method, path) = line.split_once(' ').unwrap();
        let path: String = path
            .split('/')
            .map(|segment| match segment {
                "{user_id}" => php(&id("alice")),
                "{room_id}" | "{room_id_or_alias}" => "%21a%3Ab".to_owned(),
                name if name.starts_with('{') => "x".to_owned(),
                word => word.to_owned(),
            })
            .collect::<Vec<_>>()
            .join("/");
        let post = if method == "GET" { "[]" } else { "{}" };
        let admin = scene.server.ask(&scene.admin, "PATCH", &path, post);
        assert_eq!(admin.code(), "405 M_UNRECOGNIZED", "{line}");
        // Here a secret stands for the token.
        if path == "/_synapse/admin/v1/register" {
            continue;
        }
        let none = scene.server.send(method, &path, &[], "{}");
        assert_eq!(none.code(), "401 M_MISSING_TOKEN", "{line}");
        let wrong = scene.server.ask("lyc_wrong", method, &path, "{}");
        assert_eq!(wrong.code(), "401 M_UNKNOWN_TOKEN", "{line}");
        let user = scene.server.ask(&scene.alice, method, &path, "not json");
        assert_eq!(user.code(), "403 M_FORBIDDEN", "{line}");
    }
    let head = scene
        .server
        .ask(&scene.alice, "HEAD", "/_synapse/admin/v2/users", "");
    assert_eq!((head.status, head.text.as_str()), (403, ""));
}

#[test]
fn wrong_requests_get_synapses_words() {
    table::check(&Scene::start(), include_str!("refusals.txt"));
}
