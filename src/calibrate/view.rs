//! What a person sees while an arm is calibrated or set up. Pure: a state in, lines out.

use super::sweep::{Fault, LAST, SMALLEST_RANGE, Sweep, Track};
use crate::arm::calibration::Calibration;
use crate::arm::feetech::registers::STEPS;

/// Readings that a motor leaves out before it is said.
const MISSES_TO_SAY: u32 = 10;

/// One picture of the live block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    pub title: String,
    /// What to do now, paragraph by paragraph.
    pub text: Vec<String>,
    /// Lines that are not broken.
    pub table: Vec<String>,
    /// What is wrong, and the remedy.
    pub problems: Vec<String>,
    /// What keys do.
    pub keys: String,
}

impl View {
    /// At most `columns` characters a line, and one line less than `rows`: where there is too little room, what is wrong
    /// and what to do is cut before the table, and the keys stay.
    pub fn lines(&self, columns: usize, rows: usize) -> Vec<String> {
        let columns = columns.max(1);
        let broken = |paragraphs: &[String], mark: &str| {
            let lines = paragraphs.iter().flat_map(|text| wrap(text, columns.saturating_sub(mark.chars().count() + 2)));
            let mut lines: Vec<String> = lines.map(|line| format!("  {mark}{line}")).collect();
            if !lines.is_empty() {
                lines.insert(0, String::new());
            }
            lines
        };
        let indented = self.table.iter().map(|line| format!("  {line}"));
        let table: Vec<String> =
            if self.table.is_empty() { Vec::new() } else { [String::new()].into_iter().chain(indented).collect() };
        let (mut text, mut problems) = (broken(&self.text, ""), broken(&self.problems, "! "));
        // Two blank lines, the title and the keys.
        let room = rows.saturating_sub(1 + 4);
        problems.truncate(room.saturating_sub(table.len()));
        text.truncate(room.saturating_sub(table.len() + problems.len()));
        let head = [String::new(), self.title.clone()];
        let foot = [String::new(), format!("  {}", self.keys)];
        let mut lines: Vec<String> = head.into_iter().chain(text).chain(table).chain(problems).collect();
        lines.truncate(rows.saturating_sub(3));
        lines.extend(foot);
        // A control character would move the cursor.
        lines.into_iter().map(|line| line.chars().filter(|c| !c.is_control()).take(columns).collect()).collect()
    }
}

/// Breaks a text between words; a word longer than a line is broken too.
fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut lines = Vec::new();
    let (mut line, mut length) = (String::new(), 0);
    for word in text.split_whitespace() {
        let mut word: Vec<char> = word.chars().collect();
        if length > 0 && length + 1 + word.len() > columns {
            lines.push(std::mem::take(&mut line));
            length = 0;
        }
        while word.len() > columns {
            let rest = word.split_off(columns);
            lines.push(word.into_iter().collect());
            word = rest;
        }
        if length > 0 {
            line.push(' ');
            length += 1;
        }
        length += word.len();
        line.extend(word);
    }
    if length > 0 {
        lines.push(line);
    }
    lines
}

/// The sweep: minimum, position and maximum of every joint in steps.
pub fn sweep_table(sweep: &Sweep) -> Vec<String> {
    let head = format!("{:<15} {:>6} {:>9} {:>6}   range", "joint", "min", "position", "max");
    [head].into_iter().chain(sweep.tracks.iter().map(row)).collect()
}

fn row(track: &Track) -> String {
    let (min, now, max) = match track.seen {
        Some(seen) if track.is_full_turn() => (0.to_string(), seen.now.to_string(), LAST.to_string()),
        Some(seen) => (seen.min.to_string(), seen.now.to_string(), seen.max.to_string()),
        None => Default::default(),
    };
    let range = match (track.fault(), track.seen) {
        _ if track.missed >= MISSES_TO_SAY => "does not answer".into(),
        _ if track.is_full_turn() => "a full turn, fixed".into(),
        (Some(Fault::Unread), _) | (_, None) => "not read yet".into(),
        (Some(Fault::NotMoved), _) => "not moved yet".into(),
        (Some(Fault::Wrapped), _) => "went past the end of a turn".into(),
        (Some(Fault::Small(range)), _) => format!("{range} ({}°), small", degrees(range)),
        (None, Some(seen)) => format!("{} ({}°)", seen.max - seen.min, degrees(seen.max - seen.min)),
    };
    format!("{:<15} {min:>6} {now:>9} {max:>6}   {range}", track.joint)
}

