//! `POST /rooms/{roomId}/{invite,leave,kick,ban,unban,forget}`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::post};
use lyceum_edge::{
    Answer, App, JsonBody, Limit, Refusal, Requester, Segments, client, json, passed_over,
};
use lyceum_model::MatrixError;
use lyceum_room::Target;
use ruma_common::{OwnedRoomId, OwnedUserId, UserId};
use serde::Deserialize;
use serde_json::json;

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let router = client(router, "/rooms/{room_id}/invite", post(invite));
    let router = client(router, "/rooms/{room_id}/leave", post(leave));
    let router = client(router, "/rooms/{room_id}/kick", post(kick));
    let router = client(router, "/rooms/{room_id}/ban", post(ban));
    let router = client(router, "/rooms/{room_id}/unban", post(unban));
    client(router, "/rooms/{room_id}/forget", post(forget))
}

#[derive(Deserialize)]
struct Body {
    user_id: Option<String>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    medium: Option<String>,
}

impl Body {
    fn user(&self) -> Result<OwnedUserId, Refusal> {
        if self.medium.is_some() {
            let why = "This server has no identity server to invite by e-mail address";
            return Err(MatrixError::new(400, "M_THREEPID_DENIED", why).into());
        }
        let Some(user_id) = &self.user_id else {
            return Err(MatrixError::missing_param("user_id is missing").into());
        };
        UserId::parse(user_id)
            .map_err(|_| MatrixError::invalid_param("user_id is not a user id").into())
    }

    fn target(self) -> Result<Target, Refusal> {
        Ok(Target {
            user_id: self.user()?,
            reason: self.reason,
        })
    }
}

fn done() -> Answer {
    Ok(json(&json!({})))
}

async fn invite(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments(room_id): Segments<OwnedRoomId>,
    JsonBody(body): JsonBody<Body>,
) -> Answer {
    requester.limit(&app, Limit::Membership)?;
    requester.refuse_suspended()?;
    let invited = body.user()?;
    if requester.is_shadow_banned {
        return done();
    }
    let invited = app
        .server
        .invite(&requester.user_id, &room_id, &invited, body.reason)
        .await;
    invited.map_err(MatrixError::from)?;
    done()
}

async fn leave(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments(room_id): Segments<OwnedRoomId>,
    JsonBody(body): JsonBody<Body>,
) -> Answer {
    let left = app
        .server
        .leave_room_on_request(&requester.user_id, &room_id, body.reason)
        .await;
    left.map_err(MatrixError::from)?;
    done()
}

async fn kick(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments(room_id): Segments<OwnedRoomId>,
    body: Result<JsonBody<Body>, Refusal>,
) -> Answer {
    requester.limit(&app, Limit::Membership)?;
    requester.refuse_suspended()?;
    let body = match body {
        Ok(JsonBody(body)) => body,
        Err(refusal) if requester.is_provisioning() => {
            return Ok(passed_over(room_id.as_str(), &refusal.0.message));
        }
        Err(refusal) => return Err(refusal),
    };
    let kicked = if requester.is_provisioning() {
        let named = body.user_id.as_deref().unwrap_or_default();
        app.server
            .bent_kick(&requester, &room_id, named, body.reason)
            .await
    } else {
        let target = body.target()?;
        app.server.kick(&requester.user_id, &room_id, target).await
    };
    kicked.map_err(MatrixError::from)?;
    done()
}

async fn ban(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments(room_id): Segments<OwnedRoomId>,
    JsonBody(body): JsonBody<Body>,
) -> Answer {
    requester.limit(&app, Limit::Membership)?;
    requester.refuse_suspended()?;
    let banned = app
        .server
        .ban(&requester.user_id, &room_id, body.target()?)
        .await;
    banned.map_err(MatrixError::from)?;
    done()
}

async fn unban(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments(room_id): Segments<OwnedRoomId>,
    JsonBody(body): JsonBody<Body>,
) -> Answer {
    requester.limit(&app, Limit::Membership)?;
    requester.refuse_suspended()?;
    let unbanned = app
        .server
        .unban(&requester.user_id, &room_id, body.target()?)
        .await;
    unbanned.map_err(MatrixError::from)?;
    done()
}

async fn forget(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments(room_id): Segments<OwnedRoomId>,
) -> Answer {
    app.server
        .forget(&requester.user_id, &room_id)
        .await
        .map_err(MatrixError::from)?;
    done()
}
