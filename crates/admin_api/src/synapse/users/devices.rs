//! `/v2/users/{userId}/devices` and what hangs below it, and `/v1/whois/{userId}`.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    routing::{get, post},
};
use http::StatusCode;
use lyceum_edge::{AdminRequester, Answer, App, RawBody, Segments, client, json, json_bytes};
use lyceum_model::{Device, MatrixError};
use lyceum_server::accounts::{
    devices::{self, DeviceError, MayCreate},
    interactive_auth::Passed,
};
use ruma_common::{DeviceId, OwnedDeviceId, UserId};
use serde_json::{Value, json};

use super::super::{
    done, known_user, local_user,
    object::{Object, ObjectOrNothing, object, required},
    refused, v1, v2,
};

const OTHER_SERVER: &str = "Can only lookup local users";

pub(super) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let router = v2(router, "/users/{user_id}/devices", get(list).post(create));
    let router = v2(
        router,
        "/users/{user_id}/delete_devices",
        post(delete_several),
    );
    let router = v2(
        router,
        "/users/{user_id}/devices/{device_id}",
        get(one).put(rename).delete(delete),
    );
    let router = v1(router, "/whois/{user_id}", get(whois));
    client(router, "/admin/whois/{user_id}", get(whois_of_client))
}

async fn list(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(named): Segments<String>,
) -> Answer {
    let user = known_user(&app, &named, OTHER_SERVER).await?;
    let devices = app
        .server
        .devices_of(std::slice::from_ref(&user.user_id))
        .await?;
    let devices: Vec<Value> = devices.iter().map(shown).collect();
    Ok(json(&json!({ "total": devices.len(), "devices": devices })))
}

fn shown(device: &Device) -> Value {
    json!({
        "device_id": device.device_id,
        "display_name": device.display_name,
        "last_seen_ip": device.last_seen_ip,
        "last_seen_user_agent": device.user_agent,
        "last_seen_ts": device.last_seen,
        "user_id": device.user_id,
        "dehydrated": false,
    })
}

async fn create(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(named): Segments<String>,
    Object(body): Object,
) -> Answer {
    let other = "Can only create devices for local users";
    let user = known_user(&app, &named, other).await?;
    let device_id = match body.get("device_id") {
        Some(Value::String(device_id)) if !device_id.is_empty() => device_id.clone(),
        None | Some(Value::String(_) | Value::Null) => {
            return Err(MatrixError::unknown("Missing device_id").into());
        }
        Some(_) => return Err(MatrixError::unknown("device_id must be a string").into()),
    };
    let device_id: OwnedDeviceId = device_id.into();
    app.server
        .make_device(&user.user_id, &device_id)
        .await
        .map_err(refused)?;
    Ok(json_bytes(StatusCode::CREATED, "{}"))
}

async fn delete_several(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(named): Segments<String>,
    RawBody(body): RawBody,
) -> Answer {
    let user = known_user(&app, &named, OTHER_SERVER).await?;
    let body = object(&body)?;
    let Value::Array(ids) = required(&body, "devices")? else {
        return Err(MatrixError::bad_json("devices must be a list").into());
    };
    let ids: Vec<OwnedDeviceId> = ids
        .iter()
        .filter_map(Value::as_str)
        .map(OwnedDeviceId::from)
        .collect();
    remove(&app, &user.user_id, &ids).await
}

async fn remove(app: &App, user_id: &UserId, ids: &[OwnedDeviceId]) -> Answer {
    devices::remove(&app.server, user_id, ids, &Passed::not_needed())
        .await
        .map_err(refused)?;
    Ok(done())
}

async fn one(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments((named, device_id)): Segments<(String, String)>,
) -> Answer {
    let user = known_user(&app, &named, OTHER_SERVER).await?;
    let device_id = <&DeviceId>::from(device_id.as_str());
    let device = devices::device(&app.server, &user.user_id, device_id).await?;
    match device {
        Some(device) => Ok(json(&shown(&device))),
        None => Err(MatrixError::not_found("No device found").into()),
    }
}

async fn rename(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments((named, device_id)): Segments<(String, String)>,
    ObjectOrNothing(body): ObjectOrNothing,
) -> Answer {
    let user = known_user(&app, &named, OTHER_SERVER).await?;
    let name = match body.get("display_name") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => Some(name.clone()),
        Some(_) => return Err(MatrixError::bad_json("display_name must be a string").into()),
    };
    let device_id = <&DeviceId>::from(device_id.as_str());
    let has_name = name.is_some();
    match devices::put(&app.server, &user.user_id, device_id, name, MayCreate::No).await {
        Ok(_) => Ok(done()),
        // As Synapse has it: without a name there is nothing to do, whatever is there.
        Err(DeviceError::NotFound) if !has_name => Ok(done()),
        Err(DeviceError::NotFound) => Err(MatrixError::not_found("Not found").into()),
        Err(error) => Err(refused(error)),
    }
}

async fn delete(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments((named, device_id)): Segments<(String, String)>,
) -> Answer {
    let user = known_user(&app, &named, OTHER_SERVER).await?;
    remove(&app, &user.user_id, &[device_id.into()]).await
}

async fn whois(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(named): Segments<String>,
) -> Answer {
    sessions(&app, &named).await
}

/// The same in the Client-Server API, where users may ask about themselves.
async fn whois_of_client(
    State(app): State<Arc<App>>,
    requester: lyceum_edge::Requester,
    Segments(named): Segments<String>,
) -> Answer {
    if !requester.is_admin && requester.user_id.as_str() != named {
        return Err(MatrixError::forbidden("You are not a server admin").into());
    }
    sessions(&app, &named).await
}

async fn sessions(app: &App, named: &str) -> Answer {
    let user = local_user(app, named, "Can only whois a local user").await?;
    let devices = app
        .server
        .devices_of(std::slice::from_ref(&user.user_id))
        .await?;
    let connections: Vec<Value> = devices
        .iter()
        .filter(|device| device.last_seen.is_some())
        .map(|device| {
            json!({
                "ip": device.last_seen_ip,
                "last_seen": device.last_seen,
                "user_agent": device.user_agent,
            })
        })
        .collect();
    Ok(json(&json!({
        "user_id": user.user_id,
        "devices": { "": { "sessions": [{ "connections": connections }] } },
    })))
}
