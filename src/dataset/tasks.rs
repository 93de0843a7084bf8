//! `meta/tasks.parquet`: the tasks in words, by their index. Pure, but for reading.

use super::error::DatasetError;
use super::reader::TableReader;
use super::table::Columns;
use arrow_array::{Array, Int64Array, LargeStringArray, StringArray};
use serde_json::json;
use std::path::Path;

/// The file's bytes. A task's index is its position.
pub fn to_parquet(tasks: &[String]) -> Result<Vec<u8>, DatasetError> {
    let mut columns = Columns::default();
    columns.push("task_index", (0..tasks.len() as i64).collect::<Int64Array>());
    columns.push("task", StringArray::from_iter_values(tasks));
    // Without it pandas does not make `task` the index, and LeRobot silently gives a number for an item's task.
    let pandas = json!({
        "index_columns": ["task"],
        "column_indexes": [{
            "name": null, "field_name": null, "pandas_type": "unicode", "numpy_type": "object",
            "metadata": {"encoding": "UTF-8"}
        }],
        "columns": [
            {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64",
             "metadata": null},
            {"name": "task", "field_name": "task", "pandas_type": "unicode", "numpy_type": "object", "metadata": null}
        ],
        "attributes": {},
        "creator": {"library": "recorder", "version": env!("CARGO_PKG_VERSION")},
        "pandas_version": "2.3.3"
    });
    columns.into_parquet("tasks.parquet", Some(("pandas", pandas.to_string())))
}

/// Reads the file, `path` being for messages.
pub fn from_parquet(bytes: Vec<u8>, path: &Path) -> Result<Vec<String>, DatasetError> {
    let invalid = |found: String| DatasetError::Invalid {
        path: path.to_owned(),
        expected: "a table of `task_index` (0, 1, …) and `task`".into(),
        found,
        remedy: "restore the file, or choose another dataset.root",
    };
    let reader = TableReader::new(bytes::Bytes::from(bytes), |_| true, 1024).map_err(invalid)?;
    let mut tasks = Vec::new();
    for batch in reader {
        let batch = batch.map_err(invalid)?;
        let indexes = batch.column_by_name("task_index").and_then(|c| c.as_any().downcast_ref::<Int64Array>());
        // LeRobot before 0.4 left the index without a name.
        let names = batch.column_by_name("task").or_else(|| batch.column_by_name("__index_level_0__"));
        let (Some(indexes), Some(names)) = (indexes, names) else {
            return Err(invalid(format!(
                "the columns {:?}",
                batch.schema().fields().iter().map(|f| f.name()).collect::<Vec<_>>()
            )));
        };
        for row in 0..batch.num_rows() {
            let short = names.as_any().downcast_ref::<StringArray>().map(|names| names.value(row));
            let long = names.as_any().downcast_ref::<LargeStringArray>().map(|names| names.value(row));
            let Some(name) = short.or(long) else {
                return Err(invalid(format!("tasks of type {}", names.data_type())));
            };
            if indexes.value(row) != tasks.len() as i64 {
                return Err(invalid(format!("index {} at position {}", indexes.value(row), tasks.len())));
            }
            tasks.push(name.to_owned());
        }
    }
    Ok(tasks)
}
