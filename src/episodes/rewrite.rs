//! Tables written anew with other values in some columns, batch by batch: what a file holds need not fit into memory.

use super::damaged;
use crate::dataset::reader::TableReader;
use crate::dataset::{DatasetError, disk, table};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, Float32Array, Float64Array, Int64Array, ListArray, RecordBatch};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

type Result<T> = std::result::Result<T, DatasetError>;

/// What becomes of a batch: pieces to write, each with whether its row group ends there.
pub type Pieces = Vec<(RecordBatch, bool)>;

/// Files up to this size are read at once: with hundreds of columns that is several times faster than column by column.
const SMALL_BYTES: u64 = 16 << 20;
/// Rows in memory at a time.
const BATCH_ROWS: usize = 1024;

/// Opens a table to read the columns that are `wanted`; `what` is for messages.
pub fn open(path: &Path, what: &str, wanted: impl Fn(&str) -> bool) -> Result<TableReader> {
    let file = File::open(path).map_err(DatasetError::io("open", path))?;
    let small = file.metadata().is_ok_and(|metadata| metadata.len() <= SMALL_BYTES);
    let reader = if small {
        TableReader::new(bytes::Bytes::from(disk::read(path)?), wanted, BATCH_ROWS)
    } else {
        TableReader::new(file, wanted, BATCH_ROWS)
    };
    reader.map_err(|found| damaged(path, what, found))
}

/// Reads a table batch by batch and writes what `change` makes of each. Metadata is kept; `add` is a column that is to be
/// there in the new table, for readers that go by the metadata.
pub fn rewrite(
    from: &Path,
    to: &Path,
    add: Option<&str>,
    mut change: impl FnMut(RecordBatch) -> std::result::Result<Pieces, String>,
) -> Result<()> {
    let wrong = |found: String| damaged(from, WHAT, found);
    let failed = |error: ParquetError| DatasetError::Io {
        operation: "write",
        path: to.to_owned(),
        source: match error {
            ParquetError::External(e) => match e.downcast::<std::io::Error>() {
                Ok(error) => *error,
                Err(error) => std::io::Error::other(error),
            },
            error => std::io::Error::other(error),
        },
    };
    let reader = open(from, WHAT, |_| true)?;
    let mut metadata: BTreeMap<String, String> = reader.schema().metadata().clone().into_iter().collect();
    if let (Some(column), Some(text)) = (add, metadata.get_mut("huggingface"))
        && let Some(more) = described(text, column)
    {
        *text = more;
    }
    let mut writer = None;
    for batch in reader {
        let batch = batch.map_err(wrong)?;
        let several = batch.num_rows() > 1;
        for (piece, ends) in change(batch).map_err(wrong)? {
            let writer = match &mut writer {
                Some(writer) => writer,
                None => {
                    let file = File::create(to).map_err(DatasetError::io("write", to))?;
                    let schema = Schema::new_with_metadata(
                        piece.schema().fields().clone(),
                        metadata.clone().into_iter().collect::<HashMap<_, _>>(),
                    );
                    let entries = metadata.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
                    let properties = table::properties(several, entries.collect());
                    writer.insert(ArrowWriter::try_new(file, Arc::new(schema), Some(properties)).map_err(failed)?)
                }
            };
            writer.write(&piece).map_err(failed)?;
            if ends {
                writer.flush().map_err(failed)?;
            }
        }
    }
    match writer {
        Some(writer) => writer.close().map(drop).map_err(failed),
        None => Err(wrong("no rows".into())),
    }
}

const WHAT: &str = "a table of the data set";

/// The description of a table's columns for `datasets`, with one more.
fn described(text: &str, column: &str) -> Option<String> {
    let mut value: Value = serde_json::from_str(text).ok()?;
    value["info"]["features"].as_object_mut()?.insert(column.into(), json!({"dtype": "int64", "_type": "Value"}));
    Some(value.to_string())
}

