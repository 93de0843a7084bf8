//! What leader and follower tell each other. It outlives both: each is lost and opened again without the other.

use super::Role;
use crate::arm::Health;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What the leader says at a tick.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Action {
    pub tick: u64,
    pub values: Vec<f32>,
    /// The values, or some of them, are older than the tick.
    pub reused: bool,
    /// Why there is no new value, by kind.
    pub failed: Option<&'static str>,
}

/// What the follower hears of a tick.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Heard {
    Action(Action),
    /// Nothing by the deadline.
    Nothing,
    /// The leader is away, for this reason.
    Away(Arc<str>),
}

/// Shared by the two threads, whichever of them runs.
#[derive(Debug, Default)]
pub struct Link {
    state: Mutex<State>,
    told: Condvar,
}

#[derive(Debug)]
struct State {
    /// The newest ones, oldest first.
    actions: VecDeque<Action>,
    /// The last values; those of a leader that is away stay.
    last: Option<Vec<f32>>,
    /// Why there is no leader.
    away: Option<Arc<str>>,
    /// The follower answers.
    follows: bool,
    /// Where the follower was when it was connected; taken once.
    start: Option<Vec<f32>>,
    /// How the motors of each arm were when something was last said of them.
    known: [Vec<Health>; 2],
}

impl Default for State {
    fn default() -> State {
        let away = Some("it is not connected yet".into());
        let (actions, last, follows, start, known) = Default::default();
        State { actions, last, away, follows, start, known }
    }
}

/// One action for each tick; the follower passes over those that it missed, so a few are enough.
const MOST_ACTIONS: usize = 4;
/// How often a wait looks whether the thread should end.
const POLL: Duration = Duration::from_millis(100);

impl Link {
    /// The leader answers.
    pub(super) fn leads(&self, values: Vec<f32>) {
        let mut state = self.lock();
        state.actions.clear();
        (state.last, state.away) = (Some(values), None);
    }

    /// The leader's word at a tick.
    pub(super) fn tell(&self, action: Action) {
        let mut state = self.lock();
        state.last = Some(action.values.clone());
        if state.actions.len() == MOST_ACTIONS {
            state.actions.pop_front();
        }
        state.actions.push_back(action);
        self.told.notify_all();
    }

    /// There is no leader any more; the first reason stays.
    pub(super) fn leader_left(&self, reason: &str) {
        self.lock().away.get_or_insert_with(|| reason.into());
        self.told.notify_all();
    }

    /// The last action that there was, be it of a leader that is away.
    pub(super) fn last(&self) -> Option<Vec<f32>> {
        self.lock().last.clone()
    }

    /// Waits for the leader's word at a tick; where the follower is late, the first one after it.
    pub(super) fn wait(&self, tick: u64, deadline: Instant, stop: &AtomicBool) -> Heard {
        let mut state = self.lock();
        loop {
            if let Some(reason) = &state.away {
                return Heard::Away(reason.clone());
            }
            if let Some(action) = state.actions.iter().find(|action| action.tick >= tick) {
                return Heard::Action(action.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || stop.load(Ordering::Relaxed) {
                return Heard::Nothing;
            }
            state = self.told.wait_timeout(state, left.min(POLL)).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The follower answers, from where it is.
    pub(super) fn follows(&self, start: Vec<f32>) {
        let mut state = self.lock();
        (state.follows, state.start) = (true, Some(start));
        self.told.notify_all();
    }

    /// There is no follower any more.
    pub(super) fn follower_left(&self) {
        let mut state = self.lock();
        (state.follows, state.start) = (false, None);
    }

    pub(super) fn has_follower(&self) -> bool {
        self.lock().follows
    }

    /// Where the follower was when it was connected, once for each time.
    pub(super) fn take_start(&self) -> Option<Vec<f32>> {
        self.lock().start.take()
    }

    /// As [`Link::take_start`], waiting for a follower; `None` when the thread should end.
    pub(super) fn wait_start(&self, stop: &AtomicBool) -> Option<Vec<f32>> {
        let mut state = self.lock();
        while !stop.load(Ordering::Relaxed) {
            if let Some(start) = state.start.take() {
                return Some(start);
            }
            state = self.told.wait_timeout(state, POLL).unwrap_or_else(PoisonError::into_inner).0;
        }
        None
    }

    pub(super) fn known(&self, role: Role) -> Vec<Health> {
        self.lock().known[role as usize].clone()
    }

    pub(super) fn know(&self, role: Role, health: Vec<Health>) {
        self.lock().known[role as usize] = health;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(tick: u64) -> Action {
        Action { tick, values: vec![tick as f32], reused: false, failed: None }
    }

    #[test]
    fn the_follower_hears_of_its_tick_and_of_a_leader_that_is_away() {
        let (link, stop) = (Link::default(), AtomicBool::new(false));
        let heard = |tick| link.wait(tick, Instant::now(), &stop);
        assert!(matches!(heard(0), Heard::Away(_)), "not connected yet");
        link.leads(vec![7.0]);
        assert_eq!((heard(0), link.last()), (Heard::Nothing, Some(vec![7.0])));
        (1..=6).for_each(|tick| link.tell(action(tick)));
        assert_eq!(heard(5), Heard::Action(action(5)));
        assert_eq!(heard(1), Heard::Action(action(3)), "a follower that is late passes over what it missed");
        assert_eq!(heard(7), Heard::Nothing);
        link.leader_left("unplugged");
        link.leader_left("still unplugged");
        assert_eq!((heard(6), link.last()), (Heard::Away("unplugged".into()), Some(vec![6.0])));
        link.leads(vec![8.0]);
        assert_eq!(heard(6), Heard::Nothing, "what an earlier leader said is over");
    }

    #[test]
    fn whoever_waits_hears_at_once() {
        let (link, stop) = (Link::default(), AtomicBool::new(false));
        link.leads(vec![0.0]);
        let late = || Instant::now() + Duration::from_secs(60);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| link.wait(1, late(), &stop));
            link.tell(action(1));
            assert_eq!(waiting.join().unwrap(), Heard::Action(action(1)));
            let waiting = scope.spawn(|| link.wait(2, late(), &stop));
            link.leader_left("unplugged");
            assert_eq!(waiting.join().unwrap(), Heard::Away("unplugged".into()));
            let waiting = scope.spawn(|| link.wait_start(&stop));
            link.follows(vec![1.0]);
            assert_eq!(waiting.join().unwrap(), Some(vec![1.0]));
        });
        assert_eq!((link.has_follower(), link.take_start()), (true, None));
        link.follower_left();
        assert!(!link.has_follower());
        stop.store(true, Ordering::Relaxed);
        assert_eq!(link.wait_start(&stop), None);
    }
}
