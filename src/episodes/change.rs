//! Carrying a change out: every new file beside the data set, then all of it at once ([`Edit`]).

use super::catalogue::Catalogue;
use super::labels::{self, Labels};
use super::plan::{Change, NewPlace, Plan};
use super::rewrite::{self, flatten, integers, lists_of_one, rewrite, with_column};
use super::totals::{Totals, column};
use super::{EpisodesError, damaged};
use crate::dataset::checksums::{self, FileSum};
use crate::dataset::edit::{Edit, Failed};
use crate::dataset::layout::FileIndex;
use crate::dataset::stats::{FeatureStats, KEYS};
use crate::dataset::{DatasetError, disk, info, layout};
use arrow_array::{Array, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A change being staged.
struct Staging<'a> {
    catalogue: &'a Catalogue,
    change: &'a Change,
    edit: Edit,
    totals: Totals,
    /// New files by their place in the data set.
    new: HashMap<PathBuf, PathBuf>,
}

/// Stages a change; what else is to be said of it. Nothing of the data set is touched yet.
pub fn stage(
    catalogue: &Catalogue,
    change: &Change,
    plan: &Plan,
    labels: &Labels,
) -> Result<(Edit, Vec<String>), DatasetError> {
    let edit = Edit::begin(&catalogue.root, change.what.clone())?;
    let mut staging = Staging { catalogue, change, edit, totals: Totals::default(), new: HashMap::new() };
    for (path, episodes) in &plan.data {
        staging.data(path, episodes)?;
    }
    // In LeRobot's order, so that sums come out as they did when the episodes were recorded.
    let changed: HashMap<&Path, &[usize]> =
        plan.tables.iter().map(|(path, e)| (path.as_path(), e.as_slice())).collect();
    let same: HashSet<&Path> = plan.same_tables.iter().map(PathBuf::as_path).collect();
    for (path, _) in &catalogue.tables {
        match changed.get(path.as_path()) {
            Some(episodes) => staging.table(path, episodes)?,
            None if same.contains(path.as_path()) => staging.read_table(path)?,
            None => {}
        }
    }
    plan.removed.iter().for_each(|path| staging.edit.remove(path));
    staging.sidecars()?;
    staging.labels(labels)?;
    let notes = staging.meta()?;
    Ok((staging.edit, notes))
}

