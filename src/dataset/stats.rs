//! LeRobot's statistics: of an episode, and of the data set as the count-weighted sum of its episodes. Pure.
//!
//! Quantiles are LeRobot's: a histogram of 5000 bins over the episode's own range, linear inside a bin. The data set's
//! quantiles are the count-weighted mean of its episodes', as LeRobot 0.6.1 does; aggregation costs the same for the
//! first episode and the 5000th.

use crate::codec::PixelHistogram;
use serde_json::{Map, Value, json};

/// The statistics' names, in LeRobot's order.
pub const KEYS: [&str; 10] = ["min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99"];
const QUANTILES: [f64; 5] = [0.01, 0.10, 0.50, 0.90, 0.99];
const BINS: usize = 5000;
/// Widening of the histogram's range, LeRobot's.
const MARGIN: f64 = 1e-10;

/// Statistics of one feature: every vector has a value for each dimension (for a camera: red, green, blue in [0, 1]).
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureStats {
    /// A camera's values have the shape (3, 1, 1), others (n).
    pub image: bool,
    /// Rows, or pictures looked at.
    pub count: u64,
    pub min: Vec<f64>,
    pub max: Vec<f64>,
    pub mean: Vec<f64>,
    pub std: Vec<f64>,
    /// At 1, 10, 50, 90 and 99 %.
    pub quantiles: [Vec<f64>; 5],
}

impl FeatureStats {
    /// Of a feature given as one series for each dimension; all have the same length, at least 1.
    pub fn of_series<S: AsRef<[f64]>>(dimensions: &[S]) -> FeatureStats {
        let mut stats = FeatureStats::empty(false, dimensions.first().map_or(0, |d| d.as_ref().len() as u64));
        for dimension in dimensions {
            stats.push_dimension(dimension.as_ref().iter().map(|&v| (v, 1)));
        }
        stats
    }

    /// Of a camera's sampled pictures; none when nothing was sampled.
    pub fn of_pixels(pixels: &PixelHistogram) -> Option<FeatureStats> {
        let mut stats = FeatureStats::empty(true, pixels.pictures);
        for channel in pixels.counts.iter() {
            if channel.iter().all(|&n| n == 0) {
                return None;
            }
            stats.push_dimension((0u16..).zip(channel).filter(|&(_, &n)| n > 0).map(|(v, &n)| (f64::from(v), n)));
        }
        for values in stats.values_mut() {
            values.iter_mut().for_each(|v| *v /= 255.0);
        }
        Some(stats)
    }

    fn empty(image: bool, count: u64) -> FeatureStats {
        let none = Vec::new;
        FeatureStats {
            image,
            count,
            min: none(),
            max: none(),
            mean: none(),
            std: none(),
            quantiles: Default::default(),
        }
    }

    fn values_mut(&mut self) -> impl Iterator<Item = &mut Vec<f64>> {
        [&mut self.min, &mut self.max, &mut self.mean, &mut self.std].into_iter().chain(&mut self.quantiles)
    }

    /// Values with how often each occurs.
    fn push_dimension(&mut self, values: impl Iterator<Item = (f64, u64)> + Clone) {
        let count: u64 = values.clone().map(|(_, n)| n).sum();
        let mean = values.clone().map(|(v, n)| v * n as f64).sum::<f64>() / count as f64;
        let variance = values.clone().map(|(v, n)| (v - mean).powi(2) * n as f64).sum::<f64>() / count as f64;
        let min = values.clone().map(|(v, _)| v).fold(f64::INFINITY, f64::min);
        let max = values.clone().map(|(v, _)| v).fold(f64::NEG_INFINITY, f64::max);
        // LeRobot gives a single value's mean for its quantiles.
        let quantiles = if count < 2 { [mean; 5] } else { Histogram::new(min, max, values).quantiles(count) };
        self.min.push(min);
        self.max.push(max);
        self.mean.push(mean);
        self.std.push(variance.sqrt());
        self.quantiles.iter_mut().zip(quantiles).for_each(|(q, value)| q.push(value));
    }

