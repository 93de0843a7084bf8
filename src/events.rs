//! What happens in a run, one event at a time: for the log, for tools (`/events`), for whoever is to be notified.
//!
//! Objective: whoever tells never waits. Events go through a ring of bounded size; a listener that is slower than the
//! run loses the oldest ones and is told how many, and nobody else notices.

use crate::arm::motors::Held;
use crate::clock::Stamp;
use crate::config::schema::OnLoss;
use crate::dataset::EpisodeSummary;
use crate::disk_space::Room;
use serde::{Serialize, Serializer};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Events that a listener may be behind; beyond that the oldest are lost to it.
pub const RING: usize = 256;

fn shared<S: Serializer>(summary: &Arc<EpisodeSummary>, to: S) -> Result<S::Ok, S::Error> {
    summary.as_ref().serialize(to)
}

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// As it should be.
    Info,
    /// Somebody should look at it when there is time.
    Warning,
    /// Somebody should look at it now.
    Critical,
}

impl Severity {
    /// As in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// What a crash had left of a take was dealt with; `lost` says whether anything is gone.
    Recovered { lost: bool },
    /// Devices answer and the grid ticks.
    RunStarted { root: String, episodes: u64, recorded: u64, encoder: String },
    /// Everything is saved; `error` says why it ended early.
    RunEnded { saved: u64, discarded: u64, failed: u64, error: Option<String> },
    /// The first row of a take; `episode` counts in this run, from 1.
    TakeStarted { take: u64, episode: u64 },
    /// A take is not kept.
    TakeDiscarded { take: u64, rows: u64 },
    /// A take cannot be saved, and nothing after it.
    TakeFailed { take: u64, reason: String },
    /// A take has become an episode, `seconds` after its last tick.
    EpisodeSaved {
        seconds: f64,
        #[serde(serialize_with = "shared")]
        summary: Arc<EpisodeSummary>,
    },
    /// The episode that was saved last, or its take, is taken back; so many episodes are left.
    EpisodeTakenBack { take: u64, episodes: u64 },
    /// A device that worked is away.
    DeviceLost { device: String, reason: String, on_loss: OnLoss },
    /// It is there again.
    DeviceBack { device: String },
    /// It was lost again and again within a minute.
    DeviceFailing { device: String },
    /// A camera delivers fewer pictures than it said, once for as long as it lasts; why, as far as is known.
    CameraSlow { camera: String, hertz: f64, target_hertz: f64, cause: String },
    /// It delivers enough again.
    CameraSlowOver { camera: String, hertz: f64, target_hertz: f64 },
    /// Somebody else has changed a control of a camera, which is set back or left alone.
    ControlChanged { camera: String, control: String, set: i64, found: i64, set_back: bool },
    /// Something is wrong with a motor, once for as long as it lasts; what becomes of the motor.
    ArmFault { arm: &'static str, motor: String, kind: &'static str, reason: String, held: Held },
    /// It is over.
    ArmFaultOver { arm: &'static str, motor: String, kind: &'static str },
    /// The leader is there and says nothing: the follower holds its goal.
    LeaderSilent,
    /// It speaks again.
    LeaderHeard,
    /// Another encoder goes on with a camera's video.
    EncoderReplaced { camera: String, from: String, to: String, reason: String },
    /// The GPU failed too often, and rests.
    GpuGivenUp,
    /// It works again.
    GpuBack,
    /// Encoders are behind: pictures that wait for them take most of the disk space that they may; told once.
    Backlog { bytes: u64, limit_bytes: u64 },
    /// There is another amount of room on the disk.
    Disk { room: Room, free_bytes: u64, recordable_s: Option<f64> },
    /// A part of the recorder does nothing any more.
    PartStuck { part: &'static str },
    /// It goes on.
    PartGoesOn { part: &'static str },
    /// Somebody tries whether `notify.command` reaches them.
    Test,
}

/// An event as it was told.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Told {
    /// Counts from 1 in this process.
    pub number: u64,
    /// Since 1970, on the run's clock.
    pub utc_ns: u64,
    pub severity: Severity,
    /// In words.
    pub text: String,
    #[serde(flatten)]
    pub event: Event,
}

macro_rules! names {
    ($($variant:ident = $name:literal),* $(,)?) => {
        impl Event {
            /// Of all events.
            pub const NAMES: &[&str] = &[$($name),*];

            /// What it is called in JSON and in `/events`.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Event::$variant { .. } => $name),*
                }
            }
        }
    };
}

