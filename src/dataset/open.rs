//! Opening a data set: a new one, or one that exists, our own or LeRobot's.

use super::claim::{Claim, refuse_file};
use super::commit::{self, Left};
use super::disk;
use super::error::DatasetError;
use super::info::{Info, Source};
use super::layout::{self, FileIndex};
use super::reader::TableReader;
use super::recover::{self, Stock};
use super::recovery::Recovery;
use super::spec::DatasetSpec;
use super::stats::FeatureStats;
use super::{Dataset, NextFiles, tasks};
use crate::config::schema::OnCrash;
use arrow_array::{Array, Int64Array};
use std::path::{Path, PathBuf};
use std::sync::Arc;

type Result<T> = std::result::Result<T, DatasetError>;

/// What [`Dataset::check`] found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outlook {
    /// Episodes that are there.
    pub episodes: u64,
    /// Rows that are there.
    pub frames: u64,
    /// What an interrupted run left, and what would become of it.
    pub recovery: Recovery,
}

impl Dataset {
    /// [`Dataset::create_after`] where interrupted takes are kept.
    pub fn create(root: &Path, spec: DatasetSpec) -> Result<Dataset> {
        Dataset::create_after(root, spec, OnCrash::Keep)
    }

    /// [`Dataset::resume_after`] where interrupted takes are kept.
    pub fn resume(root: &Path, spec: DatasetSpec) -> Result<Dataset> {
        Dataset::resume_after(root, spec, OnCrash::Keep)
    }

    /// Starts a new data set. The folder must be absent, empty, or hold nothing but takes of ours that became no episode:
    /// such that wait to be encoded ([`Dataset::waiting`]), and unfinished ones. If those become its first episode, the
    /// data set exists, and is refused like any other. Nothing is in `meta/` before the first episode.
    pub fn create_after(root: &Path, spec: DatasetSpec, on_crash: OnCrash) -> Result<Dataset> {
        spec.validate()?;
        refuse_file(root)?;
        refuse_content(root)?;
        commit::waits(&commit::find(root)?, &spec)?;
        let mut claim = Claim::new(root)?;
        let stock = Stock::take(root, &spec)?;
        if let Some(info) = read_info(root)? {
            // A first episode whose save was interrupted is there only now.
            claim.keep();
            return Err(exists(root, info.total_episodes, &stock.recovery));
        }
        refuse_content(root)?;
        let (info, content) = (Info::new(&spec), Content::none(&spec));
        let dataset = Dataset::open(root, info, spec, content, (stock, on_crash), claim)?;
        match dataset.episodes() {
            0 => Ok(dataset),
            episodes => Err(exists(root, episodes, &dataset.recovery)),
        }
    }

    /// Opens a data set to add episodes. Interrupted saves are completed first, and of unfinished takes is made what can be
    /// made ([`Dataset::recovery`]). Takes that wait to be encoded stay ([`Dataset::waiting`]), and may be all that there
    /// is. Refused when rate, robot or features differ.
    pub fn resume_after(root: &Path, spec: DatasetSpec, on_crash: OnCrash) -> Result<Dataset> {
        spec.validate()?;
        refuse_file(root)?;
        // Before anything is touched: a folder that is no data set stays as it is.
        let found = commit::find(root)?;
        match read_info(root)? {
            Some(info) => refuse_differences(root, &info, &spec)?,
            None if found.is_empty() => return Err(DatasetError::NotADataset { root: root.to_owned() }),
            None => {}
        }
        commit::waits(&found, &spec)?;
        let dataset = Dataset::open_existing(root, spec, on_crash, Claim::new(root)?)?;
        if dataset.episodes() == 0 && dataset.waiting.is_empty() {
            return Err(DatasetError::NotADataset { root: root.to_owned() });
        }
        Ok(dataset)
    }

