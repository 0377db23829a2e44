//! A client that syncs a room again and again, loses answers and starts again from old places,
//! always knows the room's state; with lazy loading, of those who speak.

use std::{collections::BTreeMap, sync::Arc};

use lyceum_model::{Event, Position};
use lyceum_sync::{
    filter::Filter,
    room_view::{
        StateBasis, StateQuestion, StateScope, TimelineCut, choose_full_state_again, choose_state,
        lazy_members, state_basis,
    },
    sent_members::SentMembers,
};
use proptest::{collection::vec, prelude::*};
use ruma_common::{OwnedEventId, UserId};
use serde_json::json;

use crate::fixture::{member, message, room, state, stored, user};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "me"];
const MEMBER: &str = "m.room.member";

/// What is known of a room: its state by type and state key.
type Known = BTreeMap<(String, String), OwnedEventId>;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_client_knows_the_room(
        steps in vec(any_step(), 1..40),
        is_lazy: bool,
        wants_redundant: bool,
        uses_state_after: bool,
        starts_at_shown: bool,
        hides_names: bool,
        sent_bytes in prop_oneof![Just(100_000_usize), Just(512)],
    ) {
        let filter = json!({"room": {
            "state": {"lazy_load_members": is_lazy, "include_redundant_members": wants_redundant},
            "timeline": {"not_types": if hides_names { vec!["m.room.name"] } else { vec![] }},
        }});
        let mut server = Server {
            events: Vec::new(),
            filter: Filter::parse(&filter.to_string()).unwrap(),
            uses_state_after,
            starts_at_shown,
            sent: SentMembers::new(sent_bytes),
        };
        let mut client = Client::default();
        let mut saved = Client::default();
        for step in steps {
            match step {
                Step::Happen { what, who } => server.happen(what, who),
                Step::Save => saved = client.clone(),
                Step::Restart => client = saved.clone(),
                Step::Sync { limit, is_full, is_lost } => {
                    let answer = server.sync(client.since, limit, is_full);
                    if !is_lost {
                        client.receive(&server, &answer);
                    }
                }
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Happen {
        what: u8,
        who: usize,
    },
    Save,
    Restart,
    Sync {
        limit: usize,
        is_full: bool,
        is_lost: bool,
    },
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..8_u8, 0..NAMES.len()).prop_map(|(what, who)| Step::Happen { what, who }),
        3 => (0..4_usize, proptest::bool::weighted(0.1), proptest::bool::weighted(0.2))
            .prop_map(|(limit, is_full, is_lost)| Step::Sync { limit, is_full, is_lost }),
        1 => Just(Step::Save),
        1 => Just(Step::Restart),
    ]
}

struct Server {
    events: Vec<Arc<Event>>,
    filter: Filter,
    uses_state_after: bool,
    /// Whether the state before the timeline is that before its first event as shown.
    starts_at_shown: bool,
    sent: SentMembers,
}

struct Answer {
    next_batch: usize,
    state: Vec<Arc<Event>>,
    /// The events with their places.
    timeline: Vec<(usize, Arc<Event>)>,
}

impl Server {
    fn happen(&mut self, what: u8, who: usize) {
        let depth = self.events.len() as u64 + 1;
        let id = format!("e{depth}");
        let name = NAMES[who];
        self.events.push(match what {
            0 | 1 => member(&id, name, "join", depth),
            2 => member(&id, name, "leave", depth),
            3 => state(&id, name, "m.room.name", "", json!({}), depth),
            4 => state(&id, name, "m.room.topic", "", json!({}), depth),
            _ => message(&id, name, depth),
        });
    }

    /// The state after so many events.
    fn state(&self, count: usize) -> BTreeMap<(String, String), Arc<Event>> {
        self.events[..count]
            .iter()
            .filter_map(|e| Some((name_of(e)?, e.clone())))
            .collect()
    }

