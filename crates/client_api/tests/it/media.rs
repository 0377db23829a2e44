//! `/_matrix/media/…` and `/_matrix/client/v1/media/…`.

use std::{
    future::{Future, poll_fn},
    io::Cursor,
    pin::pin,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use http::Method;
use lyceum_model::{Batch, MatrixError, MediaChange, MediaId};
use lyceum_server::media::{Description, Fulfilment, UploadError};
use serde_json::{Value, json};

use crate::harness::{ANY, Answer, Client, SERVER, TestServer};

const PNG: (&str, &str) = ("content-type", "image/png");
const TEXT: (&str, &str) = ("content-type", "text/plain");

#[tokio::test]
async fn what_goes_in_comes_out() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    // Several chunks of the disk, and not a multiple of them.
    let file: Bytes = (0..1_000_003_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    for version in ["r0", "v1", "v3"] {
        let path = format!("/_matrix/media/{version}/upload?filename=cat%20pic.png");
        let answer = alice
            .send_with(Method::POST, &path, &[PNG], file.clone())
            .await;
        let id = id_of(&answer.expect(200, json!({ "content_uri": ANY })));
        for path in [
            format!("/v1/media/download/{id}"),
            format!("/unstable/org.matrix.msc3916/media/download/{id}"),
            format!("/_matrix/media/r0/download/{id}"),
            format!("/_matrix/media/v1/download/{id}"),
            format!("/_matrix/media/v3/download/{id}?allow_remote=false"),
        ] {
            let answer = alice.get(&path).await;
            assert_eq!(answer.status, 200, "{path}");
            assert!(answer.bytes == file, "{path}");
            header(&answer, "content-type", "image/png");
            header(&answer, "content-length", "1000003");
            header(
                &answer,
                "content-disposition",
                "inline; filename=\"cat pic.png\"",
            );
        }
        let named = alice
            .get(&format!("/v1/media/download/{id}/d%C3%B6g%2F1.png"))
            .await;
        header(
            &named,
            "content-disposition",
            "inline; filename*=utf-8''d%C3%B6g%2F1.png",
        );
    }
}

#[tokio::test]
async fn answers_are_safe_and_may_be_kept() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let page = Bytes::from_static(b"<script>alert(1)</script>");
    let html = ("content-type", "text/html; charset=utf-8");
    let id = upload(&alice, &[html], page.clone()).await;
    let answer = alice.get(&format!("/v1/media/download/{id}")).await;
    header(&answer, "content-type", "text/html; charset=utf-8");
    header(&answer, "content-disposition", "attachment");
    header(&answer, "x-content-type-options", "nosniff");
    header(&answer, "cross-origin-resource-policy", "cross-origin");
    header(&answer, "access-control-allow-origin", "*");
    header(
        &answer,
        "cache-control",
        "private, max-age=31536000, immutable",
    );
    let policy = answer.headers["content-security-policy"].to_str().unwrap();
    assert!(
        policy.starts_with("sandbox; default-src 'none'; script-src 'none';"),
        "{policy}"
    );
    let legacy = server
        .anonymous()
        .get(&format!("/_matrix/media/v3/download/{id}"))
        .await;
    header(
        &legacy,
        "cache-control",
        "public, max-age=31536000, immutable",
    );

    let etag = answer.headers["etag"].to_str().unwrap();
    for (known, expect) in [(etag, 304), ("*", 304), ("\"other\"", 200)] {
        let path = format!("/v1/media/download/{id}");
        let known = [("if-none-match", known)];
        let answer = alice
            .send_with(Method::GET, &path, &known, Bytes::new())
            .await;
        assert_eq!(answer.status, expect);
    }
    let unknown = upload(&alice, &[], page).await;
    let answer = alice.get(&format!("/v1/media/download/{unknown}")).await;
    header(&answer, "content-type", "application/octet-stream");
    let head = alice
        .send(Method::HEAD, &format!("/v1/media/download/{id}"), "")
        .await;
    assert_eq!((head.status, head.bytes.len()), (200, 0));
    header(&head, "content-length", "25");
}

