//! Takes that a crash interrupted: what can be made an episode becomes one.
//!
//! The take's journal says what was recorded, the mp4 files or the frames that wait beside it hold the pictures. Kept are
//! the rows from the first one on for which every camera has its frame, whole by its checksum: by the videos, or, where
//! frames are kept and reach further, by those; the take then waits to be encoded. Videos are copied up to there under new
//! names, and the take is saved as any other ([`Dataset::commit`]): until then nothing of it is changed, and an
//! interrupted recovery is done again. What cannot be read is set aside; nothing is removed but a take of less than a
//! second of which no camera has a frame, and what `on_crash = "discard"` says.

use super::Dataset;
use super::commit::{self, Left, Marker};
use super::disk;
use super::episode::{EpisodeWriter, Video};
use super::error::DatasetError;
use super::info::Info;
use super::journal::{FragmentRecord, Head, Journal};
use super::layout;
use super::mp4::Mp4Writer;
use super::recovery::{Fate, Orphan, Recovery};
use super::salvage::{self, Decision, Salvage};
use super::spec::DatasetSpec;
use super::waiting::{self, Parked, WaitingTake};
use crate::codec::{Fragment, Sample};
use crate::config::schema::OnCrash;
use crate::spill::Spill;
use bytes::Bytes;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

type Result<T> = std::result::Result<T, DatasetError>;

/// What earlier runs left, with interrupted saves completed.
#[derive(Debug, Default)]
pub(super) struct Stock {
    pub recovery: Recovery,
    pub waiting: Vec<WaitingTake>,
    /// Folders of unfinished takes; of those that were to wait and cannot, why not.
    pub unfinished: Vec<(PathBuf, Option<String>)>,
}

impl Stock {
    /// Completes interrupted saves, removes what was being removed, and gives the rest. The waiting takes must fit the
    /// specification ([`commit::waits`]).
    pub fn take(root: &Path, spec: &DatasetSpec) -> Result<Stock> {
        let mut stock = Stock { recovery: complete(root)?, ..Stock::default() };
        for (dir, left) in commit::find(root)? {
            match left {
                Left::Sealed(_) | Left::Staged => {}
                Left::Waiting(parked) => {
                    stock.recovery.waiting.push(parked.take());
                    stock.waiting.push(parked.ordered(spec, &dir).0);
                }
                Left::Unfinished(damage) => stock.unfinished.push((dir, damage)),
            }
        }
        Ok(stock)
    }
}

/// Completes what was being saved or removed.
pub(super) fn complete(root: &Path) -> Result<Recovery> {
    let recovery = commit::complete_saves(root)?;
    let partial = root.join(layout::PARTIAL);
    for name in disk::names(&partial)?.iter().filter(|name| name.starts_with(layout::REMOVED_PREFIX)) {
        disk::remove_dir_all(&partial.join(name))?;
    }
    Ok(recovery)
}

/// The head of the first unfinished take that has one that can be read.
pub(super) fn first_head(found: &[(PathBuf, Left)]) -> Result<Option<Head>> {
    for (dir, left) in found {
        if let (Left::Unfinished(_), Some(Ok(journal))) = (left, Journal::read(&dir.join(layout::JOURNAL))?) {
            return Ok(Some(journal.head));
        }
    }
    Ok(None)
}

/// Copies a camera's video up to frame `rows`.
fn copy(from: &Path, mut writer: Mp4Writer, fragments: &[FragmentRecord], rows: u64) -> Result<Video> {
    let file = File::open(from).map_err(DatasetError::io("open", from))?;
    let Some(format) = fragments.first().and_then(|first| first.format.clone()).map(Arc::new) else {
        return Ok(Video::new(writer));
    };
    let mut substituted = Vec::new();
    for fragment in fragments.iter().take_while(|fragment| fragment.first_frame < rows) {
        let data = salvage::read(&file, fragment).map_err(|found| DatasetError::Invalid {
            path: from.to_owned(),
            expected: "the frames that were there a moment ago".into(),
            found,
            remedy: "what the disk gives is not what was written: replace it",
        })?;
        let mut samples = Vec::new();
        let mut rest = Bytes::from(data);
        for (i, size) in fragment.sizes.iter().enumerate().take((rows - fragment.first_frame) as usize) {
            samples.push(Sample { data: rest.split_to(*size as usize), sync: fragment.key_frames.contains(&i) });
        }
        substituted.extend(fragment.substituted.iter().copied().filter(|(frame, _)| *frame < rows));
        let (first_frame, format) = (fragment.first_frame, format.clone());
        let (substituted, stored, pixels) = Default::default();
        writer.append(&Fragment { first_frame, samples, format, substituted, stored, pixels })?;
    }
    let mut video = Video::new(writer);
    video.substituted = substituted.into_iter().collect();
    // Those of the fragment that is cut tell of pictures that are not in the episode; better those than none.
    let whole = fragments.iter().filter(|fragment| fragment.end() <= rows).count().max(1);
    fragments.iter().take(whole).for_each(|fragment| video.pixels.merge(&fragment.pixels()));
    Ok(video)
}