impl Staging<'_> {
    fn path(&self, path: &Path) -> PathBuf {
        self.catalogue.root.join(path)
    }

    fn begin(&mut self, target: &Path) -> PathBuf {
        let staged = self.edit.file(target);
        self.new.insert(target.to_owned(), staged.clone());
        staged
    }

    /// A table of rows, without those of deleted episodes; a row group for each episode, as LeRobot has it.
    fn data(&mut self, path: &Path, episodes: &[usize]) -> Result<(), DatasetError> {
        let (source, target) = (self.path(path), self.begin(path));
        let (catalogue, change) = (self.catalogue, self.change);
        let (mut at, mut row) = (0, 0);
        rewrite(&source, &target, change.success.as_ref().map(|_| info::SUCCESS), |batch| {
            let (mut pieces, mut start) = (Vec::new(), 0);
            while start < batch.num_rows() {
                let number = *episodes.get(at).ok_or("more rows than its episodes have")?;
                let episode = &catalogue.episodes[number];
                let length = (batch.num_rows() - start).min((episode.length - row) as usize);
                let piece = batch.slice(start, length);
                require_episode(&piece, episode.index)?;
                if let Some(place) = change.places[number] {
                    let first = place.first_row + row;
                    let ends = row + length as u64 == episode.length;
                    let mut piece = renumbered(piece, place.index, first)?;
                    if let Some(values) = &change.success {
                        let values = Int64Array::from_value(values[number], length);
                        piece = with_column(&piece, info::SUCCESS, Arc::new(values), None)?;
                    }
                    pieces.push((piece, ends));
                }
                (start, row) = (start + length, row + length as u64);
                if row == episode.length {
                    (at, row) = (at + 1, 0);
                }
            }
            Ok(pieces)
        })?;
        if at < episodes.len() {
            let number = self.catalogue.episodes[episodes[at]].index;
            let expected = format!("{} rows of episode {number}", self.catalogue.episodes[episodes[at]].length);
            return Err(damaged(&source, &expected, format!("{row} at its end")));
        }
        Ok(())
    }

    /// A table of episodes, without the deleted ones.
    fn table(&mut self, path: &Path, episodes: &[usize]) -> Result<(), DatasetError> {
        let (source, target) = (self.path(path), self.begin(path));
        let (catalogue, change, totals) = (self.catalogue, self.change, &mut self.totals);
        let mut at = 0;
        rewrite(&source, &target, None, |batch| {
            let mut pieces = Vec::new();
            for row in 0..batch.num_rows() {
                let number = *episodes.get(at).ok_or("more episodes than before")?;
                at += 1;
                if let Some(place) = change.places[number] {
                    let length = catalogue.episodes[number].length;
                    let mut piece = moved(batch.slice(row, 1), place, length)?;
                    if let Some(values) = &change.success {
                        piece = with_success(piece, values[number], length)?;
                    }
                    totals.add(&piece);
                    pieces.push((piece, false));
                }
            }
            Ok(pieces)
        })
    }

    /// A table of episodes that stays as it is.
    fn read_table(&mut self, path: &Path) -> Result<(), DatasetError> {
        let path = self.path(path);
        let what = "a table of episodes";
        for batch in rewrite::open(&path, what, |name| name.starts_with("stats/"))? {
            self.totals.add(&batch.map_err(|found| damaged(&path, what, found))?);
        }
        Ok(())
    }

    /// The recorder's own files, which are found by episode index.
    fn sidecars(&mut self) -> Result<(), DatasetError> {
        let mut by_new = vec![None; self.change.places.len()];
        for (old, place) in self.change.places.iter().enumerate() {
            if let Some(place) = place {
                by_new[place.index as usize] = Some(old as u64);
            }
        }
        let rows = |index| FileIndex::nth(index).path(layout::RECORDER_ROWS, "parquet");
        let summary = |index| FileIndex::nth(index).path(layout::RECORDER_EPISODES, "json");
        for (new, old) in by_new.into_iter().enumerate() {
            let new = new as u64;
            let there = |path: PathBuf| Some(path).filter(|path| self.catalogue.root.join(path).exists());
            match old.and_then(|old| there(rows(old))) {
                Some(_) if old == Some(new) => {}
                Some(path) => self.edit.link(&path, rows(new))?,
                None => there(rows(new)).into_iter().for_each(|path| self.edit.remove(path)),
            }
            match old.and_then(|old| there(summary(old)).map(|path| (old, path))) {
                Some((old, path)) => self.summary(&path, summary(new), new, (rows(old), rows(new)))?,
                None => there(summary(new)).into_iter().for_each(|path| self.edit.remove(path)),
            }
        }
        Ok(())
    }

    /// An episode's summary: its number, and the files that it names.
    fn summary(&mut self, from: &Path, to: PathBuf, index: u64, rows: (PathBuf, PathBuf)) -> Result<(), DatasetError> {
        let path = self.path(from);
        let before: Value = serde_json::from_slice(&disk::read(&path)?)
            .map_err(|error| damaged(&path, "an episode's summary", error.to_string()))?;
        let mut after = before.clone();
        after["episode_index"] = json!(index);
        let mut files = checksums::in_summary(&before);
        for file in &mut files {
            let named = PathBuf::from(&file.path);
            if let Some(staged) = self.new.get(&named) {
                *file = FileSum::of_file(staged, &named)?;
            } else if named == rows.0 {
                file.path = rows.1.display().to_string();
            }
        }
        if !files.is_empty() {
            checksums::set_in_summary(&mut after, &files);
        }
        if from == to && before == after {
            return Ok(());
        }
        self.edit.write(to, &info::to_json_bytes(&after, "summary")?)
    }

    fn labels(&mut self, before: &Labels) -> Result<(), DatasetError> {
        let moved = before.iter().filter_map(|(index, label)| {
            let place = usize::try_from(*index).ok().and_then(|index| self.change.places.get(index).copied().flatten());
            place.map(|place| (place.index, label.clone()))
        });
        let after: Labels = moved.collect();
        if after.is_empty() && !before.is_empty() {
            self.edit.remove(layout::LABELS);
        } else if after != *before {
            self.edit.write(layout::LABELS, &labels::to_bytes(&after)?)?;
        }
        Ok(())
    }

    /// stats.json and info.json; what is to be said of them.
    fn meta(&mut self) -> Result<Vec<String>, DatasetError> {
        let mut notes = Vec::new();
        let path = self.path(Path::new(layout::STATS));
        if path.exists() {
            let mut stats: Value = serde_json::from_slice(&disk::read(&path)?)
                .map_err(|error| damaged(&path, "statistics of every feature", error.to_string()))?;
            let kept = self.totals.put(&mut stats);
            if !kept.is_empty() {
                notes.push(format!(
                    "stats.json keeps its values of {}: the episodes' tables have none",
                    kept.join(", ")
                ));
            }
            self.edit.write(layout::STATS, &info::to_json_bytes(&stats, "stats.json")?)?;
        } else {
            notes.push("there is no meta/stats.json, and none was made".into());
        }
        let mut info = self.catalogue.info.clone();
        let (episodes, rows) = self.change.totals(self.catalogue);
        (info["total_episodes"], info["total_frames"]) = (json!(episodes), json!(rows));
        for (name, split) in info.get_mut("splits").and_then(Value::as_object_mut).into_iter().flatten() {
            match split.as_str().and_then(|bounds| self.change.split(bounds)) {
                Some(moved) => *split = json!(moved),
                None => notes.push(format!("info.json keeps its split `{name}`: {split} is not a range of episodes")),
            }
        }
        if self.change.success.is_some() {
            info["features"][info::SUCCESS] = info::success_feature();
        }
        self.edit.write(layout::INFO, &info::to_json_bytes(&info, "info.json")?)?;
        Ok(notes)
    }
}

