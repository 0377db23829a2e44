//! `GET /pushrules/`, `GET /pushrules/global/`.

mod actions;
mod enabled;
mod rule;

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use lyceum_account::push::{PushRule, PushRuleError, PushRules, RuleKind};
use lyceum_edge::{Answer, App, Limit, Requester, Segments, client, json};
use lyceum_model::MatrixError;
use lyceum_server::push_rules;
use serde_json::{Value, json};

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let mut router = router;
    for path in ["/pushrules", "/pushrules/"] {
        router = client(router, path, get(all));
    }
    for path in ["/pushrules/global", "/pushrules/global/"] {
        router = client(router, path, get(global));
    }
    for path in ["/pushrules/global/{kind}", "/pushrules/global/{kind}/"] {
        router = client(router, path, get(of_kind));
    }
    let one = "/pushrules/global/{kind}/{rule_id}";
    let router = client(
        router,
        one,
        get(rule::get).put(rule::put).delete(rule::delete),
    );
    let methods = get(enabled::get).put(enabled::put);
    let router = client(router, &format!("{one}/enabled"), methods);
    let methods = get(actions::get).put(actions::put);
    client(router, &format!("{one}/actions"), methods)
}

async fn all(State(app): State<Arc<App>>, requester: Requester) -> Answer {
    requester.limit(&app, Limit::Request)?;
    let rules = push_rules::load(&app.server, &requester.user_id).await?;
    Ok(json(&rules.content()))
}

async fn global(State(app): State<Arc<App>>, requester: Requester) -> Answer {
    requester.limit(&app, Limit::Request)?;
    let rules = push_rules::load(&app.server, &requester.user_id).await?;
    Ok(json(&rules.global()))
}

async fn of_kind(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments(kind): Segments<String>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    let kind = kind_of(&kind)?;
    let rules = push_rules::load(&app.server, &requester.user_id).await?;
    Ok(json(&rules.of_kind(kind)))
}

/// A rule's kind and id, as they stand in a path.
type RulePath = Segments<(String, String)>;

/// Answers with what is asked about a rule. Of a kind that does not exist there is no rule.
async fn read(
    app: &App,
    requester: &Requester,
    Segments((kind, rule_id)): RulePath,
    tell: impl FnOnce(&PushRule) -> Value,
) -> Answer {
    requester.limit(app, Limit::Request)?;
    let kind = RuleKind::from_name(&kind);
    let kind = kind.ok_or_else(|| MatrixError::not_found("The push rule was not found."))?;
    let rules = push_rules::load(&app.server, &requester.user_id).await?;
    let rule = rules.get(kind, &rule_id).map_err(MatrixError::from)?;
    Ok(json(&tell(rule)))
}

/// Changes a rule.
async fn change(
    app: &App,
    requester: &Requester,
    Segments((kind, rule_id)): RulePath,
    change: impl Fn(&mut PushRules, RuleKind, &str) -> Result<(), PushRuleError> + Send + Sync,
) -> Answer {
    requester.limit(app, Limit::Request)?;
    let kind = kind_of(&kind)?;
    let changed = push_rules::change(&app.server, &requester.user_id, |rules| {
        change(rules, kind, &rule_id)
    });
    changed.await.map_err(MatrixError::from)?;
    Ok(json(&json!({})))
}

/// The kind of rules that are to be changed or listed.
fn kind_of(name: &str) -> Result<RuleKind, MatrixError> {
    let kind = RuleKind::from_name(name);
    kind.ok_or_else(|| MatrixError::invalid_param("There is no such kind of push rules"))
}
