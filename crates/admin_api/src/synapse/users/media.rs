//! `GET` and `DELETE /v1/users/{userId}/media`: what a user uploaded.

use std::{cmp::Ordering, sync::Arc};

use axum::{Router, extract::State, routing::get};
use lyceum_edge::{AdminRequester, Answer, App, Refusal, Segments, json};
use lyceum_model::Media;
use serde_json::{Value, json};

use super::super::{
    known_user, media as files,
    paging::{Direction, Page},
    parameters::Parameters,
    refused, v1,
};

const OTHER_SERVER: &str = "Can only look up local users";

pub(super) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    v1(router, "/users/{user_id}/media", get(list).delete(delete))
}

#[derive(Debug, Clone, Copy)]
enum OrderBy {
    MediaId,
    UploadName,
    CreatedTs,
    LastAccessTs,
    MediaLength,
    MediaType,
    QuarantinedBy,
    SafeFromQuarantine,
}

const ORDERS: [(&str, OrderBy); 8] = [
    ("media_id", OrderBy::MediaId),
    ("upload_name", OrderBy::UploadName),
    ("created_ts", OrderBy::CreatedTs),
    ("last_access_ts", OrderBy::LastAccessTs),
    ("media_length", OrderBy::MediaLength),
    ("media_type", OrderBy::MediaType),
    ("quarantined_by", OrderBy::QuarantinedBy),
    ("safe_from_quarantine", OrderBy::SafeFromQuarantine),
];

async fn list(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(named): Segments<String>,
    parameters: Parameters,
) -> Answer {
    let (page, files) = sorted(&app, &named, &parameters).await?;
    Ok(json(&page.body("media", files, shown)))
}

async fn delete(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(named): Segments<String>,
    parameters: Parameters,
) -> Answer {
    let (page, files) = sorted(&app, &named, &parameters).await?;
    let (files, _) = page.of(files);
    let ids: Vec<_> = files.into_iter().map(|media| media.id).collect();
    let deleted = app.server.delete_files(&ids).await.map_err(refused)?;
    Ok(json(
        &json!({ "total": deleted.len(), "deleted_media": deleted }),
    ))
}

async fn sorted(
    app: &App,
    named: &str,
    parameters: &Parameters,
) -> Result<(Page, Vec<Media>), Refusal> {
    let user = known_user(app, named, OTHER_SERVER).await?;
    let page = parameters.page()?;
    let order_by = parameters.choice("order_by", &ORDERS)?;
    let mut files = app.server.files_of(Some(&user.user_id)).await?;
    // The newest come first unless an order was asked for.
    let (order_by, direction) = match (order_by, parameters.direction()?) {
        (None, None) => (OrderBy::CreatedTs, Direction::Backward),
        (order_by, direction) => (
            order_by.unwrap_or(OrderBy::CreatedTs),
            direction.unwrap_or(Direction::Forward),
        ),
    };
    files.sort_by(|a, b| {
        direction
            .of(compare(a, b, order_by))
            .then_with(|| a.id.media_id.cmp(&b.id.media_id))
    });
    Ok((page, files))
}

fn compare(a: &Media, b: &Media, order_by: OrderBy) -> Ordering {
    match order_by {
        OrderBy::MediaId => a.id.media_id.cmp(&b.id.media_id),
        OrderBy::UploadName => a.file_name.cmp(&b.file_name),
        OrderBy::CreatedTs => a.created.cmp(&b.created),
        OrderBy::LastAccessTs => a.last_access.cmp(&b.last_access),
        OrderBy::MediaLength => a.size.cmp(&b.size),
        OrderBy::MediaType => a.content_type.cmp(&b.content_type),
        OrderBy::QuarantinedBy => a.quarantined_by.cmp(&b.quarantined_by),
        OrderBy::SafeFromQuarantine => a.is_safe_from_quarantine.cmp(&b.is_safe_from_quarantine),
    }
}

fn shown(media: &Media) -> Value {
    let mut shown = files::shown(media);
    // In this list every file is a local one, so nothing tells where it comes from.
    for key in ["media_origin", "filesystem_id"] {
        shown.remove(key);
    }
    Value::Object(shown)
}
