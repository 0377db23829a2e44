//! What a provisioning token does not open, however it is tried: other paths to the same thing,
//! other methods, other ways to show it, and what it may do turned against others.

use serde_json::{Value, json};

use crate::process::{Answer, Process, SERVER_NAME, php};

/// A server with an admin, a person of another origin with a password, and a provisioning token
/// that has made a student and a room.
struct Scene {
    server: Process,
    admin: String,
    token: String,
    room: String,
}

impl Scene {
    fn start() -> Self {
        let server = Process::start();
        let admin = server.user("hsadmin", &["--admin"]);
        server.user("alice", &[]);
        let token = server.command(&["token", "provision"]);
        let mut scene = Self {
            server,
            admin,
            token,
            room: String::new(),
        };
        let room = scene.ask(
            "POST",
            "/_matrix/client/v3/createRoom",
            r#"{"name":"Course"}"#,
        );
        scene.room = room.json()["room_id"].as_str().unwrap().to_owned();
        let body = r#"{"threepids":[{"medium":"email","address":"stud@example.org"}]}"#;
        assert_eq!(scene.ask("PUT", &user("stud"), body).status, 201);
        scene
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        self.server.ask(&self.token, method, path, body)
    }

    /// Whether these are refused.
    fn refuses(&self, requests: &[(&str, &str)]) {
        let (room, user) = (php(&self.room), php(&id("stud")));
        for (method, path) in requests {
            let path = path.replace("ROOM", &room).replace("USER", &user);
            let answer = self.ask(method, &path, "{}");
            let is_refused = [400, 401, 403, 404, 405].contains(&answer.status);
            assert!(is_refused, "{method} {path}: {answer:?}");
        }
    }

    fn person(&self, name: &str) -> Value {
        self.server.ask(&self.admin, "GET", &user(name), "").json()
    }
}

fn id(name: &str) -> String {
    format!("@{name}:{SERVER_NAME}")
}

fn user(name: &str) -> String {
    format!("/_synapse/admin/v2/users/{}", php(&id(name)))
}

