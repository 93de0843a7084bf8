//! What the data set says of its videos: cameras, episodes, files. Reads any LeRobot v3.0 data set, not only our own.

use crate::config::schema::ColorRange;
use crate::dataset::reader::TableReader;
use crate::dataset::{DatasetError, disk, info, layout};
use arrow_array::{Array, Float64Array, Int64Array, RecordBatch};
use serde_json::{Value, json};
use std::path::{Component, Path, PathBuf};

type Result<T> = std::result::Result<T, DatasetError>;

/// The videos of a data set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Source {
    /// Rows a second, and frames a second of every video.
    pub fps: u32,
    pub cameras: Vec<Camera>,
    /// In their order.
    pub episodes: Vec<Episode>,
}

/// One camera, as info.json has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Camera {
    /// Its feature, such as `observation.images.front`.
    pub key: String,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// FFmpeg's canonical name.
    pub codec: Option<String>,
    /// Frames from one key frame to the next.
    pub gop: Option<u32>,
    /// Constant quality.
    pub quality: Option<u32>,
    /// Distances instead of colours, in more than 8 bits.
    pub depth: bool,
    /// The videos hold sound.
    pub audio: bool,
}

impl Camera {
    /// Why its videos are not encoded anew.
    pub fn left_alone(&self) -> Option<&'static str> {
        if self.depth {
            Some("a depth map, whose values encoding would change")
        } else if self.audio {
            Some("videos with sound, which would be lost")
        } else {
            None
        }
    }
}

/// One episode.
#[derive(Clone, Debug, PartialEq)]
pub struct Episode {
    pub index: u64,
    /// Rows, and frames of every camera.
    pub length: u64,
    /// By camera.
    pub videos: Vec<Span>,
}

/// Where an episode's frames of one camera lie.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Numbers of chunk and file.
    pub place: (u64, u64),
    /// From the data set's root.
    pub path: PathBuf,
    /// Time of the first frame in the file.
    pub from_s: f64,
}

/// How a camera's videos are encoded now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoding {
    pub codec: &'static str,
    pub color_range: ColorRange,
    pub gop: u32,
    pub quality: u32,
    pub preset: Option<String>,
}

const RESTORE: &str = "restore the file from a copy";

impl Source {
    /// Reads info.json and the episodes' table.
    pub fn read(root: &Path) -> Result<Source> {
        let info = read_info(root)?;
        let path = root.join(layout::INFO);
        let invalid = |expected: &str, found: &Value| invalid(&path, expected, found.to_string());
        let fps = info["fps"].as_f64().filter(|fps| fps.fract() == 0.0 && (1.0..=1000.0).contains(fps));
        let fps = fps.ok_or_else(|| invalid("a whole number of frames a second in `fps`", &info["fps"]))? as u32;
        let mut cameras = Vec::new();
        for (key, feature) in info["features"].as_object().into_iter().flatten() {
            if feature["dtype"] != "video" {
                continue;
            }
            // LeRobot names the axes; heights come first.
            let side = |axis: usize| feature["shape"][axis].as_u64().and_then(|n| u32::try_from(n).ok());
            let (Some(height), Some(width)) = (side(0), side(1)) else {
                return Err(invalid(&format!("height and width in features.{key}.shape"), &feature["shape"]));
            };
            let count = |name: &str| feature["info"][name].as_u64().and_then(|n| u32::try_from(n).ok());
            let flag = |name: &str| feature["info"][name] == true;
            cameras.push(Camera {
                key: key.clone(),
                width,
                height,
                codec: feature["info"]["video.codec"].as_str().map(str::to_string),
                gop: count("video.g"),
                quality: count("video.crf"),
                depth: flag("is_depth_map") || flag("video.is_depth_map"),
                audio: flag("has_audio"),
            });
        }
        let template = match info["video_path"].as_str() {
            Some(template) => template,
            None if cameras.is_empty() => "",
            None => return Err(invalid("a template of the videos' paths in `video_path`", &info["video_path"])),
        };
        let mut episodes = Vec::new();
        let folder = root.join(layout::EPISODES);
        for chunk in disk::names(&folder)? {
            let folder = folder.join(chunk);
            for name in if folder.is_dir() { disk::names(&folder)? } else { Vec::new() } {
                if name.ends_with(".parquet") {
                    read_episodes(&folder.join(name), &cameras, template, &mut episodes)?;
                }
            }
        }
        Ok(Source { fps, cameras, episodes })
    }
}

