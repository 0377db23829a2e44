//! Files: what a room shows, one file, quarantine, deletion.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    routing::{get, post},
};
use lyceum_edge::{AdminRequester, Answer, App, Refusal, Segments, json};
use lyceum_model::{MatrixError, Media, MediaId, Timestamp};
use lyceum_server::administration::files::OldFiles;
use lyceum_storage::StorageError;
use ruma_common::{RoomId, ServerName};
use serde_json::{Map, Value, json};

use super::{done, parameters::Parameters, refused, user_id, v1};

/// Times before this are seconds that were meant as milliseconds.
const IMPLAUSIBLE: Timestamp = Timestamp(30_000_000_000);

pub(super) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let router = v1(router, "/room/{room_id}/media", get(of_room));
    let router = v1(
        router,
        "/media/{server_name}/{media_id}",
        get(one).delete(delete_one),
    );
    let router = v1(router, "/media/delete", post(delete_old));
    let router = v1(router, "/media/{server_name}/delete", post(delete_old_of));
    let router = v1(router, "/purge_media_cache", post(purge_cache));
    let router = v1(
        router,
        "/media/quarantine/{server_name}/{media_id}",
        post(quarantine),
    );
    let router = v1(
        router,
        "/media/unquarantine/{server_name}/{media_id}",
        post(release),
    );
    let router = v1(
        router,
        "/room/{room_id}/media/quarantine",
        post(quarantine_room),
    );
    let router = v1(router, "/quarantine_media/{room_id}", post(quarantine_room));
    let router = v1(
        router,
        "/user/{user_id}/media/quarantine",
        post(quarantine_user),
    );
    let router = v1(router, "/media/quarantine_changes", get(changes));
    let router = v1(router, "/media/protect/{media_id}", post(protect));
    v1(router, "/media/unprotect/{media_id}", post(unprotect))
}

fn media_id(server_name: &str, media_id: &str) -> Result<MediaId, Refusal> {
    let server_name = ServerName::parse(server_name)
        .map_err(|_| MatrixError::invalid_param("This is not a server name"))?;
    Ok(MediaId {
        server_name,
        media_id: media_id.to_owned(),
    })
}

async fn of_room(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(named): Segments<String>,
) -> Answer {
    let (local, remote) = files_of_room(&app, &named).await?;
    let uris = |ids: Vec<MediaId>| -> Vec<String> {
        ids.iter()
            .map(|id| format!("mxc://{}/{}", id.server_name, id.media_id))
            .collect()
    };
    Ok(json(
        &json!({ "local": uris(local), "remote": uris(remote) }),
    ))
}

/// What a room shows; what is no room shows nothing.
async fn files_of_room(
    app: &App,
    named: &str,
) -> Result<(Vec<MediaId>, Vec<MediaId>), StorageError> {
    match RoomId::parse(named) {
        Ok(room_id) => app.server.files_of_room(&room_id).await,
        Err(_) => Ok((Vec::new(), Vec::new())),
    }
}

async fn one(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments((server_name, name)): Segments<(String, String)>,
) -> Answer {
    let id = media_id(&server_name, &name)?;
    let Some(media) = app.server.store.media(&id).await? else {
        return Err(MatrixError::not_found("Unknown media").into());
    };
    let mut shown = shown(&media);
    if id.server_name != app.server.config.server_name {
        shown.insert("media_origin".to_owned(), json!(id.server_name));
    }
    Ok(json(&json!({ "media_info": shown })))
}

