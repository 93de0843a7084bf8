//! What a person sees meanwhile: a bar for each video in work on a terminal, and a line for each that is done.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bars are drawn this often.
const DRAW: Duration = Duration::from_millis(100);
const BAR: usize = 24;

/// The display. Threads share it.
pub struct Progress {
    live: bool,
    out: fn(&[u8]),
    state: Mutex<State>,
}

struct State {
    bars: Vec<Bar>,
    /// Lines on the terminal to be drawn over.
    drawn: usize,
    last: Instant,
}

struct Bar {
    name: String,
    start: Instant,
    done: u64,
    of: u64,
}

impl Progress {
    /// On standard error: bars where that is a terminal.
    pub fn stderr() -> Progress {
        let able = std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        // Nobody may be there to read it any more.
        let out = |bytes: &[u8]| drop(std::io::stderr().write_all(bytes));
        Progress::new(able && std::io::stderr().is_terminal(), out)
    }

    /// Nowhere.
    pub fn silent() -> Progress {
        Progress::new(false, |_| {})
    }

    fn new(live: bool, out: fn(&[u8])) -> Progress {
        Progress { live, out, state: Mutex::new(State { bars: Vec::new(), drawn: 0, last: Instant::now() }) }
    }

    /// Shows a video that is in work.
    pub fn begin(&self, name: &str) {
        self.state().bars.push(Bar { name: name.into(), start: Instant::now(), done: 0, of: 0 });
    }

    /// `done` of `of` frames are encoded.
    pub fn advance(&self, name: &str, done: u64, of: u64) {
        let mut state = self.state();
        if let Some(bar) = state.bars.iter_mut().find(|bar| bar.name == name) {
            (bar.done, bar.of) = (done, of);
        }
        if self.live && state.last.elapsed() >= DRAW {
            state.last = Instant::now();
            self.draw(&mut state, "");
        }
    }

    /// Takes a video's bar away and says how it ended.
    pub fn end(&self, name: &str, line: &str) {
        let mut state = self.state();
        state.bars.retain(|bar| bar.name != name);
        self.draw(&mut state, line);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a line, if there is one, above the bars.
    fn draw(&self, state: &mut State, line: &str) {
        let mut out = String::new();
        if state.drawn > 0 {
            out += &format!("\r\x1b[{}A\x1b[J", state.drawn);
        }
        if !line.is_empty() {
            out += &format!("{line}\n");
        }
        if self.live {
            let columns = crossterm::terminal::size().map_or(0, |(columns, _)| usize::from(columns));
            let columns = if columns == 0 { 80 } else { columns };
            for bar in &state.bars {
                out += &format!("{}\n", bar.text(columns.saturating_sub(1)));
            }
            state.drawn = state.bars.len();
        }
        (self.out)(out.as_bytes());
    }
}

impl Bar {
    fn text(&self, columns: usize) -> String {
        let full = (self.done * BAR as u64 / self.of.max(1)) as usize;
        let rate = self.done as f64 / self.start.elapsed().as_secs_f64().max(0.001);
        let bar = "█".repeat(full) + &"░".repeat(BAR.saturating_sub(full));
        // The end of a path tells more than its start.
        let skip = (self.name.chars().count() + BAR + 28).saturating_sub(columns);
        let name: String = self.name.chars().skip(skip).collect();
        let text = format!("{bar} {:>6}/{} {rate:4.0} fps  {name}", self.done, self.of);
        text.chars().take(columns).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fits_its_terminal() {
        let name = "videos/observation.images.front/chunk-000/file-000.mp4";
        for done in [0, 1, 599, 600] {
            let bar = Bar { name: name.into(), start: Instant::now(), done, of: 600 };
            for columns in [10, 40, 80, 200] {
                assert!(bar.text(columns).chars().count() <= columns);
            }
            assert!(bar.text(120).contains(&format!("{done}/600")) && bar.text(120).ends_with("file-000.mp4"));
        }
    }
}
