//! The writer: the only one that touches the data set on disk. A thread of its own, since disks block.
//!
//! Rows and fragments of a take come from two sides in any order; the take is saved when both are whole, in the order
//! in which takes ended, so that episodes are numbered as they were recorded.

mod meters;

use super::coordinator::CoordinatorMessage;
use super::encoder_pool::{PoolMessage, SPILL_WARNING, StreamId};
use crate::account::{Losses, TakeReport};
use crate::clock::{Clock, Stamp};
use crate::codec::Fragment;
use crate::dataset::{
    Dataset, DatasetError, EncoderSwitch, EpisodeCounters, EpisodeSummary, EpisodeWriter, Row, WaitingTake,
};
use crate::disk_space::{self, FreeSpace, Rate, Room};
use crate::episode::TakeId;
use crate::events::Event;
use crate::frame::{DropReason, Frame};
use crate::metrics;
use crate::run_state::Ending;
use crate::spill::{Spill, SpillError};
use crate::status::SharedStatus;
use crate::supervision::{self, Health, Part};
use ::metrics::{counter, gauge, histogram};
use meters::Meters;
use ractor::thread_local::ThreadLocalActor;
use ractor::{ActorProcessingErr, ActorRef};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the writer hears.
#[derive(Debug)]
pub enum WriterMessage {
    /// From the coordinator: a take begins.
    Begin { take: TakeId },
    /// From the coordinator: its next row, and what was lost since the one before.
    Row { take: TakeId, row: Box<Row>, losses: Losses },
    /// From the coordinator: it has all its rows and is to be kept.
    End { report: Box<TakeReport> },
    /// From the pool, on the coordinator's word: it is not wanted, be it an episode already.
    Discard { take: TakeId },
    /// From the pool, when it starts.
    PoolReady { pool: ActorRef<PoolMessage> },
    /// From the pool: frame `index` of a stream, to be kept as it was captured.
    Keep { stream: StreamId, index: u64, frame: Arc<Frame> },
    /// From the pool: no more frames of the take are to be kept.
    KeptAll { take: TakeId },
    /// From the pool: the rest of the stream's video is to be encoded from what is kept.
    EncodeLater { stream: StreamId },
    /// From the pool: there is no encoder for what is kept of the take, for now.
    NoEncoder { take: TakeId },
    /// From the pool: the next frames of a video, and when the newest of them was captured.
    Fragment { stream: StreamId, fragment: Fragment, newest: Option<Stamp> },
    /// From the pool: the video has all its frames.
    VideoEncoded { stream: StreamId, encoder: &'static str },
    /// From the pool: another encoder goes on with the video at frame `frame`.
    EncoderReplaced { stream: StreamId, frame: u64, from: &'static str, to: &'static str, reason: String },
    /// From the pool: the take cannot be encoded.
    EncodingFailed { take: TakeId, reason: String },
    /// From the pool: what was kept of the take cannot be read.
    KeptDamaged { take: TakeId, reason: String },
    /// From its own timer: make durable what has come, and look at the disk.
    Sync,
}

impl WriterMessage {
    /// The take that it is about.
    fn take(&self) -> Option<TakeId> {
        Some(match self {
            WriterMessage::Begin { take }
            | WriterMessage::Row { take, .. }
            | WriterMessage::Discard { take }
            | WriterMessage::KeptAll { take }
            | WriterMessage::NoEncoder { take }
            | WriterMessage::KeptDamaged { take, .. }
            | WriterMessage::EncodingFailed { take, .. } => *take,
            WriterMessage::End { report } => report.take,
            WriterMessage::Fragment { stream, .. }
            | WriterMessage::Keep { stream, .. }
            | WriterMessage::EncodeLater { stream }
            | WriterMessage::VideoEncoded { stream, .. }
            | WriterMessage::EncoderReplaced { stream, .. } => stream.take,
            WriterMessage::Sync | WriterMessage::PoolReady { .. } => return None,
        })
    }
}

/// Why a take cannot be saved.
#[derive(Debug, thiserror::Error)]
enum WriterError {
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    #[error(transparent)]
    Frames(#[from] SpillError),
    #[error("its video cannot be encoded: {0}")]
    Encoding(String),
}

/// What the writer needs to know of the run.
pub struct WriterArguments {
    pub dataset: Dataset,
    pub camera_names: Vec<String>,
    pub task: String,
    /// Bytes of kept frames from which no take is begun.
    pub keep_limit_bytes: u64,
    /// Takes of an earlier run that are to be encoded first.
    pub waiting: Vec<WaitingTake>,
    /// Free bytes below which nothing is recorded.
    pub min_free_bytes: u64,
    /// Recording time below which room is said to be little, in seconds.
    pub little_room_s: f64,
    pub free_space: FreeSpace,
    /// Whether the run is over when this actor stops.
    pub ending: Arc<Ending>,
    pub health: Arc<Health>,
    pub clock: Arc<dyn Clock>,
    pub status: SharedStatus,
    /// Told once both know each other.
    pub coordinator: tokio::sync::oneshot::Receiver<ActorRef<CoordinatorMessage>>,
    pub on_saved: OnSaved,
}

/// What else is to happen when an episode is saved, on the writer's thread.
pub type OnSaved = Box<dyn Fn(&EpisodeSummary, Duration) + Send>;

/// The actor; see [`WriterMessage`].
#[derive(Default)]
pub struct Writer;

/// See [`Writer`].
pub struct WriterState {
    arguments: WriterArguments,
    coordinator: Option<ActorRef<CoordinatorMessage>>,
    pool: Option<ActorRef<PoolMessage>>,
    takes: BTreeMap<TakeId, Take>,
    rate: Rate,
    disk: disk_space::Watch,
    /// The coordinator has not been told yet.
    disk_news: Option<Option<String>>,
    backlog: Backlog,
    /// Frames dropped in the episode that was saved last.
    last_dropped: u64,
    /// By camera.
    meters: Vec<Meters>,
}

struct Take {
    writer: EpisodeWriter,
    task: String,
    report: Option<TakeReport>,
    /// Cameras whose video is whole, and what made it.
    encoded: BTreeMap<usize, String>,
    kept: Kept,
    /// By camera and row: frames that could not be shown after all.
    substituted: BTreeMap<(usize, u64), DropReason>,
    /// By camera, frames that are stored as it has encoded them.
    stored: Vec<u64>,
    /// By camera, rows that are counted as showing a frame, new or repeated.
    counted: Vec<u64>,
    /// The first [`MOST_SWITCHES`], and how many more there were.
    switches: Vec<(usize, EncoderSwitch)>,
    more_switches: u64,
    /// Bytes of its videos so far.
    video_bytes: u64,
}

/// The frames of a take that are kept as they were captured.
#[derive(Default)]
struct Kept {
    /// By camera; made with its first frame.
    files: BTreeMap<usize, Spill>,
    /// No more will come.
    all: bool,
    /// Cameras whose video is to be encoded from them, and is not under way yet.
    later: BTreeSet<usize>,
    /// The take can be finished after a restart.
    parked: bool,
    /// The coordinator knows that there is no encoder.
    no_encoder: bool,
}

impl Kept {
    fn bytes(&self) -> u64 {
        self.files.values().map(Spill::bytes).sum()
    }
}

/// Kept frames on disk.
#[derive(Default)]
struct Backlog {
    warned: bool,
    full: bool,
}

/// What has come is made durable this often ([`EpisodeWriter::sync`]). With half a second for the longest fragment, an
/// encoder's lag and the sync itself, a power loss costs less than a second.
const SYNC_EVERY: Duration = Duration::from_millis(300);
/// Changes of encoders that the summary of an episode lists; further ones are only counted.
const MOST_SWITCHES: usize = 100;
/// Characters that are kept of the reason of each.
const LONGEST_REASON: usize = 500;

impl ThreadLocalActor for Writer {
    type Msg = WriterMessage;
    type State = WriterState;
    type Arguments = WriterArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<WriterMessage>,
        arguments: WriterArguments,
    ) -> Result<WriterState, ActorProcessingErr> {
        let timer = myself.clone();
        tokio::task::spawn_local(async move {
            let mut interval = tokio::time::interval(SYNC_EVERY);
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                interval.tick().await;
                if timer.cast(WriterMessage::Sync).is_err() {
                    return;
                }
            }
        });
        let episodes = arguments.dataset.episodes();
        arguments.status.send_modify(|s| s.dataset_episodes = episodes);
        let (coordinator, pool, takes, disk_news, backlog, last_dropped) = Default::default();
        let rate = Rate::new(arguments.dataset.fps());
        let disk = disk_space::Watch::new(arguments.min_free_bytes, arguments.little_room_s);
        let meters = arguments.camera_names.iter().map(|name| Meters::new(name)).collect();
        gauge!(metrics::DATASET_EPISODES).set(episodes as f64);
        Ok(WriterState { arguments, coordinator, pool, takes, rate, disk, disk_news, backlog, last_dropped, meters })
    }