/// Brings info.json up to date: how the videos of each camera named are encoded. True if there was something to change.
pub fn write_encodings(root: &Path, encodings: &[(String, Encoding)]) -> Result<bool> {
    let before = read_info(root)?;
    let mut after = before.clone();
    for (key, encoding) in encodings {
        // FFmpeg's names; for AV1 it has one only.
        let pix_fmt = match encoding.color_range {
            ColorRange::Full if encoding.codec != "av1" => "yuvj420p",
            _ => "yuv420p",
        };
        let video = &mut after["features"][key]["info"];
        for (name, value) in [
            ("video.codec", json!(encoding.codec)),
            ("video.pix_fmt", json!(pix_fmt)),
            ("video.g", json!(encoding.gop)),
            ("video.crf", json!(encoding.quality)),
            ("video.preset", json!(encoding.preset)),
            ("video.fast_decode", json!(0)),
            ("video.extra_options", json!({})),
        ] {
            video[name] = value;
        }
    }
    if before == after {
        return Ok(false);
    }
    let path = root.join(layout::INFO);
    let temporary = path.with_extension("json.tmp");
    disk::write(&temporary, &info::to_json_bytes(&after, "info.json")?)?;
    disk::sync(&temporary)?;
    disk::rename(&temporary, &path)?;
    disk::sync(&root.join("meta"))?;
    Ok(true)
}

/// The content of info.json; refused when it is not that of a LeRobot v3.0 data set.
pub fn read_info(root: &Path) -> Result<Value> {
    let path = root.join(layout::INFO);
    if !path.is_file() {
        let found = if root.is_dir() { "no meta/info.json" } else { "no such folder" };
        return Err(DatasetError::Invalid {
            path: root.to_owned(),
            expected: "a LeRobot v3.0 data set".into(),
            found: found.into(),
            remedy: "give the folder that holds meta/, data/ and videos/",
        });
    }
    let info: Value =
        serde_json::from_slice(&disk::read(&path)?).map_err(|error| invalid(&path, "JSON", error.to_string()))?;
    match info["codebase_version"].as_str() {
        Some(version) if version.starts_with("v3.") => Ok(info),
        _ => Err(DatasetError::Invalid {
            path,
            expected: format!("codebase_version \"{}\"", info::VERSION),
            found: info["codebase_version"].to_string(),
            remedy: "convert the data set with LeRobot's scripts first",
        }),
    }
}

/// Appends a table's episodes.
fn read_episodes(path: &Path, cameras: &[Camera], template: &str, episodes: &mut Vec<Episode>) -> Result<()> {
    let damaged = |found: String| invalid(path, "a table of episodes", found);
    // Statistics are most of the table, and of no use here.
    let wanted = |name: &str| ["episode_index", "length"].contains(&name) || name.starts_with("videos/");
    let bytes = bytes::Bytes::from(disk::read(path)?);
    for batch in TableReader::new(bytes, wanted, 1024).map_err(damaged)? {
        let batch = batch.map_err(damaged)?;
        for row in 0..batch.num_rows() {
            let number = |name: &str| number(&batch, name, row).map_err(damaged);
            let index = number("episode_index")? as u64;
            let mut videos = Vec::new();
            for Camera { key, .. } in cameras {
                let column = |name: &str| number(&format!("videos/{key}/{name}"));
                let place = (column("chunk_index")? as u64, column("file_index")? as u64);
                let path = fill_template(template, key, place).map_err(damaged)?;
                videos.push(Span { place, path, from_s: column("from_timestamp")? });
            }
            episodes.push(Episode { index, length: number("length")? as u64, videos });
        }
    }
    Ok(())
}

