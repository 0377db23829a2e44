//! The answer of `GET /rooms/{roomId}/joined_members`, kept ready: Moodle asks for it once for
//! each person that it brings into a room.
//!
//! Each member's piece is made once. A later answer begins from the last one and looks only at the
//! members that changed since, so that n questions about n members cost no more than writing them
//! out.
//!
//! A learning platform gets members whose name has a `+` once more, as it spells them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use lyceum_model::Membership;
use lyceum_room::{Member, Room, State, member_content};
use lyceum_sync::history::joined_members;
use parking_lot::Mutex;
use ruma_common::{OwnedRoomId, UserId};
use serde_json::Value;

use crate::{Server, administration::provisioning};

/// Rooms with fewer members are written out anew each time.
const MEMBERS_MIN: u64 = 32;
/// How many rooms are kept.
const ROOMS_MAX: usize = 64;
/// How many bytes of answers are kept.
const BYTES_MAX: usize = 32 * 1024 * 1024;
/// What stands before and after the members.
const BEFORE: &[u8] = b"{\"joined\":{";
const AFTER: &[u8] = b"}}";

/// The answers.
#[derive(Debug, Default)]
pub(crate) struct JoinedMembers(Mutex<HashMap<OwnedRoomId, Arc<Mutex<Kept>>>>);

/// What was last answered about a room.
#[derive(Debug, Default)]
struct Kept {
    state: State,
    pieces: BTreeMap<Box<str>, Box<[u8]>>,
    body: Bytes,
    platform_body: Bytes,
}

/// Who reads the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// A client.
    Client,
    /// A learning platform, which looks its people up by its own spelling.
    Platform,
}

impl Server {
    /// The members of a room, as the answer of `/joined_members`.
    pub fn joined_members_of(&self, room: &Room, reader: Reader) -> Bytes {
        if room.state.joined_count() < MEMBERS_MIN {
            let mut kept = Kept::default();
            kept.follow(&room.state);
            return kept.body_for(reader);
        }
        let kept = self.joined_members.of(room);
        let mut kept = kept.lock();
        kept.follow(&room.state);
        kept.body_for(reader)
    }
}

impl JoinedMembers {
    fn of(&self, room: &Room) -> Arc<Mutex<Kept>> {
        let mut rooms = self.0.lock();
        if let Some(kept) = rooms.get(&room.room_id) {
            return kept.clone();
        }
        // What somebody is using counts as small; it is counted the next time.
        let bytes: usize = rooms
            .values()
            .filter_map(|kept| Some(2 * kept.try_lock()?.body.len()))
            .sum();
        if rooms.len() >= ROOMS_MAX || bytes > BYTES_MAX {
            rooms.clear();
        }
        let kept = Arc::new(Mutex::new(Kept::default()));
        rooms.insert(room.room_id.clone(), kept.clone());
        kept
    }
}

impl Kept {
    fn follow(&mut self, state: &State) {
        let mut is_changed = self.body.is_empty();
        for (user_id, member) in state.members_changed_since(&self.state) {
            is_changed = true;
            match member {
                Some(member) if member.membership == Membership::Join => {
                    if let Some(piece) = piece_of(user_id, member) {
                        self.pieces.insert(user_id.into(), piece);
                    }
                }
                _ => {
                    self.pieces.remove(user_id);
                }
            }
        }
        self.state = state.clone();
        if is_changed {
            self.body = self.written();
            self.platform_body = self.written_for_platform();
        }
    }

    fn body_for(&self, reader: Reader) -> Bytes {
        match reader {
            Reader::Client => self.body.clone(),
            Reader::Platform => self.platform_body.clone(),
        }
    }

    /// The body with a platform's spellings added; mostly there are none, and it is the same one.
    fn written_for_platform(&self) -> Bytes {
        let spellings: Vec<String> = self
            .pieces
            .keys()
            .filter_map(|user_id| provisioning::platform_spelling(user_id))
            .map(|spelling| format!(",{}:{{}}", Value::from(spelling)))
            .collect();
        match self.body.strip_suffix(AFTER) {
            Some(body) if !spellings.is_empty() => {
                [body, spellings.concat().as_bytes(), AFTER].concat().into()
            }
            _ => self.body.clone(),
        }
    }

    fn written(&self) -> Bytes {
        let length: usize = self.pieces.values().map(|piece| piece.len() + 1).sum();
        let mut body = Vec::with_capacity(BEFORE.len() + length + AFTER.len());
        body.extend_from_slice(BEFORE);
        for (index, piece) in self.pieces.values().enumerate() {
            if index > 0 {
                body.push(b',');
            }
            body.extend_from_slice(piece);
        }
        body.extend_from_slice(AFTER);
        body.into()
    }
}

/// A member's part of the answer.
fn piece_of(user_id: &str, member: &Member) -> Option<Box<[u8]>> {
    let user_id = <&UserId>::try_from(user_id).ok()?;
    let content = member_content(&member.event);
    let (name, url) = (
        content.displayname.as_deref(),
        content.avatar_url.as_deref(),
    );
    let whole = joined_members([(user_id, name, url)]);
    let piece = whole.strip_prefix(BEFORE)?.strip_suffix(AFTER)?;
    Some(piece.into())
}
