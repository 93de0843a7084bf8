//! The entries of episodes, `meta/episodes`, and the tasks' table.

use super::columns;
use super::info::{self, Facts};
use super::report::Report;
use super::rules;
use super::snapshot::Snapshot;
use super::statistics::{self, Read};
use crate::dataset::layout;
use crate::dataset::reader::TableReader;
use arrow_array::RecordBatch;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

/// Entries that are decoded at once; each has about a hundred columns of statistics.
const BATCH_ROWS: usize = 64;
/// Most entries; more are taken for damage: some hundred bytes of each are held.
const MAX_ENTRIES: u64 = 1 << 20;

/// What LeRobot is told of one episode.
#[derive(Debug, Default)]
pub struct Entry {
    /// From the data set's root.
    pub file: String,
    pub index: u64,
    pub length: u64,
    pub tasks: Vec<String>,
    /// The file of its rows.
    pub data: Option<String>,
    pub from: u64,
    pub to: u64,
    /// By camera with videos, in their order; none where the entry does not say.
    pub videos: Vec<Option<Span>>,
    /// By feature, in their order; none where there are no statistics that can be used.
    pub stats: Vec<Option<Read>>,
}

/// Where an episode's frames of one camera lie.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// From the data set's root.
    pub file: String,
    pub from_s: f64,
    pub to_s: f64,
}

/// Reads entries, file by file.
pub struct Entries<'a> {
    root: &'a Path,
    facts: &'a Facts,
    files: VecDeque<String>,
    file: String,
    reader: Option<TableReader>,
    batch: Option<(RecordBatch, usize)>,
    /// A file could not be read to its end: what is missing is not held against the data set.
    pub broken: bool,
    count: u64,
}

impl<'a> Entries<'a> {
    pub fn new(root: &'a Path, facts: &'a Facts, files: VecDeque<String>) -> Entries<'a> {
        Entries { root, facts, files, file: String::new(), reader: None, batch: None, broken: false, count: 0 }
    }

    /// The next entry; none behind the last.
    pub fn next(&mut self, report: &mut Report) -> Option<Entry> {
        loop {
            if let Some((batch, at)) = &mut self.batch {
                if *at < batch.num_rows() {
                    *at += 1;
                    self.count += 1;
                    if self.count > MAX_ENTRIES {
                        self.refuse(format!("more than {MAX_ENTRIES} entries"), report);
                        return None;
                    }
                    match entry(batch, *at - 1, &self.file, self.facts, report) {
                        Some(entry) => return Some(entry),
                        None => self.broken = true,
                    }
                    continue;
                }
                self.batch = None;
            }
            match self.reader.as_mut().and_then(Iterator::next) {
                Some(Ok(batch)) => {
                    self.batch = Some((batch, 0));
                    continue;
                }
                Some(Err(words)) => self.refuse(words, report),
                None => {}
            }
            self.reader = None;
            self.file = self.files.pop_front()?;
            match TableReader::open(&self.root.join(&self.file), |_| true, BATCH_ROWS) {
                Ok(reader) => self.reader = Some(reader),
                Err(words) => self.refuse(words, report),
            }
        }
    }

    fn refuse(&mut self, words: String, report: &mut Report) {
        report.add(&rules::UNREADABLE, None, self.file.clone(), "a table that can be read", words);
        self.broken = true;
    }
}

/// One row; none when it cannot be understood.
fn entry(batch: &RecordBatch, row: usize, file: &str, facts: &Facts, report: &mut Report) -> Option<Entry> {
    let place = |column: &str| format!("{file} row {row} {column}");
    let mut index = |column: &str, episode: Option<u64>| match columns::index(batch, column, row) {
        Ok(value) => Some(value),
        Err(found) => {
            report.add(&rules::COLUMNS, episode, place(column), "a whole number", found);
            None
        }
    };
    let number = index("episode_index", None)?;
    let episode = Some(number);
    let (length, from, to) =
        (index("length", episode)?, index("dataset_from_index", episode)?, index("dataset_to_index", episode)?);
    let data = Option::zip(index("data/chunk_index", episode), index("data/file_index", episode));
    let own = Option::zip(index("meta/episodes/chunk_index", episode), index("meta/episodes/file_index", episode));
    let mut entry = Entry {
        file: file.to_owned(),
        index: number,
        length,
        from,
        to,
        data: data.and_then(|place| info::file(&facts.data_path, "", place)),
        ..Entry::default()
    };
    if let Some((chunk, number)) = own {
        let said = format!("{}/chunk-{chunk:03}/file-{number:03}.parquet", layout::EPISODES);
        if said != file {
            report.add(&rules::ENTRY_PLACE, episode, place("meta/episodes"), file, said);
        }
    }
    match columns::texts(batch, "tasks", row) {
        Ok(tasks) => entry.tasks = tasks,
        Err(found) => report.add(&rules::COLUMNS, episode, place("tasks"), "the episode's tasks in words", found),
    }
    for (key, _) in facts.videos() {
        entry.videos.push(span(batch, row, key, facts).unwrap_or_else(|(column, found)| {
            report.add(&rules::COLUMNS, episode, place(&column), "where the episode's video is", found);
            None
        }));
    }
    for feature in &facts.features {
        let values = match &feature.kind {
            info::Kind::Video(video) => video.channels,
            info::Kind::Image => 3,
            info::Kind::Numbers(_) => feature.values,
            info::Kind::Other => {
                entry.stats.push(None);
                continue;
            }
        };
        let read = statistics::of_entry(batch, row, &feature.key, values, feature.is_camera());
        let read = read.map_err(|found| {
            let place = place(&format!("stats/{}", feature.key));
            report.add(&rules::STATS_MISSING, episode, place, format!("statistics of {values} finite values"), found);
        });
        entry.stats.push(read.ok());
    }
    Some(entry)
}

