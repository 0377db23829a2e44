//! `/pushrules/global/{kind}/{ruleId}/enabled`.

use std::sync::Arc;

use axum::extract::State;
use lyceum_account::push::PushRule;
use lyceum_edge::{Answer, App, JsonBody, Requester};
use serde::Deserialize;
use serde_json::json;

use super::{RulePath, change, read};

pub(crate) async fn get(
    State(app): State<Arc<App>>,
    requester: Requester,
    path: RulePath,
) -> Answer {
    let tell = |rule: &PushRule| json!({ "enabled": rule.is_enabled });
    read(&app, &requester, path, tell).await
}

#[derive(Deserialize)]
pub(crate) struct Body {
    enabled: bool,
}

pub(crate) async fn put(
    State(app): State<Arc<App>>,
    requester: Requester,
    path: RulePath,
    JsonBody(body): JsonBody<Body>,
) -> Answer {
    change(&app, &requester, path, |rules, kind, rule_id| {
        rules.set_enabled(kind, rule_id, body.enabled)
    })
    .await
}