#[test]
fn it_reads_no_messages_and_no_state() {
    let scene = Scene::start();
    let said = scene.server.log_in("alice");
    let room = scene.server.ask(
        &said,
        "POST",
        "/_matrix/client/v3/createRoom",
        r#"{"preset":"public_chat"}"#,
    );
    let theirs = room.json()["room_id"].as_str().unwrap().to_owned();
    scene.refuses(&[
        ("GET", "/_matrix/client/v3/sync"),
        ("GET", "/_matrix/client/r0/sync"),
        ("GET", "/_matrix/client/v1/sync"),
        ("GET", "//_matrix/client/v3/sync"),
        ("GET", "/_matrix/client/v3/sync/"),
        ("GET", "/_matrix/client//v3/sync"),
        ("GET", "/_matrix/client/v3/%73ync"),
        (
            "POST",
            "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync",
        ),
        ("GET", "/_matrix/client/v3/initialSync"),
        ("GET", "/_matrix/client/v3/events"),
        ("GET", "/_matrix/client/v3/rooms/ROOM/messages?dir=b"),
        ("GET", "/_matrix/client/r0/rooms/ROOM/messages?dir=b"),
        ("GET", "/_matrix/client/v3/rooms/ROOM/messages/"),
        (
            "GET",
            "/_matrix/client/v3/rooms/ROOM/joined_members/../messages",
        ),
        (
            "GET",
            "/_matrix/client/v3/rooms/ROOM/joined_members%2F..%2Fmessages",
        ),
        ("GET", "/_matrix/client/v3/rooms/ROOM/initialSync"),
        ("GET", "/_matrix/client/v3/rooms/ROOM/members"),
        ("GET", "/_matrix/client/v3/rooms/ROOM/state"),
        ("GET", "/_matrix/client/v3/rooms/ROOM/state/m.room.name/key"),
        ("GET", "/_matrix/client/v3/rooms/ROOM/state/m.room.create"),
        (
            "GET",
            "/_matrix/client/v3/rooms/ROOM/state/m.room.member/USER",
        ),
        ("GET", "/_matrix/client/v3/rooms/ROOM/event/%24x"),
        ("GET", "/_matrix/client/v3/rooms/ROOM/context/%24x"),
        ("GET", "/_matrix/client/v1/rooms/ROOM/relations/%24x"),
        ("GET", "/_matrix/client/v1/rooms/ROOM/threads"),
        ("GET", "/_matrix/client/v1/rooms/ROOM/hierarchy"),
        ("GET", "/_matrix/client/v3/notifications"),
        ("POST", "/_matrix/client/v3/search"),
        ("GET", "/_matrix/client/v3/joined_rooms"),
        ("GET", "/_matrix/client/v1/media/download/moodle.test/x"),
        ("GET", "/_matrix/media/v3/download/moodle.test/x"),
        ("POST", "/_matrix/client/v3/join/ROOM"),
        ("POST", "/_matrix/client/v3/keys/query"),
        ("PUT", "/_matrix/client/v3/sendToDevice/m.x/1"),
        ("PUT", "/_matrix/client/v3/rooms/ROOM/send/m.room.message/1"),
        ("PUT", "/_matrix/client/v3/rooms/ROOM/state/m.room.name/key"),
        (
            "PUT",
            "/_matrix/client/v3/rooms/ROOM/state/m.room.encryption",
        ),
    ]);
    // Rooms in which its account is not.
    let theirs = php(&theirs);
    for path in [
        format!("/_matrix/client/v3/rooms/{theirs}/joined_members"),
        format!("/_matrix/client/v3/rooms/{theirs}/state/m.room.name"),
        format!("/_synapse/admin/v1/rooms/{theirs}"),
    ] {
        assert_eq!(
            scene.ask("GET", &path, "").code(),
            "403 M_FORBIDDEN",
            "{path}"
        );
    }
}

#[test]
fn it_is_no_login() {
    let scene = Scene::start();
    let token = &scene.token;
    for (path, body) in [
        (
            "/_matrix/client/v3/login",
            json!({ "type": "m.login.token", "token": token }),
        ),
        (
            "/_matrix/client/r0/login",
            json!({ "type": "m.login.token", "token": token }),
        ),
        (
            "/_matrix/client/v3/login",
            json!({ "type": "m.login.application_service", "user": "moodle.provisioning" }),
        ),
        (
            "/_matrix/client/v3/login",
            json!({ "type": "m.login.password", "user": "moodle.provisioning", "password": token }),
        ),
        (
            "/_matrix/client/v3/refresh",
            json!({ "refresh_token": token }),
        ),
    ] {
        let answer = scene.ask("POST", path, &body.to_string());
        let is_refused = (400..500).contains(&answer.status);
        assert!(
            is_refused && answer.json()["access_token"].is_null(),
            "{path}: {answer:?}"
        );
    }
    scene.refuses(&[
        ("POST", "/_matrix/client/v1/login/get_token"),
        ("POST", "/_matrix/client/v3/account/password"),
        ("POST", "/_matrix/client/v3/account/deactivate"),
        ("POST", "/_matrix/client/v3/logout/all"),
        ("POST", "/_matrix/client/v3/user/USER/openid/request_token"),
        ("GET", "/_matrix/client/v3/devices"),
        ("PUT", "/_matrix/client/v3/profile/USER/displayname"),
    ]);
}

