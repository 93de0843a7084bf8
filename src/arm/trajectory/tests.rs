use super::*;

fn features() -> Vec<String> {
    ["a.pos", "b.pos"].map(String::from).to_vec()
}

#[test]
fn the_grid_takes_poses_as_they_are_or_between() {
    let poses = |values: &[f32]| values.iter().map(|v| vec![*v]).collect::<Vec<_>>();
    let at = |times_s: &[f64], values: &[f32]| Recorded { times_s: times_s.to_vec(), poses: poses(values) };
    for (recorded, fps, expected) in [
        (Recorded::at_rate(30.0, poses(&[0.1, 0.7, -3.3])), 30, vec![0.1, 0.7, -3.3]),
        (Recorded::at_rate(10.0, poses(&[0.0, 1.0, 4.0])), 20, vec![0.0, 0.5, 1.0, 2.5, 4.0]),
        (Recorded::at_rate(20.0, poses(&[0.0, 1.0, 2.0, 3.0])), 10, vec![0.0, 2.0]),
        (at(&[0.0, 0.05, 0.25], &[0.0, 1.0, 5.0]), 10, vec![0.0, 2.0, 4.0]),
        (at(&[0.0, 0.333_333, 0.666_667, 1.0], &[1.0, 2.0, 3.0, 4.0]), 3, vec![1.0, 2.0, 3.0, 4.0]),
        (at(&[0.0], &[7.0]), 30, vec![7.0]),
    ] {
        let grid = recorded.on_grid(fps).unwrap();
        let values: Vec<f32> = grid.poses().iter().map(|pose| pose[0]).collect();
        assert_eq!(values, expected, "{recorded:?} at {fps}");
        assert_eq!((grid.pose(0)[0], grid.pose(1 << 40)[0]), (values[0], values[values.len() - 1]));
    }
    assert_eq!(Recorded::default().on_grid(30), None);
    let long: Vec<f32> = (0..9000).map(|k| k as f32).collect();
    assert_eq!(Recorded::at_rate(30.0, poses(&long)).on_grid(30).unwrap().poses(), poses(&long));
}

#[test]
fn tables_are_read_by_name() {
    let read = |text: &str| parse_csv(text, &features(), 10.0).unwrap();
    let plain = read("a.pos,b.pos\n1,2\n3,4\n");
    assert_eq!(plain, Recorded::at_rate(10.0, vec![vec![1.0, 2.0], vec![3.0, 4.0]]));
    assert_eq!(read("\u{feff}b.pos , \"a.pos\"\r\n2, 1\r\n\r\n4,3e0\r\n"), plain);
    let timed = read("timestamp,b.pos,a.pos\n5.5,2,1\n5.75,4,3\n");
    assert_eq!((timed.times_s, timed.poses), (vec![0.0, 0.25], plain.poses));
}

#[test]
fn tables_that_cannot_be_used_are_refused_by_line() {
    for (text, line, expected, found) in [
        ("", 1, "a header", "an empty file"),
        ("a.pos,b.pos\n", 2, "a row of numbers", "none"),
        ("a.pos\n1\n", 1, "features a.pos, b.pos", "missing: b.pos; foreign: none"),
        ("a.pos,b.pos,c.pos\n1,2,3\n", 1, "features a.pos, b.pos", "missing: none; foreign: c.pos"),
        ("a.pos,b.pos,a.pos\n1,2,3\n", 1, "features a.pos, b.pos", "a.pos, b.pos, a.pos"),
        ("timestamp,a.pos,b.pos,timestamp\n1,2,3,4\n", 1, "one column `timestamp`", "several"),
        ("a.pos,b.pos\n1,2\n1,NaN\n", 3, "a finite number in column `b.pos`", "`NaN`"),
        ("a.pos,b.pos\n1,1e39\n", 2, "a finite number", "`1e39`"),
        ("a.pos,b.pos\n1,\n", 2, "a finite number", "``"),
        ("a.pos,b.pos\n1,2,3\n", 2, "2 values", "3"),
        ("a.pos,b.pos\n1\n", 2, "2 values", "1"),
        ("timestamp,a.pos,b.pos\n0,1,2\n0,1,2\n", 3, "a timestamp after 0", "0"),
    ] {
        let wrong = parse_csv(text, &features(), 10.0).unwrap_err();
        assert_eq!(wrong.line, line, "{text:?}: {wrong:?}");
        assert!(wrong.expected.contains(expected) && wrong.found.contains(found), "{text:?}: {wrong:?}");
    }
}

