//! `meta/info.json`: whether it says what it must. Pure.

use super::report::Report;
use super::rules;
use crate::dataset::{info, layout};
use crate::regenerate::source::fill_template;
use arrow_schema::DataType;
use serde_json::Value;
use std::path::Path;

/// What the rest of the data set is held against.
#[derive(Clone, Debug)]
pub struct Facts {
    pub fps: u32,
    pub features: Vec<Feature>,
    pub episodes: Option<u64>,
    pub frames: Option<u64>,
    pub tasks: Option<u64>,
    pub data_path: String,
    /// Empty without one.
    pub video_path: String,
}

/// A column, or a camera.
#[derive(Clone, Debug)]
pub struct Feature {
    pub key: String,
    pub kind: Kind,
    /// Values of a row.
    pub values: usize,
    /// It is one value in the table, not a list of them.
    pub scalar: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Video(Video),
    /// Pictures inside the table.
    Image,
    Numbers(DataType),
    /// Text, and what else is not checked.
    Other,
}

/// How a camera's videos are to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Video {
    pub height: u64,
    pub width: u64,
    pub codec: Option<String>,
    /// Channels of its statistics.
    pub channels: usize,
    /// The statistics are distances, not colours.
    pub depth: bool,
}

impl Feature {
    pub fn is_camera(&self) -> bool {
        matches!(self.kind, Kind::Video(_) | Kind::Image)
    }
}

/// Most values of a feature in a row; beyond it the shape is taken for damage.
const MAX_VALUES: u64 = 1 << 20;
/// Counting columns that every data set has.
const DEFAULTS: [(&str, &str); 5] = [
    ("timestamp", "float32"),
    ("frame_index", "int64"),
    ("episode_index", "int64"),
    ("index", "int64"),
    ("task_index", "int64"),
];

impl Facts {
    /// Checks the file; none when nothing else can be checked without what is wrong in it.
    pub fn read(info: &Value, report: &mut Report) -> Option<Facts> {
        let at = |key: &str| format!("{} {key}", layout::INFO);
        let version = &info["codebase_version"];
        if version != info::VERSION {
            report.add(&rules::VERSION, None, at("codebase_version"), info::VERSION, version.to_string());
            if !version.as_str().is_some_and(|version| version.starts_with("v3.")) {
                return None;
            }
        }
        let fps = info["fps"].as_f64().filter(|fps| fps.fract() == 0.0 && (1.0..=1000.0).contains(fps));
        if fps.is_none() {
            report.add(&rules::INFO, None, at("fps"), "a whole number from 1 to 1000", info["fps"].to_string());
        }
        let mut number = |key: &str| {
            let number = info[key].as_u64();
            if number.is_none() {
                report.add(&rules::INFO, None, at(key), "a whole number", info[key].to_string());
            }
            number
        };
        let (episodes, frames, tasks) = (number("total_episodes"), number("total_frames"), number("total_tasks"));
        for key in ["chunks_size", "data_files_size_in_mb", "video_files_size_in_mb"] {
            number(key);
        }
        let features = features(info, report);
        if let Some(episodes) = episodes {
            splits(&info["splits"], episodes, report);
        }
        let videos = features.iter().flatten().any(|feature| matches!(feature.kind, Kind::Video(_)));
        let mut template = |key: &str, needed: bool, model: &str| match info[key].as_str() {
            None if !needed => String::new(),
            found => {
                let found = found.unwrap_or_default();
                let known = fill_template(found, "key", (0, 0)).is_ok_and(|path| {
                    // Without both numbers files would lie on top of each other.
                    let differ = |place| fill_template(found, "key", place).is_ok_and(|other| other != path);
                    differ((1, 0)) && differ((0, 1))
                });
                if !known {
                    report.add(
                        &rules::INFO,
                        None,
                        at(key),
                        format!("a template such as {model}"),
                        info[key].to_string(),
                    );
                }
                if known { found.to_owned() } else { model.to_owned() }
            }
        };
        let data_path = template("data_path", true, layout::DATA_TEMPLATE);
        let video_path = template("video_path", videos, layout::VIDEO_TEMPLATE);
        let mut features = features?;
        if let Some(fps) = fps {
            for feature in &mut features {
                video_block(info, feature, fps, report);
            }
        }
        Some(Facts { fps: fps? as u32, features, episodes, frames, tasks, data_path, video_path })
    }

