//! The parquet files of a data set, as bytes: pure, and the same for the same rows.

use super::error::DatasetError;
use super::info::Source;
use super::layout::FileIndex;
use super::rows::Row;
use super::stats::{FeatureStats, KEYS};
use arrow_array::{
    Array, ArrayRef, FixedSizeListArray, Float32Array, Float64Array, Int64Array, ListArray, RecordBatch, StringArray,
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::Arc;

type Result<T> = std::result::Result<T, DatasetError>;

/// A table under construction: named columns, left to right.
#[derive(Default)]
pub struct Columns {
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
}

impl Columns {
    /// Adds a column; its values may be null, as in every file of LeRobot's.
    pub fn push(&mut self, name: impl Into<String>, array: impl Array + 'static) {
        self.fields.push(Field::new(name, array.data_type().clone(), true));
        self.arrays.push(Arc::new(array));
    }

    /// Adds a column of vectors of `n` floats, given one after the other.
    pub fn push_vectors(&mut self, name: impl Into<String>, n: usize, values: Vec<f32>) -> Result<()> {
        let name = name.into();
        let element = Arc::new(Field::new("element", DataType::Float32, true));
        let values = Arc::new(Float32Array::from(values));
        let list = FixedSizeListArray::try_new(element, n as i32, values, None)
            .map_err(DatasetError::encode(format!("column {name}")))?;
        self.push(name, list);
        Ok(())
    }

    /// The parquet file: one row group, Snappy, with at most one entry of key-value metadata.
    pub fn into_parquet(self, what: &str, metadata: Option<(&str, String)>) -> Result<Vec<u8>> {
        // In the file's own metadata and in the Arrow schema's: pyarrow reads the latter where there is one. More than
        // one entry would be written in a random order.
        let in_schema: HashMap<_, _> = metadata.iter().map(|(key, value)| (key.to_string(), value.clone())).collect();
        let in_file = metadata.into_iter().map(|(key, value)| KeyValue::new(key.to_string(), value)).collect();
        let schema = Arc::new(Schema::new_with_metadata(self.fields, in_schema));
        let batch = RecordBatch::try_new(schema.clone(), self.arrays).map_err(DatasetError::encode(what))?;
        // A dictionary for a single row is larger than the row.
        let properties = properties(batch.num_rows() > 1, in_file);
        let mut bytes = Vec::new();
        let mut writer =
            ArrowWriter::try_new(&mut bytes, schema, Some(properties)).map_err(DatasetError::encode(what))?;
        writer.write(&batch).map_err(DatasetError::encode(what))?;
        writer.close().map_err(DatasetError::encode(what))?;
        Ok(bytes)
    }
}

/// How every table is written: Snappy, row groups as the caller makes them.
pub fn properties(dictionary: bool, metadata: Vec<KeyValue>) -> WriterProperties {
    WriterProperties::builder()
        .set_created_by(concat!("recorder ", env!("CARGO_PKG_VERSION")).into())
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(None)
        .set_offset_index_disabled(true)
        .set_dictionary_enabled(dictionary)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_key_value_metadata(Some(metadata))
        .build()
}

/// The value of the feature `success` where nobody said anything.
pub const UNLABELLED: i64 = -1;

/// Where an episode stands in its data set.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub episode: u64,
    /// Global index of the first row.
    pub first_row: u64,
    pub task: u64,
    pub fps: u32,
}

/// A feature's values over an episode, one series for each dimension; `None` for a camera.
pub fn series(source: Source, rows: &[Row], place: &Place) -> Option<Vec<Vec<f64>>> {
    let transposed = |vector: fn(&Row) -> &[f32]| -> Vec<Vec<f64>> {
        let n = rows.first().map_or(0, |row| vector(row).len());
        (0..n).map(|i| rows.iter().map(|row| f64::from(vector(row)[i])).collect()).collect()
    };
    let counted = |f: &dyn Fn(u64) -> f64| vec![(0..rows.len() as u64).map(f).collect()];
    Some(match source {
        Source::Camera(_) => return None,
        Source::Action => transposed(|row| &row.action),
        Source::State => transposed(|row| &row.state),
        Source::Timestamp => counted(&|k| k as f64 / f64::from(place.fps)),
        Source::FrameIndex => counted(&|k| k as f64),
        Source::EpisodeIndex => counted(&|_| place.episode as f64),
        Source::Index => counted(&|k| (place.first_row + k) as f64),
        Source::TaskIndex => counted(&|_| place.task as f64),
        Source::Success => counted(&|_| UNLABELLED as f64),
    })
}