    async fn handle(
        &self,
        _myself: ActorRef<WriterMessage>,
        message: WriterMessage,
        state: &mut WriterState,
    ) -> Result<(), ActorProcessingErr> {
        if let WriterMessage::NoEncoder { take } = message {
            state.no_encoder(take).await;
        }
        let (discard, before) = match message {
            WriterMessage::Discard { take } => (Some(take), state.arguments.dataset.episodes()),
            _ => (None, 0),
        };
        let failed = match message.take() {
            Some(take) => state.handle(message).err().map(|error| (take, error)),
            None => state.about_all(message).err(),
        };
        if let Some((take, error)) = failed {
            state.fail(take, &error.to_string()).await;
        } else if let Some(take) = discard {
            let episodes = state.arguments.dataset.episodes();
            state.tell(CoordinatorMessage::TakeDiscarded { take, saved: episodes < before, episodes }).await;
        }
        state.save().await;
        state.weigh_backlog().await;
        if let Some(reason) = state.disk_news.take() {
            state.tell(CoordinatorMessage::DiskFull { reason }).await;
        }
        state.arguments.health.beat(Part::Writer);
        Ok(())
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<WriterMessage>,
        state: &mut WriterState,
    ) -> Result<(), ActorProcessingErr> {
        for (take, mut unfinished) in std::mem::take(&mut state.takes) {
            unfinished.count_all(&state.meters);
            if unfinished.kept.parked {
                tracing::warn!("take {take} waits on disk: the next run or `recorder regenerate` encodes and saves it");
                continue;
            }
            tracing::warn!(
                "take {take} was not finished: the next run or `recorder recover` saves what was recorded of it"
            );
            if let Err(error) = unfinished.writer.sync() {
                tracing::error!("{error}");
            }
        }
        if state.arguments.ending.is_over()
            && let Err(error) = state.arguments.dataset.remove_run_state()
        {
            tracing::warn!("{error}: the next start takes the run for one that was interrupted");
        }
        // The state is dropped only some time after the actor counts as stopped.
        state.arguments.dataset.close();
        Ok(())
    }
}

