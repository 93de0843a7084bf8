//! Time as a dependency, so that tests own it.
//!
//! Two clocks serve one interface. [`SystemClock`] is the kernel's monotonic clock. [`SimulatedClock`] is a discrete-event
//! clock: time stands still while any participant works and jumps to the earliest deadline once all of them sleep,
//! waking exactly one at a time. The same camera, ticker and arm code therefore runs in real time on a robot, as fast
//! as the machine can for `file` cameras with `realtime = false`, and deterministically in tests.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// One instant on two scales. Intervals are measured on `mono_ns`; `utc_ns` only says when that was for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// Nanoseconds of `CLOCK_MONOTONIC`, the scale of V4L2 driver timestamps.
    pub mono_ns: u64,
    /// Nanoseconds since 1970-01-01 UTC.
    pub utc_ns: u64,
}

/// Where in one instant a sleeper is woken: lower ranks first. Cameras use their index, the ticker [`Rank::TICKER`],
/// so that a frame captured exactly at a tick is delivered before the tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank(pub u32);

impl Rank {
    /// A device that is opened again: after the cameras, before the tick.
    pub const RESTART: Rank = Rank(u32::MAX - 1);
    /// After every camera of the same instant.
    pub const TICKER: Rank = Rank(u32::MAX);
}

/// A source of time. Shared by every thread of a run.
pub trait Clock: Send + Sync {
    /// Now, on both scales.
    fn now(&self) -> Stamp;
    /// Both scales for a monotonic time, such as a driver's timestamp.
    fn stamp(&self, mono_ns: u64) -> Stamp {
        let now = self.now();
        Stamp { mono_ns, utc_ns: now.utc_ns.wrapping_add(mono_ns.wrapping_sub(now.mono_ns)) }
    }
    /// Makes the calling thread a participant that can sleep on this clock. While it does not sleep, simulated time stands still.
    fn join(&self, rank: Rank) -> Box<dyn Sleeper>;
    /// Keeps simulated time from advancing until dropped; costs nothing in real time.
    fn hold(&self) -> Hold;
    /// True when time only advances once every participant waits. Work may then take as long as it likes.
    fn is_simulated(&self) -> bool;
    /// Wakes every sleeper for good: their `sleep_until` returns false from now on.
    fn stop(&self);
}

/// A participant's way to wait for a time.
pub trait Sleeper: Send {
    /// Blocks until `mono_ns`; at once when that has passed. False when the clock was stopped: the thread should end.
    fn sleep_until(&mut self, mono_ns: u64) -> bool;
}

/// See [`Clock::hold`].
pub struct Hold(Option<Arc<Simulation>>);

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(simulation) = &self.0 {
            let mut state = simulation.lock();
            state.busy -= 1;
            simulation.advance(&mut state);
        }
    }
}

impl std::fmt::Debug for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hold")
    }
}

/// `CLOCK_MONOTONIC` and `CLOCK_REALTIME`.
#[derive(Debug, Default)]
pub struct SystemClock {
    stopped: Arc<std::sync::atomic::AtomicBool>,
}

/// `CLOCK_MONOTONIC` in nanoseconds.
pub fn monotonic_ns() -> u64 {
    timespec_ns(rustix::time::clock_gettime(rustix::time::ClockId::Monotonic))
}