proptest::proptest! {
    /// Whatever stands in the file, the answer is a motion or a message, and a motion is finite and in order.
    #[test]
    fn any_table_gives_an_answer(text in "(timestamp,)?a.pos,b.pos(\n[0-9e.,-]{0,12}){0,8}", fps in 1u32..240) {
        if let Ok(recorded) = parse_csv(&text, &features(), f64::from(fps)) && recorded.seconds() < MOST_SECONDS {
            assert!(recorded.times_s.is_sorted() && recorded.times_s.len() == recorded.poses.len());
            let grid = recorded.on_grid(30).unwrap();
            assert!(grid.poses().iter().flatten().all(|value| value.is_finite()));
        }
    }
}

fn motion(poses: &[[f32; 2]], present: [f32; 2], most: [f64; 2], ramp_ticks: u64) -> Motion {
    let poses = poses.iter().map(|pose| pose.to_vec()).collect();
    let pace = Pace { most: most.to_vec(), ramp_ticks, settle_ticks: 2 };
    Motion::new(Arc::new(Recorded::at_rate(10.0, poses).on_grid(10).unwrap()), pace, &present)
}

#[test]
fn the_approach_is_ramped_limited_and_joint() {
    // Slowed down by the ramp, by the first joint's limit, by the second one's.
    for (most, ramp, ticks) in
        [([100.0, 100.0], 5, 5), ([1.0, 100.0], 5, 10), ([100.0, 0.5], 5, 40), ([100.0, 100.0], 0, 1)]
    {
        let mut motion = motion(&[[10.0, -20.0]], [0.0, 0.0], most, ramp);
        let mut last = vec![0.0, 0.0];
        let mut needed = 0;
        while !motion.is_in_place() {
            let goal = motion.step(Cue::Approach);
            for ((goal, last), most) in goal.iter().zip(&last).zip(most) {
                assert!(f64::from(goal - last).abs() <= most * 1.000_01);
            }
            assert!((goal[0] * -2.0 - goal[1]).abs() < 1e-3, "both have gone the same share: {goal:?}");
            needed += u64::from(goal != last);
            last = goal;
        }
        assert_eq!((needed, last), (ticks, vec![10.0, -20.0]), "{most:?} {ramp}");
        assert_eq!(motion.pace.ticks(&[0.0, 0.0], &[10.0, -20.0]), ticks + 2);
    }
}

#[test]
fn a_take_plays_one_pose_a_row_and_holds_the_last() {
    let mut motion = motion(&[[0.0, 0.0], [1.0, 0.5], [2.0, 9.0], [2.0, 9.0], [2.0, 3.0]], [0.0, 0.0], [1.0, 2.0], 0);
    assert_eq!(motion.trajectory.too_fast(&[1.0, 2.0]), 2);
    for _ in 0..3 {
        // At the start the arm is in place: the settling counts at once.
        while !motion.is_in_place() {
            motion.step(Cue::Approach);
        }
        let played: Vec<Vec<f32>> = (0..8).map(|row| motion.step(Cue::Play(row))).collect();
        // Where it is too fast it comes behind, and catches up.
        let second = [0.0, 0.5, 2.5, 4.5, 3.0, 3.0, 3.0, 3.0];
        let first = [0.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0];
        let expected: Vec<Vec<f32>> = first.into_iter().zip(second).map(|(a, b)| vec![a, b]).collect();
        assert_eq!(played, expected);
        assert!(!motion.is_in_place());
        assert_eq!(motion.step(Cue::Hold), [2.0, 3.0]);
    }
    // A missed tick is a missed pose: the take's rows decide, not how often it was asked.
    assert_eq!(motion.step(Cue::Play(1)), [1.0, 1.0]);
}
