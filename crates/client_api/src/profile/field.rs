//! `/profile/{userId}/{keyName}`.

use std::sync::Arc;

use axum::extract::State;
use lyceum_account::profile;
use lyceum_edge::{
    Answer, App, ClientAddress, JsonBody, Limit, Refusal, Requester, Segments, json,
};
use lyceum_model::MatrixError;
use lyceum_server::accounts::profiles::{self, ProfileAccessError};
use ruma_common::{OwnedUserId, UserId};
use serde_json::json;

use crate::object::Object;

pub(crate) async fn get(
    State(app): State<Arc<App>>,
    ClientAddress(address): ClientAddress,
    Segments((user_id, key)): Segments<(OwnedUserId, String)>,
) -> Answer {
    app.limiter
        .check_address(Limit::Request, address, app.server.clock.now())?;
    let mut fields = profiles::profile(&app.server, &user_id)
        .await
        .map_err(MatrixError::from)?;
    fields.retain(|known, _| *known == key);
    if fields.is_empty() {
        return Err(MatrixError::from(ProfileAccessError::NotFound).into());
    }
    Ok(json(&profile::json(&fields)))
}

pub(crate) async fn put(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments((user_id, key)): Segments<(OwnedUserId, String)>,
    JsonBody(Object(body)): JsonBody<Object>,
) -> Answer {
    may_change(&app, &requester, &user_id)?;
    let set = profiles::set_field(&app.server, &user_id, &key, &body).await;
    set.map_err(MatrixError::from)?;
    Ok(json(&json!({})))
}

pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments((user_id, key)): Segments<(OwnedUserId, String)>,
) -> Answer {
    may_change(&app, &requester, &user_id)?;
    let removed = profiles::remove_field(&app.server, &user_id, &key).await;
    removed.map_err(MatrixError::from)?;
    Ok(json(&json!({})))
}

/// People change their own profile, admins everybody's.
fn may_change(app: &App, requester: &Requester, user_id: &UserId) -> Result<(), Refusal> {
    requester.limit(app, Limit::Request)?;
    if !requester.is_admin {
        requester.must_be(user_id)?;
    }
    requester.refuse_suspended()
}