#[test]
fn it_is_no_admin() {
    let scene = Scene::start();
    scene.refuses(&[
        ("GET", "/_synapse/admin/v2/users"),
        ("GET", "/_synapse/admin/v2/users/"),
        ("GET", "/_synapse/admin/v3/users"),
        ("GET", "/_synapse/admin/v3/users/USER"),
        ("GET", "/_synapse/admin/v1/users/USER"),
        ("GET", "/_synapse/admin//v2/users"),
        ("GET", "//_synapse/admin/v2/users"),
        ("GET", "/_synapse/admin/v2/users?deactivated=true"),
        ("GET", "/_synapse/admin/v2/%75sers"),
        ("HEAD", "/_synapse/admin/v2/users"),
        ("HEAD", "/_synapse/admin/v2/users/USER"),
        ("DELETE", "/_synapse/admin/v2/users/USER"),
        ("POST", "/_synapse/admin/v2/users/USER"),
        ("PATCH", "/_synapse/admin/v2/users/USER"),
        ("GET", "/_synapse/admin/v2/users/USER/"),
        ("GET", "/_synapse/admin/v2/users/USER/devices"),
        ("GET", "/_synapse/admin/v2/users/USER%2Fdevices"),
        ("PUT", "/_synapse/admin/v2/users/x/../USER"),
        ("GET", "/_synapse/admin/v1/whois/USER"),
        ("GET", "/_matrix/client/v3/admin/whois/USER"),
        ("GET", "/_matrix/client/r0/admin/whois/USER"),
        ("POST", "/_synapse/admin/v1/users/USER/login"),
        ("POST", "/_synapse/admin/v1/users/USER/login/"),
        ("POST", "/_synapse/admin/v1/reset_password/USER"),
        ("POST", "/_synapse/admin/v1/deactivate/USER"),
        ("PUT", "/_synapse/admin/v1/users/USER/admin"),
        ("GET", "/_synapse/admin/v1/rooms"),
        ("GET", "/_synapse/admin/v1/rooms/"),
        ("GET", "/_synapse/admin/v1/rooms/ROOM/messages"),
        ("GET", "/_synapse/admin/v1/rooms/ROOM/state"),
        ("GET", "/_synapse/admin/v1/rooms/ROOM%2Fmessages"),
        ("GET", "/_synapse/admin/v1/rooms/ROOM/"),
        ("HEAD", "/_synapse/admin/v1/rooms/ROOM"),
        ("DELETE", "/_synapse/admin/v1/rooms/ROOM"),
        ("DELETE", "/_synapse/admin/v2/rooms/ROOM"),
        ("PUT", "/_synapse/admin/v1/rooms/ROOM/block"),
        ("POST", "/_synapse/admin/v1/rooms/ROOM/make_room_admin"),
        ("PUT", "/_synapse/admin/v1/join/ROOM"),
        ("GET", "/_synapse/admin/v1/registration_tokens"),
        ("POST", "/_synapse/admin/v1/send_server_notice"),
        ("GET", "/_synapse/admin/v1/fetch_event/%24x"),
    ]);
    // A header that stands for another method in some servers.
    let authorization = format!("Bearer {}", scene.token);
    for header in [
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
    ] {
        let headers = [
            ("Authorization", authorization.as_str()),
            (header, "DELETE"),
        ];
        let path = format!("/_synapse/admin/v1/rooms/{}", php(&scene.room));
        let answer = scene.server.send("GET", &path, &headers, "{}");
        assert_eq!(
            (answer.status, &answer.json()["name"]),
            (200, &json!("Course"))
        );
    }
    // In the query it is the same token; beside an admin's, the header counts.
    let path = format!("/_synapse/admin/v2/users?access_token={}", scene.token);
    let answer = scene.server.send("GET", &path, &[], "");
    assert_eq!(answer.code(), "403 M_FORBIDDEN");
    let path = format!("/_synapse/admin/v2/users?access_token={}", scene.admin);
    assert_eq!(scene.ask("GET", &path, "").code(), "403 M_FORBIDDEN");
}