    /// The statistics of both together.
    pub fn merged(&self, other: &FeatureStats) -> FeatureStats {
        let (a, b) = (self.count as f64, other.count as f64);
        let zip = |x: &[f64], y: &[f64], f: &dyn Fn(f64, f64) -> f64| -> Vec<f64> {
            x.iter().zip(y).map(|(&x, &y)| f(x, y)).collect()
        };
        let weighted = |x: f64, y: f64| (x * a + y * b) / (a + b);
        let mean = zip(&self.mean, &other.mean, &weighted);
        let spread = |stats: &FeatureStats| -> Vec<f64> {
            stats.std.iter().zip(&stats.mean).zip(&mean).map(|((s, m), mean)| s * s + (m - mean).powi(2)).collect()
        };
        FeatureStats {
            image: self.image,
            count: self.count + other.count,
            min: zip(&self.min, &other.min, &f64::min),
            max: zip(&self.max, &other.max, &f64::max),
            std: zip(&spread(self), &spread(other), &|x, y| weighted(x, y).sqrt()),
            mean,
            quantiles: std::array::from_fn(|i| zip(&self.quantiles[i], &other.quantiles[i], &weighted)),
        }
    }

    /// The values in the order of [`KEYS`]; none for `count`.
    pub fn columns(&self) -> [Option<&[f64]>; 10] {
        let [q01, q10, q50, q90, q99] = &self.quantiles;
        [
            Some(&self.min),
            Some(&self.max),
            Some(&self.mean),
            Some(&self.std),
            None,
            Some(q01),
            Some(q10),
            Some(q50),
            Some(q90),
            Some(q99),
        ]
    }

    /// As in `stats.json`.
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        for (key, values) in KEYS.into_iter().zip(self.columns()) {
            let value = match values {
                None => json!([self.count]),
                Some(values) if self.image => values.iter().map(|v| json!([[v]])).collect(),
                Some(values) => json!(values),
            };
            object.insert(key.into(), value);
        }
        Value::Object(object)
    }

    /// Reads what [`FeatureStats::to_json`] or LeRobot wrote; the error says what is missing.
    pub fn from_json(value: &Value) -> Result<FeatureStats, String> {
        let read = |key: &str| -> Result<Vec<f64>, String> {
            let value = value.get(key).ok_or(format!("no `{key}`"))?;
            let mut flat = Vec::new();
            flatten(value, &mut flat).map_err(|found| format!("`{found}` in `{key}`"))?;
            if flat.is_empty() { Err(format!("an empty `{key}`")) } else { Ok(flat) }
        };
        let mut stats = FeatureStats::empty(value["min"][0][0].is_array(), read("count")?[0] as u64);
        for (key, values) in KEYS.into_iter().filter(|&key| key != "count").zip(stats.values_mut()) {
            *values = read(key)?;
        }
        let dimensions = stats.min.len();
        if stats.values_mut().any(|values| values.len() != dimensions) {
            return Err("statistics of different lengths".into());
        }
        Ok(stats)
    }
}

fn flatten(value: &Value, into: &mut Vec<f64>) -> Result<(), String> {
    match value {
        Value::Array(values) => values.iter().try_for_each(|v| flatten(v, into)),
        value => {
            into.push(value.as_f64().ok_or_else(|| value.to_string())?);
            Ok(())
        }
    }
}

/// LeRobot's histogram: bins of equal width, each with its lower edge, the last one with both.
struct Histogram {
    low: f64,
    high: f64,
    step: f64,
    counts: Vec<u64>,
}

impl Histogram {
    fn new(min: f64, max: f64, values: impl Iterator<Item = (f64, u64)>) -> Histogram {
        let (low, high) = (min - MARGIN, max + MARGIN);
        let mut histogram = Histogram { low, high, step: (high - low) / BINS as f64, counts: vec![0; BINS] };
        for (value, n) in values {
            let bin = histogram.bin(value);
            histogram.counts[bin] += n;
        }
        histogram
    }

    fn edge(&self, i: usize) -> f64 {
        if i >= BINS { self.high } else { self.low + i as f64 * self.step }
    }

    fn bin(&self, value: f64) -> usize {
        if self.step == 0.0 {
            return BINS - 1; // a constant so large that the margin vanishes in it
        }
        // The division may round into a neighbour; the edges decide.
        let mut bin = (((value - self.low) / self.step) as usize).min(BINS - 1);
        while bin > 0 && self.edge(bin) > value {
            bin -= 1;
        }
        while bin + 1 < BINS && self.edge(bin + 1) <= value {
            bin += 1;
        }
        bin
    }

