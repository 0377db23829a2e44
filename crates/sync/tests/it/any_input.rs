//! Whatever a sync tells, it is JSON, and tells what the obvious construction tells.

use std::sync::Arc;

use lyceum_model::{Membership, Position, Seq, Timestamp};
use lyceum_sync::{
    classic::{
        AccountData, Counts, JoinedRoom, LeftRoom, StateAfter, StrippedRoom, SyncInput, Timeline,
        assemble,
    },
    client_event::{BundledRelations, ShownEvent},
    filter::Filter,
    presence::PresenceEvent,
    summary::SummaryChange,
    token::{SyncToken, TimelineToken},
};
use proptest::{collection::vec, option, prelude::*};
use ruma_common::RoomId;
use serde_json::{Value, value::RawValue};

use crate::{
    client_event::any_object,
    fixture::{client, event_id, from_parts, parse, user},
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_sync_is_always_json(input in any_sync()) {
        let answer = parse(&assemble(&input));
        let has_rooms = answer.get("rooms").is_some();
        let has_more = ["account_data", "presence", "to_device", "device_lists"]
            .iter()
            .any(|name| answer.get(name).is_some());
        prop_assert_eq!(input.has_news(), has_rooms || has_more);
        if let Some(rooms) = answer.get("rooms").and_then(Value::as_object) {
            prop_assert!(!rooms.is_empty());
            prop_assert!(rooms.values().all(|section| !section.as_object().unwrap().is_empty()));
        }
    }

    #[test]
    fn everything_is_told_without_a_filter(mut input in any_sync()) {
        input.filter = Arc::new(Filter::default());
        let answer = parse(&assemble(&input));
        for (path, count) in [
            ("/account_data/events", input.account_data.len()),
            ("/presence/events", input.presence.len()),
            ("/to_device/events", input.to_device.len()),
        ] {
            prop_assert_eq!(length(answer.pointer(path)), count);
        }
        for joined in &input.joined {
            let room = &answer["rooms"]["join"][joined.room_id.as_str()];
            let state = room.as_object().and_then(|room| {
                room.iter().find(|(name, _)| name.contains("state")).map(|(_, state)| state)
            });
            let events = |section: Option<&Value>| {
                length(section.and_then(|section| section.get("events")))
            };
            prop_assert_eq!(events(room.get("timeline")), joined.timeline.events.len());
            prop_assert_eq!(events(state), joined.state.len());
            prop_assert_eq!(events(room.get("account_data")), joined.account_data.len());
            let ephemeral = joined.receipts.len() + usize::from(joined.typing.is_some());
            prop_assert_eq!(events(room.get("ephemeral")), ephemeral);
        }
    }
}

fn length(array: Option<&Value>) -> usize {
    array.and_then(Value::as_array).map_or(0, Vec::len)
}

