//! Memory for frames, bounded by bytes and by count: nobody holds a frame without a [`Credit`].
//!
//! ractor's mailboxes are unbounded, so the bound travels with the frame: its credit comes back when the last `Arc`
//! of the frame is dropped, wherever that is. A camera never waits for a credit in real time: without one, the
//! frame is dropped and counted.

use metrics::Gauge;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

/// The bytes of one recorder and the frame count of one camera. Clones share the bound.
#[derive(Clone)]
pub struct Budget {
    bytes: Arc<Pool>,
    frames: Arc<Pool>,
}

/// The right to hold one frame of so many bytes; returned on drop.
pub struct Credit {
    budget: Budget,
    bytes: usize,
}

/// Which bound was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exhausted {
    /// All cameras together hold the configured bytes.
    Bytes,
    /// This camera holds its number of frames.
    Frames,
}

struct Pool {
    limit: usize,
    used: Mutex<usize>,
    returned: Condvar,
    /// Shows what is used.
    gauge: Gauge,
}

impl Pool {
    fn new(limit: usize, gauge: Gauge) -> Arc<Pool> {
        Arc::new(Pool { limit, used: Mutex::new(0), returned: Condvar::new(), gauge })
    }

    fn change(&self, used: &mut usize, to: usize) {
        *used = to;
        self.gauge.set(to as f64);
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.used.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn try_take(&self, n: usize) -> bool {
        let mut used = self.lock();
        let fits = *used + n <= self.limit;
        if fits {
            let sum = *used + n;
            self.change(&mut used, sum);
        }
        fits
    }

    /// Waits until `n` fit. One frame larger than the whole limit is let through alone rather than waiting for ever.
    fn take(&self, n: usize) {
        let mut used = self.lock();
        while *used > 0 && *used + n > self.limit {
            used = self.returned.wait(used).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        let sum = *used + n;
        self.change(&mut used, sum);
    }

    fn give(&self, n: usize) {
        let mut used = self.lock();
        let rest = *used - n;
        self.change(&mut used, rest);
        drop(used);
        self.returned.notify_all();
    }
}

impl Budget {
    /// A bound of `bytes` that all cameras share, and of `frames` for the first of them; see [`Budget::sibling`].
    pub fn new(bytes: usize, frames: usize) -> Budget {
        Budget::shown(bytes, frames, Gauge::noop())
    }

    /// As [`Budget::new`]; the gauge shows the bytes that are held.
    pub fn shown(bytes: usize, frames: usize, gauge: Gauge) -> Budget {
        Budget { bytes: Pool::new(bytes, gauge), frames: Pool::new(frames, Gauge::noop()) }
    }

    /// The budget of another camera: the same bytes, a frame count of its own.
    pub fn sibling(&self, frames: usize) -> Budget {
        Budget { bytes: self.bytes.clone(), frames: Pool::new(frames, Gauge::noop()) }
    }

    /// A credit for a frame of `bytes`, or which bound stands in the way. Never waits.
    pub fn try_acquire(&self, bytes: usize) -> Result<Credit, Exhausted> {
        if !self.frames.try_take(1) {
            return Err(Exhausted::Frames);
        }
        if !self.bytes.try_take(bytes) {
            self.frames.give(1);
            return Err(Exhausted::Bytes);
        }
        Ok(Credit { budget: self.clone(), bytes })
    }

    /// A credit, waiting for one if need be: only where time stands still meanwhile ([`crate::clock::Clock::is_simulated`]).
    pub fn acquire(&self, bytes: usize) -> Credit {
        self.frames.take(1);
        self.bytes.take(bytes);
        Credit { budget: self.clone(), bytes }
    }

    /// Frames this camera holds now.
    pub fn frames_in_use(&self) -> usize {
        *self.frames.lock()
    }

    /// Bytes all cameras hold now.
    pub fn bytes_in_use(&self) -> usize {
        *self.bytes.lock()
    }
}

impl Drop for Credit {
    fn drop(&mut self) {
        self.budget.bytes.give(self.bytes);
        self.budget.frames.give(1);
    }
}

impl std::fmt::Debug for Budget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Budget({} of {} bytes, {} of {} frames)",
            self.bytes_in_use(),
            self.bytes.limit,
            self.frames_in_use(),
            self.frames.limit
        )
    }
}

impl std::fmt::Debug for Credit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credit({} bytes)", self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_by_count_and_bytes_and_returned_on_drop() {
        let a = Budget::new(100, 2);
        let b = a.sibling(10);
        let one = a.try_acquire(40).unwrap();
        let two = a.try_acquire(40).unwrap();
        assert_eq!(a.try_acquire(1).unwrap_err(), Exhausted::Frames);
        assert_eq!(b.try_acquire(21).unwrap_err(), Exhausted::Bytes);
        assert_eq!(b.frames_in_use(), 0, "a refused credit leaves nothing behind");
        drop(one);
        let three = b.try_acquire(60).unwrap();
        drop((two, three));
        assert_eq!((a.frames_in_use(), b.frames_in_use(), a.bytes_in_use()), (0, 0, 0));
    }

    #[test]
    fn waiting_acquire_goes_on_when_a_credit_returns() {
        let budget = Budget::new(100, 1);
        let first = budget.acquire(100);
        let other = budget.clone();
        let thread = std::thread::spawn(move || other.acquire(500));
        drop(first);
        let late = thread.join().unwrap();
        assert_eq!(budget.bytes_in_use(), 500, "an oversized frame passes alone");
        drop(late);
    }
}
