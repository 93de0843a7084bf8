//! Controls as they were set: read back, looked at, set again when somebody else has changed them.

use super::{Access, Described, Kind, Setting, offered, value_words};
use crate::config::Problem;
use std::io;

/// A control is not what it was set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its name.
    pub control: String,
    /// What it was set to, and what it was found at.
    pub set: i64,
    pub found: i64,
    /// It has been set again; else the device changes it again and again, or refuses, and it is left alone.
    pub set_back: bool,
    /// All that in words.
    pub words: String,
}

/// Controls that have been set, and are looked at in turn.
#[derive(Debug, Default)]
pub struct Held {
    controls: Vec<HeldControl>,
    next: usize,
}

#[derive(Debug)]
struct HeldControl {
    control: Described,
    value: i64,
    /// Changes, until it has held out for [`FORGIVEN_AFTER`] looks.
    changes: u32,
    quiet: u32,
}

/// Controls that are read in one look: a transfer on the USB each, at most.
const AT_ONCE: usize = 2;
/// A control that is changed more often is the camera's own, and left to it.
const MOST_CHANGES: u32 = 3;
/// Looks at a control without a change after which earlier ones are forgotten.
const FORGIVEN_AFTER: u32 = 60;

impl Held {
    /// Sets all that is planned, and reads it back; and what devices made of it, where that is something else.
    pub fn set(plan: Vec<Setting>, device: &mut dyn Access) -> Result<(Held, Vec<String>), Box<Problem>> {
        let (mut held, mut rounded) = (Held::default(), Vec::new());
        for Setting { key, control, value } in plan {
            device.write(control.id, value).map_err(|error| refused(&key, &control, value, &error))?;
            if !control.readable {
                rounded.push(format!("{key}: {} is set to {value}, and cannot be read back", control.name));
                continue;
            }
            let found = device.read(control.id).map_err(|error| refused(&key, &control, value, &error))?;
            if found != value && !is_rounding(&control, value, found) {
                let (expected, found) = (value_words(&control, value), value_words(&control, found));
                let expected = format!("{} to become {expected}", control.name);
                let remedy = format!(
                    "the camera did not take it: choose another value ({}), or leave it out",
                    offered(&control)
                );
                return Err(Box::new(Problem::new(key, expected, found, remedy)));
            }
            if found != value {
                rounded.push(format!("{key}: the camera has set {} to {found} instead of {value}", control.name));
            }
            held.controls.push(HeldControl { control, value: found, changes: 0, quiet: 0 });
        }
        Ok((held, rounded))
    }

    /// Sets what the camera has changed when it began to stream; nobody need know.
    pub fn settle(&mut self, device: &mut dyn Access) {
        for HeldControl { control, value, .. } in &self.controls {
            if device.read(control.id).is_ok_and(|found| found != *value) {
                let _ = device.write(control.id, *value);
            }
        }
    }

    /// Reads some controls, in turn; when one has been changed, all of them, and sets them again in their order.
    pub fn look(&mut self, device: &mut dyn Access) -> Vec<Change> {
        let count = self.controls.len();
        let some: Vec<usize> = (0..count.min(AT_ONCE)).map(|k| (self.next + k) % count).collect();
        self.next = if count == 0 { 0 } else { (self.next + some.len()) % count };
        let mut differs = false;
        for index in some {
            let held = &mut self.controls[index];
            differs |= device.read(held.control.id).is_ok_and(|found| found != held.value);
            held.quiet += 1;
            if held.quiet > FORGIVEN_AFTER {
                held.changes = 0;
            }
        }
        if !differs {
            return Vec::new();
        }
        let mut changes = Vec::new();
        self.controls.retain_mut(|held| {
            let change = held.mend(device);
            changes.extend(change);
            held.changes <= MOST_CHANGES
        });
        self.next = 0;
        changes
    }
}

impl HeldControl {
    fn mend(&mut self, device: &mut dyn Access) -> Option<Change> {
        let HeldControl { control, value, .. } = self;
        let found = device.read(control.id).ok().filter(|found| found != value)?;
        (self.changes, self.quiet) = (self.changes + 1, 0);
        let refusal = match self.changes > MOST_CHANGES {
            true => Some("it is changed again and again, and left alone from now on: other keys may govern it, or another program".to_string()),
            false => device.write(control.id, *value).err().map(|error| format!("it cannot be set back: {error}")),
        };
        let [set_words, found_words] = [*value, found].map(|value| value_words(control, value));
        let outcome = refusal.as_deref().unwrap_or("it is set back");
        let words = format!("{} was set to {set_words} and found at {found_words}: {outcome}", control.name);
        Some(Change { control: control.name.clone(), set: *value, found, set_back: refusal.is_none(), words })
    }
}

/// Devices whose steps are coarser than they say.
fn is_rounding(control: &Described, value: i64, found: i64) -> bool {
    let coarse = (control.maximum.saturating_sub(control.minimum) / 100).unsigned_abs().max(control.step);
    control.kind == Kind::Number && value.abs_diff(found) <= coarse
}

fn refused(key: &str, control: &Described, value: i64, error: &io::Error) -> Box<Problem> {
    let expected = format!("{} to become {}", control.name, value_words(control, value));
    // What a key of its own wants comes behind the automatic's end.
    let remedy = match control.inactive && key.starts_with("controls.") {
        true => format!(
            "{} is inactive: another control governs it, most often an automatic: switch that off",
            control.name
        ),
        false => format!("the camera takes {}; or leave it out", offered(control)),
    };
    Box::new(Problem::new(key, expected, error.to_string(), remedy))
}
