//! What tools of Synapse's admins need beside its documented shapes: found with synadm, Ketesa,
//! Draupnir and Mjolnir.

use serde_json::json;

use crate::{
    process::php,
    synapse_admin::{Scene, id},
};

#[test]
fn sessions_are_told_at_once() {
    let scene = Scene::start();
    let alice = php(&id("alice"));
    scene.client(&scene.alice, "GET", "/account/whoami", &json!({}));
    let whois = scene.ok("GET", &format!("/v1/whois/{alice}"), "");
    let connection = &whois["devices"][""]["sessions"][0]["connections"][0];
    assert_eq!(connection["ip"], "127.0.0.1", "{whois}");
    assert_eq!(connection["user_agent"], "curl/8.5.0", "{whois}");
    let seen = connection["last_seen"].as_u64();
    assert!(seen.is_some(), "{whois}");
    let devices = scene.ok("GET", &format!("/v2/users/{alice}/devices"), "");
    assert_eq!(devices["devices"][0]["last_seen_ts"].as_u64(), seen);
    let user = scene.ok("GET", &format!("/v2/users/{alice}"), "");
    assert_eq!(user["last_seen_ts"].as_u64(), seen);
    let users = scene.ok("GET", "/v2/users?user_id=alice", "");
    assert_eq!(users["users"][0]["last_seen_ts"].as_u64(), seen);
}

#[test]
fn admins_are_told_the_aliases_of_rooms_they_are_not_in() {
    let scene = Scene::start();
    let room = scene.room(&scene.alice, &json!({ "room_alias_name": "hers" }));
    let path = format!("/rooms/{}/aliases", php(&room));
    let told = scene.client(&scene.admin, "GET", &path, &json!({}));
    assert_eq!(told.json(), json!({ "aliases": ["#hers:moodle.test"] }));
    let bob = scene.server.user("bob", &[]);
    let refused = scene.client(&bob, "GET", &path, &json!({}));
    assert_eq!(refused.code(), "403 M_FORBIDDEN");
}
