//! All questions about a world, with the answers as text.

use std::fmt::Debug;

use lyceum_model::{Position, Seq, StateKey, Timestamp, TransactionId};
use ruma_common::{OwnedDeviceId, OwnedEventId, OwnedRoomId, OwnedUserId};

use super::{
    chance::Chance,
    world::{
        TICKETS, TOKENS, World, addresses, aliases, devices, event_id, key_ids, kinds, media,
        secrets, sessions, settings, transactions, users,
    },
};
use crate::{
    Direction, MediaPage, RoomPage, StateOf, StateSide, StateWanted, Store, TimelinePage, UserPage,
    UserSelection,
};

/// Events asked for by themselves in each room.
const EVENTS_A_ROOM: usize = 4;

/// A question and its answer.
pub(super) struct Asked {
    pub(super) question: String,
    pub(super) answer: String,
}

/// Puts questions to one store.
pub(super) struct Questions<'a> {
    store: &'a dyn Store,
    world: &'a World,
    chance: Chance,
    newest: u64,
    asked: Vec<Asked>,
}

/// Puts all kinds of questions, the same for the same seed and world.
pub(super) async fn ask_all(
    store: &dyn Store,
    world: &World,
    seed: u64,
    newest: u64,
) -> Vec<Asked> {
    let chance = Chance::new(seed);
    let mut questions = Questions {
        store,
        world,
        chance,
        newest,
        asked: Vec::new(),
    };
    for index in 0..world.rooms.len() {
        questions.ask_about_room(index).await;
    }
    questions.ask_about_rooms().await;
    for user_id in users() {
        questions.ask_about_user(&user_id).await;
        questions.ask_about_keys(&user_id).await;
    }
    questions.ask_about_users().await;
    questions.ask_about_many_users().await;
    questions.ask_by_name().await;
    questions.ask_about_media().await;
    questions.asked
}