    pub fn videos(&self) -> impl Iterator<Item = (&str, &Video)> {
        self.features.iter().filter_map(|feature| match &feature.kind {
            Kind::Video(video) => Some((feature.key.as_str(), video)),
            _ => None,
        })
    }

    /// Columns of the data tables.
    pub fn columns(&self) -> impl Iterator<Item = &Feature> {
        self.features.iter().filter(|feature| !matches!(feature.kind, Kind::Video(_)))
    }
}

/// The features that can be understood; none without any.
fn features(info: &Value, report: &mut Report) -> Option<Vec<Feature>> {
    let all = info["features"].as_object().filter(|all| !all.is_empty());
    let Some(all) = all else {
        let place = format!("{} features", layout::INFO);
        report.add(
            &rules::FEATURE,
            None,
            place,
            "features by name",
            if info["features"].is_null() { "none" } else { "none of use" },
        );
        return None;
    };
    let mut features = Vec::new();
    for (key, found) in all {
        match feature(key, found) {
            Ok(feature) => {
                if feature.kind == Kind::Other {
                    let place = format!("{} features.{key}", layout::INFO);
                    report.add(
                        &rules::FEATURE_UNCHECKED,
                        None,
                        place,
                        "numbers or pictures",
                        found["dtype"].to_string(),
                    );
                }
                features.push(feature);
            }
            Err((expected, found)) => {
                report.add(&rules::FEATURE, None, format!("{} features.{key}", layout::INFO), expected, found);
            }
        }
    }
    for (key, dtype) in DEFAULTS {
        let found = &all.get(key);
        let right = found.is_some_and(|found| found["dtype"] == dtype && found["shape"] == serde_json::json!([1]));
        if !right {
            let found = found.map_or("none".into(), |found| format!("{} of shape {}", found["dtype"], found["shape"]));
            let place = format!("{} features.{key}", layout::INFO);
            report.add(&rules::FEATURE, None, place, format!("\"{dtype}\" of shape [1]"), found);
        }
    }
    Some(features)
}

/// One feature; else what was expected, and found.
fn feature(key: &str, found: &Value) -> Result<Feature, (String, String)> {
    let wrong = |expected: &str, found: &Value| Err((expected.to_owned(), found.to_string()));
    if key.is_empty() || key.contains('/') {
        return Err(("a name without `/`".into(), format!("`{key}`")));
    }
    let Some(dtype) = found["dtype"].as_str() else {
        return wrong("a type in `dtype`", &found["dtype"]);
    };
    let shape: Option<Vec<u64>> = found["shape"].as_array().and_then(|s| s.iter().map(Value::as_u64).collect());
    let values = |shape: &[u64]| shape.iter().try_fold(1u64, |n, side| n.checked_mul(*side));
    let shape = shape.filter(|shape| values(shape).is_some_and(|n| n > 0));
    let Some(shape) = shape else {
        return wrong("whole numbers above 0 in `shape`", &found["shape"]);
    };
    let names = &found["names"];
    // Some data sets name groups of values.
    let names_fit = match names.as_array() {
        Some(names) if shape.len() == 1 && dtype != "video" => names.len() as u64 == shape[0],
        Some(names) => names.len() == shape.len(),
        None => names.is_null() || names.is_object(),
    };
    if !names_fit {
        return wrong(&format!("names for the shape {}", found["shape"]), names);
    }
    let scalar = shape == [1];
    let kind = match dtype {
        "video" => {
            // Older versions say `channel`, and other programs put it first.
            let axis = |name: &str| {
                let named = |axis: &Value| {
                    axis.as_str().is_some_and(|axis| axis == name || axis.strip_suffix('s') == Some(name))
                };
                shape.get(names.as_array()?.iter().position(named)?).copied()
            };
            let (Some(height), Some(width), Some(channels)) = (axis("height"), axis("width"), axis("channel")) else {
                return wrong("the names height, width and channels", names);
            };
            if shape.len() != 3 || channels > 4 {
                return wrong("height, width and at most 4 channels in `shape`", &found["shape"]);
            }
            let block = &found["info"];
            let codec = block["video.codec"].as_str().map(str::to_owned);
            let depth = block["is_depth_map"] == true || block["video.is_depth_map"] == true;
            Kind::Video(Video { height, width, codec, channels: channels as usize, depth })
        }
        "image" => Kind::Image,
        "float16" => Kind::Numbers(DataType::Float16),
        "float32" => Kind::Numbers(DataType::Float32),
        "float64" => Kind::Numbers(DataType::Float64),
        "int8" => Kind::Numbers(DataType::Int8),
        "int16" => Kind::Numbers(DataType::Int16),
        "int32" => Kind::Numbers(DataType::Int32),
        "int64" => Kind::Numbers(DataType::Int64),
        "uint8" => Kind::Numbers(DataType::UInt8),
        "uint16" => Kind::Numbers(DataType::UInt16),
        "uint32" => Kind::Numbers(DataType::UInt32),
        "uint64" => Kind::Numbers(DataType::UInt64),
        "bool" => Kind::Numbers(DataType::Boolean),
        _ => Kind::Other,
    };
    let values = values(&shape).filter(|n| *n <= MAX_VALUES || matches!(kind, Kind::Video(_) | Kind::Image));
    let Some(values) = values else {
        return wrong(&format!("a shape of at most {MAX_VALUES} values"), &found["shape"]);
    };
    let values = if matches!(kind, Kind::Numbers(_)) { values as usize } else { 0 };
    Ok(Feature { key: key.to_owned(), kind, values, scalar })
}

