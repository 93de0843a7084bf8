//! The rows of the data tables, episode by episode, in LeRobot's order: all tables of `data/`, sorted by name.

use super::columns::{self, Fit};
use super::info::{Facts, Feature, Kind};
use super::report::Report;
use super::rules;
use crate::dataset::reader::TableReader;
use crate::dataset::stats::FeatureStats;
use arrow_array::RecordBatch;
use std::collections::{BTreeSet, VecDeque};
use std::path::Path;

/// Rows that are decoded at once.
const BATCH_ROWS: usize = 4096;
/// Values of an episode that are held: 250 MB. The statistics of a longer one are not computed.
const MAX_VALUES: usize = 1 << 25;

/// Consecutive rows of one episode in one file.
#[derive(Debug, Default)]
pub struct Run {
    /// From the data set's root.
    pub file: String,
    pub episode: f64,
    pub rows: usize,
    /// By column of [`RowStream::columns`]: the values, row by row. None where the column cannot be used.
    pub values: Vec<Option<Vec<f64>>>,
    /// There are more values than are held.
    pub cut: bool,
}

/// Reads runs, file by file.
pub struct RowStream<'a> {
    root: &'a Path,
    pub columns: Vec<&'a Feature>,
    files: VecDeque<String>,
    file: String,
    reader: Option<TableReader>,
    /// Which columns of the file can be used.
    usable: Vec<bool>,
    batch: Option<Decoded>,
    /// Files that could not be read to their end: their episodes are not held against them.
    pub unreadable: BTreeSet<String>,
    pub rows: u64,
}

struct Decoded {
    values: Vec<Option<Vec<f64>>>,
    episodes: Vec<f64>,
    next: usize,
}