#[test]
fn it_touches_no_account_of_another_origin() {
    let scene = Scene::start();
    let (admin, alice) = (scene.person("hsadmin"), scene.person("alice"));
    let takeover = r#"{"displayname":"Mine","avatar_url":"mxc://moodle.test/x","threepids":[{"medium":"email","address":"mine@example.org"}],"external_ids":[{"auth_provider":"oidc","external_id":"1"}]}"#;
    for name in ["hsadmin", "alice", "moodle.provisioning"] {
        let before = scene.person(name);
        for path in [
            user(name),
            format!("/{}", user(name)),
            user(name).replace("%40", "@"),
        ] {
            let put = scene.ask("PUT", &path, takeover);
            assert_eq!(put.status, 200, "{path}: {put:?}");
            assert!(put.json().get("name").is_none(), "{path}: {put:?}");
            assert_eq!(
                scene.ask("GET", &path, "").code(),
                "404 M_NOT_FOUND",
                "{path}"
            );
        }
        let mut after = scene.person(name);
        after["last_seen_ts"] = before["last_seen_ts"].clone();
        assert_eq!(after, before, "{name}");
    }
    // Nor may it say of its own accounts what is for admins to say.
    for key in [
        "password",
        "admin",
        "deactivated",
        "locked",
        "user_type",
        "logout_devices",
        "approved",
    ] {
        let body = json!({ "displayname": "Stud", key: true }).to_string();
        assert_eq!(
            scene.ask("PUT", &user("stud"), &body).code(),
            "403 M_FORBIDDEN",
            "{key}"
        );
    }
    assert_eq!(scene.person("stud")["displayname"], json!("stud"));
    // An address that is somebody's stays theirs.
    scene.server.ask(
        &scene.admin,
        "PUT",
        &user("alice"),
        r#"{"threepids":[{"medium":"email","address":"alice@example.org"}]}"#,
    );
    for address in [
        "alice@example.org",
        "ALICE@Example.Org",
        " alice@example.org ",
    ] {
        let body = json!({ "threepids": [{ "medium": "email", "address": address }] });
        scene.ask("PUT", &user("stud"), &body.to_string());
        let found = scene.server.ask(
            &scene.admin,
            "GET",
            "/_synapse/admin/v1/threepid/email/users/alice@example.org",
            "",
        );
        assert_eq!(found.json()["user_id"], json!(id("alice")), "{address}");
    }
    // It brings nobody into its rooms who is not its own, and throws nobody out.
    let room = php(&scene.room);
    for name in ["hsadmin", "alice"] {
        let whom = json!({ "user_id": id(name) }).to_string();
        let joined = scene.ask("POST", &format!("/_synapse/admin/v1/join/{room}"), &whom);
        assert_eq!((joined.status, joined.text.as_str()), (200, "{}"), "{name}");
        let kick = format!("/_matrix/client/v3/rooms/{room}/kick");
        assert_eq!(scene.ask("POST", &kick, &whom).status, 200, "{name}");
        let members = format!("/_matrix/client/v3/rooms/{room}/joined_members");
        let members = scene.ask("GET", &members, "").json();
        assert!(members["joined"].get(id(name)).is_none(), "{members}");
    }
    assert_eq!(
        (&admin["admin"], &alice["admin"]),
        (&json!(true), &json!(false))
    );
}

#[test]
fn it_makes_rooms_for_courses_only() {
    let scene = Scene::start();
    let create = |body: &Value| {
        let path = "/_matrix/client/v3/createRoom";
        scene.ask("POST", path, &body.to_string())
    };
    let theirs = json!({ "invite": [], "room_version": "11", "name": "Course", "topic": "",
        "visibility": "private", "preset": "private_chat", "initial_state": [] });
    assert_eq!(create(&theirs).status, 200);
    let encryption = json!({ "type": "m.room.encryption", "content": {} });
    for (key, value) in [
        ("visibility", json!("public")),
        ("room_alias_name", json!("course")),
        ("invite", json!([id("alice")])),
        ("invite_3pid", json!([{ "medium": "email" }])),
        ("creation_content", json!({ "type": "m.space" })),
        ("initial_state", json!([encryption])),
        ("is_direct", json!(true)),
        ("power_level_content_override", json!({ "users": {} })),
    ] {
        let mut body = theirs.clone();
        body[key] = value;
        let refused = create(&body);
        assert_eq!(refused.code(), "403 M_FORBIDDEN", "{key}: {refused:?}");
        let why = refused.json()["error"].to_string();
        assert!(why.contains(key), "{key}: {why}");
    }
}

