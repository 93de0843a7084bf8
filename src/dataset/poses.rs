//! The motion of one episode, read from any LeRobot v3 data set.

use super::disk;
use super::error::DatasetError;
use super::info::{ACTION, STATE, VERSION};
use super::layout;
use arrow_array::{Array, FixedSizeListArray, Float32Array, Float64Array, Int64Array, ListArray, RecordBatch};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use std::path::{Path, PathBuf};

type Result<T> = std::result::Result<T, DatasetError>;

/// The vectors of one episode.
#[derive(Clone, Debug, PartialEq)]
pub struct Poses {
    /// The feature that they are of: `action`, or `observation.state` in a data set without.
    pub column: &'static str,
    pub names: Vec<String>,
    pub fps: f64,
    /// One for each row of the episode, finite, as long as `names`.
    pub rows: Vec<Vec<f32>>,
}

const REMEDY: &str = "give the root of a LeRobot v3.0 data set and the number of one of its episodes";

impl Poses {
    /// Reads the data set's description, its table of episodes, and the episode's rows.
    pub fn read(root: &Path, episode: u64) -> Result<Poses> {
        let path = root.join(layout::INFO);
        if !path.is_file() {
            return Err(invalid(root, "a LeRobot v3.0 data set", "no meta/info.json".into()));
        }
        let info: Value =
            serde_json::from_slice(&disk::read(&path)?).map_err(|error| invalid(&path, "JSON", error.to_string()))?;
        if !info["codebase_version"].as_str().is_some_and(|version| version.starts_with("v3.")) {
            let expected = format!("codebase_version \"{VERSION}\"");
            return Err(invalid(&path, &expected, info["codebase_version"].to_string()));
        }
        let fps = info["fps"].as_f64().filter(|fps| (1.0..=1000.0).contains(fps));
        let fps = fps.ok_or_else(|| invalid(&path, "1 to 1000 rows a second in `fps`", info["fps"].to_string()))?;
        let features = &info["features"];
        let column = [ACTION, STATE].into_iter().find(|column| features[*column].is_object());
        let column =
            column.ok_or_else(|| invalid(&path, "a feature `action` or `observation.state`", "neither".into()))?;
        let names = names(&features[column]["names"]);
        let names = names.ok_or_else(|| {
            invalid(
                &path,
                &format!("a list of names in features.{column}.names"),
                features[column]["names"].to_string(),
            )
        })?;
        let template = info["data_path"].as_str().unwrap_or(layout::DATA_TEMPLATE);
        let (file, length) = find(root, template, episode)?;
        let path = root.join(file);
        let mut numbered = Vec::new();
        for batch in batches(&path, &["episode_index", "frame_index", column])? {
            add_rows(&batch, episode, column, names.len(), &mut numbered)
                .map_err(|found| invalid(&path, "a table of rows", found))?;
        }
        numbered.sort_by_key(|(frame, _)| *frame);
        let whole = numbered.len() as u64 == length && numbered.iter().map(|(frame, _)| *frame).eq(0..length as i64);
        if !whole || length == 0 {
            let found = format!("{} rows", numbered.len());
            return Err(invalid(&path, &format!("{length} rows of episode {episode}, one after the other"), found));
        }
        Ok(Poses { column, names, fps, rows: numbered.into_iter().map(|(_, pose)| pose).collect() })
    }
}

/// LeRobot writes a list, or a map with one list.
fn names(names: &Value) -> Option<Vec<String>> {
    let list = match names {
        Value::Object(map) if map.len() == 1 => map.values().next()?,
        other => other,
    };
    list.as_array()?.iter().map(|name| Some(name.as_str()?.to_string())).collect()
}

/// Where an episode's rows lie, and how many there are.
fn find(root: &Path, template: &str, episode: u64) -> Result<(PathBuf, u64)> {
    let folder = root.join(layout::EPISODES);
    let mut episodes = 0u64;
    for chunk in disk::names(&folder)? {
        let folder = folder.join(chunk);
        for name in if folder.is_dir() { disk::names(&folder)? } else { Vec::new() } {
            let path = folder.join(name);
            if path.extension().is_none_or(|extension| extension != "parquet") {
                continue;
            }
            let wanted = ["episode_index", "length", "data/chunk_index", "data/file_index"];
            let damaged = |found| invalid(&path, "a table of episodes", found);
            for batch in batches(&path, &wanted)? {
                let [index, length, chunk, file] = wanted.map(|name| integers(&batch, name));
                let (index, length, chunk, file) = (
                    index.map_err(damaged)?,
                    length.map_err(damaged)?,
                    chunk.map_err(damaged)?,
                    file.map_err(damaged)?,
                );
                episodes += index.len() as u64;
                if let Some(row) = index.iter().position(|index| u64::try_from(*index) == Ok(episode)) {
                    let unsigned = |value: i64| u64::try_from(value).map_err(|_| damaged(format!("{value}")));
                    let place = (unsigned(chunk[row])?, unsigned(file[row])?);
                    let file = layout::from_template(template, "", place).map_err(|found| {
                        invalid(&root.join(layout::INFO), "the path of a file in `data_path`", found)
                    })?;
                    return Ok((file, unsigned(length[row])?));
                }
            }
        }
    }
    let found = if episodes == 0 { "no episode in it".into() } else { format!("episodes 0 to {}", episodes - 1) };
    Err(invalid(root, &format!("an episode {episode}"), found))
}

