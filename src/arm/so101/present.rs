//! The last position of each joint: what stands in a reading where a motor has not answered in time.

use super::MOTORS;
use crate::arm::{ArmError, LONGEST_SILENCE, Reading};
use std::time::{Duration, Instant};

/// Where the joints are.
#[derive(Clone, Debug, PartialEq)]
pub struct Present {
    /// Normalised, one for each joint.
    pub values: Vec<f64>,
    /// Joints whose motor has not answered, by index: their value is the last one there was.
    pub reused: Vec<usize>,
}

impl From<&Present> for Reading {
    fn from(present: &Present) -> Reading {
        let values = present.values.iter().map(|value| *value as f32).collect();
        Reading { values, reused: present.reused.clone() }
    }
}

/// The motors, by index, that a reading is without.
pub fn silent(read: &Result<Present, ArmError>) -> &[usize] {
    const ALL: [usize; MOTORS.len()] = [0, 1, 2, 3, 4, 5];
    read.as_ref().map_or(&ALL, |present| &present.reused)
}

/// Why there is no reading, by the joint's index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// Its motor has never answered.
    Never(usize),
    /// Its motor has been silent for longer than [`LONGEST_SILENCE`].
    Lost(usize, Duration),
}

/// What is known of the joints.
pub struct Known(Vec<Joint>);

#[derive(Clone, Default)]
struct Joint {
    value: Option<f64>,
    silent_since: Option<Instant>,
}

impl Known {
    /// Nothing is known yet.
    pub fn new(joints: usize) -> Known {
        Known(vec![Joint::default(); joints])
    }

    /// True when every motor was heard in the last reading.
    pub fn is_fresh(&self) -> bool {
        self.0.iter().all(|joint| joint.value.is_some() && joint.silent_since.is_none())
    }

    /// Takes what was heard at a time, one value for each joint.
    pub fn update(&mut self, heard: &[Option<f64>], now: Instant) -> Result<Present, Unknown> {
        for (joint, value) in self.0.iter_mut().zip(heard) {
            match value {
                Some(_) => *joint = Joint { value: *value, silent_since: None },
                None => joint.silent_since = joint.silent_since.or(Some(now)),
            }
        }
        let mut present = Present { values: Vec::with_capacity(self.0.len()), reused: Vec::new() };
        for (index, joint) in self.0.iter().enumerate() {
            present.values.push(joint.value.ok_or(Unknown::Never(index))?);
            if let Some(since) = joint.silent_since {
                let silence = now.duration_since(since);
                if silence > LONGEST_SILENCE {
                    return Err(Unknown::Lost(index, silence));
                }
                present.reused.push(index);
            }
        }
        Ok(present)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_motor_has_its_last_value_until_it_is_lost() {
        let (mut known, start) = (Known::new(2), Instant::now());
        let mut update = |heard: [Option<f64>; 2], ms| known.update(&heard, start + Duration::from_millis(ms));
        let present = |values: [f64; 2], reused: &[usize]| Ok(Present { values: values.into(), reused: reused.into() });
        assert_eq!(update([Some(1.0), None], 0), Err(Unknown::Never(1)));
        assert_eq!(update([None, Some(2.0)], 10), present([1.0, 2.0], &[0]));
        assert_eq!(update([Some(3.0), None], 20), present([3.0, 2.0], &[1]));
        assert_eq!(update([Some(4.0), Some(5.0)], 30), present([4.0, 5.0], &[]));
        // Silence counts from the first reading that it is missing in, however long there was none.
        assert_eq!(update([Some(6.0), None], 5_000), present([6.0, 5.0], &[1]));
        assert_eq!(update([Some(7.0), None], 6_000), present([7.0, 5.0], &[1]));
        assert_eq!(update([Some(8.0), None], 6_001), Err(Unknown::Lost(1, Duration::from_millis(1_001))));
    }

    #[test]
    fn fresh_is_a_reading_with_every_motor() {
        let (mut known, now) = (Known::new(2), Instant::now());
        assert!(!known.is_fresh(), "before the first");
        for (heard, fresh) in [([Some(1.0), Some(2.0)], true), ([None, Some(2.0)], false), ([Some(1.0); 2], true)] {
            let _ = known.update(&heard, now);
            assert_eq!(known.is_fresh(), fresh, "{heard:?}");
        }
    }
}
