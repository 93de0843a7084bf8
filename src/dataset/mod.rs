//! LeRobot data sets, format v3.0, on disk.
//!
//! Synchronous: one thread owns a [`Dataset`] and its [`EpisodeWriter`]s. A take is begun, filled with rows and video
//! fragments, and saved ([`Dataset::commit`]) or discarded; one that a crash interrupts is saved by the next start, up to
//! its last second ([`Dataset::recover`]). When `commit` has returned, the episode survives process
//! kill, system crash and power loss, and the data set on disk loads in LeRobot. A save costs the same for the first
//! episode and the 5000th: nothing is rewritten but three small files in `meta/`.
//!
//! The same rows and fragments give the same bytes.

pub mod checksums;
pub(crate) mod claim;
mod codec_config;
pub(crate) mod commit;
pub(crate) mod disk;
pub(crate) mod edit;
mod episode;
mod error;
pub(crate) mod info;
pub mod journal;
pub(crate) mod layout;
mod mp4;
mod mp4_boxes;
mod mp4_reader;
mod mp4_track;
mod open;
mod poses;
pub(crate) mod reader;
mod recover;
mod recovery;
mod rows;
mod run_file;
mod salvage;
mod sample_entry;
mod spec;
pub(crate) mod stats;
mod summary;
pub(crate) mod table;
mod tasks;
mod undo;
mod waiting;

pub use checksums::FileSum;
pub use episode::{EpisodeWriter, MAX_ROWS, MAX_SECONDS};
pub use error::{DatasetError, Difference};
pub use mp4::{Finished, Mp4Writer, VideoTrack};
pub use mp4_reader::{Mp4Index, SampleInfo};
pub use open::Outlook;
pub use poses::Poses;
pub use recovery::{Fate, Orphan, RecoveredTake, Recovery};
pub use rows::{Row, RowArm, RowFrame};
pub use spec::{CameraSpec, DatasetSpec, VideoInfo};
pub use summary::{CameraCounters, CameraSummary, EncoderSwitch, EpisodeCounters, EpisodeSummary, Recovered, Spread};
pub use waiting::WaitingTake;

use claim::Claim;
use commit::Marker;
use info::{Info, Source};
use layout::FileIndex;
use stats::FeatureStats;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use table::{EpisodeEntry, Place};
use undo::LastSave;

type Result<T> = std::result::Result<T, DatasetError>;

/// An open data set; the process that holds it is the only one that writes there.
#[derive(Debug)]
pub struct Dataset {
    root: PathBuf,
    spec: Arc<DatasetSpec>,
    info: Info,
    /// Features in the order of the tables' columns.
    features: Vec<(String, Source)>,
    /// Of all episodes, in the features' order; empty before the first.
    stats: Vec<(String, FeatureStats)>,
    tasks: Vec<String>,
    next: NextFiles,
    recovery: Recovery,
    waiting: Vec<WaitingTake>,
    /// The episode whose save failed after its point of no return: no other may be saved before it is completed.
    interrupted: Option<u64>,
    /// For taking the last save of this run back.
    last_save: Option<LastSave>,
    claim: Claim,
}

/// Where the next episode's files go.
#[derive(Clone, Debug, Default, PartialEq)]
struct NextFiles {
    data: FileIndex,
    episodes: FileIndex,
    /// By camera of the specification.
    videos: Vec<FileIndex>,
}

/// A saved episode.
#[derive(Clone, Debug, PartialEq)]
pub struct Committed {
    pub episode_index: u64,
    /// Rows, and frames of each camera.
    pub frames: u64,
    /// Bytes of the files that it added, or replaced.
    pub bytes: u64,
    pub summary: EpisodeSummary,
}

impl Dataset {
    /// The data set's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of work in progress, on the same file system; what is in it is not part of the data set.
    pub fn work_dir(&self) -> PathBuf {
        self.root.join(layout::PARTIAL)
    }

    /// Rows a second.
    pub fn fps(&self) -> u32 {
        self.spec.fps
    }

    /// Episodes saved so far, earlier runs' among them.
    pub fn episodes(&self) -> u64 {
        self.info.total_episodes
    }

    /// Rows saved so far.
    pub fn frames(&self) -> u64 {
        self.info.total_frames
    }

    /// What an interrupted run had left behind when the data set was opened.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Takes of earlier runs that wait to be encoded, in the order in which they were recorded; as it was when the data
    /// set was opened. Each becomes an episode by [`Dataset::reopen`] and [`Dataset::commit`], in this order.
    pub fn waiting(&self) -> &[WaitingTake] {
        &self.waiting
    }

    /// The lowest number for a take of this run: above those of all that wait, so that numbers tell the order in which
    /// takes were recorded.
    pub fn first_take(&self) -> u64 {
        self.waiting.last().map_or(0, |last| last.report.take + 1)
    }

    /// Opens a take again that waits to be encoded: with all its rows, with empty videos. Its frames are in
    /// [`EpisodeWriter::frames_file`]. To be called once for each.
    pub fn reopen(&self, waiting: &WaitingTake) -> Result<EpisodeWriter> {
        EpisodeWriter::reopen(self.spec.clone(), waiting)
    }

