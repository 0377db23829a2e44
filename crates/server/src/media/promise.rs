//! Ids for files that come later (Client-Server API, `POST /_matrix/media/v1/create`).
//!
//! Moodle makes an id, puts it into a room's avatar, and then uploads the file to *another* id
//! whose answer it ignores. The edge knows such a client ([`Fulfilment`]): its promise is kept by
//! its next plain upload. Which promise that is lies in a setting of the server, so that any node
//! may take the upload.

use lyceum_model::{Batch, Change, Expect, MatrixError, Media, MediaChange, MediaId, Timestamp};
use lyceum_storage::{CommitError, StorageError};
use ruma_common::UserId;

use crate::{
    Server,
    decide::{MayBeStale, decide},
    sessions::Session,
};

/// How soon a plain upload must follow to keep a promise.
const NEXT_UPLOAD_MS_MAX: u64 = 2 * 60 * 1000;
/// How many such promises may be open: a platform that fills its courses side by side must not be
/// refused, since a course whose picture is refused stays without people.
const NEXT_UPLOAD_PROMISES_MAX: u64 = 1_000;
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

impl MayBeStale for PromiseError {
    fn is_stale(&self) -> bool {
        matches!(self, Self::Commit(error) if error.is_stale())
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
        decide(|| self.try_promise_upload(&session.user_id, fulfilment)).await
    }

    async fn try_promise_upload(
        &self,
        user_id: &UserId,
        fulfilment: Fulfilment,
    ) -> Result<Promise, PromiseError> {
        let now = self.clock.now();
        let open = self.store.pending_uploads(user_id, now).await?;
        let limits = &self.config.media;
        let (open_max, lifetime_ms) = match fulfilment {
            Fulfilment::ById => (
                limits.pending_uploads_max,
                limits.pending_upload_lifetime_ms,
            ),
            Fulfilment::ByNextUpload => (NEXT_UPLOAD_PROMISES_MAX, NEXT_UPLOAD_MS_MAX),
        };
        if open >= open_max {
            return Err(PromiseError::TooMany);
        }
        let expires = now.plus_ms(lifetime_ms);
        let media = Media {
            upload_until: Some(expires),
            ..self.new_media(user_id)
        };
        let id = media.id.clone();
        let mut batch = Batch::new();
        batch.expect(Expect::MediaAbsent(id.clone()));
        batch.push(MediaChange::Put(media));
        if fulfilment == Fulfilment::ByNextUpload {
            let waiting = self.awaited(user_id).await?;
            let before = waiting.as_deref().and_then(Awaited::parse);
            let after = Awaited::after_promise(before, now, &id.media_id);
            await_instead(&mut batch, user_id, waiting, Some(&after));
        }
        self.commit(batch).await?;
        Ok(Promise { id, expires })
    }

    /// Whether a promised file may still come.
    pub(super) fn is_awaited(&self, media: &Media) -> bool {
        let now = self.clock.now();
        media.sha256.is_none() && media.upload_until.is_some_and(|until| until >= now)
    }

    /// The promise that an upload keeps which begins now, if there is one. However the upload ends,
    /// no other will keep it: what came later than the promise's own might be somebody else's.
    pub(super) async fn promise_of_next_upload(
        &self,
        user_id: &UserId,
    ) -> Result<Option<Media>, CommitError> {
        let _turn = self.accounts.turn(user_id).await;
        decide(|| self.try_promise_of_next_upload(user_id)).await
    }

    async fn try_promise_of_next_upload(
        &self,
        user_id: &UserId,
    ) -> Result<Option<Media>, CommitError> {
        let waiting = self.awaited(user_id).await?;
        if waiting.is_none() {
            return Ok(None);
        }
        let now = self.clock.now();
        let awaited = waiting.as_deref().and_then(Awaited::parse);
        let awaited = awaited.filter(|awaited| !awaited.is_over(now));
        let after = awaited.as_ref().and_then(Awaited::after_upload);
        let mut batch = Batch::new();
        await_instead(&mut batch, user_id, waiting, after.as_ref());
        self.commit(batch).await?;
        let Some(media_id) = awaited.as_ref().and_then(Awaited::media_id) else {
            return Ok(None);
        };
        let server_name = self.config.server_name.clone();
        let id = MediaId {
            server_name,
            media_id: media_id.to_owned(),
        };
        let media = self.store.media(&id).await?;
        Ok(media.filter(|media| {
            media.uploader.as_deref() == Some(user_id)
                && media.quarantined_by.is_none()
                && self.is_awaited(media)
        }))
    }

