//! Tells somebody who is not looking: runs a command of the user's on events that matter, and rings the terminal's bell.
//!
//! Objective: nobody waits for it, and no storm of events becomes a storm of commands. One command runs at a time, none for
//! longer than `notify.timeout_s`, the next one `notify.min_interval_s` after it began at the earliest; what happens in
//! between is told together. The run's end is told at once, and waited for; for that long and no longer.

mod batch;
mod command;

pub use batch::{Batch, MOST_TOLD, Pending, Wanted};
pub use command::Failure;

use crate::config::Problem;
use crate::config::schema::{Notify, Words};
use crate::console::screen;
use crate::events::{Event, Events, Heard, Listener, Severity, Told};
use crate::metrics;
use command::Group;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// The bell rings at most this often.
const BELL: Duration = Duration::from_secs(1);

/// What became of an event, as the metrics have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The command ran and ended well.
    Ran,
    /// It could not be started, or said by its exit code that it failed.
    Failed,
    /// It was killed.
    TimedOut,
    /// An event that the command was not told of: too much happened at once.
    Skipped,
}

impl Outcome {
    pub const ALL: [Outcome; 4] = [Outcome::Ran, Outcome::Failed, Outcome::TimedOut, Outcome::Skipped];

    pub fn name(self) -> &'static str {
        match self {
            Outcome::Ran => "ran",
            Outcome::Failed => "failed",
            Outcome::TimedOut => "timed_out",
            Outcome::Skipped => "skipped",
        }
    }

    fn count(self, number: u64) {
        ::metrics::counter!(metrics::NOTIFICATIONS, "outcome" => self.name()).increment(number);
    }
}

/// The command with all that it is given besides events.
#[derive(Clone, Debug)]
pub struct Messenger {
    command: Words,
    timeout: Duration,
    root: String,
    host: String,
    group: Arc<Group>,
}

impl Messenger {
    /// As configured; `None` without a command. `root` is the data set's folder, for whoever is told.
    pub fn new(notify: &Notify, root: &str) -> Option<Messenger> {
        Some(Messenger {
            command: notify.command.clone()?,
            timeout: Duration::from_secs_f64(notify.timeout_s),
            root: root.into(),
            host: host(),
            group: Arc::default(),
        })
    }

    /// Runs the command and waits for its end.
    pub fn tell(&self, batch: &Batch) -> Result<(), Failure> {
        let Messenger { command, timeout, root, host, group } = self;
        command::run(command, &batch.environment(root, host), &batch.json(root, host), *timeout, group)
    }

    /// Looks whether the command can be run, without running it.
    pub fn look(&self) -> Result<(), Problem> {
        command::look(&self.command)
    }

    /// Tells of an event that is none, so that somebody sees whether they are reached.
    pub fn test(&self, utc_ns: u64) -> Result<(), Failure> {
        let text = format!("a test of notify.command on {}", self.host);
        self.tell(&Batch::of(Told { number: 0, utc_ns, severity: Severity::Info, text, event: Event::Test }))
    }
}

/// What this machine calls itself.
pub fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_string()
}

/// Tells of a run's events, until it is told of the run's end.
#[derive(Debug)]
pub struct Teller {
    tasks: Vec<JoinHandle<()>>,
    close: watch::Sender<bool>,
    group: Option<Arc<Group>>,
}

impl Teller {
    /// Listens from the first event on that is still there.
    pub fn start(notify: &Notify, root: &str, events: &Arc<Events>) -> Teller {
        let wanted: Vec<Wanted> = notify.on.as_slice().iter().filter_map(|name| Wanted::of(name)).collect();
        let (close, closed) = watch::channel(false);
        let hearing = || Hearing {
            listener: events.listen_after(0),
            wanted: wanted.clone(),
            closed: closed.clone(),
            ended: false,
        };
        let mut tasks = Vec::new();
        if notify.bell && screen::is_interactive() {
            tasks.push(tokio::spawn(ring(hearing())));
        }
        let messenger = Messenger::new(notify, root);
        let group = messenger.as_ref().map(|messenger| messenger.group.clone());
        if let Some(messenger) = messenger {
            let pause = Duration::from_secs_f64(notify.min_interval_s);
            tasks.push(tokio::spawn(call(hearing(), messenger, pause)));
        }
        Teller { tasks, close, group }
    }

    /// Waits until everything is told that was told until now: for one run of the command that has begun, and another one.
    pub async fn finish(&mut self) {
        self.close.send_replace(true);
        // Not taken out: who gives the wait up abandons them.
        for task in &mut self.tasks {
            let _ = task.await;
        }
        self.tasks.clear();
    }

    /// Tells nothing more; a command that runs is killed, and none is started.
    pub fn abandon(&mut self) {
        self.tasks.drain(..).for_each(|task| task.abort());
        self.group.iter().for_each(|group| group.abandon());
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.abandon();
    }
}

/// Hears the events that are wanted.
struct Hearing {
    listener: Listener,
    wanted: Vec<Wanted>,
    closed: watch::Receiver<bool>,
    /// The run's end was heard, after which nothing comes.
    ended: bool,
}

impl Hearing {
    /// Adds the next event to `pending`, and whatever else is there already; false when nothing more will come. Safe to
    /// cancel.
    async fn next(&mut self, pending: &mut Pending) -> bool {
        if self.ended {
            return false;
        }
        let mut next = tokio::select! {
            biased;
            heard = self.listener.next() => Some(heard),
            _ = self.closed.wait_for(|closed| *closed) => return false,
        };
        while let Some(heard) = next {
            match heard {
                Heard::Missed(events) => pending.skip(events),
                Heard::Event(told) => {
                    self.ended = matches!(told.event, Event::RunEnded { .. });
                    if self.wanted.iter().any(|wanted| wanted.includes(&told)) {
                        pending.add(told);
                    }
                }
            }
            next = self.listener.try_next();
        }
        true
    }
}

/// Runs the command when something is pending and the last time is long enough ago.
async fn call(mut hearing: Hearing, messenger: Messenger, pause: Duration) {
    let messenger = Arc::new(messenger);
    let mut pending = Pending::default();
    let mut not_before = Instant::now();
    let mut fails = false;
    let mut goes_on = true;
    while goes_on {
        goes_on = tokio::select! {
            biased;
            more = hearing.next(&mut pending) => {
                if more {
                    continue;
                }
                false
            }
            () = tokio::time::sleep_until(not_before), if !pending.is_empty() => true,
        };
        let Some(batch) = pending.take() else { continue };
        not_before = Instant::now() + pause;
        Outcome::Skipped.count(batch.skipped);
        let messenger = messenger.clone();
        let Ok(result) = tokio::task::spawn_blocking(move || messenger.tell(&batch)).await else { return };
        let outcome = match &result {
            Ok(()) => Outcome::Ran,
            Err(Failure::TimedOut(_)) => Outcome::TimedOut,
            Err(_) => Outcome::Failed,
        };
        outcome.count(1);
        match &result {
            Err(failure) if !fails => {
                tracing::warn!("notify.command: {failure}; as long as it fails that is only counted");
            }
            Ok(()) if fails => tracing::info!("notify.command: works again"),
            _ => {}
        }
        fails = result.is_err();
    }
}

/// Rings the bell when something is heard.
async fn ring(mut hearing: Hearing) {
    let mut pending = Pending::default();
    let mut rang: Option<Instant> = None;
    while hearing.next(&mut pending).await {
        if pending.take().is_some() && rang.is_none_or(|at| at.elapsed() >= BELL) {
            screen::ring();
            rang = Some(Instant::now());
        }
    }
}