impl Take {
    fn new(writer: EpisodeWriter, task: String, cameras: usize) -> Take {
        let (encoded, kept, substituted, switches, more_switches, video_bytes) = Default::default();
        let (report, counted, stored) = (None, vec![0; cameras], vec![0; cameras]);
        Take { writer, task, report, encoded, kept, substituted, stored, counted, switches, more_switches, video_bytes }
    }
}

impl WriterState {
    fn handle(&mut self, message: WriterMessage) -> Result<(), WriterError> {
        match message {
            WriterMessage::Begin { take } => {
                self.look_at_disk();
                let writer = self.arguments.dataset.begin(take, &self.arguments.task)?;
                self.takes.insert(take, Take::new(writer, self.arguments.task.clone(), self.meters.len()));
            }
            WriterMessage::Row { take, row, losses } => {
                match self.takes.get_mut(&take) {
                    Some(open) => open.writer.push_row_after(*row, &losses)?,
                    // Of a take that has failed, as its last ones.
                    None => row.cameras.iter().zip(&self.meters).for_each(|(frame, meters)| meters.count(frame)),
                }
            }
            WriterMessage::End { report } => {
                let take = report.take;
                if let Some(open) = self.takes.get_mut(&take) {
                    open.writer.note_end(&report)?;
                    open.report = Some(*report);
                }
                self.park(take)?;
            }
            WriterMessage::Discard { take } => {
                if let Some(mut open) = self.takes.remove(&take) {
                    open.count_all(&self.meters);
                    open.writer.discard()?;
                } else if self.arguments.dataset.undo(take)? {
                    let dropped = std::mem::take(&mut self.last_dropped);
                    self.arguments.status.send_modify(|s| {
                        s.dropped -= dropped;
                        s.last_episode = None;
                    });
                    gauge!(metrics::DATASET_EPISODES).set(self.arguments.dataset.episodes() as f64);
                }
            }
            WriterMessage::Fragment { stream, fragment, newest } => {
                let Some(open) = self.takes.get_mut(&stream.take) else { return Ok(()) };
                let meters = &self.meters[stream.camera];
                let start = Instant::now();
                open.writer.push_fragment(stream.camera, &fragment)?;
                meters.write_duration.record(start.elapsed().as_secs_f64());
                let substituted = fragment.substituted.iter();
                open.substituted.extend(substituted.map(|(index, reason)| ((stream.camera, *index), *reason)));
                open.stored[stream.camera] += fragment.stored.len() as u64;
                open.count(stream.camera, meters, open.writer.frames(stream.camera).min(open.writer.rows()));
                if let Some(newest) = newest {
                    let lag = self.arguments.clock.now().mono_ns.saturating_sub(newest.mono_ns);
                    meters.lag.record(lag as f64 / 1e9);
                }
                let bytes = fragment.samples.iter().map(|s| s.data.len() as u64).sum();
                open.video_bytes += bytes;
                // Every camera has a frame in every row.
                self.rate.add(bytes, if stream.camera == 0 { fragment.samples.len() as u64 } else { 0 });
                self.look_at_disk();
            }
            WriterMessage::VideoEncoded { stream, encoder } => {
                if let Some(open) = self.takes.get_mut(&stream.take) {
                    open.writer.finish_video(stream.camera)?;
                    open.writer.note_encoder(stream.camera, encoder)?;
                    open.encoded.insert(stream.camera, encoder.into());
                }
                self.park(stream.take)?;
            }
            WriterMessage::Keep { stream, index, frame } => {
                if let Some(open) = self.takes.get_mut(&stream.take) {
                    let path = open.writer.frames_file(stream.camera);
                    let file = open.kept.files.entry(stream.camera).or_insert_with(|| Spill::durable(path));
                    file.push(index, &frame)?;
                }
            }
            WriterMessage::KeptAll { take } => {
                if let Some(open) = self.takes.get_mut(&take) {
                    open.kept.all = true;
                }
                self.park(take)?;
            }
            WriterMessage::EncodeLater { stream } => {
                if let Some(open) = self.takes.get_mut(&stream.take) {
                    open.kept.later.insert(stream.camera);
                }
                self.park(stream.take)?;
            }

            WriterMessage::EncoderReplaced { stream, frame, from, to, reason } => {
                if let Some(open) = self.takes.get_mut(&stream.take) {
                    if open.switches.len() < MOST_SWITCHES {
                        let reason = reason.chars().take(LONGEST_REASON).collect();
                        let switch = EncoderSwitch { frame, from: from.into(), to: to.into(), reason };
                        open.writer.note_switch(stream.camera, &switch)?;
                        open.switches.push((stream.camera, switch));
                    } else {
                        open.more_switches += 1;
                    }
                }
            }
            // Reported like a failure of the disk: the take is lost.
            WriterMessage::EncodingFailed { take, reason } => {
                if self.takes.contains_key(&take) {
                    return Err(WriterError::Encoding(reason));
                }
            }
            WriterMessage::KeptDamaged { take, reason } => {
                if let Some(mut open) = self.takes.remove(&take) {
                    open.count_all(&self.meters);
                    // Else every start would stumble over it.
                    open.writer.give_up()?;
                    return Err(WriterError::Encoding(reason));
                }
            }
            // See `save`, which may wait, and `about_all`.
            WriterMessage::NoEncoder { .. } | WriterMessage::PoolReady { .. } | WriterMessage::Sync => {}
        }
        Ok(())
    }

