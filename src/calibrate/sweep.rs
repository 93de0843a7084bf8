//! The arithmetic of a calibration: homing offsets from the centred arm, ranges from the sweep. Positions are steps.

use crate::arm::calibration::{Calibration, JointCalibration, MAX_HOMING};
use crate::arm::feetech::registers::STEPS;
use std::fmt;

/// Where a centred joint stands: half a turn.
pub const CENTRE: i32 = 2047;
/// The last position of a turn.
pub const LAST: i32 = STEPS - 1;
/// Smallest range of a joint that was really moved through it: 18°, a tenth of what the joints of an SO-101 have.
pub const SMALLEST_RANGE: i32 = 200;
/// The joint that turns without end: its range is fixed.
pub const FULL_TURN: &str = "wrist_roll";

/// What every joint is given before the arm is centred.
pub const UNCALIBRATED: Limits = Limits { homing: 0, min: 0, max: LAST };

/// What a servo keeps of its joint's calibration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub homing: i32,
    pub min: i32,
    pub max: i32,
}

/// A joint stands where its servo cannot hold the offset to the centre.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffCentre {
    pub joint: String,
    pub offset: i32,
}

impl fmt::Display for OffCentre {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OffCentre { joint, offset } = self;
        write!(
            f,
            "{joint} cannot be centred where it stands: its homing offset would be {offset}, expected −{MAX_HOMING} to {MAX_HOMING}; move it a little towards the middle of its range and press Enter again"
        )
    }
}

/// The offset that makes `position`, read with an offset of 0, the centre.
pub fn homing(joint: &str, position: i32) -> Result<i32, OffCentre> {
    let offset = position - CENTRE;
    if offset.abs() <= MAX_HOMING { Ok(offset) } else { Err(OffCentre { joint: joint.into(), offset }) }
}

/// Why the sweep of a joint cannot end yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its position was never read.
    Unread,
    NotMoved,
    /// It was moved, but by no more than this.
    Small(i32),
    /// Its position went past the end of a turn, and its extremes mean nothing.
    Wrapped,
}

/// A joint during the sweep.
#[derive(Clone, Debug)]
pub struct Track {
    pub joint: &'static str,
    /// Its smallest, its present and its largest position; none until it was read.
    pub seen: Option<Seen>,
    pub wrapped: bool,
    /// How many readings it has not answered since the last that it did.
    pub missed: u32,
}

/// What was seen of a joint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub min: i32,
    pub now: i32,
    pub max: i32,
}

impl Track {
    /// True for the joint whose range is fixed, a full turn.
    pub fn is_full_turn(&self) -> bool {
        self.joint == FULL_TURN
    }

    /// Takes a reading; none where the servo did not answer.
    fn update(&mut self, position: Option<i32>) {
        let Some(now) = position else {
            self.missed = self.missed.saturating_add(1);
            return;
        };
        self.missed = 0;
        let before = self.seen.unwrap_or(Seen { min: now, now, max: now });
        // No hand turns a joint by half a turn between two readings: it went past the end of the turn.
        self.wrapped |= (now - before.now).abs() > STEPS / 2 || !(0..=LAST).contains(&now);
        self.seen = Some(Seen { min: before.min.min(now), now, max: before.max.max(now) });
    }

    /// What is wrong with it, if the sweep ended now.
    pub fn fault(&self) -> Option<Fault> {
        match self.seen {
            _ if self.is_full_turn() => None,
            None => Some(Fault::Unread),
            Some(_) if self.wrapped => Some(Fault::Wrapped),
            Some(seen) if seen.min == seen.max => Some(Fault::NotMoved),
            Some(seen) if seen.max - seen.min < SMALLEST_RANGE => Some(Fault::Small(seen.max - seen.min)),
            Some(_) => None,
        }
    }

    /// The range to be kept.
    fn range(&self) -> Option<(i32, i32)> {
        if self.is_full_turn() { Some((0, LAST)) } else { self.seen.map(|seen| (seen.min, seen.max)) }
    }
}

/// The extremes of all joints, as they are moved.
#[derive(Clone, Debug)]
pub struct Sweep {
    pub tracks: Vec<Track>,
}

impl Sweep {
    pub fn new(joints: impl IntoIterator<Item = &'static str>) -> Sweep {
        let track = |joint| Track { joint, seen: None, wrapped: false, missed: 0 };
        Sweep { tracks: joints.into_iter().map(track).collect() }
    }

    /// Takes a reading of all joints, in their order.
    pub fn update(&mut self, positions: &[Option<i32>]) {
        self.tracks.iter_mut().zip(positions).for_each(|(track, position)| track.update(*position));
    }

    /// The joints that keep the sweep from ending.
    pub fn faults(&self) -> Vec<(&'static str, Fault)> {
        self.tracks.iter().filter_map(|track| Some((track.joint, track.fault()?))).collect()
    }

