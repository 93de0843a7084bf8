//! The program on a terminal: what it draws there, what keys do, and that the terminal is as before when it ends.

mod dataset_support;
mod program;

use program::{Lab, PATIENCE};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use vt100::{Color, Parser, Screen};

/// Room for a whole test: what was said stays on the screen.
const ROWS: u16 = 40;

/// The recorder on a terminal of its own, and what a person would see there.
struct Terminal {
    child: Child,
    /// The side of the person.
    keyboard: Option<File>,
    /// The side of the program; open as long as the test looks at its settings.
    line: File,
    seen: Arc<(Mutex<Parser>, Condvar)>,
    /// How often its bell rang.
    bells: Arc<AtomicUsize>,
    closed: Arc<AtomicBool>,
}

fn nonzero(n: u16) -> NonZero<u16> {
    NonZero::new(n).unwrap()
}

fn winsize(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

impl Terminal {
    /// `recorder --config lab.toml ARGUMENTS`.
    fn start(lab: &Lab, columns: u16, arguments: &[&str]) -> Terminal {
        let master: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        tcsetwinsize(&master, winsize(ROWS, columns)).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let open = || {
            use std::os::unix::fs::OpenOptionsExt;
            let flags = rustix::fs::OFlags::NOCTTY.bits() as i32;
            OpenOptions::new().read(true).write(true).custom_flags(flags).open(&name).unwrap()
        };
        // As a terminal's window does it: a session of its own, so that closing the window is a signal.
        let mut command = lab.command("setsid");
        command.args(["--ctty", env!("CARGO_BIN_EXE_recorder"), "--config", "lab.toml"]).args(arguments);
        let child = command.stdin(open()).stdout(open()).stderr(open()).spawn().unwrap();
        let keyboard = File::from(master);
        let seen = Arc::new((Mutex::new(Parser::new(nonzero(ROWS), nonzero(columns), 0)), Condvar::new()));
        let closed = Arc::new(AtomicBool::new(false));
        let bells = Arc::new(AtomicUsize::new(0));
        let (mut output, shared, stop) = (keyboard.try_clone().unwrap(), seen.clone(), closed.clone());
        let rings = bells.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut bytes)
                && !stop.load(Ordering::Relaxed)
            {
                rings.fetch_add(bytes[..length].iter().filter(|byte| **byte == 7).count(), Ordering::Relaxed);
                shared.0.lock().unwrap().process(&bytes[..length]);
                shared.1.notify_all();
            }
        });
        Terminal { child, keyboard: Some(keyboard), line: open(), seen, bells, closed }
    }

    /// Waits until the screen is as wanted; what it shows then.
    #[track_caller]
    fn wait_until(&self, what: &str, wanted: impl Fn(&Screen) -> bool) -> String {
        let parser = self.seen.0.lock().unwrap();
        let unwanted = |parser: &mut Parser| !wanted(parser.screen());
        let (parser, wait) = self.seen.1.wait_timeout_while(parser, PATIENCE, unwanted).unwrap();
        assert!(!wait.timed_out(), "never came: {what}\n{}", parser.screen().contents());
        parser.screen().contents()
    }

    #[track_caller]
    fn wait_for(&self, text: &str) -> String {
        self.wait_until(text, |screen| screen.contents().contains(text))
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    fn resize(&self, rows: u16, columns: u16) {
        self.seen.0.lock().unwrap().screen_mut().set_size(nonzero(rows), nonzero(columns));
        tcsetwinsize(&self.line, winsize(rows, columns)).unwrap();
    }

    /// Closes the window: the kernel tells the program by SIGHUP once nobody reads any more.
    fn close(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        self.keyboard = None;
    }

    /// Takes keys as they come, without showing them.
    fn is_raw(&self) -> bool {
        !tcgetattr(&self.line).unwrap().local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO)
    }

    /// Waits for the end: the exit code. The terminal must be as it was.
    #[track_caller]
    fn end(&mut self, last_words: &str) -> Option<i32> {
        let text = self.wait_for(last_words);
        let code = self.child.wait().unwrap().code();
        assert!(!self.is_raw(), "the terminal stayed in raw mode");
        self.wait_until("the cursor", |screen| !screen.hide_cursor());
        let left = ["record again", "with torque off"].iter().any(|part| text.contains(part));
        assert!(!left, "the live block stayed:\n{text}");
        code
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

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
        for part in
            ["following the leader", "joint            leader  follower      °C", "shoulder_pan", "gripper", "p99"]
        {
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