names! {
    Recovered = "recovered",
    RunStarted = "run_started",
    RunEnded = "run_ended",
    TakeStarted = "take_started",
    TakeDiscarded = "take_discarded",
    TakeFailed = "take_failed",
    EpisodeSaved = "episode_saved",
    EpisodeTakenBack = "episode_taken_back",
    DeviceLost = "device_lost",
    DeviceBack = "device_back",
    DeviceFailing = "device_failing",
    CameraSlow = "camera_slow",
    CameraSlowOver = "camera_slow_over",
    ControlChanged = "control_changed",
    ArmFault = "arm_fault",
    ArmFaultOver = "arm_fault_over",
    LeaderSilent = "leader_silent",
    LeaderHeard = "leader_heard",
    EncoderReplaced = "encoder_replaced",
    GpuGivenUp = "gpu_given_up",
    GpuBack = "gpu_back",
    Backlog = "backlog",
    Disk = "disk",
    PartStuck = "part_stuck",
    PartGoesOn = "part_goes_on",
    Test = "test",
}

impl Event {
    /// How much it matters.
    pub fn severity(&self) -> Severity {
        match self {
            Event::TakeFailed { .. }
            | Event::DeviceFailing { .. }
            | Event::PartStuck { .. }
            | Event::RunEnded { error: Some(_), .. }
            | Event::Disk { room: Room::None, .. } => Severity::Critical,
            Event::Recovered { .. }
            | Event::DeviceLost { .. }
            | Event::CameraSlow { .. }
            | Event::ControlChanged { .. }
            | Event::ArmFault { .. }
            | Event::LeaderSilent
            | Event::EncoderReplaced { .. }
            | Event::GpuGivenUp
            | Event::Backlog { .. }
            | Event::Disk { room: Room::Little, .. } => Severity::Warning,
            Event::EpisodeSaved { summary, .. } if has_losses(summary) => Severity::Warning,
            _ => Severity::Info,
        }
    }
}

/// Frames that the cameras' rate does not explain are missing, or rows are without a device.
fn has_losses(summary: &EpisodeSummary) -> bool {
    use crate::frame::DropReason;
    let lost = |counters: &crate::dataset::CameraCounters| {
        counters.sequence_gaps > 0
            || counters.gaps.rows_lost > 0
            || counters.dropped.iter().any(|(reason, n)| *n > 0 && *reason != DropReason::Superseded)
    };
    summary.arm.rows_lost > 0 || summary.cameras.values().any(|camera| lost(&camera.counters))
}

/// Where events are told and listened to.
#[derive(Debug)]
pub struct Events {
    ring: Mutex<VecDeque<Arc<Told>>>,
    newest: watch::Sender<u64>,
}

impl Default for Events {
    fn default() -> Events {
        Events { ring: Mutex::default(), newest: watch::Sender::new(0) }
    }
}

/// What a listener hears.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    Event(Arc<Told>),
    /// So many events were told and are gone: the listener was too slow, or began too late.
    Missed(u64),
}

impl Events {
    /// Tells an event; never waits.
    pub fn tell(&self, at: Stamp, text: String, event: Event) -> Arc<Told> {
        let mut ring = self.ring();
        let number = ring.back().map_or(0, |last| last.number) + 1;
        let told = Arc::new(Told { number, utc_ns: at.utc_ns, severity: event.severity(), text, event });
        if ring.len() == RING {
            ring.pop_front();
        }
        ring.push_back(told.clone());
        self.newest.send_replace(number);
        told
    }

