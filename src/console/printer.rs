//! What waits to be written on the terminal: whoever says something never waits, since a terminal may be stopped (Ctrl-S),
//! or far away. A thread of its own writes it.

use crate::metrics;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Lines of the log that may wait, and their bytes; further ones are lost and counted.
const MOST_LINES: usize = 1024;
const MOST_BYTES: usize = 1 << 20;

/// What is to be done on the terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Say {
    /// It is taken over, for a live block.
    Begin,
    /// Whole lines of the log.
    Lines(Vec<u8>),
    /// The live block as it is now.
    Block(Vec<String>),
    /// Somebody is called.
    Bell,
    /// It is given back.
    End,
}

#[derive(Default)]
struct Waiting {
    say: VecDeque<Say>,
    lines: usize,
    bytes: usize,
    lost: u64,
    /// What was taken last is being written.
    writing: bool,
}

/// The queue; of blocks only the newest waits.
#[derive(Default)]
pub struct Printer {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

impl Printer {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be written in its turn.
    pub fn say(&self, say: Say) {
        let mut waiting = self.waiting();
        match &say {
            Say::Lines(text) => {
                if waiting.lines == MOST_LINES || waiting.bytes + text.len() > MOST_BYTES {
                    waiting.lost += 1;
                    ::metrics::counter!(metrics::LOG_LINES_LOST).increment(1);
                    return;
                }
                waiting.lines += 1;
                waiting.bytes += text.len();
            }
            Say::Block(_) => waiting.say.retain(|other| !matches!(other, Say::Block(_))),
            Say::Bell => waiting.say.retain(|other| *other != Say::Bell),
            Say::Begin | Say::End => {}
        }
        waiting.say.push_back(say);
        self.changed.notify_all();
    }

    /// Waits until all is written, at most so long; whether it is.
    pub fn flush(&self, longest: Duration) -> bool {
        let busy = |waiting: &mut Waiting| waiting.writing || !waiting.say.is_empty();
        let waited = self.changed.wait_timeout_while(self.waiting(), longest, busy);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// The next that is to be written, once there is something. What was taken before counts as written.
    pub fn take(&self) -> Say {
        let mut waiting = self.waiting();
        waiting.writing = false;
        self.changed.notify_all();
        let idle = |waiting: &mut Waiting| waiting.say.is_empty();
        let mut waiting = self.changed.wait_while(waiting, idle).unwrap_or_else(PoisonError::into_inner);
        waiting.writing = true;
        if waiting.lost > 0 {
            let lost = std::mem::take(&mut waiting.lost);
            return Say::Lines(format!("recorder: {lost} lines are missing near here: they found no room\n").into());
        }
        let say = waiting.say.pop_front().unwrap_or(Say::Lines(Vec::new()));
        if let Say::Lines(text) = &say {
            waiting.lines -= usize::from(!text.is_empty());
            waiting.bytes -= text.len();
        }
        say
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Say {
        Say::Lines(text.into())
    }

    fn block(text: &str) -> Say {
        Say::Block(vec![text.into()])
    }

    #[test]
    fn only_the_newest_block_waits_and_lines_keep_their_order() {
        let printer = Printer::default();
        for say in [block("1"), line("a"), Say::Bell, block("2"), line("b"), Say::Bell] {
            printer.say(say);
        }
        let taken: Vec<Say> = (0..4).map(|_| printer.take()).collect();
        assert_eq!(taken, [line("a"), block("2"), line("b"), Say::Bell]);
        // The last one may still be on its way.
        assert!(!printer.flush(Duration::ZERO));
    }

    /// By count and by bytes; what is lost is said, and there is room again.
    #[test]
    fn what_waits_is_bounded() {
        for (text, room) in [("x", MOST_LINES), (&*"x".repeat(MOST_BYTES / 4), 4)] {
            let printer = Printer::default();
            (0..room + 3).for_each(|_| printer.say(line(text)));
            assert_eq!(printer.take(), line("recorder: 3 lines are missing near here: they found no room\n"));
            (0..room).for_each(|_| assert_eq!(printer.take(), line(text)));
            printer.say(line("more"));
            assert_eq!(printer.take(), line("more"));
        }
    }

    #[test]
    fn a_flush_waits_for_what_is_being_written() {
        let printer = Printer::default();
        assert!(printer.flush(Duration::ZERO), "nothing waits");
        printer.say(line("a"));
        std::thread::scope(|scope| {
            let flushed = scope.spawn(|| printer.flush(Duration::from_secs(60)));
            assert_eq!(printer.take(), line("a"));
            printer.say(line("b"));
            // Taking the next one says that the one before is written.
            assert_eq!(printer.take(), line("b"));
            assert!(!flushed.is_finished());
            let writer = scope.spawn(|| printer.take());
            assert!(flushed.join().unwrap());
            printer.say(Say::End);
            assert_eq!(writer.join().unwrap(), Say::End);
        });
    }
}
