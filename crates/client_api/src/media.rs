//! `/_matrix/media/…` and `/_matrix/client/v1/media/…`: the content repository.
//!
//! Bodies are streamed both ways: no file is ever in memory as a whole.

mod byte_range;
mod config;
mod content_disposition;
mod create;
mod download;
mod file_answer;
mod thumbnail;
mod unread_body;
mod upload;

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::FromRequestParts, routing::MethodRouter};
use lyceum_edge::{App, Limit, Refusal, Requester};
use lyceum_edge::{ClientAddress, client_v1, unstable};
use lyceum_model::{MatrixError, MediaId};
use ruma_common::OwnedServerName;
use serde::Deserialize;

/// How long to wait for a promised file if the client does not say (specification: 20 s).
const WAIT_MS_DEFAULT: u64 = 20_000;
/// How long to wait at most.
const WAIT_MS_MAX: u64 = 60_000;
/// The longest media id, in bytes.
const MEDIA_ID_BYTES_MAX: usize = 255;

/// Adds the endpoints.
pub(crate) fn routes(mut router: Router<Arc<App>>) -> Router<Arc<App>> {
    for add in [
        config::routes,
        create::routes,
        download::routes,
        thumbnail::routes,
        upload::routes,
    ] {
        router = add(router);
    }
    router
}

/// Adds an endpoint under all names of `/_matrix/media`.
fn media(
    router: Router<Arc<App>>,
    path: &str,
    methods: &MethodRouter<Arc<App>>,
) -> Router<Arc<App>> {
    ["r0", "v1", "v3"]
        .into_iter()
        .fold(router, |router, version| {
            router.route(&format!("/_matrix/media/{version}{path}"), methods.clone())
        })
}

/// Adds an endpoint under `/_matrix/client/v1/media`, and under the name it had before.
fn authenticated_media(
    router: Router<Arc<App>>,
    path: &str,
    methods: &MethodRouter<Arc<App>>,
) -> Router<Arc<App>> {
    let router = client_v1(router, &format!("/media{path}"), methods.clone());
    unstable(
        router,
        &format!("/org.matrix.msc3916/media{path}"),
        methods.clone(),
    )
}

/// For whom a file is fetched: what caches on the way may do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Audience {
    /// A user who is logged in.
    User,
    /// Whoever knows the id.
    Anybody,
}

/// Somebody who need not be logged in.
type Visitor = (Result<Requester, Refusal>, ClientAddress);

/// Who fetches a file.
trait Fetcher: FromRequestParts<Arc<App>> + Send + 'static {
    /// Lets them do it, not too often.
    fn admit(&self, app: &App) -> Result<Audience, Refusal>;

    /// Whether they may see what an admin keeps from being seen; asked if they say that they want
    /// to. An error: they may not ask.
    fn passes_quarantine(&self) -> Result<bool, Refusal>;
}

impl Fetcher for Requester {
    fn admit(&self, app: &App) -> Result<Audience, Refusal> {
        self.limit(app, Limit::Request)?;
        Ok(Audience::User)
    }

    fn passes_quarantine(&self) -> Result<bool, Refusal> {
        if !self.is_admin || self.is_provisioning() {
            return Err(MatrixError::new(
                400,
                "M_UNKNOWN",
                "Must be a server admin to bypass quarantine",
            )
            .into());
        }
        Ok(true)
    }
}

impl Fetcher for Visitor {
    /// Lets anybody fetch files if the server does that at all. A token counts if it is valid; a
    /// wrong one does no harm where none is needed.
    fn admit(&self, app: &App) -> Result<Audience, Refusal> {
        if !app.server.config.media.legacy_endpoints {
            let why = "Files are given out on /_matrix/client/v1/media only";
            return Err(MatrixError::not_found(why).into());
        }
        match self {
            (Ok(requester), _) => requester.limit(app, Limit::Request)?,
            (Err(_), ClientAddress(address)) => {
                let now = app.server.clock.now();
                app.limiter.check_address(Limit::Request, *address, now)?;
            }
        }
        Ok(Audience::Anybody)
    }

    /// The old endpoints do not know of it.
    fn passes_quarantine(&self) -> Result<bool, Refusal> {
        Ok(false)
    }
}

/// A path that names a file.
#[derive(Deserialize)]
struct FilePath {
    server_name: OwnedServerName,
    media_id: String,
    /// How it shall be called by who fetches it.
    file_name: Option<String>,
}

impl FilePath {
    /// The file; a name that no file can have is of no file.
    fn media_id(&self) -> Result<MediaId, Refusal> {
        let is_allowed = (1..=MEDIA_ID_BYTES_MAX).contains(&self.media_id.len())
            && self
                .media_id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if !is_allowed {
            return Err(MatrixError::not_found("There is no such file").into());
        }
        Ok(MediaId {
            server_name: self.server_name.clone(),
            media_id: self.media_id.clone(),
        })
    }
}

fn wait(timeout_ms: Option<u64>) -> Duration {
    Duration::from_millis(timeout_ms.unwrap_or(WAIT_MS_DEFAULT).min(WAIT_MS_MAX))
}
