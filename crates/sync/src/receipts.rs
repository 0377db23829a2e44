//! Receipts, as clients are told (Client-Server API, "Receipts").
//!
//! Invariant: nobody is told of another one's private receipts.

use std::{collections::BTreeMap, sync::Arc};

use lyceum_model::{Receipt, ReceiptKind};
use ruma_common::{EventId, UserId};

use crate::json_text::{any_key, into_string, key, number_member, text_member};

/// One user may have so many receipts of one kind at one event: unthreaded, in the main timeline
/// and in a thread. More are not told.
const SAME_EVENT_MAX: usize = 3;

type ByUser<'a> = BTreeMap<&'a UserId, &'a Receipt>;
type ByEvent<'a> = BTreeMap<&'a EventId, BTreeMap<ReceiptKind, ByUser<'a>>>;

/// The `m.receipt` events that tell `reader` of these receipts of one room. Usually one (none if
/// there is nothing to tell); where a user has several receipts at one event, for different
/// threads, they take several, since the content has one place for each user.
pub fn event_json(receipts: &[Receipt], reader: &UserId) -> Vec<Arc<str>> {
    let mut events: Vec<ByEvent<'_>> = Vec::with_capacity(1);
    for receipt in receipts {
        if receipt.kind == ReceiptKind::ReadPrivate && receipt.user_id != reader {
            continue;
        }
        let place = events
            .iter()
            .position(|event| !holds(event, receipt))
            .unwrap_or(events.len());
        if place == SAME_EVENT_MAX {
            continue;
        }
        if place == events.len() {
            events.push(ByEvent::new());
        }
        let kinds = events[place].entry(&receipt.event_id).or_default();
        kinds
            .entry(receipt.kind)
            .or_default()
            .insert(&receipt.user_id, receipt);
    }
    events.iter().map(|event| write(event)).collect()
}

/// Whether the place of this receipt is taken.
fn holds(event: &ByEvent<'_>, receipt: &Receipt) -> bool {
    event
        .get(&*receipt.event_id)
        .and_then(|kinds| kinds.get(&receipt.kind))
        .is_some_and(|users| users.contains_key(&*receipt.user_id))
}

fn write(event: &ByEvent<'_>) -> Arc<str> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(b"{\"type\":\"m.receipt\",\"content\":{");
    for (event_id, kinds) in event {
        any_key(&mut out, event_id.as_str());
        out.push(b'{');
        for (kind, users) in kinds {
            key(&mut out, kind.as_str());
            out.push(b'{');
            for (user_id, receipt) in users {
                any_key(&mut out, user_id.as_str());
                out.push(b'{');
                if let Some(thread) = &receipt.thread {
                    text_member(&mut out, "thread_id", thread);
                }
                number_member(&mut out, "ts", receipt.at.0);
                out.push(b'}');
            }
            out.push(b'}');
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"}}");
    into_string(out).into()
}