#[tokio::test]
async fn parts_of_files() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let id = upload(&alice, &[TEXT], Bytes::from_static(b"0123456789")).await;
    let path = format!("/v1/media/download/{id}");
    let etag = alice.get(&path).await.headers["etag"]
        .to_str()
        .unwrap()
        .to_owned();
    type Headers<'a> = &'a [(&'a str, &'a str)];
    let cases: [(Headers<'_>, u16, &str, Option<&str>); 6] = [
        (&[("range", "bytes=2-4")], 206, "234", Some("bytes 2-4/10")),
        (&[("range", "bytes=-1")], 206, "9", Some("bytes 9-9/10")),
        (&[("range", "bytes=10-")], 416, "", Some("bytes */10")),
        (&[("range", "bytes=0-1,4-5")], 200, "0123456789", None),
        (
            &[("range", "bytes=2-4"), ("if-range", &etag)],
            206,
            "234",
            Some("bytes 2-4/10"),
        ),
        (
            &[("range", "bytes=2-4"), ("if-range", "\"x\"")],
            200,
            "0123456789",
            None,
        ),
    ];
    for (headers, status, body, range) in cases {
        let answer = alice
            .send_with(Method::GET, &path, headers, Bytes::new())
            .await;
        assert_eq!(
            (answer.status, &answer.bytes[..]),
            (status, body.as_bytes()),
            "{headers:?}"
        );
        let told = answer
            .headers
            .get("content-range")
            .map(|value| value.to_str().unwrap());
        assert_eq!(told, range, "{headers:?}");
    }
    let empty = upload(&alice, &[TEXT], Bytes::new()).await;
    let answer = alice.get(&format!("/v1/media/download/{empty}")).await;
    assert_eq!((answer.status, answer.bytes.len()), (200, 0));
}

#[tokio::test]
async fn odd_file_names_come_back() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let cases = [
        ("", "inline"),
        ("a;b", "inline; filename=\"a;b\""),
        ("a%22b", "inline; filename*=utf-8''a%22b"),
        (
            "%0D%0ASet-Cookie:x",
            "inline; filename*=utf-8''%0D%0ASet-Cookie%3Ax",
        ),
        ("%F0%9F%90%88", "inline; filename*=utf-8''%F0%9F%90%88"),
        (
            "..%2F..%2Fetc%2Fpasswd",
            "inline; filename=\"../../etc/passwd\"",
        ),
    ];
    for (name, expect) in cases {
        let path = format!("/_matrix/media/v3/upload?filename={name}");
        let answer = alice
            .send_with(Method::POST, &path, &[TEXT], Bytes::from_static(b"x"))
            .await;
        let id = id_of(&answer.ok());
        let answer = alice.get(&format!("/v1/media/download/{id}")).await;
        header(&answer, "content-disposition", expect);
    }
    let path = format!("/_matrix/media/v3/upload?filename={}", "x".repeat(1_025));
    alice
        .send(Method::POST, &path, "x")
        .await
        .expect_error(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn who_may_do_what() {
    let server = TestServer::start().await;
    let (alice, nobody) = (server.user("alice").await, server.anonymous());
    let id = upload(&alice, &[TEXT], Bytes::from_static(b"x")).await;
    for path in [
        "/v1/media/config".to_owned(),
        format!("/v1/media/download/{id}"),
    ] {
        nobody.get(&path).await.expect_error(401, "M_MISSING_TOKEN");
        server
            .client("wrong")
            .get(&path)
            .await
            .expect_error(401, "M_UNKNOWN_TOKEN");
    }
    nobody
        .send(Method::POST, "/_matrix/media/v3/upload", "x")
        .await
        .expect_error(401, "M_MISSING_TOKEN");
    nobody
        .send(Method::POST, "/_matrix/media/v1/create", "")
        .await
        .expect_error(401, "M_MISSING_TOKEN");
    assert_eq!(
        nobody
            .get(&format!("/_matrix/media/v3/download/{id}"))
            .await
            .status,
        200
    );
    let path = format!("/_matrix/media/v3/download/{id}");
    assert_eq!(server.client("wrong").get(&path).await.status, 200);
    for path in ["/v1/media/config", "/_matrix/media/v3/config"] {
        alice
            .get(path)
            .await
            .expect(200, json!({ "m.upload.size": 100 * 1024 * 1024 }));
    }

    let server = TestServer::with(|config| config.media.legacy_endpoints = false).await;
    let alice = server.user("alice").await;
    let id = upload(&alice, &[PNG], picture(10, 10)).await;
    for path in [
        format!("download/{id}"),
        format!("thumbnail/{id}?width=1&height=1"),
    ] {
        let legacy = format!("/_matrix/media/v3/{path}");
        server
            .anonymous()
            .get(&legacy)
            .await
            .expect_error(404, "M_NOT_FOUND");
        alice.get(&legacy).await.expect_error(404, "M_NOT_FOUND");
        assert_eq!(alice.get(&format!("/v1/media/{path}")).await.status, 200);
    }
}

#[tokio::test]
async fn what_is_not_there() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    for (path, status, code) in [
        ("/v1/media/download/example.org/nothing", 404, "M_NOT_FOUND"),
        (
            "/v1/media/download/elsewhere.org/nothing",
            404,
            "M_NOT_FOUND",
        ),
        (
            "/v1/media/download/example.org/..%2F..%2Fetc%2Fpasswd",
            404,
            "M_NOT_FOUND",
        ),
        ("/v1/media/download/example.org/%00", 404, "M_NOT_FOUND"),
        ("/v1/media/download/ex%20ample/x", 400, "M_INVALID_PARAM"),
        (
            "/v1/media/download/example.org/x?timeout_ms=soon",
            400,
            "M_INVALID_PARAM",
        ),
        (
            "/v1/media/thumbnail/example.org/x?width=1&height=1",
            404,
            "M_NOT_FOUND",
        ),
        ("/v1/media/preview_url?url=http://x", 404, "M_UNRECOGNIZED"),
        ("/_matrix/media/v2/config", 404, "M_UNRECOGNIZED"),
        ("/_matrix/media/v3/upload", 405, "M_UNRECOGNIZED"),
    ] {
        alice.get(path).await.expect_error(status, code);
    }
}