    /// How many takes wait to be encoded in the data set on disk.
    pub fn waiting_on_disk(root: &Path) -> Result<usize> {
        Ok(commit::find(root)?.iter().filter(|(_, left)| matches!(left, commit::Left::Waiting(_))).count())
    }

    /// Cameras whose videos had another codec so far, in words: readers cope with that, but nobody should be surprised.
    pub fn other_codecs(&self) -> Vec<String> {
        if self.info.total_episodes == 0 {
            return Vec::new();
        }
        let so_far = self.info.spec();
        let before =
            |camera: &CameraSpec| so_far.cameras.iter().find(|c| c.key == camera.key).map(|c| c.video.codec.clone());
        let differing = self.spec.cameras.iter().filter_map(|camera| {
            let before = before(camera).filter(|codec| !codec.is_empty() && *codec != camera.video.codec)?;
            Some(format!("{}: its videos are {before} so far, new ones are {}", camera.key, camera.video.codec))
        });
        differing.collect()
    }

    /// Begins a take, with a number that no other take of this run has and from [`Dataset::first_take`] on. Several may be
    /// open: the next one is recorded while the last one's videos are still being encoded. The task in words is what a
    /// recovery saves the take with.
    pub fn begin(&self, take: u64, task: &str) -> Result<EpisodeWriter> {
        if take < self.first_take() {
            let found = format!("take {} of an earlier run, which waits to be encoded", self.first_take() - 1);
            return Err(DatasetError::Take { take, expected: "a number above those of all takes that wait", found });
        }
        EpisodeWriter::begin(&self.root, self.spec.clone(), self.info.total_episodes, (take, task))
    }

    /// Saves a take as the next episode. Every video must have as many frames as there are rows. After an error the
    /// take is not part of the data set; its folder is kept, and recovered at the next start, or waits again if it was
    /// parked.
    pub fn commit(&mut self, mut episode: EpisodeWriter, task: &str, counters: &EpisodeCounters) -> Result<Committed> {
        if let Some(episode) = self.interrupted {
            return Err(DatasetError::Interrupted { root: self.root.clone(), episode });
        }
        if task.is_empty() {
            let take = episode.take;
            return Err(DatasetError::Take { take, expected: "a task in words", found: "an empty one".into() });
        }
        episode.finish()?;
        let begun = self.root.join(layout::INFO).exists();
        let save = self.save(&episode, task, counters)?;
        for (name, bytes) in &save.staged {
            disk::write(&episode.dir.join(name), bytes)?;
        }
        commit::prepare(&episode.dir, &save.marker)?;
        let sizes = save.marker.renames.iter().map(|(name, _)| std::fs::metadata(episode.dir.join(name)));
        let bytes = sizes.flatten().map(|file| file.len()).sum();
        commit::seal(&episode.dir)
            .and_then(|()| commit::apply(&self.root, &episode.dir, &save.marker))
            .inspect_err(|_| self.interrupted = Some(save.marker.episode))?;
        self.claim.keep();
        let own =
            |path: &&PathBuf| ![layout::INFO, layout::STATS, layout::TASKS].map(Path::new).contains(&path.as_path());
        self.last_save = Some(LastSave {
            take: episode.take,
            begun,
            info: std::mem::replace(&mut self.info, save.info),
            stats: std::mem::replace(&mut self.stats, save.stats),
            tasks: std::mem::replace(&mut self.tasks, save.tasks),
            next: std::mem::replace(&mut self.next, save.next),
            files: save.marker.renames.iter().map(|(_, to)| to).filter(own).cloned().collect(),
        });
        Ok(Committed { episode_index: save.marker.episode, frames: episode.rows(), bytes, summary: save.summary })
    }

    /// Takes away what is of no use without an open take; without a saved episode all that opening made. For whoever
    /// cannot wait for the drop.
    pub fn close(&mut self) {
        // Stays where takes are still in it.
        let _ = std::fs::remove_dir(self.work_dir());
        self.claim.withdraw();
    }