/// What info.json says of a camera's encoding, against its shape.
fn video_block(info: &Value, feature: &Feature, fps: f64, report: &mut Report) {
    let Kind::Video(video) = &feature.kind else { return };
    let block = &info["features"][&feature.key]["info"];
    let at = |key: &str| format!("{} features.{}.info {key}", layout::INFO, feature.key);
    for (key, expected) in
        [("video.height", video.height as f64), ("video.width", video.width as f64), ("video.fps", fps)]
    {
        match block[key].as_f64() {
            Some(found) if found == expected => {}
            Some(found) => report.add(&rules::FEATURE, None, at(key), expected.to_string(), found.to_string()),
            None => report.add(&rules::VIDEO_INFO, None, at(key), expected.to_string(), block[key].to_string()),
        }
    }
    if video.codec.is_none() {
        let found = block["video.codec"].to_string();
        report.add(&rules::VIDEO_INFO, None, at("video.codec"), "the videos' codec", found);
    }
}

/// Parts of the data set, such as `"train": "0:12"`.
fn splits(found: &Value, episodes: u64, report: &mut Report) {
    let all = format!("0:{episodes}");
    let place = format!("{} splits", layout::INFO);
    let Some(splits) = found.as_object().filter(|splits| !splits.is_empty()) else {
        return report.add(&rules::SPLITS, None, place, format!("{{\"train\": \"{all}\"}}"), found.to_string());
    };
    let range = |text: &Value| -> Option<(u64, u64)> {
        let (from, to) = text.as_str()?.split_once(':')?;
        Some((from.trim().parse().ok()?, to.trim().parse().ok()?))
    };
    for (name, text) in splits {
        let fits = match range(text) {
            Some(range) if splits.len() == 1 => range == (0, episodes),
            Some((from, to)) => from <= to && to <= episodes,
            None => false,
        };
        if !fits {
            let expected = if splits.len() == 1 { format!("\"{all}\"") } else { format!("a range within {all}") };
            report.add(&rules::SPLITS, None, format!("{place}.{name}"), expected, text.to_string());
        }
    }
}

/// The file of a series, from the data set's root.
pub fn file(template: &str, key: &str, place: (u64, u64)) -> Option<String> {
    let path = fill_template(template, key, place).ok()?;
    Some(Path::new(&path).to_str()?.to_owned())
}
