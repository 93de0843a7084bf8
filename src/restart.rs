//! When to restart what has failed, and when to give up. Pure.

use std::collections::VecDeque;
use std::time::Duration;

/// How often, how soon.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// Failures within `window` that are still answered by a restart; `None` for no end of patience.
    pub limit: Option<u32>,
    pub window: Duration,
    /// Wait before the first restart of a row of failures; doubled for each further one.
    pub first_delay: Duration,
    pub longest_delay: Duration,
}

impl Policy {
    /// For devices: they come back when somebody plugs them in, however long that takes.
    pub const DEVICE: Policy = Policy {
        limit: None,
        window: Duration::from_secs(60),
        first_delay: Duration::from_millis(250),
        longest_delay: Duration::from_secs(4),
    };
    /// For encoders: at once, but not for ever.
    pub const ENCODER: Policy = Policy {
        limit: Some(5),
        window: Duration::from_secs(60),
        first_delay: Duration::ZERO,
        longest_delay: Duration::ZERO,
    };
}

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    RestartAfter(Duration),
    /// Too many failures in the window.
    GiveUp,
}

/// The failures of one part.
#[derive(Clone, Debug)]
pub struct Restarts {
    policy: Policy,
    failures: VecDeque<u64>,
}

impl Restarts {
    pub fn new(policy: Policy) -> Restarts {
        Restarts { policy, failures: VecDeque::new() }
    }

    /// Starts counting anew.
    pub fn forget(&mut self) {
        self.failures.clear();
    }

    /// A failure at `now_ns`.
    pub fn failed(&mut self, now_ns: u64) -> Decision {
        let window = self.policy.window.as_nanos() as u64;
        while self.failures.front().is_some_and(|at| at.saturating_add(window) < now_ns) {
            self.failures.pop_front();
        }
        self.failures.push_back(now_ns);
        let count = self.failures.len() as u32;
        if self.policy.limit.is_some_and(|limit| count > limit) {
            return Decision::GiveUp;
        }
        let delay = self.policy.first_delay.saturating_mul(1u32.checked_shl(count - 1).unwrap_or(u32::MAX));
        Decision::RestartAfter(delay.min(self.policy.longest_delay))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn delays_double_up_to_the_longest_and_start_anew_after_the_window() {
        let mut restarts = Restarts::new(Policy::DEVICE);
        let delays: Vec<_> = (0..6).map(|i| restarts.failed(i * SECOND)).collect();
        let expected = [250, 500, 1000, 2000, 4000, 4000].map(|ms| Decision::RestartAfter(Duration::from_millis(ms)));
        assert_eq!(delays, expected);
        assert_eq!(restarts.failed(200 * SECOND), Decision::RestartAfter(Duration::from_millis(250)));
    }

    #[test]
    fn gives_up_when_the_window_holds_too_many() {
        let mut restarts = Restarts::new(Policy::ENCODER);
        for i in 0..5 {
            assert_eq!(restarts.failed(i * SECOND), Decision::RestartAfter(Duration::ZERO));
        }
        assert_eq!(restarts.failed(5 * SECOND), Decision::GiveUp);
        assert_eq!(restarts.failed(500 * SECOND), Decision::RestartAfter(Duration::ZERO));
    }
}
