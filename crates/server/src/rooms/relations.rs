//! The events that relate to an event (Client-Server API, "Relationships API").

use std::collections::BTreeSet;

use lyceum_model::{Event, Position, Seq, StoredEvent};
use lyceum_storage::{Direction, StorageError};
use ruma_common::{EventId, OwnedEventId};

use crate::{
    Server,
    rooms::{Reader, Shown},
};

/// How deep relations of relations are followed.
const RECURSION_DEPTH_MAX: u64 = 3;
/// How many relations of relations are followed in all.
const FOLLOWED_MAX: usize = 500;
/// How many relations are read at a time.
const CHUNK: usize = 128;
/// How many relations are looked at for one answer.
const LOOKED_AT_MAX: usize = 2_000;

/// Which relations are wanted.
#[derive(Debug, Clone, Copy)]
pub struct RelationsQuery<'a> {
    /// Only of this relation type.
    pub kind: Option<&'a str>,
    /// Only events of this type.
    pub event_type: Option<&'a str>,
    /// Not the edits of this event: they would show what was redacted.
    pub without_edits_of: Option<&'a EventId>,
    /// In which order.
    pub direction: Direction,
    /// The gap before this place is where to begin; `None`: at the end of the timeline, or, going
    /// forward, at its start.
    pub from: Option<Seq>,
    /// The gap before this place is where to stop.
    pub until: Option<Seq>,
    /// Only events of commits up to this one.
    pub up_to: Position,
    /// At most so many.
    pub limit: usize,
}

/// Relations as a reader sees them.
#[derive(Debug, Default)]
pub struct Related {
    /// The events, and where reading would go on.
    pub shown: Shown,
    /// How deep relations of relations were followed.
    pub depth: u64,
}

impl Server {
    /// The events that relate to `parent`, which the reader is known to see.
    pub async fn relations(
        &self,
        reader: &Reader,
        parent: &EventId,
        query: RelationsQuery<'_>,
    ) -> Result<Shown, StorageError> {
        match query.direction {
            Direction::Backward => self.relations_backward(reader, parent, query).await,
            Direction::Forward => self.relations_forward(reader, parent, query).await,
        }
    }

    async fn relations_backward(
        &self,
        reader: &Reader,
        parent: &EventId,
        query: RelationsQuery<'_>,
    ) -> Result<Shown, StorageError> {
        let mut shown = Shown::default();
        let mut before = query.from;
        let mut looked_at = 0;
        loop {
            let chunk = self
                .store
                .relations(parent, query.kind, before, CHUNK)
                .await?;
            let is_last = chunk.len() < CHUNK;
            looked_at += chunk.len();
            before = chunk.last().and_then(|stored| stored.seq).or(before);
            for stored in chunk {
                if !self.take_related(reader, stored, query, &mut shown).await? {
                    return Ok(shown);
                }
            }
            if is_last {
                return Ok(shown);
            }
            if looked_at >= LOOKED_AT_MAX {
                shown.next = before;
                return Ok(shown);
            }
        }
    }

    async fn relations_forward(
        &self,
        reader: &Reader,
        parent: &EventId,
        query: RelationsQuery<'_>,
    ) -> Result<Shown, StorageError> {
        let from = query.from.unwrap_or(Seq(i64::MIN + 1));
        // Storage tells them newest first; that is all that is needed unless there are very many.
        let mut newer = Vec::new();
        let mut before = query.until;
        loop {
            let chunk = self
                .store
                .relations(parent, query.kind, before, CHUNK)
                .await?;
            before = chunk.last().and_then(|stored| stored.seq).or(before);
            let asked = newer.len() + CHUNK;
            newer.extend(chunk.into_iter().filter(|stored| stored.seq >= Some(from)));
            if newer.len() < asked {
                break;
            }
            if newer.len() >= LOOKED_AT_MAX {
                return self
                    .relations_along_timeline(reader, parent, query, from)
                    .await;
            }
        }
        let mut shown = Shown::default();
        for stored in newer.into_iter().rev() {
            if !self.take_related(reader, stored, query, &mut shown).await? {
                break;
            }
        }
        Ok(shown)
    }

