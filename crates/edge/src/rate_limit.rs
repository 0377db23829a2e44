//! How often somebody may ask: token buckets by user or address, in memory.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
};

use lyceum_model::{MatrixError, Timestamp};
use lyceum_server::{
    administration::RateOverride,
    config::{Bucket, RateLimits},
};
use parking_lot::Mutex;
use ruma_common::UserId;

use crate::Refusal;

/// How many buckets are kept; full ones are dropped first.
const BUCKETS_MAX: usize = 100_000;

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Sending events.
    Message,
    /// Logging in.
    Login,
    /// Registering.
    Registration,
    /// Joining, inviting, making rooms.
    Membership,
    /// Anything else.
    Request,
}

/// All buckets.
#[derive(Debug)]
pub struct RateLimiter {
    limits: RateLimits,
    buckets: Mutex<HashMap<(Limit, String), Level>>,
}

#[derive(Debug, Clone, Copy)]
struct Level {
    tokens: f64,
    at: Timestamp,
}

impl RateLimiter {
    /// Buckets of these sizes.
    pub fn new(limits: RateLimits) -> Self {
        Self {
            limits,
            buckets: Mutex::default(),
        }
    }

    /// Takes one from a user's bucket, unless the user is exempt.
    pub fn check_user(
        &self,
        limit: Limit,
        user_id: &UserId,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        if !self.limits.enabled
            || self
                .limits
                .exempt_users
                .iter()
                .any(|exempt| exempt == user_id)
        {
            return Ok(());
        }
        self.take(limit, self.bucket(limit), user_id.as_str(), now)
    }

    /// Takes one from an account's bucket for logging in, unless the account or the address is
    /// exempt.
    pub fn check_account(
        &self,
        user_id: &UserId,
        address: IpAddr,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        if self.limits.exempt_addresses.contains(&address) {
            return Ok(());
        }
        self.check_user(Limit::Login, user_id, now)
    }

    /// Takes one from the bucket of a user for whom an admin set other limits on what is sent;
    /// 0 a second: none.
    pub fn check_override(
        &self,
        limit: Limit,
        rate: RateOverride,
        user_id: &UserId,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        if rate.messages_per_second == 0 {
            return Ok(());
        }
        if limit != Limit::Message {
            return self.check_user(limit, user_id, now);
        }
        if !self.limits.enabled {
            return Ok(());
        }
        let bucket = Bucket {
            per_second: f64::from(rate.messages_per_second),
            burst: rate.burst_count.max(1),
        };
        // Not the bucket of the ordinary limit, which may be of another size.
        self.take(limit, bucket, &format!("{user_id} by its own limit"), now)
    }

    /// Takes one from an address's bucket, unless it is exempt.
    pub fn check_address(
        &self,
        limit: Limit,
        address: IpAddr,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        if !self.limits.enabled || self.limits.exempt_addresses.contains(&address) {
            return Ok(());
        }
        let key = network_of(address).to_string();
        self.take(limit, self.bucket(limit), &key, now)
    }

    fn take(&self, limit: Limit, bucket: Bucket, key: &str, now: Timestamp) -> Result<(), Refusal> {
        let mut buckets = self.buckets.lock();
        if buckets.len() >= BUCKETS_MAX {
            let limits = &self.limits;
            buckets.retain(|(limit, _), level| {
                let bucket = bucket_of(limits, *limit);
                refilled(*level, bucket, now) < f64::from(bucket.burst)
            });
        }
        let full = Level {
            tokens: f64::from(bucket.burst),
            at: now,
        };
        let level = buckets.entry((limit, key.to_owned())).or_insert(full);
        let tokens = refilled(*level, bucket, now);
        if tokens < 1.0 {
            *level = Level { tokens, at: now };
            let wait_ms = ((1.0 - tokens) / bucket.per_second.max(1e-6) * 1000.0).ceil();
            return Err(MatrixError::limit_exceeded(wait_ms as u64).into());
        }
        *level = Level {
            tokens: tokens - 1.0,
            at: now,
        };
        Ok(())
    }

    fn bucket(&self, limit: Limit) -> Bucket {
        bucket_of(&self.limits, limit)
    }
}

fn bucket_of(limits: &RateLimits, limit: Limit) -> Bucket {
    match limit {
        Limit::Message => limits.message,
        Limit::Login => limits.login,
        Limit::Registration => limits.registration,
        Limit::Membership => limits.membership,
        Limit::Request => limits.request,
    }
}

/// What one person has: of IPv6 that is a network of 64 bits.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address => address,
    }
}

fn refilled(level: Level, bucket: Bucket, now: Timestamp) -> f64 {
    let seconds = now.ms_since(level.at) as f64 / 1000.0;
    (level.tokens + seconds * bucket.per_second).min(f64::from(bucket.burst))
}

#[cfg(test)]
mod tests {
    use super::{Limit, RateLimiter};
    use lyceum_model::Timestamp;
    use lyceum_server::config::{Bucket, RateLimits};
    use ruma_common::user_id;

    #[test]
    fn a_burst_passes_then_the_rate_holds() {
        let limits = RateLimits {
            message: Bucket {
                per_second: 2.0,
                burst: 3,
            },
            exempt_users: vec!["@moodle:x".to_owned()],
            ..RateLimits::default()
        };
        let limiter = RateLimiter::new(limits);
        let ask = |user, at| limiter.check_user(Limit::Message, user, Timestamp(at));
        let alice = user_id!("@alice:x");
        for _ in 0..3 {
            ask(alice, 0).expect("within the burst");
        }
        let refusal = ask(alice, 0).expect_err("the bucket is empty");
        assert_eq!(
            (refusal.0.status, refusal.0.retry_after_ms),
            (429, Some(500))
        );
        ask(user_id!("@bob:x"), 0).expect("another's bucket is full");
        ask(alice, 500).expect("one came back");
        ask(alice, 500).expect_err("but only one");
        for _ in 0..100 {
            ask(user_id!("@moodle:x"), 0).expect("exempt");
        }
    }
}
