//! `GET /media/download/{serverName}/{mediaId}[/{fileName}]`.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    routing::get,
};
use lyceum_edge::{Answer, App, Query, Requester, Segments};
use lyceum_model::MatrixError;
use serde::Deserialize;

use super::{
    Fetcher, FilePath, Visitor, authenticated_media,
    file_answer::{FileAnswer, OCTETS, etag_of, not_modified},
    media, wait,
};

pub(super) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let plain = "/download/{server_name}/{media_id}";
    let named = "/download/{server_name}/{media_id}/{file_name}";
    [plain, named].into_iter().fold(router, |router, path| {
        let router = authenticated_media(router, path, &get(download::<Requester>));
        media(router, path, &get(download::<Visitor>))
    })
}

#[derive(Deserialize)]
struct Parameters {
    timeout_ms: Option<u64>,
    /// Synapse's, for admins who look at files in quarantine: `true`.
    admin_unsafely_bypass_quarantine: Option<String>,
}

async fn download<F: Fetcher>(
    State(app): State<Arc<App>>,
    fetcher: F,
    Segments(path): Segments<FilePath>,
    Query(parameters): Query<Parameters>,
    request: Request,
) -> Answer {
    let audience = fetcher.admit(&app)?;
    let headers = request.headers();
    let server = &app.server;
    let id = path.media_id()?;
    let wants_bypass = parameters.admin_unsafely_bypass_quarantine.as_deref() == Some("true");
    let found = if wants_bypass && fetcher.passes_quarantine()? {
        server.find_quarantined_file(&id).await
    } else {
        server.find_file(&id, wait(parameters.timeout_ms)).await
    };
    let found = found.map_err(MatrixError::from)?;
    let etag = etag_of(&found.sha256, "");
    if let Some(answer) = not_modified(headers, &etag, audience) {
        return Ok(answer);
    }
    let blob = server.open_file(&found).await.map_err(MatrixError::from)?;
    let file_answer = FileAnswer {
        content_type: found.media.content_type.as_deref().unwrap_or(OCTETS),
        file_name: path
            .file_name
            .as_deref()
            .or(found.media.file_name.as_deref()),
        etag: &etag,
        audience,
    };
    file_answer.with_blob(blob, headers).await
}
