//! Finding accounts: `/v1/username_available`, `/v1/auth_providers/…`, `/v1/threepid/…`,
//! `/v1/search_users/…`; and what is asked about one of them: validity, experimental features.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    routing::{get, post},
};
use lyceum_account::names::{self, Registrant};
use lyceum_edge::{AdminRequester, Answer, App, Segments, json};
use lyceum_model::{MatrixError, Timestamp};
use lyceum_server::{
    accounts::registration,
    administration::{external_ids::ExternalId, people::canonical_address},
};
use serde_json::{Map, Value, json};

use super::{
    super::{done, local_user, object::Object, parameters::Parameters, refused, v1},
    list,
};

/// Experimental features that can be switched for one user, and whether this server has them.
/// What it has, it has for everybody.
const FEATURES: [(&str, bool); 3] = [("msc3575", false), ("msc3881", false), ("msc4222", true)];

pub(super) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let router = v1(router, "/username_available", get(username_available));
    let router = v1(
        router,
        "/auth_providers/{provider}/users/{external_id}",
        get(by_external_id),
    );
    let router = v1(
        router,
        "/threepid/{medium}/users/{address}",
        get(by_threepid),
    );
    let router = v1(router, "/search_users/{user_id}", get(list::search));
    let router = v1(router, "/account_validity/validity", post(renew));
    v1(
        router,
        "/experimental_features/{user_id}",
        get(features).put(set_features),
    )
}

async fn username_available(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    parameters: Parameters,
) -> Answer {
    let username = parameters.required_text("username")?;
    // A registration takes capitals as small letters; here the name itself is asked about.
    let server_name = &app.server.config.server_name;
    names::new_user_id(username, server_name, Registrant::Person).map_err(refused)?;
    let free = registration::free_user_id(&app.server, Some(username), None).await;
    free.map_err(refused)?;
    Ok(json(&json!({ "available": true })))
}

async fn by_external_id(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments((auth_provider, external_id)): Segments<(String, String)>,
) -> Answer {
    let id = ExternalId {
        auth_provider,
        external_id,
    };
    match app.server.user_of_external_id(&id).await? {
        Some(user_id) => Ok(json(&json!({ "user_id": user_id }))),
        None => Err(MatrixError::not_found("User not found").into()),
    }
}

async fn by_threepid(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments((medium, address)): Segments<(String, String)>,
) -> Answer {
    let address = canonical_address(&medium, &address);
    match app.server.store.threepid(&medium, &address).await? {
        Some(threepid) => Ok(json(&json!({ "user_id": threepid.user_id }))),
        None => Err(MatrixError::not_found("User not found").into()),
    }
}

/// Accounts have no end here unless an admin sets one, so it must be named.
async fn renew(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Object(body): Object,
) -> Answer {
    let Some(Value::String(named)) = body.get("user_id") else {
        return Err(
            MatrixError::missing_param("Missing property 'user_id' in the request body").into(),
        );
    };
    let Some(end) = body.get("expiration_ts").and_then(Value::as_u64) else {
        let why = "Accounts have no period of validity on this server: expiration_ts is needed";
        return Err(MatrixError::invalid_param(why).into());
    };
    let user = local_user(&app, named, "User is not on this homeserver").await?;
    app.server
        .end_account_at(&user.user_id, Timestamp(end))
        .await?;
    Ok(json(&json!({ "expiration_ts": end })))
}

async fn features(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(named): Segments<String>,
) -> Answer {
    let other = "User must be local to check what experimental features are enabled.";
    local_user(&app, &named, other).await?;
    let features: Map<String, Value> = FEATURES
        .iter()
        .map(|(name, is_there)| ((*name).to_owned(), json!(is_there)))
        .collect();
    Ok(json(&json!({ "features": features })))
}

async fn set_features(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(named): Segments<String>,
    Object(body): Object,
) -> Answer {
    let other = "User must be local to enable experimental features.";
    local_user(&app, &named, other).await?;
    let wanted = match body.get("features") {
        Some(Value::Object(wanted)) if !wanted.is_empty() => wanted,
        _ => return Err(MatrixError::unknown("You must provide features to set.").into()),
    };
    for (name, wanted) in wanted {
        let known = FEATURES.iter().find(|(known, _)| known == name);
        let Some((_, is_there)) = known else {
            let why = format!("'{name}' is not recognised as a valid experimental feature.");
            return Err(MatrixError::unknown(why).into());
        };
        if wanted.as_bool() != Some(*is_there) {
            let why = if *is_there {
                format!("This server has {name} for everybody; it cannot be switched off")
            } else {
                format!("This server does not have {name}")
            };
            return Err(MatrixError::unknown(why).into());
        }
    }
    Ok(done())
}
