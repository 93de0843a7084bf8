//! A thread that belongs to an actor and blocks on a device.

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

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
