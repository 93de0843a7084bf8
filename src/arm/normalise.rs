//! From encoder steps to the values that are recorded, and back: LeRobot's arithmetic, operation by operation.
//!
//! LeRobot computes in 64-bit floats and its `int()` drops the fraction towards zero. The order of operations is kept,
//! so that both programs come to the same step.

/// What a motor's value means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norm {
    /// Degrees from the middle of the range. Neither clamped nor inverted.
    Degrees,
    /// −100 to 100 over the range, clamped.
    Range100,
    /// 0 to 100 over the range, clamped.
    Percent,
}

/// A motor's calibrated range in steps. `max` is above `min`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub min: i32,
    pub max: i32,
    /// `drive_mode` of the calibration: the value falls while the steps rise. Degrees ignore it.
    pub inverted: bool,
}

/// Steps of a turn less one, as LeRobot counts degrees.
const MAX_STEP: f64 = 4095.0;

/// The value of a position in steps.
pub fn normalise(norm: Norm, range: Range, step: i32) -> f64 {
    let (min, max) = (f64::from(range.min), f64::from(range.max));
    let bounded = f64::from(step.max(range.min).min(range.max));
    match norm {
        Norm::Degrees => (f64::from(step) - (min + max) / 2.0) * 360.0 / MAX_STEP,
        Norm::Range100 => {
            let value = ((bounded - min) / (max - min)) * 200.0 - 100.0;
            if range.inverted { -value } else { value }
        }
        Norm::Percent => {
            let value = ((bounded - min) / (max - min)) * 100.0;
            if range.inverted { 100.0 - value } else { value }
        }
    }
}

/// The position in steps of a value. Not a number becomes 0, too large a value the largest `i32`.
pub fn unnormalise(norm: Norm, range: Range, value: f64) -> i32 {
    let (min, max) = (f64::from(range.min), f64::from(range.max));
    let step = match norm {
        Norm::Degrees => (value * MAX_STEP / 360.0) + (min + max) / 2.0,
        Norm::Range100 => {
            let value = if range.inverted { -value } else { value };
            ((value.clamp(-100.0, 100.0) + 100.0) / 200.0) * (max - min) + min
        }
        Norm::Percent => {
            let value = if range.inverted { 100.0 - value } else { value };
            (value.clamp(0.0, 100.0) / 100.0) * (max - min) + min
        }
    };
    step as i32
}

/// The position in steps of a value that was rounded to a 32-bit float.
///
/// LeRobot's loop keeps 64 bits from leader to follower. Rounded to 32, two values in five fall just below the whole
/// step that they stand for, and dropping the fraction would lose that step. So the largest step that any value with
/// this rounding can mean is taken: the step LeRobot sends.
pub fn unnormalise_f32(norm: Norm, range: Range, value: f32) -> i32 {
    let halfway = |neighbour: f32| (f64::from(value) + f64::from(neighbour)) / 2.0;
    unnormalise(norm, range, halfway(value.next_down())).max(unnormalise(norm, range, halfway(value.next_up())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_survives_a_32_bit_float() {
        for norm in [Norm::Degrees, Norm::Range100, Norm::Percent] {
            for inverted in [false, true] {
                for (min, max) in [(0, 4095), (750, 3400), (1990, 3480), (860, 3151)] {
                    let range = Range { min, max, inverted };
                    for step in min..=max {
                        let value = normalise(norm, range, step) as f32;
                        assert_eq!(unnormalise_f32(norm, range, value), step, "{norm:?} {range:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn odd_values_do_not_panic() {
        let range = Range { min: 750, max: 3400, inverted: false };
        for norm in [Norm::Degrees, Norm::Range100, Norm::Percent] {
            for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN] {
                unnormalise_f32(norm, range, value);
            }
        }
    }
}