/// Some columns of a table.
fn batches(path: &Path, columns: &[&str]) -> Result<Vec<RecordBatch>> {
    let damaged = |found: String| invalid(path, "a parquet file", found);
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(disk::read(path)?))
        .map_err(|error| damaged(error.to_string()))?;
    let fields = builder.parquet_schema().root_schema().get_fields().iter().enumerate();
    let roots: Vec<usize> = fields.filter(|(_, field)| columns.contains(&field.name())).map(|(i, _)| i).collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
    let reader = builder.with_projection(mask).build().map_err(|error| damaged(error.to_string()))?;
    reader.map(|batch| batch.map_err(|error| damaged(error.to_string()))).collect()
}

fn integers(batch: &RecordBatch, name: &str) -> std::result::Result<Vec<i64>, String> {
    let column = batch.column_by_name(name).ok_or_else(|| format!("no column `{name}`"))?;
    let integers = column.as_any().downcast_ref::<Int64Array>().filter(|column| column.null_count() == 0);
    integers.map(|column| column.values().to_vec()).ok_or_else(|| format!("no integers in column `{name}`"))
}

/// Adds an episode's vectors with their frame numbers.
fn add_rows(
    batch: &RecordBatch,
    episode: u64,
    name: &str,
    n: usize,
    rows: &mut Vec<(i64, Vec<f32>)>,
) -> std::result::Result<(), String> {
    let (episodes, frames) = (integers(batch, "episode_index")?, integers(batch, "frame_index")?);
    let column = batch.column_by_name(name).ok_or_else(|| format!("no column `{name}`"))?;
    for row in (0..batch.num_rows()).filter(|row| u64::try_from(episodes[*row]) == Ok(episode)) {
        let pose = vector(column.as_ref(), row).filter(|pose| pose.len() == n);
        let pose = pose.ok_or_else(|| format!("no {n} numbers in row {row} of column `{name}`"))?;
        if let Some(value) = pose.iter().find(|value| !value.is_finite()) {
            return Err(format!("{value} in row {row} of column `{name}`"));
        }
        rows.push((frames[row], pose));
    }
    Ok(())
}

/// The numbers of one row. LeRobot writes a vector of one as a plain number.
fn vector(column: &dyn Array, row: usize) -> Option<Vec<f32>> {
    if column.is_null(row) {
        return None;
    }
    let any = column.as_any();
    let list = any.downcast_ref::<FixedSizeListArray>().map(|lists| lists.value(row));
    let list = list.or_else(|| any.downcast_ref::<ListArray>().map(|lists| lists.value(row)));
    let list = list.unwrap_or_else(|| column.slice(row, 1));
    if list.null_count() > 0 {
        return None;
    }
    let any = list.as_any();
    let single = any.downcast_ref::<Float32Array>().map(|values| values.values().to_vec());
    let double = || any.downcast_ref::<Float64Array>();
    single.or_else(|| double().map(|values| values.values().iter().map(|value| *value as f32).collect()))
}

fn invalid(path: &Path, expected: &str, found: String) -> DatasetError {
    DatasetError::Invalid { path: path.to_owned(), expected: expected.into(), found, remedy: REMEDY }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_episode_of_lerobots_is_read() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/lerobot-v3-sample");
        let [first, second] = [0, 1].map(|episode| Poses::read(&root, episode).unwrap());
        assert_eq!((first.column, first.fps, first.rows.len(), second.rows.len()), ("action", 30.0, 30, 30));
        assert_eq!((first.names.len(), first.names[5].as_str()), (6, "gripper.pos"));
        assert_ne!(first.rows, second.rows, "both lie in one file");
        let error = Poses::read(&root, 2).unwrap_err().to_string();
        assert!(error.contains("expected an episode 2, found episodes 0 to 1"), "{error}");
        let error = Poses::read(&root.join("meta"), 0).unwrap_err().to_string();
        assert!(error.contains("no meta/info.json"), "{error}");
    }

    #[test]
    fn names_are_a_list_or_a_map_of_one() {
        let list = Some(vec!["a".to_string(), "b".into()]);
        assert_eq!(names(&serde_json::json!(["a", "b"])), list);
        assert_eq!(names(&serde_json::json!({"motors": ["a", "b"]})), list);
        for bad in [serde_json::json!(null), serde_json::json!([1]), serde_json::json!({"a": ["b"], "c": []})] {
            assert_eq!(names(&bad), None);
        }
    }
}
