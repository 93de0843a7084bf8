//! The program on a terminal: what it draws there, what keys do, and that the terminal is as before when it ends.

mod dataset_support;
mod program;
mod terminal_support;

use program::{Lab, PATIENCE};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use terminal_support::{ROWS, Terminal};
use vt100::{Color, Screen};

const SLOW: [&str; 3] = ["--dataset.episode_time_s=1000", "--dataset.reset_time_s=1000", "--dataset.num_episodes=4"];

#[test]
fn keys_end_discard_and_save_takes() {
    let lab = Lab::new();
    let mut terminal = Terminal::start(&lab, 100, &SLOW);
    let text = terminal.wait_for("● RECORDING  episode 1 of 4   data/set");
    assert!(terminal.is_raw());
    for part in ["00:00 / 16:40", "camera    frames/s", "front ", "saved 0", "→ or n: next", "INFO encoder: openh264"]
    {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
    terminal.wait_until("a red dot", |screen| {
        let cell = |(row, column)| screen.cell(row, column);
        let mut cells = (0..ROWS).flat_map(|row| (0..100).map(move |column| (row, column))).filter_map(cell);
        cells.any(|cell| cell.contents() == "●" && cell.fgcolor() == Color::Idx(1))
    });
    terminal.press("n");
    terminal.wait_for("reset      episode 2 of 4 is next");
    terminal.wait_for("saved 1");
    // The arrow to the right: the reset is over.
    terminal.press("\x1b[C");
    terminal.wait_for("● RECORDING  episode 2 of 4");
    terminal.press("r");
    terminal.wait_for("discarded 1");
    terminal.press("n");
    terminal.wait_for("● RECORDING  episode 2 of 4");
    // The arrow to the left.
    terminal.press("\x1b[D");
    terminal.wait_for("discarded 2");
    terminal.press("n");
    terminal.wait_for("● RECORDING  episode 2 of 4");
    terminal.press("q");
    assert_eq!(terminal.end("data/set: 2 episodes saved, 2 discarded, 0 failed"), Some(0));
    let checked = dataset_support::check(&lab.root());
    assert!(checked.ends_with(" 2 episodes, 0 bad"), "{checked}");
}

#[test]
fn ctrl_c_and_escape_save_the_take() {
    for (key, code) in [("\x03", 130), ("\x1b", 0)] {
        let lab = Lab::new();
        let mut terminal = Terminal::start(&lab, 100, &SLOW);
        terminal.wait_for("● RECORDING");
        terminal.press(key);
        assert_eq!(terminal.end("data/set: 1 episode saved"), Some(code));
        let checked = dataset_support::check(&lab.root());
        assert!(checked.ends_with(" 1 episodes, 0 bad"), "{checked}");
    }
}

/// Somebody has pressed Ctrl-S, or the way to the terminal is slow: recording goes on, and is shown when there is a way.
#[test]
fn a_stopped_terminal_holds_up_no_run() {
    let lab = Lab::new();
    let mut terminal = Terminal::start(&lab, 100, &["--dataset.num_episodes=1000"]);
    terminal.wait_for("● RECORDING");
    terminal.stop();
    let saved = || std::fs::read_dir(lab.root().join("data/chunk-000")).map_or(0, |files| files.count());
    let before = saved();
    let end = Instant::now() + PATIENCE;
    while saved() < before + 4 {
        assert!(Instant::now() < end, "{} episodes were saved, {before} before the terminal was stopped", saved());
        // Files of another process: nobody tells of them.
        std::thread::sleep(Duration::from_millis(20));
    }
    terminal.resume();
    terminal.wait_for(&format!("episode {} of 1000", saved()));
    terminal.press("q");
    assert_eq!(terminal.end("in the data set; "), Some(0));
    let checked = dataset_support::check(&lab.root());
    assert!(checked.ends_with(" 0 bad"), "{checked}");
}

/// Closing the window leaves nobody to read what is said.
#[test]
fn closing_the_window_saves_the_take() {
    let lab = Lab::new();
    let mut terminal = Terminal::start(&lab, 100, &SLOW);
    terminal.wait_for("● RECORDING");
    terminal.close();
    assert_eq!(terminal.child.wait().unwrap().code(), Some(129));
    let checked = dataset_support::check(&lab.root());
    assert!(checked.ends_with(" 1 episodes, 0 bad"), "{checked}");
}

#[test]
fn the_block_follows_the_size_of_the_window() {
    let lab = Lab::new();
    let mut terminal = Terminal::start(&lab, 100, &[&SLOW[..], &["--robot.cameras.top.type=synthetic"]].concat());
    terminal.wait_for("● RECORDING");
    let once = |text: &str, part: &str| text.matches(part).count() == 1;
    for (rows, columns) in [(ROWS, 30), (12, 30), (6, 22), (30, 120)] {
        terminal.resize(rows, columns);
        // The bar tells when the block is drawn in its new size.
        let bar = usize::from(columns - 1).saturating_sub(17).min(48);
        let fits = |screen: &Screen| {
            let lines: Vec<String> = screen.rows(0, columns).collect();
            let cells = |line: &String| line.chars().filter(|c| "█░".contains(*c)).count();
            let found: Vec<usize> = lines.iter().map(cells).filter(|cells| *cells > 0).collect();
            found == [bar] && once(&screen.contents(), "● RECORDING")
        };
        terminal.wait_until(&format!("one block for {columns}x{rows}"), fits);
    }
    let text = terminal.wait_for("Esc or q: save and stop");
    assert!(once(&text, "frames/s") && once(&text, "  top ") && once(&text, "  front "), "{text}");
    terminal.press("q");
    assert_eq!(terminal.end("data/set: 1 episode saved"), Some(0));
}

/// What is heard from afar: the run is over. With `notify.bell = false` it is not.
#[test]
fn the_bell_rings_when_the_run_has_ended() {
    for (bell, expected) in [("true", 1), ("false", 0)] {
        let lab = Lab::new();
        let mut terminal = Terminal::start(&lab, 100, &[&format!("--notify.bell={bell}"), "--dataset.num_episodes=1"]);
        assert_eq!(terminal.end("load it:"), Some(0));
        // The end of the output has come when the last words have; the bell may ring a little before or after them.
        terminal.wait_until("the bell", |_| terminal.bells.load(Ordering::Relaxed) >= expected);
        assert_eq!(terminal.bells.load(Ordering::Relaxed), expected, "notify.bell = {bell}");
    }
}

#[test]
fn teleoperation_has_a_live_table() {
    for (key, code) in [("q", 0), ("\x03", 130)] {
        let lab = Lab::new();
        let mut terminal = Terminal::start(&lab, 100, &["teleoperate"]);
        let text = terminal.wait_for("Ctrl-C, Esc or q: end, with torque off");
        assert!(terminal.is_raw());
        for part in ["following the leader", "leader  follower      °C", "shoulder_pan", "gripper", "p99"] {
            assert!(text.contains(part), "`{part}` is not in:\n{text}");
        }
        // Nothing happens at keys that have no meaning here.
        terminal.press("nr");
        terminal.press(key);
        assert_eq!(terminal.end("the follower's torque is off"), Some(code));
        assert!(!lab.root().exists(), "nothing is recorded");
    }
}

#[test]
fn without_a_person_there_are_lines() {
    let lab = Lab::new();
    let ended = lab.record(&["--dataset.num_episodes=1"]);
    assert!(ended.code == Some(0) && ended.text.contains("recording episode 1 of 1"), "{}", ended.text);
    assert!(!ended.text.contains(['\x1b', '\x07']), "{:?}", ended.text);
}
