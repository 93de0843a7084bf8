//! What the coordinator and a replay tell each other: which tick is which row of a take, and whether one may begin.
//!
//! The ticker tells both of a tick at once; the coordinator decides what the tick is for, and the replay waits for that,
//! some microseconds. So the replay needs no guess, and in simulated time every run is the same.

use super::trajectory::Cue;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Shared by both.
#[derive(Debug, Default)]
pub struct Cues {
    state: Mutex<State>,
    told: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The newest tick that is decided, and what it is for.
    cue: Option<(u64, Cue)>,
    in_place: bool,
}

impl Cues {
    /// What a tick is for. Ticks come in order.
    pub fn tell(&self, tick: u64, cue: Cue) {
        self.lock().cue = Some((tick, cue));
        self.told.notify_all();
    }

    /// Waits for what a tick is for; of a tick that is long over, what the newest one is for. `None` at the deadline.
    pub fn wait(&self, tick: u64, deadline: Instant) -> Option<Cue> {
        let mut state = self.lock();
        loop {
            match state.cue {
                Some((newest, cue)) if newest >= tick => return Some(cue),
                _ => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            state = self.told.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether the arm rests in the first pose.
    pub fn set_in_place(&self, in_place: bool) {
        self.lock().in_place = in_place;
    }

    pub fn is_in_place(&self) -> bool {
        self.lock().in_place
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_tick_is_waited_for_until_it_is_decided() {
        let cues = Cues::default();
        let soon = || Instant::now() + Duration::from_millis(1);
        assert_eq!(cues.wait(0, soon()), None);
        cues.tell(3, Cue::Play(7));
        assert_eq!(
            (cues.wait(3, soon()), cues.wait(2, soon()), cues.wait(4, soon())),
            (Some(Cue::Play(7)), Some(Cue::Play(7)), None)
        );
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| cues.wait(4, Instant::now() + Duration::from_secs(60)));
            cues.tell(4, Cue::Hold);
            assert_eq!(waiting.join().unwrap(), Some(Cue::Hold));
        });
    }
}
