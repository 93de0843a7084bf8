//! The [`Meters`] in words: a live table, a line, and what is said at the end. Pure.

use super::{Doing, Joint, Meters, Talk, Torque};
use crate::arm::Health;
use crate::arm::motors::Held;
use std::fmt::Write as _;

/// Stands after a value that is older than its tick.
pub const OLD: char = '?';
/// The live table of the terminal: at most `columns` characters a line, and one line less than `rows`. What stands furthest
/// down and to the right is cut off first.
pub fn block(meters: &Meters, columns: usize, rows: usize) -> Vec<String> {
    let mut lines = vec![String::new(), format!("  {}   {}", doing(meters.doing), pace(meters))];
    let width = meters.joints.iter().map(|joint| joint.name.len()).max().unwrap_or(0).max(8);
    let row = |name: &str, cells: [&str; 5]| {
        let [leader, follower, temperature, voltage, load] = cells;
        format!("  {name:<width$}  {leader:>9} {follower:>9}  {temperature:>6}  {voltage:>6}  {load:>6}")
    };
    let source = if meters.doing == Doing::Following { "leader" } else { "goal" };
    lines.push(row("joint", [source, "follower", "°C", "V", "load"]));
    for joint in &meters.joints {
        let known = |of: &dyn Fn(&Health) -> String| measured(joint).map_or("-".into(), of);
        let cells = row(
            &joint.name,
            [
                &value(joint.leader, joint.leader_reused),
                &value(joint.follower, joint.follower_reused),
                &known(&|health| format!("{:.0}", health.temperature_c)),
                &known(&|health| format!("{:.1}", health.voltage_v)),
                &known(&|health| format!("{:.0} %", health.load * 100.0)),
            ],
        );
        lines.push(format!("{cells}  {}", trouble(joint)).trim_end().into());
    }
    lines.push(format!("  answers  {}   ticks missed {}", latencies(meters), meters.missed));
    if meters.joints.iter().any(|joint| joint.leader_reused || joint.follower_reused) {
        lines.push(format!("  {OLD}: did not answer in time, the last value stands"));
    }
    if !meters.errors.is_empty() {
        lines.push(format!("  errors  {}", errors(meters)));
        lines.extend(meters.errors.iter().map(|((arm, _), tally)| format!("  {arm}: {}", tally.last)));
    }
    lines.push("  Ctrl-C, Esc or q: end, with torque off".into());
    lines.truncate(rows.saturating_sub(1));
    // A control character would move the cursor.
    lines.into_iter().map(|line| line.chars().filter(|c| !c.is_control()).take(columns).collect()).collect()
}

/// One line, for where there is no terminal.
pub fn line(meters: &Meters) -> String {
    let mut line = format!("{}, {}; {}", doing(meters.doing), pace(meters), latencies(meters));
    let apart = |joint: &Joint| Some((joint.leader? - joint.follower?).abs());
    let farthest = meters.joints.iter().filter_map(|joint| Some((apart(joint)?, &joint.name)));
    if let Some((apart, name)) = farthest.max_by(|a, b| a.0.total_cmp(&b.0)) {
        let _ = write!(line, "; farthest apart {name} {apart:.1}");
    }
    let health = || meters.joints.iter().filter_map(measured);
    if let Some(hottest) = health().max_by(|a, b| a.temperature_c.total_cmp(&b.temperature_c)) {
        let _ = write!(line, "; hottest {} {:.0} °C", hottest.motor, hottest.temperature_c);
    }
    if let Some(lowest) = health().min_by(|a, b| a.voltage_v.total_cmp(&b.voltage_v)) {
        let _ = write!(line, "; lowest {:.1} V", lowest.voltage_v);
    }
    for joint in meters.joints.iter().filter(|joint| !trouble(joint).is_empty()) {
        let _ = write!(line, "; {}: {}", joint.name, trouble(joint));
    }
    if !meters.errors.is_empty() {
        let _ = write!(line, "; errors {}", errors(meters));
    }
    line
}