#[tokio::test]
async fn too_large_files_are_refused() {
    let server = TestServer::with(|config| config.media.upload_bytes_max = 1_000).await;
    let alice = server.user("alice").await;
    upload(&alice, &[TEXT], vec![b'x'; 1_000].into()).await;
    let path = "/_matrix/media/v3/upload";
    let answer = alice
        .send_with(Method::POST, path, &[TEXT], vec![b'x'; 1_001].into())
        .await;
    answer.expect_error(413, "M_TOO_LARGE");
    alice
        .get("/v1/media/config")
        .await
        .expect(200, json!({ "m.upload.size": 1_000 }));
    // The same where the size is not announced.
    let session = session(&server, &alice).await;
    let unannounced = Description::default();
    let mut incoming = server
        .server
        .begin_upload(&session, unannounced, Fulfilment::ById)
        .await
        .unwrap();
    incoming.write(&[b'x'; 600]).await.unwrap();
    let refused = incoming.write(&[b'x'; 401]).await.unwrap_err();
    assert!(matches!(refused, UploadError::TooLarge { size_max: 1_000 }));
}

#[tokio::test]
async fn who_sends_far_too_much_hears_why() {
    let server = TestServer::with(|config| config.media.upload_bytes_max = 1_000).await;
    let alice = server.user("alice").await;
    let path = "/_matrix/media/v3/upload";
    for _ in 0..10 {
        let file = Bytes::from(vec![b'x'; 6_000_000]);
        let answer = alice
            .send_with(Method::POST, path, &[TEXT], file.clone())
            .await;
        answer.expect_error(413, "M_TOO_LARGE");
        let stranger = server
            .client("wrong")
            .send_with(Method::POST, path, &[TEXT], file)
            .await;
        stranger.expect_error(401, "M_UNKNOWN_TOKEN");
    }
}

