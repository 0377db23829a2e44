//! Making rooms: `POST /createRoom` and upgrades.

use std::sync::atomic::Ordering;

use lyceum_model::{Batch, MatrixError, Timestamp};
use lyceum_room::{CreateRoom, Decision, Draft, Preset, Profile, Upgrade};
use lyceum_storage::CommitError;
use ruma_common::{OwnedRoomAliasId, OwnedRoomId, OwnedUserId, RoomId, RoomVersionId, UserId};
use serde_json::value::RawValue;

use super::send::{bad_alias, claimed_aliases, membership_in};
use crate::{Server, chance, rooms::RoomError, sessions::Session};

/// Another node may make an equal room in the same millisecond; then another moment is tried.
const CREATION_ATTEMPTS_MAX: usize = 5;

/// How many users a room is made with, and how many pieces of further state.
const INVITES_MAX: usize = 1_000;
const INITIAL_STATE_MAX: usize = 1_000;

/// A wish for a room.
#[derive(Debug, Clone, Default)]
pub struct NewRoom {
    /// The version; the configured default if none.
    pub version: Option<RoomVersionId>,
    /// The preset.
    pub preset: Option<Preset>,
    /// Whether it is to be in the directory.
    pub is_public: bool,
    /// Its name.
    pub name: Option<String>,
    /// Its topic.
    pub topic: Option<String>,
    /// Its first alias.
    pub alias: Option<OwnedRoomAliasId>,
    /// Who is invited.
    pub invites: Vec<OwnedUserId>,
    /// Further state.
    pub initial_state: Vec<Draft>,
    /// Keys for the create event.
    pub creation_content: Option<Box<RawValue>>,
    /// Keys for the power levels.
    pub power_level_content_override: Option<Box<RawValue>>,
    /// Whether the invites are to a direct chat.
    pub is_direct: bool,
}

