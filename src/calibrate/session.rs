//! An arm is calibrated by hand, step by step: centre, sweep, keep.
//!
//! Nothing is kept before everything is known: the servos get their limits, read back, and the file after them. Whoever
//! leaves before that finds the servos with the calibration that they had, and the file untouched. Whatever a person can
//! mend (a cable, a joint that was not moved) is said, and the step is done again.

use super::keeper::{Failure, Keeper};
use super::person::{Every, Person, Press, ask};
use super::save::Saved;
use super::sweep::{self, Limits, Sweep, UNCALIBRATED};
use super::view::{self, View};
use crate::arm::ArmError;
use crate::arm::calibration::{Calibration, CalibrationError};
use crate::arm::so101::MOTORS;
use std::path::PathBuf;
use std::time::Duration;

/// Positions are read this often while joints are moved, as LeRobot does, and drawn less often.
const READ: Duration = Duration::from_millis(20);
const DRAW: Duration = Duration::from_millis(50);
/// A motor that does not answer for so long is shown as silent, and asked again.
const PATIENCE: Duration = Duration::from_millis(100);

/// What there is already where LeRobot looks for the file.
#[derive(Debug)]
pub enum Known {
    Nothing,
    File(Calibration, PathBuf),
    /// A file that cannot be used, and why.
    Unusable(CalibrationError),
}

/// What has become of the arm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Calibrated anew.
    Calibrated(Saved),
    /// The motors were given the file's calibration.
    Written(PathBuf),
    /// The motors hold the file's calibration, as before.
    Kept(PathBuf),
    /// Nothing was changed, apart from torque; the exit code.
    Left(u8),
}

/// The calibration of one arm.
pub struct Session<'a> {
    pub keeper: &'a mut Keeper,
    pub person: &'a mut dyn Person,
    /// Whose arm it is: `follower 'f1'`.
    pub arm: String,
}