fn degrees(steps: i32) -> i32 {
    (steps * 360 + STEPS / 2) / STEPS
}

/// What is wrong in a sweep, the joints of each fault together, and the remedy. What is merely not done yet is left out
/// until somebody has asked for the end.
pub fn sweep_problems(sweep: &Sweep, asked: bool) -> Vec<String> {
    let faults = sweep.faults();
    let joints = |is_meant: fn(Fault) -> bool| {
        let meant = faults.iter().filter(|(_, fault)| is_meant(*fault));
        list(meant.map(|(joint, fault)| match fault {
            Fault::Small(range) => format!("{joint} {range}"),
            _ => joint.to_string(),
        }))
    };
    let silent = sweep.tracks.iter().filter(|track| track.missed >= MISSES_TO_SAY).map(|track| track.joint.to_string());
    let least = degrees(SMALLEST_RANGE);
    let undone = [
        (joints(|fault| fault == Fault::Unread), "Not read yet: ", ". Check the cables.".to_string()),
        (joints(|fault| fault == Fault::NotMoved), "Not moved: ", ". Move each joint through its whole range.".into()),
        (
            joints(|fault| matches!(fault, Fault::Small(_))),
            "Moved by too few steps: ",
            format!(". Expected at least {SMALLEST_RANGE} ({least}°): the whole range."),
        ),
    ];
    let wrong = [
        (
            joints(|fault| fault == Fault::Wrapped),
            "Past the end of a turn (0 or 4095): ",
            ". The arm was not centred: press r and do it again.".to_string(),
        ),
        (list(silent), "No answer from ", ": check the cables. What was seen is kept; the sweep goes on.".into()),
    ];
    let said = wrong.into_iter().chain(undone.into_iter().filter(|_| asked));
    said.filter(|(joints, ..)| !joints.is_empty())
        .map(|(joints, before, after)| format!("{before}{joints}{after}"))
        .collect()
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

/// Two calibrations side by side, joints that differ marked.
pub fn differences(file: &Calibration, motors: &Calibration) -> Vec<String> {
    let mut lines = vec![
        format!("{:<15} {:^24}   {:^24}", "", "file", "motors"),
        format!(
            "{:<15} {:>8} {:>7} {:>7}   {:>8} {:>7} {:>7}",
            "joint", "homing", "min", "max", "homing", "min", "max"
        ),
    ];
    lines.extend(file.0.iter().zip(&motors.0).map(|((joint, f), (_, m))| {
        let same = (f.homing_offset, f.range_min, f.range_max) == (m.homing_offset, m.range_min, m.range_max);
        let mark = if same { "" } else { "   differs" };
        format!(
            "{joint:<15} {:>8} {:>7} {:>7}   {:>8} {:>7} {:>7}{mark}",
            f.homing_offset, f.range_min, f.range_max, m.homing_offset, m.range_min, m.range_max
        )
    }));
    lines
}

/// Whether the servos hold what a file says. `drive_mode` is not kept in a servo.
pub fn is_held(file: &Calibration, motors: &Calibration) -> bool {
    file.0.iter().zip(&motors.0).all(|((_, f), (_, m))| {
        (f.homing_offset, f.range_min, f.range_max) == (m.homing_offset, m.range_min, m.range_max)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arm::sim::SimKind;
    use crate::arm::so101::MOTORS;
    use proptest::prelude::*;

    fn sweep() -> Sweep {
        let mut sweep = Sweep::new(MOTORS.map(|(joint, _)| joint));
        sweep.update(&[2047; 6].map(Some));
        for positions in
            [[750, 1100, 2040, 2047, 10, 2100], [2047, 4090, 2050, 2047, 4090, 2200], [3400, 3, 2047, 2047, 9, 2047]]
        {
            sweep.update(&positions.map(Some));
        }
        sweep
    }

    #[test]
    fn the_table_of_a_sweep() {
        let mut sweep = sweep();
        (0..10).for_each(|_| sweep.update(&[Some(3399), Some(3), Some(2047), Some(2047), Some(9), None]));
        assert_eq!(
            sweep_table(&sweep),
            [
                "joint              min  position    max   range",
                "shoulder_pan       750      3399   3400   2650 (233°)",
                "shoulder_lift        3         3   4090   went past the end of a turn",
                "elbow_flex        2040      2047   2050   10 (1°), small",
                "wrist_flex        2047      2047   2047   not moved yet",
                "wrist_roll           0         9   4095   a full turn, fixed",
                "gripper           2047      2047   2200   does not answer",
            ]
        );
        let problems = sweep_problems(&sweep, true).join("\n");
        for part in [
            "Past the end of a turn (0 or 4095): shoulder_lift.",
            "Not moved: wrist_flex.",
            "few steps: elbow_flex 10, gripper 153.",
        ] {
            assert!(problems.contains(part), "{part} is not in {problems}");
        }
        assert!(!problems.contains("shoulder_pan") && !problems.contains("wrist_roll"), "{problems}");
        let warnings = sweep_problems(&sweep, false);
        assert!(
            warnings.len() == 2
                && warnings[0].contains("shoulder_lift")
                && warnings[1].contains("No answer from gripper"),
            "{warnings:?}"
        );
    }

    #[test]
    fn two_calibrations_side_by_side() {
        let file = SimKind::Follower.calibration();
        let mut motors = file.clone();
        assert!(is_held(&file, &motors));
        motors.0[2].1.homing_offset = 17;
        assert!(!is_held(&file, &motors));
        let lines = differences(&file, &motors);
        assert_eq!(lines[4], "elbow_flex         -1200     820    3100         17     820    3100   differs");
        assert_eq!(lines.iter().filter(|line| line.ends_with("differs")).count(), 1);
        assert!(lines.iter().all(|line| line.chars().count() <= 77), "{lines:#?}");
    }

    #[test]
    fn a_picture_of_80_columns() {
        let sweep = sweep();
        let view = View {
            title: "Calibrate the follower 'f1'".into(),
            text: vec![
                "Move every joint but wrist_roll through its whole range, one after the other, then press Enter."
                    .into(),
            ],
            table: sweep_table(&sweep),
            problems: sweep_problems(&sweep, true),
            keys: "Enter: done   r: centre the arm again   Ctrl-C: leave".into(),
        };
        let lines = view.lines(79, 24);
        assert_eq!(lines.len(), 21, "{lines:#?}");
        assert_eq!(lines[1], view.title);
        assert_eq!(lines[3], "  Move every joint but wrist_roll through its whole range, one after the other,");
        assert_eq!(lines[4], "  then press Enter.");
        assert_eq!(lines[6], format!("  {}", view.table[0]));
        assert!(lines.iter().any(|line| line.starts_with("  ! Past the end of a turn")), "{lines:#?}");
        assert_eq!(lines.last().unwrap(), "  Enter: done   r: centre the arm again   Ctrl-C: leave");
        // On a small window the table and the keys stay.
        let small = view.lines(79, 14);
        assert_eq!(small.len(), 13, "{small:#?}");
        assert!(small.iter().any(|line| line.contains("gripper")) && small.last() == lines.last(), "{small:#?}");
    }

    proptest! {
        #[test]
        fn a_picture_fits_its_window(text in prop::collection::vec(".{0,200}", 0..4), problems in prop::collection::vec(".{0,200}", 0..4), columns in 1usize..120, rows in 5usize..40) {
            let view = View { title: "t".repeat(90), text, table: sweep_table(&sweep()), problems, keys: "k".repeat(90) };
            let lines = view.lines(columns, rows);
            prop_assert!(lines.len() < rows, "{} of {rows}", lines.len());
            prop_assert!(lines.iter().all(|line| line.chars().count() <= columns && !line.chars().any(char::is_control)));
            prop_assert!(lines.last().unwrap().trim().chars().all(|c| c == 'k'));
        }

        #[test]
        fn wrapping_loses_no_word(text in "[a-z ]{0,300}", columns in 10usize..100) {
            let lines = wrap(&text, columns);
            let letters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            prop_assert_eq!(letters(&lines.concat()), letters(&text));
            prop_assert!(lines.iter().all(|line| line.chars().count() <= columns));
        }
    }
}