    /// Completes, removes or sets aside what an interrupted run left, as every start does, and nothing else. Needs no
    /// configuration: the data set, or the take that is to be its first episode, says what it records. A second time
    /// changes nothing.
    pub fn recover(root: &Path, on_crash: OnCrash) -> Result<Recovery> {
        refuse_file(root)?;
        let ours = [layout::INFO, layout::PARTIAL, layout::LOCK];
        if !ours.iter().any(|path| root.join(path).exists()) {
            return Err(DatasetError::NotADataset { root: root.to_owned() });
        }
        let mut claim = Claim::new(root)?;
        let mut recovery = recover::complete(root)?;
        if !recovery.completed.is_empty() || !recovery.edited.is_empty() {
            claim.keep();
        }
        let found = commit::find(root)?;
        let spec = match recover::first_head(&found)? {
            Some(_) => Dataset::spec_of(root, &found)?,
            None => None,
        };
        if let Some(spec) = spec {
            spec.validate()?;
            commit::waits(&found, &spec)?;
            let mut dataset = Dataset::open_existing(root, spec, on_crash, claim)?;
            (dataset.recovery.completed, dataset.recovery.edited) = (recovery.completed, recovery.edited);
            return Ok(std::mem::take(&mut dataset.recovery));
        }
        // No take can be made an episode: what the data set holds does not matter.
        recover::set_all_aside(root, &found, &mut recovery)?;
        // Stays where takes are still in it.
        let _ = std::fs::remove_dir(root.join(layout::PARTIAL));
        recovery.waiting = found.iter().filter_map(|(_, left)| left.waiting()).collect();
        Ok(recovery)
    }

    /// What the data set on disk records, as it says itself, or what is to become its first episode: a take that waits, or
    /// one that was interrupted.
    pub fn spec_on_disk(root: &Path) -> Result<DatasetSpec> {
        let spec = Dataset::spec_of(root, &commit::find(root)?)?;
        spec.ok_or_else(|| DatasetError::NotADataset { root: root.to_owned() })
    }

    fn spec_of(root: &Path, found: &[(PathBuf, Left)]) -> Result<Option<DatasetSpec>> {
        if let Some(info) = read_info(root)? {
            return Ok(Some(info.spec()));
        }
        let parked = found.iter().find_map(|(_, left)| match left {
            Left::Waiting(parked) => Some(parked.info().spec()),
            _ => None,
        });
        match parked {
            None => Ok(recover::first_head(found)?.map(|head| head.info.spec())),
            parked => Ok(parked),
        }
    }

    /// A data set that may be without episodes.
    fn open_existing(root: &Path, spec: DatasetSpec, on_crash: OnCrash, claim: Claim) -> Result<Dataset> {
        let stock = Stock::take(root, &spec)?;
        let (info, content) = match read_info(root)? {
            None => (Info::new(&spec), Content::none(&spec)),
            Some(info) => {
                refuse_differences(root, &info, &spec)?;
                let content = read_content(root, &info, &spec)?;
                (info, content)
            }
        };
        Dataset::open(root, info, spec, content, (stock, on_crash), claim)
    }

    fn open(
        root: &Path,
        info: Info,
        spec: DatasetSpec,
        content: Content,
        (stock, on_crash): (Stock, OnCrash),
        mut claim: Claim,
    ) -> Result<Dataset> {
        let Stock { recovery, waiting, unfinished } = stock;
        if !recovery.completed.is_empty() || !recovery.edited.is_empty() {
            claim.keep();
        }
        let mut dataset = Dataset {
            root: root.to_owned(),
            features: info.sources(&spec),
            spec: Arc::new(spec),
            info,
            stats: content.stats,
            tasks: content.tasks,
            next: content.next,
            recovery,
            waiting,
            interrupted: None,
            last_save: None,
            claim,
        };
        dataset.recover_takes(unfinished, on_crash)?;
        // Only what this run saves is its to take back.
        dataset.last_save = None;
        Ok(dataset)
    }

    /// [`Dataset::check_after`] where interrupted takes are kept.
    pub fn check(root: &Path, spec: &DatasetSpec, resume: bool) -> Result<Outlook> {
        Dataset::check_after(root, spec, resume, OnCrash::Keep)
    }