    fn quantiles(&self, count: u64) -> [f64; 5] {
        QUANTILES.map(|q| {
            let target = q * count as f64;
            let mut before = 0;
            for (bin, &n) in self.counts.iter().enumerate() {
                if (before + n) as f64 >= target {
                    // LeRobot does not interpolate in the first bin.
                    let fraction = if bin == 0 { 0.0 } else { (target - before as f64) / n.max(1) as f64 };
                    return self.edge(bin) + fraction * (self.edge(bin + 1) - self.edge(bin));
                }
                before += n;
            }
            self.high
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-9 * b.abs().max(1e-3)
    }

    /// The expected values are LeRobot 0.6.1's for `frame_index` and `timestamp` of 30 rows at 30 fps.
    #[test]
    fn a_series_has_lerobots_statistics() {
        let timestamp: Vec<f64> = (0..30).map(|k| f64::from(k) / 30.0).collect();
        let stats = FeatureStats::of_series(&[timestamp]);
        assert_eq!((stats.count, stats.image), (30, false));
        let expected = [
            0.0,
            0.9666666666666667,
            0.4833333333333334,
            0.28851471494663966,
            -1e-10,
            0.0666999999138,
            0.4667066666632267,
            0.8667133334126534,
            0.9666086667666547,
        ];
        for (found, expected) in stats.columns().into_iter().flatten().zip(expected) {
            assert!(close(found[0], expected), "{found:?} {expected}");
        }
    }

    #[test]
    fn constants_and_single_rows_stay_finite() {
        for (value, rows) in [(0.0, 30), (1e9, 30), (-3.5, 2), (7.0, 1)] {
            let stats = FeatureStats::of_series(&[vec![value; rows]]);
            assert_eq!(stats.std, [0.0]);
            for values in [&stats.min, &stats.max, &stats.mean].into_iter().chain(&stats.quantiles) {
                assert!((values[0] - value).abs() <= 2e-7, "{values:?} {value}");
            }
        }
    }

    #[test]
    fn pixels_are_scaled_to_one_and_read_back() {
        let mut pixels = PixelHistogram { pictures: 2, ..Default::default() };
        pixels.counts[0][0] = 50;
        pixels.counts[0][255] = 50;
        pixels.counts[1][51] = 100;
        assert_eq!(FeatureStats::of_pixels(&pixels), None, "blue was never seen");
        pixels.counts[2][102] = 100;
        let stats = FeatureStats::of_pixels(&pixels).unwrap();
        assert_eq!((stats.count, &stats.min, &stats.max), (2, &vec![0.0, 0.2, 0.4], &vec![1.0, 0.2, 0.4]));
        assert!(close(stats.mean[0], 0.5) && close(stats.std[0], 0.5) && close(stats.quantiles[2][1], 0.2));
        let json = stats.to_json();
        assert_eq!(json["mean"][2], json!([[stats.mean[2]]]));
        assert_eq!(FeatureStats::from_json(&json).unwrap(), stats);
        assert_eq!(FeatureStats::from_json(&json!({ "count": [2] })).unwrap_err(), "no `min`");
    }

    /// The expected values are LeRobot 0.6.1's for the same pixels, whose single precision is good for four digits.
    #[test]
    fn pixels_have_lerobots_statistics() {
        let mut pixels = PixelHistogram { pictures: 1, ..Default::default() };
        pixels.counts.iter_mut().for_each(|channel| (20..200).for_each(|v| channel[v] = 100 + v as u64));
        let stats = FeatureStats::of_pixels(&pixels).unwrap();
        let expected = [
            0.078431375,
            0.78039217,
            0.4799507,
            0.19736767,
            0.0901000130068224,
            0.18824933521571965,
            0.5019261607198646,
            0.7332389454686219,
            0.7765647676942035,
        ];
        for (found, expected) in stats.columns().into_iter().flatten().zip(expected) {
            assert!((found[2] - expected).abs() < 1e-4, "{found:?} {expected}");
        }
    }

    #[test]
    fn merging_equals_computing_over_all_rows() {
        let rows: Vec<f64> = (0..100).map(|k| f64::from(k * k % 37)).collect();
        let all = FeatureStats::of_series(&[&rows[..]]);
        let merged = FeatureStats::of_series(&[&rows[..30]]).merged(&FeatureStats::of_series(&[&rows[30..]]));
        assert_eq!((merged.count, merged.min, merged.max), (100, all.min, all.max));
        assert!(close(merged.mean[0], all.mean[0]) && close(merged.std[0], all.std[0]));
    }
}
