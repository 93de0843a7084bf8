//! Two arms as one: a left and a right one, each on a bus of its own, talked to at the same time.
//!
//! The features are the left arm's and then the right one's, whose names begin with `left_` and `right_`. An arm that does not
//! answer in time does not cost the other one its row: its last values stand there, marked. When it keeps silent the pair
//! is lost as a whole, as a single arm is: a robot with one arm is another robot.

use super::{ArmError, Health, LONGEST_SILENCE, Reading, Robot, Teleop};
use crate::beside::Beside;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A left and a right arm of one kind: `dyn Robot` or `dyn Teleop`.
pub struct Pair<A: ?Sized> {
    /// Ended first: nothing is done any more when the arms are let go of.
    beside: Beside,
    left: Box<A>,
    /// Locked by one of the two threads at a time.
    right: Arc<Mutex<Box<A>>>,
    /// Of the left arm and of the right one.
    last: [Last; 2],
    /// What was made good for by a last value.
    faults: Vec<ArmError>,
    /// The right arm is looked after next.
    rights_turn: bool,
}

/// The last reading of one arm.
struct Last {
    values: Option<Vec<f32>>,
    answered: Instant,
}

impl<A: ?Sized + Send + 'static> Pair<A> {
    /// Opens both arms at the same time; where one fails the other is let go of.
    pub fn open(
        left: impl FnOnce() -> Result<Box<A>, ArmError>,
        right: impl FnOnce() -> Result<Box<A>, ArmError> + Send + 'static,
    ) -> Result<Pair<A>, ArmError> {
        let beside = Beside::start("right-arm").map_err(ArmError::Thread)?;
        let (left, right) = beside.both(left, right);
        let last = || Last { values: None, answered: Instant::now() };
        let (left, right) = (left?, Arc::new(Mutex::new(right?)));
        Ok(Pair { beside, left, right, last: [last(), last()], faults: Vec::new(), rights_turn: false })
    }

    fn right(&self) -> MutexGuard<'_, Box<A>> {
        lock(&self.right)
    }

    /// What both arms say of themselves without being talked to, the left one's first.
    fn said<T: Clone>(&self, said: impl Fn(&A) -> Vec<T>) -> Vec<T> {
        [said(&self.left), said(&self.right())].concat()
    }

    /// One of the arms, the other one at the next call.
    fn next(&mut self, look: impl Fn(&mut A)) {
        self.rights_turn = !self.rights_turn;
        if self.rights_turn { look(&mut self.left) } else { look(&mut self.right()) }
    }

    fn faults(&mut self, take: impl Fn(&mut A) -> Vec<ArmError>) -> Vec<ArmError> {
        let mut faults = std::mem::take(&mut self.faults);
        faults.extend(take(&mut self.left));
        faults.extend(take(&mut self.right()));
        faults
    }

    /// Does the same with both arms at the same time.
    fn both<T: Send + 'static>(&mut self, ask: impl Fn(&mut A) -> T + Clone + Send + 'static) -> [T; 2] {
        let (right, ask_right) = (self.right.clone(), ask.clone());
        let (left, right) = self.beside.both(|| ask(&mut self.left), move || ask_right(&mut lock(&right)));
        [left, right]
    }

    /// The reading of the pair. An error when neither arm has answered, or one is lost or has never answered.
    fn joined(&mut self, reads: [Result<Reading, ArmError>; 2]) -> Result<Reading, ArmError> {
        let (mut joined, mut missed, mut lost) = (Reading::default(), Vec::new(), None);
        for (read, last) in reads.into_iter().zip(&mut self.last) {
            let begin = joined.values.len();
            match (read, &last.values) {
                (Ok(reading), _) => {
                    joined.values.extend(&reading.values);
                    joined.reused.extend(reading.reused.iter().map(|index| begin + index));
                    *last = Last { values: Some(reading.values), answered: Instant::now() };
                }
                (Err(error), Some(values)) if !error.is_fatal() && last.answered.elapsed() <= LONGEST_SILENCE => {
                    joined.values.extend(values);
                    joined.reused.extend(begin..joined.values.len());
                    missed.push(error);
                }
                (Err(error), _) => lost = lost.or(Some(error)),
            }
        }
        if missed.len() == self.last.len() {
            lost = lost.or(missed.pop());
        }
        self.faults.append(&mut missed);
        lost.map_or(Ok(joined), Err)
    }
}

fn lock<A: ?Sized>(arm: &Mutex<Box<A>>) -> MutexGuard<'_, Box<A>> {
    // An arm whose talk has panicked is still to be let go of.
    arm.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Robot for Pair<dyn Robot> {
    fn features(&self) -> Vec<String> {
        self.said(|arm| arm.features())
    }

    fn observe(&mut self, deadline: Instant) -> Result<Reading, ArmError> {
        let reads = self.both(move |arm| arm.observe(deadline));
        self.joined(reads)
    }

    fn approach(&mut self, seconds: f64) {
        self.left.approach(seconds);
        self.right().approach(seconds);
    }

    /// An arm that cannot be given its goals is an error; the other one has got its own all the same.
    fn send(&mut self, action: &[f32], deadline: Instant) -> Result<Vec<f32>, ArmError> {
        let (lefts, rights) = (self.left.features().len(), self.right().features().len());
        if action.len() != lefts + rights {
            return Err(ArmError::WrongLength { expected: lefts + rights, found: action.len() });
        }
        let (for_left, for_right) = action.split_at(lefts);
        let (right, for_right) = (self.right.clone(), for_right.to_vec());
        let (left, right) =
            self.beside.both(|| self.left.send(for_left, deadline), move || lock(&right).send(&for_right, deadline));
        match (left, right) {
            (Ok(left), Ok(right)) => Ok([left, right].concat()),
            (Err(error), Ok(_)) | (Ok(_), Err(error)) => Err(error),
            // The one that only opening it again can help against is the one that matters.
            (Err(left), Err(right)) => {
                let (error, further) = if right.is_fatal() { (right, left) } else { (left, right) };
                self.faults.push(further);
                Err(error)
            }
        }
    }

    /// One arm at a call, so one motor.
    fn look_after(&mut self, deadline: Instant) {
        self.next(|arm| arm.look_after(deadline));
    }

    fn health(&self) -> Vec<Health> {
        self.said(|arm| arm.health())
    }

    fn take_faults(&mut self) -> Vec<ArmError> {
        self.faults(|arm| arm.take_faults())
    }

    /// Both are let go of, whatever one of them says.
    fn shutdown(&mut self) -> Vec<ArmError> {
        self.both(|arm| arm.shutdown()).into_iter().flatten().collect()
    }
}

impl Teleop for Pair<dyn Teleop> {
    fn features(&self) -> Vec<String> {
        self.said(|arm| arm.features())
    }

    fn action(&mut self, deadline: Instant) -> Result<Reading, ArmError> {
        let reads = self.both(move |arm| arm.action(deadline));
        self.joined(reads)
    }

    /// One arm at a call, so one motor.
    fn look_after(&mut self, deadline: Instant) {
        self.next(|arm| arm.look_after(deadline));
    }

    fn health(&self) -> Vec<Health> {
        self.said(|arm| arm.health())
    }

    fn take_faults(&mut self) -> Vec<ArmError> {
        self.faults(|arm| arm.take_faults())
    }

    /// Both are let go of, whatever one of them says.
    fn shutdown(&mut self) -> Vec<ArmError> {
        self.both(|arm| arm.shutdown()).into_iter().flatten().collect()
    }
}