impl Questions<'_> {
    fn note(&mut self, question: String, answer: &impl Debug) {
        self.asked.push(Asked {
            question,
            answer: format!("{answer:#?}"),
        });
    }

    /// A position up to the newest one, often an end.
    fn position(&mut self) -> Position {
        match self.chance.below(4) {
            0 => Position(self.newest),
            1 => Position(0),
            _ => Position(self.chance.below(self.newest as usize + 1) as u64),
        }
    }

    /// Two positions in order.
    fn stretch(&mut self) -> (Position, Position) {
        let (a, b) = (self.position(), self.position());
        (a.min(b), a.max(b))
    }

    fn some_users(&mut self) -> Vec<OwnedUserId> {
        self.chance.some(&users(), 4)
    }

    async fn ask_about_room(&mut self, index: usize) {
        let room = &self.world.rooms[index];
        let room_id = room.room_id.clone();
        let store = self.store;
        self.note(format!("room({room_id})"), &store.room(&room_id).await);
        self.note(
            format!("aliases({room_id})"),
            &store.aliases(&room_id).await,
        );
        self.note(format!("typing({room_id})"), &store.typing(&room_id).await);
        let at = self.position();
        self.note(
            format!("seq_at({room_id}, {at:?})"),
            &store.seq_at(&room_id, at).await,
        );
        let end = Position(u64::from(u32::MAX));
        self.note(
            format!("seq_at({room_id}, {end:?})"),
            &store.seq_at(&room_id, end).await,
        );
        for _ in 0..4 {
            self.ask_for_timeline(&room_id).await;
        }
        let mut known: Vec<_> = room.events.iter().map(|made| made.event.clone()).collect();
        let mut ids = vec![event_id(&mut self.chance)];
        for _ in 0..EVENTS_A_ROOM {
            if known.is_empty() {
                break;
            }
            let event = known.swap_remove(self.chance.below(known.len()));
            ids.push(event.id.clone());
            self.ask_about_event(&event.id).await;
        }
        // Those that others relate to are not left to chance.
        let parents = room
            .events
            .iter()
            .rev()
            .filter_map(|made| made.event.relates_to.as_ref());
        for relation in parents.take(3) {
            self.ask_for_relations(&relation.parent).await;
        }
        self.note(format!("events({ids:?})"), &store.events(&ids).await);
        self.note(format!("related({ids:?})"), &store.related(&ids).await);
        for _ in 0..2 {
            let from = self.any_state_of(index);
            let to = self.any_state_of(index).unwrap_or_else(|| StateOf {
                event_id: event_id(&mut self.chance),
                side: StateSide::After,
            });
            let answer = store.state_difference(from.clone(), to.clone()).await;
            self.note(format!("state_difference({from:?}, {to:?})"), &answer);
        }
    }

    fn any_state_of(&mut self, index: usize) -> Option<StateOf> {
        let event = self.world.rooms[index].any_event(&mut self.chance)?;
        let side = *self.chance.pick(&[StateSide::Before, StateSide::After]);
        (!self.chance.one_in(6)).then(|| StateOf {
            event_id: event.id.clone(),
            side,
        })
    }

    async fn ask_for_timeline(&mut self, room_id: &OwnedRoomId) {
        let chance = &mut self.chance;
        let mut seq = || Seq(chance.below(60) as i64 - 12);
        let (from, until) = (seq(), seq());
        let direction = *self.chance.pick(&[Direction::Backward, Direction::Forward]);
        let ends = match direction {
            Direction::Backward => [Seq(i64::MAX), from],
            Direction::Forward => [Seq(i64::MIN), from],
        };
        let page = TimelinePage {
            room_id: room_id.clone(),
            from: *self.chance.pick(&ends),
            until: self.chance.one_in(3).then_some(until),
            up_to: self.position(),
            direction,
            limit: *self.chance.pick(&[0, 1, 5, 1000]),
        };
        self.note(
            format!("{page:#?}"),
            &self.store.timeline(page.clone()).await,
        );
    }

    async fn ask_about_event(&mut self, event_id: &OwnedEventId) {
        let store = self.store;
        for side in [StateSide::Before, StateSide::After] {
            let of = StateOf {
                event_id: event_id.clone(),
                side,
            };
            let wanted = if self.chance.one_in(3) {
                StateWanted::Keys(vec![
                    StateKey::new("m.room.member", self.chance.pick(&users()).as_str()),
                    StateKey::new("m.room.create", ""),
                    StateKey::new("org.example.note", "B"),
                    StateKey::new("m.room.never", "b"),
                ])
            } else {
                StateWanted::All
            };
            let answer = store.state_at(of.clone(), wanted.clone()).await;
            self.note(format!("state_at({of:?}, {wanted:?})"), &answer);
        }
        let ids = [event_id.clone()];
        self.note(format!("events({ids:?})"), &store.events(&ids).await);
        self.ask_for_relations(event_id).await;
    }

    async fn ask_for_relations(&mut self, parent: &OwnedEventId) {
        let kind = *self
            .chance
            .pick(&[None, None, Some("m.annotation"), Some("m.thread")]);
        let before = self
            .chance
            .one_in(3)
            .then(|| Seq(self.chance.below(40) as i64 - 5));
        let limit = *self.chance.pick(&[1, 3, 100]);
        let answer = self.store.relations(parent, kind, before, limit).await;
        self.note(
            format!("relations({parent}, {kind:?}, {before:?}, {limit})"),
            &answer,
        );
    }

    async fn ask_about_rooms(&mut self) {
        let rooms = &self.world.rooms;
        for only_published in [false, true] {
            let after = self
                .chance
                .one_in(2)
                .then(|| self.chance.pick(rooms).room_id.clone());
            let limit = *self.chance.pick(&[0, 1, 3, 100]);
            let page = RoomPage {
                after,
                only_published,
                limit,
            };
            self.note(format!("{page:?}"), &self.store.rooms(page.clone()).await);
        }
        let ids: Vec<OwnedRoomId> = rooms.iter().map(|room| room.room_id.clone()).collect();
        for ids in [self.chance.some(&ids, 3), ids, Vec::new()] {
            let (from, to) = self.stretch();
            let answer = self.store.receipts(&ids, from, to).await;
            self.note(format!("receipts({ids:?}, {from:?}, {to:?})"), &answer);
        }
        for room in rooms {
            let user_id = self.chance.pick(&users()).clone();
            let room_id = &room.room_id;
            let answer = self.store.revision(room_id).await;
            self.note(format!("revision({room_id})"), &answer);
            let answer = self.store.receipts_of(room_id, &user_id).await;
            self.note(format!("receipts_of({room_id}, {user_id})"), &answer);
        }
    }

    async fn ask_about_user(&mut self, user_id: &OwnedUserId) {
        let store = self.store;
        self.note(format!("user({user_id})"), &store.user(user_id).await);
        self.note(
            format!("memberships({user_id})"),
            &store.memberships(user_id).await,
        );
        self.note(
            format!("tokens_of({user_id})"),
            &store.tokens_of(user_id).await,
        );
        self.note(format!("unread({user_id})"), &store.unread(user_id).await);
        self.note(
            format!("threepids({user_id})"),
            &store.threepids(user_id).await,
        );
        for _ in 0..2 {
            let (from, to) = self.stretch();
            let answer = store.changes_for(user_id, from, to).await;
            self.note(format!("changes_for({user_id}, {from:?}, {to:?})"), &answer);
            let answer = store.account_data(user_id, from, to).await;
            self.note(
                format!("account_data({user_id}, {from:?}, {to:?})"),
                &answer,
            );
        }
        let room_id = self.chance.pick(&self.world.rooms).room_id.clone();
        for room_id in [None, Some(&*room_id)] {
            let kind = self.chance.pick(&kinds()).clone();
            let answer = store.account_data_entry(user_id, room_id, &kind).await;
            self.note(
                format!("account_data_entry({user_id}, {room_id:?}, {kind})"),
                &answer,
            );
        }
        let filter_id = self.chance.pick(&secrets()).clone();
        let answer = store.filter(user_id, &filter_id).await;
        self.note(format!("filter({user_id}, {filter_id})"), &answer);
    }

    async fn ask_about_keys(&mut self, user_id: &OwnedUserId) {
        let store = self.store;
        for device_id in devices() {
            let answer = store.key_counts(user_id, &device_id).await;
            self.note(format!("key_counts({user_id}, {device_id})"), &answer);
            let to = self.position();
            let limit = *self.chance.pick(&[1, 2, 100]);
            let answer = store.to_device(user_id, &device_id, to, limit).await;
            self.note(
                format!("to_device({user_id}, {device_id}, {to:?}, {limit})"),
                &answer,
            );
            let answer = store.to_device_count(user_id, &device_id).await;
            self.note(format!("to_device_count({user_id}, {device_id})"), &answer);
        }
        let device_id = self.chance.pick(&devices()).clone();
        let key_ids = self.chance.some(&key_ids(), 4);
        let answer = store.one_time_keys(user_id, &device_id, &key_ids).await;
        self.note(
            format!("one_time_keys({user_id}, {device_id}, {key_ids:?})"),
            &answer,
        );
        let answer = store.newest_backup_number(user_id).await;
        self.note(format!("newest_backup_number({user_id})"), &answer);
        let version = 1 + self.chance.below(3) as u64;
        for version in [None, Some(version)] {
            let answer = store.backup(user_id, version).await;
            self.note(format!("backup({user_id}, {version:?})"), &answer);
        }
        let room_id = self.chance.pick(&self.world.rooms).room_id.clone();
        let session_id = self.chance.pick(&sessions()).clone();
        for (room_id, session_id) in [
            (None, None),
            (Some(&*room_id), None),
            (Some(&*room_id), Some(session_id.as_str())),
            (None, Some(session_id.as_str())),
        ] {
            let answer = store
                .backup_sessions(user_id, version, room_id, session_id)
                .await;
            let named = format!("{user_id}, {version}, {room_id:?}, {session_id:?}");
            self.note(format!("backup_sessions({named})"), &answer);
        }
    }

    async fn ask_about_users(&mut self) {
        let store = self.store;
        let parts = [
            "",
            "ALICE",
            "ä",
            "_",
            "%",
            "one.example",
            "bob",
            "\\",
            "100%",
            "7",
        ];
        for part in parts {
            let limit = *self.chance.pick(&[1, 3, 100]);
            let selection = UserSelection {
                name_contains: (!self.chance.one_in(3)).then(|| part.to_owned()),
                with_deactivated: self.chance.one_in(2),
                is_admin: *self.chance.pick(&[None, Some(true), Some(false)]),
                is_locked: *self.chance.pick(&[None, Some(true), Some(false)]),
            };
            let answer = store.user_count(selection.clone()).await;
            self.note(format!("user_count({selection:?})"), &answer);
            let after = self
                .chance
                .one_in(2)
                .then(|| self.chance.pick(&users()).clone());
            let page = UserPage {
                selection,
                after,
                limit,
            };
            self.note(format!("{page:?}"), &store.users(page.clone()).await);
        }
    }

    async fn ask_about_many_users(&mut self) {
        let store = self.store;
        for ids in [users(), self.some_users(), Vec::new()] {
            self.note(format!("profiles({ids:?})"), &store.profiles(&ids).await);
            self.note(format!("devices({ids:?})"), &store.devices(&ids).await);
            self.note(format!("presence({ids:?})"), &store.presence(&ids).await);
            self.note(
                format!("device_keys({ids:?})"),
                &store.device_keys(&ids).await,
            );
            let answer = store.cross_signing_keys(&ids).await;
            self.note(format!("cross_signing_keys({ids:?})"), &answer);
            self.note(
                format!("signatures({ids:?})"),
                &store.signatures(&ids).await,
            );
        }
        for _ in 0..2 {
            let (from, to) = self.stretch();
            let limit = *self.chance.pick(&[1, 2, 100]);
            let answer = store.presence_changes(from, to, limit).await;
            self.note(
                format!("presence_changes({from:?}, {to:?}, {limit})"),
                &answer,
            );
            let viewer = self.chance.pick(&users()).clone();
            let answer = store.device_list_changes(&viewer, from, to).await;
            self.note(
                format!("device_list_changes({viewer}, {from:?}, {to:?})"),
                &answer,
            );
        }
        let mut wanted: Vec<(OwnedUserId, OwnedDeviceId, String)> = Vec::new();
        for user_id in self.some_users() {
            for device_id in devices() {
                for algorithm in ["signed_curve25519", "curve25519", "none"] {
                    wanted.push((user_id.clone(), device_id.clone(), algorithm.to_owned()));
                }
            }
        }
        let answer = store.claimable_keys(&wanted).await;
        self.note(format!("claimable_keys({wanted:?})"), &answer);
    }

    async fn ask_by_name(&mut self) {
        let store = self.store;
        for alias in aliases() {
            self.note(format!("alias({alias})"), &store.alias(&alias).await);
        }
        let mut ids = transactions();
        ids.push(TransactionId {
            scope: "other".to_owned(),
            ..ids[0].clone()
        });
        for id in ids {
            self.note(
                format!("transaction({id:?})"),
                &store.transaction(&id).await,
            );
        }
        for number in 0..TOKENS {
            self.note(
                format!("token({number})"),
                &store.token(&[number as u8; 32]).await,
            );
        }
        for secret in secrets() {
            for kind in TICKETS {
                let answer = store.ticket(kind, &secret).await;
                self.note(format!("ticket({kind:?}, {secret})"), &answer);
            }
            let answer = store.registration_token(&secret).await;
            self.note(format!("registration_token({secret})"), &answer);
        }
        let answer = store.registration_tokens().await;
        self.note("registration_tokens".to_owned(), &answer);
        for address in addresses() {
            let answer = store.threepid("email", &address).await;
            self.note(format!("threepid({address})"), &answer);
        }
        for key in settings() {
            self.note(format!("setting({key})"), &store.setting(&key).await);
        }
    }

    async fn ask_about_media(&mut self) {
        let store = self.store;
        let hashes: Vec<[u8; 32]> = (0..=255).map(|byte| [byte; 32]).collect();
        let named = store.named_bytes(&hashes).await;
        self.note("named_bytes".to_owned(), &named);
        for sha256 in named.iter().flatten().chain(hashes.first()) {
            let by = store.quarantine_of(sha256).await;
            self.note(format!("quarantine_of({})", sha256[0]), &by);
        }
        for id in media() {
            self.note(format!("media({id:?})"), &store.media(&id).await);
        }
        for _ in 0..2 {
            let page = MediaPage {
                uploader: self
                    .chance
                    .one_in(2)
                    .then(|| self.chance.pick(&users()).clone()),
                after: self
                    .chance
                    .one_in(2)
                    .then(|| self.chance.pick(&media()).clone()),
                limit: *self.chance.pick(&[0, 1, 2, 100]),
            };
            self.note(format!("{page:?}"), &store.media_list(page.clone()).await);
            let user_id = self.chance.pick(&users()).clone();
            let now = Timestamp(self.world.now);
            let answer = store.pending_uploads(&user_id, now).await;
            self.note(format!("pending_uploads({user_id}, {now:?})"), &answer);
        }
    }
}
