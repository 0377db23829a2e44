//! `/pushrules/global/{kind}/{ruleId}`.

use std::sync::Arc;

use axum::extract::State;
use lyceum_account::push::PushRule;
use lyceum_edge::{Answer, App, JsonBody, Query, Requester};
use serde::Deserialize;

use super::{RulePath, change, read};
use crate::object::Object;

pub(crate) async fn get(
    State(app): State<Arc<App>>,
    requester: Requester,
    path: RulePath,
) -> Answer {
    read(&app, &requester, path, PushRule::to_json).await
}

#[derive(Deserialize)]
pub(crate) struct Neighbours {
    before: Option<String>,
    after: Option<String>,
}

pub(crate) async fn put(
    State(app): State<Arc<App>>,
    requester: Requester,
    path: RulePath,
    Query(neighbours): Query<Neighbours>,
    JsonBody(Object(body)): JsonBody<Object>,
) -> Answer {
    let (before, after) = (neighbours.before.as_deref(), neighbours.after.as_deref());
    change(&app, &requester, path, |rules, kind, rule_id| {
        rules.put(kind, rule_id, &body, before, after)
    })
    .await
}

pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    requester: Requester,
    path: RulePath,
) -> Answer {
    change(&app, &requester, path, |rules, kind, rule_id| {
        rules.delete(kind, rule_id)
    })
    .await
}
