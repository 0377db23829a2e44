//! Requests by which a learning platform makes accounts and fills rooms: who counts as one, and
//! what a token made for that opens.

use http::{HeaderMap, Method, header};

/// Whether a request is one of a learning platform's own provider. Moodle sends things that
/// Matrix forbids; they are put right for these requests, and for no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provisioning {
    /// It is an ordinary request.
    No,
    /// An admin's token, shown by a program that calls itself `MoodleBot/…`.
    AdminToken,
    /// A token that is for provisioning only.
    OwnToken,
}

/// The program's name as Moodle gives it.
const MOODLE_AGENT: &str = "MoodleBot/";

/// Whether the program calls itself Moodle. Anybody can say so: by itself it may change how
/// something public is told, and nothing else.
pub fn is_moodle(headers: &HeaderMap) -> bool {
    headers
        .get(header::USER_AGENT)
        .and_then(|agent| agent.to_str().ok())
        .is_some_and(|agent| agent.starts_with(MOODLE_AGENT))
}

/// What a token that is for provisioning opens. `*` stands for one segment. (Of `/sync` it gets
/// nothing but power levels; the endpoint sees to that.)
const OPENED: [(Method, &str); 25] = [
    (Method::GET, "/_matrix/client/*/account/whoami"),
    (Method::POST, "/_matrix/client/*/createRoom"),
    (Method::GET, "/_matrix/client/*/rooms/*/joined_members"),
    (Method::POST, "/_matrix/client/*/rooms/*/kick"),
    (Method::GET, "/_matrix/client/*/rooms/*/state/m.room.avatar"),
    (Method::PUT, "/_matrix/client/*/rooms/*/state/m.room.avatar"),
    (Method::GET, "/_matrix/client/*/rooms/*/state/m.room.name"),
    (Method::PUT, "/_matrix/client/*/rooms/*/state/m.room.name"),
    (
        Method::GET,
        "/_matrix/client/*/rooms/*/state/m.room.power_levels",
    ),
    (
        Method::PUT,
        "/_matrix/client/*/rooms/*/state/m.room.power_levels",
    ),
    (Method::GET, "/_matrix/client/*/rooms/*/state/m.room.topic"),
    (Method::PUT, "/_matrix/client/*/rooms/*/state/m.room.topic"),
    (Method::GET, "/_matrix/client/*/sync"),
    (Method::GET, "/_matrix/client/*/media/config"),
    (Method::GET, "/_matrix/media/*/config"),
    (Method::POST, "/_matrix/media/*/create"),
    (Method::POST, "/_matrix/media/*/upload"),
    (Method::PUT, "/_matrix/media/*/upload/*/*"),
    (Method::GET, "/_synapse/admin/v1/rooms/*"),
    (Method::POST, "/_synapse/admin/v1/join/*"),
    (Method::GET, "/_synapse/admin/v2/users/*"),
    (Method::PUT, "/_synapse/admin/v2/users/*"),
    (Method::POST, "/_matrix/client/*/logout"),
    (Method::GET, "/_synapse/admin/v1/server_version"),
    (Method::GET, "/_matrix/client/versions"),
];

/// Whether a provisioning token opens this.
pub(crate) fn opens(method: &Method, path: &str) -> bool {
    let path = path.trim_end_matches('/');
    OPENED.iter().any(|(opened, pattern)| {
        let mut segments = path.split('/');
        let is_like = pattern.split('/').all(|wanted| {
            segments
                .next()
                .is_some_and(|segment| wanted == "*" || wanted == segment)
        });
        method == *opened && is_like && segments.next().is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::{is_moodle, opens};
    use http::{HeaderMap, HeaderValue, Method, header};

    #[test]
    fn a_provisioning_token_opens_only_what_provisioning_needs() {
        let check = |method: Method, path, expect| {
            assert_eq!(opens(&method, path), expect, "{method} {path}");
        };
        check(
            Method::PUT,
            "/_synapse/admin/v2/users/%40sla%2Fsh%3Amoodle.test",
            true,
        );
        check(Method::GET, "/_synapse/admin/v2/users", false);
        check(
            Method::POST,
            "/_synapse/admin/v1/users/%40a%3Ab/login",
            false,
        );
        check(Method::DELETE, "/_synapse/admin/v1/rooms/%21a%3Ab", false);
        check(
            Method::GET,
            "/_matrix/client/r0/rooms/%21a/state/m.room.power_levels",
            true,
        );
        check(
            Method::PUT,
            "/_matrix/client/v3/rooms/%21a/state/m.room.power_levels/",
            true,
        );
        check(
            Method::PUT,
            "/_matrix/client/v3/rooms/%21a/state/m.room.member/%40a%3Ab",
            false,
        );
        check(Method::GET, "/_matrix/client/v3/sync", true);
        check(
            Method::POST,
            "/_matrix/client/v3/user/%40a%3Ab/filter",
            false,
        );
        check(Method::GET, "/_matrix/client/v3/rooms/%21a/messages", false);
        check(
            Method::PUT,
            "/_matrix/client/v3/rooms/%21a/send/m.room.message/1",
            false,
        );
        check(Method::POST, "/_matrix/media/v1/create", true);
    }

    #[test]
    fn moodle_names_itself() {
        let check = |agent: &str, expect| {
            let mut headers = HeaderMap::new();
            headers.insert(
                header::USER_AGENT,
                HeaderValue::from_str(agent).expect("text"),
            );
            assert_eq!(is_moodle(&headers), expect, "{agent}");
        };
        check("MoodleBot/4.5 (+http://127.0.0.1:18080)", true);
        check("Mozilla/5.0 MoodleBot/4.5", false);
        check("", false);
    }
}
