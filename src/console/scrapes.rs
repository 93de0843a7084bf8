//! Whether `/metrics` is read, so that its last word is: with the run the process ends, and an episode that failed, or that
//! the run is done, would stand on a page that nobody has seen.

use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The next read is waited for no longer, however rarely it comes.
const LONGEST: Duration = Duration::from_secs(30);
/// From one read to the next, where there was only one: as `grafana/prometheus.yml` has it.
const USUAL: Duration = Duration::from_secs(5);
/// What was rendered may take so long to be sent.
const SENT: Duration = Duration::from_millis(200);

/// The reads of the page so far.
#[derive(Debug, Default)]
pub struct Scrapes(watch::Sender<Reads>);

#[derive(Clone, Copy, Debug, Default)]
struct Reads {
    newest: Option<Instant>,
    /// From the one before to the newest.
    interval: Option<Duration>,
}

impl Scrapes {
    /// The page is read at `now`.
    pub fn read(&self, now: Instant) {
        self.0.send_modify(|reads| {
            reads.interval = reads.newest.map(|before| now.saturating_duration_since(before));
            reads.newest = Some(now);
        });
    }

    /// Waits until the page has been read once more; not where nobody reads it, or not any more.
    pub async fn once_more(&self) {
        let mut watch = self.0.subscribe();
        let Reads { newest, interval } = *watch.borrow_and_update();
        let patience = (2 * interval.unwrap_or(USUAL)).min(LONGEST);
        if newest.is_none_or(|at| at.elapsed() > patience) {
            return;
        }
        tracing::info!("Prometheus reads how it ended before the program ends; Ctrl-C skips that");
        if tokio::time::timeout(patience, watch.changed()).await.is_ok() {
            tokio::time::sleep(SENT).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[tokio::test]
    async fn a_page_that_nobody_reads_is_not_waited_for() {
        Scrapes::default().once_more().await;
        let scrapes = Scrapes::default();
        // Twice a second, until a minute ago.
        let long_ago = Instant::now() - Duration::from_secs(60);
        scrapes.read(long_ago);
        scrapes.read(long_ago + Duration::from_millis(500));
        scrapes.once_more().await;
    }

    #[tokio::test]
    async fn the_next_read_is_waited_for() {
        let scrapes = Arc::new(Scrapes::default());
        let read_again = Arc::new(AtomicBool::new(false));
        let start = Instant::now();
        scrapes.read(start - Duration::from_secs(10));
        scrapes.read(start);
        let (reader, told) = (scrapes.clone(), read_again.clone());
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            told.store(true, Ordering::SeqCst);
            reader.read(Instant::now());
        });
        scrapes.once_more().await;
        assert!(read_again.load(Ordering::SeqCst), "before it was read again");
    }
}