#[tokio::test]
async fn promised_files_come_later() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let promise = alice
        .send(Method::POST, "/_matrix/media/v1/create", "")
        .await;
    let promise = promise.expect(200, json!({ "content_uri": ANY, "unused_expires_at": ANY }));
    let day_later = server.clock.now().plus_ms(24 * 60 * 60 * 1000);
    assert_eq!(promise["unused_expires_at"], json!(day_later));
    let id = id_of(&promise);
    for path in ["/v1/media/download/", "/_matrix/media/v3/download/"] {
        let answer = alice.get(&format!("{path}{id}?timeout_ms=0")).await;
        answer.expect_error(504, "M_NOT_YET_UPLOADED");
    }
    let target = format!("/_matrix/media/v3/upload/{id}?filename=x.txt");
    let put = |client: &Client, body: &'static str| {
        let (client, target) = (client.clone(), target.clone());
        async move {
            client
                .send_with(
                    Method::PUT,
                    &target,
                    &[TEXT],
                    Bytes::from_static(body.as_bytes()),
                )
                .await
        }
    };
    put(&bob, "bob's").await.expect_error(403, "M_FORBIDDEN");
    put(&alice, "alice's").await.expect(200, json!({}));
    put(&alice, "again")
        .await
        .expect_error(409, "M_CANNOT_OVERWRITE_MEDIA");
    let answer = bob
        .get(&format!("/v1/media/download/{id}?timeout_ms=0"))
        .await;
    assert_eq!(&answer.bytes[..], b"alice's");
    header(&answer, "content-disposition", "inline; filename=\"x.txt\"");

    let plain = upload(&alice, &[TEXT], Bytes::from_static(b"x")).await;
    let path = format!("/_matrix/media/v3/upload/{plain}");
    alice
        .send(Method::PUT, &path, "y")
        .await
        .expect_error(409, "M_CANNOT_OVERWRITE_MEDIA");
    for unknown in ["example.org/unknown", "elsewhere.org/unknown"] {
        let path = format!("/_matrix/media/v3/upload/{unknown}");
        alice
            .send(Method::PUT, &path, "y")
            .await
            .expect_error(404, "M_NOT_FOUND");
    }
}

#[tokio::test]
async fn promises_end() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let create = || alice.send(Method::POST, "/_matrix/media/v1/create", "{}");
    let id = id_of(&create().await.ok());
    for _ in 1..5 {
        create().await.ok();
    }
    let refused = create().await;
    assert!(refused.headers.contains_key("retry-after"));
    let body = refused.expect_error(429, "M_LIMIT_EXCEEDED");
    assert!(body["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0));

    server.clock.advance_ms(24 * 60 * 60 * 1000 + 1);
    let path = format!("/_matrix/media/v3/upload/{id}");
    alice
        .send(Method::PUT, &path, "late")
        .await
        .expect_error(404, "M_NOT_FOUND");
    let answer = alice.get(&format!("/v1/media/download/{id}")).await;
    answer.expect_error(404, "M_NOT_FOUND");
    create().await.ok();
}

#[tokio::test]
async fn what_is_left_of_files_is_taken_away() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let promise = alice.send(Method::POST, "/_matrix/media/v1/create", "{}");
    let promised = id_of(&promise.await.ok());
    let kept = upload(&alice, &[TEXT], Bytes::from_static(b"kept")).await;
    let lost = upload(&alice, &[TEXT], Bytes::from_static(b"lost")).await;
    // As a crash leaves it: bytes without a record. (The record of other bytes stays.)
    let change = MediaChange::Remove(media_id(&lost));
    server.server.commit(change).await.unwrap();
    let files = |name: &str| {
        let mut files = Vec::new();
        let mut directories = vec![server.server.config.data_dir.join("media").join(name)];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else {
                    files.push(path);
                }
            }
        }
        files
    };
    let clean = async || {
        for _ in 0..256 {
            server.server.clean_files().await;
        }
    };
    clean().await;
    assert_eq!(files("blobs").len(), 2, "they may be about to be named");
    for path in files("blobs") {
        make_old(&path);
    }
    clean().await;
    assert_eq!(files("blobs").len(), 1);
    assert_eq!(files("unnamed").len(), 1, "they go when they lay there");
    let again = upload(&alice, &[TEXT], Bytes::from_static(b"lost")).await;
    for (id, bytes) in [(kept, b"kept"), (again, b"lost")] {
        let answer = alice.get(&format!("/v1/media/download/{id}")).await;
        assert_eq!(&answer.bytes[..], bytes);
    }

    let record = async || {
        server
            .server
            .store
            .media(&media_id(&promised))
            .await
            .unwrap()
    };
    assert!(record().await.is_some());
    // Its time is over, and then some.
    server.clock.advance_ms(25 * 60 * 60 * 1000 + 1);
    clean().await;
    assert!(record().await.is_none());
    let path = format!("/_matrix/media/v3/upload/{promised}");
    let late = alice.send(Method::PUT, &path, "late").await;
    late.expect_error(404, "M_NOT_FOUND");
}