    /// Says whether [`Dataset::create_after`] or [`Dataset::resume_after`] would do, and leaves everything as it was.
    pub fn check_after(root: &Path, spec: &DatasetSpec, resume: bool, on_crash: OnCrash) -> Result<Outlook> {
        spec.validate()?;
        refuse_file(root)?;
        let mut outlook = Outlook::default();
        let found = commit::find(root)?;
        let waits = commit::waits(&found, spec);
        let info = read_info(root)?;
        let saved = info.as_ref().map_or(0, |info| info.total_episodes);
        let (recovery, episodes) = recover::foresee(&found, spec, on_crash, saved)?;
        match info {
            None if resume && episodes == 0 && recovery.waiting.is_empty() => {
                return Err(DatasetError::NotADataset { root: root.to_owned() });
            }
            Some(info) if resume => {
                refuse_differences(root, &info, spec)?;
                // Files of an interrupted save may lie beyond what info.json counts.
                if recovery.completed.is_empty() && recovery.edited.is_empty() {
                    read_content(root, &info, spec)?;
                }
                (outlook.episodes, outlook.frames) = (info.total_episodes, info.total_frames);
            }
            _ if resume => {}
            _ => refuse_content(root)?,
        }
        if !resume && episodes > 0 {
            return Err(exists(root, episodes, &recovery));
        }
        outlook.recovery = recovery;
        waits?;
        // Only trying tells whether there can be one.
        drop(Claim::new(root)?);
        Ok(outlook)
    }
}

fn exists(root: &Path, episodes: u64, recovery: &Recovery) -> DatasetError {
    DatasetError::Exists { root: root.to_owned(), episodes, recovery: recovery.describe() }
}

/// Refuses a folder that holds more than what a run without a saved episode leaves behind.
fn refuse_content(root: &Path) -> Result<()> {
    if let Some(info) = read_info(root)? {
        return Err(exists(root, info.total_episodes, &Recovery::default()));
    }
    let ours = |name: &str| name == layout::PARTIAL || name == layout::RECORDER;
    if let Some(found) = disk::names(root)?.into_iter().find(|name| !ours(name)) {
        return Err(DatasetError::ForeignFiles { root: root.to_owned(), found });
    }
    let ours = [layout::LOCK, layout::RUN, layout::RUN_UNFINISHED].map(|path| root.join(path));
    let is_ours = |name: &String| ours.contains(&root.join(layout::RECORDER).join(name));
    match disk::names(&root.join(layout::RECORDER))?.into_iter().find(|name| !is_ours(name)) {
        Some(name) => {
            Err(DatasetError::ForeignFiles { root: root.to_owned(), found: format!("{}/{name}", layout::RECORDER) })
        }
        None => Ok(()),
    }
}

fn refuse_differences(root: &Path, info: &Info, spec: &DatasetSpec) -> Result<()> {
    let differences = info.differences(spec);
    if differences.is_empty() { Ok(()) } else { Err(DatasetError::Differs { root: root.to_owned(), differences }) }
}

fn read_info(root: &Path) -> Result<Option<Info>> {
    let path = root.join(layout::INFO);
    if path.exists() { Ok(Some(Info::parse(&disk::read(&path)?, &path)?)) } else { Ok(None) }
}

/// What adding to a data set must know, beside info.json.
struct Content {
    stats: Vec<(String, FeatureStats)>,
    tasks: Vec<String>,
    next: NextFiles,
}

impl Content {
    /// Of a data set without episodes.
    fn none(spec: &DatasetSpec) -> Content {
        let next = NextFiles { videos: vec![FileIndex::default(); spec.cameras.len()], ..NextFiles::default() };
        Content { stats: Vec::new(), tasks: Vec::new(), next }
    }
}