fn require_episode(rows: &RecordBatch, episode: u64) -> Result<(), String> {
    let column = rows.column_by_name("episode_index").ok_or("no column `episode_index`")?;
    match flatten(column)?.into_iter().find(|value| *value != episode as f64) {
        Some(other) => Err(format!("a row of episode {other} where those of episode {episode} are expected")),
        None => Ok(()),
    }
}

/// Rows with the numbers of their new place.
fn renumbered(rows: RecordBatch, episode: u64, first: u64) -> Result<RecordBatch, String> {
    let n = rows.num_rows() as u64;
    let rows = with_column(&rows, "episode_index", integers((0..n).map(|_| episode)), None)?;
    with_column(&rows, "index", integers(first..first + n), None)
}

/// An episode's entry with the numbers of its new place, and their statistics.
fn moved(entry: RecordBatch, place: NewPlace, length: u64) -> Result<RecordBatch, String> {
    let mut entry = entry;
    let (from, to) = (place.first_row, place.first_row + length);
    for (name, value) in [("episode_index", place.index), ("dataset_from_index", from), ("dataset_to_index", to)] {
        entry = with_column(&entry, name, integers([value]), None)?;
    }
    let index: Vec<f64> = (from..to).map(|k| k as f64).collect();
    for (feature, values) in [("episode_index", vec![place.index as f64; index.len()]), ("index", index)] {
        entry = with_stats(entry, feature, &FeatureStats::of_series(&[values]), None)?;
    }
    Ok(entry)
}

/// An entry with the statistics of the feature `success`.
fn with_success(entry: RecordBatch, value: i64, length: u64) -> Result<RecordBatch, String> {
    let stats = FeatureStats::of_series(&[vec![value as f64; length as usize]]);
    with_stats(entry, info::SUCCESS, &stats, Some("meta/episodes/chunk_index"))
}

/// An entry with other statistics of a feature of one dimension. Those that it does not have are added in front of `before`,
/// if that is given.
fn with_stats(
    entry: RecordBatch,
    feature: &str,
    stats: &FeatureStats,
    before: Option<&str>,
) -> Result<RecordBatch, String> {
    let mut entry = entry;
    for (key, values) in KEYS.into_iter().zip(stats.columns()) {
        let name = column(feature, key);
        let value = values.map_or(stats.count as f64, |values| values[0]);
        let element = |of| DataType::List(Arc::new(Field::new("element", of, true)));
        let like = match entry.column_by_name(&name) {
            Some(column) => column.data_type().clone(),
            None if before.is_none() => continue,
            None => element(if key == "count" { DataType::Int64 } else { DataType::Float64 }),
        };
        entry = with_column(&entry, &name, lists_of_one(vec![value], &like)?, before)?;
    }
    Ok(entry)
}

impl From<Failed> for EpisodesError {
    fn from(failed: Failed) -> EpisodesError {
        match failed {
            Failed::Early(error) => EpisodesError::Dataset(error),
            Failed::Late(error) => EpisodesError::Interrupted(error),
        }
    }
}
