//! The Client-Server API: the file tree is the endpoint tree. An endpoint reads the request, calls
//! one function of the server, and writes the answer; it decides nothing.

mod account;
mod capabilities;
mod delete_devices;
mod devices;
mod interactive_auth;
mod key;
mod keys;
mod login;
mod logout;
mod media;
mod mutual_rooms;
mod object;
mod presence;
mod profile;
mod pushrules;
mod refresh;
mod register;
mod room_keys;
mod rooms;
mod send_to_device;
mod session_answer;
mod synapse_admin;
mod sync;
mod thirdparty;
mod user;
mod user_directory;
mod userinfo;
mod users;
mod versions;
mod voip;
mod well_known;

use std::sync::Arc;

use axum::Router;
use lyceum_edge::App;

/// All endpoints.
pub fn router() -> Router<Arc<App>> {
    let mut router = Router::new();
    for add in [
        account::routes,
        capabilities::routes,
        delete_devices::routes,
        devices::routes,
        key::routes,
        keys::routes,
        login::routes,
        logout::routes,
        media::routes,
        mutual_rooms::routes,
        presence::routes,
        profile::routes,
        pushrules::routes,
        refresh::routes,
        register::routes,
        room_keys::routes,
        rooms::routes,
        send_to_device::routes,
        synapse_admin::routes,
        sync::routes,
        thirdparty::routes,
        user::routes,
        user_directory::routes,
        userinfo::routes,
        users::routes,
        versions::routes,
        voip::routes,
        well_known::routes,
    ] {
        router = add(router);
    }
    router
}
