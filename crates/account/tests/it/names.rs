//! Names of users and devices.

use lyceum_account::names::{
    Identifier, NameError, Registrant, check_device_id, device_id, generated_localpart,
    known_user_id, localpart_for_registration, new_user_id, session_id,
};
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use ruma_common::{ServerName, UserId, server_name};
use serde_json::{Value, json};

#[test]
fn new_users() {
    let check = |localpart: &str, expect: Result<&str, NameError>| {
        let id = new_user_id(localpart, server_name!("example.org"), Registrant::Person);
        assert_eq!(
            id.as_ref().map(|id| id.as_str()),
            expect.as_ref().copied(),
            "{localpart}"
        );
    };
    check("alice", Ok("@alice:example.org"));
    check("a", Ok("@a:example.org"));
    check("12345", Ok("@12345:example.org"));
    check("a.b_c=d-e/f+g", Ok("@a.b_c=d-e/f+g:example.org"));
    check("", Err(NameError::Empty));
    check("Alice", Err(NameError::Characters));
    check("ali ce", Err(NameError::Characters));
    check("ali:ce", Err(NameError::Characters));
    check("@alice", Err(NameError::Characters));
    check("älice", Err(NameError::Characters));
    check("alice\0", Err(NameError::Characters));
    check("_bridge", Err(NameError::Underscore));
    check(
        &"a".repeat(255 - "@:example.org".len()),
        Ok(&format!("@{}:example.org", "a".repeat(242))),
    );
    check(
        &"a".repeat(256 - "@:example.org".len()),
        Err(NameError::TooLong),
    );
    let id = new_user_id(
        "_irc_x",
        server_name!("example.org"),
        Registrant::ApplicationService,
    );
    assert_eq!(id.unwrap(), "@_irc_x:example.org");
    assert_eq!(localpart_for_registration("Alice"), "alice");
}

#[test]
fn known_users() {
    let check = |text: &str, expect: Option<&str>| {
        let id = known_user_id(text, server_name!("example.org:8448"));
        assert_eq!(id.ok().as_deref().map(UserId::as_str), expect, "{text}");
    };
    check("alice", Some("@alice:example.org:8448"));
    check("@alice", Some("@alice:example.org:8448"));
    check("@alice:other.org", Some("@alice:other.org"));
    check("Historical!Name", Some("@Historical!Name:example.org:8448"));
    check("@Old Name:other.org", Some("@Old Name:other.org"));
    check("", None);
    check("@", None);
    check("@alice:", None);
    check("@alice:not a server", None);
    check(&"a".repeat(256), None);
}

#[test]
fn generated_names() {
    assert_eq!(device_id(&[0; 10]).as_str(), "AAAAAAAAAA");
    assert_eq!(
        device_id(&[0, 1, 25, 26, 27, 51, 52, 253, 254, 255]).as_str(),
        "ABZABZATUV"
    );
    assert_eq!(session_id(&[0xff; 24]), "_".repeat(32));
    assert_eq!(generated_localpart(&[0; 10]), "aaaaaaaaaa");
    for (text, expect) in [
        ("DEVICE", true),
        ("läppy 1", true),
        ("", false),
        ("a\nb", false),
        (&*"x".repeat(256), false),
    ] {
        assert_eq!(check_device_id(text).is_ok(), expect, "{text:?}");
    }
}

proptest! {
    #[test]
    fn generated_names_are_valid(random in any::<[u8; 10]>()) {
        let server: &ServerName = server_name!("example.org");
        let localpart = generated_localpart(&random);
        prop_assert!(new_user_id(&localpart, server, Registrant::Person).is_ok());
        prop_assert!(check_device_id(device_id(&random).as_str()).is_ok());
    }

    #[test]
    fn new_ids_are_known_ids(localpart in "[a-z0-9._=/+-]{1,50}") {
        let server: &ServerName = server_name!("example.org");
        if let Ok(id) = new_user_id(&localpart, server, Registrant::Person) {
            prop_assert_eq!(&known_user_id(&localpart, server).unwrap(), &id);
            prop_assert_eq!(&known_user_id(id.as_str(), server).unwrap(), &id);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        let server: &ServerName = server_name!("example.org");
        let _id = known_user_id(&text, server);
        let _id = new_user_id(&text, server, Registrant::Person);
    }
}

#[test]
fn identifiers() {
    let check = |body: Value, expect: Result<Option<Identifier>, ()>| {
        assert_eq!(
            Identifier::from_login(&body).map_err(|_| ()),
            expect,
            "{body}"
        );
    };
    let alice = || Ok(Some(Identifier::User("alice".to_owned())));
    let mail = || {
        let (medium, address) = ("email".to_owned(), "a@b.c".to_owned());
        Ok(Some(Identifier::Threepid { medium, address }))
    };
    check(json!({}), Ok(None));
    check(json!({ "identifier": null }), Ok(None));
    check(
        json!({ "identifier": { "type": "m.id.user", "user": "alice" } }),
        alice(),
    );
    check(json!({ "user": "alice" }), alice());
    check(
        json!({ "user": "@alice:b.c" }),
        Ok(Some(Identifier::User("@alice:b.c".to_owned()))),
    );
    check(json!({ "medium": "email", "address": "A@b.C" }), mail());
    let threepid = json!({ "type": "m.id.thirdparty", "medium": "email", "address": "A@B.c" });
    check(json!({ "identifier": threepid }), mail());
    let phone = json!({ "type": "m.id.phone", "country": "DE", "phone": "030 1" });
    let (country, number) = ("DE".to_owned(), "030 1".to_owned());
    check(
        json!({ "identifier": phone }),
        Ok(Some(Identifier::Phone {
            country,
            phone: number,
        })),
    );
    check(json!({ "identifier": { "type": "m.id.user" } }), Err(()));
    check(
        json!({ "identifier": { "type": "m.id.user", "user": 1 } }),
        Err(()),
    );
    check(json!({ "identifier": { "type": "x" } }), Err(()));
    check(json!({ "identifier": "alice" }), Err(()));
    check(json!([]), Ok(None));
}