    /// Listens from behind an event on: 0 for all that are still there.
    pub fn listen_after(self: &Arc<Self>, number: u64) -> Listener {
        Listener { events: self.clone(), heard: number, newest: self.newest.subscribe() }
    }

    /// Listens from now on.
    pub fn listen(self: &Arc<Self>) -> Listener {
        self.listen_after(self.newest())
    }

    /// The number of the newest event; 0 before the first.
    pub fn newest(&self) -> u64 {
        *self.newest.borrow()
    }

    /// Waits until all listeners have gone: those that have heard the last event of a run have no reason to stay.
    pub async fn all_heard(&self) {
        self.newest.closed().await;
    }

    fn ring(&self) -> MutexGuard<'_, VecDeque<Arc<Told>>> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hears events one after the other.
pub struct Listener {
    events: Arc<Events>,
    heard: u64,
    newest: watch::Receiver<u64>,
}

impl Listener {
    /// The next event, as soon as there is one; safe to cancel.
    pub async fn next(&mut self) -> Heard {
        loop {
            if let Some(heard) = self.try_next() {
                return heard;
            }
            // The sender lives as long as `events`.
            let _ = self.newest.changed().await;
        }
    }

    /// The number of the last event that was heard, or passed over.
    pub fn heard(&self) -> u64 {
        self.heard
    }

    /// The next event, if there is one.
    pub fn try_next(&mut self) -> Option<Heard> {
        self.newest.mark_unchanged();
        let ring = self.events.ring();
        let first = ring.front()?.number;
        // A number of an earlier process says nothing here: everything is heard.
        if self.heard > ring.back()?.number {
            self.heard = 0;
        }
        if self.heard + 1 < first {
            let missed = first - 1 - self.heard;
            self.heard = first - 1;
            return Some(Heard::Missed(missed));
        }
        let next = ring.get((self.heard + 1 - first) as usize)?;
        self.heard = next.number;
        Some(Heard::Event(next.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tell(events: &Events, take: u64) {
        events.tell(Stamp::default(), format!("take {take}"), Event::TakeStarted { take, episode: 1 });
    }

    fn takes(listener: &mut Listener) -> Vec<Result<u64, u64>> {
        let number = |heard| match heard {
            Heard::Event(told) => Ok(told.number),
            Heard::Missed(n) => Err(n),
        };
        std::iter::from_fn(|| listener.try_next()).map(number).collect()
    }

    #[tokio::test]
    async fn a_listener_hears_all_in_order_and_how_much_it_missed() {
        let events = Arc::new(Events::default());
        (1..=3).for_each(|take| tell(&events, take));
        assert_eq!(takes(&mut events.listen_after(0)), [Ok(1), Ok(2), Ok(3)]);
        assert_eq!(takes(&mut events.listen_after(2)), [Ok(3)]);
        assert_eq!(takes(&mut events.listen_after(1000)), [Ok(1), Ok(2), Ok(3)], "numbers of another process");
        let mut slow = events.listen();
        assert_eq!(takes(&mut slow), []);
        let many = RING as u64 + 5;
        (0..many).for_each(|take| tell(&events, take));
        let heard = takes(&mut slow);
        assert_eq!((heard[0], heard[1], heard.len()), (Err(5), Ok(9), RING + 1));
        let (heard, ()) = tokio::join!(slow.next(), async { tell(&events, 7) });
        assert!(matches!(heard, Heard::Event(told) if told.number == 3 + many + 1));
    }

    #[test]
    fn events_are_flat_json_with_their_name() {
        let events = Events::default();
        let told = events.tell(
            Stamp { mono_ns: 1, utc_ns: 2 },
            "the disk is full".into(),
            Event::Disk { room: Room::None, free_bytes: 3, recordable_s: None },
        );
        assert_eq!(
            serde_json::to_string(&*told).unwrap(),
            r#"{"number":1,"utc_ns":2,"severity":"critical","text":"the disk is full","event":"disk","room":"none","free_bytes":3,"recordable_s":null}"#
        );
    }
}