fn timespec_ns(t: rustix::time::Timespec) -> u64 {
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

impl Clock for SystemClock {
    fn now(&self) -> Stamp {
        Stamp {
            mono_ns: monotonic_ns(),
            utc_ns: timespec_ns(rustix::time::clock_gettime(rustix::time::ClockId::Realtime)),
        }
    }

    fn join(&self, _rank: Rank) -> Box<dyn Sleeper> {
        Box::new(SystemSleeper { stopped: self.stopped.clone() })
    }

    fn hold(&self) -> Hold {
        Hold(None)
    }

    fn is_simulated(&self) -> bool {
        false
    }

    fn stop(&self) {
        self.stopped.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

struct SystemSleeper {
    stopped: Arc<std::sync::atomic::AtomicBool>,
}

/// A stopped clock is noticed at the latest after this long in the middle of a sleep.
const LONGEST_NAP_NS: u64 = 100_000_000;

impl Sleeper for SystemSleeper {
    fn sleep_until(&mut self, mono_ns: u64) -> bool {
        loop {
            if self.stopped.load(std::sync::atomic::Ordering::Relaxed) {
                return false;
            }
            let now = monotonic_ns();
            if now >= mono_ns {
                return true;
            }
            let until = mono_ns.min(now + LONGEST_NAP_NS);
            let request = rustix::time::Timespec {
                tv_sec: (until / 1_000_000_000) as i64,
                tv_nsec: (until % 1_000_000_000) as _,
            };
            // An absolute deadline does not drift; an interrupted or early return is caught by the loop.
            let _ = rustix::thread::clock_nanosleep_absolute(rustix::thread::ClockId::Monotonic, &request);
        }
    }
}

/// A discrete-event clock; see the module's text.
#[derive(Clone)]
pub struct SimulatedClock(Arc<Simulation>);

struct Simulation {
    state: Mutex<SimulationState>,
    woken: Condvar,
}

struct SimulationState {
    now: Stamp,
    /// Participants that are not asleep, and holds.
    busy: u32,
    /// Sleepers by (deadline, rank, ticket).
    waiting: BTreeMap<(u64, Rank, u64), ()>,
    /// The ticket that may run.
    released: Option<u64>,
    next_ticket: u64,
    stopped: bool,
}

impl SimulatedClock {
    /// A clock that stands at `start` until its participants all sleep.
    pub fn new(start: Stamp) -> SimulatedClock {
        SimulatedClock(Arc::new(Simulation {
            state: Mutex::new(SimulationState {
                now: start,
                busy: 0,
                waiting: BTreeMap::new(),
                released: None,
                next_ticket: 0,
                stopped: false,
            }),
            woken: Condvar::new(),
        }))
    }
}

impl Simulation {
    fn lock(&self) -> MutexGuard<'_, SimulationState> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Lets the earliest sleeper go when nobody is busy. The released sleeper counts as busy from here on.
    fn advance(&self, state: &mut SimulationState) {
        if state.busy > 0 || state.released.is_some() || state.stopped {
            return;
        }
        if let Some(((deadline, _, ticket), ())) = state.waiting.pop_first() {
            let step = deadline.saturating_sub(state.now.mono_ns);
            state.now.mono_ns += step;
            state.now.utc_ns += step;
            state.busy += 1;
            state.released = Some(ticket);
            self.woken.notify_all();
        }
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> Stamp {
        self.0.lock().now
    }

    fn join(&self, rank: Rank) -> Box<dyn Sleeper> {
        self.0.lock().busy += 1;
        Box::new(SimulatedSleeper { simulation: self.0.clone(), rank })
    }

    fn hold(&self) -> Hold {
        self.0.lock().busy += 1;
        Hold(Some(self.0.clone()))
    }

    fn is_simulated(&self) -> bool {
        true
    }

    fn stop(&self) {
        self.0.lock().stopped = true;
        self.0.woken.notify_all();
    }
}

struct SimulatedSleeper {
    simulation: Arc<Simulation>,
    rank: Rank,
}

impl Sleeper for SimulatedSleeper {
    fn sleep_until(&mut self, mono_ns: u64) -> bool {
        let mut state = self.simulation.lock();
        if state.stopped {
            return false;
        }
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        // A deadline in the past waits its turn too, so that the order of events does not depend on thread timing.
        let key = (mono_ns.max(state.now.mono_ns), self.rank, ticket);
        state.waiting.insert(key, ());
        state.busy -= 1;
        self.simulation.advance(&mut state);
        loop {
            if state.released == Some(ticket) {
                state.released = None;
                return !state.stopped;
            }
            if state.stopped {
                state.waiting.remove(&key);
                state.busy += 1;
                return false;
            }
            state = self.simulation.woken.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }
}

impl Drop for SimulatedSleeper {
    fn drop(&mut self) {
        let mut state = self.simulation.lock();
        state.busy -= 1;
        self.simulation.advance(&mut state);
    }
}

/// The length of one period of `fps`, for sums use [`tick_ns`].
pub fn period(fps: u32) -> Duration {
    Duration::from_nanos(1_000_000_000 / u64::from(fps.max(1)))
}

/// Offset of tick `k` from the start of a grid at `fps`, rounded down: exact for every k, so the grid never drifts.
pub fn tick_ns(k: u64, fps: u32) -> u64 {
    let fps = u64::from(fps.max(1));
    (k / fps) * 1_000_000_000 + (k % fps) * 1_000_000_000 / fps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tick_grid_does_not_drift() {
        assert_eq!(tick_ns(0, 30), 0);
        assert_eq!(tick_ns(1, 30), 33_333_333);
        assert_eq!(tick_ns(30 * 3600, 30), 3_600_000_000_000);
        assert_eq!(tick_ns(29, 30), 966_666_666);
    }

    /// Three threads at different rates: every event happens in (time, rank) order, whatever the threads' speed.
    #[test]
    fn simulated_clock_orders_events_by_time_then_rank() {
        let clock = SimulatedClock::new(Stamp { mono_ns: 1_000, utc_ns: 5_000 });
        let log = Arc::new(Mutex::new(Vec::new()));
        let start = clock.hold();
        let threads: Vec<_> = [(Rank(0), 10), (Rank(1), 20), (Rank::TICKER, 10)]
            .into_iter()
            .map(|(rank, step)| {
                let mut sleeper = clock.join(rank);
                let (clock, log) = (clock.clone(), log.clone());
                std::thread::spawn(move || {
                    for k in 1..=20 / step * 5 {
                        assert!(sleeper.sleep_until(1_000 + k * step));
                        log.lock().unwrap().push((clock.now().mono_ns, rank));
                    }
                })
            })
            .collect();
        drop(start);
        for t in threads {
            t.join().unwrap();
        }
        let log = log.lock().unwrap();
        assert_eq!(log.len(), 25);
        assert!(log.is_sorted(), "{log:?}");
        assert_eq!(clock.now(), Stamp { mono_ns: 1_100, utc_ns: 5_100 });
    }

    #[test]
    fn stopping_wakes_sleepers() {
        for clock in
            [Box::new(SimulatedClock::new(Stamp::default())) as Box<dyn Clock>, Box::new(SystemClock::default())]
        {
            let _hold = clock.hold();
            let mut sleeper = clock.join(Rank(0));
            let thread = std::thread::spawn(move || sleeper.sleep_until(u64::MAX / 2));
            clock.stop();
            assert!(!thread.join().unwrap());
        }
    }
}