/// The batch with another column of that name; without one it is put in front of the column `before`, or at the end.
pub fn with_column(
    batch: &RecordBatch,
    name: &str,
    column: ArrayRef,
    before: Option<&str>,
) -> std::result::Result<RecordBatch, String> {
    let schema: SchemaRef = batch.schema();
    let mut fields: Vec<Arc<Field>> = schema.fields().iter().cloned().collect();
    let mut columns = batch.columns().to_vec();
    let field = Arc::new(Field::new(name, column.data_type().clone(), true));
    match schema.index_of(name) {
        Ok(at) => {
            if fields[at].data_type() != column.data_type() {
                return Err(format!("column `{name}` of type {}", fields[at].data_type()));
            }
            columns[at] = column;
        }
        Err(_) => {
            let at = before.and_then(|before| schema.index_of(before).ok()).unwrap_or(fields.len());
            fields.insert(at, field);
            columns.insert(at, column);
        }
    }
    let schema = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
    RecordBatch::try_new(schema, columns).map_err(|e| e.to_string())
}

/// A column of whole numbers.
pub fn integers(values: impl IntoIterator<Item = u64>) -> ArrayRef {
    Arc::new(values.into_iter().map(|v| v as i64).collect::<Int64Array>())
}

/// A column of lists of one number, of the type that `like` has.
pub fn lists_of_one(values: Vec<f64>, like: &DataType) -> std::result::Result<ArrayRef, String> {
    let DataType::List(element) = like else { return Err(format!("statistics of type {like}")) };
    let rows = values.len();
    let child: ArrayRef = match element.data_type() {
        DataType::Float64 => Arc::new(Float64Array::from(values)),
        DataType::Float32 => Arc::new(Float32Array::from_iter_values(values.iter().map(|v| *v as f32))),
        DataType::Int64 => Arc::new(Int64Array::from_iter_values(values.iter().map(|v| v.round() as i64))),
        other => return Err(format!("statistics of type {other}")),
    };
    let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(1, rows));
    Ok(Arc::new(ListArray::try_new(element.clone(), offsets, child, None).map_err(|e| e.to_string())?))
}

/// All numbers of a column, lists flattened; an error in words for another type, or a null.
pub fn flatten(column: &ArrayRef) -> std::result::Result<Vec<f64>, String> {
    if column.null_count() > 0 {
        return Err("nulls".into());
    }
    Ok(match column.data_type() {
        DataType::Float64 => column.as_primitive::<Float64Type>().values().to_vec(),
        DataType::Float32 => column.as_primitive::<Float32Type>().values().iter().map(|v| f64::from(*v)).collect(),
        DataType::Int64 => column.as_primitive::<Int64Type>().values().iter().map(|v| *v as f64).collect(),
        DataType::Int32 => column.as_primitive::<Int32Type>().values().iter().map(|v| f64::from(*v)).collect(),
        DataType::Boolean => column.as_boolean().values().iter().map(|v| f64::from(u8::from(v))).collect(),
        DataType::List(_) => {
            let lists = column.as_list::<i32>();
            let (first, last) = (lists.value_offsets()[0] as usize, lists.value_offsets()[lists.len()] as usize);
            flatten(&lists.values().slice(first, last - first))?
        }
        DataType::FixedSizeList(..) => flatten(column.as_fixed_size_list().values())?,
        other => return Err(format!("values of type {other}")),
    })
}

/// The words in one row of a column of lists of words; none where it is something else.
pub fn words(column: &ArrayRef, row: usize) -> Vec<String> {
    let Some(lists) = column.as_list_opt::<i32>().filter(|lists| lists.is_valid(row)) else { return Vec::new() };
    let values = lists.value(row);
    let short = values.as_string_opt::<i32>().map(|v| v.iter().flatten().map(str::to_owned).collect());
    let long = || values.as_string_opt::<i64>().map(|v| v.iter().flatten().map(str::to_owned).collect());
    short.or_else(long).unwrap_or_default()
}
