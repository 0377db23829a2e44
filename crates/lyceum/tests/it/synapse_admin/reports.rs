//! Reports and notices.

use serde_json::json;

use super::{Scene, id, keys};

use crate::process::php;

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
    let leave = format!("/rooms/{}/leave", php(&invited));
    let refused = scene.client(&scene.alice, "POST", &leave, &json!({}));
    assert_eq!(refused.code(), "403 M_CANNOT_LEAVE_SERVER_NOTICE_ROOM");
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

    // Who has closed their account is told all the same, as Synapse does.
    scene.server.user("bob", &[]);
    let bob = php(&id("bob"));
    scene.ok("POST", &format!("/v1/deactivate/{bob}"), "{}");
    let body = json!({ "user_id": id("bob"), "content": { "msgtype": "m.text", "body": "Bye" } });
    let sent = scene.ok("POST", "/v1/send_server_notice", &body.to_string());
    assert!(sent["event_id"].is_string(), "{sent}");
    let nobody = json!({ "user_id": id("nobody"), "content": "" }).to_string();
    let unknown = scene.admin("POST", "/v1/send_server_notice", &nobody);
    assert_eq!(unknown.code(), "404 M_NOT_FOUND");
    // Who is in may leave; the next notice comes in another room.
    let left = scene.client(&scene.alice, "POST", &leave, &json!({}));
    assert_eq!(left.status, 200, "{left:?}");
    let body =
        json!({ "user_id": id("alice"), "content": { "msgtype": "m.text", "body": "Again" } });
    scene.ok("POST", "/v1/send_server_notice", &body.to_string());
    let sync = scene
        .client(&scene.alice, "GET", "/sync", &json!({}))
        .json();
    let invites = sync["rooms"]["invite"].as_object().unwrap();
    assert_eq!(invites.len(), 1);
    assert!(!invites.contains_key(&invited));
}
