//! The person at the terminal: what they see, and what they press.

use super::view::View;
use crate::console::screen::Live;
use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

/// How often a picture is drawn again, for a window whose size changes.
const REDRAW: Duration = Duration::from_millis(200);

/// What a person wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Press {
    Enter,
    Char(char),
    /// To leave: the exit code of Ctrl-C (130) or of the signal.
    Leave(u8),
}

impl Press {
    /// Ctrl-C.
    pub const INTERRUPT: Press = Press::Leave(130);
    /// The terminal is gone.
    pub const HANG_UP: Press = Press::Leave(129);
}

/// Who is asked.
pub trait Person {
    /// Shows what to do.
    fn show(&mut self, view: &View);
    /// What is pressed within `wait`.
    fn press(&mut self, wait: Duration) -> Option<Press>;
}

/// A person's terminal.
pub struct Terminal<'a> {
    live: Live,
    presses: &'a Receiver<Press>,
}

impl Terminal<'_> {
    /// Takes the terminal over; keys and signals come through `presses`. None where that fails.
    pub fn start<'a>(presses: &'a Receiver<Press>, keys: Sender<Press>) -> std::io::Result<Option<Terminal<'a>>> {
        let Some(live) = Live::start() else { return Ok(None) };
        std::thread::Builder::new().name("keys".into()).spawn(move || {
            loop {
                let press = match crossterm::event::read() {
                    Ok(event) => meaning(&event),
                    Err(_) => Some(Press::HANG_UP),
                };
                if press.is_some_and(|press| keys.send(press).is_err() || press == Press::HANG_UP) {
                    return;
                }
            }
        })?;
        Ok(Some(Terminal { live, presses }))
    }
}

impl Person for Terminal<'_> {
    fn show(&mut self, view: &View) {
        self.live.paint(|columns, rows| view.lines(columns, rows));
    }

    fn press(&mut self, wait: Duration) -> Option<Press> {
        match self.presses.recv_timeout(wait) {
            Ok(press) => Some(press),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Press::HANG_UP),
        }
    }
}

/// Shows a view and waits for what is pressed.
pub fn ask(person: &mut dyn Person, view: &View) -> Press {
    loop {
        person.show(view);
        if let Some(press) = person.press(REDRAW) {
            return press;
        }
    }
}

fn meaning(event: &Event) -> Option<Press> {
    let Event::Key(KeyEvent { code, modifiers, kind, .. }) = event else { return None };
    match code {
        _ if *kind == KeyEventKind::Release => None,
        KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => Some(Press::INTERRUPT),
        KeyCode::Enter => Some(Press::Enter),
        KeyCode::Char(char) => Some(Press::Char(char.to_ascii_lowercase())),
        _ => None,
    }
}

/// Something that is done so often, and no more often.
pub struct Every {
    period: Duration,
    next: Instant,
}

impl Every {
    pub fn new(period: Duration) -> Every {
        Every { period, next: Instant::now() }
    }

    /// True when it is time again.
    pub fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let due = now >= self.next;
        if due {
            self.next = now + self.period;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_a_calibration() {
        let press = |code, modifiers| meaning(&Event::Key(KeyEvent::new(code, modifiers)));
        for (code, modifiers, expected) in [
            (KeyCode::Enter, KeyModifiers::NONE, Some(Press::Enter)),
            (KeyCode::Char('c'), KeyModifiers::NONE, Some(Press::Char('c'))),
            (KeyCode::Char('R'), KeyModifiers::SHIFT, Some(Press::Char('r'))),
            (KeyCode::Char('c'), KeyModifiers::CONTROL, Some(Press::INTERRUPT)),
            (KeyCode::Left, KeyModifiers::NONE, None),
        ] {
            assert_eq!(press(code, modifiers), expected, "{code:?}");
        }
        assert_eq!(meaning(&Event::FocusGained), None);
    }
}
