use std::sync::Arc;

use lyceum_model::{Event, Position, Seq, Timestamp};
use lyceum_sync::{
    client_event::{EventForm, ShownEvent},
    filter::RoomEventFilter,
    history::{
        Context, Messages, Relations, context, event_chunk, event_list, joined_members,
        members_for, messages, relations,
    },
    token::{PageToken, SyncToken, TimelineToken},
};
use serde_json::{Value, json};

use crate::fixture::{client, ids, member, message, parse, user};

#[test]
fn a_page_of_messages() {
    let mut answer = Messages {
        form: form(),
        start: PageToken::Sync(SyncToken(Position(5))),
        end: None,
        chunk: vec![],
        state: vec![],
    };
    assert_eq!(
        parse(&messages(&answer)),
        json!({"start": "s5", "chunk": []})
    );
    answer.chunk = vec![shown(&message("m2", "a", 2)), shown(&message("m1", "a", 1))];
    answer.state = vec![shown(&member("a1", "a", "join", 1))];
    answer.end = Some(token(1));
    let json = parse(&messages(&answer));
    assert_eq!(json["start"], "s5");
    assert_eq!(json["end"], "t5_1");
    assert_eq!(names(&json["chunk"]), "$m2 $m1");
    assert_eq!(names(&json["state"]), "$a1");
    assert_eq!(json["chunk"][0]["room_id"], "!room:x");
    assert_eq!(json["chunk"][0]["unsigned"]["age"], 8000);
}

#[test]
fn an_event_in_its_context() {
    let answer = Context {
        form: form(),
        start: token(1),
        end: token(4),
        event: shown(&message("m2", "a", 2)),
        events_before: vec![shown(&message("m1", "a", 1))],
        events_after: vec![shown(&message("m3", "a", 3))],
        state: vec![shown(&member("a1", "a", "join", 1))],
    };
    let json = parse(&context(&answer));
    assert_eq!(json["start"], "t5_1");
    assert_eq!(json["end"], "t5_4");
    assert_eq!(json["event"]["event_id"], "$m2");
    assert_eq!(names(&json["events_before"]), "$m1");
    assert_eq!(names(&json["events_after"]), "$m3");
    assert_eq!(names(&json["state"]), "$a1");
}

#[test]
fn events_that_relate() {
    let mut answer = Relations {
        form: form(),
        chunk: vec![],
        next_batch: None,
        prev_batch: None,
        recursion_depth: None,
    };
    assert_eq!(parse(&relations(&answer)), json!({"chunk": []}));
    answer.chunk = vec![shown(&message("m", "a", 1))];
    answer.next_batch = Some("t5_1".into());
    answer.prev_batch = Some("t5_9".into());
    answer.recursion_depth = Some(3);
    let json = parse(&relations(&answer));
    assert_eq!(names(&json["chunk"]), "$m");
    assert_eq!(
        (
            &json["next_batch"],
            &json["prev_batch"],
            &json["recursion_depth"]
        ),
        (&json!("t5_1"), &json!("t5_9"), &json!(3)),
    );
}

#[test]
fn state_and_members() {
    let events = [member("a1", "a", "join", 1), member("b1", "b", "join", 2)];
    let all: Vec<ShownEvent> = events.iter().map(shown).collect();
    assert_eq!(names(&parse(&event_list(&all, &form()))), "$a1 $b1");
    assert_eq!(parse(&event_list(&[], &form())), json!([]));
    let clients: Vec<_> = events.iter().map(|event| client(event)).collect();
    let json = parse(&event_chunk(clients.iter().map(|event| &**event), &form()));
    assert_eq!(names(&json["chunk"]), "$a1 $b1");
    let (a, b) = (user("a"), user("b"));
    assert_eq!(
        parse(&joined_members([
            (&*a, Some("A \"1\""), Some("mxc://x/y")),
            (&*b, None, None)
        ])),
        json!({"joined": {
            "@a:x": {"avatar_url": "mxc://x/y", "display_name": "A \"1\""},
            "@b:x": {"avatar_url": null, "display_name": null},
        }}),
    );
}

#[test]
fn members_that_show_a_chunk() {
    let chunk = [
        message("m1", "b", 1),
        message("m2", "a", 2),
        message("m3", "b", 3),
        message("m4", "c", 4),
    ];
    let member = |user_id: &ruma_common::UserId| {
        let name = user_id.localpart();
        (name != "c").then(|| member(&format!("{name}1"), name, "join", 1))
    };
    for (filter, expected) in [("{}", ""), (r#"{"lazy_load_members":true}"#, "a1 b1")] {
        let filter = RoomEventFilter::parse(filter).unwrap();
        assert_eq!(ids(&members_for(&chunk, &filter, &member)), expected);
    }
}

fn form() -> EventForm<'static> {
    EventForm::new(Timestamp(10_000))
}

fn token(seq: i64) -> TimelineToken {
    TimelineToken {
        position: Position(5),
        seq: Seq(seq),
    }
}

fn shown(event: &Arc<Event>) -> ShownEvent {
    client(event).into()
}

fn names(events: &Value) -> String {
    let names: Vec<&str> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["event_id"].as_str().unwrap())
        .collect();
    names.join(" ")
}
