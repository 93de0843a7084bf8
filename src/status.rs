//! What the terminal and `/status` show: a snapshot that the actors keep up to date.

use crate::clock::{Clock, Stamp, SystemClock};
use crate::console::scrapes::Scrapes;
use crate::dataset::EpisodeSummary;
use crate::disk_space::Room;
use crate::events::{Event, Events, Severity};
use serde::{Serialize, Serializer};
use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use tokio::sync::watch;

/// Where the run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Devices are being opened.
    #[default]
    Starting,
    Recording,
    Resetting,
    /// The last episodes are being encoded and saved.
    Finishing,
    Done,
}

impl Phase {
    /// Every phase, for metrics that exist from the start.
    pub const ALL: [Phase; 5] = [Phase::Starting, Phase::Recording, Phase::Resetting, Phase::Finishing, Phase::Done];

    /// A metric label.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Starting => "starting",
            Phase::Recording => "recording",
            Phase::Resetting => "resetting",
            Phase::Finishing => "finishing",
            Phase::Done => "done",
        }
    }
}

/// A run at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Status {
    /// When this process began the run, since 1970.
    pub started_utc_ns: u64,
    pub phase: Phase,
    /// Episode of this run that is recorded or was recorded last, from 1.
    pub episode: u64,
    /// Episodes this run is to record.
    pub episodes: u64,
    /// Episodes in the data set, those before this run included.
    pub dataset_episodes: u64,
    pub saved: u64,
    pub discarded: u64,
    pub failed: u64,
    /// Frames dropped in the episodes that were saved.
    pub dropped: u64,
    /// Seconds of the episode or the reset so far, and to go.
    pub elapsed_s: f64,
    pub left_s: f64,
    pub cameras: Vec<CameraStatus>,
    /// Rows in which the arm did not answer in time.
    pub arm_misses: u64,
    /// What encodes now.
    pub encoder: String,
    /// Encoders that were replaced in the middle of a video.
    pub encoder_switches: u64,
    /// Episodes that are recorded and not saved yet.
    pub waiting: u64,
    /// Pictures on disk that wait for their episode to be saved.
    pub waiting_bytes: u64,
    /// The next episode begins only when encoders have caught up, or when there is room on the disk.
    pub held: bool,
    /// The next episode begins only when devices are back that are away.
    pub missing: bool,
    /// The next episode begins only when the arm is where a replay begins.
    pub approaching: bool,
    /// Devices that are away, with the reason.
    pub lost: Vec<String>,
    /// Devices that were lost again and again within the last minute.
    pub failing: Vec<String>,
    pub disk_free_bytes: u64,
    pub room: Room,
    /// Recording time that the free space is good for; `None` before the rate is known.
    pub recordable_s: Option<f64>,
    /// Seconds until no episode begins any more; `None` without an end.
    pub schedule_left_s: Option<f64>,
    /// Parts of the recorder that do nothing any more.
    pub stuck: Vec<&'static str>,
    /// How long the last save took.
    pub last_save_s: Option<f64>,
    /// The episode that was saved last; `None` before the first, and when that one is taken back.
    #[serde(serialize_with = "shared_summary")]
    pub last_episode: Option<Arc<EpisodeSummary>>,
    pub root: String,
}

fn shared_summary<S: Serializer>(summary: &Option<Arc<EpisodeSummary>>, to: S) -> Result<S::Ok, S::Error> {
    summary.as_deref().serialize(to)
}

/// A camera of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CameraStatus {
    pub name: String,
    /// Frames a second, measured over the last two seconds.
    pub rate: f64,
    /// Delivers pictures now.
    pub alive: bool,
    /// Of the take that is recorded, or of the last one.
    pub captured: u64,
    pub dropped: u64,
    pub repeated: u64,
    /// Frames that wait for an encoder.
    pub queue: usize,
}

/// What all parts of a run share: the snapshot, the events, who reads its metrics, and the time.
#[derive(Default)]
pub struct Shared {
    status: watch::Sender<Status>,
    pub events: Arc<Events>,
    pub scrapes: Scrapes,
    clock: OnceLock<Arc<dyn Clock>>,
}

/// Of one run.
pub type SharedStatus = Arc<Shared>;

impl Shared {
    /// From here on the time is that of a run's clock, which may be simulated.
    pub fn runs_on(&self, clock: Arc<dyn Clock>) {
        let _ = self.clock.set(clock);
    }

    /// Now, on the run's clock.
    pub fn now(&self) -> Stamp {
        self.clock.get().map_or_else(|| SystemClock::default().now(), |clock| clock.now())
    }

    /// Tells what happened: one line of the log, and an event for whoever listens. In a JSON log the line has the event's
    /// own fields as `event`.
    pub fn tell(&self, at: Stamp, event: Event, text: impl Into<String>) {
        let told = self.events.tell(at, text.into(), event);
        let json = serde_json::to_string(&told.event).unwrap_or_default();
        match told.severity {
            Severity::Info => tracing::info!(event = json, "{}", told.text),
            Severity::Warning => tracing::warn!(event = json, "{}", told.text),
            Severity::Critical => tracing::error!(event = json, "{}", told.text),
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("status", &self.status).finish_non_exhaustive()
    }
}

impl Deref for Shared {
    type Target = watch::Sender<Status>;

    fn deref(&self) -> &watch::Sender<Status> {
        &self.status
    }
}

/// A status of which nothing is known yet.
pub fn shared() -> SharedStatus {
    Arc::default()
}