    /// A message about no take in particular; the first take for which that fails.
    fn about_all(&mut self, message: WriterMessage) -> Result<(), (TakeId, WriterError)> {
        if let WriterMessage::PoolReady { pool } = message {
            self.pool = Some(pool);
            self.take_up_waiting()
        } else {
            self.sync()
        }
    }

    /// Takes of an earlier run: from here on they are like those of this one.
    fn take_up_waiting(&mut self) -> Result<(), (TakeId, WriterError)> {
        for waiting in std::mem::take(&mut self.arguments.waiting) {
            let take = waiting.report.take;
            let writer = self.arguments.dataset.reopen(&waiting).map_err(|error| (take, error.into()))?;
            let mut open = Take::new(writer, waiting.task, self.meters.len());
            // The process that recorded it has counted its frames.
            open.counted.fill(u64::MAX);
            open.report = Some(waiting.report);
            open.kept.all = true;
            open.kept.parked = true;
            self.takes.insert(take, open);
            self.encode_kept(take, 0..self.arguments.camera_names.len());
        }
        Ok(())
    }

    /// Once all of a take that is not wholly encoded is here: makes it fit to be finished after a restart, and has its
    /// videos encoded from what is kept.
    fn park(&mut self, take: TakeId) -> Result<(), WriterError> {
        let cameras = self.arguments.camera_names.len();
        let Some(open) = self.takes.get_mut(&take) else { return Ok(()) };
        let whole = |camera| open.encoded.contains_key(&camera) || open.kept.later.contains(&camera);
        let Some(report) = open.report.as_ref().filter(|_| open.kept.all && (0..cameras).all(whole)) else {
            return Ok(());
        };
        if open.kept.later.is_empty() || open.kept.parked {
            return Ok(());
        }
        open.writer.park(&WaitingTake::new(open.task.clone(), report.clone()))?;
        open.kept.parked = true;
        let later = std::mem::take(&mut open.kept.later);
        self.encode_kept(take, later);
        Ok(())
    }

