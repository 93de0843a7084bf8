//! A mark that a thread leaves while it is inside of a call that may never return, for somebody else to look at.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The kinds of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Opening a session: a driver that sets up its device takes its time.
    Open,
    /// Encoding one picture.
    Encode,
}

/// The mark of one thread.
#[derive(Debug, Default)]
pub struct Watched(AtomicU64);

/// Calls are timed from here; the mark 0 stands for none.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Watched {
    /// Leaves the mark while `call` runs.
    pub fn during<T>(&self, kind: Call, call: impl FnOnce() -> T) -> T {
        let millis = START.elapsed().as_millis() as u64 + 1;
        self.0.store(millis << 1 | u64::from(kind == Call::Open), Ordering::Relaxed);
        let result = call();
        self.0.store(0, Ordering::Relaxed);
        result
    }

    /// The call that the thread is in, and for how long, to the millisecond.
    pub fn inside(&self) -> Option<(Call, Duration)> {
        let mark = self.0.load(Ordering::Relaxed);
        let since = Duration::from_millis((mark >> 1).checked_sub(1)?);
        Some((if mark & 1 == 1 { Call::Open } else { Call::Encode }, START.elapsed().saturating_sub(since)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    #[test]
    fn the_mark_is_there_during_the_call_only() {
        let watched = Arc::new(Watched::default());
        assert_eq!(watched.inside(), None);
        let (entered, wait_entered) = channel();
        let (leave, wait_leave) = channel::<()>();
        let other = watched.clone();
        let thread = std::thread::spawn(move || {
            other.during(Call::Open, || {
                entered.send(()).unwrap();
                wait_leave.recv().unwrap();
                7
            })
        });
        wait_entered.recv().unwrap();
        let (call, first) = watched.inside().unwrap();
        let mut later = first;
        while later == first {
            later = watched.inside().unwrap().1;
        }
        assert!(call == Call::Open && later > first);
        leave.send(()).unwrap();
        assert_eq!(thread.join().unwrap(), 7);
        assert_eq!(watched.inside(), None);
    }
}
