//! Lists come in pages, in every order and both directions.

use serde_json::{Value, json};

use super::{Scene, id};
use crate::process::php;

/// A list: its path, the key of its entries, the key and the kind of its token, its orders.
struct List {
    path: String,
    key: &'static str,
    next: &'static str,
    orders: &'static [&'static str],
}

#[test]
fn pages_make_up_the_whole() {
    let scene = Scene::start();
    let bob = scene.server.user("bob", &[]);
    for (token, name) in [(&scene.alice, "Art"), (&bob, "Music"), (&bob, "Art")] {
        let room = scene.room(token, &json!({ "name": name, "preset": "public_chat" }));
        let said = scene.say(token, &room, name, "x");
        let report = format!("/rooms/{}/report/{}", php(&room), php(&said));
        scene.client(token, "POST", &report, &json!({ "reason": name }));
        let report = format!("/users/{}/report", php(&id("hsadmin")));
        scene.client(token, "POST", &report, &json!({ "reason": name }));
        scene.upload(&scene.alice, name, name);
        scene.upload(&bob, name, name);
    }
    for list in [
        users("v2"),
        users("v3"),
        List {
            path: "/v1/rooms".to_owned(),
            key: "rooms",
            next: "next_batch",
            orders: &[
                "alphabetical",
                "size",
                "name",
                "canonical_alias",
                "joined_members",
                "joined_local_members",
                "version",
                "creator",
                "encryption",
                "federatable",
                "public",
                "join_rules",
                "guest_access",
                "history_visibility",
                "state_events",
            ],
        },
        List {
            path: format!("/v1/users/{}/media", php(&id("alice"))),
            key: "media",
            next: "next_token",
            orders: &[
                "media_id",
                "upload_name",
                "created_ts",
                "last_access_ts",
                "media_length",
                "media_type",
                "quarantined_by",
                "safe_from_quarantine",
            ],
        },
        List {
            path: "/v1/statistics/users/media".to_owned(),
            key: "users",
            next: "next_token",
            orders: &["user_id", "displayname", "media_length", "media_count"],
        },
        reports("event_reports"),
        reports("user_reports"),
    ] {
        for order in list.orders {
            for direction in ["f", "b"] {
                check(&scene, &list, &format!("order_by={order}&dir={direction}"));
            }
        }
    }
}

fn users(version: &str) -> List {
    List {
        path: format!("/{version}/users"),
        key: "users",
        next: "next_token",
        orders: &[
            "name",
            "displayname",
            "is_guest",
            "admin",
            "deactivated",
            "user_type",
            "avatar_url",
            "shadow_banned",
            "creation_ts",
            "last_seen_ts",
            "locked",
        ],
    }
}

/// Reports come in the order of time, whatever else is asked for.
fn reports(key: &'static str) -> List {
    List {
        path: format!("/v1/{key}"),
        key,
        next: "next_token",
        orders: &["received_ts"],
    }
}

/// Pages of one entry each are together what one page of all is.
fn check(scene: &Scene, list: &List, order: &str) {
    let page = |more: &str| scene.ok("GET", &format!("{}?{order}{more}", list.path), "");
    let whole = page("");
    let whole: Vec<Value> = whole[list.key].as_array().unwrap().clone();
    assert!(whole.len() > 1, "{} {order}", list.path);
    let mut entries = Vec::new();
    let mut from = "0".to_owned();
    loop {
        let one = page(&format!("&limit=1&from={from}"));
        assert_eq!(one[list.key].as_array().unwrap().len(), 1, "{one}");
        entries.push(one[list.key][0].clone());
        assert!(entries.len() <= whole.len(), "{} does not end", list.path);
        match &one[list.next] {
            Value::Null => break,
            Value::String(next) => from.clone_from(next),
            next => from = next.to_string(),
        }
    }
    assert_eq!(named(&entries), named(&whole), "{} {order}", list.path);
}

/// Entries without what a request itself changes.
fn named(entries: &[Value]) -> Vec<Value> {
    let keys = ["name", "room_id", "media_id", "id", "user_id"];
    entries
        .iter()
        .map(|entry| keys.iter().map(|key| entry[key].clone()).collect())
        .collect()
}
