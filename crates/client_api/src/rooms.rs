//! `/_matrix/client/*/rooms/…` and what else is about rooms: making, joining, finding them.

mod aliases;
mod context;
mod create_room;
mod directory;
mod event;
mod hierarchy;
mod join;
mod members;
mod membership;
mod messages;
mod public_rooms;
mod read_markers;
mod redact;
mod relations;
mod report;
mod room_summary;
mod send;
mod state;
mod threads;
mod timestamp_to_event;
mod typing;
mod upgrade;

use std::sync::Arc;

use axum::Router;
use lyceum_edge::App;

/// Adds the endpoints.
pub(crate) fn routes(mut router: Router<Arc<App>>) -> Router<Arc<App>> {
    for add in [
        aliases::routes,
        context::routes,
        create_room::routes,
        directory::routes,
        event::routes,
        hierarchy::routes,
        join::routes,
        members::routes,
        membership::routes,
        messages::routes,
        public_rooms::routes,
        read_markers::routes,
        redact::routes,
        relations::routes,
        report::routes,
        room_summary::routes,
        send::routes,
        state::routes,
        threads::routes,
        timestamp_to_event::routes,
        typing::routes,
        upgrade::routes,
    ] {
        router = add(router);
    }
    router
}
