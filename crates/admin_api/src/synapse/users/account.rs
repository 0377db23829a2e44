//! What is done to one account: `/v1/users/{userId}/admin`, `/v1/deactivate`, `/v1/suspend`,
//! `/v1/reset_password`, `/v1/users/{userId}/{login,shadow_ban,override_ratelimit,…}`.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    routing::{get, post, put},
};
use lyceum_edge::{AdminRequester, Answer, App, Segments, json};
use lyceum_model::{MatrixError, Timestamp};
use lyceum_server::{
    accounts::{
        closing::{self, Remains},
        interactive_auth::Passed,
    },
    administration::RateOverride,
};
use ruma_common::UserId;
use serde_json::{Value, json};

use super::super::{
    done, known_user, local_user,
    object::{Object, ObjectOrNothing, required},
    refused, v1,
};

pub(super) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let router = v1(
        router,
        "/users/{user_id}/admin",
        get(is_admin).put(set_admin),
    );
    let router = v1(router, "/deactivate/{user_id}", post(deactivate));
    let router = v1(router, "/suspend/{user_id}", put(suspend));
    let router = v1(router, "/reset_password/{user_id}", post(reset_password));
    let router = v1(router, "/users/{user_id}/login", post(log_in));
    let router = v1(
        router,
        "/users/{user_id}/_allow_cross_signing_replacement_without_uia",
        post(allow_key_replacement),
    );
    let router = v1(
        router,
        "/users/{user_id}/shadow_ban",
        post(shadow_ban).delete(lift_shadow_ban),
    );
    v1(
        router,
        "/users/{user_id}/override_ratelimit",
        get(rate_limit)
            .post(set_rate_limit)
            .delete(remove_rate_limit),
    )
}

async fn is_admin(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(named): Segments<String>,
) -> Answer {
    let other = "Only local users can be admins of this homeserver";
    let user = local_user(&app, &named, other).await?;
    Ok(json(&json!({ "admin": user.is_admin })))
}

async fn set_admin(
    State(app): State<Arc<App>>,
    admin: AdminRequester,
    Segments(named): Segments<String>,
    Object(body): Object,
) -> Answer {
    let other = "Only local users can be admins of this homeserver";
    let Value::Bool(is_admin) = required(&body, "admin")? else {
        return Err(MatrixError::bad_json("Param 'admin' must be a boolean").into());
    };
    let user = local_user(&app, &named, other).await?;
    if user.user_id == admin.user_id && !is_admin {
        return Err(MatrixError::unknown("You may not demote yourself.").into());
    }
    app.server
        .change_user(&user.user_id, |user| user.is_admin = *is_admin)
        .await
        .map_err(refused)?;
    Ok(done())
}

async fn deactivate(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(named): Segments<String>,
    ObjectOrNothing(body): ObjectOrNothing,
) -> Answer {
    let remains = match body.get("erase") {
        None | Some(Value::Bool(false)) => Remains::Kept,
        Some(Value::Bool(true)) => Remains::Erased,
        Some(_) => {
            let why = "Param 'erase' must be a boolean, if given";
            return Err(MatrixError::bad_json(why).into());
        }
    };
    let user = local_user(&app, &named, "Can only deactivate local users").await?;
    closing::close(&app.server, &user.user_id, remains, &Passed::not_needed())
        .await
        .map_err(refused)?;
    Ok(json(&json!({ "id_server_unbind_result": "success" })))
}

async fn suspend(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(named): Segments<String>,
    Object(body): Object,
) -> Answer {
    let Value::Bool(is_suspended) = required(&body, "suspend")? else {
        return Err(MatrixError::bad_json("Param 'suspend' must be a boolean").into());
    };
    let user = local_user(&app, &named, "Can only suspend local users").await?;
    app.server
        .change_user(&user.user_id, |user| user.is_suspended = *is_suspended)
        .await
        .map_err(refused)?;
    let key = format!("user_{}_suspended", user.user_id);
    Ok(json(&json!({ key: is_suspended })))
}

