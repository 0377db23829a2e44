//! `GET /media/download/{serverName}/{mediaId}[/{fileName}]`.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    routing::get,
};
use http::HeaderMap;
use lyceum_edge::{Answer, App, Query, Requester, Segments};
use lyceum_model::MatrixError;
use ruma_common::OwnedServerName;
use serde::Deserialize;

use super::{
    Audience, Visitor, admit, admit_anybody, authenticated_media,
    file_answer::{FileAnswer, OCTETS, etag_of, not_modified},
    media, media_id, wait,
};

pub(super) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let plain = "/download/{server_name}/{media_id}";
    let named = "/download/{server_name}/{media_id}/{file_name}";
    let router = authenticated_media(router, plain, &get(download));
    let router = authenticated_media(router, named, &get(download_as));
    let router = media(router, plain, &get(download_by_anybody));
    media(router, named, &get(download_by_anybody_as))
}

#[derive(Deserialize)]
struct Parameters {
    timeout_ms: Option<u64>,
}

async fn download(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments((server_name, name)): Segments<(OwnedServerName, String)>,
    Query(parameters): Query<Parameters>,
    request: Request,
) -> Answer {
    let audience = admit(&app, &requester)?;
    let wanted = Wanted {
        server_name,
        name,
        file_name: None,
        parameters,
        audience,
    };
    answer(&app, wanted, request.headers()).await
}

async fn download_as(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments((server_name, name, file_name)): Segments<(OwnedServerName, String, String)>,
    Query(parameters): Query<Parameters>,
    request: Request,
) -> Answer {
    let audience = admit(&app, &requester)?;
    let file_name = Some(file_name);
    let wanted = Wanted {
        server_name,
        name,
        file_name,
        parameters,
        audience,
    };
    answer(&app, wanted, request.headers()).await
}

async fn download_by_anybody(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Segments((server_name, name)): Segments<(OwnedServerName, String)>,
    Query(parameters): Query<Parameters>,
    request: Request,
) -> Answer {
    let audience = admit_anybody(&app, &visitor)?;
    let wanted = Wanted {
        server_name,
        name,
        file_name: None,
        parameters,
        audience,
    };
    answer(&app, wanted, request.headers()).await
}

async fn download_by_anybody_as(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Segments((server_name, name, file_name)): Segments<(OwnedServerName, String, String)>,
    Query(parameters): Query<Parameters>,
    request: Request,
) -> Answer {
    let audience = admit_anybody(&app, &visitor)?;
    let file_name = Some(file_name);
    let wanted = Wanted {
        server_name,
        name,
        file_name,
        parameters,
        audience,
    };
    answer(&app, wanted, request.headers()).await
}

struct Wanted {
    server_name: OwnedServerName,
    name: String,
    file_name: Option<String>,
    parameters: Parameters,
    audience: Audience,
}

async fn answer(app: &App, wanted: Wanted, headers: &HeaderMap) -> Answer {
    let server = &app.server;
    let id = media_id(wanted.server_name, wanted.name)?;
    let wait = wait(wanted.parameters.timeout_ms);
    let found = server
        .find_file(&id, wait)
        .await
        .map_err(MatrixError::from)?;
    let etag = etag_of(&found.sha256, "");
    if let Some(answer) = not_modified(headers, &etag, wanted.audience) {
        return Ok(answer);
    }
    let blob = server.open_file(&found).await.map_err(MatrixError::from)?;
    let file_answer = FileAnswer {
        content_type: found.media.content_type.as_deref().unwrap_or(OCTETS),
        file_name: wanted
            .file_name
            .as_deref()
            .or(found.media.file_name.as_deref()),
        etag: &etag,
        audience: wanted.audience,
    };
    file_answer.with_blob(blob, headers).await
}
