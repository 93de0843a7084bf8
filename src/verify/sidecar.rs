//! What the recorder keeps beside a data set, in `recorder/`: summaries, rows, checksums.

use super::columns;
use super::info::Facts;
use super::report::Report;
use super::rules;
use super::snapshot::{Snapshot, json, read_limited};
use crate::dataset::checksums::{FileSum, summary_path};
use crate::dataset::layout::{self, FileIndex};
use crate::dataset::reader::TableReader;
use crate::dataset::{EpisodeSummary, Spread};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

/// What is held against an episode's sidecar.
pub struct Episode<'a> {
    pub index: u64,
    pub length: u64,
    pub tasks: &'a [String],
}

/// What the rows of the sidecar say of quality.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowFacts {
    /// By camera's feature: the longest run of rows that show one captured picture (rows, first of them), and late rows.
    pub cameras: BTreeMap<String, (u64, u64, u64)>,
    /// Rows that use the arm's state, or action, of the row before.
    pub reused: Option<(u64, u64)>,
}

/// What an episode's sidecar holds, if it has one.
#[derive(Clone, Debug, Default)]
pub struct Sidecar {
    pub summary: Option<EpisodeSummary>,
    pub rows: Option<RowFacts>,
}

/// Reads and checks the sidecar of an episode; nothing in a data set that another program recorded.
pub fn check(root: &Path, snapshot: &Snapshot, facts: &Facts, episode: &Episode, deep: bool, report: &mut Report) -> Sidecar {
    let summary_file = summary_path(episode.index).display().to_string();
    let rows_file = FileIndex::nth(episode.index).path(layout::RECORDER_ROWS, "parquet").display().to_string();
    let there = |file: &String| snapshot.files.contains(file) && !snapshot.saving.contains(file);
    let (has_summary, has_rows) = (there(&summary_file), there(&rows_file));
    let number = Some(episode.index);
    for (has, other, file) in [(has_summary, has_rows, &summary_file), (has_rows, has_summary, &rows_file)] {
        if other && !has {
            report.add(&rules::MISSING_FILE, number, file, "the recorder's account of the episode", "no such file");
        }
    }
    let mut sidecar = Sidecar::default();
    if has_summary {
        sidecar.summary = summary(root, &summary_file, facts, episode, report);
    }
    let mut damaged = BTreeSet::new();
    for file in sidecar.summary.iter().flat_map(|summary| &summary.files).map(|sum| &sum.path).collect::<BTreeSet<_>>() {
        let entries = sidecar.summary.iter().flat_map(|summary| &summary.files).filter(|sum| sum.path == *file);
        if !checksum(root, file, &entries.collect::<Vec<_>>(), episode.index, deep, report) {
            damaged.insert(file.clone());
        }
    }
    if has_rows && !damaged.contains(&rows_file) {
        sidecar.rows = rows(root, &rows_file, facts, episode, report);
    }
    sidecar
}

fn summary(root: &Path, file: &str, facts: &Facts, episode: &Episode, report: &mut Report) -> Option<EpisodeSummary> {
    let number = Some(episode.index);
    let read = read_limited(&root.join(file)).and_then(|bytes| json(&bytes));
    let parsed = read.and_then(|value| serde_json::from_value::<EpisodeSummary>(value).map_err(|error| error.to_string()));
    let summary = match parsed {
        Ok(summary) => summary,
        Err(found) => {
            report.add(&rules::SUMMARY, number, file, "a summary of the episode", found);
            return None;
        }
    };
    let mut compare = |what: &str, expected: String, found: String| {
        if expected != found {
            report.add(&rules::SUMMARY, number, format!("{file} {what}"), expected, found);
        }
    };
    compare("episode_index", episode.index.to_string(), summary.episode_index.to_string());
    compare("length", episode.length.to_string(), summary.length.to_string());
    compare("fps", facts.fps.to_string(), summary.fps.to_string());
    if !episode.tasks.contains(&summary.task) {
        compare("task", format!("{:?}", episode.tasks), format!("{:?}", summary.task));
    }
    for (name, camera) in &summary.cameras {
        let counters = &camera.counters;
        let dropped = counters.dropped.values().fold(0, |sum: u64, n| sum.saturating_add(*n));
        let mut hold = |what: &str, expected: u64, found: u64| {
            if expected != found {
                let place = format!("{file} camera {name}");
                report.add(&rules::ACCOUNT, number, place, format!("{what} = {expected}"), found.to_string());
            }
        };
        hold("captured = written + dropped", counters.written.saturating_add(dropped), counters.captured);
        hold("rows = written + repeated", counters.written.saturating_add(counters.repeated), summary.length);
    }
    Some(summary)
}