async fn reset_password(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(named): Segments<String>,
    Object(body): Object,
) -> Answer {
    let password = required(&body, "new_password")?.as_str();
    let password = password.filter(|password| !password.is_empty());
    let password = password.ok_or_else(|| MatrixError::unknown("Invalid password"))?;
    let ends_sessions = body.get("logout_devices") != Some(&Value::Bool(false));
    let user = known_user(&app, &named, "Can only set passwords of local users").await?;
    app.server
        .set_password(&user.user_id, password.to_owned(), ends_sessions)
        .await
        .map_err(refused)?;
    Ok(done())
}

async fn log_in(
    State(app): State<Arc<App>>,
    admin: AdminRequester,
    Segments(named): Segments<String>,
    ObjectOrNothing(body): ObjectOrNothing,
) -> Answer {
    let until = match body.get("valid_until_ms") {
        None | Some(Value::Null) => None,
        Some(value) => Some(Timestamp(value.as_u64().ok_or_else(|| {
            MatrixError::unknown("'valid_until_ms' parameter must be an int")
        })?)),
    };
    let user = local_user(&app, &named, "Only local users can be logged in as").await?;
    if user.user_id == admin.user_id {
        return Err(MatrixError::unknown("Cannot use admin API to login as self").into());
    }
    if user.is_deactivated {
        return Err(MatrixError::user_deactivated("This account has been deactivated").into());
    }
    let token = app
        .server
        .impersonate(&admin.user_id, &user.user_id, until)
        .await;
    Ok(json(&json!({ "access_token": token.map_err(refused)? })))
}

async fn allow_key_replacement(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(named): Segments<String>,
) -> Answer {
    // Nobody but users of this server has such keys here to replace.
    let no_key = || MatrixError::not_found("User has no master cross-signing key");
    let user_id = UserId::parse(&named).map_err(|_| no_key())?;
    let until = if app.server.is_local(&user_id) {
        app.server.allow_key_replacement(&user_id).await
    } else {
        Ok(None)
    };
    let until = until.map_err(refused)?.ok_or_else(no_key)?;
    Ok(json(&json!({ "updatable_without_uia_before_ms": until })))
}

async fn shadow_ban(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(named): Segments<String>,
) -> Answer {
    set_shadow_ban(&app, &named, true).await
}

async fn lift_shadow_ban(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(named): Segments<String>,
) -> Answer {
    set_shadow_ban(&app, &named, false).await
}

async fn set_shadow_ban(app: &App, named: &str, is_banned: bool) -> Answer {
    let user = local_user(app, named, "Only local users can be shadow-banned").await?;
    app.server
        .change_user(&user.user_id, |user| user.is_shadow_banned = is_banned)
        .await
        .map_err(refused)?;
    Ok(done())
}

async fn rate_limit(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(named): Segments<String>,
) -> Answer {
    let user = local_user(&app, &named, "Can only look up local users").await?;
    let facts = app.server.administration.facts(&*app.server.store).await?;
    Ok(match facts.rate_override(&user.user_id) {
        Some(rate) => json(&rate),
        None => done(),
    })
}

async fn set_rate_limit(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(named): Segments<String>,
    ObjectOrNothing(body): ObjectOrNothing,
) -> Answer {
    let number = |key: &str| match body.get(key) {
        None => Ok(0),
        Some(value) => value
            .as_u64()
            .and_then(|value| u32::try_from(value).ok())
            .ok_or_else(|| {
                MatrixError::invalid_param(format!("{key} parameter must be a positive int"))
            }),
    };
    let rate = RateOverride {
        messages_per_second: number("messages_per_second")?,
        burst_count: number("burst_count")?,
    };
    let user = local_user(&app, &named, "Only local users can be ratelimited").await?;
    app.server.override_rate(&user.user_id, Some(rate)).await?;
    Ok(json(&rate))
}

async fn remove_rate_limit(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(named): Segments<String>,
) -> Answer {
    let user = local_user(&app, &named, "Only local users can be ratelimited").await?;
    app.server.override_rate(&user.user_id, None).await?;
    Ok(done())
}
