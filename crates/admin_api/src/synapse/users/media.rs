//! `GET` and `DELETE /v1/users/{userId}/media`: what a user uploaded.

use std::{cmp::Ordering, sync::Arc};

use axum::{Router, extract::State, routing::get};
use lyceum_edge::{AdminRequester, Answer, App, Query, Refusal, Segments, json};
use lyceum_model::Media;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::{
    local_user,
    paging::{Direction, Page, Paging},
    refused, v1,
};

const OTHER_SERVER: &str = "Can only look up local users";

pub(super) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    v1(router, "/users/{user_id}/media", get(list).delete(delete))
}

#[derive(Debug, Deserialize)]
struct Order {
    order_by: Option<OrderBy>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
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

async fn list(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(named): Segments<String>,
    Query(paging): Query<Paging>,
    Query(order): Query<Order>,
) -> Answer {
    let (page, files) = sorted(&app, &named, &paging, &order).await?;
    let total = files.len();
    let (files, next) = page.of(files);
    let files: Vec<Value> = files.iter().map(shown).collect();
    let mut body = json!({ "media": files, "total": total });
    if let Some(next) = next {
        body["next_token"] = json!(next);
    }
    Ok(json(&body))
}

async fn delete(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(named): Segments<String>,
    Query(paging): Query<Paging>,
    Query(order): Query<Order>,
) -> Answer {
    let (page, files) = sorted(&app, &named, &paging, &order).await?;
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
    paging: &Paging,
    order: &Order,
) -> Result<(Page, Vec<Media>), Refusal> {
    let page = paging.page()?;
    let user = local_user(app, named, OTHER_SERVER).await?;
    let mut files = app.server.files_of(Some(&user.user_id)).await?;
    // The newest come first unless an order was asked for.
    let (order_by, direction) = match (order.order_by, paging.direction()) {
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
    json!({
        "created_ts": media.created,
        "last_access_ts": media.last_access,
        "media_id": media.id.media_id,
        "media_length": media.size,
        "media_type": media.content_type,
        "quarantined_by": media.quarantined_by,
        "safe_from_quarantine": media.is_safe_from_quarantine,
        "upload_name": media.file_name,
    })
}
