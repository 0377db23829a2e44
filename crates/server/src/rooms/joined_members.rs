//! The answer of `GET /rooms/{roomId}/joined_members`, kept ready: Moodle asks for it once for
//! each person that it brings into a room.
//!
//! Each member's piece is made once. A later answer begins from the last one and looks only at the
//! members that changed since: who joined comes at the end, so that n questions about n members
//! cost no more than copying the answers.
//!
//! A learning platform gets members whose name has a `+` once more, as it spells them.

use std::{
    collections::{BTreeSet, HashMap},
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
    pieces: HashMap<Box<str>, Box<[u8]>>,
    /// Members whom a platform spells otherwise, as it does.
    spellings: BTreeSet<String>,
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
        let mut is_rewritten = self.pieces.is_empty();
        let mut joined = Vec::new();
        for (user_id, member) in state.members_changed_since(&self.state) {
            let piece = member
                .filter(|member| member.membership == Membership::Join)
                .and_then(|member| piece_of(user_id, member));
            let spelling = provisioning::platform_spelling(user_id);
            if let Some(piece) = piece {
                joined.push(b',');
                joined.extend_from_slice(&piece);
                is_rewritten |= self.pieces.insert(user_id.into(), piece).is_some();
                self.spellings.extend(spelling);
            } else {
                is_rewritten |= self.pieces.remove(user_id).is_some();
                if let Some(spelling) = spelling {
                    self.spellings.remove(&spelling);
                }
            }
        }
        self.state = state.clone();
        let body = self.body.strip_suffix(AFTER);
        self.body = match body {
            Some(_) if !is_rewritten && joined.is_empty() => return,
            Some(body) if !is_rewritten => [body, &joined, AFTER].concat().into(),
            _ => self.written(),
        };
        self.platform_body = self.written_for_platform();
    }

    fn body_for(&self, reader: Reader) -> Bytes {
        match reader {
            Reader::Client => self.body.clone(),
            Reader::Platform => self.platform_body.clone(),
        }
    }

    /// The body with a platform's spellings added; mostly there are none, and it is the same one.
    fn written_for_platform(&self) -> Bytes {
        match self.body.strip_suffix(AFTER) {
            Some(body) if !self.spellings.is_empty() => {
                let mut platform_body = body.to_vec();
                for spelling in &self.spellings {
                    platform_body.extend(format!(",{}:{{}}", Value::from(&**spelling)).bytes());
                }
                platform_body.extend_from_slice(AFTER);
                platform_body.into()
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

#[cfg(test)]
mod tests {
    use lyceum_testkit::{Scene, user};
    use proptest::prelude::*;

    use super::*;

    fn parsed(body: &Bytes) -> Value {
        serde_json::from_slice(body).expect("an answer is JSON")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// However members come, go and change, in whatever steps it is asked for, the answer is
        /// the one that is written from the room as it is.
        #[test]
        fn what_is_kept_is_what_is_there(
            acts in prop::collection::vec((0_usize..6, 0..5), 1..40),
            asked in prop::collection::vec(any::<bool>(), 40),
        ) {
            let people = ["alice", "b+ob", "carol", "d+a+n", "erin", "frank"].map(user);
            let mut scene = Scene::public();
            let mut kept = Kept::default();
            for ((who, act), is_asked) in acts.into_iter().zip(asked) {
                let who = &people[who];
                // What may not be is no matter here.
                let _ = match act {
                    0 | 1 => scene.try_join(who, lyceum_room::Join::default()).is_ok(),
                    2 => scene.try_leave(who).is_ok(),
                    3 => scene.try_kick(&people[0], who).is_ok(),
                    _ => {
                        let content = serde_json::json!({
                            "membership": "join",
                            "displayname": format!("{who} {}", scene.now.0),
                        });
                        scene.try_set(who, "m.room.member", who.as_str(), content).is_ok()
                    }
                };
                if !is_asked {
                    continue;
                }
                kept.follow(&scene.room.state);
                let mut fresh = Kept::default();
                fresh.follow(&scene.room.state);
                for reader in [Reader::Client, Reader::Platform] {
                    let (kept, fresh) = (kept.body_for(reader), fresh.body_for(reader));
                    prop_assert_eq!(parsed(&kept), parsed(&fresh));
                    prop_assert_eq!(kept.len(), fresh.len(), "nobody is named twice");
                }
                let joined = scene.room.state.joined_count();
                let answer = parsed(&kept.body_for(Reader::Client));
                prop_assert_eq!(answer["joined"].as_object().map(|all| all.len() as u64), Some(joined));
            }
        }
    }
}
