//! A take on its way to becoming an episode: videos and a journal grow in a folder of their own, rows wait in memory.

use super::disk;
use super::error::DatasetError;
use super::info::Info;
use super::journal::{FragmentRecord, Head, HeadCamera, JournalWriter, Record, VERSION};
use super::layout;
use super::mp4::{Finished, Mp4Writer};
use super::rows::{Row, Substituted};
use super::spec::DatasetSpec;
use super::summary::{EncoderSwitch, Recovered};
use super::waiting;
use crate::account::{Losses, TakeReport};
use crate::codec::{Fragment, PixelHistogram};
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

type Result<T> = std::result::Result<T, DatasetError>;

/// Longest episode: beyond it LeRobot's float32 time stamps cannot tell frames apart. One more row is refused.
pub const MAX_SECONDS: u64 = 1000;
/// Most rows of an episode, 1000 s at 100 Hz: they wait in memory, some 500 bytes each with two cameras and six
/// motors, 50 MB at this bound. One more row is refused.
pub const MAX_ROWS: u64 = 100_000;

/// A take in progress; made by [`super::Dataset::begin`], ended by [`super::Dataset::commit`] or
/// [`EpisodeWriter::discard`]. One that is dropped leaves its folder behind: the next start makes an episode of what was
/// recorded ([`super::Dataset::recover`]), or finds it waiting if it was parked ([`EpisodeWriter::park`]).
#[derive(Debug)]
pub struct EpisodeWriter {
    pub(super) spec: Arc<DatasetSpec>,
    pub(super) take: u64,
    pub(super) dir: PathBuf,
    pub(super) rows: Vec<Row>,
    pub(super) videos: Vec<Video>,
    /// None of a take that has been recorded: it waited, or was recovered.
    pub(super) journal: Option<JournalWriter>,
    /// The take was interrupted by a crash.
    pub(super) recovered: Option<Recovered>,
    /// Something came since the last [`EpisodeWriter::sync`].
    pub(super) unsynced: bool,
    /// Files of frames that wait and are durable in the folder.
    pub(super) frames_files: usize,
}

#[derive(Debug)]
pub(super) struct Video {
    pub path: PathBuf,
    pub state: VideoState,
    pub pixels: PixelHistogram,
    pub substituted: Substituted,
    /// What was written, once it is finished; none of a video that somebody else finished.
    pub finished: Option<Finished>,
}

#[derive(Debug)]
pub(super) enum VideoState {
    Growing(Box<Mp4Writer>),
    Finished {
        frames: u64,
    },
    /// Finishing failed; the take can only be discarded.
    Failed,
}

impl Video {
    /// A video that is begun.
    pub fn new(writer: Mp4Writer) -> Video {
        let path = writer.path().to_owned();
        let (pixels, substituted) = (PixelHistogram::default(), Substituted::new());
        Video { path, state: VideoState::Growing(Box::new(writer)), pixels, substituted, finished: None }
    }

    /// Closes a video that is [`VideoState::Growing`].
    fn finish(&mut self) -> Result<u64> {
        let VideoState::Growing(writer) = std::mem::replace(&mut self.state, VideoState::Failed) else {
            return Ok(0);
        };
        let finished = writer.finish_summed()?;
        let frames = finished.frames;
        self.finished = Some(finished);
        self.state = VideoState::Finished { frames };
        Ok(frames)
    }
}