    /// The ranges in the order of the joints, unless a joint keeps the sweep from ending.
    pub fn ranges(&self) -> Option<Vec<(i32, i32)>> {
        if self.faults().is_empty() { self.tracks.iter().map(Track::range).collect() } else { None }
    }
}

/// LeRobot's file of an arm: its joints with their motors' ids, in order, and what the servos are given.
pub fn calibration<'a>(joints: impl IntoIterator<Item = (&'a str, u8)>, limits: &[Limits]) -> Calibration {
    let joint = |((name, id), limits): ((&str, u8), &Limits)| {
        let [homing_offset, range_min, range_max] = [limits.homing, limits.min, limits.max].map(i64::from);
        (name.to_string(), JointCalibration { id: id.into(), drive_mode: 0, homing_offset, range_min, range_max })
    };
    Calibration(joints.into_iter().zip(limits).map(joint).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arm::so101::MOTORS;
    use proptest::prelude::*;
    use std::path::Path;

    fn sweep_of(positions: &[i32]) -> Sweep {
        let mut sweep = Sweep::new(["elbow_flex"]);
        positions.iter().for_each(|position| sweep.update(&[Some(*position)]));
        sweep
    }

    #[test]
    fn a_centred_joint_stands_at_half_a_turn() {
        assert_eq!(homing("gripper", 2047), Ok(0));
        assert_eq!(homing("gripper", 0), Ok(-2047));
        assert_eq!(homing("gripper", 4094), Ok(2047));
        let words = homing("gripper", 4095).unwrap_err().to_string();
        for part in ["gripper", "2048", "−2047 to 2047", "move it a little", "Enter again"] {
            assert!(words.contains(part), "{words}");
        }
        assert!(homing("gripper", -1).is_err());
    }

    #[test]
    fn what_keeps_a_sweep_from_ending() {
        for (positions, fault) in [
            (&[][..], Some(Fault::Unread)),
            (&[2047, 2047], Some(Fault::NotMoved)),
            (&[2047, 2040, 2051], Some(Fault::Small(11))),
            (&[2047, 1950, 2149], Some(Fault::Small(199))),
            (&[2047, 1950, 2150], None),
            // Past the end of the turn and back: its extremes are those of the turn, not of the joint.
            (&[2047, 3000, 4090, 5, 4090, 1000], Some(Fault::Wrapped)),
            (&[2047, 100, -3], Some(Fault::Wrapped)),
            (&[2047, 4000, 4096], Some(Fault::Wrapped)),
            // As far as a joint can go without.
            (&[2047, 4095, 2047, 0], None),
        ] {
            assert_eq!(sweep_of(positions).tracks[0].fault(), fault, "{positions:?}");
        }
    }

    #[test]
    fn the_full_turn_is_fixed_wherever_it_is_turned() {
        let mut sweep = Sweep::new([FULL_TURN]);
        for positions in [[None], [Some(4000)], [Some(10)]] {
            sweep.update(&positions);
            assert_eq!(sweep.ranges(), Some(vec![(0, 4095)]));
        }
    }

    #[test]
    fn a_lost_reply_leaves_what_was_seen() {
        let mut sweep = sweep_of(&[2047, 1000, 3000]);
        sweep.update(&[None]);
        sweep.update(&[None]);
        assert_eq!(sweep.tracks[0].missed, 2);
        assert_eq!(sweep.ranges(), Some(vec![(1000, 3000)]));
        sweep.update(&[Some(2900)]);
        assert_eq!(sweep.tracks[0].missed, 0);
    }

    proptest! {
        /// Whatever a hand does, the range is what was seen, and a file made of it is one that LeRobot reads.
        #[test]
        fn ranges_are_the_extremes(walk in prop::collection::vec(prop::collection::vec(0..=LAST, 6), 1..40), centre in prop::collection::vec(0..LAST, 6)) {
            let mut sweep = Sweep::new(MOTORS.map(|(joint, _)| joint));
            for positions in &walk {
                sweep.update(&positions.iter().copied().map(Some).collect::<Vec<_>>());
            }
            let Some(ranges) = sweep.ranges() else {
                prop_assert!(!sweep.faults().is_empty());
                return Ok(());
            };
            let mut limits = Vec::new();
            for (k, (min, max)) in ranges.into_iter().enumerate() {
                if MOTORS[k].0 != FULL_TURN {
                    let seen = || walk.iter().map(|positions| positions[k]);
                    prop_assert_eq!((Some(min), Some(max)), (seen().min(), seen().max()));
                }
                limits.push(Limits { homing: homing(MOTORS[k].0, centre[k]).unwrap(), min, max });
            }
            let made = calibration(MOTORS, &limits);
            prop_assert_eq!(Calibration::parse(&made.to_json(), Path::new("made.json"), &MOTORS).unwrap(), made);
        }
    }
}