impl<'a> RowStream<'a> {
    /// `files` are the tables in their order.
    pub fn new(root: &'a Path, facts: &'a Facts, files: VecDeque<String>) -> RowStream<'a> {
        let columns = facts.columns().filter(|feature| matches!(feature.kind, Kind::Numbers(_))).collect();
        RowStream {
            root,
            columns,
            files,
            file: String::new(),
            reader: None,
            usable: Vec::new(),
            batch: None,
            unreadable: BTreeSet::new(),
            rows: 0,
        }
    }

    /// The values of a counting column, such as `index`.
    pub fn column<'r>(&self, run: &'r Run, key: &str) -> Option<&'r [f64]> {
        let at = self.columns.iter().position(|feature| feature.key == key)?;
        run.values.get(at)?.as_deref()
    }

    /// The next run; none behind the last.
    pub fn next_run(&mut self, facts: &Facts, report: &mut Report) -> Option<Run> {
        let mut run: Option<Run> = None;
        loop {
            if self.batch.is_none() && !self.next_batch(run.is_some(), facts, report) {
                return run;
            }
            let Some(batch) = &mut self.batch else { continue };
            let from = batch.next;
            let Some(&episode) = batch.episodes.get(from) else {
                self.batch = None;
                continue;
            };
            if run.as_ref().is_some_and(|run| run.episode.to_bits() != episode.to_bits()) {
                return run;
            }
            let count = batch.episodes[from..].iter().take_while(|other| other.to_bits() == episode.to_bits()).count();
            let run = run.get_or_insert_with(|| Run {
                file: self.file.clone(),
                episode,
                values: self.usable.iter().map(|usable| usable.then(Vec::new)).collect(),
                ..Run::default()
            });
            let held: usize = run.values.iter().flatten().map(Vec::len).sum();
            run.cut |= held > MAX_VALUES;
            if !run.cut {
                for ((into, feature), values) in run.values.iter_mut().zip(&self.columns).zip(&batch.values) {
                    match (into, values) {
                        (Some(into), Some(values)) => {
                            into.extend(values.iter().skip(from * feature.values).take(count * feature.values));
                        }
                        (into, _) => *into = None,
                    }
                }
            }
            run.rows += count;
            self.rows += count as u64;
            batch.next += count;
        }
    }

    /// Decodes the next rows; false at the end of the file that a run is in, and behind the last file.
    fn next_batch(&mut self, in_file: bool, facts: &Facts, report: &mut Report) -> bool {
        loop {
            match self.reader.as_mut().and_then(Iterator::next) {
                Some(Ok(batch)) => {
                    self.decode(&batch, report);
                    return true;
                }
                Some(Err(words)) => {
                    self.reader = None;
                    self.refuse(words, report);
                }
                None => self.reader = None,
            }
            if in_file {
                return false;
            }
            let Some(file) = self.files.pop_front() else { return false };
            self.file = file;
            // Pictures inside the table and texts are not looked at.
            let wanted: BTreeSet<&str> = self.columns.iter().map(|feature| feature.key.as_str()).collect();
            match TableReader::open(&self.root.join(&self.file), |name| wanted.contains(name), BATCH_ROWS) {
                Ok(reader) if self.accept(&reader, facts, report) => self.reader = Some(reader),
                Ok(_) => {
                    self.unreadable.insert(self.file.clone());
                }
                Err(words) => self.refuse(words, report),
            }
        }
    }

    fn refuse(&mut self, words: String, report: &mut Report) {
        report.add(&rules::UNREADABLE, None, self.file.clone(), "a table that can be read", words);
        self.unreadable.insert(self.file.clone());
    }

    /// Checks a file's columns and their types; false when its rows cannot even be told apart.
    fn accept(&mut self, reader: &TableReader, facts: &Facts, report: &mut Report) -> bool {
        let schema = reader.schema();
        let expected: Vec<&str> = facts.columns().map(|feature| feature.key.as_str()).collect();
        let found: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let without = |from: &[&str], taken: &[&str]| -> Vec<String> {
            from.iter().filter(|name| !taken.contains(name)).map(|name| format!("`{name}`")).collect()
        };
        let (missing, foreign) = (without(&expected, &found), without(&found, &expected));
        if !missing.is_empty() || !foreign.is_empty() {
            let mut words = Vec::new();
            for (names, what) in [(missing, "no"), (foreign, "also")] {
                if !names.is_empty() {
                    words.push(format!("{what} {}", names.join(", ")));
                }
            }
            report.add(
                &rules::COLUMNS,
                None,
                self.file.clone(),
                "the columns of info.json's features",
                words.join("; "),
            );
        }
        self.usable = self.columns.iter().map(|_| false).collect();
        for (usable, feature) in self.usable.iter_mut().zip(&self.columns) {
            let Ok(field) = schema.field_with_name(&feature.key) else { continue };
            let place = || format!("{} {}", self.file, feature.key);
            match columns::fits(feature, field.data_type()) {
                Fit::Right => *usable = true,
                Fit::List => {
                    *usable = true;
                    let expected = format!("a list of fixed size, {}", feature.values);
                    report.add(&rules::LIST_COLUMN, None, place(), expected, columns::name(field.data_type()));
                }
                Fit::Wrong(expected) => {
                    report.add(&rules::COLUMN_TYPE, None, place(), expected, columns::name(field.data_type()));
                }
            }
        }
        let episode = self.columns.iter().position(|feature| feature.key == "episode_index");
        episode.is_some_and(|at| self.usable[at])
    }

    fn decode(&mut self, batch: &RecordBatch, report: &mut Report) {
        let rows = batch.num_rows();
        let mut values = Vec::new();
        for (feature, usable) in self.columns.iter().zip(&mut self.usable) {
            let mut numbers = Vec::new();
            let column = batch.column_by_name(&feature.key).filter(|_| *usable);
            let read = column.map_or(Err(String::new()), |column| {
                columns::numbers(&**column, &mut numbers)?;
                let even = columns::lists_are_even(&**column, feature.values) && numbers.len() == rows * feature.values;
                if even { Ok(()) } else { Err(format!("{} values in {rows} rows", numbers.len())) }
            });
            if let Err(words) = &read
                && *usable
            {
                let (rule, expected) = match words.as_str() {
                    "a null" => (&rules::NULLS, "a value in every row".to_owned()),
                    _ => (&rules::COLUMN_TYPE, format!("{} values in each row", feature.values)),
                };
                report.add(rule, None, format!("{} {}", self.file, feature.key), expected, words.clone());
                *usable = false;
            }
            values.push(read.ok().map(|()| numbers));
        }
        let at = self.columns.iter().position(|feature| feature.key == "episode_index");
        let Some(episodes) = at.and_then(|at| values[at].clone()) else {
            // Without it nothing can be said of any row.
            self.unreadable.insert(self.file.clone());
            self.reader = None;
            return;
        };
        self.batch = Some(Decoded { values, episodes, next: 0 });
    }
}

/// Where an episode should stand, as its entry says.
pub struct Expected<'a> {
    pub episode: u64,
    pub length: u64,
    /// The global index of its first row.
    pub first_row: u64,
    pub fps: u32,
    /// From the data set's root; none where the entry does not say so.
    pub file: Option<&'a str>,
    /// Tasks in words, if their table could be read.
    pub tasks: Option<&'a [String]>,
    /// Those that the entry names.
    pub entry_tasks: &'a [String],
}

