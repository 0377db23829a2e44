//! User-interactive authentication.

use lyceum_account::{
    interactive_auth::{Facts, Needs, Outcome, Session, Stage, operation, session_named},
    names::Identifier,
};
use ruma_common::{device_id, user_id};
use serde_json::{Map, Value, json};

fn session(flows: &[&[Stage]]) -> Session {
    let flows = flows.iter().map(|stages| stages.to_vec()).collect();
    Session::begin("S".to_owned(), "op".to_owned(), flows, Map::new())
}

fn nothing() -> Facts {
    Facts::default()
}

/// The outcome in one line.
fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Needs(needs) => format!("{needs:?}"),
        Outcome::Complete => "complete".to_owned(),
        Outcome::Incomplete(body) => {
            format!(
                "401 completed={} errcode={}",
                body["completed"], body["errcode"]
            )
        }
        Outcome::Failed(error) => format!("{} {}", error.status, error.code),
    }
}

#[test]
fn the_challenge() {
    let mut session = session(&[&[Stage::Terms, Stage::Dummy], &[Stage::RegistrationToken]]);
    session
        .params
        .insert("m.login.terms".to_owned(), json!({ "policies": {} }));
    assert_eq!(
        session.challenge_body(),
        json!({
            "session": "S",
            "flows": [
                { "stages": ["m.login.terms", "m.login.dummy"] },
                { "stages": ["m.login.registration_token"] },
            ],
            "params": { "m.login.terms": { "policies": {} } },
        })
    );
    assert_eq!(session_named(Some(&json!({ "session": "S" }))), Some("S"));
    assert_eq!(session_named(Some(&json!({ "session": 1 }))), None);
    assert_eq!(session_named(None), None);
}

#[test]
fn a_dummy_completes() {
    let mut session = session(&[&[Stage::Dummy]]);
    let outcome = session.advance("op", &json!({ "session": "S" }), &nothing());
    assert_eq!(told(&outcome), "401 completed=null errcode=null");
    let auth = json!({ "type": "m.login.dummy", "session": "S" });
    assert_eq!(session.advance("op", &auth, &nothing()), Outcome::Complete);
    // Asking again changes nothing.
    assert_eq!(session.advance("op", &auth, &nothing()), Outcome::Complete);
}

#[test]
fn stage_after_stage() {
    let mut session = session(&[&[Stage::Terms, Stage::Dummy]]);
    let outcome = session.advance("op", &json!({ "type": "m.login.terms" }), &nothing());
    assert_eq!(
        told(&outcome),
        r#"401 completed=["m.login.terms"] errcode=null"#
    );
    let stored: Session = serde_json::from_str(&serde_json::to_string(&session).unwrap()).unwrap();
    assert_eq!(stored, session);
    let mut session = stored;
    let outcome = session.advance("op", &json!({ "type": "m.login.terms" }), &nothing());
    assert_eq!(
        told(&outcome),
        r#"401 completed=["m.login.terms"] errcode=null"#
    );
    let outcome = session.advance("op", &json!({ "type": "m.login.dummy" }), &nothing());
    assert_eq!(outcome, Outcome::Complete);
}

#[test]
fn a_password_is_asked_for() {
    let mut session = session(&[&[Stage::Password], &[Stage::Sso]]);
    let auth = json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": "alice" },
        "password": "secret",
    });
    let outcome = session.advance("op", &auth, &nothing());
    let identifier = Some(Identifier::User("alice".to_owned()));
    let password = "secret".to_owned();
    assert_eq!(
        outcome,
        Outcome::Needs(Needs::Password {
            identifier,
            password
        })
    );
    assert!(!format!("{outcome:?}").contains("secret"));
    let wrong = Facts {
        password_correct: Some(false),
        ..nothing()
    };
    let outcome = session.advance("op", &auth, &wrong);
    assert_eq!(
        told(&outcome),
        r#"401 completed=null errcode="M_FORBIDDEN""#
    );
    let right = Facts {
        password_correct: Some(true),
        ..nothing()
    };
    assert_eq!(session.advance("op", &auth, &right), Outcome::Complete);

    let mut session = self::session(&[&[Stage::Password]]);
    let outcome = session.advance("op", &json!({ "type": "m.login.password" }), &nothing());
    assert_eq!(told(&outcome), "400 M_MISSING_PARAM");
    let auth = json!({ "type": "m.login.password", "password": "p", "identifier": {} });
    assert_eq!(
        told(&session.advance("op", &auth, &nothing())),
        "400 M_BAD_JSON"
    );
    // Without an identifier it is the user who asks.
    let auth = json!({ "type": "m.login.password", "password": "p" });
    assert_eq!(
        told(&session.advance("op", &auth, &nothing())),
        "Needs::Password"
    );
}