impl EpisodeWriter {
    /// Makes the take's folder with its journal and its empty videos, and makes them durable, so that what is recorded can
    /// be found after a crash.
    pub(super) fn begin(
        root: &Path,
        spec: Arc<DatasetSpec>,
        episode: u64,
        (take, task): (u64, &str),
    ) -> Result<EpisodeWriter> {
        let dir = root.join(layout::take(episode, take));
        if dir.exists() {
            let found = "a take of this number in progress".into();
            return Err(DatasetError::Take { take, expected: "a number that no other take has", found });
        }
        disk::create_dir_all(&dir)?;
        let camera =
            |camera: &super::CameraSpec| HeadCamera { key: camera.key.clone(), color_range: camera.video.color_range };
        let cameras = spec.cameras.iter().map(camera).collect();
        let head = Head { version: VERSION, take, task: task.to_owned(), info: Info::new(&spec), cameras };
        let path = dir.join(layout::JOURNAL);
        let journal = Some(JournalWriter::create(&path, &head)?);
        let videos = EpisodeWriter::videos(&dir, &spec)?;
        disk::sync_all(&[path, dir.clone(), root.join(layout::PARTIAL), root.to_owned()])?;
        Ok(EpisodeWriter { journal, ..EpisodeWriter::restored(spec, take, dir, videos) })
    }

    /// A take that has been recorded, without its rows.
    pub(super) fn restored(spec: Arc<DatasetSpec>, take: u64, dir: PathBuf, videos: Vec<Video>) -> EpisodeWriter {
        EpisodeWriter {
            spec,
            take,
            dir,
            rows: Vec::new(),
            videos,
            journal: None,
            recovered: None,
            unsynced: true,
            frames_files: 0,
        }
    }

    /// Empty videos in a take's folder; old ones are overwritten.
    pub(super) fn videos(dir: &Path, spec: &DatasetSpec) -> Result<Vec<Video>> {
        let create = |camera: &super::CameraSpec| {
            Mp4Writer::create(&dir.join(layout::video(&camera.key)), spec.track(camera)).map(Video::new)
        };
        spec.cameras.iter().map(create).collect()
    }

    /// The number given to [`super::Dataset::begin`].
    pub fn take(&self) -> u64 {
        self.take
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.rows.len() as u64
    }

    /// Row `row` shows the frame that the row before shows.
    pub fn is_repeated(&self, camera: usize, row: u64) -> bool {
        let row = usize::try_from(row).ok().and_then(|row| self.rows.get(row));
        row.and_then(|row| row.cameras.get(camera)).is_some_and(|frame| frame.repeated)
    }

    /// Frames so far of a camera.
    pub fn frames(&self, camera: usize) -> u64 {
        match self.videos.get(camera).map(|video| &video.state) {
            Some(VideoState::Growing(writer)) => writer.frames(),
            Some(VideoState::Finished { frames }) => *frames,
            Some(VideoState::Failed) | None => 0,
        }
    }

    /// Adds a row, before which nothing was lost.
    pub fn push_row(&mut self, row: Row) -> Result<()> {
        self.push_row_after(row, &Losses::default())
    }

    /// Adds a row, and says what was lost since the row before: that is known to whoever recovers the take.
    pub fn push_row_after(&mut self, row: Row, losses: &Losses) -> Result<()> {
        row.check(self.rows(), &self.spec)?;
        let limit = MAX_ROWS.min(MAX_SECONDS * u64::from(self.spec.fps));
        if self.rows() >= limit {
            return Err(DatasetError::TooLong { take: self.take, limit });
        }
        self.note(&Record::Row(Cow::Borrowed(&row), Cow::Borrowed(losses)))?;
        self.rows.push(row);
        Ok(())
    }

    /// Writes the next fragment of a camera's video. It must follow the last one without a gap.
    pub fn push_fragment(&mut self, camera: usize, fragment: &Fragment) -> Result<()> {
        let video = self.growing(camera)?;
        let mut offset = None;
        if let VideoState::Growing(writer) = &mut video.state {
            writer.append(fragment)?;
            offset = writer.last_payload();
        }
        video.pixels.merge(&fragment.pixels);
        video.substituted.extend(fragment.substituted.iter().copied());
        if let Some(offset) = offset.filter(|_| self.journal.is_some()) {
            self.note(&Record::Fragment(Cow::Owned(FragmentRecord::new(camera, fragment, offset))))?;
        }
        Ok(())
    }

    /// Closes a camera's video once its last fragment is written; returns its frames.
    pub fn finish_video(&mut self, camera: usize) -> Result<u64> {
        self.growing(camera)?.finish()
    }

