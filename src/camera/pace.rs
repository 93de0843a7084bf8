//! The rate of cameras that have no hardware to keep it.

use super::CameraError;
use crate::clock::{Clock, Rank, Sleeper, Stamp, tick_ns};
use std::sync::Arc;
use std::time::Duration;

/// Pictures that wait for a late caller, as in a driver with so many buffers. A caller that is later than that finds
/// a gap in the sequence and the newest picture. In simulated time nobody is late.
const BUFFERS: u64 = 4;

/// Paces picture j to start + j / fps on the clock, without jitter or drift.
pub(super) struct Pacer {
    clock: Arc<dyn Clock>,
    sleeper: Box<dyn Sleeper>,
    fps: u32,
    /// Monotonic time of picture 0: when it was first asked for.
    start_ns: Option<u64>,
    next: u64,
}

impl Pacer {
    pub fn new(clock: &Arc<dyn Clock>, rank: Rank, fps: u32) -> Pacer {
        Pacer { clock: clock.clone(), sleeper: clock.join(rank), fps, start_ns: None, next: 0 }
    }

    /// Waits until the next picture is due; its number and the exact time it is due.
    pub fn wait(&mut self, timeout: Duration) -> Result<(u64, Stamp), CameraError> {
        let now = self.clock.now().mono_ns;
        let start = *self.start_ns.get_or_insert(now);
        if !self.clock.is_simulated() {
            let elapsed = u128::from(now.saturating_sub(start));
            let newest = (elapsed * u128::from(self.fps) / 1_000_000_000) as u64;
            if newest > self.next + BUFFERS {
                self.next = newest;
            }
        }
        let due = start + tick_ns(self.next, self.fps);
        let deadline = now.saturating_add(timeout.as_nanos().try_into().unwrap_or(u64::MAX));
        if !self.sleeper.sleep_until(due.min(deadline)) {
            return Err(CameraError::Stopped);
        }
        if due > deadline {
            return Err(CameraError::Timeout);
        }
        let number = self.next;
        self.next += 1;
        Ok((number, self.clock.stamp(due)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SimulatedClock;

    fn simulated() -> Arc<dyn Clock> {
        Arc::new(SimulatedClock::new(Stamp { mono_ns: 1_000, utc_ns: 2_000 }))
    }

    #[test]
    fn pictures_are_due_on_an_exact_grid() {
        let clock = simulated();
        let mut pacer = Pacer::new(&clock, Rank(0), 30);
        for j in 0..100 {
            let (number, captured) = pacer.wait(Duration::from_secs(1)).unwrap();
            assert_eq!(number, j);
            assert_eq!(captured.mono_ns, 1_000 + tick_ns(j, 30));
            assert_eq!(captured.utc_ns, 2_000 + tick_ns(j, 30));
            assert_eq!(clock.now(), captured);
        }
    }

    #[test]
    fn a_short_timeout_comes_back_and_loses_nothing() {
        let clock = simulated();
        let mut pacer = Pacer::new(&clock, Rank(0), 1);
        let mut waits = 0;
        let mut numbers = Vec::new();
        while numbers.len() < 3 {
            match pacer.wait(Duration::from_millis(300)) {
                Ok((number, _)) => numbers.push(number),
                Err(CameraError::Timeout) => waits += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!((numbers, waits), (vec![0, 1, 2], 6));
    }

    #[test]
    fn a_stopped_clock_ends_it() {
        let clock = simulated();
        let mut pacer = Pacer::new(&clock, Rank(0), 30);
        clock.stop();
        assert!(matches!(pacer.wait(Duration::from_secs(1)), Err(CameraError::Stopped)));
    }
}
