//! `GET /devices`.

mod device;

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use lyceum_edge::{Answer, App, Limit, Requester, client, json};
use lyceum_model::Device;
use lyceum_server::accounts::devices;
use serde_json::{Value, json};

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let router = client(router, "/devices", get(devices));
    let methods = get(device::get).put(device::put).delete(device::delete);
    client(router, "/devices/{device_id}", methods)
}

async fn devices(State(app): State<Arc<App>>, requester: Requester) -> Answer {
    requester.limit(&app, Limit::Request)?;
    let devices = devices::devices(&app.server, &requester.user_id).await?;
    let devices: Vec<Value> = devices.iter().map(device_json).collect();
    Ok(json(&json!({ "devices": devices })))
}

fn device_json(device: &Device) -> Value {
    let mut json = json!({ "device_id": device.device_id, "user_id": device.user_id });
    if let Some(display_name) = &device.display_name {
        json["display_name"] = json!(display_name);
    }
    if let Some(last_seen) = device.last_seen {
        json["last_seen_ts"] = json!(last_seen);
    }
    if let Some(ip) = &device.last_seen_ip {
        json["last_seen_ip"] = json!(ip);
    }
    json
}
