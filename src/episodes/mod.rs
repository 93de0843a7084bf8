//! `recorder episodes`: the episodes of a data set, whoever recorded it: what there is, deleting, labels.
//!
//! Nothing is changed in place. Deleting writes every table that must change anew, beside the data set, and lists the files that
//! go; then all of it happens at once, by the means of a save (`dataset/commit.rs`): a crash leaves the data set
//! as it was, or as it is to be. Videos are never encoded anew: a file that no episode needs goes, one that others share
//! stays as it is, with frames in it that nobody asks for any more. Tasks stay, also those of no episode.

mod catalogue;
mod change;
mod labels;
mod list;
mod plan;
mod rewrite;
mod show;
mod totals;

#[cfg(test)]
mod tests;

use crate::dataset::claim::Claim;
use crate::dataset::edit::Edit;
use crate::dataset::{DatasetError, commit, disk, info, layout};
use catalogue::Catalogue;
use clap::{Args, Subcommand};
use plan::{Change, Plan};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// List, show, delete and label the episodes of a data set: any LeRobot v3.0 data set, recorded by whomever
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Arguments {
    /// The data set's folder
    pub root: PathBuf,
    #[command(subcommand)]
    pub action: Action,
}

/// What is to be done with them.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Action {
    /// All episodes: length, task, label, when they were recorded, what was lost
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Everything about one episode: its files, its tables, its summary
    Show {
        /// Its number, from 0
        #[arg(value_name = "N")]
        episode: u64,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete episodes; those after them move up, so that numbers have no gaps
    Delete {
        /// Their numbers, from 0, as they are now
        #[arg(value_name = "N", required = true)]
        episodes: Vec<u64>,
        /// Say what would be done, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Say how an episode went
    Label {
        /// Its number, from 0
        #[arg(value_name = "N")]
        episode: u64,
        /// `success`, `failure`, or words
        #[arg(value_name = "LABEL", required_unless_present = "clear", conflicts_with = "clear")]
        label: Option<String>,
        /// Take the label away
        #[arg(long)]
        clear: bool,
    },
    /// Put the labels into the data set as the feature `success`: 1 success, 0 failure, -1 neither
    ExportLabels,
}

/// Why it cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum EpisodesError {
    /// What was asked for is not possible.
    #[error("{0}")]
    Usage(String),
    /// There is no data set.
    #[error(transparent)]
    NoDataset(DatasetError),
    /// A file cannot be read or written, or is not as it must be. The data set is as it was.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// A change failed after its point of no return.
    #[error(
        "{0}; the change is made, and is completed by the next `recorder episodes … delete`, or by the next recording there"
    )]
    Interrupted(DatasetError),
}

impl EpisodesError {
    /// The program's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            EpisodesError::Usage(_) => 2,
            EpisodesError::NoDataset(_) => 4,
            EpisodesError::Dataset(_) | EpisodesError::Interrupted(_) => 1,
        }
    }
}

/// Does what is asked for; what is to be printed.
pub fn run(arguments: &Arguments) -> Result<String, EpisodesError> {
    let root = arguments.root.as_path();
    match &arguments.action {
        Action::List { json } => list::list(root, *json),
        Action::Show { episode, json } => show::show(root, *episode, *json),
        Action::Delete { episodes, dry_run } => delete(root, &episodes.iter().copied().collect(), *dry_run),
        Action::Label { episode, label, .. } => label_episode(root, *episode, label.as_deref()),
        Action::ExportLabels => export_labels(root),
    }
}

/// Deletes episodes by number.
fn delete(root: &Path, numbers: &BTreeSet<u64>, dry_run: bool) -> Result<String, EpisodesError> {
    let (_open, mut text) =
        if dry_run { (None, String::new()) } else { open(root).map(|(open, text)| (Some(open), text))? };
    let catalogue = Catalogue::read(root)?;
    for number in numbers {
        catalogue.episode(*number)?;
    }
    catalogue.require_whole()?;
    if numbers.len() == catalogue.episodes.len() {
        return Err(EpisodesError::Usage(format!(
            "delete: expected at least one episode to stay, found all {} named: LeRobot cannot load a data set without any; \
             remove the folder {} instead",
            numbers.len(),
            root.display()
        )));
    }
    let change = Change::delete(&catalogue, numbers);
    let plan = change.plan(&catalogue);
    let (left, rows) = change.totals(&catalogue);
    if dry_run {
        describe(&mut text, &catalogue, numbers, &plan);
        let _ = writeln!(text, "nothing was changed: {}, {rows} rows would be left", episodes(left));
        return Ok(text);
    }
    let (edit, notes) = change::stage(&catalogue, &change, &plan, &labels::read(root)?)?;
    finish(edit, &mut text, notes)?;
    let _ = writeln!(text, "{}: {}; {}, {rows} rows are left", root.display(), change.what, episodes(left));
    Ok(text)
}

fn episodes(n: u64) -> String {
    if n == 1 { "1 episode".into() } else { format!("{n} episodes") }
}