    /// What is stored of the uploads of a user that are awaited.
    async fn awaited(&self, user_id: &UserId) -> Result<Option<String>, StorageError> {
        self.store.setting(&setting_of(user_id)).await
    }
}

/// Stores which uploads are awaited, unless another node was faster.
fn await_instead(
    batch: &mut Batch,
    user_id: &UserId,
    before: Option<String>,
    after: Option<&Awaited>,
) {
    let key = setting_of(user_id);
    batch.expect(Expect::Setting(key.clone(), before));
    batch.push(Change::Setting {
        key,
        value: after.map(Awaited::to_text),
    });
}

fn setting_of(user_id: &UserId) -> String {
    format!("media.next_upload.{user_id}")
}

/// The uploads that are awaited. Two at the same time cannot be told apart: then neither is kept,
/// since a wrong picture is worse than none; but the next one is, when both have come.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Awaited {
    /// When the last promise was made.
    since: Timestamp,
    /// How many uploads are to come; at least one.
    count: u32,
    /// Empty where several were awaited at once.
    media_id: String,
}

impl Awaited {
    fn after_promise(before: Option<Self>, now: Timestamp, media_id: &str) -> Self {
        match before.filter(|before| !before.is_over(now)) {
            Some(before) => Self {
                since: now,
                count: before.count.saturating_add(1),
                media_id: String::new(),
            },
            None => Self {
                since: now,
                count: 1,
                media_id: media_id.to_owned(),
            },
        }
    }

    /// What is awaited when one has come; `None`: nothing.
    fn after_upload(&self) -> Option<Self> {
        let count = self.count.checked_sub(1).filter(|count| *count > 0)?;
        Some(Self {
            since: self.since,
            count,
            media_id: String::new(),
        })
    }

    fn media_id(&self) -> Option<&str> {
        (!self.media_id.is_empty()).then_some(&*self.media_id)
    }

    fn is_over(&self, now: Timestamp) -> bool {
        now.ms_since(self.since) > NEXT_UPLOAD_MS_MAX
    }

    fn to_text(&self) -> String {
        format!("{} {} {}", self.since.0, self.count, self.media_id)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ' ');
        Some(Self {
            since: Timestamp(parts.next()?.parse().ok()?),
            count: parts.next()?.parse().ok()?,
            media_id: parts.next()?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Awaited, NEXT_UPLOAD_MS_MAX, Timestamp};

    fn at(ms: u64) -> Timestamp {
        Timestamp(1_000 + ms)
    }

    #[test]
    fn the_only_fresh_promise_is_kept() {
        let first = Awaited::after_promise(None, at(0), "a");
        assert_eq!(first.media_id(), Some("a"));
        assert!(!first.is_over(at(NEXT_UPLOAD_MS_MAX)));
        assert!(first.is_over(at(NEXT_UPLOAD_MS_MAX + 1)));
        assert_eq!(Awaited::parse(&first.to_text()).as_ref(), Some(&first));
        assert_eq!(first.after_upload(), None);
        for damaged in ["", "5", "5 a", "x 1 a"] {
            assert_eq!(Awaited::parse(damaged), None, "{damaged}");
        }
    }

    #[test]
    fn promises_at_the_same_time_spoil_each_other_and_no_later_one() {
        let first = Awaited::after_promise(None, at(0), "a");
        let second = Awaited::after_promise(Some(first), at(5), "b");
        assert_eq!(second.media_id(), None);
        assert_eq!(Awaited::parse(&second.to_text()).as_ref(), Some(&second));
        let one_came = second.after_upload().expect("another is to come");
        assert_eq!(one_came.media_id(), None);
        let between = Awaited::after_promise(Some(one_came.clone()), at(6), "c");
        assert_eq!(between.media_id(), None);
        assert_eq!(one_came.after_upload(), None);
        let later = at(6 + NEXT_UPLOAD_MS_MAX);
        let fresh = Awaited::after_promise(Some(second), later, "d");
        assert_eq!((fresh.count, fresh.media_id()), (1, Some("d")));
    }
}
