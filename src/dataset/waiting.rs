//! A take that is recorded and waits to be encoded: it survives the end of the program.
//!
//! Its frames lie in its folder, one file for each camera ([`EpisodeWriter::frames_file`]). `waiting.json` beside them has
//! all the rest, and its rename into place is what makes the take a waiting one: before it, a crash leaves an interrupted
//! take (`recover.rs`); after it, every start finds the take until it is saved. Videos are begun anew each time.

use super::disk;
use super::episode::EpisodeWriter;
use super::error::{DatasetError, Difference};
use super::info::Info;
use super::layout;
use super::rows::Row;
use super::spec::DatasetSpec;
use super::summary::Recovered;
use crate::account::TakeReport;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

type Result<T> = std::result::Result<T, DatasetError>;

/// The version of the file's format.
const VERSION: u32 = 1;

/// A take that waits to be encoded, as whoever recorded it knows it. Its cameras are in the order of the specification
/// that the data set was opened with.
#[derive(Clone, Debug, PartialEq)]
pub struct WaitingTake {
    /// What the operator did, in words.
    pub task: String,
    pub report: TakeReport,
    dir: PathBuf,
}

impl WaitingTake {
    /// For [`EpisodeWriter::park`].
    pub fn new(task: String, report: TakeReport) -> WaitingTake {
        WaitingTake { task, report, dir: PathBuf::new() }
    }

    /// Its folder, once it is found there.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// The content of `waiting.json`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Parked<'a> {
    version: u32,
    task: Cow<'a, str>,
    report: Cow<'a, TakeReport>,
    /// What the data set was to be: rate, robot and features.
    info: Info,
    /// Features of the cameras, in the order of the rows' and the report's.
    cameras: Vec<String>,
    rows: Cow<'a, [Row]>,
    /// It was interrupted by a crash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    recovered: Option<Recovered>,
}

impl Parked<'static> {
    /// Reads the file in a take's folder, and looks whether all is there that it needs; else what is wrong, in words.
    pub fn read(dir: &Path) -> Result<std::result::Result<Parked<'static>, String>> {
        let bytes = disk::read(&dir.join(layout::WAITING))?;
        let parsed = serde_json::from_slice(&bytes).map_err(|e| e.to_string());
        Ok(parsed.and_then(|parked: Parked<'static>| parked.check(dir).map(|()| parked)))
    }

    fn check(&self, dir: &Path) -> std::result::Result<(), String> {
        let Parked { version, report, cameras, rows, .. } = self;
        if *version != VERSION {
            return Err(format!("format version {version}, known is {VERSION}"));
        }
        if rows.is_empty() || rows.len() as u64 != report.rows {
            return Err(format!("{} rows of {}", rows.len(), report.rows));
        }
        if report.cameras.len() != cameras.len() || rows.iter().any(|row| row.cameras.len() != cameras.len()) {
            return Err(format!("rows that have not {} cameras", cameras.len()));
        }
        match cameras.iter().map(|key| layout::frames(key)).find(|file| !dir.join(file).is_file()) {
            Some(file) => Err(format!("there is no `{file}`")),
            None => Ok(()),
        }
    }

    /// The take's facts and its rows, with the cameras in the order of `spec`, which has the same ones.
    pub fn ordered(self, spec: &DatasetSpec, dir: &Path) -> (WaitingTake, Vec<Row>) {
        let (mut report, mut rows) = (self.report.into_owned(), self.rows.into_owned());
        let places = spec.cameras.iter().filter_map(|camera| self.cameras.iter().position(|key| *key == camera.key));
        let places: Vec<usize> = places.collect();
        report.cameras = places.iter().map(|&i| report.cameras[i].clone()).collect();
        for row in &mut rows {
            row.cameras = places.iter().map(|&i| row.cameras[i]).collect();
        }
        (WaitingTake { task: self.task.into_owned(), report, dir: dir.to_owned() }, rows)
    }
}

impl Parked<'_> {
    /// The number of the take.
    pub fn take(&self) -> u64 {
        self.report.take
    }

    /// What the data set was to be.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// In which way it was recorded differently from `spec`.
    pub fn differences(&self, spec: &DatasetSpec) -> Vec<Difference> {
        self.info.differences(spec)
    }
}

