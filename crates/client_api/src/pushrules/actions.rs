//! `/pushrules/global/{kind}/{ruleId}/actions`.

use std::sync::Arc;

use axum::extract::State;
use lyceum_edge::{Answer, App, JsonBody, Limit, Requester, Segments, json};
use lyceum_model::MatrixError;
use lyceum_server::push_rules;
use serde::Deserialize;
use serde_json::{Value, json};

use super::kind_of;

pub(crate) async fn get(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments((kind, rule_id)): Segments<(String, String)>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    let kind = kind_of(&kind)?;
    let rules = push_rules::load(&app.server, &requester.user_id).await?;
    let rule = rules.get(kind, &rule_id).map_err(MatrixError::from)?;
    Ok(json(&json!({ "actions": rule.actions })))
}

#[derive(Deserialize)]
pub(crate) struct Body {
    actions: Value,
}

pub(crate) async fn put(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments((kind, rule_id)): Segments<(String, String)>,
    JsonBody(body): JsonBody<Body>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    let kind = kind_of(&kind)?;
    let changed = push_rules::change(&app.server, &requester.user_id, |rules| {
        rules.set_actions(kind, &rule_id, &body.actions)
    });
    changed.await.map_err(MatrixError::from)?;
    Ok(json(&json!({})))
}