    fn encode_kept(&self, take: TakeId, cameras: impl IntoIterator<Item = usize>) {
        let (Some(open), Some(pool)) = (self.takes.get(&take), &self.pool) else { return };
        for camera in cameras {
            let (file, first) = (open.writer.frames_file(camera), open.writer.frames(camera));
            let stream = StreamId { take, camera };
            let _ = pool.cast(PoolMessage::Kept { stream, file, first, frames: open.writer.rows() });
        }
    }

    /// Makes durable what has come; the first take for which that fails.
    fn sync(&mut self) -> Result<(), (TakeId, WriterError)> {
        self.look_at_disk();
        // One that waits is durable, and its videos can be made again.
        let mut open = self.takes.iter_mut().filter(|(_, open)| !open.kept.parked);
        open.try_for_each(|(take, open)| open.writer.sync().map_err(|error| (*take, error.into())))
    }

    /// Saves takes that are whole, oldest first; one that is not whole holds up those after it.
    async fn save(&mut self) {
        while let Some((&take, oldest)) = self.takes.first_key_value() {
            if oldest.report.is_none() || oldest.encoded.len() < self.arguments.camera_names.len() {
                return;
            }
            let Some(mut open) = self.takes.remove(&take) else { return };
            open.count_all(&self.meters);
            let Some(report) = open.report else { return };
            // A frame that is shown twice is dropped once.
            let once = open.substituted.iter().filter(|((camera, row), _)| !open.writer.is_repeated(*camera, *row));
            let substituted: Vec<_> = once.map(|((camera, _), reason)| (*camera, *reason)).collect();
            let frames: Vec<u64> = (0..self.meters.len()).map(|camera| open.writer.frames(camera)).collect();
            let names = &self.arguments.camera_names;
            let mut counters =
                EpisodeCounters::of(names, &report, &substituted, &open.stored, &open.encoded, &open.switches);
            counters.more_encoder_switches = open.more_switches;
            match self.arguments.dataset.commit(open.writer, &open.task, &counters) {
                Ok(committed) => {
                    let (ended, now) = (report.ended.mono_ns, self.arguments.clock.now());
                    let seconds = now.mono_ns.saturating_sub(ended) as f64 / 1e9;
                    // Both in this moment: whoever compares them meets no difference in between.
                    counter!(metrics::ROWS).increment(committed.frames);
                    self.meters.iter().zip(frames).for_each(|(meters, n)| meters.video_frames.increment(n));
                    histogram!(metrics::SAVE_DURATION).record(seconds);
                    counter!(metrics::EPISODES, "outcome" => "saved").increment(1);
                    gauge!(metrics::DATASET_EPISODES).set(self.arguments.dataset.episodes() as f64);
                    gauge!(metrics::LAST_SAVE).set(metrics::seconds(now));
                    self.tell_saved(&committed.summary, seconds);
                    (self.arguments.on_saved)(&committed.summary, Duration::from_secs_f64(seconds));
                    let dropped: u64 = counters.cameras.values().flat_map(|camera| camera.dropped.values()).sum();
                    self.arguments.status.send_modify(|s| s.dropped += dropped);
                    self.last_dropped = dropped;
                    let rows_without_video = if self.arguments.camera_names.is_empty() { committed.frames } else { 0 };
                    self.rate.add(committed.bytes.saturating_sub(open.video_bytes), rows_without_video);
                    self.look_at_disk();
                    let episode_index = committed.episode_index;
                    self.tell(CoordinatorMessage::TakeSaved { take, episode_index, seconds }).await;
                }
                Err(error) => {
                    if let DatasetError::FrameCount { camera, .. } = &error {
                        counter!(metrics::FRAME_MISMATCHES, "camera" => camera.clone()).increment(1);
                    }
                    self.fail(take, &error.to_string()).await;
                }
            }
        }
    }

