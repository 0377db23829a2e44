//! Ids for files that come later (Client-Server API, `POST /_matrix/media/v1/create`).
//!
//! Moodle makes an id, puts it into a room's avatar, and then uploads the file to *another* id
//! whose answer it ignores. The edge knows such a client ([`Fulfilment`]): its promise is kept by
//! its next plain upload. Which promise that is lies in a setting of the server, so that any node
//! may take the upload.

use lyceum_model::{Batch, Change, Expect, MatrixError, Media, MediaChange, MediaId, Timestamp};
use lyceum_storage::{CommitError, StorageError};
use ruma_common::UserId;

use crate::{Server, sessions::Session};

/// How soon a plain upload must follow to keep a promise.
const NEXT_UPLOAD_MS_MAX: u64 = 2 * 60 * 1000;
/// When to come again with too many promises open; any of them may be kept at any time.
const TOO_MANY_RETRY_MS: u64 = 60_000;

/// How a promised file will come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fulfilment {
    /// By an upload to its id, as the specification has it.
    ById,
    /// By the next upload of the same user that is of this kind too, names no id and comes soon.
    ByNextUpload,
}

/// An id whose file is awaited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promise {
    /// The id.
    pub id: MediaId,
    /// Until when the file may come.
    pub expires: Timestamp,
}

/// Why no id was made.
#[derive(Debug, thiserror::Error)]
pub enum PromiseError {
    /// The user has too many open promises.
    #[error("too many promised uploads have not come")]
    TooMany,
    /// It could not be stored.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Storage is broken.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<PromiseError> for MatrixError {
    fn from(error: PromiseError) -> Self {
        match error {
            PromiseError::TooMany => Self {
                message: "Too many of your promised uploads have not come yet".into(),
                ..Self::limit_exceeded(TOO_MANY_RETRY_MS)
            },
            PromiseError::Commit(error) => error.into(),
            PromiseError::Storage(error) => error.into(),
        }
    }
}

impl Server {
    /// Makes an id for a file that comes later.
    pub async fn promise_upload(
        &self,
        session: &Session,
        fulfilment: Fulfilment,
    ) -> Result<Promise, PromiseError> {
        let _turn = self.accounts.turn(&session.user_id).await;
        let now = self.clock.now();
        let open = self.store.pending_uploads(&session.user_id, now).await?;
        if open >= self.config.media.pending_uploads_max {
            return Err(PromiseError::TooMany);
        }
        let lifetime_ms = match fulfilment {
            Fulfilment::ById => self.config.media.pending_upload_lifetime_ms,
            Fulfilment::ByNextUpload => NEXT_UPLOAD_MS_MAX,
        };
        let expires = now.plus_ms(lifetime_ms);
        let media = Media {
            upload_until: Some(expires),
            ..self.new_media(&session.user_id)
        };
        let id = media.id.clone();
        let mut batch = Batch::new();
        batch.expect(Expect::MediaAbsent(id.clone()));
        batch.push(MediaChange::Put(media));
        if fulfilment == Fulfilment::ByNextUpload {
            let key = setting_of(&session.user_id);
            let waiting = self.store.setting(&key).await?;
            let before = waiting.as_deref().and_then(Awaited::parse);
            let value = Awaited::after(before, now, &id.media_id).to_text();
            batch.push(Change::Setting {
                key,
                value: Some(value),
            });
        }
        self.commit(batch).await?;
        Ok(Promise { id, expires })
    }

    /// Whether a promised file may still come.
    pub(super) fn is_awaited(&self, media: &Media) -> bool {
        let now = self.clock.now();
        media.sha256.is_none() && media.upload_until.is_some_and(|until| until >= now)
    }

    /// The promise that a user's next plain upload keeps, with what must be stored beside it.
    pub(super) async fn promise_for_next_upload(
        &self,
        user_id: &UserId,
    ) -> Result<Option<(Media, Batch)>, StorageError> {
        let key = setting_of(user_id);
        let Some(value) = self.store.setting(&key).await? else {
            return Ok(None);
        };
        let Some(awaited) = Awaited::parse(&value) else {
            return Ok(None);
        };
        let Some(media_id) = awaited.media_id(self.clock.now()) else {
            return Ok(None);
        };
        let server_name = self.config.server_name.clone();
        let id = MediaId {
            server_name,
            media_id: media_id.to_owned(),
        };
        let media = self.store.media(&id).await?;
        let is_theirs = |media: &Media| {
            media.uploader.as_deref() == Some(user_id)
                && media.quarantined_by.is_none()
                && self.is_awaited(media)
        };
        let Some(media) = media.filter(is_theirs) else {
            return Ok(None);
        };
        let mut batch = Batch::new();
        batch.expect(Expect::Setting(key.clone(), Some(value)));
        batch.push(Change::Setting { key, value: None });
        Ok(Some((media, batch)))
    }
}

fn setting_of(user_id: &UserId) -> String {
    format!("media.next_upload.{user_id}")
}

/// The promise that waits for a plain upload. Two at the same time cannot be told apart: then
/// neither is kept, since a wrong picture is worse than none.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Awaited {
    since: Timestamp,
    /// Empty where there are several.
    media_id: String,
}

impl Awaited {
    fn after(before: Option<Self>, now: Timestamp, media_id: &str) -> Self {
        let is_alone = before.is_none_or(|before| before.is_over(now));
        let media_id = if is_alone {
            media_id.to_owned()
        } else {
            String::new()
        };
        Self {
            since: now,
            media_id,
        }
    }

    fn media_id(&self, now: Timestamp) -> Option<&str> {
        (!self.is_over(now) && !self.media_id.is_empty()).then_some(&*self.media_id)
    }

    fn is_over(&self, now: Timestamp) -> bool {
        now.ms_since(self.since) > NEXT_UPLOAD_MS_MAX
    }

    fn to_text(&self) -> String {
        format!("{} {}", self.since.0, self.media_id)
    }

    fn parse(text: &str) -> Option<Self> {
        let (since, media_id) = text.split_once(' ')?;
        Some(Self {
            since: Timestamp(since.parse().ok()?),
            media_id: media_id.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Awaited, NEXT_UPLOAD_MS_MAX, Timestamp};

    #[test]
    fn the_only_fresh_promise_is_kept() {
        let at = |ms| Timestamp(1_000 + ms);
        let first = Awaited::after(None, at(0), "a");
        assert_eq!(first.media_id(at(5)), Some("a"));
        assert_eq!(first.media_id(at(NEXT_UPLOAD_MS_MAX)), Some("a"));
        assert_eq!(first.media_id(at(NEXT_UPLOAD_MS_MAX + 1)), None);
        assert_eq!(Awaited::parse(&first.to_text()).as_ref(), Some(&first));
        let second = Awaited::after(Some(first), at(5), "b");
        assert_eq!(
            second.media_id(at(5)),
            None,
            "two at a time cannot be told apart"
        );
        assert_eq!(Awaited::parse(&second.to_text()).as_ref(), Some(&second));
        let later = at(6 + NEXT_UPLOAD_MS_MAX);
        assert_eq!(
            Awaited::after(Some(second), later, "c").media_id(later),
            Some("c")
        );
        for damaged in ["", "5", "x a"] {
            assert_eq!(Awaited::parse(damaged), None, "{damaged}");
        }
    }
}
