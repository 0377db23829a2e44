//! Files: listed, quarantined, deleted.

use serde_json::json;

use super::{Scene, id, keys};

use crate::process::{SERVER_NAME, php};

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
            "authenticated",
            "created_ts",
            "last_access_ts",
            "media_id",
            "media_length",
            "media_type",
            "quarantined_by",
            "safe_from_quarantine",
            "sha256",
            "upload_name",
            "url_cache",
            "user_id"
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
    // What is no room shows nothing.
    let shown = scene.ok("GET", "/v1/room/nope/media", "");
    assert_eq!(shown, json!({ "local": [], "remote": [] }));
    let count = scene.ok("POST", "/v1/room/nope/media/quarantine", "{}");
    assert_eq!(count, json!({ "num_quarantined": 0 }));
    // The second has the same bytes, so it goes into quarantine with the first.
    let count = scene.ok(
        "POST",
        &format!("/v1/room/{}/media/quarantine", php(&room)),
        "{}",
    );
    assert_eq!(count, json!({ "num_quarantined": 2 }));
    assert_eq!(scene.download(&scene.alice, &second), 404);
    // So does what is uploaded later. Only admins may look at it, if they say so.
    let later = scene.upload(&scene.alice, "later.txt", "same bytes");
    assert_eq!(one(&later)["quarantined_by"], json!(id("hsadmin")));
    let bypass = format!("{later}?admin_unsafely_bypass_quarantine=true");
    for (token, media_id, status) in [
        (&scene.alice, &later, 404),
        (&scene.alice, &bypass, 400),
        (&scene.admin, &later, 404),
        (&scene.admin, &bypass, 200),
    ] {
        assert_eq!(scene.download(token, media_id), status);
    }
    // All of them come out together, too.
    let release = format!("/v1/media/unquarantine/{SERVER_NAME}/{second}");
    scene.ok("POST", &release, "{}");
    for media_id in [&first, &second, &later] {
        assert_eq!(scene.download(&scene.alice, media_id), 200);
    }
    scene.ok("DELETE", &format!("/v1/media/{SERVER_NAME}/{later}"), "");
    scene.ok("POST", &format!("/v1/media/protect/{third}"), "{}");
    let count = scene.ok(
        "POST",
        &format!("/v1/user/{}/media/quarantine", php(&id("alice"))),
        "{}",
    );
    assert_eq!(count, json!({ "num_quarantined": 2 }));
    assert_eq!(scene.download(&scene.alice, &third), 200);
    // Nothing is left to be kept away, or there never was anything; that is no error.
    for name in ["alice", "nobody", "hsadmin"] {
        let path = format!("/v1/user/{}/media/quarantine", php(&id(name)));
        assert_eq!(scene.ok("POST", &path, ""), json!({ "num_quarantined": 0 }));
    }
    let changes = scene.ok("GET", "/v1/media/quarantine_changes", "");
    assert_eq!(
        (
            changes["changes"].as_array().unwrap().len(),
            &changes["next_batch"]
        ),
        (8, &json!(8))
    );
    let rest = scene.ok("GET", "/v1/media/quarantine_changes?from=7", "");
    let [last] = &rest["changes"].as_array().unwrap()[..] else {
        panic!("{rest}");
    };
    assert_eq!(last["quarantined"], json!(true));
    assert!(
        [json!(first), json!(second)].contains(&last["media_id"]),
        "{last}"
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
