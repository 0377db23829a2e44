//! Synapse's admin API by real requests: who may, and the shapes that Ketesa, Draupnir and scripts
//! read.

mod media;
mod paging;
mod refusals;
mod reports;
mod rooms;
mod server;
mod shapes;
mod table;
mod users;

use serde_json::{Value, json};

use crate::process::{Answer, Process, SERVER_NAME, php};

/// All endpoints under `/_synapse/admin`, and the other names that three of them have.
const ENDPOINTS: &str = "\
GET /_synapse/admin/v2/users
GET /_synapse/admin/v3/users
GET /_synapse/admin/v2/users/{user_id}
PUT /_synapse/admin/v2/users/{user_id}
GET /_synapse/admin/v1/register
POST /_synapse/admin/v1/register
GET /_synapse/admin/v1/whois/{user_id}
POST /_synapse/admin/v1/deactivate/{user_id}
PUT /_synapse/admin/v1/suspend/{user_id}
POST /_synapse/admin/v1/reset_password/{user_id}
GET /_synapse/admin/v1/users/{user_id}/admin
PUT /_synapse/admin/v1/users/{user_id}/admin
GET /_synapse/admin/v1/users/{user_id}/joined_rooms
GET /_synapse/admin/v1/users/{user_id}/memberships
GET /_synapse/admin/v1/users/{user_id}/sent_invite_count
GET /_synapse/admin/v1/users/{user_id}/cumulative_joined_room_count
GET /_synapse/admin/v1/users/{user_id}/accountdata
GET /_synapse/admin/v1/users/{user_id}/media
DELETE /_synapse/admin/v1/users/{user_id}/media
POST /_synapse/admin/v1/users/{user_id}/login
POST /_synapse/admin/v1/users/{user_id}/_allow_cross_signing_replacement_without_uia
GET /_synapse/admin/v2/users/{user_id}/devices
POST /_synapse/admin/v2/users/{user_id}/devices
POST /_synapse/admin/v2/users/{user_id}/delete_devices
GET /_synapse/admin/v2/users/{user_id}/devices/{device_id}
PUT /_synapse/admin/v2/users/{user_id}/devices/{device_id}
DELETE /_synapse/admin/v2/users/{user_id}/devices/{device_id}
GET /_synapse/admin/v1/users/{user_id}/pushers
POST /_synapse/admin/v1/users/{user_id}/shadow_ban
DELETE /_synapse/admin/v1/users/{user_id}/shadow_ban
GET /_synapse/admin/v1/users/{user_id}/override_ratelimit
POST /_synapse/admin/v1/users/{user_id}/override_ratelimit
DELETE /_synapse/admin/v1/users/{user_id}/override_ratelimit
GET /_synapse/admin/v1/username_available
GET /_synapse/admin/v1/auth_providers/{provider}/users/{external_id}
GET /_synapse/admin/v1/threepid/{medium}/users/{address}
POST /_synapse/admin/v1/user/{user_id}/redact
GET /_synapse/admin/v1/user/redact_status/{redact_id}
GET /_synapse/admin/v1/search_users/{term}
POST /_synapse/admin/v1/account_validity/validity
GET /_synapse/admin/v1/experimental_features/{user_id}
PUT /_synapse/admin/v1/experimental_features/{user_id}
GET /_synapse/admin/v1/rooms
GET /_synapse/admin/v1/rooms/{room_id}
DELETE /_synapse/admin/v1/rooms/{room_id}
DELETE /_synapse/admin/v2/rooms/{room_id}
GET /_synapse/admin/v2/rooms/{room_id}/delete_status
GET /_synapse/admin/v2/rooms/delete_status/{delete_id}
GET /_synapse/admin/v1/rooms/{room_id}/members
GET /_synapse/admin/v1/rooms/{room_id}/state
GET /_synapse/admin/v1/rooms/{room_id}/messages
GET /_synapse/admin/v1/rooms/{room_id}/context/{event_id}
GET /_synapse/admin/v1/rooms/{room_id}/timestamp_to_event
GET /_synapse/admin/v1/rooms/{room_id}/hierarchy
GET /_synapse/admin/v1/rooms/{room_id}/block
PUT /_synapse/admin/v1/rooms/{room_id}/block
POST /_synapse/admin/v1/join/{room_id_or_alias}
POST /_synapse/admin/v1/rooms/{room_id_or_alias}/make_room_admin
GET /_synapse/admin/v1/rooms/{room_id_or_alias}/forward_extremities
DELETE /_synapse/admin/v1/rooms/{room_id_or_alias}/forward_extremities
POST /_synapse/admin/v1/purge_history/{room_id}
GET /_synapse/admin/v1/purge_history_status/{purge_id}
GET /_synapse/admin/v1/fetch_event/{event_id}
GET /_synapse/admin/v1/room/{room_id}/media
GET /_synapse/admin/v1/media/{server_name}/{media_id}
DELETE /_synapse/admin/v1/media/{server_name}/{media_id}
POST /_synapse/admin/v1/media/delete
POST /_synapse/admin/v1/purge_media_cache
POST /_synapse/admin/v1/media/quarantine/{server_name}/{media_id}
POST /_synapse/admin/v1/media/unquarantine/{server_name}/{media_id}
POST /_synapse/admin/v1/room/{room_id}/media/quarantine
POST /_synapse/admin/v1/user/{user_id}/media/quarantine
GET /_synapse/admin/v1/media/quarantine_changes
POST /_synapse/admin/v1/media/protect/{media_id}
POST /_synapse/admin/v1/media/unprotect/{media_id}
GET /_synapse/admin/v1/event_reports
GET /_synapse/admin/v1/event_reports/{report_id}
DELETE /_synapse/admin/v1/event_reports/{report_id}
GET /_synapse/admin/v1/user_reports
GET /_synapse/admin/v1/user_reports/{report_id}
DELETE /_synapse/admin/v1/user_reports/{report_id}
GET /_synapse/admin/v1/registration_tokens
POST /_synapse/admin/v1/registration_tokens/new
GET /_synapse/admin/v1/registration_tokens/{token}
PUT /_synapse/admin/v1/registration_tokens/{token}
DELETE /_synapse/admin/v1/registration_tokens/{token}
GET /_synapse/admin/v1/federation/destinations
GET /_synapse/admin/v1/federation/destinations/{destination}
GET /_synapse/admin/v1/federation/destinations/{destination}/rooms
POST /_synapse/admin/v1/federation/destinations/{destination}/reset_connection
GET /_synapse/admin/v1/server_version
POST /_synapse/admin/v1/send_server_notice
PUT /_synapse/admin/v1/send_server_notice/{txn_id}
GET /_synapse/admin/v1/scheduled_tasks
GET /_synapse/admin/v1/statistics/users/media
GET /_synapse/admin/v1/statistics/database/rooms
GET /_synapse/admin/v1/background_updates/status
GET /_synapse/admin/v1/background_updates/enabled
POST /_synapse/admin/v1/background_updates/enabled
POST /_synapse/admin/v1/background_updates/start_job
POST /_synapse/admin/v1/purge_history/{room_id}/{event_id}
POST /_synapse/admin/v1/media/{server_name}/delete
POST /_synapse/admin/v1/quarantine_media/{room_id}";

