//! `/pushrules/global/{kind}/{ruleId}/actions`.

use std::sync::Arc;

use axum::extract::State;
use lyceum_account::push::PushRule;
use lyceum_edge::{Answer, App, JsonBody, Requester};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{RulePath, change, read};

pub(crate) async fn get(
    State(app): State<Arc<App>>,
    requester: Requester,
    path: RulePath,
) -> Answer {
    let tell = |rule: &PushRule| json!({ "actions": rule.actions });
    read(&app, &requester, path, tell).await
}

#[derive(Deserialize)]
pub(crate) struct Body {
    actions: Value,
}

pub(crate) async fn put(
    State(app): State<Arc<App>>,
    requester: Requester,
    path: RulePath,
    JsonBody(body): JsonBody<Body>,
) -> Answer {
    change(&app, &requester, path, |rules, kind, rule_id| {
        rules.set_actions(kind, rule_id, &body.actions)
    })
    .await
}
