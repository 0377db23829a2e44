//! Sweeping beside commits: whatever the sweep is at, what comes again stays.

use lyceum_model::RoomChange;
use serde_json::json;

use super::{Case, after, event, heads, member, timeline};
use crate::{StateSide, suite::EngineFactory};

/// No sweep of so little takes more steps.
const STEPS_MAX: usize = 200;

/// A room is purged, the sweep goes so many steps, the same room comes again, and the sweep goes
/// on to its end; for every number of steps.
pub(super) async fn run(factory: &dyn EngineFactory) {
    let mut store = factory.open().await;
    for steps in 0..STEPS_MAX {
        let case = Case { store: &*store };
        let room_id = make_state(&case).await;
        let purge = RoomChange::Purge {
            room_id: room_id.clone(),
        };
        case.commit([purge.clone().into()]).await;
        let is_more = case.sweep(steps).await;
        make_state(&case).await;
        assert!(
            !case.sweep(STEPS_MAX).await,
            "the sweep ends, begun again after {steps} steps"
        );
        // Nothing is known from before.
        store = factory.reopen(store).await;
        let case = Case { store: &*store };
        let last = event("swept", "last", None, json!({}));
        let state = case.state(&last, StateSide::After).await;
        assert_eq!(state.split(' ').count(), 52, "after {steps} steps: {state}");
        case.commit([purge.into()]).await;
        if !is_more {
            store.close().await.expect("the store closes");
            return;
        }
    }
    panic!("the sweep does not end");
}

/// A room whose state has several nodes.
async fn make_state(case: &Case<'_>) -> ruma_common::OwnedRoomId {
    let room_id = case.make_room("swept").await;
    let mut last = event("swept", "hello", None, json!({"body": "hello"}));
    let mut changes = Vec::new();
    for index in 0..50 {
        let next = member(
            "swept",
            &format!("join{index}"),
            &format!("u{index}"),
            "join",
        );
        changes.push(timeline(&next, after(&last)));
        last = next;
    }
    let end = event("swept", "last", None, json!({}));
    changes.push(timeline(&end, after(&last)));
    changes.push(heads(&end, after(&end)));
    case.commit(changes).await;
    room_id
}
