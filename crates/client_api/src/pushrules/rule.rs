//! `/pushrules/global/{kind}/{ruleId}`.

use std::sync::Arc;

use axum::extract::State;
use lyceum_edge::{Answer, App, JsonBody, Limit, Query, Requester, Segments, json};
use lyceum_model::MatrixError;
use lyceum_server::push_rules;
use serde::Deserialize;
use serde_json::json;

use super::kind_of;
use crate::object::Object;

pub(crate) async fn get(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments((kind, rule_id)): Segments<(String, String)>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    let kind = kind_of(&kind)?;
    let rules = push_rules::load(&app.server, &requester.user_id).await?;
    let rule = rules.get(kind, &rule_id).map_err(MatrixError::from)?;
    Ok(json(&rule.to_json()))
}

#[derive(Deserialize)]
pub(crate) struct Neighbours {
    before: Option<String>,
    after: Option<String>,
}

pub(crate) async fn put(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments((kind, rule_id)): Segments<(String, String)>,
    Query(neighbours): Query<Neighbours>,
    JsonBody(Object(body)): JsonBody<Object>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    let kind = kind_of(&kind)?;
    let (before, after) = (neighbours.before.as_deref(), neighbours.after.as_deref());
    let changed = push_rules::change(&app.server, &requester.user_id, |rules| {
        rules.put(kind, &rule_id, &body, before, after)
    });
    changed.await.map_err(MatrixError::from)?;
    Ok(json(&json!({})))
}

pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments((kind, rule_id)): Segments<(String, String)>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    let kind = kind_of(&kind)?;
    let changed = push_rules::change(&app.server, &requester.user_id, |rules| {
        rules.delete(kind, &rule_id)
    });
    changed.await.map_err(MatrixError::from)?;
    Ok(json(&json!({})))
}