/// A value of a numeric column, at least 0.
fn number(batch: &RecordBatch, name: &str, row: usize) -> std::result::Result<f64, String> {
    let column = batch.column_by_name(name).ok_or_else(|| format!("no column `{name}`"))?;
    let value = if column.is_null(row) {
        None
    } else if let Some(integers) = column.as_any().downcast_ref::<Int64Array>() {
        Some(integers.value(row) as f64)
    } else {
        column.as_any().downcast_ref::<Float64Array>().map(|floats| floats.value(row))
    };
    value.filter(|v| v.is_finite() && *v >= 0.0).ok_or_else(|| format!("no number in row {row} of column `{name}`"))
}

/// Fills in a template of info.json, such as `videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4`.
pub fn fill_template(template: &str, key: &str, (chunk, file): (u64, u64)) -> std::result::Result<PathBuf, String> {
    let unknown = || format!("the template `{template}` in info.json");
    let mut path = String::new();
    let mut rest = template;
    while let Some((text, tail)) = rest.split_once('{') {
        let (field, tail) = tail.split_once('}').ok_or_else(unknown)?;
        let (name, format) = field.split_once(':').unwrap_or((field, ""));
        // A longer number than any: who asks for it wants memory.
        let width = Some(format.trim_end_matches('d').parse().unwrap_or(0)).filter(|width| *width <= 20);
        let width: usize = width.ok_or_else(unknown)?;
        path += text;
        path += &match name {
            "video_key" => key.to_string(),
            "chunk_index" | "episode_chunk" => format!("{chunk:0width$}"),
            "file_index" => format!("{file:0width$}"),
            _ => return Err(unknown()),
        };
        rest = tail;
    }
    let path = PathBuf::from(path + rest);
    let inside = path.components().all(|part| matches!(part, Component::Normal(_)));
    if inside { Ok(path) } else { Err(format!("the path {}, which leads out of the data set", path.display())) }
}

fn invalid(path: &Path, expected: &str, found: String) -> DatasetError {
    DatasetError::Invalid { path: path.to_owned(), expected: expected.into(), found, remedy: RESTORE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lerobots_sample_is_read() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/lerobot-v3-sample");
        let source = Source::read(&root).unwrap();
        assert_eq!((source.fps, source.cameras.len(), source.episodes.len()), (30, 2, 2));
        let wrist = &source.cameras[1];
        assert_eq!((wrist.key.as_str(), wrist.width, wrist.height), ("observation.images.wrist", 320, 240));
        assert_eq!((wrist.codec.as_deref(), wrist.left_alone()), (Some("av1"), None));
        let second = &source.episodes[1];
        assert_eq!(
            (second.index, second.length, second.videos[1].place, second.videos[1].from_s),
            (1, 30, (0, 0), 1.0)
        );
        assert!(root.join(&second.videos[1].path).is_file());
    }

    #[test]
    fn paths_come_from_the_template() {
        let path = |template: &str| fill_template(template, "a.b", (1, 23)).map(|path| path.display().to_string());
        assert_eq!(path(layout::VIDEO_TEMPLATE), Ok("videos/a.b/chunk-001/file-023.mp4".into()));
        assert_eq!(path("{video_key}/{file_index}.mp4"), Ok("a.b/23.mp4".into()));
        for bad in
            ["{video_key", "{other}.mp4", "../{video_key}.mp4", "/x/{video_key}.mp4", "{file_index:0999999d}.mp4"]
        {
            assert!(path(bad).is_err(), "{bad}");
        }
    }
}
