//! Whether the machine has other things to do: encoders run at a lower priority and get what is left of it, so that what a
//! crash costs in real time can only be held to a bar on one that has time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What may be lost of a take in progress: a fragment of half a second, what it takes to encode it, and for a power loss
/// what came since the last sync.
const MOST_LOST_NS: i64 = 1_000_000_000;
/// The same on a starved machine.
const MOST_LOST_STARVED_NS: i64 = 5_000_000_000;
/// Per cent of the last ten seconds in which somebody waited for a processor (`/proc/pressure/cpu`), from where on the
/// machine is starved.
const STARVED: f64 = 80.0;
/// Whoever lends the machine its processors does not show there, but in this thread's waking up.
const BEAT: Duration = Duration::from_millis(10);
const MUCH_LATER: Duration = Duration::from_millis(100);
/// For so long.
const AFTER: Duration = Duration::from_secs(10);

/// Watches the machine until it is dropped.
pub struct Heartbeat {
    late: Arc<Mutex<Option<Instant>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Heartbeat {
    pub fn start() -> Heartbeat {
        let (late, stop) = (Arc::new(Mutex::new(None)), Arc::new(AtomicBool::new(false)));
        let (noted, stopped) = (late.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let due = Instant::now() + BEAT;
                std::thread::park_timeout(BEAT);
                if due.elapsed() > MUCH_LATER {
                    *noted.lock().unwrap() = Some(Instant::now());
                }
            }
        });
        Heartbeat { late, stop, thread: Some(thread) }
    }

    /// The machine is starved, or was a moment ago.
    pub fn is_starved(&self) -> bool {
        let pressure = std::fs::read_to_string("/proc/pressure/cpu").unwrap_or_default();
        let share = pressure.split_once("some avg10=").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
        let was_late = self.late.lock().unwrap().is_some_and(|at| at.elapsed() < AFTER);
        was_late || share.is_some_and(|share: f64| share > STARVED)
    }
}

/// What may be lost of a take in progress, in nanoseconds.
pub fn most_lost_ns(starved: bool) -> i64 {
    if starved { MOST_LOST_STARVED_NS } else { MOST_LOST_NS }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}
