//! When to restart what has failed, and when to give up. Pure.

use crate::frame::CameraIndex;
use std::collections::VecDeque;
use std::time::Duration;

/// A part that is opened again when it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Device {
    Camera(CameraIndex),
    /// The robot's arm, which follows.
    Arm,
    /// What it follows. Without it the arm is observed and holds its goal.
    Leader,
}

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

/// A part that worked and failed so many times within the window keeps failing: opening it again is no remedy.
pub const KEEPS_FAILING: usize = 5;

/// The failures of one part.
#[derive(Clone, Debug)]
pub struct Restarts {
    policy: Policy,
    failures: VecDeque<u64>,
    /// Failures after it had worked.
    losses: VecDeque<u64>,
    keeps_failing: bool,
}

impl Restarts {
    pub fn new(policy: Policy) -> Restarts {
        Restarts { policy, failures: VecDeque::new(), losses: VecDeque::new(), keeps_failing: false }
    }

    /// Starts counting anew.
    pub fn forget(&mut self) {
        self.failures.clear();
    }

    /// A part that worked is lost at `now_ns`; call [`Restarts::failed`] too. True when that makes it one that keeps
    /// failing, once until it has held out for a window: from then on restarts wait the longest.
    pub fn lost(&mut self, now_ns: u64) -> bool {
        forget_before(&mut self.losses, self.policy.window, now_ns);
        self.keeps_failing &= !self.losses.is_empty();
        self.losses.push_back(now_ns);
        let begins = self.losses.len() >= KEEPS_FAILING && !self.keeps_failing;
        self.keeps_failing |= begins;
        begins
    }

    /// See [`Restarts::lost`].
    pub fn keeps_failing(&self) -> bool {
        self.keeps_failing
    }

    /// A failure at `now_ns`.
    pub fn failed(&mut self, now_ns: u64) -> Decision {
        forget_before(&mut self.failures, self.policy.window, now_ns);
        self.failures.push_back(now_ns);
        let count = self.failures.len() as u32;
        if self.policy.limit.is_some_and(|limit| count > limit) {
            return Decision::GiveUp;
        }
        if self.keeps_failing {
            return Decision::RestartAfter(self.policy.longest_delay);
        }
        let delay = self.policy.first_delay.saturating_mul(1u32.checked_shl(count - 1).unwrap_or(u32::MAX));
        Decision::RestartAfter(delay.min(self.policy.longest_delay))
    }
}

fn forget_before(times_ns: &mut VecDeque<u64>, window: Duration, now_ns: u64) {
    let window = window.as_nanos() as u64;
    while times_ns.front().is_some_and(|at| at.saturating_add(window) < now_ns) {
        times_ns.pop_front();
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
    fn a_part_that_keeps_failing_is_said_once_and_waits_the_longest() {
        let mut restarts = Restarts::new(Policy::DEVICE);
        let mut lost = |second: u64| (restarts.lost(second * SECOND), restarts.failed(second * SECOND));
        let after = |ms| Decision::RestartAfter(Duration::from_millis(ms));
        // Every 16 s: four losses are in the window, which is bad, but no loop.
        for (k, delay) in [250, 500, 1000, 2000, 2000, 2000].into_iter().enumerate() {
            assert_eq!(lost(k as u64 * 16), (false, after(delay)), "loss {k}");
        }
        assert_eq!(lost(90), (true, after(4000)), "five in a minute");
        assert_eq!(lost(145), (false, after(4000)), "said once, and not at its first delays again");
        assert_eq!(lost(210), (false, after(250)), "it has held out for a minute");
        assert!(!restarts.keeps_failing());
    }

    /// Whenever a device returns, it is tried within the longest delay; what is left of five seconds is for opening it.
    #[test]
    fn a_device_is_tried_within_four_seconds_of_its_return() {
        const MS: u64 = 1_000_000;
        for losses in [1, 7] {
            for away_ms in (0..200_000).step_by(37) {
                let (mut restarts, mut now) = (Restarts::new(Policy::DEVICE), 10 * SECOND);
                // A loose cable before: by the fifth loss every wait is the longest.
                for _ in 1..losses {
                    now += 5 * SECOND;
                    restarts.lost(now);
                    restarts.failed(now);
                }
                now += SECOND;
                restarts.lost(now);
                let returns = now + away_ms * MS;
                while now < returns {
                    let Decision::RestartAfter(delay) = restarts.failed(now) else { panic!("given up") };
                    now += delay.as_nanos() as u64;
                }
                let waited = now - returns;
                assert!(waited <= 4 * SECOND, "{waited} ns after {away_ms} ms, {losses} losses");
            }
        }
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