    /// Notes for a recovery which encoder finished a camera's video.
    pub fn note_encoder(&mut self, camera: usize, name: &str) -> Result<()> {
        self.note(&Record::Encoder { camera, name: Cow::Borrowed(name) })
    }

    /// Notes for a recovery that another encoder goes on with a camera's video.
    pub fn note_switch(&mut self, camera: usize, switch: &EncoderSwitch) -> Result<()> {
        self.note(&Record::Switch { camera, switch: Cow::Borrowed(switch) })
    }

    /// Notes for a recovery that the take has all its rows and is to be kept.
    pub fn note_end(&mut self, report: &TakeReport) -> Result<()> {
        self.note(&Record::Report(Cow::Borrowed(report)))
    }

    fn note(&mut self, record: &Record<'_>) -> Result<()> {
        self.unsynced = true;
        self.journal.as_mut().map_or(Ok(()), |journal| journal.append(record))
    }

    /// Makes durable what was pushed, and the frames that wait. Call it several times a second: what came since, and what
    /// is not in a fragment yet, is what a power loss costs.
    pub fn sync(&mut self) -> Result<()> {
        let frames: Vec<PathBuf> =
            (0..self.videos.len()).map(|camera| self.frames_file(camera)).filter(|file| file.exists()).collect();
        if !std::mem::take(&mut self.unsynced) && frames.is_empty() {
            return Ok(());
        }
        let growing = self.videos.iter().filter_map(|video| match &video.state {
            VideoState::Growing(writer) => Some(writer),
            VideoState::Finished { .. } | VideoState::Failed => None,
        });
        // At the same time, since each waits for the disk.
        let done = std::thread::scope(|scope| {
            let mut threads: Vec<_> = growing.map(|writer| scope.spawn(|| writer.sync())).collect();
            threads.extend(self.journal.iter().map(|journal| scope.spawn(|| journal.sync())));
            threads.extend(frames.iter().map(|file| scope.spawn(|| disk::sync_data_if_there(file))));
            if frames.len() != self.frames_files {
                threads.push(scope.spawn(|| disk::sync(&self.dir)));
            }
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        self.unsynced |= done.is_err();
        self.frames_files = if done.is_ok() { frames.len() } else { 0 };
        done
    }

    /// Gives the take up. Nothing of it is left on disk.
    pub fn discard(self) -> Result<()> {
        let EpisodeWriter { dir, videos, journal, .. } = self;
        drop((videos, journal));
        waiting::remove(&dir)
    }

    /// Closes every video that is still open, and refuses a take whose videos and rows do not agree.
    pub(super) fn finish(&mut self) -> Result<()> {
        let take = self.take;
        if self.rows.is_empty() {
            return Err(DatasetError::Take { take, expected: "at least one row", found: "none".into() });
        }
        // At the same time, since each waits for the disk.
        std::thread::scope(|scope| {
            let growing = self.videos.iter_mut().filter(|video| matches!(video.state, VideoState::Growing(_)));
            let threads: Vec<_> = growing.map(|video| scope.spawn(|| video.finish())).collect();
            threads.into_iter().try_for_each(|thread| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map(|_| ())
            })
        })?;
        for camera in 0..self.videos.len() {
            let (expected, found) = (self.rows(), self.frames(camera));
            if expected != found {
                let camera = self.spec.cameras[camera].name.clone();
                return Err(DatasetError::FrameCount { take, camera, expected, found, kept: self.dir.clone() });
            }
        }
        Ok(())
    }

    /// The camera's video, which is [`VideoState::Growing`].
    fn growing(&mut self, camera: usize) -> Result<&mut Video> {
        let cameras = self.videos.len();
        let (expected, found) = match self.videos.get_mut(camera) {
            Some(video) if matches!(video.state, VideoState::Growing(_)) => return Ok(video),
            Some(_) => ("a video that is still being recorded", "one that is finished".into()),
            None => ("a camera of the data set", format!("{cameras} cameras")),
        };
        Err(DatasetError::Camera { camera, expected, found })
    }
}
