//! Files: what a room shows, one file, quarantine, deletion.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    routing::{get, post},
};
use lyceum_edge::{AdminRequester, Answer, App, Query, Refusal, Segments, json};
use lyceum_model::{MatrixError, MediaId, Timestamp};
use lyceum_server::administration::files::OldFiles;
use ruma_common::ServerName;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{done, local_user, refused, room_id, v1};

/// Times before this are seconds that were meant as milliseconds.
const IMPLAUSIBLE_MS: i64 = 30_000_000_000;

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
    let (local, remote) = app.server.files_of_room(&room_id(&named)?).await?;
    let uris = |ids: Vec<MediaId>| -> Vec<String> {
        ids.iter()
            .map(|id| format!("mxc://{}/{}", id.server_name, id.media_id))
            .collect()
    };
    Ok(json(
        &json!({ "local": uris(local), "remote": uris(remote) }),
    ))
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
    let is_local = id.server_name == app.server.config.server_name;
    let sha256 = media.sha256.map(|sha256| {
        sha256
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    });
    Ok(json(&json!({ "media_info": {
        "media_origin": (!is_local).then_some(&id.server_name),
        "user_id": media.uploader,
        "media_id": id.media_id,
        "media_type": media.content_type,
        "media_length": media.size,
        "upload_name": media.file_name,
        "created_ts": media.created,
        "filesystem_id": null,
        "url_cache": null,
        "last_access_ts": media.last_access,
        "quarantined_by": media.quarantined_by,
        "authenticated": true,
        "safe_from_quarantine": media.is_safe_from_quarantine,
        "sha256": sha256,
    } })))
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

#[derive(Deserialize)]
struct Old {
    before_ts: Option<i64>,
    size_gt: Option<u64>,
    keep_profiles: Option<bool>,
}

impl Old {
    fn before(&self) -> Result<Timestamp, Refusal> {
        let why = "Missing required integer query parameter 'before_ts'";
        let before = self
            .before_ts
            .ok_or_else(|| MatrixError::missing_param(why))?;
        let Ok(before_ms) = u64::try_from(before) else {
            let why = "Query parameter before_ts must be a positive integer.";
            return Err(MatrixError::invalid_param(why).into());
        };
        if before < IMPLAUSIBLE_MS {
            let why = "Query parameter before_ts you provided is from the year 1970. \
                       Double check that you are providing a timestamp in milliseconds.";
            return Err(MatrixError::invalid_param(why).into());
        }
        Ok(Timestamp(before_ms))
    }
}

async fn delete_old(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Query(old): Query<Old>,
) -> Answer {
    let which = OldFiles {
        before: old.before()?,
        size_gt: old.size_gt.unwrap_or(0),
        keep_profiles: old.keep_profiles.unwrap_or(true),
    };
    let ids = app.server.delete_old_files(which).await.map_err(refused)?;
    Ok(json(&deleted(&ids)))
}

async fn delete_old_of(
    state: State<Arc<App>>,
    admin: AdminRequester,
    Segments(server_name): Segments<String>,
    old: Query<Old>,
) -> Answer {
    if *state.server.config.server_name.as_str() != *server_name {
        return Err(MatrixError::unknown("Can only delete local media").into());
    }
    delete_old(state, admin, old).await
}

/// This server keeps no files of other servers, so there are none to go.
async fn purge_cache(_admin: AdminRequester, Query(old): Query<Old>) -> Answer {
    old.before()?;
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
    let (mut ids, remote) = app.server.files_of_room(&room_id(&named)?).await?;
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
    let user = local_user(&app, &named, "Can only quarantine media of local users").await?;
    let files = app.server.files_of(Some(&user.user_id)).await?;
    let ids: Vec<MediaId> = files.into_iter().map(|media| media.id).collect();
    let count = app
        .server
        .quarantine(&ids, &admin.user_id)
        .await
        .map_err(refused)?;
    Ok(json(&json!({ "num_quarantined": count })))
}

#[derive(Deserialize)]
struct From {
    from: Option<u64>,
}

async fn changes(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Query(from): Query<From>,
) -> Answer {
    let (changes, next) = app
        .server
        .quarantine_changes(from.from.unwrap_or(0))
        .await?;
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
