//! The statistics of a data set, from those of its episodes, one table after the other: pure.

use super::rewrite::flatten;
use crate::dataset::stats::{FeatureStats, KEYS};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Statistics of the episodes so far.
#[derive(Debug, Default)]
pub struct Totals {
    features: Vec<(String, FeatureStats)>,
    /// Features of which an episode has none.
    incomplete: BTreeSet<String>,
}

/// The column of an episodes' table that holds a statistic.
pub fn column(feature: &str, key: &str) -> String {
    format!("stats/{feature}/{key}")
}

impl Totals {
    /// Adds the episodes of a table.
    pub fn add(&mut self, batch: &RecordBatch) {
        let schema = batch.schema();
        let features = schema.fields().iter().filter_map(|f| f.name().strip_prefix("stats/")?.strip_suffix("/count"));
        let features: Vec<&str> = features.collect();
        let known = self.features.iter().map(|(feature, _)| feature.as_str());
        let missing: Vec<String> = known.filter(|feature| !features.contains(feature)).map(str::to_owned).collect();
        self.incomplete.extend(missing);
        for row in 0..batch.num_rows() {
            for feature in &features {
                match read(batch, feature, row) {
                    Some(stats) => match self.features.iter_mut().find(|(known, _)| known == feature) {
                        Some((_, all)) => *all = all.merged(&stats),
                        None => self.features.push((feature.to_string(), stats)),
                    },
                    None => drop(self.incomplete.insert(feature.to_string())),
                }
            }
        }
    }

    /// Brings the content of stats.json up to date; the features for which that cannot be done.
    pub fn put(&self, stats: &mut Value) -> Vec<String> {
        let complete = || self.features.iter().filter(|(feature, _)| !self.incomplete.contains(feature));
        let Some(all) = stats.as_object_mut() else { return Vec::new() };
        for (feature, total) in complete() {
            let new = total.to_json();
            let old = all.get(feature).cloned().unwrap_or_default();
            let mut entry = serde_json::Map::new();
            for key in KEYS {
                // LeRobot before 0.5 knew no quantiles.
                if new[key].as_array().is_some_and(|values| !values.is_empty()) {
                    entry.insert(key.into(), shaped_like(&old[key], &new[key]));
                }
            }
            all.insert(feature.clone(), entry.into());
        }
        all.keys().filter(|key| !complete().any(|(feature, _)| feature == *key)).cloned().collect()
    }
}

/// One episode's statistics of a feature; quantiles are empty where it has none.
fn read(batch: &RecordBatch, feature: &str, row: usize) -> Option<FeatureStats> {
    let values = |key: &str| {
        let values = flatten(&batch.column_by_name(&column(feature, key))?.slice(row, 1)).ok()?;
        (!values.is_empty()).then_some(values)
    };
    let (min, max, mean, std) = (values("min")?, values("max")?, values("mean")?, values("std")?);
    let quantiles = ["q01", "q10", "q50", "q90", "q99"].map(|key| values(key).unwrap_or_default());
    let n = min.len();
    let alike =
        [&max, &mean, &std].iter().all(|v| v.len() == n) && quantiles.iter().all(|v| v.is_empty() || v.len() == n);
    let image = matches!(nesting(batch.column_by_name(&column(feature, "min"))?.data_type()), 3..);
    let count = values("count")?[0] as u64;
    alike.then_some(FeatureStats { image, count, min, max, mean, std, quantiles })
}

fn nesting(of: &DataType) -> usize {
    match of {
        DataType::List(element) | DataType::FixedSizeList(element, _) => 1 + nesting(element.data_type()),
        _ => 0,
    }
}

/// The numbers of `values` in the shape of `like`, if that has as many.
fn shaped_like(like: &Value, values: &Value) -> Value {
    fn leaves<'a>(value: &'a Value, into: &mut Vec<&'a Value>) {
        match value {
            Value::Array(values) => values.iter().for_each(|v| leaves(v, into)),
            value => into.push(value),
        }
    }
    fn fill<'a>(like: &Value, values: &mut impl Iterator<Item = &'a Value>) -> Value {
        match like {
            Value::Array(like) => like.iter().map(|like| fill(like, values)).collect(),
            _ => values.next().cloned().unwrap_or(json!(null)),
        }
    }
    let (mut old, mut new) = (Vec::new(), Vec::new());
    leaves(like, &mut old);
    leaves(values, &mut new);
    if like.is_array() && old.len() == new.len() { fill(like, &mut new.into_iter()) } else { values.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_stay_as_they_were() {
        for (like, values, expected) in [
            (json!([1.0, 2.0]), json!([3.0, 4.0]), json!([3.0, 4.0])),
            (json!([[1.0], [2.0]]), json!([3.0, 4.0]), json!([[3.0], [4.0]])),
            (json!(null), json!([3.0]), json!([3.0])),
            (json!([1.0]), json!([[[3.0]], [[4.0]]]), json!([[[3.0]], [[4.0]]])),
        ] {
            assert_eq!(shaped_like(&like, &values), expected);
        }
    }
}