fn any_sync() -> impl Strategy<Value = SyncInput> {
    let filter = prop_oneof![
        Just("{}"),
        Just(r#"{"event_fields":["content.body","unsigned"]}"#),
        Just(r#"{"event_format":"federation"}"#),
        Just(r#"{"presence":{"types":[]},"account_data":{"limit":1}}"#),
        Just(r#"{"room":{"not_rooms":["!0:x"],"timeline":{"unread_thread_notifications":true}}}"#),
        Just(r#"{"room":{"ephemeral":{"not_types":["m.*"]},"account_data":{"types":[]}}}"#),
        Just(r#"{"room":{"rooms":[]}}"#),
    ];
    let rooms = (
        vec(any_joined(), 0..4),
        vec(any_timeline(), 0..3),
        vec(vec(any_raw(), 0..3), 0..3),
    );
    let account = (
        vec(any_account_data(), 0..3),
        vec(any_raw(), 0..3),
        vec(any_raw(), 0..3),
        vec("[a-z0-9_\"]{0,8}", 0..3),
        vec(Just(user("u")), 0..2),
    );
    (filter, rooms, account, option::of(any::<bool>())).prop_map(
        |(filter, (joined, left, stripped), account, state_after)| {
            let (account_data, presence, to_device, algorithms, changed) = account;
            let filter = Arc::new(Filter::parse(filter).unwrap());
            let mut input = SyncInput::new(SyncToken(Position(3)), Timestamp(9), filter);
            input.use_state_after = state_after.map(|stable| {
                if stable {
                    StateAfter::Stable
                } else {
                    StateAfter::Unstable
                }
            });
            input.joined = joined;
            for (index, room) in input.joined.iter_mut().enumerate() {
                room.room_id = RoomId::parse(format!("!{index}:x")).unwrap();
            }
            for (index, timeline) in left.into_iter().enumerate() {
                let mut room = LeftRoom::new(RoomId::parse(format!("!left{index}:x")).unwrap());
                room.timeline = timeline;
                input.left.push(room);
            }
            for (index, state) in stripped.into_iter().enumerate() {
                let room_id = RoomId::parse(format!("!invited{index}:x")).unwrap();
                input.invited.push(StrippedRoom {
                    room_id: room_id.clone(),
                    state: state.clone(),
                });
                input.knocked.push(StrippedRoom { room_id, state });
            }
            input.account_data = account_data;
            input.presence = presence
                .iter()
                .map(|json| PresenceEvent {
                    sender: user("p"),
                    json: json.get().to_owned(),
                })
                .collect();
            input.to_device = to_device.iter().map(|json| json.get().to_owned()).collect();
            input.one_time_key_counts = algorithms
                .iter()
                .map(|algorithm| (algorithm.clone(), 7))
                .collect();
            input.unused_fallback_key_types = algorithms;
            input.device_lists.changed = changed;
            input
        },
    )
}

fn any_joined() -> impl Strategy<Value = JoinedRoom> {
    let ephemeral = (option::of(any_raw()), vec(any_raw(), 0..2));
    (
        any_timeline(),
        vec(any_shown(), 0..3),
        ephemeral,
        vec(any_account_data(), 0..2),
        option::of(option::of(Just(vec![user("h")]))),
        any::<(u64, u64, bool)>(),
    )
        .prop_map(
            |(timeline, state, (typing, receipts), account_data, summary, unread)| {
                let mut room = JoinedRoom::new(RoomId::parse("!0:x").unwrap());
                room.timeline = timeline;
                room.state = state;
                room.typing = typing.map(|json| json.get().into());
                room.receipts = receipts.iter().map(|json| json.get().into()).collect();
                room.account_data = account_data;
                room.summary = summary.map(|heroes| SummaryChange {
                    heroes,
                    joined: 1,
                    invited: 0,
                });
                let (notifications, highlights, is_shown_always) = unread;
                room.unread.main = Counts {
                    notifications,
                    highlights,
                };
                room.unread.threads.insert(
                    event_id("t"),
                    Counts {
                        notifications: 1,
                        highlights,
                    },
                );
                room.is_shown_always = is_shown_always;
                room
            },
        )
}

fn any_timeline() -> impl Strategy<Value = Timeline> {
    (
        vec(any_shown(), 0..4),
        any::<bool>(),
        option::of(any::<i32>()),
    )
        .prop_map(|(events, limited, seq)| Timeline {
            events,
            limited,
            prev_batch: seq.map(|seq| TimelineToken {
                position: Position(1),
                seq: Seq(i64::from(seq)),
            }),
        })
}

fn any_shown() -> impl Strategy<Value = ShownEvent> {
    (
        any_object(),
        "[a-z.\"\\\\]{1,8}",
        option::of("\\PC{0,6}"),
        option::of("\\PC{0,6}"),
        any::<(bool, bool, bool)>(),
        option::of(any_object()),
    )
        .prop_map(
            |(content, kind, state_key, transaction_id, flags, prev_content)| {
                let (is_redacted, has_relations, shows_prev_content) = flags;
                let more = match prev_content {
                    Some(content) => serde_json::json!({"unsigned": {"prev_content": content}}),
                    None => serde_json::json!({}),
                };
                let event = from_parts("e", "a", &kind, state_key.as_deref(), content, 1, more);
                let plain = client(&event);
                ShownEvent {
                    transaction_id: transaction_id.map(Into::into),
                    membership: is_redacted.then_some(Membership::Join),
                    redacted_because: is_redacted.then(|| plain.clone()),
                    relations: has_relations.then(|| {
                        Arc::new(BundledRelations {
                            replacement: Some(plain.clone().into()),
                            ..Default::default()
                        })
                    }),
                    shows_prev_content,
                    event: plain,
                }
            },
        )
}

fn any_account_data() -> impl Strategy<Value = AccountData> {
    ("\\PC{0,6}", any_raw()).prop_map(|(kind, content)| AccountData {
        kind,
        content: content.get().to_owned(),
    })
}

fn any_raw() -> impl Strategy<Value = Box<RawValue>> {
    any_object().prop_map(|value| RawValue::from_string(value.to_string()).unwrap())
}