impl Dataset {
    /// Makes of unfinished takes what can be made of them.
    pub(super) fn recover_takes(
        &mut self,
        unfinished: Vec<(PathBuf, Option<String>)>,
        on_crash: OnCrash,
    ) -> Result<()> {
        let any = !unfinished.is_empty();
        for (dir, damage) in unfinished {
            match Salvage::survey(&dir)? {
                Ok(salvage) => self.recover_take(&dir, &salvage, on_crash, damage.as_deref())?,
                Err(reason) => self.set_aside(&dir, damage.unwrap_or(reason))?,
            }
        }
        self.waiting.sort_by_key(|waiting| waiting.report.take);
        if any && self.work_dir().exists() { disk::sync(&self.work_dir()) } else { Ok(()) }
    }

    fn recover_take(&mut self, dir: &Path, salvage: &Salvage, on_crash: OnCrash, damage: Option<&str>) -> Result<()> {
        let fate = match salvage.decide(&self.spec, on_crash, damage) {
            Decision::SetAside(reason) => return self.set_aside(dir, reason),
            Decision::Remove(fate) => waiting::remove(dir).map(|()| fate)?,
            Decision::Wait => self.wait(dir, salvage).map(|()| Fate::Waiting)?,
            Decision::Save => match self.save_recovered(dir, salvage) {
                Ok(episode) => Fate::Episode(episode),
                // A disk that is full or fails: to be tried again.
                Err(error) if self.interrupted.is_some() || matches!(error, DatasetError::Io { .. }) => {
                    return Err(error);
                }
                Err(error) => return self.set_aside(dir, error.to_string()),
            },
        };
        self.recovery.takes.push(salvage.told(fate));
        Ok(())
    }

    /// The take as it is up to its last row that is kept.
    fn salvaged(&self, dir: &Path, salvage: &Salvage, places: &[usize], videos: Vec<Video>) -> EpisodeWriter {
        let take = salvage.journal.head.take;
        let rows = salvage.rows(places);
        let recovered = Some(salvage.recovered());
        EpisodeWriter { rows, recovered, ..EpisodeWriter::restored(self.spec.clone(), take, dir.to_owned(), videos) }
    }

    /// Lets a take wait whose frames are kept.
    fn wait(&mut self, dir: &Path, salvage: &Salvage) -> Result<()> {
        let places = salvage.places(&self.spec);
        // Its videos are begun anew when they are encoded.
        let take = self.salvaged(dir, salvage, &places, Vec::new());
        for camera in 0..self.spec.cameras.len() {
            Spill::cut_file(take.frames_file(camera), salvage.rows)?;
        }
        let mut report = salvage.report();
        report.cameras = places.iter().map(|&i| report.cameras[i].clone()).collect();
        take.park(&WaitingTake::new(salvage.journal.head.task.clone(), report))?;
        if let Ok(parked) = Parked::read(dir)? {
            self.recovery.waiting.push(parked.take());
            self.waiting.push(parked.ordered(&self.spec, dir).0);
        }
        Ok(())
    }

    /// Saves a take by its videos; the episode.
    fn save_recovered(&mut self, dir: &Path, salvage: &Salvage) -> Result<u64> {
        let places = salvage.places(&self.spec);
        let copies: Vec<PathBuf> =
            self.spec.cameras.iter().map(|camera| dir.join(layout::recovered_video(&camera.key))).collect();
        let committed = (|| {
            let mut videos = Vec::new();
            for ((camera, place), path) in self.spec.cameras.iter().zip(&places).zip(&copies) {
                let mut track = self.spec.track(camera);
                track.color_range = salvage.journal.head.cameras[*place].color_range;
                let fragments = &salvage.journal.fragments[*place];
                let from = dir.join(layout::video(&camera.key));
                videos.push(copy(&from, Mp4Writer::create(path, track)?, fragments, salvage.rows)?);
            }
            if self.info.total_episodes == 0 {
                // The data set becomes what it was to be when the take was recorded.
                self.begin_as(&salvage.journal.head.info);
            }
            let take = self.salvaged(dir, salvage, &places, videos);
            let counters = salvage.counters(&self.spec, &places);
            self.commit(take, &salvage.journal.head.task, &counters)
        })();
        if committed.is_err() && self.interrupted.is_none() {
            copies.iter().for_each(|path| drop(std::fs::remove_file(path)));
        }
        committed.map(|committed| committed.episode_index)
    }

