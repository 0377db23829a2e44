//! Power levels, parsed once for each `m.room.power_levels` event.

use std::{cmp::Ordering, collections::BTreeMap};

use ruma_common::{OwnedUserId, UserId, serde::deserialize_v1_powerlevel};
use serde_json::{Map, Value};

use crate::{content, create::INTEGER_MAX, rules::RoomRules, state::State};

const CREATOR_DEFAULT: i64 = 100;
const NOTIFICATION_DEFAULT: i64 = 50;

/// How much a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Power {
    /// As much as this number allows.
    Level(i64),
    /// Everything: a creator, in versions that privilege creators.
    Infinite,
}

impl Power {
    /// The number; the greatest one for a creator.
    pub fn as_i64(self) -> i64 {
        match self {
            Self::Level(level) => level,
            Self::Infinite => i64::MAX,
        }
    }
}

impl PartialEq<i64> for Power {
    fn eq(&self, level: &i64) -> bool {
        *self == Self::Level(*level)
    }
}

impl PartialOrd<i64> for Power {
    fn partial_cmp(&self, level: &i64) -> Option<Ordering> {
        Some(self.cmp(&Self::Level(*level)))
    }
}

/// The power levels that hold in a room, with the specification's defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PowerLevels {
    /// Users who are not named have this.
    pub users_default: i64,
    /// Needed for messages whose type is not named.
    pub events_default: i64,
    /// Needed for state whose type is not named.
    pub state_default: i64,
    /// Needed to ban, and to unban.
    pub ban: i64,
    /// Needed to kick.
    pub kick: i64,
    /// Needed to redact other users' events.
    pub redact: i64,
    /// Needed to invite.
    pub invite: i64,
    /// Named users.
    pub users: BTreeMap<OwnedUserId, i64>,
    /// Named event types.
    pub events: BTreeMap<String, i64>,
    /// Named notifications.
    pub notifications: BTreeMap<String, i64>,
    /// Users above all levels.
    privileged: Vec<OwnedUserId>,
    /// Whether the rules can read all of it; otherwise only they themselves can judge.
    pub(crate) is_sound: bool,
}

impl PowerLevels {
    pub(crate) fn of(state: &State, rules: &RoomRules) -> Self {
        let create = state.create_facts(rules);
        let creators = create
            .map(|create| create.creators.clone())
            .unwrap_or_default();
        let mut levels = Self::without_event(creators, rules);
        let Some(event) = state.get("m.room.power_levels", "") else {
            return levels;
        };
        levels.users.clear();
        let Some(Value::Object(content)) = content::value(event) else {
            levels.is_sound = false;
            return levels;
        };
        let mut is_sound = true;
        for (key, level) in [
            ("users_default", &mut levels.users_default),
            ("events_default", &mut levels.events_default),
            ("state_default", &mut levels.state_default),
            ("ban", &mut levels.ban),
            ("kick", &mut levels.kick),
            ("redact", &mut levels.redact),
            ("invite", &mut levels.invite),
        ] {
            let Some(value) = content.get(key) else {
                continue;
            };
            match read_level(value, rules) {
                Some(value) => *level = value,
                None => is_sound = false,
            }
        }
        for (user_id, level) in entries(&content, "users", &mut is_sound) {
            match (
                OwnedUserId::try_from(user_id.as_str()),
                read_level(level, rules),
            ) {
                (Ok(user_id), Some(level)) => {
                    levels.users.insert(user_id, level);
                }
                _ => is_sound = false,
            }
        }
        for (kind, level) in entries(&content, "events", &mut is_sound) {
            match read_level(level, rules) {
                Some(level) => {
                    levels.events.insert(kind.clone(), level);
                }
                None => is_sound = false,
            }
        }
        // Notifications play no part in what is allowed.
        for (key, level) in entries(&content, "notifications", &mut true) {
            if let Some(level) = read_level(level, rules) {
                levels.notifications.insert(key.clone(), level);
            }
        }
        levels.is_sound = is_sound;
        levels
    }

    /// What holds without a power levels event.
    fn without_event(creators: Vec<OwnedUserId>, rules: &RoomRules) -> Self {
        let (users, privileged) = if rules.creators_are_privileged() {
            (BTreeMap::new(), creators)
        } else {
            let users = creators
                .into_iter()
                .map(|user_id| (user_id, CREATOR_DEFAULT))
                .collect();
            (users, Vec::new())
        };
        Self {
            users_default: 0,
            events_default: 0,
            state_default: 50,
            ban: 50,
            kick: 50,
            redact: 50,
            invite: 0,
            users,
            events: BTreeMap::new(),
            notifications: BTreeMap::new(),
            privileged,
            is_sound: true,
        }
    }

    /// A user's power.
    pub fn user(&self, user_id: &UserId) -> Power {
        if self.privileged.iter().any(|creator| creator == user_id) {
            return Power::Infinite;
        }
        Power::Level(
            self.users
                .get(user_id)
                .copied()
                .unwrap_or(self.users_default),
        )
    }

    /// What an event of this type needs.
    pub fn event(&self, kind: &str, is_state: bool) -> i64 {
        let default = if is_state {
            self.state_default
        } else {
            self.events_default
        };
        self.events.get(kind).copied().unwrap_or(default)
    }

    /// What a notification such as `room` needs.
    pub fn notification(&self, key: &str) -> i64 {
        self.notifications
            .get(key)
            .copied()
            .unwrap_or(NOTIFICATION_DEFAULT)
    }

    /// Users above all levels; empty in versions that do not privilege creators.
    pub fn privileged(&self) -> &[OwnedUserId] {
        &self.privileged
    }

    /// Whether a user has the power to send such an event.
    pub fn may_send(&self, user_id: &UserId, kind: &str, is_state: bool) -> bool {
        self.user(user_id) >= self.event(kind, is_state)
    }

    /// Whether a user has the power to invite.
    pub fn may_invite(&self, user_id: &UserId) -> bool {
        self.user(user_id) >= self.invite
    }

    /// Whether a user has the power to redact events of others.
    pub fn may_redact(&self, user_id: &UserId) -> bool {
        self.user(user_id) >= self.redact
    }

    /// Whether a user has the power to kick `target`.
    pub fn may_kick(&self, user_id: &UserId, target: &UserId) -> bool {
        self.user(user_id) >= self.kick && self.user(user_id) > self.user(target)
    }

    /// Whether a user has the power to ban `target`.
    pub fn may_ban(&self, user_id: &UserId, target: &UserId) -> bool {
        self.user(user_id) >= self.ban && self.user(user_id) > self.user(target)
    }
}

/// A level as the version writes it: an integer, in old versions also a text or a float.
fn read_level(value: &Value, rules: &RoomRules) -> Option<i64> {
    if rules.ruma.authorization.integer_power_levels {
        return value
            .as_i64()
            .filter(|level| (-INTEGER_MAX..=INTEGER_MAX).contains(level));
    }
    deserialize_v1_powerlevel(value).ok().map(Into::into)
}

/// The entries of an object in the content; `is_sound` falls if it is something else.
fn entries<'a>(
    content: &'a Map<String, Value>,
    key: &str,
    is_sound: &mut bool,
) -> impl Iterator<Item = (&'a String, &'a Value)> + use<'a> {
    let map = match content.get(key) {
        None => None,
        Some(Value::Object(map)) => Some(map),
        Some(_) => {
            *is_sound = false;
            None
        }
    };
    map.into_iter().flatten()
}
