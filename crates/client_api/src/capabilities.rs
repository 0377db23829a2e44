//! `GET /capabilities`.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Router, extract::State, routing::get};
use lyceum_edge::{Answer, App, Limit, Requester, client, json};
use lyceum_room::RoomRules;
use serde_json::json;

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    client(router, "/capabilities", get(capabilities))
}

async fn capabilities(State(app): State<Arc<App>>, requester: Requester) -> Answer {
    requester.limit(&app, Limit::Request)?;
    let config = &app.server.config;
    let supported = RoomRules::supported();
    let available: BTreeMap<&str, &str> = supported
        .iter()
        .map(|version| (version.as_str(), "stable"))
        .collect();
    // Under their stable names only: clients that take an unstable one for the same refuse both.
    let mut capabilities = json!({
        "m.change_password": { "enabled": config.passwords.enabled },
        "m.room_versions": { "default": config.rooms.default_version, "available": available },
        "m.set_displayname": { "enabled": true },
        "m.set_avatar_url": { "enabled": true },
        "m.3pid_changes": { "enabled": false },
        "m.get_login_token": { "enabled": config.passwords.enabled },
        "m.forget_forced_upon_leave": { "enabled": false },
        "m.profile_fields": { "enabled": true },
    });
    if requester.acts_as_admin() {
        capabilities["m.account_moderation"] = json!({ "suspend": true, "lock": true });
    }
    Ok(json(&json!({ "capabilities": capabilities })))
}