    fn tell_saved(&self, summary: &EpisodeSummary, seconds: f64) {
        let EpisodeSummary { episode_index, length, .. } = summary;
        let ms = seconds * 1e3;
        let text =
            format!("saved as the data set's episode {episode_index}: {length} rows, {ms:.0} ms after its last tick");
        let summary = Arc::new(summary.clone());
        self.arguments.status.send_modify(|s| s.last_episode = Some(summary.clone()));
        let event = Event::EpisodeSaved { seconds, summary };
        self.arguments.status.tell(self.arguments.clock.now(), event, text);
    }

    /// Whoever waits for the take is told once that it takes until there is an encoder.
    async fn no_encoder(&mut self, take: TakeId) {
        let told = self.takes.get_mut(&take).map(|open| std::mem::replace(&mut open.kept.no_encoder, true));
        if told == Some(false) {
            self.tell(CoordinatorMessage::TakeWaiting { take }).await;
        }
    }

    /// Says how much is kept, and whether there is room for another take.
    async fn weigh_backlog(&mut self) {
        let bytes: u64 = self.takes.values().map(|open| open.kept.bytes()).sum();
        let waiting = self.takes.values().filter(|open| open.report.is_some()).count() as u64;
        ::metrics::gauge!(metrics::WAITING_BYTES).set(bytes as f64);
        ::metrics::gauge!(metrics::WAITING_EPISODES).set(waiting as f64);
        self.arguments.status.send_if_modified(|s| {
            let changed = (s.waiting, s.waiting_bytes) != (waiting, bytes);
            (s.waiting, s.waiting_bytes) = (waiting, bytes);
            changed
        });
        let limit = self.arguments.keep_limit_bytes;
        let full = bytes >= limit;
        if bytes as f64 > SPILL_WARNING * limit as f64 && !self.backlog.warned {
            self.backlog.warned = true;
            let text = format!(
                "{} MiB of pictures wait on disk to be encoded, {} MiB may; beyond that no episode is begun until some are saved. Raise video_encoding_workers or limits.spill_mib, or use codec = \"copy\"",
                bytes >> 20,
                limit >> 20
            );
            let event = Event::Backlog { bytes, limit_bytes: limit };
            self.arguments.status.tell(self.arguments.clock.now(), event, text);
        }
        if full != self.backlog.full {
            self.backlog.full = full;
            self.tell(CoordinatorMessage::Backlog { full }).await;
        }
    }

    async fn fail(&mut self, take: TakeId, reason: &str) {
        // The folder is kept: the next start saves what can be read of it.
        if let Some(mut open) = self.takes.remove(&take) {
            open.count_all(&self.meters);
        }
        self.tell(CoordinatorMessage::TakeFailed { take, reason: reason.to_string() }).await;
    }

    async fn tell(&mut self, message: CoordinatorMessage) {
        if self.coordinator.is_none() {
            self.coordinator = (&mut self.arguments.coordinator).await.ok();
        }
        if let Some(coordinator) = &self.coordinator {
            let _ = coordinator.cast(message);
        }
    }

    fn look_at_disk(&mut self) {
        let root = self.arguments.dataset.root();
        let Ok(free) = (self.arguments.free_space)(root) else { return };
        let recordable = self.rate.seconds(self.disk.usable(free));
        ::metrics::gauge!(metrics::DISK_FREE).set(free as f64);
        if let Some(seconds) = recordable {
            ::metrics::gauge!(metrics::RECORDABLE).set(seconds);
        }
        let news = self.disk.look(free, recordable);
        self.arguments.status.send_modify(|s| {
            s.disk_free_bytes = free;
            s.recordable_s = recordable;
            s.room = news.unwrap_or(s.room);
        });
        let Some(room) = news else { return };
        ::metrics::gauge!(metrics::ROOM).set(f64::from(2 - room as u8));
        let (place, left) = (root.display(), supervision::duration(recordable.unwrap_or_default()));
        let text = match room {
            Room::Enough => format!("{place}: there is room on the disk again"),
            Room::Little => format!("{place}: the disk has room for {left} more of recording: free some space"),
            Room::None => disk_space::no_space(root, self.arguments.min_free_bytes, free).to_string(),
        };
        self.disk_news = Some((room == Room::None).then(|| text.clone()));
        let event = Event::Disk { room, free_bytes: free, recordable_s: recordable };
        self.arguments.status.tell(self.arguments.clock.now(), event, text);
    }
}
