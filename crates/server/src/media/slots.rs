//! How many uploads are under way. Each holds memory and perhaps a temporary file, and a slow one
//! holds them long.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use ruma_common::{OwnedUserId, UserId};

/// Uploads at a time on this node.
const UPLOADS_MAX: usize = 256;
/// Uploads of one user at a time.
const UPLOADS_OF_ONE_USER_MAX: usize = 16;

/// The uploads that are under way.
#[derive(Debug, Default)]
pub(super) struct Slots(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by_user: BTreeMap<OwnedUserId, usize>,
}

/// The right to one upload, until it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    taken: Arc<Mutex<Taken>>,
    user_id: OwnedUserId,
}

impl Slots {
    /// A slot, if there is one for this user.
    pub(super) fn take(&self, user_id: &UserId) -> Option<Slot> {
        let mut taken = self.0.lock();
        let own = taken.by_user.get(user_id).copied().unwrap_or_default();
        if taken.total >= UPLOADS_MAX || own >= UPLOADS_OF_ONE_USER_MAX {
            return None;
        }
        taken.total += 1;
        taken.by_user.insert(user_id.to_owned(), own + 1);
        Some(Slot {
            taken: self.0.clone(),
            user_id: user_id.to_owned(),
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.taken.lock();
        taken.total -= 1;
        match taken.by_user.get_mut(&self.user_id) {
            Some(own) if *own > 1 => *own -= 1,
            _ => {
                taken.by_user.remove(&self.user_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Slots, UPLOADS_MAX, UPLOADS_OF_ONE_USER_MAX};
    use ruma_common::{UserId, user_id};

    #[test]
    fn one_user_cannot_take_all_slots() {
        let slots = Slots::default();
        let alice = user_id!("@alice:x");
        let mut held: Vec<_> = (0..UPLOADS_OF_ONE_USER_MAX)
            .map(|_| slots.take(alice))
            .collect();
        assert!(held.iter().all(Option::is_some));
        assert!(slots.take(alice).is_none());
        assert!(slots.take(user_id!("@bob:x")).is_some());
        held.pop();
        assert!(slots.take(alice).is_some(), "a dropped slot is free again");
    }

    #[test]
    fn slots_end_and_come_back() {
        let slots = Slots::default();
        let take =
            |number: usize| slots.take(&UserId::parse(format!("@u{number}:x")).expect("a user id"));
        let held: Vec<_> = (0..UPLOADS_MAX).map(take).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(take(UPLOADS_MAX).is_none());
        drop(held);
        assert!(take(UPLOADS_MAX).is_some());
        assert!(slots.0.lock().by_user.is_empty());
    }
}