impl Session<'_> {
    /// Leads through the calibration to its end.
    pub fn run(mut self, known: &Known) -> Result<Outcome, Failure> {
        match self.steps(known).map_err(|cause| self.keeper.restore(cause)) {
            Err(Failure::Left(code)) => Ok(Outcome::Left(code)),
            other => other,
        }
    }

    fn steps(&mut self, known: &Known) -> Result<Outcome, Failure> {
        let torque = self.keeper.servos.has_torque()?;
        let beginning = self.beginning(known, torque);
        loop {
            match (ask(self.person, &beginning), known) {
                (Press::Leave(code), _) => return Err(Failure::Left(code)),
                (Press::Char('c'), Known::File(..)) | (Press::Enter, Known::Nothing | Known::Unusable(_)) => break,
                (Press::Enter, Known::File(file, path)) => {
                    if view::is_held(file, &self.keeper.as_found) {
                        return Ok(Outcome::Kept(path.clone()));
                    }
                    self.insist(|session| session.keeper.write(file))?;
                    return Ok(Outcome::Written(path.clone()));
                }
                _ => {}
            }
        }
        self.insist(|session| session.keeper.make_limp())?;
        loop {
            let homing = self.centre()?;
            let Some(ranges) = self.sweep()? else { continue };
            let limits: Vec<Limits> =
                homing.iter().zip(ranges).map(|(homing, (min, max))| Limits { homing: *homing, min, max }).collect();
            let made = sweep::calibration(MOTORS, &limits);
            return Ok(Outcome::Calibrated(self.insist(|session| session.keeper.keep(&made, || None))?));
        }
    }

    /// Does something, and again at every Enter after an error that a person can mend.
    fn insist<T>(&mut self, act: impl Fn(&mut Self) -> Result<T, Failure>) -> Result<T, Failure> {
        loop {
            let error = match act(self) {
                Err(error) if !error.is_final() => error,
                other => return other,
            };
            let view = View {
                title: self.title("not done yet"),
                problems: vec![error.to_string()],
                keys: "Enter: try again   Ctrl-C: leave, the motors get back what they held".into(),
                ..View::default()
            };
            if let Press::Leave(code) = ask(self.person, &view) {
                return Err(Failure::Left(code));
            }
        }
    }

    /// The arm in the middle of its range: the homing offsets, which the servos hold from now on.
    fn centre(&mut self) -> Result<Vec<i32>, Failure> {
        let mut view = View {
            title: self.title("step 1 of 2: centre"),
            text: vec![
                "The motors are limp. Move every joint to the middle of its range, and hold the arm there.".into(),
                "Then press Enter.".into(),
            ],
            keys: "Enter: it is centred   Ctrl-C: leave, the motors get back what they held".into(),
            ..View::default()
        };
        loop {
            match ask(self.person, &view) {
                Press::Leave(code) => return Err(Failure::Left(code)),
                Press::Enter => match self.set_homing() {
                    Err(error) if !error.is_final() => view.problems = vec![error.to_string()],
                    other => return other,
                },
                Press::Char(_) => {}
            }
        }
    }

    fn set_homing(&mut self) -> Result<Vec<i32>, Failure> {
        self.keeper.write(&sweep::calibration(MOTORS, &[UNCALIBRATED; MOTORS.len()]))?;
        let positions = self.keeper.servos.all_positions()?;
        let homing = MOTORS.iter().zip(positions).map(|((joint, _), position)| sweep::homing(joint, position));
        let homing: Vec<i32> = homing.collect::<Result<_, _>>().map_err(Failure::OffCentre)?;
        let limits: Vec<Limits> = homing.iter().map(|homing| Limits { homing: *homing, ..UNCALIBRATED }).collect();
        self.keeper.write(&sweep::calibration(MOTORS, &limits))?;
        Ok(homing)
    }

    /// The ranges of the joints; none when the arm is to be centred again.
    fn sweep(&mut self) -> Result<Option<Vec<(i32, i32)>>, Failure> {
        let mut sweep = Sweep::new(MOTORS.map(|(joint, _)| joint));
        let mut view = View {
            title: self.title("step 2 of 2: sweep"),
            text: vec![format!(
                "Move every joint but {} through its whole range, one after the other. Then press Enter.",
                sweep::FULL_TURN
            )],
            keys: "Enter: done   r: centre the arm again   Ctrl-C: leave, as it was before".into(),
            ..View::default()
        };
        let mut draw = Every::new(DRAW);
        // What Enter has found to be missing stays until it is no longer so.
        let mut asked = false;
        loop {
            sweep.update(&self.keeper.servos.positions(PATIENCE)?);
            if draw.is_due() {
                view.table = view::sweep_table(&sweep);
                view.problems = view::sweep_problems(&sweep, asked);
                let reported =
                    self.keeper.servos.take_faults().into_iter().rfind(|f| matches!(f, ArmError::Servo { .. }));
                view.problems.extend(reported.map(|fault| fault.to_string()));
                self.person.show(&view);
            }
            match self.person.press(READ) {
                Some(Press::Leave(code)) => return Err(Failure::Left(code)),
                Some(Press::Char('r')) => return Ok(None),
                Some(Press::Enter) => match sweep.ranges() {
                    Some(ranges) => return Ok(Some(ranges)),
                    None => asked = true,
                },
                Some(Press::Char(_)) | None => {}
            }
        }
    }

    fn title(&self, step: &str) -> String {
        format!("  Calibrate the {}   {step}", self.arm)
    }

    /// What there is, and what can be done.
    fn beginning(&self, known: &Known, torque: bool) -> View {
        let mut view = View { title: self.title(self.keeper.servos.port()), ..View::default() };
        match known {
            Known::Nothing => {
                view.text.push(format!("There is no calibration yet. It will be {}.", self.keeper.path.display()));
                view.keys = "Enter: calibrate   Ctrl-C: leave".into();
            }
            Known::Unusable(error) => {
                view.problems.push(error.to_string());
                view.text.push("The file is kept beside the new one.".into());
                view.keys = "Enter: calibrate anew   Ctrl-C: leave".into();
            }
            Known::File(file, path) if view::is_held(file, &self.keeper.as_found) => {
                view.text.push(format!("The motors hold the calibration of {}.", path.display()));
                view.keys = "Enter: leave it so   c: calibrate anew   Ctrl-C: leave".into();
            }
            Known::File(file, path) => {
                view.text.push(format!("The motors hold another calibration than {}:", path.display()));
                view.table = view::differences(file, &self.keeper.as_found);
                view.keys = "Enter: write the file to the motors   c: calibrate anew   Ctrl-C: leave".into();
            }
        }
        if torque {
            view.problems
                .push("The motors are switched on. Take hold of the arm: they go limp at the next key.".into());
        }
        view
    }
}
