//! `/room_keys/…`: key backups, under the stable names and, for older clients, under `unstable`.

mod keys;
mod version;

use std::sync::Arc;

use axum::{
    Router,
    routing::{MethodRouter, get},
};
use lyceum_edge::{App, client, unstable};
use lyceum_model::MatrixError;
use lyceum_server::encryption::backups::BackupAccessError;

pub(crate) fn routes(mut router: Router<Arc<App>>) -> Router<Arc<App>> {
    let endpoints: [(&str, MethodRouter<Arc<App>>); 5] = [
        (
            "/room_keys/version",
            get(version::newest).post(version::create),
        ),
        (
            "/room_keys/version/{version}",
            get(version::get)
                .put(version::update)
                .delete(version::remove),
        ),
        (
            "/room_keys/keys",
            get(keys::get_all)
                .put(keys::put_all)
                .delete(keys::delete_all),
        ),
        (
            "/room_keys/keys/{room_id}",
            get(keys::get_room)
                .put(keys::put_room)
                .delete(keys::delete_room),
        ),
        (
            "/room_keys/keys/{room_id}/{session_id}",
            get(keys::get_session)
                .put(keys::put_session)
                .delete(keys::delete_session),
        ),
    ];
    for (path, methods) in endpoints {
        router = client(router, path, methods.clone());
        router = unstable(router, path, methods);
    }
    router
}

/// The number of a version; what is no number names no version.
fn number_of(version: &str) -> Result<u64, MatrixError> {
    version
        .parse()
        .map_err(|_| BackupAccessError::NotFound.into())
}
