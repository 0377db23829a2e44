//! `POST /_matrix/media/v3/upload` and `PUT /_matrix/media/v3/upload/{serverName}/{mediaId}`.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::from_fn,
    routing::{post, put},
};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use lyceum_edge::{Answer, App, Limit, Query, Refusal, Requester, Segments, json};
use lyceum_model::{MatrixError, MediaId};
use lyceum_server::{
    Server,
    media::{Description, Fulfilment, IncomingFile},
};
use ruma_common::OwnedServerName;
use serde::Deserialize;
use serde_json::json;

use super::{media, media_id, unread_body::hear_out};

/// An upload of which nothing comes for so long is given up.
const IDLE_MAX: Duration = Duration::from_secs(60);

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
    let incoming = app
        .server
        .begin_upload(&requester, description, fulfilment)
        .map_err(MatrixError::from)?;
    let id = receive(&app.server, incoming, request.into_body()).await?;
    Ok(json(&json!({ "content_uri": uri(&id) })))
}

async fn upload_promised(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments((server_name, name)): Segments<(OwnedServerName, String)>,
    Query(parameters): Query<Parameters>,
    request: Request,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    requester.refuse_suspended()?;
    let id = media_id(server_name, name)?;
    let description = description(request.headers(), parameters.filename);
    let begun = app
        .server
        .begin_promised_upload(&requester, &id, description)
        .await;
    let incoming = begun.map_err(MatrixError::from)?;
    receive(&app.server, incoming, request.into_body()).await?;
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
) -> Result<MediaId, Refusal> {
    loop {
        let Ok(frame) = tokio::time::timeout(IDLE_MAX, body.frame()).await else {
            return Err(MatrixError::new(408, "M_UNKNOWN", "The upload came too slowly").into());
        };
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|_| MatrixError::unknown("The upload was interrupted"))?;
        if let Some(bytes) = frame.data_ref() {
            incoming.write(bytes).await.map_err(MatrixError::from)?;
        }
    }
    Ok(server
        .keep_upload(incoming)
        .await
        .map_err(MatrixError::from)?)
}
