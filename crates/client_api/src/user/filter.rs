//! `POST /user/{userId}/filter`, `GET /user/{userId}/filter/{filterId}`.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;
use lyceum_edge::{Answer, App, JsonBody, Limit, RawBody, Requester, Segments, json, json_bytes};
use lyceum_model::MatrixError;
use lyceum_server::accounts::filters;
use ruma_common::OwnedUserId;
use serde_json::json;

use crate::object::Object;

pub(crate) async fn post(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments(user_id): Segments<OwnedUserId>,
    RawBody(body): RawBody,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    requester.must_be(&user_id)?;
    let JsonBody(Object(filter)) = JsonBody::parse_present(&body)?;
    let kept = filters::keep(&app.server, &user_id, &filter).await;
    let filter_id = kept.map_err(MatrixError::from)?;
    Ok(json(&json!({ "filter_id": filter_id })))
}

pub(crate) async fn get(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments((user_id, filter_id)): Segments<(OwnedUserId, String)>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    requester.must_be(&user_id)?;
    let filter = app.server.store.filter(&user_id, &filter_id).await?;
    let filter = filter.ok_or_else(|| MatrixError::not_found("No such filter"))?;
    Ok(json_bytes(StatusCode::OK, filter))
}