    /// The same by reading the timeline itself.
    async fn relations_along_timeline(
        &self,
        reader: &Reader,
        parent: &EventId,
        query: RelationsQuery<'_>,
        from: Seq,
    ) -> Result<Shown, StorageError> {
        let wants = |event: &Event| {
            query.wants(event)
                && event.relates_to.as_ref().is_some_and(|relation| {
                    relation.parent == *parent
                        && query.kind.is_none_or(|kind| *relation.kind == *kind)
                })
        };
        let RelationsQuery {
            until,
            up_to,
            direction,
            limit,
            ..
        } = query;
        self.read_timeline(reader, from, until, up_to, direction, limit, &wants)
            .await
    }

    /// The events that relate to `parent`, and those that relate to these.
    pub async fn relations_recursively(
        &self,
        reader: &Reader,
        parent: &EventId,
        query: RelationsQuery<'_>,
    ) -> Result<Related, StorageError> {
        let mut seen: BTreeSet<OwnedEventId> = BTreeSet::from([parent.to_owned()]);
        let mut found: Vec<StoredEvent> = Vec::new();
        let mut level = vec![parent.to_owned()];
        let mut depth = 0;
        while depth < RECURSION_DEPTH_MAX && !level.is_empty() {
            let mut next_level = Vec::new();
            for parent in &level {
                let free = FOLLOWED_MAX.saturating_sub(found.len());
                if free == 0 {
                    break;
                }
                for stored in self.store.relations(parent, None, None, free).await? {
                    if seen.insert(stored.event.id.clone()) {
                        next_level.push(stored.event.id.clone());
                        found.push(stored);
                    }
                }
            }
            if !next_level.is_empty() {
                depth += 1;
            }
            level = next_level;
        }
        found.sort_by_key(|stored| stored.seq);
        if query.direction == Direction::Backward {
            found.reverse();
        }
        let mut shown = Shown::default();
        for stored in found {
            let relation = stored.event.relates_to.as_ref();
            let is_of_kind = query
                .kind
                .is_none_or(|kind| relation.is_some_and(|relation| *relation.kind == *kind));
            if is_of_kind && !self.take_related(reader, stored, query, &mut shown).await? {
                break;
            }
        }
        Ok(Related { shown, depth })
    }

    /// Takes an event if the reader sees it and it is wanted; false: nothing after it is.
    async fn take_related(
        &self,
        reader: &Reader,
        stored: StoredEvent,
        query: RelationsQuery<'_>,
        shown: &mut Shown,
    ) -> Result<bool, StorageError> {
        let Some(seq) = stored.seq else {
            return Ok(true);
        };
        let (is_before, is_behind) = match query.direction {
            Direction::Backward => (
                query.from.is_some_and(|from| seq >= from),
                query.until.is_some_and(|until| seq < until),
            ),
            Direction::Forward => (
                query.from.is_some_and(|from| seq < from),
                query.until.is_some_and(|until| seq >= until),
            ),
        };
        if is_behind {
            return Ok(false);
        }
        if is_before || stored.position > query.up_to || !query.wants(&stored.event) {
            return Ok(true);
        }
        let (is_visible, membership) = self.visibility(reader, &stored).await?;
        if !is_visible {
            return Ok(true);
        }
        if shown.events.len() >= query.limit {
            // There is more, beginning with this one.
            shown.next = Some(match query.direction {
                Direction::Backward => Seq(seq.0.saturating_add(1)),
                Direction::Forward => seq,
            });
            return Ok(false);
        }
        shown.events.push((stored, membership));
        Ok(true)
    }
}

impl RelationsQuery<'_> {
    fn wants(&self, event: &Event) -> bool {
        let is_hidden_edit = event.relates_to.as_ref().is_some_and(|relation| {
            &*relation.kind == "m.replace"
                && self
                    .without_edits_of
                    .is_some_and(|of| *relation.parent == *of)
        });
        let is_wanted = |event_type: &str| *event.kind == *event_type;
        !is_hidden_edit && self.event_type.is_none_or(is_wanted)
    }
}
