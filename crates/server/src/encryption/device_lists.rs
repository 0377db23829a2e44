//! Whose keys a client must fetch anew, and whose it need not follow any more (Client-Server API,
//! "Tracking the device list for a user"): for `/sync` and `/keys/changes` alike.

use std::{collections::BTreeSet, sync::Arc};

use lyceum_model::{Membership, Position, Seq, StateKey};
use lyceum_room::membership_of;
use lyceum_storage::{Direction, StateOf, StateSide, StateWanted, StorageError, TimelinePage};
use ruma_common::{EventId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde::Deserialize;

use crate::{Server, feed::UserTouch};

/// How many changes of the own standing in a room are looked at; after more of them the user is
/// taken to have been away.
const OWN_CHANGES_MAX: usize = 8;

/// What changed for a client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceListChanges {
    /// Users whose keys may have changed, or who share a room with the client since; ordered.
    pub changed: Vec<OwnedUserId>,
    /// Users who share no room with the client any more; ordered.
    pub left: Vec<OwnedUserId>,
}

/// What happened in a stretch of time, before it is known who shares rooms now.
#[derive(Debug, Default)]
struct Happened {
    /// Users whose keys changed, wherever they are.
    keys: BTreeSet<OwnedUserId>,
    /// The client's own standing changed in these rooms.
    own_rooms: BTreeSet<OwnedRoomId>,
    /// Others' standing changed in rooms of the client.
    neighbours: BTreeSet<(OwnedRoomId, OwnedUserId)>,
}

/// What changed for a user's clients in `(from, to]`.
pub async fn device_list_changes(
    server: &Server,
    user_id: &UserId,
    from: Position,
    to: Position,
) -> Result<DeviceListChanges, StorageError> {
    if from >= to {
        return Ok(DeviceListChanges::default());
    }
    let cell = server
        .feed
        .user(&*server.store, user_id, server.clock.now())
        .await?;
    let happened = match cell.touches(from, to) {
        Some(touches) => from_touches(touches),
        None => from_storage(server, user_id, from, to).await?,
    };
    if happened.keys.is_empty() && happened.own_rooms.is_empty() && happened.neighbours.is_empty() {
        return Ok(DeviceListChanges::default());
    }
    let memberships = cell.memberships();
    let shared: BTreeSet<OwnedRoomId> = cell.joined_rooms().into_iter().collect();
    // Who shares a room for certain, who perhaps does, and who perhaps does not any more.
    let mut met = BTreeSet::new();
    let mut changed: BTreeSet<OwnedUserId> = happened.keys;
    let mut parted: BTreeSet<OwnedUserId> = BTreeSet::new();
    for (room_id, neighbour) in happened.neighbours {
        if neighbour == user_id {
            continue;
        }
        let room = match shared.contains(&room_id) {
            true => server.rooms.room(&room_id).await?,
            false => None,
        };
        match room.and_then(|room| room.state.membership(&neighbour)) {
            Some(Membership::Join) => {
                met.insert(neighbour);
            }
            Some(Membership::Leave | Membership::Ban) | None => {
                parted.insert(neighbour);
            }
            Some(Membership::Invite | Membership::Knock) => {}
        }
    }
    for room_id in happened.own_rooms {
        let before = joined_by(server, user_id, &room_id, from).await?;
        let now = memberships.get(&room_id);
        let now = now.filter(|now| now.membership == Membership::Join);
        let others = match (&before, now) {
            (None, None) => continue,
            (Some(before), Some(now)) if stayed(server, before, &now.event_id).await? => continue,
            (_, Some(_)) => &mut met,
            (Some(_), None) => &mut parted,
        };
        if let Some(room) = server.rooms.room(&room_id).await? {
            others.extend(
                room.state
                    .joined_members()
                    .map(|(member, _)| member.to_owned()),
            );
        }
    }
    changed.retain(|other| !met.contains(other));
    if changed.remove(user_id) {
        met.insert(user_id.to_owned());
    }
    parted.retain(|other| other != user_id && !met.contains(other));
    let asked = changed.union(&parted).cloned().collect();
    let sharing = server.members_among(&shared, asked).await?;
    met.extend(changed.into_iter().filter(|other| sharing.contains(other)));
    Ok(DeviceListChanges {
        changed: met.into_iter().collect(),
        left: parted
            .into_iter()
            .filter(|other| !sharing.contains(other))
            .collect(),
    })
}

