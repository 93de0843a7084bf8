//! `meta/info.json`: what a data set holds. Written as LeRobot writes it, to the byte; keys that are not known here are kept.

use super::error::{DatasetError, Difference};
use super::layout::{CHUNK_SIZE, DATA_TEMPLATE, VIDEO_TEMPLATE};
use super::spec::{CameraSpec, DatasetSpec, VideoInfo};
use crate::config::schema::ColorRange;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::path::Path;

/// The format's version.
pub const VERSION: &str = "v3.0";
pub const ACTION: &str = "action";
pub const STATE: &str = "observation.state";

/// The file's content, keys in LeRobot's order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Info {
    pub codebase_version: String,
    pub fps: u32,
    /// By name, in the order of the tables' columns.
    pub features: Map<String, Value>,
    pub total_episodes: u64,
    pub total_frames: u64,
    pub total_tasks: u64,
    pub chunks_size: u64,
    pub data_files_size_in_mb: u64,
    pub video_files_size_in_mb: u64,
    pub data_path: String,
    pub video_path: Option<String>,
    pub robot_type: Option<String>,
    pub splits: Map<String, Value>,
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// What a column or a video is filled from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Action,
    State,
    /// Index in [`DatasetSpec::cameras`].
    Camera(usize),
    Timestamp,
    FrameIndex,
    EpisodeIndex,
    Index,
    TaskIndex,
    /// What the operator said of the episode: [`SUCCESS`].
    Success,
}

/// The optional feature that `recorder episodes ROOT export-labels` adds: 1 for success, 0 for failure, -1 for neither.
pub const SUCCESS: &str = "success";

/// A camera's feature is this and its name.
const CAMERA_PREFIX: &str = "observation.images.";

const DEFAULT_FEATURES: [(&str, &str, Source); 5] = [
    ("timestamp", "float32", Source::Timestamp),
    ("frame_index", "int64", Source::FrameIndex),
    ("episode_index", "int64", Source::EpisodeIndex),
    ("index", "int64", Source::Index),
    ("task_index", "int64", Source::TaskIndex),
];

impl Info {
    /// Of a data set without episodes.
    pub fn new(spec: &DatasetSpec) -> Info {
        let mut features = Map::new();
        for (key, names) in [(ACTION, &spec.action_names), (STATE, &spec.state_names)] {
            if !names.is_empty() {
                features.insert(key.into(), json!({"dtype": "float32", "shape": [names.len()], "names": names}));
            }
        }
        for camera in &spec.cameras {
            features.insert(camera.key.clone(), camera_feature(camera, spec.fps));
        }
        for (key, dtype, _) in DEFAULT_FEATURES {
            features.insert(key.into(), json!({"dtype": dtype, "shape": [1], "names": null}));
        }
        let mut info = Info {
            codebase_version: VERSION.into(),
            fps: spec.fps,
            features,
            total_episodes: 0,
            total_frames: 0,
            total_tasks: 0,
            chunks_size: CHUNK_SIZE,
            data_files_size_in_mb: 100,
            video_files_size_in_mb: 200,
            data_path: DATA_TEMPLATE.into(),
            video_path: if spec.cameras.is_empty() { None } else { Some(VIDEO_TEMPLATE.into()) },
            robot_type: spec.robot_type.clone(),
            splits: Map::new(),
            other: Map::new(),
        };
        info.set_totals(0, 0, 0);
        info
    }

    /// Reads the file.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Info, DatasetError> {
        serde_json::from_slice(bytes).map_err(|e| DatasetError::Invalid {
            path: path.to_owned(),
            expected: "LeRobot's description of a v3.0 data set".into(),
            found: e.to_string(),
            remedy: "restore the file, or choose another dataset.root",
        })
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, DatasetError> {
        to_json_bytes(self, "info.json")
    }

    /// Sets the counts, and what follows from them.
    pub fn set_totals(&mut self, episodes: u64, frames: u64, tasks: u64) {
        (self.total_episodes, self.total_frames, self.total_tasks) = (episodes, frames, tasks);
        self.splits.insert("train".into(), json!(format!("0:{episodes}")));
    }

