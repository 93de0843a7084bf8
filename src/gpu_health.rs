//! Whether the GPU is worth trying. Pure.
//!
//! One failure costs one stream its session: it goes on on the CPU, and the next take tries the GPU again. Several
//! failures in a window put the whole pool on the CPU; the GPU then rests, and is probed between episodes, after ever
//! longer pauses.

use crate::restart::{Decision, Policy, Restarts};
use std::time::Duration;

/// Failures within the window that still leave the GPU in use.
const TOLERATED: u32 = 2;
const WINDOW: Duration = Duration::from_secs(60);
const FIRST_REST: Duration = Duration::from_secs(10);
const LONGEST_REST: Duration = Duration::from_secs(600);

/// The state of the GPU's encoder, as the pool knows it.
#[derive(Clone, Debug)]
pub struct GpuHealth {
    failures: Restarts,
    rest: Option<Rest>,
    next_rest: Duration,
}

#[derive(Clone, Copy, Debug)]
enum Rest {
    Until(u64),
    /// Somebody looks whether it works again.
    Probing,
}

impl GpuHealth {
    /// A GPU that works; one that does not, and rests from `now_ns`.
    pub fn new(usable: bool, now_ns: u64) -> GpuHealth {
        let policy = Policy {
            limit: Some(TOLERATED),
            window: WINDOW,
            first_delay: Duration::ZERO,
            longest_delay: Duration::ZERO,
        };
        let mut health = GpuHealth { failures: Restarts::new(policy), rest: None, next_rest: FIRST_REST };
        if !usable {
            health.rest(now_ns);
        }
        health
    }

    /// New sessions may be opened.
    pub fn usable(&self) -> bool {
        self.rest.is_none()
    }

    /// A session failed. True when that was one too many: nobody uses the GPU any more.
    pub fn failed(&mut self, now_ns: u64) -> bool {
        let too_often = self.failures.failed(now_ns) == Decision::GiveUp && self.rest.is_none();
        if too_often {
            self.rest(now_ns);
        }
        too_often
    }

    /// True when it has rested long enough: the caller probes it and says [`GpuHealth::probed`].
    pub fn probe_is_due(&mut self, now_ns: u64) -> bool {
        let due = matches!(self.rest, Some(Rest::Until(until)) if until <= now_ns);
        if due {
            self.rest = Some(Rest::Probing);
        }
        due
    }

    /// What the probe found.
    pub fn probed(&mut self, usable: bool, now_ns: u64) {
        if usable {
            self.rest = None;
            self.failures.forget();
        } else {
            self.rest(now_ns);
        }
    }

    fn rest(&mut self, now_ns: u64) {
        self.rest = Some(Rest::Until(now_ns.saturating_add(self.next_rest.as_nanos() as u64)));
        self.next_rest = (self.next_rest * 2).min(LONGEST_REST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn three_failures_in_a_minute_put_it_to_rest_and_rests_grow() {
        let mut health = GpuHealth::new(true, 0);
        assert!(!health.failed(0) && !health.failed(SECOND) && health.usable());
        assert!(health.failed(2 * SECOND) && !health.usable());
        assert!(!health.failed(3 * SECOND), "said once");
        assert!(!health.probe_is_due(11 * SECOND));
        assert!(health.probe_is_due(12 * SECOND));
        assert!(!health.probe_is_due(13 * SECOND), "one probe at a time");
        health.probed(false, 14 * SECOND);
        assert!(!health.probe_is_due(33 * SECOND) && health.probe_is_due(34 * SECOND), "twice as long");
        health.probed(true, 35 * SECOND);
        assert!(health.usable());
        assert!(!health.failed(36 * SECOND) && !health.failed(37 * SECOND), "counted anew");
        assert!(health.failed(38 * SECOND));
        assert!(!health.probe_is_due(77 * SECOND) && health.probe_is_due(78 * SECOND), "and longer again");
    }

    #[test]
    fn failures_far_apart_are_tolerated() {
        let mut health = GpuHealth::new(true, 0);
        assert!((0..20).all(|i| !health.failed(i * 40 * SECOND)));
    }

    #[test]
    fn one_that_does_not_work_at_first_is_looked_at_later() {
        let mut health = GpuHealth::new(false, 0);
        assert!(!health.usable() && !health.probe_is_due(9 * SECOND) && health.probe_is_due(10 * SECOND));
    }
}
