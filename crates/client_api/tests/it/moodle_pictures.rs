//! Moodle's pictures: it makes an id, and uploads without it.

use bytes::Bytes;
use http::Method;
use lyceum_model::{AccountChange, Batch};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    harness::{Answer, Client, TestServer},
    media::id_of,
};

const MOODLE: (&str, &str) = ("user-agent", "MoodleBot/1.0");
const CREATE: &str = "/_matrix/media/v1/create";
const UPLOAD: &str = "/_matrix/media/v3/upload";
/// Longer than a promise is open.
const LATER_MS: u64 = 3 * 60 * 1000;

#[tokio::test]
async fn what_moodle_promises_it_uploads_elsewhere() {
    let (server, moodle) = start().await;
    let curl = ("user-agent", "curl");
    let first = create(&moodle, MOODLE).await;
    assert_ne!(
        upload(&moodle, ("user-agent", "Element"), "other").await,
        first
    );
    assert_eq!(upload(&moodle, MOODLE, "avatar").await, first);
    assert_ne!(upload(&moodle, MOODLE, "next").await, first);
    let path = format!("/_matrix/media/v3/download/{first}");
    assert_eq!(&server.anonymous().get(&path).await.bytes[..], b"avatar");

    // Two at a time cannot be told apart.
    let both = [create(&moodle, MOODLE).await, create(&moodle, MOODLE).await];
    assert!(!both.contains(&upload(&moodle, MOODLE, "whose?").await));
    // What nobody uploads does not count for long.
    server.clock.advance_ms(LATER_MS);
    let late = create(&moodle, MOODLE).await;
    server.clock.advance_ms(LATER_MS);
    assert_ne!(upload(&moodle, MOODLE, "late").await, late);
    for _ in 0..20 {
        assert_next_is_kept(&moodle).await;
    }
    // For anybody else an empty list is nothing special.
    let id = create(&moodle, curl).await;
    assert_ne!(upload(&moodle, curl, "x").await, id);
}

/// A promise is kept by the upload that begins next, whatever is promised while it comes.
#[tokio::test]
async fn a_promise_beside_an_upload_is_another_one() {
    let (_server, moodle) = start().await;
    let first = create(&moodle, MOODLE).await;
    let begun = begin(&moodle, "content-length: 5\r\n").await;
    let second = create(&moodle, MOODLE).await;
    assert_eq!(id_of(&end(begun, "first").await), first);
    assert_eq!(upload(&moodle, MOODLE, "second").await, second);
}

/// However an upload ends, it is not awaited any more.
#[tokio::test]
async fn uploads_that_fail_spoil_no_later_picture() {
    let (_server, moodle) = start().await;
    create(&moodle, MOODLE).await;
    drop(begin(&moodle, "content-length: 5\r\n").await);
    assert_next_is_kept(&moodle).await;

    create(&moodle, MOODLE).await;
    let path = format!("{UPLOAD}?filename={}", "n".repeat(2_000));
    let refused = send(&moodle, MOODLE, &path, "named").await;
    refused.expect_error(400, "M_INVALID_PARAM");
    assert_next_is_kept(&moodle).await;
}

#[tokio::test]
async fn a_picture_that_is_too_large_is_none() {
    let server = TestServer::with(|config| config.media.upload_bytes_max = 1_000).await;
    let moodle = moodle(&server).await;
    let large = "x".repeat(2_000);
    let none = json!({ "content_uri": null });
    create(&moodle, MOODLE).await;
    send(&moodle, MOODLE, UPLOAD, &large)
        .await
        .expect(200, none.clone());
    assert_next_is_kept(&moodle).await;

    // Its size is not always said before.
    create(&moodle, MOODLE).await;
    let begun = begin(&moodle, "transfer-encoding: chunked\r\n").await;
    let chunks = format!("7d0\r\n{large}\r\n0\r\n\r\n");
    assert_eq!(end(begun, &chunks).await, none);
    assert_next_is_kept(&moodle).await;
}

#[tokio::test]
async fn a_thousand_pictures_may_be_awaited() {
    let (server, moodle) = start().await;
    for _ in 0..1_000 {
        create(&moodle, MOODLE).await;
    }
    let refused = moodle.send_with(Method::POST, CREATE, &[MOODLE], Bytes::from_static(b"[]"));
    let refused = refused.await.expect_error(429, "M_LIMIT_EXCEEDED");
    assert_eq!(refused["retry_after_ms"], json!(60_000));
    server.clock.advance_ms(LATER_MS);
    assert_next_is_kept(&moodle).await;
}

async fn start() -> (TestServer, Client) {
    let server = TestServer::start().await;
    let moodle = moodle(&server).await;
    (server, moodle)
}

/// An admin whose token a Moodle has.
async fn moodle(server: &TestServer) -> Client {
    let client = server.user("moodle").await;
    let user_id = client.user_id.as_str().try_into().unwrap();
    let mut user = server.server.store.user(user_id).await.unwrap().unwrap();
    user.is_admin = true;
    let batch = Batch::from(AccountChange::PutUser(user));
    server.server.commit(batch).await.unwrap();
    client
}

async fn create(client: &Client, agent: (&str, &str)) -> String {
    let body = Bytes::from_static(b"[]");
    let answer = client.send_with(Method::POST, CREATE, &[agent], body).await;
    id_of(&answer.ok())
}

async fn send(client: &Client, agent: (&str, &str), path: &str, text: &str) -> Answer {
    let headers = [agent, ("content-type", "image/png")];
    let body = Bytes::from(text.to_owned());
    client.send_with(Method::POST, path, &headers, body).await
}

async fn upload(client: &Client, agent: (&str, &str), text: &str) -> String {
    id_of(&send(client, agent, UPLOAD, text).await.ok())
}

/// Begins an upload of Moodle's; nothing of the file is sent.
async fn begin(client: &Client, headers: &str) -> TcpStream {
    let headers = format!("user-agent: {}\r\n{headers}", MOODLE.1);
    client.begin(Method::POST, UPLOAD, &headers).await
}

/// Sends the file; the body of the answer.
async fn end(mut stream: TcpStream, body: &str) -> Value {
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
    serde_json::from_str(body).unwrap()
}

async fn assert_next_is_kept(moodle: &Client) {
    let promised = create(moodle, MOODLE).await;
    assert_eq!(upload(moodle, MOODLE, "avatar").await, promised);
}