    /// Everything that saving a take will write and change; writes nothing.
    fn save(&self, episode: &EpisodeWriter, task: &str, counters: &EpisodeCounters) -> Result<Save> {
        let index = self.info.total_episodes;
        let rows = &episode.rows;
        let mut tasks = self.tasks.clone();
        let task_index = tasks.iter().position(|t| t == task).unwrap_or_else(|| {
            tasks.push(task.to_owned());
            tasks.len() - 1
        });
        let place =
            Place { episode: index, first_row: self.info.total_frames, task: task_index as u64, fps: self.spec.fps };
        let stats = self.episode_stats(episode, &place)?;
        let mut videos = Vec::new();
        let mut renames = Vec::new();
        let mut files = Vec::new();
        let mut info = self.info.clone();
        for (key, source) in &self.features {
            if let Source::Camera(camera) = *source {
                let file = self.next.videos[camera];
                videos.push((key.clone(), file));
                let (video, target) = (&episode.videos[camera], file.path(&layout::videos(key), "mp4"));
                files.push(match video.finished {
                    Some(Finished { bytes, crc32, .. }) => FileSum { path: target.display().to_string(), bytes, crc32 },
                    None => FileSum::of_file(&video.path, &target)?,
                });
                // JPEGs as they come are as the camera makes them; as in LeRobot, the first video says how.
                if let (0, Some(pix_fmt)) = (index, video.finished.and_then(|finished| finished.pix_fmt)) {
                    info.set_pixel_format(key, pix_fmt);
                }
                let name = video.path.file_name().unwrap_or_default();
                renames.push((name.to_string_lossy().into_owned(), target));
            }
        }
        let entry = EpisodeEntry {
            place,
            length: episode.rows(),
            task,
            data: self.next.data,
            videos: &videos,
            stats: &stats,
            entry: self.next.episodes,
        };
        let merged = merge(&self.stats, &stats);
        info.set_totals(index + 1, place.first_row + episode.rows(), tasks.len() as u64);
        let mut summary = summary::summarise(&self.spec, rows, counters, (index, episode.take, task));
        summary.recovered.clone_from(&episode.recovered);
        let substituted: Vec<_> = episode.videos.iter().map(|video| video.substituted.clone()).collect();

        let mut staged = Vec::new();
        let mut stage = |name: &str, bytes: Vec<u8>, target: PathBuf| {
            staged.push((name.to_owned(), bytes));
            renames.push((name.to_owned(), target));
        };
        // A file of the episode's own, which nothing changes any more.
        let mut sum = |bytes: Vec<u8>, target: &Path| {
            files.push(FileSum::of_bytes(target, &bytes));
            bytes
        };
        let (by_episode, data, entries) = (FileIndex::nth(index), self.next.data, self.next.episodes);
        let sidecar = rows::sidecar(&self.spec, rows, &substituted)?;
        let target = by_episode.path(layout::RECORDER_ROWS, "parquet");
        stage("rows.parquet", sum(sidecar, &target), target);
        let target = data.path(layout::DATA, "parquet");
        stage("data.parquet", sum(table::data(&self.features, rows, &place)?, &target), target);
        let target = entries.path(layout::EPISODES, "parquet");
        stage("episode.parquet", sum(table::episode(&entry)?, &target), target);
        summary.files = files;
        let summary_bytes = info::to_json_bytes(&summary, "summary")?;
        stage("summary.json", summary_bytes, checksums::summary_path(index));
        if tasks.len() > self.tasks.len() {
            stage("tasks.parquet", tasks::to_parquet(&tasks)?, layout::TASKS.into());
        }
        let all: serde_json::Map<_, _> = merged.iter().map(|(key, stats)| (key.clone(), stats.to_json())).collect();
        stage("stats.json", info::to_json_bytes(&all, "stats.json")?, layout::STATS.into());
        stage("info.json", info.to_bytes()?, layout::INFO.into());
        let next = NextFiles {
            data: data.next(),
            episodes: entries.next(),
            videos: self.next.videos.iter().map(|file| file.next()).collect(),
        };
        Ok(Save {
            staged,
            marker: Marker { episode: index, renames, ..Marker::default() },
            info,
            stats: merged,
            tasks,
            next,
            summary,
        })
    }

    fn episode_stats(&self, episode: &EpisodeWriter, place: &Place) -> Result<Vec<(String, FeatureStats)>> {
        let of = |source: Source| match source {
            Source::Camera(camera) => FeatureStats::of_pixels(&episode.videos[camera].pixels).ok_or_else(|| {
                let expected = "pixel statistics of at least one picture of each camera";
                let found = format!("none of camera {}", self.spec.cameras[camera].name);
                DatasetError::Take { take: episode.take, expected, found }
            }),
            source => Ok(FeatureStats::of_series(&table::series(source, &episode.rows, place).unwrap_or_default())),
        };
        self.features.iter().map(|(key, source)| Ok((key.clone(), of(*source)?))).collect()
    }
}

impl Drop for Dataset {
    fn drop(&mut self) {
        self.close();
    }
}

/// See [`Dataset::save`].
struct Save {
    /// Files to write in the take's folder.
    staged: Vec<(String, Vec<u8>)>,
    marker: Marker,
    info: Info,
    stats: Vec<(String, FeatureStats)>,
    tasks: Vec<String>,
    next: NextFiles,
    summary: EpisodeSummary,
}

/// The statistics of all episodes with one more.
fn merge(all: &[(String, FeatureStats)], episode: &[(String, FeatureStats)]) -> Vec<(String, FeatureStats)> {
    let merged = |key: &str, stats: &FeatureStats| match all.iter().find(|(other, _)| other == key) {
        Some((_, before)) => before.merged(stats),
        None => stats.clone(),
    };
    episode.iter().map(|(key, stats)| (key.clone(), merged(key, stats))).collect()
}
