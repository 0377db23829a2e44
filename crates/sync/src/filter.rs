//! Filters (Client-Server API, "Filtering"): what a client does not want to be told.

use std::{
    borrow::{Borrow, Cow},
    collections::BTreeSet,
    fmt,
    marker::PhantomData,
};

use lyceum_model::Event;
use ruma_common::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor, value::MapAccessDeserializer},
};

pub use crate::event_fields::{EventFields, PATH_STEPS_MAX};

/// Longer filters are refused, in bytes of JSON.
pub const FILTER_BYTES_MAX: usize = 65_536;

/// How deep objects and arrays of a filter may lie in each other.
pub const FILTER_DEPTH_MAX: usize = 64;

/// Why a text is not a filter.
#[derive(Debug, thiserror::Error)]
pub enum InvalidFilter {
    /// It is not JSON of the shape that the specification has.
    #[error("the filter is not valid: {0}")]
    Json(#[from] serde_json::Error),
    /// It has more than [`FILTER_BYTES_MAX`] bytes.
    #[error("the filter is too long")]
    TooLong,
    /// It is nested deeper than [`FILTER_DEPTH_MAX`].
    #[error("the filter is nested too deeply")]
    TooDeep,
    /// A path in `event_fields` has more than [`PATH_STEPS_MAX`] steps.
    #[error("a path in event_fields is too long")]
    PathTooLong,
}

/// In which form a client wants events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventFormat {
    /// As the Client-Server API describes them.
    #[default]
    Client,
    /// As servers exchange them.
    Federation,
}

/// A filter of `/sync`. The default one lets everything through.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Which fields of events are wanted; `None`: all.
    pub event_fields: Option<EventFields>,
    /// In which form events are wanted.
    pub event_format: EventFormat,
    /// Which presence.
    pub presence: EventFilter,
    /// Which account data of the whole account.
    pub account_data: EventFilter,
    /// What of which rooms.
    pub room: RoomFilter,
}

impl Filter {
    /// Reads a filter.
    pub fn parse(json: &str) -> Result<Self, InvalidFilter> {
        if json.len() > FILTER_BYTES_MAX {
            return Err(InvalidFilter::TooLong);
        }
        if is_deep(json) {
            return Err(InvalidFilter::TooDeep);
        }
        let Object(wire) = serde_json::from_str::<Object<WireFilter>>(json)?;
        let event_fields = match wire.event_fields {
            Some(paths) => Some(EventFields::new(paths).ok_or(InvalidFilter::PathTooLong)?),
            None => None,
        };
        Ok(Self {
            event_fields,
            event_format: wire.event_format,
            presence: wire.presence,
            account_data: wire.account_data,
            room: wire.room,
        })
    }

    /// Whether of rooms nothing is wanted but state of this type, and of people nothing.
    pub fn wants_only_state(&self, kind: &str) -> bool {
        let is_kind = |pattern: &TypePattern| &*pattern.0 == kind;
        let types = self.room.state.events.types.as_ref();
        types.is_some_and(|types| types.iter().all(is_kind))
            && self.room.timeline.allows_nothing()
            && self.room.ephemeral.allows_nothing()
            && self.presence.allows_nothing()
            && !self.lazy_load_members()
    }

    /// Whether members are told only when they matter for what is shown.
    pub fn lazy_load_members(&self) -> bool {
        self.room.state.lazy_load_members
    }

    /// Whether members that the client has been told already are told again.
    pub fn include_redundant_members(&self) -> bool {
        self.room.state.include_redundant_members
    }
}

/// What of which rooms is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct RoomFilter {
    /// Only these rooms; `None`: all.
    pub rooms: Option<BTreeSet<OwnedRoomId>>,
    /// Not these rooms.
    #[serde(deserialize_with = "or_default")]
    pub not_rooms: BTreeSet<OwnedRoomId>,
    /// Rooms that were left before too.
    #[serde(deserialize_with = "or_default")]
    pub include_leave: bool,
    /// Which account data of rooms.
    #[serde(deserialize_with = "object_or_default")]
    pub account_data: RoomEventFilter,
    /// Which of typing notices and receipts.
    #[serde(deserialize_with = "object_or_default")]
    pub ephemeral: RoomEventFilter,
    /// Which state.
    #[serde(deserialize_with = "object_or_default")]
    pub state: RoomEventFilter,
    /// Which of the timeline.
    #[serde(deserialize_with = "object_or_default")]
    pub timeline: RoomEventFilter,
}

