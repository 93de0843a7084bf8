//! Arms are let go of before the process ends, whatever ends it.
//!
//! Every thread that has an arm holds a [`Connected`]. Whoever ends the process calls [`all`]: threads that still have an arm
//! are told to end, which switches torque off, and are waited for.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What the threads and the end of the process have in common.
struct Register {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    connected: usize,
    must_end: bool,
}

static ARMS: Register = Register::new();

/// A thread has, or may have, an arm.
#[derive(Debug)]
pub struct Connected(());

impl Connected {
    #[allow(clippy::new_without_default)] // it is not a value but a fact
    pub fn new() -> Connected {
        ARMS.lock().connected += 1;
        Connected(())
    }

    /// The process ends: let go of the arm.
    pub fn must_end() -> bool {
        ARMS.lock().must_end
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        ARMS.left();
    }
}

/// Has all arms let go of; true when they are, false after `patience`.
pub fn all(patience: Duration) -> bool {
    ARMS.end(patience)
}

impl Register {
    const fn new() -> Register {
        Register { state: Mutex::new(State { connected: 0, must_end: false }), changed: Condvar::new() }
    }

    fn left(&self) {
        self.lock().connected -= 1;
        self.changed.notify_all();
    }

    fn end(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        state.must_end = true;
        while state.connected > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_waits_for_those_that_have_an_arm() {
        static HERE: Register = Register::new();
        HERE.lock().connected = 1;
        assert!(!HERE.end(Duration::ZERO), "one does not let go");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| HERE.end(Duration::from_secs(60)));
            assert!(HERE.lock().must_end);
            HERE.left();
            assert!(waiting.join().unwrap());
        });
    }
}