impl Server {
    /// Makes a room and joins its creator to it.
    pub async fn create_room(
        &self,
        session: &Session,
        mut wish: NewRoom,
    ) -> Result<OwnedRoomId, RoomError> {
        let creator = &session.user_id;
        if session.is_shadow_banned {
            wish.invites.clear();
        }
        if wish.invites.len() > INVITES_MAX || wish.initial_state.len() > INITIAL_STATE_MAX {
            let why = format!(
                "A room is made with at most {INVITES_MAX} invites and {INITIAL_STATE_MAX} pieces \
                 of state"
            );
            return Err(MatrixError::invalid_param(why).into());
        }
        for invited in &wish.invites {
            self.may_be_invited(creator, invited).await?;
        }
        self.check_initial_state(session, &mut wish).await?;
        if let Some(alias) = &wish.alias {
            self.may_claim_alias(creator, alias)?;
        }
        let version = wish.version.clone();
        let version = version.unwrap_or_else(|| self.config.rooms.default_version.clone());
        let mut request = CreateRoom::new(creator.clone(), version);
        request.preset = wish.preset;
        request.is_public = wish.is_public;
        request.name = wish.name;
        request.topic = wish.topic;
        request.room_alias = wish.alias;
        request.initial_state = wish.initial_state;
        request.creation_content = wish.creation_content;
        request.power_level_content_override = wish.power_level_content_override;
        request.is_direct = wish.is_direct;
        request.creator_profile = self.profile(creator).await?;
        for invited in wish.invites {
            let profile = self.profile(&invited).await?;
            request.invites.push((invited, profile));
        }
        for _ in 0..CREATION_ATTEMPTS_MAX {
            let moment = self.moment_of_creation();
            let entropy = chance::bytes();
            let decision = lyceum_room::create(request.clone(), &self.signer, moment, entropy)?;
            match self.rooms.found(decision).await {
                Ok((decision, _)) => {
                    let room_id = decision.room.room_id;
                    self.take_settings_over(creator, &room_id).await;
                    return Ok(room_id);
                }
                Err(RoomError::Commit(CommitError::Stale(expect))) => {
                    if let lyceum_model::Expect::AliasAbsent(alias) = expect {
                        let why = format!("The alias {alias} is already taken");
                        return Err(MatrixError::room_in_use(why).into());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(MatrixError::internal("The room could not be made; please try again").into())
    }

    /// Further state may not do what its own endpoints refuse: invite who cannot be invited, or
    /// claim an alias that will not name the room.
    async fn check_initial_state(
        &self,
        session: &Session,
        wish: &mut NewRoom,
    ) -> Result<(), RoomError> {
        let invites = |draft: &Draft| {
            let (user_id, membership) = membership_in(draft)?;
            (membership == "invite").then_some(user_id)
        };
        if session.is_shadow_banned {
            wish.initial_state.retain(|draft| invites(draft).is_none());
        }
        for draft in &wish.initial_state {
            if let Some(invited) = invites(draft) {
                self.may_be_invited(&session.user_id, &invited).await?;
            }
            if draft.kind != "m.room.canonical_alias" {
                continue;
            }
            let named = wish.alias.as_ref().map(|alias| alias.as_str());
            let claimed = claimed_aliases(&draft.content)?;
            if let Some(other) = claimed.iter().find(|alias| Some(&***alias) != named) {
                return Err(bad_alias(other).into());
            }
        }
        Ok(())
    }

    /// A time that no other room of this node has: from version 12 on a room's id is a hash of its
    /// creation, and two rooms of one user may be equal but for the time.
    fn moment_of_creation(&self) -> Timestamp {
        let now = self.clock.now().0;
        let next = |last: u64| Some(now.max(last + 1));
        let last = self
            .last_creation
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, next);
        Timestamp(now.max(last.unwrap_or_default() + 1))
    }

    /// Replaces a room by one of another version. If somebody else does the same meanwhile, there is
    /// one replacement for both.
    pub async fn upgrade_room(
        &self,
        session: &Session,
        room_id: &RoomId,
        version: RoomVersionId,
        additional_creators: Vec<OwnedUserId>,
    ) -> Result<OwnedRoomId, RoomError> {
        self.refuse_blocked(room_id).await?;
        // Before anything that waits: what this room was to who asked.
        let before = self.rooms.room(room_id).await?;
        let before = before.and_then(|room| room.tombstone());
        let _turn = self.rooms.upgrades.of(room_id.as_str()).await;
        let sender = &session.user_id;
        let profile = self.profile(sender).await?;
        let aliases = self.store.aliases(room_id).await?;
        let is_published = self
            .store
            .room(room_id)
            .await?
            .is_some_and(|room| room.is_published);
        let mut replacement = None;
        let mut decide = |room: &lyceum_room::Room| -> Result<Decision, RoomError> {
            let tombstone = room.tombstone();
            if tombstone != before {
                replacement = tombstone.and_then(|tombstone| tombstone.replacement_room);
                return Err(upgraded_meanwhile());
            }
            let upgrade = Upgrade {
                version: version.clone(),
                additional_creators: additional_creators.clone(),
                profile: profile.clone(),
                aliases: aliases.clone(),
                is_published,
            };
            let entropy = chance::bytes();
            let upgraded = lyceum_room::upgrade(
                room,
                sender,
                upgrade,
                &self.signer,
                self.clock.now(),
                entropy,
            )?;
            replacement = Some(upgraded.replacement.room.room_id.clone());
            Ok(Decision {
                batch: upgraded.batch,
                ..upgraded.old
            })
        };
        if session.is_shadow_banned {
            // They are told of a room that nobody will see.
            let room = self.rooms.room(room_id).await?;
            decide(&room.ok_or(RoomError::UnknownRoom)?)?;
            return Ok(replacement.expect("a decision was made"));
        }
        let decided = self
            .rooms
            .decide(room_id, decide, |_: &Decision, _: &mut Batch| {})
            .await;
        if let Err(error) = decided {
            let is_same = match &replacement {
                Some(theirs) => self
                    .rooms
                    .room(theirs)
                    .await?
                    .is_some_and(|room| room.rules.version == version),
                None => false,
            };
            return replacement.filter(|_| is_same).ok_or(error);
        }
        let replacement = replacement.expect("a decision was made");
        self.take_settings_over(sender, &replacement).await;
        Ok(replacement)
    }

    /// What a user shows of itself in rooms.
    pub async fn profile(&self, user_id: &UserId) -> Result<Profile, RoomError> {
        let mut profiles = self.store.profiles(&[user_id.to_owned()]).await?;
        let fields = profiles.remove(user_id).unwrap_or_default();
        let text = |key: &str| serde_json::from_str::<String>(fields.get(key)?).ok();
        Ok(Profile {
            displayname: text("displayname"),
            avatar_url: text("avatar_url"),
        })
    }
}

fn upgraded_meanwhile() -> RoomError {
    let text = "Somebody else has upgraded this room just now";
    RoomError::Refused(MatrixError::new(400, "M_UNKNOWN", text))
}
