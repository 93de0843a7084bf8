//! The operator's keys, as LeRobot has them.

use crate::episode::Key;
use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// What a key press means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Press {
    Key(Key),
    /// Ctrl-C: the terminal is in raw mode and does not make a signal of it.
    Interrupt,
}

/// The meaning of a terminal's event.
pub fn meaning(event: &Event) -> Option<Press> {
    let Event::Key(KeyEvent { code, modifiers, kind, .. }) = event else { return None };
    if *kind == KeyEventKind::Release {
        return None;
    }
    match code {
        KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => Some(Press::Interrupt),
        KeyCode::Right | KeyCode::Char('n') => Some(Press::Key(Key::Next)),
        KeyCode::Left | KeyCode::Char('r') => Some(Press::Key(Key::Rerecord)),
        KeyCode::Esc | KeyCode::Char('q') => Some(Press::Key(Key::Stop)),
        _ => None,
    }
}

/// Reads keys on a thread of its own and hands them on, until `press` says that nobody listens.
pub fn listen(press: impl Fn(Press) -> bool + Send + 'static) -> std::io::Result<()> {
    std::thread::Builder::new().name("keys".into()).spawn(move || {
        // An error means that the terminal is gone: the run goes on without keys.
        while let Ok(event) = crossterm::event::read() {
            if let Some(meant) = meaning(&event)
                && !press(meant)
            {
                return;
            }
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_lerobots() {
        let press = |code, modifiers| meaning(&Event::Key(KeyEvent::new(code, modifiers)));
        let none = KeyModifiers::NONE;
        for (code, expected) in [
            (KeyCode::Right, Some(Press::Key(Key::Next))),
            (KeyCode::Char('n'), Some(Press::Key(Key::Next))),
            (KeyCode::Left, Some(Press::Key(Key::Rerecord))),
            (KeyCode::Char('r'), Some(Press::Key(Key::Rerecord))),
            (KeyCode::Esc, Some(Press::Key(Key::Stop))),
            (KeyCode::Char('q'), Some(Press::Key(Key::Stop))),
            (KeyCode::Char('c'), None),
            (KeyCode::Enter, None),
        ] {
            assert_eq!(press(code, none), expected, "{code:?}");
        }
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Press::Interrupt));
        assert_eq!(meaning(&Event::FocusGained), None);
    }
}