/// What there was, at the end.
pub fn summary(meters: &Meters) -> String {
    let Meters { ticks, missed, .. } = meters;
    let torque = match meters.torque {
        Torque::On => "the follower keeps its torque (disable_torque_on_disconnect = false)",
        Torque::Off => "the follower's torque is off",
        Torque::InDoubt => "the follower's torque MAY STILL BE ON: switch its power off",
    };
    let errors = if meters.errors.is_empty() { "no errors".into() } else { format!("errors {}", errors(meters)) };
    format!("{} in {ticks} ticks, {missed} missed; {errors}; {torque}\n", time(meters.elapsed_s()))
}

fn doing(doing: Doing) -> String {
    match doing {
        Doing::Following => "following the leader".into(),
        Doing::Approaching => "moving to the first pose".into(),
        Doing::Playing { row, of } => format!("playing row {} of {of}", row + 1),
        Doing::Resting => "resting in the last pose".into(),
    }
}

fn pace(meters: &Meters) -> String {
    format!("{:.1} of {} Hz   {}", meters.rate(), meters.fps, time(meters.elapsed_s()))
}

fn latencies(meters: &Meters) -> String {
    let of = |name: &str, talk| {
        let ms = |percentile| meters.latency_s(talk, percentile).map_or("-".into(), |s| format!("{:.1}", s * 1e3));
        format!("{name} p50 {} p99 {} ms", ms(0.5), ms(0.99))
    };
    let follower = of("follower", Talk::Follower);
    // A motion answers at once.
    if meters.doing == Doing::Following { format!("{follower}   {}", of("leader", Talk::Leader)) } else { follower }
}

fn errors(meters: &Meters) -> String {
    let errors = meters.errors.iter().map(|((arm, kind), tally)| format!("{arm} {kind} {}", tally.count));
    errors.collect::<Vec<_>>().join(", ")
}

/// How a joint's motor is, once it was asked.
fn measured(joint: &Joint) -> Option<&Health> {
    joint.health.as_ref().filter(|health| !health.temperature_c.is_nan())
}

/// What is wrong with a joint's motor, and what became of it.
fn trouble(joint: &Joint) -> String {
    let health = joint.health.iter();
    let words = health.flat_map(|health| {
        let held = match health.held {
            Held::No => None,
            Held::Hold => Some("held"),
            Held::Limp => Some("limp"),
        };
        health.faults.iter().map(|fault| fault.kind).chain(held)
    });
    words.collect::<Vec<_>>().join(", ")
}

fn value(value: Option<f32>, old: bool) -> String {
    let mark = if old { OLD } else { ' ' };
    value.map_or("- ".into(), |value| format!("{value:.1}{mark}"))
}

