//! The way to a pose that is far: gently, and with all joints arriving together. Pure.

/// Fastest approach of a joint, in normalised units a second.
pub const RAMP_SPEED: f64 = 90.0;

/// Which joints approach their goals still, and for how long the approach is to last.
#[derive(Clone, Debug, PartialEq)]
pub struct Ramp {
    approaching: Vec<bool>,
    /// Of the time that the way is to take at least.
    left_s: f64,
}

impl Ramp {
    /// All joints approach, no faster than [`RAMP_SPEED`].
    pub fn new(joints: usize) -> Ramp {
        Ramp { approaching: vec![true; joints], left_s: 0.0 }
    }

    /// All joints approach from here on; the way takes at least `seconds`.
    pub fn start(&mut self, seconds: f64) {
        self.approaching.fill(true);
        self.left_s = seconds;
    }

    /// One joint approaches from here on, whatever the others do.
    pub fn start_joint(&mut self, joint: usize) {
        self.approaching[joint] = true;
    }

    /// Some joint approaches its goal still.
    pub fn is_approaching(&self) -> bool {
        self.approaching.contains(&true)
    }

    /// Moves `goals` back to where the joints that approach may be `dt_s` after they were told `last`. When the way that is
    /// left fits into that time they have arrived, and follow their goals from then on.
    pub fn step(&mut self, goals: &mut [f32], last: &[f32], dt_s: f64) {
        let way = |goal: f32, last: f32| f64::from(goal) - f64::from(last);
        let joints = || self.approaching.iter().zip(last).map(|(approaches, last)| approaches.then_some(*last));
        let ways = joints().zip(goals.iter()).map(|(last, goal)| last.map_or(0.0, |last| way(*goal, last).abs()));
        let needed_s = self.left_s.max(ways.fold(0.0, f64::max) / RAMP_SPEED);
        if needed_s <= dt_s {
            self.approaching.fill(false);
            self.left_s = 0.0;
            return;
        }
        for (goal, last) in goals.iter_mut().zip(joints()) {
            if let Some(last) = last {
                *goal = (f64::from(last) + way(*goal, last) * dt_s / needed_s) as f32;
            }
        }
        self.left_s = (self.left_s - dt_s).max(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps until all joints follow: how long that took, and the largest speed of each joint.
    fn approach(ramp: &mut Ramp, mut from: Vec<f32>, to: &[f32], dt_s: f64) -> (f64, Vec<f64>) {
        let (mut seconds, mut speeds) = (0.0, vec![0.0f64; to.len()]);
        while ramp.is_approaching() {
            let mut goals = to.to_vec();
            ramp.step(&mut goals, &from, dt_s);
            for ((speed, goal), last) in speeds.iter_mut().zip(&goals).zip(&from) {
                *speed = speed.max(f64::from((goal - last).abs()) / dt_s);
            }
            from = goals;
            seconds += dt_s;
            assert!(seconds < 100.0);
        }
        assert_eq!(from, to);
        (seconds, speeds)
    }

    #[test]
    fn the_way_takes_its_time_and_all_joints_arrive_together() {
        let dt = 1.0 / 64.0;
        for (name, seconds, to, expected_s, expected) in [
            ("a far joint goes as fast as is allowed", 0.0, [180.0, 45.0], 2.0, [90.0, 22.5]),
            ("a short way takes as long as is asked for", 2.0, [10.0, -5.0], 2.0, [5.0, 2.5]),
            ("a far one longer", 1.0, [0.0, -270.0], 3.0, [0.0, 90.0]),
            ("no way at all takes as long", 0.5, [0.0, 0.0], 0.5, [0.0, 0.0]),
        ] {
            let mut ramp = Ramp::new(2);
            ramp.start(seconds);
            let (took, speeds) = approach(&mut ramp, vec![0.0, 0.0], &to, dt);
            assert!((took - expected_s).abs() <= dt * 1.01, "{name}: {took} s");
            assert!(speeds.iter().zip(expected).all(|(a, b)| (a - b).abs() < 0.01), "{name}: {speeds:?}");
        }
    }

    #[test]
    fn a_goal_that_moves_is_caught_up_with() {
        let (mut ramp, mut last, mut target) = (Ramp::new(1), vec![0.0f32], 50.0f32);
        ramp.start(1.0);
        let mut steps = 0;
        while ramp.is_approaching() {
            target += 1.0;
            let mut goals = vec![target];
            ramp.step(&mut goals, &last, 0.02);
            assert!(goals[0] - last[0] <= 1.8001, "no faster than {RAMP_SPEED} a second");
            last = goals;
            steps += 1;
            assert!(steps < 1000);
        }
        assert_eq!(last[0], target);
    }

    #[test]
    fn one_joint_approaches_and_the_others_follow() {
        let mut ramp = Ramp::new(2);
        ramp.step(&mut [0.0, 0.0], &[0.0, 0.0], 0.1);
        assert!(!ramp.is_approaching());
        ramp.start_joint(1);
        let mut goals = [70.0, 90.0];
        ramp.step(&mut goals, &[0.0, 0.0], 0.1);
        assert_eq!(goals, [70.0, 9.0]);
    }
}
