//! Tables of requests and the answers that must come; their form is told in `shapes.txt`.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha1::Sha1;

use super::{ENDPOINTS, Scene, id};
use crate::process::{Answer, SERVER_NAME, php};

/// How often a request is repeated until its answer is as it should be, and how long after the
/// other.
const REPEATS_MAX: usize = 500;
const REPEAT_MS: u64 = 20;
/// The kinds of value that a shape can name.
const KINDS: [&str; 7] = ["text", "number", "bool", "null", "object", "list", "any"];

/// A request and what must come of it.
#[derive(Debug)]
struct Step<'a> {
    who: &'a str,
    method: &'a str,
    path: &'a str,
    body: &'a str,
    /// Where in the answer something must be, and what, before it counts.
    until: Option<(&'a str, &'a str)>,
    status: u16,
    shape: &'a str,
    /// What of the answer is kept: its name, and where it is.
    kept: Vec<(&'a str, &'a str)>,
}

fn steps(table: &str) -> Vec<Step<'_>> {
    let mut steps: Vec<Step<'_>> = Vec::new();
    for line in table.lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some(line) = line.strip_prefix("  ") else {
            let mut parts = line.splitn(4, ' ');
            let mut part = || parts.next().unwrap_or_default();
            steps.push(Step {
                who: part(),
                method: part(),
                path: part(),
                body: part(),
                until: None,
                status: 0,
                shape: "",
                kept: Vec::new(),
            });
            continue;
        };
        let step = steps.last_mut().unwrap();
        if let Some(until) = line.strip_prefix("until ") {
            step.until = Some(until.split_once(' ').unwrap_or((until, "")));
        } else if let Some((name, pointer)) = line.split_once(" = /") {
            step.kept.push((name, pointer));
        } else {
            let (status, shape) = line.split_once(' ').unwrap();
            step.status = status.parse().unwrap();
            step.shape = shape;
        }
    }
    steps
}

/// Makes all requests of a table and checks the answers; the endpoints that were asked.
pub(super) fn check(scene: &Scene, table: &str) -> Vec<&'static str> {
    let mut kept: BTreeMap<String, String> = ["alice", "bob", "carol", "dave"]
        .map(|name| (name.to_owned(), id(name)))
        .into();
    kept.insert("admin".to_owned(), id("hsadmin"));
    kept.insert("server".to_owned(), SERVER_NAME.to_owned());
    let tokens = BTreeMap::from([
        ("admin", scene.admin.clone()),
        ("alice", scene.alice.clone()),
        ("bob", scene.server.user("bob", &[])),
        ("carol", scene.server.user("carol", &[])),
    ]);
    let mut asked = Vec::new();
    for step in steps(table) {
        let answer = answer(scene, &step, &tokens, &kept);
        let line = format!("{} {} {}: {answer:?}", step.method, step.path, step.body);
        assert_eq!(answer.status, step.status, "{line}");
        let value = answer.json();
        match filled(step.shape, &kept, str::to_owned) {
            shape if shape.starts_with(['{', '[']) => {
                let shape = serde_json::from_str(&shape).unwrap();
                if let Err(why) = fits(&value, &shape) {
                    panic!("{line}\ndoes not fit {shape}: {why}");
                }
            }
            error => {
                let code = value["errcode"].as_str().unwrap_or_default();
                let message = value["error"].as_str().unwrap_or_default();
                assert_eq!(format!("{code} {message}"), error, "{line}");
            }
        }
        for (name, pointer) in step.kept {
            let found = value.pointer(&format!("/{pointer}"));
            let found = found.unwrap_or_else(|| panic!("no {pointer}: {line}"));
            let text = found.as_str().map_or(found.to_string(), str::to_owned);
            kept.insert(name.to_owned(), text);
        }
        asked.extend(endpoint(step.method, step.path));
    }
    asked
}

fn answer(
    scene: &Scene,
    step: &Step<'_>,
    tokens: &BTreeMap<&str, String>,
    kept: &BTreeMap<String, String>,
) -> Answer {
    let path = filled(step.path, kept, php);
    let body = match step.body {
        "{registration}" => registration(&kept["nonce"]),
        body => filled(body, kept, str::to_owned),
    };
    let ask = || match tokens.get(step.who) {
        None => scene.server.send(step.method, &path, &[], &body),
        Some(token) => scene.server.ask(token, step.method, &path, &body),
    };
    let Some((pointer, wanted)) = step.until else {
        return ask();
    };
    for _ in 0..REPEATS_MAX {
        let answer = ask();
        let found = answer.json().pointer(pointer).cloned();
        if found.is_some_and(|found| wanted.is_empty() || found == wanted) {
            return answer;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(REPEAT_MS));
    }
    panic!("{} {path} does not come to {pointer} {wanted}", step.method);
}

