//! Bodies that are read to their end although nobody wants them.
//!
//! Who is refused before their body was read (an upload with a token that ended, say) is still
//! sending it. Closing the connection then takes the answer away from them.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Version, header::EXPECT};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use lyceum_server::supervisor::Supervisor;

/// How much of a body is read for nothing.
const BYTES_MAX: usize = 32 << 20;
/// How long a body is read for nothing.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A body of which the rest is read when it is dropped.
pub(crate) struct Drained {
    /// `None` after that.
    body: Option<Incoming>,
    /// Who starts the task that reads the rest, if it is to be read.
    drains: Option<Supervisor>,
}

impl Drained {
    /// The same request. Who waits to be told that the body is wanted has not sent it; and HTTP/2
    /// can end it by itself.
    pub(crate) fn of(request: Request<Incoming>, supervisor: &Supervisor) -> Request<Self> {
        let is_coming = !request.headers().contains_key(EXPECT);
        let is_drained = is_coming && request.version() <= Version::HTTP_11;
        request.map(|body| Self {
            drains: (is_drained && !body.is_end_stream()).then(|| supervisor.clone()),
            body: Some(body),
        })
    }
}

impl Body for Drained {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(body).poll_frame(context);
        if let Poll::Ready(None | Some(Err(_))) = polled {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl Drop for Drained {
    fn drop(&mut self) {
        let (Some(body), Some(supervisor)) = (self.body.take(), self.drains.take()) else {
            return;
        };
        if body.is_end_stream() {
            return;
        }
        let mut rest = Limited::new(body, BYTES_MAX);
        let drain = async move { while let Some(Ok(_)) = rest.frame().await {} };
        let stops = supervisor.clone();
        supervisor.spawn("drain a body", async move {
            tokio::select! {
                () = stops.stopped() => {}
                () = tokio::time::sleep(TIMEOUT) => {}
                () = drain => {}
            }
        });
    }
}
