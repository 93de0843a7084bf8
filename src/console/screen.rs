//! The terminal: log lines above, a live block below. Where there is no terminal: log lines only.
//!
//! The block is drawn over in place, in one write, between the marks of a synchronised update: nothing flickers. Whoever
//! logs or draws never waits for the terminal, see `printer`.

use super::printer::{Printer, Say};
use super::view;
use crate::status::Status;
use rustix::termios::tcgetwinsize;
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::time::Duration;
use tracing_subscriber::fmt::MakeWriter;

/// The last words are waited for this long: the terminal may be stopped.
const FAREWELL: Duration = Duration::from_secs(2);
/// Terminals that do not know synchronised updates pass over them.
const BEGIN: &str = "\x1b[?2026h";
const END: &str = "\x1b[?2026l";
const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";
const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";
const BELL: &str = "\x07";

/// What is on the terminal now.
#[derive(Default)]
struct Screen {
    /// Lines of the live block, to be drawn over.
    block: Vec<String>,
    /// A live block is wanted: standard error is a terminal.
    live: bool,
}

impl Screen {
    /// What to write so that it is done, on a terminal of so many columns.
    fn render(&mut self, say: Say, columns: usize) -> Vec<u8> {
        match say {
            Say::Begin => {
                self.live = true;
                HIDE_CURSOR.into()
            }
            Say::Lines(text) if !self.live => text,
            Say::Lines(text) => {
                let text = String::from_utf8_lossy(&text).replace('\n', "\r\n");
                [BEGIN, &up(&self.block, columns), CLEAR_BELOW, &text, &painted(&self.block), END].concat().into()
            }
            Say::Block(lines) => {
                let out = [BEGIN, &up(&self.block, columns), &painted(&lines), CLEAR_BELOW, END].concat();
                self.block = lines;
                out.into()
            }
            Say::Bell => BELL.into(),
            Say::End => {
                self.live = false;
                let block = std::mem::take(&mut self.block);
                [&up(&block, columns), CLEAR_BELOW, SHOW_CURSOR].concat().into()
            }
        }
    }
}

/// The one of this process, with its thread.
fn printer() -> &'static Printer {
    static PRINTER: OnceLock<Printer> = OnceLock::new();
    static THREAD: OnceLock<bool> = OnceLock::new();
    let printer = PRINTER.get_or_init(Printer::default);
    // Without a thread nothing can be shown, and nothing could be recorded either.
    THREAD.get_or_init(|| std::thread::Builder::new().name("terminal".into()).spawn(|| write(printer)).is_ok());
    printer
}

fn write(printer: &Printer) {
    let mut screen = Screen::default();
    loop {
        let say = printer.take();
        // Nobody may be there to read it any more, which must not keep a take from being saved: that is no error.
        let _ = io::stderr().write_all(&screen.render(say, size().0));
    }
}

/// Waits until what was said is on the terminal, or what is left is not going to be.
pub fn flush() {
    printer().flush(FAREWELL);
}

/// True when there is a person's terminal to draw on and to take keys from.
pub fn is_interactive() -> bool {
    let able = std::env::var_os("TERM").is_none_or(|term| term != "dumb");
    able && io::stderr().is_terminal() && io::stdin().is_terminal()
}

/// True when colours are wanted: on a terminal, unless `NO_COLOR` is set (<https://no-color.org>).
pub fn is_coloured() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A live block from now on; until it is dropped the terminal takes keys without Enter.
pub struct Live {
    coloured: bool,
}

impl Live {
    /// Takes the terminal over. `None` when that fails: then there are lines.
    pub fn start() -> Option<Live> {
        crossterm::terminal::enable_raw_mode().ok()?;
        printer().say(Say::Begin);
        // A part may panic and be replaced while the run goes on.
        std::panic::set_hook(Box::new(|panic| {
            let _ = LogWriter.write_all(format!("{panic}\n").as_bytes());
        }));
        Some(Live { coloured: is_coloured() })
    }

    /// Draws the status.
    pub fn draw(&self, status: &Status) {
        self.paint(|columns, rows| view::block(status, columns, rows));
    }

    /// Draws what `block` makes for the window's columns and rows: fewer lines than rows, none longer than the columns.
    pub fn paint(&self, block: impl FnOnce(usize, usize) -> Vec<String>) {
        let (columns, rows) = size();
        // The last column stays free: some terminals go to the next line after it.
        let lines = block(columns.saturating_sub(1), rows);
        let lines = lines.into_iter().map(|line| if self.coloured { colour(&line) } else { line });
        printer().say(Say::Block(lines.collect()));
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        printer().say(Say::End);
        flush();
        let _ = crossterm::terminal::disable_raw_mode();
    }
}

/// Rings the bell of a person's terminal.
pub fn ring() {
    printer().say(Say::Bell);
}

/// Columns and rows of the terminal.
fn size() -> (usize, usize) {
    match tcgetwinsize(io::stderr()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => (80, 24),
    }
}

/// Moves to the first line of the block. A terminal that has become narrower since has broken its lines.
fn up(block: &[String], columns: usize) -> String {
    let rows: usize = block.iter().map(|line| width(line).div_ceil(columns.max(1)).max(1)).sum();
    if rows == 0 { String::new() } else { format!("\r\x1b[{rows}A") }
}

fn painted(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}{CLEAR_LINE}\r\n")).collect()
}

/// Columns of a line of the block, without its colours.
fn width(line: &str) -> usize {
    line.replace(RED, "").replace(PLAIN, "").chars().count()
}

/// The little that should catch the eye, in red.
fn colour(line: &str) -> String {
    let marks = [&view::RECORDING.to_string(), view::NO_PICTURE, view::FAILED];
    marks.iter().fold(line.to_string(), |line, mark| line.replacen(*mark, &format!("{RED}{mark}{PLAIN}"), 1))
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
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        printer().say(Say::Lines(bytes.to_vec()));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_up_counts_broken_lines() {
        let block = ["", "12345678", &colour("● 3456")].map(String::from);
        assert_eq!(up(&block, 8), "\r\x1b[3A");
        assert_eq!(up(&block, 4), "\r\x1b[5A");
        assert_eq!(up(&[], 4), "");
    }
}