/// As 00:12, or 1:00:12.
fn time(seconds: f64) -> String {
    let s = seconds as u64;
    match s / 3600 {
        0 => format!("{:02}:{:02}", s / 60, s % 60),
        hours => format!("{hours}:{:02}:{:02}", s / 60 % 60, s % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arm::motors::MotorFault;
    use crate::arm::{ArmError, Motor, Reading};
    use std::time::Duration;

    fn meters() -> Meters {
        let mut meters = Meters::new(&["shoulder_pan.pos".into(), "gripper.pos".into()], 30, 0);
        for k in 1..=31u64 {
            meters.talked(Talk::Follower, Duration::from_micros(1000 + 10 * k));
            meters.talked(Talk::Leader, Duration::from_micros(900));
            meters.ticked(k * 33_333_333 + 60_000_000_000, Doing::Following);
        }
        let health = |motor: &str, temperature_c, voltage_v, load| Health {
            motor: motor.into(),
            temperature_c,
            voltage_v,
            load,
            ..Health::default()
        };
        let state = Reading { values: vec![10.04, 33.0], reused: vec![1] };
        let action = Reading::fresh(vec![-12.5, 33.3]);
        meters.show(&state, &action, &[health("gripper", 41.0, 7.24, -0.5), health("shoulder_pan", 30.0, 7.4, 0.1)]);
        let motor = Motor { id: 6, name: "gripper" };
        let waited = Duration::from_millis(10);
        meters.failed("follower", &ArmError::Timeout { port: "/dev/x".into(), motor, waited });
        meters
    }

    #[test]
    fn the_table_tells_all_of_it() {
        let text = block(&meters(), 120, 40).join("\n");
        assert_eq!(
            text,
            "
  following the leader   30.0 of 30 Hz   01:01
  joint            leader  follower      °C       V    load
  shoulder_pan     -12.5      10.0       30     7.4    10 %
  gripper           33.3      33.0?      41     7.2   -50 %
  answers  follower p50 1.2 p99 1.3 ms   leader p50 0.9 p99 0.9 ms   ticks missed 0
  ?: did not answer in time, the last value stands
  errors  follower timeout 1
  follower: /dev/x: motor 6 (gripper) did not answer within 10 ms; check its cable and the arm's power
  Ctrl-C, Esc or q: end, with torque off"
        );
    }

    #[test]
    fn a_small_window_shows_less() {
        for (columns, rows) in [(0, 0), (1, 1), (20, 4), (79, 8)] {
            let lines = block(&meters(), columns, rows);
            assert!(lines.len() <= rows.saturating_sub(1));
            assert!(lines.iter().all(|line| line.chars().count() <= columns), "{lines:?}");
        }
    }

    #[test]
    fn before_the_first_answer_there_is_nothing_to_show() {
        let meters = Meters::new(&["gripper.pos".into()], 30, 0);
        let text = block(&meters, 100, 40).join("\n");
        assert!(text.contains("gripper          -         -"), "{text}");
        assert_eq!(
            line(&meters),
            "following the leader, 0.0 of 30 Hz   00:00; follower p50 - p99 - ms   leader p50 - p99 - ms"
        );
    }

    #[test]
    fn a_line_tells_the_essentials() {
        assert_eq!(
            line(&meters()),
            "following the leader, 30.0 of 30 Hz   01:01; follower p50 1.2 p99 1.3 ms   leader p50 0.9 p99 0.9 ms; \
             farthest apart shoulder_pan 22.5; hottest gripper 41 °C; lowest 7.2 V; errors follower timeout 1"
        );
    }

    #[test]
    fn a_motion_has_goals_and_an_end() {
        let mut meters = meters();
        meters.ticked(62_000_000_000, Doing::Playing { row: 4, of: 90 });
        let text = block(&meters, 100, 40).join("\n");
        assert!(text.contains("playing row 5 of 90") && text.contains("  joint              goal"), "{text}");
        assert!(!text.contains("leader"), "{text}");
        for (torque, words) in
            [(Torque::Off, "torque is off"), (Torque::InDoubt, "MAY STILL BE ON"), (Torque::On, "keeps")]
        {
            meters.torque = torque;
            let text = summary(&meters);
            assert!(
                text.starts_with("01:02 in 32 ticks, 0 missed; errors follower timeout 1; ") && text.contains(words),
                "{text}"
            );
        }
    }

    #[test]
    fn a_motor_with_a_fault_is_shown() {
        let mut meters = meters();
        let fault = MotorFault { kind: "overload", reason: "it is overloaded".into() };
        let never_asked = f32::NAN;
        let health = Health {
            motor: "gripper".into(),
            temperature_c: never_asked,
            voltage_v: never_asked,
            load: never_asked,
            faults: vec![fault],
            held: Held::Hold,
        };
        meters.show(&Reading::fresh(vec![1.0, 2.0]), &Reading::fresh(vec![1.0, 2.0]), &[health]);
        let text = block(&meters, 120, 40).join("\n");
        assert!(
            text.contains("\n  gripper            2.0       2.0        -       -       -  overload, held\n"),
            "{text}"
        );
        let line = line(&meters);
        assert!(line.contains("; gripper: overload, held;") && !line.contains("hottest"), "{line}");
    }

    #[test]
    fn ticks_that_have_passed_are_missed() {
        let mut meters = Meters::new(&[], 10, 0);
        assert_eq!(meters.next_tick(0, 0), 1);
        assert_eq!(meters.next_tick(1, 199_000_000), 2, "late by less than a period: at once");
        assert_eq!((meters.next_tick(2, 730_000_000), meters.missed), (7, 4));
    }
}
