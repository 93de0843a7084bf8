//! The program on a terminal of its own: what it draws there, keys, the window's size.
#![allow(dead_code)] // each test binary uses its part

use crate::program::{Lab, PATIENCE};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Action, LocalModes, Winsize, tcflow, tcgetattr, tcsetwinsize};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use vt100::{Parser, Screen};

/// Room for a whole test: what was said stays on the screen.
pub const ROWS: u16 = 40;

/// The recorder on a terminal of its own, and what a person would see there.
pub struct Terminal {
    pub child: Child,
    /// The side of the person.
    keyboard: Option<File>,
    /// The side of the program; open as long as the test looks at its settings.
    line: File,
    seen: Arc<(Mutex<Parser>, Condvar)>,
    /// How often its bell rang.
    pub bells: Arc<AtomicUsize>,
    closed: Arc<AtomicBool>,
}

fn nonzero(n: u16) -> NonZero<u16> {
    NonZero::new(n).unwrap()
}

fn winsize(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

impl Terminal {
    /// `recorder --config lab.toml OVERRIDES`.
    pub fn start(lab: &Lab, columns: u16, overrides: &[&str]) -> Terminal {
        Terminal::run(lab, columns, &[&["--config", "lab.toml"], overrides].concat())
    }

    /// `recorder ARGUMENTS`.
    pub fn run(lab: &Lab, columns: u16, arguments: &[&str]) -> Terminal {
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
        command.args(["--ctty", env!("CARGO_BIN_EXE_recorder")]).args(arguments);
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
    pub fn wait_until(&self, what: &str, wanted: impl Fn(&Screen) -> bool) -> String {
        let parser = self.seen.0.lock().unwrap();
        let unwanted = |parser: &mut Parser| !wanted(parser.screen());
        let (parser, wait) = self.seen.1.wait_timeout_while(parser, PATIENCE, unwanted).unwrap();
        assert!(!wait.timed_out(), "never came: {what}\n{}", parser.screen().contents());
        parser.screen().contents()
    }

    #[track_caller]
    pub fn wait_for(&self, text: &str) -> String {
        self.wait_until(text, |screen| screen.contents().contains(text))
    }

    pub fn press(&mut self, keys: &str) {
        self.keyboard.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    pub fn resize(&self, rows: u16, columns: u16) {
        self.seen.0.lock().unwrap().screen_mut().set_size(nonzero(rows), nonzero(columns));
        tcsetwinsize(&self.line, winsize(rows, columns)).unwrap();
    }

    /// Takes no output any more, as after Ctrl-S: whoever writes waits.
    pub fn stop(&self) {
        tcflow(&self.line, Action::OOff).unwrap();
    }

    /// Takes what has waited.
    pub fn resume(&self) {
        tcflow(&self.line, Action::OOn).unwrap();
    }

    /// Closes the window: the kernel tells the program by SIGHUP once nobody reads any more.
    pub fn close(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        self.keyboard = None;
    }

    /// Takes keys as they come, without showing them.
    pub fn is_raw(&self) -> bool {
        !tcgetattr(&self.line).unwrap().local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO)
    }

    /// Waits for the end: the exit code. The terminal must be as it was.
    #[track_caller]
    pub fn end(&mut self, last_words: &str) -> Option<i32> {
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