/// Checks the rows of one episode.
pub fn check(run: &Run, expected: &Expected, stream: &RowStream, report: &mut Report) {
    let episode = Some(expected.episode);
    let place = |column: &str| format!("{} {column}", run.file);
    if let Some(file) = expected.file
        && file != run.file
    {
        let found = format!("its rows in {}", run.file);
        report.add(
            &rules::ENTRY_PLACE,
            episode,
            format!("entry of episode {}", expected.episode),
            format!("its rows in {file}"),
            found,
        );
    }
    if run.rows as u64 != expected.length {
        report.add(
            &rules::LENGTH,
            episode,
            run.file.clone(),
            format!("{} rows, as its entry says", expected.length),
            format!("{} rows", run.rows),
        );
    }
    if run.cut {
        report.notes.push(format!(
            "episode {}: too long to be held in memory; its rows were not all checked",
            expected.episode
        ));
    }
    let counted = |key: &str, value: &dyn Fn(usize) -> f64| -> Option<(usize, f64, f64)> {
        let column = stream.column(run, key)?;
        let wrong = column.iter().enumerate().find(|(k, found)| **found != value(*k))?;
        Some((wrong.0, value(wrong.0), *wrong.1))
    };
    let say = |(row, expected, found): (usize, f64, f64)| (format!("{expected} in row {row}"), found.to_string());
    if let Some(wrong) = counted("frame_index", &|k| k as f64) {
        let (expected, found) = say(wrong);
        report.add(&rules::FRAME_INDEX, episode, place("frame_index"), expected, found);
    }
    if let Some(wrong) = counted("index", &|k| (expected.first_row + k as u64) as f64) {
        let (expected, found) = say(wrong);
        report.add(&rules::INDEX, episode, place("index"), expected, found);
    }
    let stamp = |k: usize| f64::from((k as f64 / f64::from(expected.fps)) as f32);
    if let Some(column) = stream.column(run, "timestamp") {
        let off = |(k, found): (usize, &f64)| (found - stamp(k)).abs();
        let worst =
            column.iter().enumerate().find(|(k, found)| off((*k, found)) > super::TOLERANCE_S || found.is_nan());
        if let Some((k, found)) = worst {
            report.add(
                &rules::TIMESTAMP,
                episode,
                place("timestamp"),
                format!("{:.6} in row {k}", stamp(k)),
                format!("{found:.6}"),
            );
        } else if let Some(wrong) = counted("timestamp", &stamp) {
            let (expected, found) = say(wrong);
            report.add(&rules::TIMESTAMP_ROUNDED, episode, place("timestamp"), expected, found);
        }
    }
    check_tasks(run, expected, stream, report);
    for (feature, values) in stream.columns.iter().zip(&run.values) {
        let wrong = values.iter().flatten().position(|value| !value.is_finite());
        if let (Some(at), Some(values)) = (wrong, values)
            && feature.key != "timestamp"
        {
            let row = at / feature.values.max(1);
            report.add(
                &rules::FINITE,
                episode,
                place(&feature.key),
                "finite values",
                format!("{} in row {row}", values[at]),
            );
        }
    }
}

fn check_tasks(run: &Run, expected: &Expected, stream: &RowStream, report: &mut Report) {
    let (Some(tasks), Some(column)) = (expected.tasks, stream.column(run, "task_index")) else { return };
    let place = format!("{} task_index", run.file);
    let mut used: Vec<f64> = column.to_vec();
    used.sort_unstable_by(f64::total_cmp);
    used.dedup();
    let known = |index: &f64| (*index >= 0.0).then(|| tasks.get(*index as usize)).flatten();
    if let Some(wrong) = used.iter().find(|index| known(index).is_none()) {
        let expected_text = format!("a number below {}, the tasks", tasks.len());
        return report.add(&rules::TASK, Some(expected.episode), place, expected_text, wrong.to_string());
    }
    let words: BTreeSet<&String> = used.iter().filter_map(known).collect();
    let entry: BTreeSet<&String> = expected.entry_tasks.iter().collect();
    if words != entry {
        report.add(
            &rules::TASK,
            Some(expected.episode),
            place,
            format!("the entry's tasks {entry:?}"),
            format!("{words:?}"),
        );
    }
}

/// The statistics of a feature in a run; none where it has no values.
pub fn statistics(run: &Run, at: usize, feature: &Feature) -> Option<FeatureStats> {
    let values = run.values.get(at)?.as_ref().filter(|values| !values.is_empty() && !run.cut)?;
    if values.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let n = feature.values.max(1);
    let series: Vec<Vec<f64>> = (0..n).map(|i| values.iter().skip(i).step_by(n).copied().collect()).collect();
    Some(FeatureStats::of_series(&series))
}