#[allow(
    clippy::disallowed_methods,
    reason = "the times of files are the system's"
)]
fn make_old(path: &std::path::Path) {
    let file = std::fs::File::options().append(true).open(path).unwrap();
    let day = Duration::from_secs(24 * 60 * 60);
    file.set_modified(std::time::SystemTime::now() - day)
        .unwrap();
}

#[tokio::test]
async fn who_waits_gets_the_file_when_it_comes() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let promise = alice
        .send(Method::POST, "/_matrix/media/v1/create", "")
        .await
        .ok();
    let id = id_of(&promise);
    let media_id = media_id(&id);
    let found = server.server.find_file(&media_id, Duration::from_secs(60));
    let mut found = pin!(found);
    let waits = poll_fn(|context| Poll::Ready(found.as_mut().poll(context).is_pending())).await;
    assert!(waits);
    let path = format!("/_matrix/media/v3/upload/{id}");
    alice
        .send(Method::PUT, &path, "here")
        .await
        .expect(200, json!({}));
    assert_eq!(found.await.unwrap().media.size, 4);
}

#[tokio::test]
async fn quarantined_files_are_not_there() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let id = upload(&alice, &[PNG], picture(10, 10)).await;
    let mut media = server
        .server
        .store
        .media(&media_id(&id))
        .await
        .unwrap()
        .unwrap();
    media.quarantined_by = Some(alice.user_id.as_str().try_into().unwrap());
    server
        .server
        .commit(Batch::from(MediaChange::Put(media)))
        .await
        .unwrap();
    for path in [
        format!("/v1/media/download/{id}"),
        format!("/_matrix/media/v3/download/{id}"),
        format!("/v1/media/thumbnail/{id}?width=1&height=1"),
    ] {
        alice.get(&path).await.expect_error(404, "M_NOT_FOUND");
    }
}

#[tokio::test]
async fn lost_bytes_are_an_error_and_removed_ones_are_not_there() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let id = upload(&alice, &[TEXT], Bytes::from_static(b"x")).await;
    let media_id = media_id(&id);
    let media = server.server.store.media(&media_id).await.unwrap().unwrap();
    server
        .server
        .media
        .remove(&media.sha256.unwrap())
        .await
        .unwrap();
    let path = format!("/v1/media/download/{id}");
    alice.get(&path).await.expect_error(500, "M_UNKNOWN");
    let found = server
        .server
        .find_file(&media_id, Duration::ZERO)
        .await
        .unwrap();
    server
        .server
        .commit(Batch::from(MediaChange::Remove(media_id)))
        .await
        .unwrap();
    alice.get(&path).await.expect_error(404, "M_NOT_FOUND");
    let gone = server.server.open_file(&found).await.unwrap_err();
    assert_eq!(MatrixError::from(gone).status, 404);
}

