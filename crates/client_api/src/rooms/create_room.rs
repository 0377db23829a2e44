//! `POST /createRoom`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::post};
use lyceum_edge::{Answer, App, JsonBody, Limit, Provisioning, Refusal, Requester, client, json};
use lyceum_model::MatrixError;
use lyceum_room::{Draft, Preset};
use lyceum_server::rooms::NewRoom;
use ruma_common::{RoomAliasId, RoomVersionId, UserId};
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use crate::object::ObjectOf;

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    client(router, "/createRoom", post(create_room))
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    visibility: Option<String>,
    #[serde(default)]
    room_alias_name: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    topic: Option<String>,
    #[serde(default)]
    invite: Vec<String>,
    #[serde(default)]
    invite_3pid: Vec<Box<RawValue>>,
    #[serde(default)]
    room_version: Option<String>,
    #[serde(default)]
    creation_content: Option<Box<RawValue>>,
    #[serde(default)]
    initial_state: Vec<ObjectOf<InitialState>>,
    #[serde(default)]
    preset: Option<String>,
    #[serde(default)]
    is_direct: bool,
    #[serde(default)]
    power_level_content_override: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct InitialState {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    state_key: String,
    content: Box<RawValue>,
}

async fn create_room(
    State(app): State<Arc<App>>,
    requester: Requester,
    JsonBody(body): JsonBody<Body>,
) -> Answer {
    requester.limit(&app, Limit::Membership)?;
    requester.refuse_suspended()?;
    if requester.provisioning() == Provisioning::OwnToken {
        refuse_beyond_provisioning(&body)?;
    }
    let wish = wish_of(body, &app)?;
    let room_id = app
        .server
        .create_room(&requester, wish)
        .await
        .map_err(MatrixError::from)?;
    Ok(json(&json!({ "room_id": room_id })))
}

/// A provisioning token makes rooms for courses and no others: whom it may bring in, and what it
/// may say in a room, would count for nothing if the room could be made with it.
fn refuse_beyond_provisioning(body: &Body) -> Result<(), MatrixError> {
    let is_private = matches!(body.visibility.as_deref(), None | Some("private"));
    for (key, is_said) in [
        ("visibility", !is_private),
        ("room_alias_name", body.room_alias_name.is_some()),
        ("invite", !body.invite.is_empty()),
        ("invite_3pid", !body.invite_3pid.is_empty()),
        ("creation_content", body.creation_content.is_some()),
        ("initial_state", !body.initial_state.is_empty()),
        ("is_direct", body.is_direct),
        (
            "power_level_content_override",
            body.power_level_content_override.is_some(),
        ),
    ] {
        if is_said {
            let why = format!(
                "A provisioning token makes private rooms with a name, a topic and a preset; it \
                 cannot set {key}"
            );
            return Err(MatrixError::forbidden(why));
        }
    }
    Ok(())
}

fn wish_of(body: Body, app: &App) -> Result<NewRoom, Refusal> {
    let server_name = &app.server.config.server_name;
    if !body.invite_3pid.is_empty() {
        let why = "This server has no identity server to invite by e-mail address";
        return Err(MatrixError::new(400, "M_THREEPID_DENIED", why).into());
    }
    let is_public = match body.visibility.as_deref() {
        Some("public") => true,
        Some("private") | None => false,
        Some(other) => return Err(unknown("visibility", other)),
    };
    let preset = match body.preset.as_deref() {
        None => None,
        Some("private_chat") => Some(Preset::PrivateChat),
        Some("trusted_private_chat") => Some(Preset::TrustedPrivateChat),
        Some("public_chat") => Some(Preset::PublicChat),
        Some(other) => return Err(unknown("preset", other)),
    };
    let alias = body
        .room_alias_name
        .filter(|name| !name.is_empty())
        .map(|name| {
            if name.contains(':') || name.starts_with('#') {
                let why = "room_alias_name is the part of the alias between # and :";
                return Err(MatrixError::invalid_param(why));
            }
            RoomAliasId::parse(format!("#{name}:{server_name}")).map_err(|_| {
                MatrixError::invalid_param("room_alias_name is not allowed in an alias")
            })
        });
    let version = body.room_version.map(|version| {
        RoomVersionId::try_from(version.as_str()).map_err(|_| {
            MatrixError::unsupported_room_version(format!(
                "This server does not know room version {version}"
            ))
        })
    });
    let invites = body.invite.iter().map(|user_id| {
        UserId::parse(user_id)
            .map_err(|_| MatrixError::invalid_param(format!("{user_id} is not a user id")))
    });
    let initial_state = body.initial_state.into_iter();
    Ok(NewRoom {
        version: version.transpose()?,
        preset,
        is_public,
        name: body.name,
        topic: body.topic,
        alias: alias.transpose()?,
        invites: invites.collect::<Result<_, _>>()?,
        initial_state: initial_state
            .map(|ObjectOf(state)| Draft::state(state.kind, state.state_key, state.content))
            .collect(),
        creation_content: body.creation_content,
        power_level_content_override: body.power_level_content_override,
        is_direct: body.is_direct,
    })
}

fn unknown(parameter: &str, value: &str) -> Refusal {
    MatrixError::invalid_param(format!("{parameter} cannot be {value:?}")).into()
}
