//! `/_matrix/client/v1/admin/{lock,suspend}/{userId}` (Client-Server API, "Server
//! Administration"), also under the name of the proposal, MSC4323.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use lyceum_edge::{
    AdminRequester, Answer, App, JsonBody, Refusal, Segments, client_v1, json, unstable,
};
use lyceum_model::{MatrixError, User};
use ruma_common::{OwnedUserId, UserId};
use serde::Deserialize;
use serde_json::json;

pub(crate) fn routes(mut router: Router<Arc<App>>) -> Router<Arc<App>> {
    let locking = get(lock_status).put(lock);
    let suspending = get(suspension_status).put(suspend);
    for (what, methods) in [("lock", locking), ("suspend", suspending)] {
        let path = format!("/admin/{what}/{{user_id}}");
        router = client_v1(router, &path, methods.clone());
        router = unstable(router, &format!("/uk.timedout.msc4323{path}"), methods);
    }
    router
}

#[derive(Deserialize)]
struct Lock {
    locked: bool,
}

#[derive(Deserialize)]
struct Suspension {
    suspended: bool,
}

async fn lock_status(
    State(app): State<Arc<App>>,
    admin: AdminRequester,
    Segments(user_id): Segments<OwnedUserId>,
) -> Answer {
    let user = moderated(&app, &admin, &user_id).await?;
    Ok(json(&json!({ "locked": user.is_locked })))
}

async fn lock(
    State(app): State<Arc<App>>,
    admin: AdminRequester,
    Segments(user_id): Segments<OwnedUserId>,
    JsonBody(Lock { locked }): JsonBody<Lock>,
) -> Answer {
    moderated(&app, &admin, &user_id).await?;
    app.server
        .change_user(&user_id, |user| user.is_locked = locked)
        .await
        .map_err(MatrixError::from)?;
    Ok(json(&json!({ "locked": locked })))
}

async fn suspension_status(
    State(app): State<Arc<App>>,
    admin: AdminRequester,
    Segments(user_id): Segments<OwnedUserId>,
) -> Answer {
    let user = moderated(&app, &admin, &user_id).await?;
    Ok(json(&json!({ "suspended": user.is_suspended })))
}

async fn suspend(
    State(app): State<Arc<App>>,
    admin: AdminRequester,
    Segments(user_id): Segments<OwnedUserId>,
    JsonBody(Suspension { suspended }): JsonBody<Suspension>,
) -> Answer {
    moderated(&app, &admin, &user_id).await?;
    app.server
        .change_user(&user_id, |user| user.is_suspended = suspended)
        .await
        .map_err(MatrixError::from)?;
    Ok(json(&json!({ "suspended": suspended })))
}

/// The account to moderate: of this server, in use, and no admin's, the requester's own among
/// them.
async fn moderated(app: &App, admin: &AdminRequester, user_id: &UserId) -> Result<User, Refusal> {
    if !app.server.is_local(user_id) {
        let why = "User does not belong to the local server.";
        return Err(MatrixError::invalid_param(why).into());
    }
    if user_id == admin.user_id {
        let why = "You cannot lock or suspend your own account";
        return Err(MatrixError::forbidden(why).into());
    }
    match app.server.store.user(user_id).await? {
        Some(user) if user.is_admin => {
            let why = "Another admin cannot be locked or suspended";
            Err(MatrixError::forbidden(why).into())
        }
        Some(user) if !user.is_deactivated => Ok(user),
        Some(_) | None => Err(MatrixError::not_found("User not found.").into()),
    }
}
