//! A take on its way to becoming an episode: videos grow in a folder of their own, rows wait in memory.

use super::disk;
use super::error::DatasetError;
use super::layout;
use super::mp4::{Finished, Mp4Writer};
use super::rows::{Row, Substituted};
use super::spec::DatasetSpec;
use super::waiting;
use crate::codec::{Fragment, PixelHistogram};
use std::path::{Path, PathBuf};
use std::sync::Arc;

type Result<T> = std::result::Result<T, DatasetError>;

/// Longest episode: beyond it LeRobot's float32 time stamps cannot tell frames apart. One more row is refused.
pub const MAX_SECONDS: u64 = 1000;
/// Most rows of an episode, 1000 s at 100 Hz: they wait in memory, some 500 bytes each with two cameras and six
/// motors, 50 MB at this bound. One more row is refused.
pub const MAX_ROWS: u64 = 100_000;

/// A take in progress; made by [`super::Dataset::begin`], ended by [`super::Dataset::commit`] or
/// [`EpisodeWriter::discard`]. One that is dropped leaves its folder behind: the next start keeps it as an orphan, or finds
/// it waiting if it was parked ([`EpisodeWriter::park`]).
#[derive(Debug)]
pub struct EpisodeWriter {
    pub(super) spec: Arc<DatasetSpec>,
    pub(super) take: u64,
    pub(super) dir: PathBuf,
    pub(super) rows: Vec<Row>,
    pub(super) videos: Vec<Video>,
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
    /// Makes the take's folder and its empty videos, and both durable, so that what is recorded can be found after a crash.
    pub(super) fn begin(root: &Path, spec: Arc<DatasetSpec>, episode: u64, take: u64) -> Result<EpisodeWriter> {
        let dir = root.join(layout::take(episode, take));
        if dir.exists() {
            let found = "a take of this number in progress".into();
            return Err(DatasetError::Take { take, expected: "a number that no other take has", found });
        }
        disk::create_dir_all(&dir)?;
        let videos = EpisodeWriter::videos(&dir, &spec)?;
        disk::sync_all(&[dir.clone(), root.join(layout::PARTIAL), root.to_owned()])?;
        Ok(EpisodeWriter { spec, take, dir, rows: Vec::new(), videos })
    }

    /// Empty videos in a take's folder; old ones are overwritten.
    pub(super) fn videos(dir: &Path, spec: &DatasetSpec) -> Result<Vec<Video>> {
        let create = |camera: &super::CameraSpec| {
            let path = dir.join(format!("{}.mp4", camera.key));
            let writer = Mp4Writer::create(&path, spec.track(camera))?;
            let state = VideoState::Growing(Box::new(writer));
            Ok(Video {
                path,
                state,
                pixels: PixelHistogram::default(),
                substituted: Substituted::new(),
                finished: None,
            })
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

    /// Adds a row. It is in memory only, until the episode is saved.
    pub fn push_row(&mut self, row: Row) -> Result<()> {
        row.check(self.rows(), &self.spec)?;
        let limit = MAX_ROWS.min(MAX_SECONDS * u64::from(self.spec.fps));
        if self.rows() >= limit {
            return Err(DatasetError::TooLong { take: self.take, limit });
        }
        self.rows.push(row);
        Ok(())
    }

    /// Writes the next fragment of a camera's video. It must follow the last one without a gap.
    pub fn push_fragment(&mut self, camera: usize, fragment: &Fragment) -> Result<()> {
        let video = self.growing(camera)?;
        if let VideoState::Growing(writer) = &mut video.state {
            writer.append(fragment)?;
        }
        video.pixels.merge(&fragment.pixels);
        video.substituted.extend(fragment.substituted.iter().copied());
        Ok(())
    }

    /// Closes a camera's video once its last fragment is written; returns its frames.
    pub fn finish_video(&mut self, camera: usize) -> Result<u64> {
        self.growing(camera)?.finish()
    }

    /// Makes durable what was pushed of the videos, and the frames that wait. Call it at least once a second: what came
    /// since is what a power loss costs.
    pub fn sync(&self) -> Result<()> {
        (0..self.videos.len()).try_for_each(|camera| disk::sync_data_if_there(&self.frames_file(camera)))?;
        self.videos.iter().try_for_each(|video| match &video.state {
            VideoState::Growing(writer) => writer.sync(),
            VideoState::Finished { .. } | VideoState::Failed => Ok(()),
        })
    }

    /// Gives the take up. Nothing of it is left on disk.
    pub fn discard(self) -> Result<()> {
        let EpisodeWriter { dir, videos, .. } = self;
        drop(videos);
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