/// A text with what was kept in the place of its name.
fn filled(text: &str, kept: &BTreeMap<String, String>, write: impl Fn(&str) -> String) -> String {
    kept.iter().fold(text.to_owned(), |text, (name, value)| {
        text.replace(&format!("{{{name}}}"), &write(value))
    })
}

/// What registers a user by the shared secret.
fn registration(nonce: &str) -> String {
    let (name, password) = ("erin", "pass word");
    let mut hmac = Hmac::<Sha1>::new_from_slice(super::SHARED_SECRET.as_bytes()).unwrap();
    hmac.update([nonce, name, password, "notadmin"].join("\0").as_bytes());
    let mac: String = hmac
        .finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    serde_json::json!({ "nonce": nonce, "username": name, "password": password, "mac": mac })
        .to_string()
}

/// The endpoint of the table that a request asks.
fn endpoint(method: &str, path: &str) -> Option<&'static str> {
    let path = path.split('?').next().unwrap_or_default();
    let is_it = |line: &&str| {
        let (its_method, its_path) = line.split_once(' ').unwrap();
        its_method == method
            && its_path.split('/').count() == path.split('/').count()
            && its_path
                .split('/')
                .zip(path.split('/'))
                .all(|(its, asked)| its.starts_with('{') || its == asked)
    };
    // Of two, the one with fewer names for what may stand in a place.
    let found = ENDPOINTS.lines().filter(is_it);
    found.min_by_key(|line| line.matches('{').count())
}

/// Whether a value has a shape; if not, where not.
fn fits(value: &Value, shape: &Value) -> Result<(), String> {
    match (value, shape) {
        (_, Value::String(kinds)) if names_kinds(kinds) => {
            let kind = match value {
                Value::Null => "null",
                Value::Bool(_) => "bool",
                Value::Number(_) => "number",
                Value::String(_) => "text",
                Value::Array(_) => "list",
                Value::Object(_) => "object",
            };
            let is_one = |named: &str| named == kind || named == "any";
            if kinds.trim_end_matches('?').split('|').any(is_one) {
                return Ok(());
            }
            Err(format!("{value} is no {kinds}"))
        }
        (Value::Array(values), Value::Array(shapes)) => match shapes.first() {
            None if values.is_empty() => Ok(()),
            None => Err(format!("{value} should be empty")),
            Some(_) if values.is_empty() => Err("empty".to_owned()),
            Some(shape) => values
                .iter()
                .enumerate()
                .try_for_each(|(index, value)| within(&index.to_string(), fits(value, shape))),
        },
        (Value::Object(values), Value::Object(shapes)) => {
            if let Some(shape) = shapes.get("*") {
                if values.is_empty() {
                    return Err("empty".to_owned());
                }
                return values
                    .iter()
                    .try_for_each(|(key, value)| within(key, fits(value, shape)));
            }
            if let Some(key) = values.keys().find(|key| !shapes.contains_key(*key)) {
                return Err(format!("{key} should not be there"));
            }
            shapes
                .iter()
                .try_for_each(|(key, shape)| match values.get(key) {
                    Some(value) => within(key, fits(value, shape)),
                    None if shape.as_str().is_some_and(|shape| shape.ends_with('?')) => Ok(()),
                    None => Err(format!("{key} is missing")),
                })
        }
        _ if value == shape => Ok(()),
        _ => Err(format!("{value} is not {shape}")),
    }
}

fn names_kinds(text: &str) -> bool {
    text.trim_end_matches('?')
        .split('|')
        .all(|kind| KINDS.contains(&kind))
}

fn within(place: &str, found: Result<(), String>) -> Result<(), String> {
    found.map_err(|why| format!("{place}: {why}"))
}

#[test]
fn a_shape_that_does_not_fit_is_found() {
    let check = |value: &str, shape: &str, expect: &str| {
        let value = serde_json::from_str(value).unwrap();
        let shape = serde_json::from_str(shape).unwrap();
        let found = fits(&value, &shape).err().unwrap_or_default();
        assert_eq!(found, expect, "{value} {shape}");
    };
    check("1", r#""number""#, "");
    check("null", r#""text|null""#, "");
    check("true", r#""text|null""#, "true is no text|null");
    check(r#""yes""#, r#""yes""#, "");
    check(r#""no""#, r#""yes""#, r#""no" is not "yes""#);
    check("[]", "[]", "");
    check("[]", r#"["text"]"#, "empty");
    check(r#"["a",1]"#, r#"["text"]"#, "1: 1 is no text");
    check(r#"{"a":1}"#, r#"{"a":"number","b":"text?"}"#, "");
    check(r#"{"a":1}"#, r#"{"a":"number","b":"text"}"#, "b is missing");
    check(
        r#"{"a":1,"b":2}"#,
        r#"{"a":"number"}"#,
        "b should not be there",
    );
    check(
        r#"{"a":1,"b":""}"#,
        r#"{"*":"number"}"#,
        r#"b: "" is no number"#,
    );
}