/// All that is told of a file.
pub(super) fn shown(media: &Media) -> Map<String, Value> {
    let sha256 = media.sha256.map(|sha256| {
        sha256
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    });
    let facts = [
        ("media_origin", Value::Null),
        ("user_id", json!(media.uploader)),
        ("media_id", json!(media.id.media_id)),
        ("media_type", json!(media.content_type)),
        ("media_length", json!(media.size)),
        ("upload_name", json!(media.file_name)),
        ("created_ts", json!(media.created)),
        ("filesystem_id", Value::Null),
        ("url_cache", Value::Null),
        ("last_access_ts", json!(media.last_access)),
        ("quarantined_by", json!(media.quarantined_by)),
        ("authenticated", json!(true)),
        ("safe_from_quarantine", json!(media.is_safe_from_quarantine)),
        ("sha256", json!(sha256)),
    ];
    facts
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

fn deleted(ids: &[String]) -> Value {
    json!({ "deleted_media": ids, "total": ids.len() })
}

async fn delete_one(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments((server_name, name)): Segments<(String, String)>,
) -> Answer {
    let id = media_id(&server_name, &name)?;
    if id.server_name != app.server.config.server_name {
        return Err(MatrixError::unknown("Can only delete local media").into());
    }
    let ids = app.server.delete_files(&[id]).await.map_err(refused)?;
    if ids.is_empty() {
        return Err(MatrixError::not_found("Unknown media").into());
    }
    Ok(json(&deleted(&ids)))
}

/// The time before which a file must have been used last to go.
fn before(parameters: &Parameters) -> Result<Timestamp, Refusal> {
    let before = Timestamp(parameters.required_integer("before_ts")?);
    if before < IMPLAUSIBLE {
        let why = "Query parameter before_ts you provided is from the year 1970. \
                   Double check that you are providing a timestamp in milliseconds.";
        return Err(MatrixError::invalid_param(why).into());
    }
    Ok(before)
}

async fn delete_old(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    parameters: Parameters,
) -> Answer {
    delete_unused(&app, old_files(&parameters)?).await
}

fn old_files(parameters: &Parameters) -> Result<OldFiles, Refusal> {
    Ok(OldFiles {
        before: before(parameters)?,
        size_gt: parameters.integer("size_gt")?.unwrap_or(0),
        keep_profiles: parameters.switch("keep_profiles")?.unwrap_or(true),
    })
}

async fn delete_unused(app: &App, which: OldFiles) -> Answer {
    let ids = app.server.delete_old_files(which).await.map_err(refused)?;
    Ok(json(&deleted(&ids)))
}

async fn delete_old_of(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(server_name): Segments<String>,
    parameters: Parameters,
) -> Answer {
    let which = old_files(&parameters)?;
    if *app.server.config.server_name.as_str() != *server_name {
        return Err(MatrixError::unknown("Can only delete local media").into());
    }
    delete_unused(&app, which).await
}

/// This server keeps no files of other servers, so there are none to go.
async fn purge_cache(_admin: AdminRequester, parameters: Parameters) -> Answer {
    before(&parameters)?;
    Ok(json(&json!({ "deleted": 0 })))
}

async fn quarantine(
    State(app): State<Arc<App>>,
    admin: AdminRequester,
    Segments((server_name, name)): Segments<(String, String)>,
) -> Answer {
    let id = media_id(&server_name, &name)?;
    app.server
        .quarantine(&[id], &admin.user_id)
        .await
        .map_err(refused)?;
    Ok(done())
}

async fn release(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments((server_name, name)): Segments<(String, String)>,
) -> Answer {
    let id = media_id(&server_name, &name)?;
    app.server.release(&id).await.map_err(refused)?;
    Ok(done())
}

async fn quarantine_room(
    State(app): State<Arc<App>>,
    admin: AdminRequester,
    Segments(named): Segments<String>,
) -> Answer {
    let (mut ids, remote) = files_of_room(&app, &named).await?;
    ids.extend(remote);
    let count = app
        .server
        .quarantine(&ids, &admin.user_id)
        .await
        .map_err(refused)?;
    Ok(json(&json!({ "num_quarantined": count })))
}

async fn quarantine_user(
    State(app): State<Arc<App>>,
    admin: AdminRequester,
    Segments(named): Segments<String>,
) -> Answer {
    let files = app.server.files_of(Some(&user_id(&named)?)).await?;
    let ids: Vec<MediaId> = files.into_iter().map(|media| media.id).collect();
    let count = app
        .server
        .quarantine(&ids, &admin.user_id)
        .await
        .map_err(refused)?;
    Ok(json(&json!({ "num_quarantined": count })))
}

async fn changes(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    parameters: Parameters,
) -> Answer {
    let from = parameters.integer("from")?.unwrap_or(0);
    let Some((changes, next)) = app.server.quarantine_changes(from).await? else {
        let why = "The `from` token is beyond the newest change";
        return Err(MatrixError::invalid_param(why).into());
    };
    Ok(json(&json!({ "next_batch": next, "changes": changes })))
}

async fn protect(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(name): Segments<String>,
) -> Answer {
    set_protection(&app, &name, true).await
}

async fn unprotect(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(name): Segments<String>,
) -> Answer {
    set_protection(&app, &name, false).await
}

async fn set_protection(app: &App, name: &str, is_safe: bool) -> Answer {
    let is_there = app
        .server
        .protect_file(name, is_safe)
        .await
        .map_err(refused)?;
    if !is_there {
        return Err(MatrixError::not_found("Unknown media").into());
    }
    Ok(done())
}
