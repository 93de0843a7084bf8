//! A calibration on its way into servos and file: both get it, or both keep what they had.

use super::save::{self, SaveError, Saved};
use super::sweep::OffCentre;
use crate::arm::ArmError;
use crate::arm::calibration::Calibration;
use crate::arm::so101::Servos;
use std::path::PathBuf;

/// What to do about servos that hold neither the old nor a new calibration.
const AFTER: &str =
    "calibrate again, or give them a file with `recorder calibrate --from FILE`, before the arm is used";

/// Why an arm is not calibrated.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Arm(#[from] ArmError),
    #[error(transparent)]
    Save(#[from] SaveError),
    #[error("{0}")]
    OffCentre(OffCentre),
    #[error("{cause}; and the motors could not be given back what they held: {error}; {AFTER}")]
    NotRestored { cause: Box<Failure>, error: ArmError },
    /// The person or a signal ended it: the exit code.
    #[error("stopped")]
    Left(u8),
}

impl Failure {
    /// True when doing the step again cannot help.
    pub fn is_final(&self) -> bool {
        match self {
            Failure::Arm(error) => error.is_fatal(),
            Failure::Left(_) | Failure::NotRestored { .. } => true,
            Failure::Save(_) | Failure::OffCentre(_) => false,
        }
    }
}

/// The servos of an arm and its file.
pub struct Keeper {
    pub servos: Servos,
    /// Where a new file goes.
    pub path: PathBuf,
    /// What the servos held before.
    pub as_found: Calibration,
    /// They may hold something else by now, or be unlocked.
    touched: bool,
}

impl Keeper {
    pub fn new(mut servos: Servos, path: PathBuf) -> Result<Keeper, ArmError> {
        let as_found = servos.held()?;
        Ok(Keeper { servos, path, as_found, touched: false })
    }

    /// Leaves the motors limp, for a hand to move.
    pub fn make_limp(&mut self) -> Result<(), Failure> {
        self.touched = true;
        Ok(self.servos.make_limp()?)
    }

    /// Gives the servos a calibration, to stay.
    pub fn write(&mut self, calibration: &Calibration) -> Result<(), Failure> {
        self.touched = true;
        Ok(self.servos.write(calibration)?)
    }

    /// Gives it to the servos, and then makes it the file. `left` is asked in between for the exit code of whoever has
    /// left meanwhile.
    pub fn keep(&mut self, calibration: &Calibration, left: impl Fn() -> Option<u8>) -> Result<Saved, Failure> {
        let staged = save::stage(&self.path, &calibration.to_json())?;
        self.write(calibration)?;
        match left() {
            Some(code) => Err(Failure::Left(code)),
            None => Ok(staged.publish()?),
        }
    }

    /// Gives the servos back what they held, if they may hold something else; answers with the cause.
    pub fn restore(&mut self, cause: Failure) -> Failure {
        if !self.touched {
            return cause;
        }
        match self.servos.write(&self.as_found) {
            Ok(()) => {
                tracing::info!("the motors hold what they held before, and are limp");
                cause
            }
            Err(error) => Failure::NotRestored { cause: Box::new(cause), error },
        }
    }
}