fn from_touches(touches: BTreeSet<Arc<UserTouch>>) -> Happened {
    let mut happened = Happened::default();
    for touch in touches {
        match &*touch {
            UserTouch::DeviceList(user_id) => {
                happened.keys.insert(user_id.clone());
            }
            UserTouch::Membership(room_id) => {
                happened.own_rooms.insert(room_id.clone());
            }
            UserTouch::Neighbour(room_id, user_id) => {
                let neighbour = (room_id.clone(), user_id.clone());
                happened.neighbours.insert(neighbour);
            }
            UserTouch::Timeline(_)
            | UserTouch::Receipts(_)
            | UserTouch::Typing(_)
            | UserTouch::AccountData
            | UserTouch::ToDevice(_)
            | UserTouch::OneTimeKeys(_)
            | UserTouch::Presence(_) => {}
        }
    }
    happened
}

/// The same for a stretch that is too long ago for the feed: the states of the rooms are compared.
async fn from_storage(
    server: &Server,
    user_id: &UserId,
    from: Position,
    to: Position,
) -> Result<Happened, StorageError> {
    let store = &server.store;
    let changes = store.changes_for(user_id, from, to).await?;
    let mut happened = Happened {
        keys: store
            .device_list_changes(user_id, from, to)
            .await?
            .into_iter()
            .collect(),
        own_rooms: changes
            .memberships
            .into_iter()
            .map(|own| own.room_id)
            .collect(),
        neighbours: BTreeSet::new(),
    };
    let timelines: BTreeSet<OwnedRoomId> = changes.timelines.into_iter().collect();
    for room_id in timelines.union(&happened.own_rooms) {
        for neighbour in changed_members(server, room_id, from, to).await? {
            if neighbour != user_id {
                happened.neighbours.insert((room_id.clone(), neighbour));
            }
        }
    }
    Ok(happened)
}

/// Users whose member events in a room differ between two commits.
async fn changed_members(
    server: &Server,
    room_id: &RoomId,
    from: Position,
    to: Position,
) -> Result<Vec<OwnedUserId>, StorageError> {
    let Some(last) = last_event(server, room_id, to).await? else {
        return Ok(Vec::new());
    };
    let first = last_event(server, room_id, from).await?;
    let after = |event_id| StateOf {
        event_id,
        side: StateSide::After,
    };
    let entries = server
        .store
        .state_difference(first.map(after), after(last))
        .await?;
    let members = entries.unwrap_or_default().into_iter().filter_map(|event| {
        let key = event
            .state_key
            .as_deref()
            .filter(|_| &*event.kind == "m.room.member")?;
        UserId::parse(key).ok()
    });
    Ok(members.collect())
}

/// The newest timeline event of a room in commits up to `at`.
async fn last_event(
    server: &Server,
    room_id: &RoomId,
    at: Position,
) -> Result<Option<OwnedEventId>, StorageError> {
    let page = TimelinePage {
        room_id: room_id.to_owned(),
        from: Seq(i64::MAX),
        until: None,
        up_to: at,
        direction: Direction::Backward,
        limit: 1,
    };
    let stored = server.store.timeline(page).await?;
    Ok(stored
        .into_iter()
        .next()
        .map(|stored| stored.event.id.clone()))
}

/// The event that made a user a member of a room, if they were one at a commit.
async fn joined_by(
    server: &Server,
    user_id: &UserId,
    room_id: &RoomId,
    at: Position,
) -> Result<Option<OwnedEventId>, StorageError> {
    let Some(event_id) = last_event(server, room_id, at).await? else {
        return Ok(None);
    };
    let of = StateOf {
        event_id,
        side: StateSide::After,
    };
    let wanted = StateWanted::Keys(vec![StateKey::new("m.room.member", user_id.as_str())]);
    let entries = server.store.state_at(of, wanted).await?.unwrap_or_default();
    let member = entries
        .first()
        .filter(|event| membership_of(event) == Some(Membership::Join));
    Ok(member.map(|event| event.id.clone()))
}

/// Whether a user who is a member by `now`, and once was by `before`, was one all the time.
async fn stayed(server: &Server, before: &EventId, now: &EventId) -> Result<bool, StorageError> {
    #[derive(Deserialize)]
    struct Unsigned {
        replaces_state: OwnedEventId,
    }
    let mut event_id = now.to_owned();
    for _ in 0..OWN_CHANGES_MAX {
        if event_id == *before {
            return Ok(true);
        }
        let found = server.store.events(std::slice::from_ref(&event_id)).await?;
        let Some(stored) = found.first() else {
            return Ok(false);
        };
        if membership_of(&stored.event) != Some(Membership::Join) {
            return Ok(false);
        }
        let unsigned = stored.event.unsigned.as_deref();
        let unsigned = unsigned.and_then(|json| serde_json::from_str::<Unsigned>(json.get()).ok());
        match unsigned {
            Some(unsigned) => event_id = unsigned.replaces_state,
            None => return Ok(false),
        }
    }
    Ok(false)
}