/// An episode's rows: `data/chunk-…/file-….parquet`.
pub fn data(features: &[(String, Source)], rows: &[Row], place: &Place) -> Result<Vec<u8>> {
    let mut columns = Columns::default();
    let mut described = Map::new();
    let value = |dtype: &str| json!({"dtype": dtype, "_type": "Value"});
    for (key, source) in features {
        let vector: Option<fn(&Row) -> &[f32]> = match source {
            Source::Camera(_) => continue,
            Source::Action => Some(|row| &row.action),
            Source::State => Some(|row| &row.state),
            _ => None,
        };
        let feature = if let Some(vector) = vector {
            let n = rows.first().map_or(0, |row| vector(row).len());
            let values: Vec<f32> = rows.iter().flat_map(|row| vector(row).iter().copied()).collect();
            // LeRobot writes a vector of one as a plain value.
            if n == 1 {
                columns.push(key, Float32Array::from(values));
                value("float32")
            } else {
                columns.push_vectors(key, n, values)?;
                json!({"feature": value("float32"), "length": n, "_type": "List"})
            }
        } else if *source == Source::Timestamp {
            let seconds = |k| (f64::from(k) / f64::from(place.fps)) as f32;
            columns.push(key, (0..rows.len() as u32).map(seconds).collect::<Float32Array>());
            value("float32")
        } else {
            let series = series(*source, rows, place).unwrap_or_default();
            columns.push(key, series.iter().flatten().map(|&v| v as i64).collect::<Int64Array>());
            value("int64")
        };
        described.insert(key.clone(), feature);
    }
    let huggingface = json!({"info": {"features": Value::Object(described)}}).to_string();
    columns.into_parquet("data table", Some(("huggingface", huggingface)))
}

/// What LeRobot must know of one episode.
pub struct EpisodeEntry<'a> {
    pub place: Place,
    pub length: u64,
    pub task: &'a str,
    pub data: FileIndex,
    /// By feature, in the features' order.
    pub videos: &'a [(String, FileIndex)],
    /// By feature, in the features' order.
    pub stats: &'a [(String, FeatureStats)],
    /// Where this entry itself lies.
    pub entry: FileIndex,
}

/// One episode's entry: `meta/episodes/chunk-…/file-….parquet`.
pub fn episode(e: &EpisodeEntry) -> Result<Vec<u8>> {
    let mut columns = Columns::default();
    let integer = |columns: &mut Columns, name: String, v: u64| columns.push(name, Int64Array::from(vec![v as i64]));
    let place = |columns: &mut Columns, prefix: &str, index: FileIndex| {
        columns.push(format!("{prefix}/chunk_index"), Int64Array::from(vec![index.chunk as i64]));
        columns.push(format!("{prefix}/file_index"), Int64Array::from(vec![index.file as i64]));
    };
    integer(&mut columns, "episode_index".into(), e.place.episode);
    columns.push("tasks", list(Arc::new(StringArray::from(vec![e.task])), 1)?);
    integer(&mut columns, "length".into(), e.length);
    place(&mut columns, "data", e.data);
    integer(&mut columns, "dataset_from_index".into(), e.place.first_row);
    integer(&mut columns, "dataset_to_index".into(), e.place.first_row + e.length);
    for (key, index) in e.videos {
        place(&mut columns, &format!("videos/{key}"), *index);
        let seconds = e.length as f64 / f64::from(e.place.fps);
        columns.push(format!("videos/{key}/from_timestamp"), Float64Array::from(vec![0.0]));
        columns.push(format!("videos/{key}/to_timestamp"), Float64Array::from(vec![seconds]));
    }
    for (key, stats) in e.stats {
        for (name, values) in KEYS.into_iter().zip(stats.columns()) {
            let array: ListArray = match values {
                None => list(Arc::new(Int64Array::from(vec![stats.count as i64])), 1)?,
                Some(values) => {
                    let (n, values) = (values.len(), Arc::new(Float64Array::from(values.to_vec())) as ArrayRef);
                    if stats.image {
                        // (channels, 1, 1): lists of one, `channels` times, in one row.
                        let pixels: ArrayRef = Arc::new(list(values, n)?);
                        let lines: ArrayRef = Arc::new(list(pixels, n)?);
                        list(lines, 1)?
                    } else {
                        list(values, 1)?
                    }
                }
            };
            columns.push(format!("stats/{key}/{name}"), array);
        }
    }
    place(&mut columns, "meta/episodes", e.entry);
    columns.into_parquet("episode table", None)
}

/// Cuts an array into `rows` lists of equal length.
fn list(values: ArrayRef, rows: usize) -> Result<ListArray> {
    let element = Arc::new(Field::new("element", values.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(values.len() / rows.max(1), rows));
    ListArray::try_new(element, offsets, values, None).map_err(DatasetError::encode("episode table"))
}
