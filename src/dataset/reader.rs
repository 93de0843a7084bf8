//! Parquet files of any origin, read batch by batch: what is wrong with one is an error in words, never a panic.
//!
//! The `parquet` crate (60.1) checks much but not all of what a corrupt file claims: with a few bytes changed at random,
//! about one table in ten thousand makes it panic where it should give an error (a failed assertion on a column's offset, a
//! shift that overflows). Every call of it is therefore contained here, and a reader that panicked is not used again.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::file::reader::ChunkReader;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// A table that is read from its first row to its last.
pub struct TableReader {
    /// None after the last batch, or an error.
    reader: Option<ParquetRecordBatchReader>,
    schema: SchemaRef,
}

impl TableReader {
    /// Opens a file. `wanted` chooses columns by name; `batch_rows` come at once.
    ///
    /// # Errors
    /// What is wrong with the file, in words.
    pub fn open(path: &Path, wanted: impl Fn(&str) -> bool, batch_rows: usize) -> Result<TableReader, String> {
        TableReader::new(File::open(path).map_err(|error| error.to_string())?, wanted, batch_rows)
    }

    /// The same for any source of bytes.
    pub fn new(
        source: impl ChunkReader + 'static,
        wanted: impl Fn(&str) -> bool,
        batch_rows: usize,
    ) -> Result<TableReader, String> {
        contained(|| {
            let builder = ParquetRecordBatchReaderBuilder::try_new(source).map_err(|error| error.to_string())?;
            let schema = builder.schema().clone();
            let fields = builder.parquet_schema().root_schema().get_fields().iter().enumerate();
            let roots: Vec<usize> = fields.filter(|(_, field)| wanted(field.name())).map(|(i, _)| i).collect();
            let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
            let reader = builder.with_projection(mask).with_batch_size(batch_rows).build();
            Ok(TableReader { reader: Some(reader.map_err(|error| error.to_string())?), schema })
        })
    }

    /// All columns of the file, and its metadata.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

impl Iterator for TableReader {
    type Item = Result<RecordBatch, String>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut reader = self.reader.take()?;
        match contained(|| Ok(reader.next().map(|batch| (batch, reader)))) {
            Ok(Some((Ok(batch), reader))) => {
                self.reader = Some(reader);
                Some(Ok(batch))
            }
            Ok(Some((Err(error), _))) => Some(Err(error.to_string())),
            Ok(None) => None,
            Err(words) => Some(Err(words)),
        }
    }
}

/// Calls the library, and takes its panic for an error.
fn contained<T>(call: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(format!("a file that the parquet library cannot take ({})", words.unwrap_or("it panicked")))
    })
}
