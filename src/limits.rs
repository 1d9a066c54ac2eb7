//! How many calls a token may make: so many a minute in the long run, and so many at once.
//!
//! Counted per token and per process, by the generic cell rate algorithm, with the product's own clock. Only tokens
//! that were accepted are counted, and those that have been idle are forgotten, so that the memory is bounded by the
//! tokens in use.

use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use docket_aggregates::ids::TokenId;
use governor::clock::{Clock as _, Reference};
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::clock::Clock;

/// Tokens that are remembered before the idle ones are looked for.
const REMEMBERED: usize = 4_096;

/// A rate: `600/100` is 600 a minute in the long run and 100 at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Calls in a minute, in the long run.
    pub per_minute: NonZeroU32,
    /// Calls at once.
    pub burst: NonZeroU32,
}

/// Why a text is no rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a rate is written like 600/100 (a minute, and at once), or off")]
pub struct NotARate;

/// A rate, or none at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaybeRate(pub Option<Rate>);

impl FromStr for MaybeRate {
    type Err = NotARate;

    fn from_str(text: &str) -> Result<Self, NotARate> {
        if text == "off" {
            return Ok(Self(None));
        }
        let (per_minute, burst) = text.split_once('/').ok_or(NotARate)?;
        let number = |text: &str| text.trim().parse::<NonZeroU32>().map_err(|_| NotARate);
        let rate = Rate { per_minute: number(per_minute)?, burst: number(burst)? };
        // Beyond this a call's share of a minute is below the clock's precision.
        if rate.per_minute.get() > 60_000 { Err(NotARate) } else { Ok(Self(Some(rate))) }
    }
}

impl Default for Rate {
    fn default() -> Self {
        const PER_MINUTE: NonZeroU32 = NonZeroU32::new(600).expect("600 is not zero");
        const BURST: NonZeroU32 = NonZeroU32::new(100).expect("100 is not zero");
        Self { per_minute: PER_MINUTE, burst: BURST }
    }
}

impl Rate {
    /// How long it takes from no allowance at all to a full one, in seconds, rounded up.
    fn refill_seconds(self, calls: u32) -> u64 {
        (u64::from(calls) * 60).div_ceil(u64::from(self.per_minute.get()))
    }

    /// The header `RateLimit-Policy` (IETF draft, structured field): so many calls at once, and the seconds in which as
    /// many come back. A quota of a minute would not be true: in its first minute a token may make those of the burst
    /// beside those that come back.
    pub fn policy(self) -> String {
        let burst = self.burst.get();
        format!("\"burst\";q={burst};w={}", self.refill_seconds(burst))
    }
}

/// What a token has left after a call, or why it must wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// The rule.
    pub rate: Rate,
    /// Calls that it may make at once now.
    pub remaining: u32,
    /// Set where the call is one too many: when there is room again.
    pub wait: Option<Duration>,
}

impl Allowance {
    /// The header `RateLimit`: calls left at once, and seconds until all of them are there again.
    pub fn header(&self) -> String {
        let used = self.rate.burst.get().saturating_sub(self.remaining);
        format!("\"burst\";r={};t={}", self.remaining, self.rate.refill_seconds(used))
    }
}

/// The product's clock as the limiter reads it.
#[derive(Clone, Debug)]
struct Ticks(Clock);

/// Nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Tick(u64);

impl std::ops::Add<Nanos> for Tick {
    type Output = Self;

    fn add(self, nanos: Nanos) -> Self {
        Self(self.0.saturating_add(nanos.as_u64()))
    }
}

impl Reference for Tick {
    fn duration_since(&self, earlier: Self) -> Nanos {
        self.0.saturating_sub(earlier.0).into()
    }

    fn saturating_sub(&self, duration: Nanos) -> Self {
        Self(self.0.checked_sub(duration.as_u64()).unwrap_or(self.0))
    }
}

impl governor::clock::Clock for Ticks {
    type Instant = Tick;

    fn now(&self) -> Tick {
        Tick(u64::try_from(self.0.now().millis()).unwrap_or(0).saturating_mul(1_000_000))
    }
}

type Keyed = RateLimiter<TokenId, HashMapStateStore<TokenId>, Ticks, StateInformationMiddleware>;

/// Counts the calls of every token. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Limiter(Option<(Rate, Arc<Keyed>, Ticks)>);

impl Limiter {
    /// A limiter of that rate, or one that lets everything through.
    pub fn new(rate: Option<Rate>, clock: &Clock) -> Self {
        Self(rate.map(|rate| {
            let ticks = Ticks(clock.clone());
            let quota = Quota::per_minute(rate.per_minute).allow_burst(rate.burst);
            let keyed = RateLimiter::hashmap_with_clock(quota, ticks.clone()).with_middleware();
            (rate, Arc::new(keyed), ticks)
        }))
    }

    /// Counts a call of the token. None where nothing is counted.
    pub fn take(&self, token: TokenId) -> Option<Allowance> {
        let (rate, keyed, ticks) = self.0.as_ref()?;
        if keyed.len() > REMEMBERED {
            keyed.retain_recent();
        }
        Some(match keyed.check_key(&token) {
            Ok(state) => Allowance { rate: *rate, remaining: state.remaining_burst_capacity(), wait: None },
            Err(until) => {
                Allowance { rate: *rate, remaining: 0, wait: Some(until.wait_time_from(ticks.now())) }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use docket_aggregates::Timestamp;
    use uuid::Uuid;

    fn token(n: u128) -> TokenId {
        TokenId(Uuid::from_u128(n))
    }

    #[test]
    fn a_hundred_at_once_and_ten_a_second_after_that() {
        let clock = Clock::held_at(Timestamp::from_millis(1_795_284_000_000));
        let limiter = Limiter::new(Some(Rate::default()), &clock);
        for n in 0..100 {
            let allowance = limiter.take(token(1)).unwrap();
            assert_eq!((allowance.remaining, allowance.wait), (99 - n, None));
        }
        let refused = limiter.take(token(1)).unwrap();
        assert_eq!(refused.wait, Some(Duration::from_millis(100)));
        assert_eq!(refused.header(), "\"burst\";r=0;t=10");
        assert_eq!(limiter.take(token(2)).unwrap().wait, None, "another token has its own allowance");
        clock.advance(100);
        assert_eq!(limiter.take(token(1)).unwrap().wait, None);
        assert!(limiter.take(token(1)).unwrap().wait.is_some());
        clock.advance(60_000);
        assert_eq!(limiter.take(token(1)).unwrap().remaining, 99);
    }

    #[test]
    fn idle_tokens_are_forgotten() {
        let clock = Clock::held_at(Timestamp::from_millis(1_795_284_000_000));
        let limiter = Limiter::new(Some(Rate::default()), &clock);
        for n in 0..20_000 {
            limiter.take(token(n));
            clock.advance(100);
        }
        assert!(limiter.0.unwrap().1.len() <= REMEMBERED + 1);
    }

    #[test]
    fn a_rate_is_two_numbers_or_off() {
        let rate: MaybeRate = "600/100".parse().unwrap();
        assert_eq!(rate.0, Some(Rate::default()));
        assert_eq!(rate.0.unwrap().policy(), "\"burst\";q=100;w=10");
        assert_eq!("off".parse::<MaybeRate>().unwrap().0, None);
        for text in ["", "600", "0/1", "1/0", "-1/1", "a/b", "600/100/1", "60001/1"] {
            assert_eq!(text.parse::<MaybeRate>(), Err(NotARate), "{text}");
        }
        assert!(Limiter::new(None, &Clock::system()).take(token(1)).is_none());
    }
}