    /// Sets FFmpeg's name of how the pixels of a camera's videos are stored.
    pub fn set_pixel_format(&mut self, key: &str, pix_fmt: &str) {
        if let Some(feature) = self.features.get_mut(key) {
            feature["info"]["video.pix_fmt"] = json!(pix_fmt);
        }
    }

    /// What the data set records, as far as this recorder knows its features.
    pub fn spec(&self) -> DatasetSpec {
        let names = |key: &str| -> Vec<String> {
            let names = self.features.get(key).and_then(|feature| feature["names"].as_array());
            names.into_iter().flatten().filter_map(|name| Some(name.as_str()?.to_owned())).collect()
        };
        let videos = self.features.iter().filter(|(_, feature)| feature["dtype"] == "video");
        let camera = |(key, feature): (&String, &Value)| {
            let number = |value: &Value| value.as_u64().and_then(|n| u32::try_from(n).ok());
            let info = &feature["info"];
            let word = |key: &str| info[key].as_str().map(str::to_owned);
            CameraSpec {
                name: key.strip_prefix(CAMERA_PREFIX).unwrap_or(key).to_owned(),
                key: key.clone(),
                width: number(&feature["shape"][1]).unwrap_or_default(),
                height: number(&feature["shape"][0]).unwrap_or_default(),
                video: VideoInfo {
                    codec: word("video.codec").unwrap_or_default(),
                    pix_fmt: word("video.pix_fmt").unwrap_or_default(),
                    color_range: ColorRange::Limited,
                    gop: number(&info["video.g"]),
                    quality: number(&info["video.crf"]),
                    preset: word("video.preset"),
                },
            }
        };
        DatasetSpec {
            fps: self.fps,
            robot_type: self.robot_type.clone(),
            state_names: names(STATE),
            action_names: names(ACTION),
            cameras: videos.map(camera).collect(),
        }
    }

    /// In which way this data set is not what `spec` records; empty when episodes can be added. How videos are encoded
    /// may differ: every file says it for itself.
    pub fn differences(&self, spec: &DatasetSpec) -> Vec<Difference> {
        let asked = Info::new(spec);
        let mut differences = Vec::new();
        let mut compare = |what: String, expected: Value, found: Value| {
            if expected != found {
                let text = |v: &Value| if v.is_null() { "none".into() } else { v.to_string() };
                differences.push(Difference { what, expected: text(&expected), found: text(&found) });
            }
        };
        let version = |info: &Info| json!(info.codebase_version);
        compare("codebase_version".into(), version(&asked), version(self));
        compare("fps".into(), json!(asked.fps), json!(self.fps));
        compare("robot_type".into(), json!(asked.robot_type), json!(self.robot_type));
        compare("chunks_size".into(), json!(asked.chunks_size), json!(self.chunks_size));
        compare("data_path".into(), json!(asked.data_path), json!(self.data_path));
        if !spec.cameras.is_empty() {
            compare("video_path".into(), json!(asked.video_path), json!(self.video_path));
        }
        // New episodes are unlabelled.
        let labels = |key: &String| key == SUCCESS && self.features[key] == success_feature();
        let more = self.features.keys().filter(|k| !asked.features.contains_key(*k) && !labels(k));
        let keys = asked.features.keys().chain(more);
        for key in keys {
            let (expected, found) = (asked.features.get(key), self.features.get(key));
            let (Some(expected), Some(found)) = (expected, found) else {
                let word = |f: Option<&Value>| if f.is_some() { json!("present") } else { json!("absent") };
                compare(format!("features.{key}"), word(expected), word(found));
                continue;
            };
            for part in ["dtype", "shape", "names"] {
                compare(format!("features.{key}.{part}"), expected[part].clone(), found[part].clone());
            }
        }
        differences
    }

