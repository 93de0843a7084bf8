//! `recorder verify`: whether a data set is what LeRobot v3.0 says it must be, whoever recorded it, and whether what it
//! holds is worth publishing. It changes nothing, takes no lock, and works while a recorder adds to the data set.
//!
//! Tables are read from the first row to the last, one file at a time; of the videos their indexes, and with `deep`
//! every byte and every picture. What is held in memory is one episode's rows, and some hundred bytes an episode.

mod columns;
mod decode;
mod entries;
mod info;
mod quality;
mod report;
mod rows;
pub mod rules;
mod sidecar;
mod snapshot;
mod statistics;
mod sums;
mod tables;
mod videos;

pub use report::{Count, EpisodeReport, Finding, Report};
pub use rules::Severity;

use crate::dataset::{DatasetError, layout};
use decode::Decoder;
use info::Facts;
use snapshot::Snapshot;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use videos::Part;

/// LeRobot's, between a row's time and its frame's.
pub const TOLERANCE_S: f64 = 1e-4;

/// Options of `recorder verify`.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct Arguments {
    /// The data set's folder, which holds meta/, data/ and videos/
    pub root: PathBuf,
    /// Read every byte: checksums, and decode every frame (needs ffmpeg, but for MJPEG)
    #[arg(long)]
    pub deep: bool,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Looks at a whole data set.
///
/// # Errors
/// When there is no data set, or its folders cannot be listed. What is wrong with the data set is in the report.
pub fn verify(root: &Path, deep: bool) -> Result<Report, DatasetError> {
    let snapshot = Snapshot::take(root)?;
    let mut report = Report::new(root, deep);
    report.notes.clone_from(&snapshot.notes);
    match &snapshot.info {
        Err(found) => report.add(&rules::INFO, None, layout::INFO, "LeRobot's description of a v3.0 data set", found),
        Ok(info) => {
            if let Some(facts) = Facts::read(info, &mut report) {
                Verifier { root, deep, snapshot: &snapshot, facts: &facts, report: &mut report, broken: false }.run();
            }
        }
    }
    Ok(report)
}

struct Verifier<'a> {
    root: &'a Path,
    deep: bool,
    snapshot: &'a Snapshot,
    facts: &'a Facts,
    report: &'a mut Report,
    /// Entries of episodes are missing: what they name is not known.
    broken: bool,
}

/// What is kept of every episode.
struct Kept {
    length: u64,
    tasks: Vec<String>,
}

/// Parts of a camera's files, by path.
type Parts = BTreeMap<String, Vec<Part>>;

impl Verifier<'_> {
    fn run(mut self) {
        let Snapshot { files, saving, .. } = self.snapshot;
        // As LeRobot finds them: every table one folder down.
        let tables = |series: &str| -> (VecDeque<String>, Vec<&String>) {
            let inside = files.iter().filter(|file| file.starts_with(&format!("{series}/")) && !saving.contains(*file));
            let is_table =
                |file: &&String| file.ends_with(".parquet") && file[series.len() + 1..].matches('/').count() == 1;
            let (tables, others): (Vec<_>, Vec<_>) = inside.partition(is_table);
            (tables.into_iter().cloned().collect(), others)
        };
        let (data, mut others) = tables(layout::DATA);
        let (entries, more) = tables(layout::EPISODES);
        others.extend(more);
        for file in others {
            self.report.add(
                &rules::STRAY_FILE,
                None,
                file,
                "tables such as chunk-000/file-000.parquet",
                "another file",
            );
        }
        let tasks = entries::tasks(self.snapshot, self.facts, self.report);
        let mut cameras: Vec<Parts> = self.facts.videos().map(|_| Parts::new()).collect();
        let kept = self.tables(data, entries, tasks.as_deref(), &mut cameras);
        self.videos(&cameras);
        self.sidecars(&kept);
        if self.broken {
            self.report
                .notes
                .push("some episodes' entries could not be read: what belongs to them was not checked".into());
        }
        let lengths: Vec<u64> = kept.iter().map(|kept| kept.length).collect();
        quality::short(&lengths, self.facts.fps, self.report);
    }

    /// Every video file, and those that no episode uses.
    fn videos(&mut self, cameras: &[Parts]) {
        let facts = self.facts;
        let mut decoder = self.deep.then(Decoder::new);
        let mut unused: BTreeSet<&String> = self
            .snapshot
            .files
            .iter()
            .filter(|file| file.starts_with("videos/") && !self.snapshot.saving.contains(*file))
            .collect();
        for ((key, video), files) in facts.videos().zip(cameras) {
            let mut starts: BTreeMap<i64, &String> = BTreeMap::new();
            for (path, parts) in files {
                unused.remove(path);
                let file = videos::File { path, key, video, fps: facts.fps, parts, partial: self.broken };
                let Some(checked) = videos::check(self.root, &file, self.report) else { continue };
                starts.entry((checked.decode_start_s * 1e6).round() as i64).or_insert(path);
                if let Some(decoder) = decoder.as_mut().filter(|_| checked.sound) {
                    decoder.check(self.root, &file, self.report);
                }
            }
            let starts: Vec<(i64, &String)> = starts.into_iter().collect();
            if let [(first, path), .., (last, other)] = starts[..] {
                let seconds = |micros: i64| micros as f64 / 1e6;
                let expected = format!("decoding to start at {:.4} s in all files, as in {path}", seconds(first));
                self.report.add(&rules::DECODE_START, None, other, expected, format!("{:.4} s", seconds(last)));
            }
        }
        for file in unused.into_iter().filter(|_| !self.broken) {
            self.report.add(&rules::STRAY_FILE, None, file, "videos that an episode uses", "one that none does");
        }
        if let Some(decoder) = decoder {
            decoder.tell(self.report);
        }
    }

    /// What the recorder keeps beside the data set.
    fn sidecars(&mut self, kept: &[Kept]) {
        for (index, Kept { length, tasks }) in (0u64..).zip(kept) {
            let episode = sidecar::Episode { index, length: *length, tasks };
            let sidecar = sidecar::check(self.root, self.snapshot, self.facts, &episode, self.deep, self.report);
            let place = crate::dataset::checksums::summary_path(index).display().to_string();
            quality::account(index, *length, self.facts, &sidecar, &place, self.report);
        }
    }
}
