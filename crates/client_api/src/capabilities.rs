//! `GET /capabilities`.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Router, extract::State, routing::get};
use lyceum_edge::{Answer, App, Limit, Provisioning, Requester, client, json};
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
    let mut capabilities = json!({
        "m.change_password": { "enabled": config.passwords.enabled },
        "m.room_versions": { "default": config.rooms.default_version, "available": available },
        "m.set_displayname": { "enabled": true },
        "m.set_avatar_url": { "enabled": true },
        "m.3pid_changes": { "enabled": false },
        "m.get_login_token": { "enabled": config.passwords.enabled },
        "m.forget_forced_upon_leave": { "enabled": false },
        "m.profile_fields": { "enabled": true },
        "uk.tcpip.msc4133.profile_fields": { "enabled": true },
    });
    if requester.is_admin && requester.provisioning() != Provisioning::OwnToken {
        let moderation = json!({ "suspend": true, "lock": true });
        capabilities["uk.timedout.msc4323"] = moderation.clone();
        capabilities["m.account_moderation"] = moderation;
    }
    Ok(json(&json!({ "capabilities": capabilities })))
}
