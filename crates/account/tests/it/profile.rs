//! Profile fields.

use std::collections::BTreeMap;

use lyceum_account::profile::{
    PROFILE_BYTES_MAX, ProfileError, check_key, check_size, field_from_body, json as profile_json,
};
use lyceum_model::MatrixError;
use serde_json::{Value, json};

#[test]
fn keys() {
    let check = |key: &str, expect: Result<(), ProfileError>| {
        assert_eq!(check_key(key), expect, "{key}");
    };
    check("displayname", Ok(()));
    check("avatar_url", Ok(()));
    check("m.tz", Ok(()));
    check("org.example.some_field-2", Ok(()));
    check("", Err(ProfileError::InvalidKey));
    check("Displayname", Err(ProfileError::InvalidKey));
    check("1.b", Err(ProfileError::InvalidKey));
    check("a b", Err(ProfileError::InvalidKey));
    check("ä.b", Err(ProfileError::InvalidKey));
    check(&format!("a.{}", "b".repeat(253)), Ok(()));
    check(
        &format!("a.{}", "b".repeat(254)),
        Err(ProfileError::KeyTooLarge),
    );
}

#[test]
fn values() {
    let check = |key: &str, body: Value, expect: Result<Option<&str>, &str>| {
        let result =
            field_from_body(key, &body).map_err(|error| MatrixError::from(error).code.into_owned());
        assert_eq!(
            result.as_ref().map(|v| v.as_deref()).map_err(|e| &**e),
            expect,
            "{key} {body}"
        );
    };
    check(
        "displayname",
        json!({ "displayname": "Alice" }),
        Ok(Some("\"Alice\"")),
    );
    check("displayname", json!({ "displayname": null }), Ok(None));
    check("displayname", json!({ "displayname": "" }), Ok(None));
    check(
        "displayname",
        json!({ "displayname": 1 }),
        Err("M_INVALID_PARAM"),
    );
    check(
        "displayname",
        json!({ "displayname": "x".repeat(257) }),
        Err("M_INVALID_PARAM"),
    );
    check("displayname", json!({}), Err("M_MISSING_PARAM"));
    check("displayname", json!("Alice"), Err("M_BAD_JSON"));
    check(
        "avatar_url",
        json!({ "avatar_url": "mxc://a/b" }),
        Ok(Some("\"mxc://a/b\"")),
    );
    check("avatar_url", json!({ "avatar_url": "" }), Ok(None));
    check(
        "avatar_url",
        json!({ "avatar_url": "https://a/b" }),
        Err("M_INVALID_PARAM"),
    );
    check(
        "m.tz",
        json!({ "m.tz": "Europe/Berlin" }),
        Ok(Some("\"Europe/Berlin\"")),
    );
    check(
        "m.tz",
        json!({ "m.tz": "Etc/GMT+3" }),
        Ok(Some("\"Etc/GMT+3\"")),
    );
    check("m.tz", json!({ "m.tz": "" }), Err("M_INVALID_PARAM"));
    check("m.tz", json!({ "m.tz": 3 }), Err("M_INVALID_PARAM"));
    check(
        "org.x",
        json!({ "org.x": { "b": [1, null], "a": 1.5 } }),
        Ok(Some(r#"{"a":1.5,"b":[1,null]}"#)),
    );
    check("org.x", json!({ "org.x": null }), Ok(Some("null")));
    check("org.x", json!({ "org.y": 1 }), Err("M_MISSING_PARAM"));
    check("Org", json!({ "Org": 1 }), Err("M_INVALID_PARAM"));
}

#[test]
fn sizes() {
    let mut profile = BTreeMap::from([("displayname".to_owned(), "\"Alice\"".to_owned())]);
    let room_for = |profile: &BTreeMap<String, String>| {
        let json = profile_json(profile).to_string();
        PROFILE_BYTES_MAX - json.len() - r#","org.x":"""#.len()
    };
    let text = |length: usize| json!("x".repeat(length)).to_string();
    let room = room_for(&profile);
    assert_eq!(check_size(&profile, "org.x", &text(room)), Ok(()));
    assert_eq!(
        check_size(&profile, "org.x", &text(room + 1)),
        Err(ProfileError::TooLarge)
    );
    // The old value of the same field does not count.
    profile.insert("org.x".to_owned(), text(room));
    assert_eq!(profile_json(&profile).to_string().len(), PROFILE_BYTES_MAX);
    assert_eq!(check_size(&profile, "org.x", &text(room)), Ok(()));
    assert_eq!(
        check_size(&profile, "org.y", "1"),
        Err(ProfileError::TooLarge)
    );
}
