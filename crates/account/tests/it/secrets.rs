//! Passwords, tokens, filter ids.

use lyceum_account::{
    filter_id,
    password::{
        PASSWORD_BYTES_MAX, PasswordError, PasswordParameters, PasswordPolicy, hash, is_outdated,
        spend, verify,
    },
    token,
};
use serde_json::json;

/// As cheap as argon2 allows.
const CHEAP: PasswordParameters = PasswordParameters {
    memory_kib: 8,
    iterations: 1,
    parallelism: 1,
};

#[test]
fn passwords() {
    let phc = hash("correct horse", &[7; 16], &CHEAP).unwrap();
    assert!(phc.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{phc}");
    assert!(verify("correct horse", &phc));
    assert!(!verify("correct horse ", &phc));
    assert!(!verify("", &phc));
    assert_ne!(phc, hash("correct horse", &[8; 16], &CHEAP).unwrap());
    let long = "x".repeat(PASSWORD_BYTES_MAX + 1);
    assert_eq!(hash(&long, &[7; 16], &CHEAP), Err(PasswordError::TooLong));
    assert!(!verify(&long, &phc));
    spend("anything", &CHEAP);
}

#[test]
fn damaged_hashes_fit_nothing() {
    for phc in [
        "",
        "x",
        "$argon2id$",
        "$argon2id$v=19$m=8,t=1,p=1$AAAA",
        "$2b$12$abcdefgh",
        "*",
    ] {
        assert!(!verify("", phc) && !verify("password", phc), "{phc}");
        assert!(is_outdated(phc, &CHEAP), "{phc}");
    }
}

#[test]
fn hashes_get_outdated() {
    let phc = hash("p", &[7; 16], &CHEAP).unwrap();
    assert!(!is_outdated(&phc, &CHEAP));
    assert!(is_outdated(
        &phc,
        &PasswordParameters {
            iterations: 2,
            ..CHEAP
        }
    ));
    assert!(is_outdated(
        &phc,
        &PasswordParameters {
            memory_kib: 16,
            ..CHEAP
        }
    ));
    assert!(verify(
        "p",
        &hash(
            "p",
            &[7; 16],
            &PasswordParameters {
                iterations: 2,
                ..CHEAP
            }
        )
        .unwrap()
    ));
    assert_eq!(
        PasswordParameters {
            memory_kib: 0,
            ..CHEAP
        }
        .check(),
        Err(PasswordError::Parameters)
    );
    assert_eq!(PasswordParameters::default().check(), Ok(()));
}

#[test]
fn policies() {
    let policy = PasswordPolicy::default();
    assert_eq!(
        policy.check("1234567"),
        Err(PasswordError::TooShort { length_min: 8 })
    );
    assert_eq!(policy.check("12345678"), Ok(()));
    assert_eq!(policy.check("äöüßäöüß"), Ok(()));
    assert_eq!(
        policy.check("äöüß"),
        Err(PasswordError::TooShort { length_min: 8 })
    );
    let none = PasswordPolicy { length_min: 0 };
    assert_eq!(
        none.check(""),
        Err(PasswordError::TooShort { length_min: 1 })
    );
    assert_eq!(none.check(&"x".repeat(513)), Err(PasswordError::TooLong));
}

#[test]
fn tokens() {
    let random = std::array::from_fn(|index| index as u8);
    let access = token::access(&random);
    assert_eq!(
        access.text,
        "lyc_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
    );
    assert_eq!(access.hash, token::hash(&access.text));
    assert!(!format!("{access:?}").contains("lyc_"));
    let others = [
        token::refresh(&random),
        token::login(&random),
        token::open_id(&random),
    ];
    for other in others {
        assert_ne!(other.text, access.text);
        assert_ne!(other.hash, access.hash);
    }
    assert_eq!(
        token::ticket_key("abc"),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
}

#[test]
fn filter_ids() {
    let (id, json) = filter_id::of(&json!({ "room": { "timeline": { "limit": 10 } }, "a": 1 }));
    assert_eq!(json, r#"{"a":1,"room":{"timeline":{"limit":10}}}"#);
    assert_eq!(id.len(), filter_id::FILTER_ID_LENGTH);
    assert_eq!(
        filter_id::of(&serde_json::from_str(&json).unwrap()),
        (id.clone(), json)
    );
    assert_ne!(filter_id::of(&json!({})).0, id);
}