#[test]
fn a_registration_token_is_remembered() {
    let mut session = session(&[&[Stage::RegistrationToken, Stage::Dummy]]);
    let auth = json!({ "type": "m.login.registration_token", "token": "T" });
    let outcome = session.advance("op", &auth, &nothing());
    assert_eq!(
        outcome,
        Outcome::Needs(Needs::RegistrationToken {
            token: "T".to_owned()
        })
    );
    let facts = Facts {
        registration_token_valid: Some(false),
        ..nothing()
    };
    let outcome = session.advance("op", &auth, &facts);
    assert_eq!(
        told(&outcome),
        r#"401 completed=null errcode="M_FORBIDDEN""#
    );
    assert_eq!(session.registration_token, None);
    let facts = Facts {
        registration_token_valid: Some(true),
        ..nothing()
    };
    let outcome = session.advance("op", &auth, &facts);
    assert_eq!(
        told(&outcome),
        r#"401 completed=["m.login.registration_token"] errcode=null"#
    );
    assert_eq!(session.registration_token.as_deref(), Some("T"));
    let auth = json!({ "type": "m.login.registration_token" });
    let mut session = self::session(&[&[Stage::RegistrationToken]]);
    assert_eq!(
        told(&session.advance("op", &auth, &nothing())),
        "400 M_MISSING_PARAM"
    );
}

#[test]
fn what_does_not_count() {
    let check = |auth: Value, expect: &str| {
        let mut session = session(&[&[Stage::Password, Stage::Sso]]);
        let everything = Facts {
            password_correct: Some(true),
            registration_token_valid: Some(true),
        };
        assert_eq!(
            told(&session.advance("op", &auth, &everything)),
            expect,
            "{auth}"
        );
        assert!(!session.is_complete());
    };
    check(
        json!({ "type": "m.login.dummy" }),
        r#"401 completed=null errcode="M_UNRECOGNIZED""#,
    );
    check(
        json!({ "type": "x" }),
        r#"401 completed=null errcode="M_UNRECOGNIZED""#,
    );
    check(json!({ "type": 1 }), "400 M_BAD_JSON");
    check(
        json!({ "type": "m.login.sso" }),
        r#"401 completed=null errcode="M_FORBIDDEN""#,
    );
    check(json!({ "type": null }), "401 completed=null errcode=null");
    check(json!([]), "401 completed=null errcode=null");
    check(json!("x"), "401 completed=null errcode=null");
}

#[test]
fn a_session_is_for_one_operation() {
    let mut session = session(&[&[Stage::Dummy]]);
    let outcome = session.advance("other", &json!({ "type": "m.login.dummy" }), &nothing());
    assert_eq!(told(&outcome), "403 M_FORBIDDEN");
    assert!(!session.is_complete());

    let alice = Some(user_id!("@a:x"));
    let device = Some(device_id!("D"));
    let all = [
        operation(None, None, "POST", "/register"),
        operation(alice, device, "POST", "/register"),
        operation(Some(user_id!("@b:x")), device, "POST", "/register"),
        operation(alice, Some(device_id!("E")), "POST", "/register"),
        operation(alice, device, "DELETE", "/register"),
        operation(alice, device, "POST", "/devices"),
    ];
    let distinct: std::collections::BTreeSet<&String> = all.iter().collect();
    assert_eq!(distinct.len(), all.len());
    assert_eq!(all[1], operation(alice, device, "POST", "/register"));
}

#[test]
fn a_stage_done_elsewhere() {
    let mut session = session(&[&[Stage::Sso]]);
    session.fulfil(Stage::Sso);
    assert_eq!(
        session.advance("op", &json!({ "session": "S" }), &nothing()),
        Outcome::Complete
    );
}