    fn sync(&mut self, since: Option<usize>, limit: usize, is_full: bool) -> Answer {
        let end = self.events.len();
        let since_count = since.unwrap_or(0);
        let mut cut = TimelineCut::new(&self.filter.room.timeline, limit);
        for seq in (since_count + 1..=end).rev() {
            if !cut.offer(&stored(&self.events[seq - 1], seq as i64), true) {
                break;
            }
        }
        let taken = cut.finish(true);
        let first_shown = taken.events.first().map(|stored| stored.seq.unwrap());
        let start = if self.starts_at_shown {
            first_shown
        } else {
            taken.start
        };
        let start = start.map_or(end, |seq| seq.0 as usize - 1);
        let timeline: Vec<Arc<Event>> = taken.events.iter().map(|s| s.event.clone()).collect();
        let scope = if since.is_none() || is_full {
            StateScope::Full
        } else {
            StateScope::Since {
                limited: taken.limited,
            }
        };
        let (before, after, known) = (self.state(start), self.state(end), self.state(since_count));
        let changed = |to: &BTreeMap<_, Arc<Event>>| {
            let is_new = |(name, event): &(&_, &Arc<Event>)| {
                known.get(name).is_none_or(|known| known.id != event.id)
            };
            to.iter()
                .filter(is_new)
                .map(|(_, event)| event.clone())
                .collect::<Vec<_>>()
        };
        let entries: Vec<Arc<Event>> = match state_basis(scope, self.uses_state_after) {
            StateBasis::Nothing => Vec::new(),
            StateBasis::AllBefore => before.values().cloned().collect(),
            StateBasis::AllAfter => after.values().cloned().collect(),
            StateBasis::ChangedBefore => changed(&before),
            StateBasis::ChangedAfter => changed(&after),
        };
        let me = user("me");
        let loaded = lazy_members(scope, &me, &timeline, &[]);
        let member = |user_id: &UserId| {
            assert!(loaded.contains(user_id), "{user_id} was not announced");
            let at = if self.uses_state_after {
                &after
            } else {
                &before
            };
            at.get(&(MEMBER.to_owned(), user_id.to_string())).cloned()
        };
        self.sent.begin(since.map(|count| Position(count as u64)));
        let question = StateQuestion {
            user_id: &me,
            room_id: &room("room"),
            scope,
            uses_state_after: self.uses_state_after,
            filter: &self.filter,
            timeline: &timeline,
            left_out_state: &taken.left_out_state,
            entries: &entries,
            heroes: &[],
            member: &member,
        };
        let state = if since.is_some() && is_full {
            let changed = if self.uses_state_after {
                changed(&after)
            } else {
                changed(&before)
            };
            choose_full_state_again(&question, &changed, &mut self.sent)
        } else {
            choose_state(&question, &mut self.sent)
        };
        self.sent.end(Position(end as u64));
        let places = taken.events.iter().map(|s| s.seq.unwrap().0 as usize);
        Answer {
            next_batch: end,
            state,
            timeline: places.zip(timeline).collect(),
        }
    }
}

#[derive(Debug, Clone, Default)]
struct Client {
    since: Option<usize>,
    known: Known,
}

impl Client {
    fn receive(&mut self, server: &Server, answer: &Answer) {
        let is_first = self.since.is_none();
        self.since = Some(answer.next_batch);
        for event in &answer.state {
            self.learn(event);
        }
        for (place, event) in &answer.timeline {
            if !server.uses_state_after {
                self.learn(event);
            }
            let now = if server.uses_state_after {
                answer.next_batch
            } else {
                *place
            };
            let name = (MEMBER.to_owned(), event.sender.to_string());
            let expected = server.state(now).get(&name).map(|event| event.id.clone());
            assert_eq!(
                self.known.get(&name),
                expected.as_ref(),
                "the sender of {}",
                event.id
            );
        }
        let mut expected: Known = server
            .state(answer.next_batch)
            .into_iter()
            .map(|(name, event)| (name, event.id.clone()))
            .collect();
        if server.filter.lazy_load_members() {
            if is_first {
                let me = (MEMBER.to_owned(), "@me:x".to_owned());
                assert_eq!(self.known.get(&me), expected.get(&me));
            }
            expected.retain(|name, _| name.0 != MEMBER || self.known.contains_key(name));
        }
        assert_eq!(self.known, expected);
    }

    fn learn(&mut self, event: &Event) {
        if let Some(name) = name_of(event) {
            self.known.insert(name, event.id.clone());
        }
    }
}

fn name_of(event: &Event) -> Option<(String, String)> {
    Some((
        event.kind.to_string(),
        event.state_key.as_deref()?.to_owned(),
    ))
}