    fn set_aside(&mut self, dir: &Path, reason: String) -> Result<()> {
        self.recovery.orphans.extend(set_aside(&self.root, dir, reason)?);
        Ok(())
    }

    fn begin_as(&mut self, info: &Info) {
        self.info = info.clone();
        self.info.set_totals(0, 0, 0);
        self.features = self.info.sources(&self.spec);
    }
}

/// What would become of what earlier runs left in a data set of `episodes` episodes, and how many it would have then;
/// changes nothing.
pub(super) fn foresee(
    found: &[(PathBuf, Left)],
    spec: &DatasetSpec,
    on_crash: OnCrash,
    mut episodes: u64,
) -> Result<(Recovery, u64)> {
    let mut recovery = Recovery::default();
    for (dir, left) in found {
        let damage = match left {
            Left::Sealed(Marker { edit: Some(edit), .. }) => {
                recovery.edited.push(edit.what.clone());
                continue;
            }
            Left::Staged => continue,
            Left::Sealed(marker) => {
                recovery.completed.push(marker.episode);
                episodes = episodes.max(marker.episode + 1);
                continue;
            }
            Left::Waiting(parked) => {
                recovery.waiting.push(parked.take());
                continue;
            }
            Left::Unfinished(damage) => damage,
        };
        let aside = |reason: String| Orphan { path: dir.clone(), reason };
        let salvage = match Salvage::survey(dir)? {
            Ok(salvage) => salvage,
            Err(reason) => {
                let orphan = (!is_blank(dir)?).then(|| aside(damage.clone().unwrap_or(reason)));
                recovery.orphans.extend(orphan);
                continue;
            }
        };
        let fate = match salvage.decide(spec, on_crash, damage.as_deref()) {
            Decision::SetAside(reason) => {
                recovery.orphans.push(aside(reason));
                continue;
            }
            Decision::Remove(fate) => fate,
            Decision::Wait => {
                recovery.waiting.push(salvage.journal.head.take);
                Fate::Waiting
            }
            Decision::Save => {
                episodes += 1;
                Fate::Episode(episodes - 1)
            }
        };
        recovery.takes.push(salvage.told(fate));
    }
    Ok((recovery, episodes))
}

/// Sets all unfinished takes aside, none of which has a journal that can be read.
pub(super) fn set_all_aside(root: &Path, found: &[(PathBuf, Left)], recovery: &mut Recovery) -> Result<()> {
    let mut any = false;
    for (dir, left) in found {
        if let (Left::Unfinished(damage), Err(reason)) = (left, Salvage::survey(dir)?) {
            recovery.orphans.extend(set_aside(root, dir, damage.clone().unwrap_or(reason))?);
            any = true;
        }
    }
    if any { disk::sync(&root.join(layout::PARTIAL)) } else { Ok(()) }
}

/// Moves a take's folder aside; one that nothing was recorded in is removed.
fn set_aside(root: &Path, dir: &Path, reason: String) -> Result<Option<Orphan>> {
    if is_blank(dir)? {
        return waiting::remove(dir).map(|()| None);
    }
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let partial = root.join(layout::PARTIAL);
    let free = (0u64..).map(|n| {
        let suffix = if n == 0 { String::new() } else { format!("-{n}") };
        partial.join(format!("{}{name}{suffix}", layout::ORPHAN_PREFIX))
    });
    let path = free.into_iter().find(|path| !path.exists()).unwrap_or_default();
    disk::rename(dir, &path)?;
    Ok(Some(Orphan { path, reason }))
}

/// A folder without a byte in it: the run was killed while it was made.
fn is_blank(dir: &Path) -> Result<bool> {
    let blank = |name: &String| dir.join(name).metadata().is_ok_and(|found| found.is_file() && found.len() == 0);
    Ok(dir.is_dir() && disk::names(dir)?.iter().all(blank))
}