/// What a deletion comes to, for `--dry-run`.
fn describe(text: &mut String, catalogue: &Catalogue, numbers: &BTreeSet<u64>, plan: &Plan) {
    for episode in catalogue.episodes.iter().filter(|episode| numbers.contains(&episode.index)) {
        let (index, length) = (episode.index, episode.length);
        let _ = writeln!(
            text,
            "episode {index}: {length} rows, {:.2} s, {}",
            catalogue.seconds(episode),
            episode.tasks.join(", ")
        );
    }
    let bytes: u64 =
        plan.removed.iter().filter_map(|path| catalogue.root.join(path).metadata().ok()).map(|m| m.len()).sum();
    let (data, tables) = (plan.data.len(), plan.tables.len());
    let _ = writeln!(
        text,
        "{} files would go ({:.1} MB), {data} tables of rows and {tables} of episodes be written anew",
        plan.removed.len(),
        bytes as f64 / 1e6
    );
    for video in &plan.kept_videos {
        let _ = writeln!(text, "{} would stay as it is: other episodes are in it", video.display());
    }
}

/// Labels an episode, or takes its label away.
fn label_episode(root: &Path, number: u64, label: Option<&str>) -> Result<String, EpisodesError> {
    if let Some(label) = label {
        labels::require(label)?;
    }
    let (_open, mut text) = open(root)?;
    let catalogue = Catalogue::read(root)?;
    catalogue.episode(number)?;
    let mut all = labels::read(root)?;
    let before = match label {
        Some(label) => all.insert(number, label.to_owned()),
        None => all.remove(&number),
    };
    labels::write(root, &all)?;
    let (now, before) = (label.unwrap_or("no label"), before.as_deref().unwrap_or("no label"));
    let _ = writeln!(text, "episode {number}: {now} (before: {before})");
    if catalogue.info["features"].get(info::SUCCESS).is_some() {
        let _ = writeln!(text, "the feature `{}` is as it was: `export-labels` brings it up to date", info::SUCCESS);
    }
    Ok(text)
}

/// Puts the labels into a column.
fn export_labels(root: &Path) -> Result<String, EpisodesError> {
    let (_open, mut text) = open(root)?;
    let catalogue = Catalogue::read(root)?;
    catalogue.require_whole()?;
    match catalogue.info["features"].get(info::SUCCESS) {
        Some(feature) if *feature != info::success_feature() => {
            let path = root.join(layout::INFO);
            let expected = format!("no feature `{}`, or one of this program's", info::SUCCESS);
            return Err(damaged(&path, &expected, feature.to_string()).into());
        }
        _ => {}
    }
    if catalogue.episodes.is_empty() {
        return Err(EpisodesError::Usage(format!("export-labels: {} has no episodes", root.display())));
    }
    let labels = labels::read(root)?;
    let values: Vec<i64> = catalogue.episodes.iter().map(|episode| labels::value(labels.get(&episode.index))).collect();
    let count = |value: i64| values.iter().filter(|v| **v == value).count();
    let (success, failure, neither) = (count(1), count(0), count(-1));
    let change = Change::success(&catalogue, values);
    let (edit, notes) = change::stage(&catalogue, &change, &change.plan(&catalogue), &labels)?;
    finish(edit, &mut text, notes)?;
    let _ = writeln!(
        text,
        "{}: feature `{}`: {success} success (1), {failure} failure (0), {neither} neither (-1)",
        root.display(),
        info::SUCCESS
    );
    Ok(text)
}

/// The right to change a data set that is there, once what an earlier run left is completed; what is to be said of that.
fn open(root: &Path) -> Result<(Claim, String), EpisodesError> {
    if !root.join(layout::INFO).is_file() && commit::find(root)?.is_empty() {
        // Says that there is none, before anything is touched.
        Catalogue::read(root)?;
    }
    let claim = Claim::new(root)?;
    let mut text = String::new();
    for line in commit::complete_saves(root)?.describe() {
        let _ = writeln!(text, "{line}");
    }
    Ok((claim, text))
}

fn finish(edit: Edit, text: &mut String, notes: Vec<String>) -> Result<(), EpisodesError> {
    edit.commit()?;
    for note in notes {
        let _ = writeln!(text, "{note}");
    }
    Ok(())
}

/// What is to be said before a data set's content is shown: an interrupted change is not completed by looking.
fn cautions(catalogue: &Catalogue) -> Vec<String> {
    let root = &catalogue.root;
    let sealed =
        |found: Vec<(PathBuf, commit::Left)>| found.iter().any(|(_, left)| matches!(left, commit::Left::Sealed(_)));
    let mut lines = Vec::new();
    if commit::find(root).is_ok_and(sealed) {
        lines.push("a save or a change was interrupted, or is under way: what follows may be half of each".to_string());
    }
    lines.extend(catalogue.require_whole().err().map(|error| error.to_string()));
    lines
}

fn damaged(path: &Path, expected: &str, found: String) -> DatasetError {
    let remedy = "restore the file from a copy; `recorder verify` says what else is wrong";
    DatasetError::Invalid { path: path.to_owned(), expected: expected.into(), found, remedy }
}

/// The recorder's summary of an episode, as it is; null where there is none.
fn summary(root: &Path, index: u64) -> Result<serde_json::Value, DatasetError> {
    let path = root.join(layout::FileIndex::nth(index).path(layout::RECORDER_EPISODES, "json"));
    if !path.exists() {
        return Ok(serde_json::Value::Null);
    }
    serde_json::from_slice(&disk::read(&path)?)
        .map_err(|error| damaged(&path, "an episode's summary", error.to_string()))
}
