//! `GET` and `PUT /v2/users/{userId}`: an account, made and changed.
//!
//! Moodle stops at the first error, so what it may not have is answered 200 without `name`: it
//! passes over that person and goes on.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use http::StatusCode;
use lyceum_edge::{
    Answer, App, Provisioning, ProvisioningRequester, Refusal, Segments, json, json_bytes,
    passed_over,
};
use lyceum_model::MatrixError;
use lyceum_server::administration::{
    external_ids::ExternalId,
    people::{Changer, Person, PersonChange, Put},
    provisioning,
};
use serde_json::{Map, Value, json};

use super::super::{object::Object, refused, user_id, v2};

/// What Moodle's requests have and no other program's.
const MOODLE_KEY: &str = "externalids";
/// What a provisioning token may say of an account.
const PROVISIONED_KEYS: [&str; 5] = [
    "displayname",
    "avatar_url",
    "threepids",
    "external_ids",
    MOODLE_KEY,
];

pub(super) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    v2(router, "/users/{user_id}", get(tell).put(put))
}

async fn tell(
    State(app): State<Arc<App>>,
    requester: ProvisioningRequester,
    Segments(named): Segments<String>,
) -> Answer {
    let user_id = user_id(&named)?;
    let server = &app.server;
    if !server.is_local(&user_id) {
        return Err(MatrixError::unknown("Can only look up local users").into());
    }
    let person = server.person(&user_id).await?;
    let is_hidden =
        |person: &Person| requester.is_provisioning() && provisioning::is_protected(&person.user);
    match person {
        Some(person) if !is_hidden(&person) => Ok(json(&shown(&person))),
        _ => Err(MatrixError::not_found("User not found").into()),
    }
}

async fn put(
    State(app): State<Arc<App>>,
    requester: ProvisioningRequester,
    Segments(named): Segments<String>,
    body: Result<Object, Refusal>,
) -> Answer {
    let server = &app.server;
    let body = match body {
        Ok(Object(body)) => body,
        Err(refusal) if requester.is_provisioning() => {
            return Ok(passed_over(&named, &refusal.0.message));
        }
        Err(refusal) => return Err(refusal),
    };
    let is_platform = requester.is_provisioning() || body.contains_key(MOODLE_KEY);
    if requester.provisioning() == Provisioning::OwnToken
        && let Some(key) = body
            .keys()
            .find(|key| !PROVISIONED_KEYS.contains(&key.as_str()))
    {
        let why = format!("A provisioning token cannot set {key}");
        return Err(MatrixError::forbidden(why).into());
    }
    let user_id = match user_id(&named) {
        Ok(user_id) if server.is_local(&user_id) => user_id,
        Ok(_) | Err(_) if is_platform => {
            return Ok(passed_over(&named, "This server has no such user names"));
        }
        Ok(_) => {
            let why = "This endpoint can only be used with local users";
            return Err(MatrixError::unknown(why).into());
        }
        Err(refusal) => return Err(refusal),
    };
    let change = match change_of(&body) {
        Ok(change) => change,
        Err(refusal) if is_platform => {
            return Ok(passed_over(&named, &refusal.message));
        }
        Err(refusal) => return Err(refusal.into()),
    };
    let by = if is_platform {
        Changer::Platform
    } else {
        Changer::Admin(&requester.user_id)
    };
    let (status, person) = match server.put_person(&user_id, change, by).await {
        Ok(Put::Created(person)) => (StatusCode::CREATED, Some(*person)),
        Ok(Put::Changed) => (StatusCode::OK, server.person(&user_id).await?),
        Ok(Put::Protected(why)) => return Ok(passed_over(&named, why)),
        Err(error) => {
            let error = MatrixError::from(error);
            if is_platform && error.status < 500 {
                return Ok(passed_over(&named, &error.message));
            }
            return Err(error.into());
        }
    };
    let person = person.ok_or_else(|| MatrixError::not_found("User not found"))?;
    let text = serde_json::to_vec(&shown(&person)).map_err(|error| {
        refused(MatrixError::internal(format!(
            "The answer could not be written: {error}"
        )))
    })?;
    Ok(json_bytes(status, text))
}

/// An account in Synapse's shape.
fn shown(person: &Person) -> Value {
    let user = &person.user;
    let threepids: Vec<Value> = person
        .threepids
        .iter()
        .map(|threepid| {
            json!({
                "medium": threepid.medium,
                "address": threepid.address,
                "validated_at": threepid.validated,
                "added_at": threepid.added,
            })
        })
        .collect();
    json!({
        "name": user.user_id,
        "admin": user.is_admin,
        "deactivated": user.is_deactivated,
        "locked": user.is_locked,
        "shadow_banned": user.is_shadow_banned,
        "creation_ts": user.created.0 / 1000,
        "appservice_id": user.application_service,
        "consent_server_notice_sent": null,
        "consent_version": null,
        "consent_ts": null,
        "user_type": user.kind,
        "is_guest": false,
        "suspended": user.is_suspended,
        "displayname": person.display_name,
        "avatar_url": person.avatar_url,
        "threepids": threepids,
        "external_ids": person.external_ids,
        "erased": user.is_erased,
        "last_seen_ts": person.last_seen,
    })
}

