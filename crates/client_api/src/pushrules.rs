//! `GET /pushrules/`, `GET /pushrules/global/`.

mod actions;
mod enabled;
mod rule;

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use lyceum_account::push::RuleKind;
use lyceum_edge::{Answer, App, Limit, Requester, Segments, client, json};
use lyceum_model::MatrixError;
use lyceum_server::push_rules;

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

fn kind_of(name: &str) -> Result<RuleKind, MatrixError> {
    let kind = RuleKind::from_name(name);
    kind.ok_or_else(|| MatrixError::invalid_param("There is no such kind of push rules"))
}