/// Moodle stops at the first error, with everybody behind it, and cannot delete a person who is in
/// a course whose room is gone.
#[test]
fn what_is_not_there_or_has_a_wrong_shape_stops_nobody() {
    let scene = Scene::start();
    let gone = php("!gone:moodle.test");
    let room = format!("/_matrix/client/v3/rooms/{gone}");
    let join = format!("/_synapse/admin/v1/join/{gone}");
    let kick = format!("/_matrix/client/v3/rooms/{}/kick", php(&scene.room));
    let levels = format!("{room}/state/m.room.power_levels");
    let stud = format!(r#"{{"user_id":"{}"}}"#, id("stud"));
    for (method, path, body) in [
        ("POST", join.as_str(), stud.as_str()),
        ("POST", "/_synapse/admin/v1/join/nope", &stud),
        ("POST", &join, "[]"),
        ("POST", &format!("{room}/kick"), &stud),
        ("POST", &kick, r#"{"user_id":5}"#),
        ("POST", &kick, "[]"),
        ("PUT", &levels, r#"{"users":[]}"#),
        ("PUT", &user("new"), r#"{"displayname":5}"#),
        ("PUT", &user("new"), "[]"),
        ("PUT", &user("new"), "not json"),
        (
            "PUT",
            &user("new"),
            r#"{"threepids":[{"medium":"fax","address":"a"}]}"#,
        ),
    ] {
        let answer = scene.ask(method, path, body);
        assert_eq!(answer.status, 200, "{method} {path} {body}: {answer:?}");
        let told = answer.json();
        assert!(
            told.get("name").is_none() && told.get("room_id").is_none(),
            "{told}"
        );
    }
    let nobody = scene.ask("GET", &format!("{room}/joined_members"), "[]");
    assert_eq!(
        (nobody.status, nobody.json()),
        (200, json!({ "joined": {} }))
    );
    let nobody = scene.ask("GET", &levels, "[]");
    assert_eq!(
        (nobody.status, nobody.json()),
        (200, json!({ "users": {} }))
    );
    // An admin's program is told.
    let told = scene.server.ask(&scene.admin, "POST", &join, &stud);
    assert_eq!(told.status, 404, "{told:?}");
    let told = scene.server.ask(&scene.admin, "PUT", &user("new"), "[]");
    assert_eq!(told.status, 400, "{told:?}");

    // So it is with a room that an admin shut down without purging it.
    let shut = format!("/_synapse/admin/v1/rooms/{}", php(&scene.room));
    let done = scene
        .server
        .ask(&scene.admin, "DELETE", &shut, r#"{"purge":false}"#);
    assert_eq!(done.status, 200, "{done:?}");
    let room = format!("/_matrix/client/v3/rooms/{}", php(&scene.room));
    let join = format!("/_synapse/admin/v1/join/{}", php(&scene.room));
    let levels = format!("{room}/state/m.room.power_levels");
    let joined = format!("{room}/joined_members");
    for (method, path, body) in [
        ("GET", levels.as_str(), "[]"),
        ("PUT", &levels, r#"{"users":[]}"#),
        ("GET", &joined, "[]"),
        ("POST", &join, &stud),
        ("POST", &kick, &stud),
    ] {
        let answer = scene.ask(method, path, body);
        assert_eq!(answer.status, 200, "{method} {path}: {answer:?}");
        assert!(answer.json().get("room_id").is_none(), "{answer:?}");
    }
}
