//! The terminal: log lines above, a live block below. Where there is no terminal: log lines only.

use super::view;
use crate::status::Status;
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use tracing_subscriber::fmt::MakeWriter;

/// What is on the terminal now.
#[derive(Default)]
struct Screen {
    /// Lines of the live block, to be drawn over.
    block: Vec<String>,
    /// A live block is wanted: standard error is a terminal.
    live: bool,
}

fn screen() -> MutexGuard<'static, Screen> {
    static SCREEN: OnceLock<Mutex<Screen>> = OnceLock::new();
    SCREEN.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}

/// True when there is a person's terminal to draw on and to take keys from.
pub fn is_interactive() -> bool {
    std::io::stderr().is_terminal() && std::io::stdin().is_terminal()
}

/// A live block from now on; until it is dropped, or the program panics, the terminal takes keys without Enter.
pub struct Live(());

impl Live {
    /// Takes the terminal over. `None` when that fails: then there are lines.
    pub fn start() -> Option<Live> {
        crossterm::terminal::enable_raw_mode().ok()?;
        screen().live = true;
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // The message must be readable, and the shell usable, if this is the end.
            let _ = crossterm::terminal::disable_raw_mode();
            before(panic);
        }));
        Some(Live(()))
    }

    /// Draws the status.
    pub fn draw(&self, status: &Status) {
        let width = crossterm::terminal::size().map_or(80, |(columns, _)| usize::from(columns));
        let mut screen = screen();
        let lines = view::block(status, width.saturating_sub(1));
        let mut out = erase(&screen.block);
        paint(&mut out, &lines);
        screen.block = lines;
        let _ = std::io::stderr().write_all(out.as_bytes());
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let mut screen = screen();
        screen.live = false;
        screen.block.clear();
        let _ = crossterm::terminal::disable_raw_mode();
    }
}

/// Moves to the first line of the block and clears from there.
fn erase(block: &[String]) -> String {
    if block.is_empty() { String::new() } else { format!("\x1b[{}A\r\x1b[J", block.len()) }
}

fn paint(out: &mut String, lines: &[String]) {
    for line in lines {
        out.push_str(line);
        out.push_str("\r\n");
    }
}

/// Where log lines go: standard error, above the live block.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogWriter;

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = LogWriter;

    fn make_writer(&'a self) -> LogWriter {
        LogWriter
    }
}

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let screen = screen();
        if screen.live {
            let mut out = erase(&screen.block);
            out.push_str(&String::from_utf8_lossy(bytes).replace('\n', "\r\n"));
            paint(&mut out, &screen.block);
            std::io::stderr().write_all(out.as_bytes())?;
        } else {
            std::io::stderr().write_all(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}
