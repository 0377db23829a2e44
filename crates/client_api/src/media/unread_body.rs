//! Hearing out uploads that are answered before all of them has come.
//!
//! Most clients send all of a body before they read the answer. If the connection is closed under
//! them they never learn why; so what is still to come is read and dropped, within limits.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{body::Body, extract::Request, middleware::Next, response::Response};
use bytes::Bytes;
use http::header;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use parking_lot::Mutex;

/// How many bytes of a refused upload are read.
const BYTES_MAX: u64 = 256 * 1024 * 1024;
/// For how long.
const TIME_MAX: Duration = Duration::from_secs(10);

/// Answers a request; what nobody read of its body is read first.
pub(super) async fn hear_out(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let waits_for_leave = parts.headers.contains_key(header::EXPECT);
    let rest = Rest(Arc::new(Mutex::new(Unread {
        body,
        is_begun: false,
    })));
    let response = next
        .run(Request::from_parts(parts, Body::new(rest.clone())))
        .await;
    let will_send = !waits_for_leave || rest.0.lock().is_begun;
    if will_send && http_body::Body::size_hint(&rest).lower() <= BYTES_MAX {
        // Nothing is owed to a client that is too slow or sends too much.
        let _ = tokio::time::timeout(TIME_MAX, rest.drain()).await;
    }
    response
}

/// A body that can be read on after the handler is done with it.
#[derive(Debug, Clone)]
struct Rest(Arc<Mutex<Unread>>);

#[derive(Debug)]
struct Unread {
    body: Body,
    is_begun: bool,
}

impl Rest {
    async fn drain(mut self) {
        let mut read = 0;
        while let Some(Ok(frame)) = self.frame().await {
            read += frame.data_ref().map_or(0, |bytes| bytes.len() as u64);
            if read > BYTES_MAX {
                return;
            }
        }
    }
}

impl http_body::Body for Rest {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut unread = self.0.lock();
        unread.is_begun = true;
        Pin::new(&mut unread.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().body.size_hint()
    }
}
