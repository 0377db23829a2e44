//! `GET /media/thumbnail/{serverName}/{mediaId}`.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    routing::get,
};
use lyceum_edge::{Answer, App, Query, Refusal, Requester, Segments};
use lyceum_media_store::{Method, Requested};
use lyceum_model::MatrixError;
use lyceum_server::media::Picture;
use serde::Deserialize;

use super::{
    Fetcher, FilePath, Visitor, authenticated_media,
    file_answer::{FileAnswer, etag_of, not_modified},
    media, wait,
};

pub(super) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let path = "/thumbnail/{server_name}/{media_id}";
    let router = authenticated_media(router, path, &get(thumbnail::<Requester>));
    media(router, path, &get(thumbnail::<Visitor>))
}

#[derive(Deserialize)]
struct Parameters {
    width: Option<u32>,
    height: Option<u32>,
    method: Option<String>,
    animated: Option<bool>,
    timeout_ms: Option<u64>,
}

impl Parameters {
    fn requested(&self) -> Result<Requested, Refusal> {
        let (Some(width), Some(height)) = (self.width, self.height) else {
            return Err(MatrixError::missing_param("width and height are needed").into());
        };
        let method = match &self.method {
            None => Method::Scale,
            Some(method) => Method::from_name(method)
                .ok_or_else(|| MatrixError::invalid_param("method is \"crop\" or \"scale\""))?,
        };
        Ok(Requested {
            width,
            height,
            method,
            animated: self.animated.unwrap_or(false),
        })
    }
}

async fn thumbnail<F: Fetcher>(
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
    let requested = parameters.requested()?;
    let wait = wait(parameters.timeout_ms);
    let found = server
        .find_file(&id, wait)
        .await
        .map_err(MatrixError::from)?;
    let Requested {
        width,
        height,
        method,
        animated,
    } = requested;
    let form = format!("-{width}x{height}-{}-{animated}", method.as_str());
    let etag = etag_of(&found.sha256, &form);
    if let Some(answer) = not_modified(headers, &etag, audience) {
        return Ok(answer);
    }
    match server
        .picture(&found, requested)
        .await
        .map_err(MatrixError::from)?
    {
        Picture::Made(thumbnail) => {
            let content_type = thumbnail.content_type;
            let file_name = Some(file_name_of(content_type));
            let answer = FileAnswer {
                content_type,
                file_name,
                etag: &etag,
                audience,
            };
            Ok(answer.with_bytes(thumbnail.bytes))
        }
        Picture::Original { blob, content_type } => {
            let file_name = Some(file_name_of(content_type));
            let answer = FileAnswer {
                content_type,
                file_name,
                etag: &etag,
                audience,
            };
            answer.with_blob(blob, headers).await
        }
    }
}

fn file_name_of(content_type: &str) -> &'static str {
    match content_type {
        "image/jpeg" => "thumbnail.jpg",
        "image/gif" => "thumbnail.gif",
        "image/webp" => "thumbnail.webp",
        _ => "thumbnail.png",
    }
}