    /// Where the values of each feature come from, in the order of the features. Known features only: call it once
    /// [`Info::differences`] is empty.
    pub fn sources(&self, spec: &DatasetSpec) -> Vec<(String, Source)> {
        let source = |key: &str| match key {
            ACTION => Some(Source::Action),
            STATE => Some(Source::State),
            SUCCESS => Some(Source::Success),
            _ => match spec.cameras.iter().position(|c| c.key == key) {
                Some(camera) => Some(Source::Camera(camera)),
                None => DEFAULT_FEATURES.iter().find(|(name, ..)| *name == key).map(|&(.., source)| source),
            },
        };
        self.features.keys().filter_map(|key| Some((key.clone(), source(key)?))).collect()
    }
}

/// The description of [`SUCCESS`].
pub fn success_feature() -> Value {
    json!({"dtype": "int64", "shape": [1], "names": null})
}

fn camera_feature(camera: &CameraSpec, fps: u32) -> Value {
    let video = &camera.video;
    json!({
        "dtype": "video",
        "shape": [camera.height, camera.width, 3],
        "names": ["height", "width", "channels"],
        "info": {
            "is_depth_map": false,
            "video.height": camera.height,
            "video.width": camera.width,
            "video.codec": video.codec,
            "video.pix_fmt": video.pix_fmt,
            "video.fps": fps,
            "video.channels": 3,
            "has_audio": false,
            "video.g": video.gop,
            "video.crf": video.quality,
            "video.preset": video.preset,
            "video.fast_decode": 0,
            // LeRobot's name of the library that it would encode with; it knows no other.
            "video.video_backend": "pyav",
            "video.extra_options": {}
        }
    })
}

/// JSON as Python's `json.dump(…, indent=4, ensure_ascii=False)` writes it.
pub fn to_json_bytes(value: &impl Serialize, what: &str) -> Result<Vec<u8>, DatasetError> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    value
        .serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))
        .map_err(DatasetError::encode(what))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &[u8] = include_bytes!("../../tests/data/lerobot-v3-sample/meta/info.json");

    #[test]
    fn lerobots_file_is_written_back_to_the_byte() {
        let info = Info::parse(SAMPLE, Path::new("info.json")).unwrap();
        assert_eq!(String::from_utf8(info.to_bytes().unwrap()).unwrap(), String::from_utf8_lossy(SAMPLE));
    }

    #[test]
    fn the_same_set_up_gives_lerobots_file() {
        let joints = ["shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper"];
        let names: Vec<String> = joints.iter().map(|joint| format!("{joint}.pos")).collect();
        let camera = |name: &str| CameraSpec {
            name: name.into(),
            key: format!("observation.images.{name}"),
            width: 320,
            height: 240,
            video: VideoInfo {
                codec: "av1".into(),
                pix_fmt: "yuv420p".into(),
                color_range: ColorRange::Limited,
                gop: Some(2),
                quality: Some(30),
                preset: Some("12".into()),
            },
        };
        let mut info = Info::new(&DatasetSpec {
            fps: 30,
            robot_type: Some("so_follower".into()),
            state_names: names.clone(),
            action_names: names,
            cameras: vec![camera("front"), camera("wrist")],
        });
        info.set_totals(2, 60, 1);
        // SVT-AV1 numbers its presets.
        let text = String::from_utf8(info.to_bytes().unwrap()).unwrap().replace("\"12\"", "12");
        assert_eq!(text, String::from_utf8_lossy(SAMPLE));
    }

    #[test]
    fn a_file_says_what_is_recorded() {
        let info = Info::parse(SAMPLE, Path::new("info.json")).unwrap();
        let spec = info.spec();
        assert!(info.differences(&spec).is_empty());
        let camera = &spec.cameras[0];
        assert_eq!((camera.name.as_str(), camera.width, camera.height), ("front", 320, 240));
        assert_eq!((camera.video.codec.as_str(), camera.video.gop), ("av1", Some(2)));
    }

    #[test]
    fn unknown_keys_are_kept() {
        let text = String::from_utf8_lossy(SAMPLE).replace("\"fps\"", "\"their_key\": [1],\n    \"fps\"");
        let info = Info::parse(text.as_bytes(), Path::new("info.json")).unwrap();
        assert_eq!(info.other["their_key"], json!([1]));
        assert!(String::from_utf8(info.to_bytes().unwrap()).unwrap().contains("their_key"));
    }
}
