//! Whether a data set of synthetic cameras shows in every row the picture that its table names.

use crate::codec::{Sample, SampleFormat};
use crate::dataset::{Mp4Index, SampleInfo};
use crate::encoders::decode::{self, Verdict};
use crate::encoders::trial::SIZE;
use arrow_array::{Array, Int64Array};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::File;
use std::path::{Path, PathBuf};

/// What was found in a data set.
pub struct Recorded {
    /// Of all videos.
    pub bytes: u64,
    pub verdict: Verdict,
}

/// Decodes every video of every camera, and holds the numbers in its pictures against the rows.
pub fn check(root: &Path) -> Result<Recorded, String> {
    let mut recorded = Recorded { bytes: 0, verdict: Verdict::NotChecked { why: "there is no video".into() } };
    let rows = files(&root.join("recorder/rows"))?;
    for folder in entries(&root.join("videos"))? {
        let key = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let videos = files(&folder)?;
        if videos.len() != rows.len() {
            return Err(format!("{key}: expected {} videos, one for each episode, found {}", rows.len(), videos.len()));
        }
        for (video, rows) in videos.iter().zip(&rows) {
            let (format, samples) = read(video)?;
            let numbers = numbers(rows, &key).map_err(|error| format!("{}: {error}", rows.display()))?;
            recorded.bytes += samples.iter().map(|sample| sample.data.len() as u64).sum::<u64>();
            recorded.verdict = decode::check_numbers(&format, &samples, SIZE, &numbers);
            if !recorded.verdict.is_exact() {
                return Ok(recorded);
            }
        }
    }
    Ok(recorded)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries =
        folder.read_dir().and_then(|entries| entries.map(|e| Ok(e?.path())).collect::<std::io::Result<Vec<_>>>());
    let mut entries = entries.map_err(|error| format!("{}: {error}", folder.display()))?;
    entries.sort();
    Ok(entries)
}

/// The files `chunk-…/file-…` of a series, by episode.
fn files(series: &Path) -> Result<Vec<PathBuf>, String> {
    let chunks = entries(series)?.into_iter().map(|chunk| entries(&chunk));
    Ok(chunks.collect::<Result<Vec<_>, _>>()?.concat())
}

/// The sequence number that each row of an episode names for a camera.
fn numbers(rows: &Path, key: &str) -> Result<Vec<u32>, String> {
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let file = File::open(rows).map_err(|error| words(&error))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| words(&error))?;
    let column = format!("{key}/sequence");
    let mut numbers = Vec::new();
    for batch in reader.build().map_err(|error| words(&error))? {
        let batch = batch.map_err(|error| words(&error))?;
        let values = batch.column_by_name(&column).and_then(|values| values.as_any().downcast_ref::<Int64Array>());
        let values = values.ok_or_else(|| format!("expected a column {column} of integers"))?;
        // The pictures hold the lower 32 bits.
        numbers.extend(values.values().iter().map(|number| *number as u32));
    }
    Ok(numbers)
}

/// The samples of a video, in their order.
fn read(path: &Path) -> Result<(SampleFormat, Vec<Sample>), String> {
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let index = Mp4Index::read(path).map_err(|error| words(&error))?;
    let format = match index.codec.as_str() {
        // The parameter sets are in front of every key frame.
        "h264" => SampleFormat::H264 { sps: vec![], pps: vec![] },
        other => return Err(format!("{}: expected H.264, found {other}", path.display())),
    };
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let sample = |(i, info): (usize, &SampleInfo)| {
        let data = index.read_sample(&file, i).map_err(|error| words(&error))?;
        Ok(Sample { data: data.into(), sync: info.sync })
    };
    Ok((format, index.samples.iter().enumerate().map(sample).collect::<Result<_, String>>()?))
}
