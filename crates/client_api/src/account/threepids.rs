//! `GET /account/3pid`.

use std::sync::Arc;

use axum::extract::State;
use lyceum_edge::{Answer, App, Limit, Requester, json};
use serde_json::{Value, json};

pub(crate) async fn threepids(State(app): State<Arc<App>>, requester: Requester) -> Answer {
    requester.limit(&app, Limit::Request)?;
    let threepids = app.server.store.threepids(&requester.user_id).await?;
    let threepids: Vec<Value> = threepids
        .into_iter()
        .map(|threepid| {
            json!({
                "medium": threepid.medium,
                "address": threepid.address,
                "added_at": threepid.added,
                "validated_at": threepid.validated,
            })
        })
        .collect();
    Ok(json(&json!({ "threepids": threepids })))
}