/// The secret by which users can be registered.
const SHARED_SECRET: &str = "a shared secret";

/// A server with an admin and a user.
pub(crate) struct Scene {
    pub(crate) server: Process,
    pub(crate) admin: String,
    pub(crate) alice: String,
}

impl Scene {
    pub(crate) fn start() -> Self {
        let server = Process::start_with(&format!(
            "[registration]\nshared_secret = \"{SHARED_SECRET}\""
        ));
        let admin = server.user("hsadmin", &["--admin"]);
        let alice = server.user("alice", &[]);
        Self {
            server,
            admin,
            alice,
        }
    }

    pub(crate) fn admin(&self, method: &str, path: &str, body: &str) -> Answer {
        self.server
            .ask(&self.admin, method, &format!("/_synapse/admin{path}"), body)
    }

    /// What an admin gets from a request that must succeed.
    pub(crate) fn ok(&self, method: &str, path: &str, body: &str) -> Value {
        let answer = self.admin(method, path, body);
        assert!(answer.status < 300, "{method} {path} {body}: {answer:?}");
        answer.json()
    }

    pub(crate) fn client(&self, token: &str, method: &str, path: &str, body: &Value) -> Answer {
        let path = format!("/_matrix/client/v3{path}");
        self.server.ask(token, method, &path, &body.to_string())
    }

    pub(crate) fn room(&self, token: &str, body: &Value) -> String {
        let made = self.client(token, "POST", "/createRoom", body);
        made.json()["room_id"]
            .as_str()
            .unwrap_or_else(|| panic!("{made:?}"))
            .to_owned()
    }

    pub(crate) fn say(&self, token: &str, room: &str, name: &str, body: &str) -> String {
        let path = format!("/rooms/{}/send/m.room.message/{name}", php(room));
        let sent = self.client(
            token,
            "PUT",
            &path,
            &json!({ "msgtype": "m.text", "body": body }),
        );
        sent.json()["event_id"]
            .as_str()
            .unwrap_or_else(|| panic!("{sent:?}"))
            .to_owned()
    }

    fn upload(&self, token: &str, name: &str, bytes: &str) -> String {
        let path = format!("/_matrix/media/v3/upload?filename={name}");
        let uri = self.server.ask(token, "POST", &path, bytes).json()["content_uri"].clone();
        uri.as_str().unwrap().rsplit('/').next().unwrap().to_owned()
    }

    fn download(&self, token: &str, media_id: &str) -> u16 {
        let path = format!("/_matrix/client/v1/media/download/{SERVER_NAME}/{media_id}");
        self.server.ask(token, "GET", &path, "").status
    }

    /// Waits until a job ends; its last answer.
    pub(crate) fn finished(&self, path: &str) -> Value {
        for _ in 0..500 {
            let answer = self.ok("GET", path, "");
            if !["scheduled", "active"].contains(&answer["status"].as_str().unwrap_or_default()) {
                return answer;
            }
            std::thread::park_timeout(std::time::Duration::from_millis(20));
        }
        panic!("{path} does not end");
    }
}

pub(crate) fn id(name: &str) -> String {
    format!("@{name}:{SERVER_NAME}")
}

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap_or_else(|| panic!("{value}"))
        .keys()
        .map(String::as_str)
        .collect()
}
