//! `POST /_matrix/media/v3/upload` and `PUT /_matrix/media/v3/upload/{serverName}/{mediaId}`.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::from_fn,
    response::Response,
    routing::{post, put},
};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use lyceum_edge::{Answer, App, Limit, Query, Requester, Segments, json};
use lyceum_model::{MatrixError, MediaId};
use lyceum_server::{
    Server,
    media::{Description, Fulfilment, IncomingFile, UploadError},
};
use ruma_common::UserId;
use serde::Deserialize;
use serde_json::json;

use super::{FilePath, media, unread_body::hear_out};

/// An upload of which nothing comes for so long is given up.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// One that has taken that long is given up too if it was slower than this: it holds a place.
const BYTES_PER_SECOND_MIN: u64 = 1024;

pub(super) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let router = media(
        router,
        "/upload",
        &post(upload).route_layer(from_fn(hear_out)),
    );
    media(
        router,
        "/upload/{server_name}/{media_id}",
        &put(upload_promised).route_layer(from_fn(hear_out)),
    )
}

#[derive(Deserialize)]
struct Parameters {
    filename: Option<String>,
}

async fn upload(
    State(app): State<Arc<App>>,
    requester: Requester,
    Query(parameters): Query<Parameters>,
    request: Request,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    requester.refuse_suspended()?;
    let description = description(request.headers(), parameters.filename);
    let fulfilment = if requester.is_provisioning() {
        Fulfilment::ByNextUpload
    } else {
        Fulfilment::ById
    };
    let begun = app.server.begin_upload(&requester, description, fulfilment);
    let uploaded = match begun.await {
        Ok(incoming) => receive(&app.server, incoming, request.into_body()).await,
        Err(error) => Err(error),
    };
    if let Err(UploadError::TooLarge { size_max }) = uploaded
        && fulfilment == Fulfilment::ByNextUpload
    {
        return Ok(no_picture(&requester.user_id, size_max));
    }
    let id = uploaded.map_err(MatrixError::from)?;
    Ok(json(&json!({ "content_uri": uri(&id) })))
}

/// Answers a platform whose picture is too large. Moodle makes a room and its picture in one task,
/// which it repeats as a whole: with an error the room would never get its people. So it gets no
/// id, and gives the room no picture.
fn no_picture(user_id: &UserId, size_max: u64) -> Response {
    tracing::warn!(
        %user_id,
        size_max,
        "a course's picture is larger than media.upload_bytes_max; its room has none"
    );
    json(&json!({ "content_uri": null }))
}

async fn upload_promised(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments(path): Segments<FilePath>,
    Query(parameters): Query<Parameters>,
    request: Request,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    requester.refuse_suspended()?;
    let id = path.media_id()?;
    let description = description(request.headers(), parameters.filename);
    let begun = app
        .server
        .begin_promised_upload(&requester, &id, description)
        .await;
    let incoming = begun.map_err(MatrixError::from)?;
    let received = receive(&app.server, incoming, request.into_body()).await;
    received.map_err(MatrixError::from)?;
    Ok(json(&json!({})))
}

/// `mxc://…`.
pub(super) fn uri(id: &MediaId) -> String {
    format!("mxc://{}/{}", id.server_name, id.media_id)
}

fn description(headers: &HeaderMap, file_name: Option<String>) -> Description {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    Description {
        content_type: text(header::CONTENT_TYPE).map(str::to_owned),
        file_name,
        size: text(header::CONTENT_LENGTH).and_then(|size| size.trim().parse().ok()),
    }
}

async fn receive(
    server: &Server,
    mut incoming: IncomingFile,
    mut body: Body,
) -> Result<MediaId, UploadError> {
    let (began, mut received) = (tokio::time::Instant::now(), 0);
    loop {
        let Ok(frame) = tokio::time::timeout(IDLE_MAX, body.frame()).await else {
            return Err(UploadError::TooSlow);
        };
        let took = began.elapsed();
        if took > IDLE_MAX && received < took.as_secs() * BYTES_PER_SECOND_MIN {
            return Err(UploadError::TooSlow);
        }
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|_| UploadError::Interrupted)?;
        if let Some(bytes) = frame.data_ref() {
            received += bytes.len() as u64;
            incoming.write(bytes).await?;
        }
    }
    server.keep_upload(incoming).await
}