/// Holds a file against its entries; it must match one of them. Every byte is read only if `deep`.
fn checksum(root: &Path, file: &str, entries: &[&FileSum], episode: u64, deep: bool, report: &mut Report) -> bool {
    let number = Some(episode);
    let inside = Path::new(file).components().all(|part| matches!(part, Component::Normal(_)));
    if !inside {
        let place = summary_path(episode).display().to_string();
        report.add(&rules::SUMMARY, number, place, "files inside the data set", file);
        return false;
    }
    let full = root.join(file);
    let Ok(metadata) = std::fs::metadata(&full) else {
        // A video that an entry names as well is missing there already.
        if !report.findings.iter().any(|finding| finding.rule == rules::MISSING_FILE.name && finding.place == file) {
            report.add(&rules::MISSING_FILE, number, file, "a file that the summary lists", "no such file");
        }
        return false;
    };
    let join = |words: Vec<String>| words.join(" or ");
    if !entries.iter().any(|entry| entry.bytes == metadata.len()) {
        let expected = join(entries.iter().map(|entry| entry.bytes.to_string()).collect());
        report.add(&rules::SIZE, number, file, format!("{expected} bytes, as they were written"), metadata.len().to_string());
        return false;
    }
    if !deep {
        return true;
    }
    match FileSum::of_file(&full, Path::new(file)) {
        Ok(found) if entries.iter().any(|entry| **entry == found) => true,
        Ok(found) => {
            let expected = join(entries.iter().map(|entry| format!("{:08x}", entry.crc32)).collect());
            report.add(&rules::CHECKSUM, number, file, format!("CRC-32 {expected}"), format!("{:08x}", found.crc32));
            false
        }
        Err(error) => {
            report.add(&rules::UNREADABLE, number, file, "a file that can be read", error.to_string());
            false
        }
    }
}

/// Reads `recorder/rows`.
fn rows(root: &Path, file: &str, facts: &Facts, episode: &Episode, report: &mut Report) -> Option<RowFacts> {
    let number = Some(episode.index);
    let cameras: Vec<&str> = facts.videos().map(|(key, _)| key).collect();
    let mut watched: Vec<(&str, Run)> = cameras.iter().map(|key| (*key, Run::default())).collect();
    let mut reused: Option<(u64, u64)> = None;
    let mut count = 0u64;
    let wanted = |name: &str| {
        name == "frame_index" || name.ends_with("/captured_mono_ns") || name.ends_with("/late") || name.ends_with("_reused")
    };
    let read = TableReader::open(&root.join(file), wanted, 8192).and_then(|reader| {
        for batch in reader {
            let batch = batch?;
            let column = |name: &str| -> Result<Option<Vec<f64>>, String> {
                let Some(column) = batch.column_by_name(name) else { return Ok(None) };
                let mut values = Vec::new();
                // Only rows without an arm have nulls.
                let known = arrow_array::Array::null_count(column) == 0;
                if known {
                    columns::numbers(&**column, &mut values).map_err(|found| format!("{found} in `{name}`"))?;
                }
                Ok(known.then_some(values))
            };
            let frames = column("frame_index")?.ok_or("no `frame_index`")?;
            if let Some(wrong) = frames.iter().zip(count..).find(|(found, k)| **found != *k as f64) {
                return Err(format!("frame_index {} in row {}", wrong.0, wrong.1));
            }
            for (key, run) in &mut watched {
                let captured = column(&format!("{key}/captured_mono_ns"))?.unwrap_or_default();
                captured.iter().zip(count..).for_each(|(stamp, row)| run.add(*stamp, row));
                run.late += column(&format!("{key}/late"))?.iter().flatten().filter(|flag| **flag != 0.0).count() as u64;
            }
            let flags = |name: &str| -> Result<Option<u64>, String> {
                Ok(column(name)?.map(|flags| flags.iter().filter(|flag| **flag != 0.0).count() as u64))
            };
            if let (Some(state), Some(action)) = (flags("arm/state_reused")?, flags("arm/action_reused")?) {
                let (before_state, before_action) = reused.unwrap_or_default();
                reused = Some((before_state + state, before_action + action));
            }
            count += batch.num_rows() as u64;
        }
        Ok(())
    });
    if let Err(found) = read {
        report.add(&rules::UNREADABLE, number, file, "the recorder's rows, counted from 0", found);
        return None;
    }
    if count != episode.length {
        report.add(&rules::SIDECAR_ROWS, number, file, format!("{} rows", episode.length), format!("{count} rows"));
        return None;
    }
    let cameras = watched.into_iter().map(|(key, run)| (key.to_owned(), (run.longest, run.longest_at, run.late)));
    Some(RowFacts { cameras: cameras.collect(), reused })
}

/// Rows that show the same capture.
#[derive(Default)]
struct Run {
    stamp: Option<f64>,
    from: u64,
    longest: u64,
    longest_at: u64,
    late: u64,
}

impl Run {
    fn add(&mut self, stamp: f64, row: u64) {
        if self.stamp != Some(stamp) {
            (self.stamp, self.from) = (Some(stamp), row);
        }
        let length = row + 1 - self.from;
        if length > self.longest {
            (self.longest, self.longest_at) = (length, self.from);
        }
    }
}

/// A spread in milliseconds.
pub fn milliseconds(spread: &Spread) -> String {
    let ms = |ns: u64| ns as f64 / 1e6;
    format!("p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms", ms(spread.p50), ms(spread.p99), ms(spread.max))
}