fn change_of(body: &Map<String, Value>) -> Result<PersonChange, MatrixError> {
    let is_deactivated = switch(body, "deactivated")?;
    let is_locked = switch(body, "locked")?;
    if is_deactivated == Some(true) && is_locked == Some(true) {
        let why = "An user can't be deactivated and locked";
        return Err(MatrixError::unknown(why));
    }
    Ok(PersonChange {
        display_name: text_or_none(body, "displayname")?,
        avatar_url: text_or_none(body, "avatar_url")?,
        threepids: threepids(body)?,
        external_ids: external_ids(body)?,
        password: match body.get("password") {
            None | Some(Value::Null) => None,
            Some(Value::String(password)) => Some(password.clone()),
            Some(_) => return Err(MatrixError::unknown("Invalid password")),
        },
        keeps_devices: switch(body, "logout_devices")? == Some(false),
        is_admin: match body.get("admin") {
            None => None,
            Some(Value::Bool(is_admin)) => Some(*is_admin),
            Some(_) => {
                let why = "Param 'admin' must be a boolean, if given";
                return Err(MatrixError::bad_json(why));
            }
        },
        is_deactivated,
        is_locked,
        kind: match body.get("user_type") {
            None => None,
            Some(Value::Null) => Some(None),
            Some(Value::String(kind)) if kind == "bot" || kind == "support" => {
                Some(Some(kind.clone()))
            }
            Some(_) => return Err(MatrixError::unknown("Invalid user type")),
        },
    })
}

fn switch(body: &Map<String, Value>, key: &str) -> Result<Option<bool>, MatrixError> {
    match body.get(key) {
        None => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(*value)),
        Some(_) => Err(MatrixError::unknown(format!(
            "'{key}' parameter is not of type boolean"
        ))),
    }
}

/// A text; `null` is the empty one, which takes away what was there.
fn text_or_none(body: &Map<String, Value>, key: &str) -> Result<Option<String>, MatrixError> {
    match body.get(key) {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(String::new())),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(MatrixError::invalid_param(format!(
            "'{key}' must be a string"
        ))),
    }
}

fn threepids(body: &Map<String, Value>) -> Result<Option<Vec<(String, String)>>, MatrixError> {
    let pairs = pairs(body, "threepids", "medium", "address")?;
    let is_odd = |(medium, _): &&(String, String)| medium != "email" && medium != "msisdn";
    if let Some((medium, _)) = pairs.iter().flatten().find(is_odd) {
        let why = format!("'{medium}' is not a valid value for 'medium'");
        return Err(MatrixError::invalid_param(why));
    }
    Ok(pairs)
}

fn external_ids(body: &Map<String, Value>) -> Result<Option<Vec<ExternalId>>, MatrixError> {
    let pairs = pairs(body, "external_ids", "auth_provider", "external_id")?;
    Ok(pairs.map(|pairs| {
        pairs
            .into_iter()
            .map(|(auth_provider, external_id)| ExternalId {
                auth_provider,
                external_id,
            })
            .collect()
    }))
}

/// A list of objects with two texts each.
fn pairs(
    body: &Map<String, Value>,
    list: &str,
    first: &str,
    second: &str,
) -> Result<Option<Vec<(String, String)>>, MatrixError> {
    let values = match body.get(list) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(values)) => values.as_slice(),
        // What a table of people to import leaves empty; Synapse takes it for an empty list.
        Some(Value::String(text)) if text.is_empty() => &[],
        // Synapse looks for the keys in what it takes for the entries.
        Some(Value::Object(_)) => {
            let why = format!("Missing params: ['{first}', '{second}']");
            return Err(MatrixError::missing_param(why));
        }
        Some(_) => return Err(MatrixError::bad_json(format!("{list} must be a list"))),
    };
    let mut pairs = Vec::new();
    for value in values {
        let text = |key: &str| {
            value
                .get(key)
                .and_then(Value::as_str)
                .map(ToOwned::to_owned)
        };
        match (text(first), text(second)) {
            (Some(first), Some(second)) => pairs.push((first, second)),
            (has_first, has_second) => {
                let missing: Vec<String> = [(first, has_first), (second, has_second)]
                    .into_iter()
                    .filter(|(_, has)| has.is_none())
                    .map(|(key, _)| format!("'{key}'"))
                    .collect();
                let why = format!("Missing params: [{}]", missing.join(", "));
                return Err(MatrixError::missing_param(why));
            }
        }
    }
    Ok(Some(pairs))
}
