//! `/room_keys/keys`, `/room_keys/keys/{roomId}`, `/room_keys/keys/{roomId}/{sessionId}`.

use std::sync::Arc;

use axum::extract::State;
use lyceum_account::backup;
use lyceum_edge::{Answer, App, JsonBody, Limit, Query, Refusal, Requester, Segments, json};
use lyceum_model::{BackupSession, MatrixError};
use lyceum_server::encryption::backups::{self, Part, Standing};
use ruma_common::OwnedRoomId;
use serde::Deserialize;
use serde_json::json;

use super::number_of;
use crate::object::Object;

#[derive(Deserialize)]
pub(crate) struct Parameters {
    version: Option<String>,
}

impl Parameters {
    fn number(&self) -> Result<u64, MatrixError> {
        let version = self.version.as_deref();
        number_of(version.ok_or_else(|| MatrixError::missing_param("Missing parameter: version"))?)
    }
}

pub(crate) async fn get_all(
    State(app): State<Arc<App>>,
    requester: Requester,
    Query(parameters): Query<Parameters>,
) -> Answer {
    let sessions = load(&app, &requester, &parameters, Part::All).await?;
    Ok(json(&backup::rooms_json(&sessions)))
}

pub(crate) async fn get_room(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments(room_id): Segments<OwnedRoomId>,
    Query(parameters): Query<Parameters>,
) -> Answer {
    let sessions = load(&app, &requester, &parameters, Part::Room(&room_id)).await?;
    Ok(json(&backup::room_json(&sessions)))
}

pub(crate) async fn get_session(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments((room_id, session_id)): Segments<(OwnedRoomId, String)>,
    Query(parameters): Query<Parameters>,
) -> Answer {
    let part = Part::Session(&room_id, &session_id);
    let sessions = load(&app, &requester, &parameters, part).await?;
    let session = sessions.first();
    let session = session.ok_or_else(|| MatrixError::not_found("No room_keys found"))?;
    Ok(json(&backup::session_json(session)))
}

pub(crate) async fn put_all(
    State(app): State<Arc<App>>,
    requester: Requester,
    Query(parameters): Query<Parameters>,
    JsonBody(Object(body)): JsonBody<Object>,
) -> Answer {
    let sessions = backup::parse_rooms(&body).map_err(MatrixError::from)?;
    store(&app, &requester, &parameters, Part::All, sessions).await
}

pub(crate) async fn put_room(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments(room_id): Segments<OwnedRoomId>,
    Query(parameters): Query<Parameters>,
    JsonBody(Object(body)): JsonBody<Object>,
) -> Answer {
    let sessions = backup::parse_room(&room_id, &body).map_err(MatrixError::from)?;
    store(
        &app,
        &requester,
        &parameters,
        Part::Room(&room_id),
        sessions,
    )
    .await
}

pub(crate) async fn put_session(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments((room_id, session_id)): Segments<(OwnedRoomId, String)>,
    Query(parameters): Query<Parameters>,
    JsonBody(Object(body)): JsonBody<Object>,
) -> Answer {
    let session = backup::parse_session(&room_id, &session_id, &body).map_err(MatrixError::from)?;
    let part = Part::Session(&room_id, &session_id);
    store(&app, &requester, &parameters, part, vec![session]).await
}

pub(crate) async fn delete_all(
    State(app): State<Arc<App>>,
    requester: Requester,
    Query(parameters): Query<Parameters>,
) -> Answer {
    remove(&app, &requester, &parameters, Part::All).await
}

pub(crate) async fn delete_room(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments(room_id): Segments<OwnedRoomId>,
    Query(parameters): Query<Parameters>,
) -> Answer {
    remove(&app, &requester, &parameters, Part::Room(&room_id)).await
}

pub(crate) async fn delete_session(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments((room_id, session_id)): Segments<(OwnedRoomId, String)>,
    Query(parameters): Query<Parameters>,
) -> Answer {
    remove(
        &app,
        &requester,
        &parameters,
        Part::Session(&room_id, &session_id),
    )
    .await
}

async fn load(
    app: &App,
    requester: &Requester,
    parameters: &Parameters,
    part: Part<'_>,
) -> Result<Vec<BackupSession>, Refusal> {
    requester.limit(app, Limit::Request)?;
    let number = parameters.number()?;
    let sessions = backups::sessions(&app.server, &requester.user_id, number, part).await;
    Ok(sessions.map_err(MatrixError::from)?)
}

async fn store(
    app: &App,
    requester: &Requester,
    parameters: &Parameters,
    part: Part<'_>,
    sessions: Vec<BackupSession>,
) -> Answer {
    requester.limit(app, Limit::Request)?;
    let number = parameters.number()?;
    let user_id = &requester.user_id;
    let standing = backups::put_sessions(&app.server, user_id, number, part, sessions).await;
    Ok(standing_json(standing.map_err(MatrixError::from)?))
}

async fn remove(
    app: &App,
    requester: &Requester,
    parameters: &Parameters,
    part: Part<'_>,
) -> Answer {
    requester.limit(app, Limit::Request)?;
    let number = parameters.number()?;
    let standing = backups::remove_sessions(&app.server, &requester.user_id, number, part).await;
    Ok(standing_json(standing.map_err(MatrixError::from)?))
}

fn standing_json(standing: Standing) -> axum::response::Response {
    json(&json!({ "etag": standing.etag.to_string(), "count": standing.count }))
}
