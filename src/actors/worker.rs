//! A thread that belongs to an actor and blocks on a device.

use crate::clock::{Clock, Hold};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The thread and the flag that ends it. Dropping it sets the flag too, so that an actor that is killed leaves no thread running.
#[derive(Debug)]
pub struct Worker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A thread that hangs in its device for longer than this at the end is left behind: the process ends anyway.
const LONGEST_FAREWELL: Duration = Duration::from_secs(3);

impl Worker {
    /// Starts a thread; `run` returns soon after its flag is set.
    pub fn spawn(name: &str, run: impl FnOnce(&AtomicBool) + Send + 'static) -> std::io::Result<Worker> {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        // The kernel keeps 15 bytes of a thread's name.
        let name: String = name.chars().take(15).collect();
        let thread = std::thread::Builder::new().name(name).spawn(move || run(&flag))?;
        Ok(Worker { stop, thread: Some(thread) })
    }

    /// Ends the thread and waits for it.
    pub async fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let joined = tokio::task::spawn_blocking(move || thread.join().is_ok());
            match tokio::time::timeout(LONGEST_FAREWELL, joined).await {
                Ok(Ok(true)) => {}
                Ok(_) => tracing::error!("a device's thread panicked"),
                Err(_) => tracing::error!("a device's thread hangs and is left behind"),
            }
        }
    }
}

/// A device is gone, or cannot be opened. Simulated time stands still until everybody who must know has heard of it:
/// a run with losses is then as repeatable as one without.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Lost {
    pub reason: String,
    pub hold: Hold,
}

impl Lost {
    /// Now, for the reason that `error` gives.
    pub fn new(error: impl std::fmt::Display, clock: &dyn Clock) -> Lost {
        Lost { reason: error.to_string(), hold: clock.hold() }
    }
}

/// Runs a thread's work; a panic in it is a failure like any other, so that the supervisor hears of it.
pub fn or_panic<E>(work: impl FnOnce() -> Result<(), E>, panicked: impl FnOnce(String) -> E) -> Result<(), E> {
    // What the work shared with others is messages and atomics, which a panic leaves whole.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result,
        Err(payload) => {
            let words = payload.downcast_ref::<&str>().map(|words| (*words).to_string());
            let words = words.or_else(|| payload.downcast_ref::<String>().cloned());
            Err(panicked(words.unwrap_or_else(|| "without words".into())))
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_failure_like_any_other() {
        assert_eq!(or_panic(|| Ok::<(), String>(()), |words| words), Ok(()));
        assert_eq!(or_panic(|| Err("lost".to_string()), |words| words), Err("lost".to_string()));
        assert_eq!(or_panic(|| panic!("the test's panic"), |words| words), Err("the test's panic".to_string()));
        assert_eq!(or_panic(|| panic!("with {}", 1), |words| words), Err("with 1".to_string()));
    }

    /// A worker that is dropped without a farewell, as when its actor is killed, ends too.
    #[test]
    fn a_dropped_worker_ends() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let worker = Worker::spawn("test", move |stop| {
            while !stop.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            sender.send(()).unwrap();
        })
        .unwrap();
        drop(worker);
        receiver.recv().unwrap();
    }
}