impl RoomFilter {
    /// Whether anything of this room is wanted.
    pub fn allows_room(&self, room_id: &RoomId) -> bool {
        is_chosen(self.rooms.as_ref(), &self.not_rooms, room_id)
    }
}

/// Which events are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct EventFilter {
    /// At most so many.
    pub limit: Option<u64>,
    /// Only these types; `None`: all.
    pub types: Option<Vec<TypePattern>>,
    /// Not these types.
    #[serde(deserialize_with = "or_default")]
    pub not_types: Vec<TypePattern>,
    /// Only from these; `None`: from all.
    pub senders: Option<BTreeSet<OwnedUserId>>,
    /// Not from these.
    #[serde(deserialize_with = "or_default")]
    pub not_senders: BTreeSet<OwnedUserId>,
}

impl EventFilter {
    /// Whether an event of this type from this sender is wanted. What has no sender, such as
    /// account data, does not pass where only certain senders do.
    pub fn allows(&self, kind: &str, sender: Option<&UserId>) -> bool {
        let from_wanted = match sender {
            Some(sender) => is_chosen(self.senders.as_ref(), &self.not_senders, sender),
            None => self.senders.is_none(),
        };
        from_wanted
            && !self.not_types.iter().any(|pattern| pattern.matches(kind))
            && self
                .types
                .as_ref()
                .is_none_or(|types| types.iter().any(|t| t.matches(kind)))
    }

    /// Whether no event at all is wanted.
    pub fn allows_nothing(&self) -> bool {
        self.limit == Some(0)
            || self.types.as_ref().is_some_and(Vec::is_empty)
            || self.senders.as_ref().is_some_and(BTreeSet::is_empty)
            || self.not_types.iter().any(TypePattern::matches_all)
    }

    /// How many at most, or as many as there are.
    pub(crate) fn limit_or_all(&self) -> usize {
        self.limit.map_or(usize::MAX, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        })
    }
}

/// Which events of rooms are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct RoomEventFilter {
    /// By type and sender.
    #[serde(flatten)]
    pub events: EventFilter,
    /// Only of these rooms; `None`: of all.
    pub rooms: Option<BTreeSet<OwnedRoomId>>,
    /// Not of these rooms.
    #[serde(deserialize_with = "or_default")]
    pub not_rooms: BTreeSet<OwnedRoomId>,
    /// Only with, or only without, a `url` in the content.
    pub contains_url: Option<bool>,
    /// Members only when they matter for what is shown.
    #[serde(deserialize_with = "or_default")]
    pub lazy_load_members: bool,
    /// With `lazy_load_members`: also those that the client has been told already.
    #[serde(deserialize_with = "or_default")]
    pub include_redundant_members: bool,
    /// Unread counts of threads apart from those of their room.
    #[serde(deserialize_with = "or_default")]
    pub unread_thread_notifications: bool,
    /// Only events to which an event of one of these users relates.
    pub related_by_senders: Option<BTreeSet<OwnedUserId>>,
    /// Only events to which an event relates in one of these ways.
    pub related_by_rel_types: Option<BTreeSet<Box<str>>>,
}

impl RoomEventFilter {
    /// Reads the filter of `/messages` and `/context`.
    pub fn parse(json: &str) -> Result<Self, InvalidFilter> {
        if json.len() > FILTER_BYTES_MAX {
            return Err(InvalidFilter::TooLong);
        }
        if is_deep(json) {
            return Err(InvalidFilter::TooDeep);
        }
        let Object(filter) = serde_json::from_str(json)?;
        Ok(filter)
    }

    /// Whether `event` is wanted, as far as that is known without its relations: see
    /// [`Self::asks_for_relations`].
    pub fn matches(&self, event: &Event) -> bool {
        self.events.allows(&event.kind, Some(&event.sender))
            && self.allows_room(&event.room_id)
            && self
                .contains_url
                .is_none_or(|wanted| wanted == has_url(event.content.get()))
    }

    /// Whether a piece of state is wanted beside events of these senders: of members that are
    /// loaded lazily only theirs.
    pub fn matches_state(&self, event: &Event, senders: &BTreeSet<&str>) -> bool {
        let is_lazy_member = self.lazy_load_members && &*event.kind == "m.room.member";
        let is_sender = || {
            let user_id = event.state_key.as_deref();
            user_id.is_some_and(|user_id| senders.contains(user_id))
        };
        self.matches(event) && (!is_lazy_member || is_sender())
    }

