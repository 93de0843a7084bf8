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
mod videos;

pub use report::{Count, EpisodeReport, Finding, Report};
pub use rules::Severity;

use crate::dataset::stats::FeatureStats;
use crate::dataset::{DatasetError, layout};
use decode::Decoder;
use entries::{Entries, Entry};
use info::Facts;
use rows::{Expected, RowStream, Run};
use snapshot::Snapshot;
use statistics::Read;
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
            let is_table = |file: &&String| file.ends_with(".parquet") && file[series.len() + 1..].matches('/').count() == 1;
            let (tables, others): (Vec<_>, Vec<_>) = inside.partition(is_table);
            (tables.into_iter().cloned().collect(), others)
        };
        let (data, mut others) = tables(layout::DATA);
        let (entries, more) = tables(layout::EPISODES);
        others.extend(more);
        for file in others {
            self.report.add(&rules::STRAY_FILE, None, file, "tables such as chunk-000/file-000.parquet", "another file");
        }
        let tasks = entries::tasks(self.root, self.facts, !saving.is_empty(), self.report);
        let mut cameras: Vec<Parts> = self.facts.videos().map(|_| Parts::new()).collect();
        let kept = self.tables(data, entries, tasks.as_deref(), &mut cameras);
        self.videos(&cameras);
        self.sidecars(&kept);
        if self.broken {
            self.report.notes.push("some episodes' entries could not be read: what belongs to them was not checked".into());
        }
        let lengths: Vec<u64> = kept.iter().map(|kept| kept.length).collect();
        quality::short(&lengths, self.facts.fps, self.report);
    }

    /// Entries and rows, side by side.
    fn tables(
        &mut self,
        data: VecDeque<String>,
        entry_files: VecDeque<String>,
        tasks: Option<&[String]>,
        cameras: &mut [Parts],
    ) -> Vec<Kept> {
        let facts = self.facts;
        // Tables that no entry names are read by LeRobot all the same.
        let mut unnamed: BTreeSet<String> = data.iter().cloned().collect();
        let mut entries = Entries::new(self.root, facts, entry_files);
        if self.facts.episodes != Some(0) && !self.snapshot.files.iter().any(|file| file.starts_with(layout::EPISODES)) {
            self.report.add(&rules::MISSING_FILE, None, layout::EPISODES, "tables of the episodes", "none");
            entries.broken = true;
        }
        let mut rows = RowStream::new(self.root, facts, data);
        let mut waiting: Option<Run> = rows.next_run(facts, self.report);
        let mut total: Vec<Option<FeatureStats>> = facts.features.iter().map(|_| None).collect();
        let mut complete: Vec<bool> = vec![true; facts.features.len()];
        let mut kept: Vec<Kept> = Vec::new();
        let mut next_row = 0;
        while let Some(entry) = entries.next(self.report) {
            let position = kept.len() as u64;
            if entry.index < position && !entries.broken {
                let expected = format!("each episode once, {position} next");
                let found = format!("episode {} again", entry.index);
                self.report.add(&rules::EPISODE_INDEX, Some(entry.index), entry.file, expected, found);
                continue;
            }
            self.report.per_episode.push(EpisodeReport {
                episode: position,
                length: entry.length,
                seconds: entry.length as f64 / f64::from(facts.fps),
                cameras: facts.videos().map(|(key, _)| (key.to_owned(), report::OK)).collect(),
                ..EpisodeReport::default()
            });
            let place = entry.file.clone();
            if entry.index != position && !entries.broken {
                let expected = format!("episode {position} next");
                self.report.add(&rules::EPISODE_INDEX, Some(position), &place, expected, format!("episode {}", entry.index));
            }
            let range = (next_row, next_row + entry.length);
            if (entry.from, entry.to) != range && !entries.broken {
                let expected = format!("rows {} to {}", range.0, range.1);
                let found = format!("{} to {}", entry.from, entry.to);
                self.report.add(&rules::DATASET_INDEX, Some(position), &place, expected, found);
            }
            let first_row = if entries.broken { entry.from } else { next_row };
            next_row = first_row.saturating_add(entry.length);
            if let Some(file) = &entry.data
                && !unnamed.remove(file)
                && !self.snapshot.files.contains(file)
            {
                self.report.add(&rules::MISSING_FILE, Some(position), file, "the episode's rows", "no such file");
            }
            for (parts, span) in cameras.iter_mut().zip(&entry.videos) {
                if let Some(span) = span {
                    let part = Part { episode: position, length: entry.length, from_s: span.from_s, to_s: span.to_s };
                    parts.entry(span.file.clone()).or_default().push(part);
                }
            }
            let run = self.matching(&entry, &mut waiting, &mut rows);
            let expected = Expected {
                episode: position,
                length: entry.length,
                first_row,
                fps: facts.fps,
                file: entry.data.as_deref(),
                tasks,
                entry_tasks: &entry.tasks,
            };
            if let Some(run) = &run {
                rows::check(run, &expected, &rows, self.report);
            } else if !entry.data.as_ref().is_some_and(|file| {
                rows.unreadable.contains(file) || !self.snapshot.files.contains(file)
            }) {
                let found = "none under its number";
                self.report.add(&rules::LENGTH, Some(position), &place, format!("{} rows", entry.length), found);
            }
            self.statistics(position, &entry, run.as_ref().zip(Some(&rows)));
            for (i, read) in entry.stats.iter().enumerate() {
                match read {
                    Some(Read { stats, quantiles }) => {
                        complete[i] &= *quantiles;
                        total[i] = Some(total[i].take().map_or_else(|| stats.clone(), |sum| sum.merged(stats)));
                    }
                    None => complete[i] = false,
                }
            }
            kept.push(Kept { length: entry.length, tasks: entry.tasks });
        }
        while let Some(run) = waiting.take() {
            if !unnamed.contains(&run.file) && !entries.broken {
                let found = format!("{} rows of episode {}", run.rows, run.episode);
                self.report.add(&rules::LENGTH, None, &run.file, "rows of the episodes that have an entry", found);
            }
            waiting = rows.next_run(facts, self.report);
        }
        if !entries.broken {
            for file in unnamed {
                self.report.add(&rules::STRAY_TABLE, None, file, "tables that an episode's entry names", "one that none does");
            }
        }
        self.totals(&kept, next_row, entries.broken);
        self.broken = entries.broken;
        self.data_set_statistics(&total, &complete, entries.broken);
        (self.report.episodes, self.report.frames) = (kept.len() as u64, next_row);
        kept
    }

    /// The rows of an entry's episode; what comes in front of them belongs to no entry.
    fn matching(&mut self, entry: &Entry, waiting: &mut Option<Run>, rows: &mut RowStream) -> Option<Run> {
        let number = entry.index as f64;
        while waiting.as_ref().is_some_and(|run| run.episode < number || run.episode.is_nan()) {
            if let Some(run) = waiting.take()
                && entry.data.as_ref().is_some_and(|file| *file >= run.file)
            {
                let found = format!("{} rows of episode {}", run.rows, run.episode);
                self.report.add(&rules::LENGTH, Some(entry.index), &run.file, "each episode's rows once, in order", found);
            }
            *waiting = rows.next_run(self.facts, self.report);
        }
        let run = waiting.take_if(|run| run.episode == number)?;
        *waiting = rows.next_run(self.facts, self.report);
        Some(run)
    }

    /// An episode's statistics against its rows.
    fn statistics(&mut self, episode: u64, entry: &Entry, run: Option<(&Run, &RowStream)>) {
        let facts = self.facts;
        let mut computed = Vec::new();
        for (i, (feature, read)) in facts.features.iter().zip(&entry.stats).enumerate() {
            let place = format!("{} stats/{}", entry.file, feature.key);
            let from_rows = run.and_then(|(run, rows)| {
                let at = rows.columns.iter().position(|column| column.key == feature.key)?;
                rows::statistics(run, at, feature)
            });
            if let Some(stats) = &from_rows {
                computed.push((i, stats.clone()));
            }
            let Some(Read { stats, quantiles }) = read else { continue };
            let number = Some(episode);
            if !quantiles {
                self.report.add(&rules::QUANTILES, number, &place, "quantiles q01 to q99", "none");
            }
            let colours = feature.is_camera() && !matches!(&feature.kind, info::Kind::Video(video) if video.depth);
            if let Some((expected, found)) = statistics::implausible(stats, colours) {
                self.report.add(&rules::STATS, number, &place, expected, found);
            } else if let Some(expected) = from_rows {
                self.compare(number, &place, &expected, stats, true, &feature.key);
            } else if feature.is_camera() {
                if !(1..=entry.length.max(1)).contains(&stats.count) {
                    let expected = format!("statistics of 1 to {} pictures", entry.length);
                    self.report.add(&rules::STATS, number, &place, expected, stats.count.to_string());
                } else if colours {
                    quality::colours(episode, &feature.key, stats, &entry.file, self.report);
                }
            }
        }
        let place = entry.data.clone().unwrap_or_default();
        quality::motion(episode, entry.length, facts, &computed, &place, self.report);
    }

    fn compare(&mut self, episode: Option<u64>, place: &str, expected: &FeatureStats, found: &FeatureStats, anew: bool, key: &str) {
        for (quantile, name, expected, found) in statistics::differences(expected, found, anew) {
            let rule = match key {
                _ if quantile => &rules::QUANTILES,
                // They change when episodes are deleted or data sets merged.
                "index" | "episode_index" | "task_index" if name != "count" => &rules::STATS_INDEX,
                _ => &rules::STATS,
            };
            self.report.add(rule, episode, format!("{place}/{name}"), expected.to_string(), found.to_string());
        }
    }

    /// info.json's sums.
    fn totals(&mut self, kept: &[Kept], rows: u64, broken: bool) {
        if broken {
            return;
        }
        let found = [(self.facts.episodes, kept.len() as u64, "total_episodes"), (self.facts.frames, rows, "total_frames")];
        for (said, counted, key) in found {
            if let Some(said) = said.filter(|said| *said != counted) {
                let place = format!("{} {key}", layout::INFO);
                self.report.add(&rules::TOTALS, None, place, format!("{counted}, the entries' sum"), said.to_string());
            }
        }
    }

    /// stats.json against the sum of the episodes.
    fn data_set_statistics(&mut self, total: &[Option<FeatureStats>], complete: &[bool], broken: bool) {
        let place = layout::STATS;
        let stats = match &self.snapshot.stats {
            Ok(stats) => stats,
            Err(found) => {
                // An empty data set has none.
                if self.facts.episodes != Some(0) {
                    self.report.add(&rules::STATS_MISSING, None, place, "statistics of every feature", found);
                }
                return;
            }
        };
        // What a save in progress has put there counts one episode more.
        let newer = self.snapshot.saving.contains(place);
        for (i, feature) in self.facts.features.iter().enumerate() {
            let Some(expected) = &total[i] else { continue };
            let place = format!("{place} {}", feature.key);
            let found = match stats.get(&feature.key) {
                None => Err("none".to_owned()),
                Some(found) => statistics::of_json(found, expected.min.len(), feature.is_camera()),
            };
            match found {
                Err(found) => self.report.add(&rules::STATS_MISSING, None, place, "statistics as of the episodes", found),
                Ok(_) if broken || newer => {}
                Ok(mut found) => {
                    if !found.quantiles {
                        self.report.add(&rules::QUANTILES, None, &place, "quantiles q01 to q99", "none");
                    }
                    if !complete[i] {
                        found.stats.quantiles = Default::default();
                    }
                    self.compare(None, &place, expected, &found.stats, false, &feature.key);
                }
            }
        }
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
                let file = videos::File { path, key, video, fps: facts.fps, parts };
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