/// Refuses a take that was recorded with another set-up.
pub fn refuse_differences(dir: &Path, parked: &Parked<'_>, spec: &DatasetSpec) -> Result<()> {
    let differences = parked.differences(spec);
    if differences.is_empty() { Ok(()) } else { Err(DatasetError::WaitingDiffers { dir: dir.to_owned(), differences }) }
}

/// Removes a take's folder. It is renamed first, durably: a crash in between must not leave half a take that is taken for
/// one that was recorded, or waits.
pub fn remove(dir: &Path) -> Result<()> {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let removed = dir.with_file_name(format!("{}{name}", layout::REMOVED_PREFIX));
    if removed.exists() {
        disk::remove_dir_all(&removed)?;
    }
    disk::rename(dir, &removed)?;
    dir.parent().map_or(Ok(()), disk::sync)?;
    disk::remove_dir_all(&removed)
}

impl EpisodeWriter {
    /// Where the frames of a camera are to wait ([`crate::spill::Spill::durable`]): the folder is there, the file need not
    /// be. They are made durable along with the videos ([`EpisodeWriter::sync`]).
    pub fn frames_file(&self, camera: usize) -> PathBuf {
        self.dir.join(layout::frames(self.spec.cameras.get(camera).map_or("", |camera| &camera.key)))
    }

    /// Makes the take one that waits to be encoded: once this has returned, it survives the end of the program and the
    /// loss of power. All its rows and frames must have been pushed; the videos need not be whole. The writer goes on as it
    /// is, so that the take can be encoded by this run as well.
    pub fn park(&self, facts: &WaitingTake) -> Result<()> {
        let (take, rows) = (self.take, self.rows());
        let refuse = |expected, found| Err(DatasetError::Take { take, expected, found });
        if (facts.report.take, facts.report.rows) != (take, rows) || rows == 0 {
            let found = format!("take {} with {} of {rows} rows", facts.report.take, facts.report.rows);
            return refuse("a report of this take and all its rows", found);
        }
        if facts.report.cameras.len() != self.spec.cameras.len() {
            let found = format!("{} of {}", facts.report.cameras.len(), self.spec.cameras.len());
            return refuse("a report of every camera", found);
        }
        let frames: Vec<PathBuf> = (0..self.spec.cameras.len()).map(|camera| self.frames_file(camera)).collect();
        disk::sync_all(&frames)?;
        let parked = Parked {
            version: VERSION,
            task: Cow::Borrowed(&facts.task),
            report: Cow::Borrowed(&facts.report),
            info: Info::new(&self.spec),
            cameras: self.spec.cameras.iter().map(|camera| camera.key.clone()).collect(),
            rows: Cow::Borrowed(&self.rows),
            recovered: self.recovered.clone(),
        };
        let bytes = serde_json::to_vec(&parked).map_err(DatasetError::encode(layout::WAITING))?;
        disk::write_durably(&self.dir.join(layout::WAITING), &bytes)
    }

    /// Undoes [`EpisodeWriter::park`]: the take does not wait any more. Its folder stays, and the next start makes of it
    /// what can be made. For one that cannot be encoded.
    pub fn give_up(self) -> Result<()> {
        disk::remove_durably(&self.dir.join(layout::WAITING))
    }

    /// Opens a waiting take again: with its rows, with empty videos.
    pub(super) fn reopen(spec: Arc<DatasetSpec>, waiting: &WaitingTake) -> Result<EpisodeWriter> {
        let dir = waiting.dir.clone();
        let path = dir.join(layout::WAITING);
        let invalid = |found| DatasetError::Invalid {
            path,
            expected: "a take that waits to be encoded".into(),
            found,
            remedy: "move the folder away: it cannot become an episode",
        };
        let parked = Parked::read(&dir)?.map_err(invalid)?;
        refuse_differences(&dir, &parked, &spec)?;
        let recovered = parked.recovered.clone();
        let (facts, rows) = parked.ordered(&spec, &dir);
        let videos = EpisodeWriter::videos(&dir, &spec)?;
        let mut writer = EpisodeWriter::restored(spec, facts.report.take, dir, videos);
        writer.recovered = recovered;
        rows.into_iter().try_for_each(|row| writer.push_row(row))?;
        Ok(writer)
    }
}