    /// Whether it depends on the events that relate to an event: then ask
    /// [`Self::matches_relations`] too.
    pub fn asks_for_relations(&self) -> bool {
        self.related_by_senders.is_some() || self.related_by_rel_types.is_some()
    }

    /// Whether an event with these children (relation type and sender of each) is wanted.
    pub fn matches_relations<'a>(
        &self,
        children: impl IntoIterator<Item = (&'a str, &'a UserId)>,
    ) -> bool {
        !self.asks_for_relations()
            || children.into_iter().any(|(kind, sender)| {
                self.related_by_rel_types
                    .as_ref()
                    .is_none_or(|kinds| kinds.contains(kind))
                    && self
                        .related_by_senders
                        .as_ref()
                        .is_none_or(|users| users.contains(sender))
            })
    }

    /// Whether anything of this room is wanted.
    pub fn allows_room(&self, room_id: &RoomId) -> bool {
        is_chosen(self.rooms.as_ref(), &self.not_rooms, room_id)
    }

    /// How many events at most: what the client asks for, else `default`, never more than `max`.
    pub fn limit(&self, default: usize, max: usize) -> usize {
        match self.events.limit {
            Some(limit) => usize::try_from(limit).unwrap_or(max).min(max),
            None => default,
        }
    }

    /// Whether no event at all is wanted.
    pub fn allows_nothing(&self) -> bool {
        self.events.allows_nothing() || self.rooms.as_ref().is_some_and(BTreeSet::is_empty)
    }
}

/// An event type in which `*` stands for any sequence of characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypePattern(Box<str>);

impl TypePattern {
    /// The pattern of this text.
    pub fn new(pattern: impl Into<Box<str>>) -> Self {
        Self(pattern.into())
    }

    /// Whether the pattern stands for this type.
    pub fn matches(&self, kind: &str) -> bool {
        let mut pieces = self.0.split('*');
        let first = pieces.next().unwrap_or_default();
        let Some(mut rest) = kind.strip_prefix(first) else {
            return false;
        };
        let Some(last) = pieces.next_back() else {
            return rest.is_empty();
        };
        for piece in pieces {
            let Some(at) = rest.find(piece) else {
                return false;
            };
            rest = &rest[at + piece.len()..];
        }
        rest.ends_with(last)
    }

    fn matches_all(&self) -> bool {
        !self.0.is_empty() && self.0.bytes().all(|byte| byte == b'*')
    }
}

impl<'de> Deserialize<'de> for TypePattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<str>::deserialize(deserializer).map(Self)
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireFilter {
    event_fields: Option<Vec<String>>,
    #[serde(deserialize_with = "or_default")]
    event_format: EventFormat,
    #[serde(deserialize_with = "object_or_default")]
    presence: EventFilter,
    #[serde(deserialize_with = "object_or_default")]
    account_data: EventFilter,
    #[serde(deserialize_with = "object_or_default")]
    room: RoomFilter,
}

/// `null` counts as absent.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// `null` counts as absent.
fn object_or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<Object<T>>::deserialize(deserializer)?
        .map(|Object(value)| value)
        .unwrap_or_default())
}

/// A structure that must be written as a JSON object; by itself serde accepts an array too.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(Members(PhantomData))
    }
}

fn is_chosen<Q: Ord + ?Sized, T: Ord + Borrow<Q>>(
    wanted: Option<&BTreeSet<T>>,
    unwanted: &BTreeSet<T>,
    value: &Q,
) -> bool {
    !unwanted.contains(value) && wanted.is_none_or(|wanted| wanted.contains(value))
}

fn has_url(content: &str) -> bool {
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

    struct Names;
    impl<'de> Visitor<'de> for Names {
        type Value = bool;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
            let mut has_url = false;
            while let Some((name, _)) = map.next_entry::<Name<'_>, IgnoredAny>()? {
                has_url |= name.0 == "url";
            }
            Ok(has_url)
        }
    }

    let mut deserializer = serde_json::Deserializer::from_str(content);
    deserializer.deserialize_map(Names).unwrap_or(false)
}

/// Whether a JSON text is nested deeper than a filter may be, also in members nobody knows.
fn is_deep(json: &str) -> bool {
    let (mut depth, mut is_text, mut is_escaped) = (0_usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b'{' | b'[' if !is_text => {
                depth += 1;
                if depth > FILTER_DEPTH_MAX {
                    return true;
                }
            }
            b'}' | b']' if !is_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}
