//! Statistics that a data set carries, against those of its rows. Pure.

use super::columns;
use crate::dataset::stats::{FeatureStats, KEYS};
use arrow_array::RecordBatch;
use serde_json::Value;

/// Bins of LeRobot's histograms, of which quantiles come.
const BINS: f64 = 5000.0;
/// LeRobot computes in the feature's own precision.
const TOLERANCE: f64 = 1e-5;

/// Statistics that were read. The quantiles are empty where there are none, as in data sets of older versions.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    pub stats: FeatureStats,
    pub quantiles: bool,
}

/// Those of one feature, of `values` values, from an episode's entry; else what is wrong.
pub fn of_entry(batch: &RecordBatch, row: usize, key: &str, values: usize, image: bool) -> Result<Read, String> {
    read(values, image, |name| {
        let column = format!("stats/{key}/{name}");
        let known = batch.column_by_name(&column).is_some_and(|column| !column.is_null(row));
        if known { columns::row(batch, &column, row).map(Some) } else { Ok(None) }
    })
}

/// Those of one feature from stats.json.
pub fn of_json(stats: &Value, values: usize, image: bool) -> Result<Read, String> {
    fn flatten(value: &Value, depth: usize, into: &mut Vec<f64>) -> Result<(), String> {
        match value {
            Value::Array(values) if depth > 0 => values.iter().try_for_each(|value| flatten(value, depth - 1, into)),
            value => {
                into.push(value.as_f64().ok_or_else(|| value.to_string())?);
                Ok(())
            }
        }
    }
    read(values, image, |name| {
        let Some(found) = stats.get(name) else { return Ok(None) };
        let mut values = Vec::new();
        flatten(found, 8, &mut values)?;
        Ok(Some(values))
    })
}

fn read(
    values: usize,
    image: bool,
    get: impl Fn(&str) -> Result<Option<Vec<f64>>, String>,
) -> Result<Read, String> {
    let mut found: [Vec<f64>; 10] = Default::default();
    let mut quantiles = true;
    for (slot, key) in found.iter_mut().zip(KEYS) {
        let wanted = if key == "count" { 1 } else { values };
        match get(key).map_err(|found| format!("{found} in `{key}`"))? {
            Some(read) if read.len() != wanted => return Err(format!("{} values in `{key}`", read.len())),
            Some(read) if read.iter().any(|value| !value.is_finite()) => {
                return Err(format!("a value that is not finite in `{key}`"));
            }
            Some(read) => *slot = read,
            None if key.starts_with('q') => quantiles = false,
            None => return Err(format!("no `{key}`")),
        }
    }
    let [min, max, mean, std, count, q01, q10, q50, q90, q99] = found;
    let mut stats = FeatureStats {
        image,
        count: count.first().map_or(0.0, |count| count.max(0.0)) as u64,
        min,
        max,
        mean,
        std,
        quantiles: [q01, q10, q50, q90, q99],
    };
    if !quantiles {
        stats.quantiles = Default::default();
    }
    if stats.count == 0 {
        return Err("0 in `count`".into());
    }
    Ok(Read { stats, quantiles })
}

/// What is wrong with statistics by themselves, if anything: their order, and for colours their range.
pub fn implausible(stats: &FeatureStats, colours: bool) -> Option<(String, String)> {
    let slack = |value: f64| 1e-6 * value.abs().max(1.0);
    for i in 0..stats.min.len() {
        let (min, max, mean, std) = (stats.min[i], stats.max[i], stats.mean[i], stats.std[i]);
        if min > max + slack(max) || mean < min - slack(min) * 10.0 || mean > max + slack(max) * 10.0 || std < 0.0 {
            return Some(("min ≤ mean ≤ max and std ≥ 0".into(), format!("{min} ≤ {mean} ≤ {max}, {std}")));
        }
        if colours && (min < 0.0 || max > 1.0) {
            return Some(("colours in [0, 1]".into(), format!("{min} to {max}")));
        }
    }
    None
}

/// The first value of `found` that is not `expected`'s, and the first quantile (`true`): their names, both values. With
/// `computed_anew` quantiles may be off by a bin or two.
pub fn differences(expected: &FeatureStats, found: &FeatureStats, computed_anew: bool) -> Vec<(bool, String, f64, f64)> {
    let mut differences = Vec::new();
    if expected.count != found.count {
        differences.push((false, "count".into(), expected.count as f64, found.count as f64));
    }
    let columns = expected.columns().into_iter().zip(found.columns());
    for (key, (expected_values, found_values)) in KEYS.into_iter().zip(columns) {
        let (Some(expected_values), Some(found_values)) = (expected_values, found_values) else { continue };
        let quantile = key.starts_with('q');
        let wrong = expected_values.iter().zip(found_values).enumerate().find(|(i, (expected_value, found_value))| {
            let mut tolerance = TOLERANCE * (1.0 + expected_value.abs());
            if quantile && computed_anew {
                // A value on an edge may fall into the next bin.
                tolerance += 2.0 * (expected.max[*i] - expected.min[*i]) / BINS;
            }
            (**expected_value - **found_value).abs() > tolerance
        });
        if let Some((i, (expected_value, found_value))) = wrong
            && !differences.iter().any(|(known, ..)| *known == quantile)
        {
            let name = if expected_values.len() > 1 { format!("{key}[{i}]") } else { key.to_owned() };
            differences.push((quantile, name, *expected_value, *found_value));
        }
    }
    differences
}
