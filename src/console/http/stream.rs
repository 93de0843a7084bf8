//! `/events`: what happens in the run, as server-sent events.
//!
//! Objective: a reader never holds anybody up. An event is written for a reader when its connection has taken the one
//! before; what it is too slow for is lost to it, and it is told how much. For each reader there are one event and hyper's
//! write buffer in memory, and what the kernel keeps of a connection.

use crate::events::{Event, Heard, Listener, Told};
use bytes::Bytes;
use hyper::body::{Body, Frame};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// Without an event for so long, a comment shows that the connection is alive.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// A reader that has lost its connection should come back after this many milliseconds.
const RETRY_MS: u32 = 1000;

/// The next message, and the reader that waits for the one after it.
type Next = Pin<Box<dyn Future<Output = Option<(Bytes, Reader)>> + Send>>;

/// The body of an answer that goes on until the run has ended.
pub struct EventStream {
    next: Next,
}

impl EventStream {
    /// Goes on where `listener` is; gives `permit` back when the reader has gone.
    pub fn new(listener: Listener, permit: OwnedSemaphorePermit) -> EventStream {
        let reader = Reader { listener, heartbeat: HEARTBEAT, greeted: false, over: false, _permit: permit };
        EventStream { next: Box::pin(reader.next()) }
    }
}

impl Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = ready!(self.next.as_mut().poll(context));
        Poll::Ready(next.map(|(message, reader)| {
            self.next = Box::pin(reader.next());
            Ok(Frame::data(message))
        }))
    }
}

/// Somebody who follows the events.
struct Reader {
    listener: Listener,
    heartbeat: Duration,
    greeted: bool,
    /// It has been told that the run has ended.
    over: bool,
    _permit: OwnedSemaphorePermit,
}

impl Reader {
    /// What to send next, as soon as there is something; `None` after the end of the run.
    async fn next(mut self) -> Option<(Bytes, Reader)> {
        if self.over {
            // Hyper sends what it has before it looks here again: the end of the run is on its way before the listener
            // goes, for which the program waits ([`crate::events::Events::all_heard`]).
            tokio::task::yield_now().await;
            return None;
        }
        let text = if !std::mem::replace(&mut self.greeted, true) {
            // Where it begins: one that loses its connection before the first event comes back to here.
            format!(": events of recorder {}\nretry: {RETRY_MS}\nid: {}\n\n", crate::VERSION, self.listener.heard())
        } else {
            match tokio::time::timeout(self.heartbeat, self.listener.next()).await {
                Err(_) => ": nothing new\n\n".to_string(),
                Ok(Heard::Missed(events)) => format!("event: missed\ndata: {{\"missed\":{events}}}\n\n"),
                Ok(Heard::Event(told)) => {
                    self.over = matches!(told.event, Event::RunEnded { .. });
                    message(&told)
                }
            }
        };
        Some((text.into(), self))
    }
}

/// An event in the form of the standard; JSON has no line breaks but those that are escaped.
fn message(told: &Told) -> String {
    let json = serde_json::to_string(told).unwrap_or_default();
    format!("id: {}\nevent: {}\ndata: {json}\n\n", told.number, told.event.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Stamp;
    use crate::events::Events;
    use std::sync::Arc;
    use tokio::sync::Semaphore;

    #[tokio::test]
    async fn a_reader_is_greeted_kept_alive_told_and_released() {
        let (events, readers) = (Arc::new(Events::default()), Arc::new(Semaphore::new(1)));
        let tell = |event| events.tell(Stamp { mono_ns: 1, utc_ns: 2 }, "two\nlines".into(), event);
        tell(Event::GpuGivenUp);
        let permit = readers.clone().try_acquire_owned().unwrap();
        let heartbeat = Duration::from_millis(1);
        let reader = Reader { listener: events.listen(), heartbeat, greeted: false, over: false, _permit: permit };
        let next = async |reader: Reader| {
            let (message, reader) = reader.next().await.unwrap();
            (String::from_utf8(message.to_vec()).unwrap(), reader)
        };
        let (message, reader) = next(reader).await;
        assert!(
            message.starts_with(": events of recorder ") && message.ends_with("\nretry: 1000\nid: 1\n\n"),
            "{message}"
        );
        let (message, reader) = next(reader).await;
        assert_eq!(message, ": nothing new\n\n");
        tell(Event::GpuBack);
        let (message, reader) = next(reader).await;
        let json = r#"{"number":2,"utc_ns":2,"severity":"info","text":"two\nlines","event":"gpu_back"}"#;
        assert_eq!(message, format!("id: 2\nevent: gpu_back\ndata: {json}\n\n"));
        (0..crate::events::RING as u64 + 6).for_each(|take| drop(tell(Event::TakeStarted { take, episode: 1 })));
        let (message, reader) = next(reader).await;
        assert_eq!(message, "event: missed\ndata: {\"missed\":6}\n\n");
        tell(Event::RunEnded { saved: 1, discarded: 0, failed: 0, error: None });
        let mut reader = reader;
        let mut message = String::new();
        while !message.contains("event: run_ended\n") {
            (message, reader) = next(reader).await;
        }
        assert_eq!(readers.available_permits(), 0);
        assert!(reader.next().await.is_none());
        assert_eq!(readers.available_permits(), 1);
        events.all_heard().await;
    }
}
