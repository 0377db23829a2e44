//! `/user/{userId}/…`.

mod account_data;
mod filter;
mod openid;
mod tags;

use std::sync::Arc;

use axum::{
    Router,
    routing::{get, post, put},
};
use lyceum_edge::{App, client};

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let router = client(
        router,
        "/user/{user_id}/account_data/{kind}",
        get(account_data::get).put(account_data::put),
    );
    let router = client(
        router,
        "/user/{user_id}/rooms/{room_id}/account_data/{kind}",
        get(account_data::get_of_room).put(account_data::put_of_room),
    );
    let router = client(
        router,
        "/user/{user_id}/rooms/{room_id}/tags",
        get(tags::get),
    );
    let router = client(
        router,
        "/user/{user_id}/rooms/{room_id}/tags/{tag}",
        put(tags::put).delete(tags::delete),
    );
    let router = client(router, "/user/{user_id}/filter", post(filter::post));
    let router = client(
        router,
        "/user/{user_id}/filter/{filter_id}",
        get(filter::get),
    );
    client(
        router,
        "/user/{user_id}/openid/request_token",
        post(openid::request_token),
    )
}