/// Where the frames of a camera are; else the column that is wrong, and what it holds.
fn span(batch: &RecordBatch, row: usize, key: &str, facts: &Facts) -> Result<Option<Span>, (String, String)> {
    let column = |name: &str| format!("videos/{key}/{name}");
    let index = |name: &str| columns::index(batch, &column(name), row).map_err(|found| (column(name), found));
    let seconds = |name: &str| {
        let value = columns::number(batch, &column(name), row).map_err(|found| (column(name), found))?;
        if value >= 0.0 { Ok(value) } else { Err((column(name), value.to_string())) }
    };
    let place = (index("chunk_index")?, index("file_index")?);
    let (from_s, to_s) = (seconds("from_timestamp")?, seconds("to_timestamp")?);
    Ok(info::file(&facts.video_path, key, place).map(|file| Span { file, from_s, to_s }))
}

/// Reads and checks `meta/tasks.parquet`; the tasks by their index, if they could be read.
pub fn tasks(snapshot: &Snapshot, facts: &Facts, report: &mut Report) -> Option<Vec<String>> {
    let place = layout::TASKS;
    let expected = "a table of `task_index` (0, 1, …) and `task`";
    // What a save in progress has put there may have one task more.
    let saving = snapshot.saving.contains(place);
    let bytes = match &snapshot.tasks {
        Ok(bytes) => bytes::Bytes::copy_from_slice(bytes),
        Err(found) => {
            report.add(&rules::MISSING_FILE, None, place, expected, found);
            return None;
        }
    };
    let read = TableReader::new(bytes, |_| true, 1024).and_then(|reader| {
        let pandas = reader.schema().metadata().get("pandas").cloned();
        let mut tasks = Vec::new();
        for batch in reader {
            let batch = batch?;
            for row in 0..batch.num_rows() {
                let index =
                    columns::index(&batch, "task_index", row).map_err(|found| format!("{found} in `task_index`"))?;
                // LeRobot before 0.4 left the index without a name.
                let name = if batch.column_by_name("task").is_some() { "task" } else { "__index_level_0__" };
                let texts = columns::texts(&batch, name, row).map_err(|found| format!("{found} in `task`"))?;
                let [task] = &texts[..] else { return Err(format!("{} texts in row {row}", texts.len())) };
                if index != tasks.len() as u64 {
                    return Err(format!("index {index} at position {}", tasks.len()));
                }
                tasks.push(task.clone());
            }
        }
        Ok((tasks, pandas))
    });
    let (tasks, pandas) = match read {
        Ok(read) => read,
        Err(found) => {
            report.add(&rules::TASKS_TABLE, None, place, expected, found);
            return None;
        }
    };
    let pandas: Option<serde_json::Value> = pandas.and_then(|text| serde_json::from_str(&text).ok());
    let indexed = pandas.as_ref().map(|pandas| &pandas["index_columns"]);
    if !indexed.is_some_and(|columns| columns[0] == "task" || columns[0] == "__index_level_0__") {
        let found = indexed.map_or("none".to_owned(), ToString::to_string);
        let expected = "metadata `pandas` with \"index_columns\": [\"task\"], else an item's task is a number";
        report.add(&rules::TASKS_TABLE, None, place, expected, found);
    }
    if let Some(total) = facts.tasks.filter(|total| *total != tasks.len() as u64 && !saving) {
        let found = format!("{} in {place}", tasks.len());
        report.add(&rules::TOTALS, None, format!("{} total_tasks", layout::INFO), format!("{total} tasks"), found);
    }
    let mut seen = BTreeMap::new();
    for (index, task) in tasks.iter().enumerate() {
        if let Some(first) = seen.insert(task, index) {
            report.add(&rules::TASK, None, place, "each task once", format!("`{task}` as {first} and {index}"));
        }
    }
    Some(tasks)
}