#[tokio::test]
async fn small_pictures() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let large = upload(&alice, &[PNG], picture(1_000, 500)).await;
    for (query, size) in [
        ("width=96&height=96&method=crop", (96, 96)),
        ("width=320&height=240&method=scale", (320, 160)),
        ("width=300&height=200", (320, 160)),
        ("width=96&height=96&method=crop&animated=true", (96, 96)),
        ("width=800&height=600&timeout_ms=5", (800, 400)),
        // Nothing smaller than what was asked for, if the image has it.
        ("width=900&height=400", (1_000, 500)),
        ("width=100000&height=100000", (1_000, 500)),
    ] {
        for prefix in ["/v1/media", "/_matrix/media/r0", "/_matrix/media/v3"] {
            let answer = alice
                .get(&format!("{prefix}/thumbnail/{large}?{query}"))
                .await;
            assert_eq!(answer.status, 200, "{query}: {}", answer.body);
            let kind = answer.headers["content-type"].to_str().unwrap();
            assert!(["image/png", "image/jpeg"].contains(&kind), "{kind}");
            let extension = if kind == "image/png" { "png" } else { "jpg" };
            let name = format!("inline; filename=\"thumbnail.{extension}\"");
            header(&answer, "content-disposition", &name);
            let picture = image::load_from_memory(&answer.bytes).unwrap();
            assert_eq!((picture.width(), picture.height()), size, "{query}");
        }
    }
    // A small image is its own thumbnail, under its true type.
    let bytes = picture(20, 20);
    let small = upload(&alice, &[("content-type", "text/html")], bytes.clone()).await;
    let path = format!("/v1/media/thumbnail/{small}?width=96&height=96");
    let answer = alice.get(&path).await;
    assert_eq!(answer.bytes, bytes);
    header(&answer, "content-type", "image/png");
    header(
        &answer,
        "content-disposition",
        "inline; filename=\"thumbnail.png\"",
    );
    let known = [("if-none-match", answer.headers["etag"].to_str().unwrap())];
    let again = alice
        .send_with(Method::GET, &path, &known, Bytes::new())
        .await;
    assert_eq!(again.status, 304);
}

#[tokio::test]
async fn no_small_pictures() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let picture = picture(20, 20);
    let image = upload(&alice, &[PNG], picture.clone()).await;
    let text = upload(&alice, &[PNG], Bytes::from_static(b"no image at all")).await;
    let damaged = upload(&alice, &[PNG], picture.slice(..40)).await;
    for (id, query, code) in [
        (&text, "width=32&height=32", "M_UNKNOWN"),
        (&damaged, "width=32&height=32", "M_UNKNOWN"),
        (&image, "width=32", "M_MISSING_PARAM"),
        (&image, "", "M_MISSING_PARAM"),
        (&image, "width=0&height=32", "M_INVALID_PARAM"),
        (&image, "width=-1&height=32", "M_INVALID_PARAM"),
        (&image, "width=1.5&height=32", "M_INVALID_PARAM"),
        (&image, "width=x&height=32", "M_INVALID_PARAM"),
        (&image, "width=32&height=32&method=melt", "M_INVALID_PARAM"),
        (
            &image,
            "width=32&height=32&animated=maybe",
            "M_INVALID_PARAM",
        ),
    ] {
        let path = format!("/v1/media/thumbnail/{id}?{query}");
        alice.get(&path).await.expect_error(400, code);
    }
}

async fn upload(client: &Client, headers: &[(&str, &str)], bytes: Bytes) -> String {
    let path = "/_matrix/media/v3/upload";
    id_of(
        &client
            .send_with(Method::POST, path, headers, bytes)
            .await
            .ok(),
    )
}

/// `server/name` of an answer's `content_uri`.
pub(crate) fn id_of(answer: &Value) -> String {
    let uri = answer["content_uri"].as_str().unwrap();
    uri.strip_prefix("mxc://").unwrap().to_owned()
}

fn media_id(id: &str) -> MediaId {
    let (_, name) = id.split_once('/').unwrap();
    MediaId {
        server_name: SERVER.try_into().unwrap(),
        media_id: name.to_owned(),
    }
}

#[track_caller]
fn header(answer: &Answer, name: &str, expect: &str) {
    let value = answer
        .headers
        .get(name)
        .unwrap_or_else(|| panic!("no {name}"));
    assert_eq!(value.to_str().unwrap(), expect, "{name}");
}

fn picture(width: u32, height: u32) -> Bytes {
    let colour = |x: u32, y: u32| image::Rgb([x as u8, y as u8, (x + y) as u8]);
    let picture = image::RgbImage::from_fn(width, height, colour);
    let mut bytes = Vec::new();
    picture
        .write_to(&mut Cursor::new(&mut bytes), image::ImageFormat::Png)
        .unwrap();
    bytes.into()
}

async fn session(
    server: &TestServer,
    client: &Client,
) -> std::sync::Arc<lyceum_server::sessions::Session> {
    let token = client.token.as_deref().unwrap();
    let sessions = &server.server.sessions;
    sessions
        .identify(&*server.server.store, token, server.clock.now())
        .await
        .unwrap()
}