/// Reads it, and refuses a data set whose parts do not agree: LeRobot leaves one when it is killed.
fn read_content(root: &Path, info: &Info, spec: &DatasetSpec) -> Result<Content> {
    let mut content = Content { stats: Vec::new(), tasks: Vec::new(), next: next_files(root, spec)? };
    if info.total_episodes == 0 {
        return Ok(content);
    }
    let path = root.join(layout::TASKS);
    content.tasks = tasks::from_parquet(disk::read(&path)?, &path)?;
    let path = root.join(layout::STATS);
    let invalid = |found: String| DatasetError::Invalid {
        path: path.clone(),
        expected: "statistics of every feature".into(),
        found,
        remedy: "restore the file, or choose another dataset.root",
    };
    let all: serde_json::Value = serde_json::from_slice(&disk::read(&path)?).map_err(|e| invalid(e.to_string()))?;
    for (key, source) in info.sources(spec) {
        let stats = FeatureStats::from_json(&all[&key]).map_err(|found| invalid(format!("{found} in `{key}`")))?;
        let dimensions = match source {
            Source::Camera(_) => 3,
            Source::Action => spec.action_names.len(),
            Source::State => spec.state_names.len(),
            _ => 1,
        };
        if stats.min.len() != dimensions {
            return Err(invalid(format!("{} values in `{key}`, not {dimensions}", stats.min.len())));
        }
        content.stats.push((key, stats));
    }
    let (path, last, rows) = last_episode(root)?;
    if (last + 1, rows) != (info.total_episodes, info.total_frames) {
        return Err(DatasetError::Invalid {
            path,
            expected: format!("{} episodes and {} rows, as info.json says", info.total_episodes, info.total_frames),
            found: format!("{} episodes and {rows} rows", last + 1),
            remedy: "the last recording did not end properly: repair the data set, or choose another dataset.root",
        });
    }
    Ok(content)
}

/// The places after the last file of each series.
fn next_files(root: &Path, spec: &DatasetSpec) -> Result<NextFiles> {
    let next = |series: &str, extension: &str| -> Result<FileIndex> {
        Ok(last_file(root, series, extension)?.map_or(FileIndex::default(), FileIndex::next))
    };
    Ok(NextFiles {
        data: next(layout::DATA, "parquet")?,
        episodes: next(layout::EPISODES, "parquet")?,
        videos: spec.cameras.iter().map(|c| next(&layout::videos(&c.key), "mp4")).collect::<Result<_>>()?,
    })
}

/// The last file of a series; only the last folders are listed.
fn last_file(root: &Path, series: &str, extension: &str) -> Result<Option<FileIndex>> {
    let dir = root.join(series);
    let mut chunks: Vec<u64> = disk::names(&dir)?.iter().filter_map(|n| layout::number(n, "chunk-", "")).collect();
    chunks.sort_unstable();
    for chunk in chunks.into_iter().rev() {
        let suffix = format!(".{extension}");
        let names = disk::names(&dir.join(format!("chunk-{chunk:03}")))?;
        if let Some(file) = names.iter().filter_map(|n| layout::number(n, "file-", &suffix)).max() {
            return Ok(Some(FileIndex { chunk, file }));
        }
    }
    Ok(None)
}

/// The file of the last episode's entry, its episode index, and the data set's rows up to its end.
fn last_episode(root: &Path) -> Result<(PathBuf, u64, u64)> {
    let file = last_file(root, layout::EPISODES, "parquet")?.unwrap_or_default();
    let path = root.join(file.path(layout::EPISODES, "parquet"));
    let invalid = |found: String| DatasetError::Invalid {
        path: path.clone(),
        expected: "a table of episodes".into(),
        found,
        remedy: "the last recording did not end properly: repair the data set, or choose another dataset.root",
    };
    let names = ["episode_index", "dataset_to_index"];
    let bytes = bytes::Bytes::from(disk::read(&path)?);
    let reader = TableReader::new(bytes, |name| names.contains(&name), 1024).map_err(invalid)?;
    let mut last = None;
    for batch in reader {
        let batch = batch.map_err(invalid)?;
        let value = |name: &str| {
            let column = batch.column_by_name(name)?.as_any().downcast_ref::<Int64Array>()?;
            u64::try_from(column.values().last().copied()?).ok()
        };
        last = names.map(value).into_iter().collect::<Option<Vec<u64>>>().or(last);
    }
    match last.as_deref() {
        Some(&[episode, rows]) => Ok((path, episode, rows)),
        _ => Err(invalid("no episode in it".into())),
    }
}
