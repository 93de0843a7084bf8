//! `recorder verify`: nothing is found in data sets that are as they should be, and one damage is found as what it is.

mod dataset_support;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, FixedSizeListArray, Float32Array, Float64Array, Int64Array, ListArray, RecordBatch,
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field, Schema};
use dataset_support::*;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use recorder::clock::Stamp;
use recorder::codec::{Fragment, PixelHistogram, SampleFormat};
use recorder::dataset::{Dataset, EncoderSwitch, EpisodeCounters, FileSum};
use recorder::frame::DropReason;
use recorder::verify::{Finding, Report, Severity, verify};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, LazyLock};

const INFO: &str = "meta/info.json";
const STATS: &str = "meta/stats.json";
const TASKS: &str = "meta/tasks.parquet";
const DATA: &str = "data/chunk-000/file-000.parquet";
const ENTRIES: &str = "meta/episodes/chunk-000/file-000.parquet";
const FRONT: &str = "videos/observation.images.front/chunk-000/file-000.mp4";
const SUMMARY: &str = "recorder/episodes/chunk-000/file-000.json";
const ROWS: &str = "recorder/rows/chunk-000/file-000.parquet";

/// A data set of ours: two episodes of 30 rows.
static OURS: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let spec = spec(Codec::H264);
    let mut dataset = Dataset::create(dir.path(), spec.clone()).unwrap();
    let video = encode(Codec::H264, 0, 30);
    record(&mut dataset, &spec, 0, "pick", &video);
    record(&mut dataset, &spec, 1, "place", &video);
    dir
});

fn ours(to: &Path) {
    for (path, bytes) in tree(OURS.path()) {
        let (from, target) = (OURS.path().join(&path), to.join(&path));
        if from.is_dir() {
            fs::create_dir_all(target).unwrap();
        } else {
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::write(target, bytes).unwrap();
        }
    }
}

/// Ours as a recorder made it that wrote no checksums.
fn ours_of_old(to: &Path) {
    ours(to);
    for n in 0..2 {
        let path = to.join(format!("recorder/episodes/chunk-000/file-{n:03}.json"));
        change_json(&path, |summary| {
            assert!(summary.as_object_mut().unwrap().remove("files").is_some());
        });
    }
}

fn change_json(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, serde_json::to_vec(&value).unwrap()).unwrap();
}

fn change_text(path: &Path, old: &str, new: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(old), "{old} is not in {}", path.display());
    fs::write(path, text.replace(old, new)).unwrap();
}

fn change_table(path: &Path, change: impl FnOnce(RecordBatch) -> RecordBatch) {
    let builder = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap()).unwrap();
    let batches: Vec<_> = builder.with_batch_size(1 << 20).build().unwrap().map(Result::unwrap).collect();
    let [batch] = <[RecordBatch; 1]>::try_from(batches).unwrap();
    let batch = change(batch);
    let mut writer = ArrowWriter::try_new(fs::File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// Replaces a column.
fn change_column(path: &Path, name: &str, change: impl FnOnce(&ArrayRef) -> ArrayRef) {
    change_table(path, |batch| {
        let at = batch.schema().index_of(name).unwrap();
        let mut columns = batch.columns().to_vec();
        columns[at] = change(&columns[at]);
        let mut fields: Vec<Field> = batch.schema().fields().iter().map(|field| (**field).clone()).collect();
        fields[at] = Field::new(name, columns[at].data_type().clone(), true);
        let schema = Schema::new_with_metadata(fields, batch.schema().metadata().clone());
        RecordBatch::try_new(Arc::new(schema), columns).unwrap()
    });
}

/// Replaces numbers of a column by number, lists' one behind the other.
fn change_numbers(path: &Path, name: &str, change: impl Fn(usize, f64) -> f64) {
    fn mapped(array: &ArrayRef, change: &dyn Fn(usize, f64) -> f64) -> ArrayRef {
        match array.data_type() {
            DataType::Int64 => {
                let values = array.as_primitive::<Int64Type>().values().iter().enumerate();
                Arc::new(values.map(|(i, v)| change(i, *v as f64) as i64).collect::<Int64Array>())
            }
            DataType::Float32 => {
                let values = array.as_primitive::<Float32Type>().values().iter().enumerate();
                Arc::new(values.map(|(i, v)| change(i, f64::from(*v)) as f32).collect::<Float32Array>())
            }
            DataType::Float64 => {
                let values = array.as_primitive::<Float64Type>().values().iter().enumerate();
                Arc::new(values.map(|(i, v)| change(i, *v)).collect::<Float64Array>())
            }
            DataType::FixedSizeList(item, n) => {
                let values = mapped(array.as_fixed_size_list().values(), change);
                Arc::new(FixedSizeListArray::try_new(item.clone(), *n, values, None).unwrap())
            }
            DataType::List(item) => {
                let list = array.as_list::<i32>();
                let values = mapped(list.values(), change);
                Arc::new(ListArray::try_new(item.clone(), list.offsets().clone(), values, None).unwrap())
            }
            other => panic!("{other}"),
        }
    }
    change_column(path, name, |array| mapped(array, &change));
}

/// Exchanges two values, which leaves statistics as they are.
fn swap(path: &Path, name: &str) {
    let values = std::cell::RefCell::new(Vec::new());
    change_numbers(path, name, |_, v| {
        values.borrow_mut().push(v);
        v
    });
    let values = values.into_inner();
    change_numbers(path, name, |i, v| match i {
        3 => values[4],
        4 => values[3],
        _ => v,
    });
}

fn truncate(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() * 2 / 3]).unwrap();
}

fn ffmpeg(path: &Path, before: &str, after: &str) {
    let new = path.with_file_name("new.mp4");
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-y"]).args(before.split_whitespace()).arg("-i").arg(path);
    let (ok, words) = run(command.args(after.split_whitespace()).arg(&new));
    assert!(ok, "{words}");
    fs::rename(new, path).unwrap();
}

/// The names of the rules that are broken.
fn broken(report: &Report) -> Vec<&'static str> {
    let rules: BTreeSet<_> = report.counts.iter().map(|count| count.rule).collect();
    rules.into_iter().collect()
}

/// Does one damage to a clean data set, and expects the rules that it breaks, and words of a finding.
#[track_caller]
fn found(name: &str, clean: fn(&Path), deep: bool, damage: impl FnOnce(&Path), rules: &[&str], words: &str) {
    if let Some(problem) = problem(name, clean, deep, damage, rules, words) {
        panic!("{problem}");
    }
}

fn problem(
    name: &str,
    clean: fn(&Path),
    deep: bool,
    damage: impl FnOnce(&Path),
    rules: &[&str],
    words: &str,
) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    clean(dir.path());
    damage(dir.path());
    let before = tree(dir.path());
    let report = verify(dir.path(), deep).unwrap();
    let line = |f: &Finding| format!("{}: expected {}, found {}\n", f.place, f.expected, f.found);
    let text = report.findings.iter().map(line).collect::<String>() + &report.text();
    if broken(&report) != rules {
        return Some(format!("{name}: expected {rules:?}, found {:?}:\n{text}", broken(&report)));
    }
    if !text.contains(words) {
        return Some(format!("{name}: `{words}` is not in\n{text}"));
    }
    assert!(report.findings.iter().all(|f| !f.remedy.is_empty() && !f.place.is_empty() && !f.expected.is_empty()));
    let faults = report.counts.iter().any(|count| count.severity == Severity::Fault);
    assert_eq!(report.exit_code(), u8::from(faults), "{name}");
    assert!(tree(dir.path()) == before, "{name}: nothing is changed");
    None
}

#[test]
fn clean_data_sets_have_no_findings() {
    for (clean, rows) in [(ours as fn(&Path), 60), (ours_of_old, 60), (lerobot_sample, 60)] {
        for deep in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            clean(dir.path());
            let report = verify(dir.path(), deep).unwrap();
            assert!(report.findings.is_empty() && report.notes.is_empty(), "{}", report.text());
            assert_eq!((report.episodes, report.frames, report.per_episode.len()), (2, rows, 2));
        }
    }
    for codec in [Codec::Mjpeg, Codec::Hevc, Codec::Av1] {
        let dir = tempfile::tempdir().unwrap();
        let spec = spec(codec);
        let mut dataset = Dataset::create(dir.path(), spec.clone()).unwrap();
        record(&mut dataset, &spec, 0, "pick", &encode(codec, 0, 20));
        drop(dataset);
        let report = verify(dir.path(), true).unwrap();
        assert!(report.findings.is_empty(), "{codec:?}: {}", report.text());
    }
}

#[test]
fn a_data_set_that_is_not_there_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("project/data")).unwrap();
    for (path, words) in
        [("project", "no meta/info.json"), ("absent", "no such folder"), ("", "no meta/info.json"), ("file", "a file")]
    {
        fs::write(dir.path().join("file"), "").unwrap();
        let error = verify(&dir.path().join(path), false).unwrap_err().to_string();
        assert!(error.contains(words) && error.contains("expected a LeRobot v3.0 data set"), "{error}");
    }
}

#[test]
fn what_info_json_says_is_checked() {
    type Change = fn(&mut Value);
    let cases: [(&str, Change, &[&str], &str); 20] = [
        ("version", |i| i["codebase_version"] = json!("v2.1"), &["version"], "found \"v2.1\""),
        ("no version", |i| i["codebase_version"] = json!(null), &["version"], "expected v3.0"),
        ("fps", |i| i["fps"] = json!(30.5), &["info"], "meta/info.json fps: found 30.5"),
        ("fps in words", |i| i["fps"] = json!("fast"), &["info"], "a whole number from 1 to 1000"),
        ("no features", |i| i["features"] = json!({}), &["feature"], "features by name"),
        (
            "names",
            |i| i["features"]["action"]["names"] = json!(["a"]),
            &["columns", "feature"],
            "names for the shape [6]",
        ),
        ("shape", |i| i["features"]["action"]["shape"] = json!([0]), &["columns", "feature"], "above 0"),
        (
            "huge shape",
            |i| i["features"]["action"] = json!({"dtype": "float32", "shape": [1u64 << 40], "names": null}),
            &["columns", "feature"],
            "at most",
        ),
        (
            "slash",
            |i| i["features"]["a/b"] = json!({"dtype": "float32", "shape": [1], "names": null}),
            &["feature"],
            "`a/b`",
        ),
        (
            "no timestamp",
            |i| i["features"]["timestamp"]["dtype"] = json!("float64"),
            &["column-type", "feature"],
            "\"float32\" of shape [1]",
        ),
        (
            "rate of a video",
            |i| i["features"]["observation.images.front"]["info"]["video.fps"] = json!(25),
            &["feature"],
            "expected 30",
        ),
        (
            "no video block",
            |i| i["features"]["observation.images.front"]["info"] = json!({}),
            &["video-info"],
            "video.codec",
        ),
        ("rows", |i| i["total_frames"] = json!(61), &["totals"], "expected 60, the entries' sum"),
        ("episodes", |i| i["total_episodes"] = json!(3), &["splits", "totals"], "total_episodes: "),
        ("tasks", |i| i["total_tasks"] = json!(2), &["totals"], "expected 2 tasks"),
        ("no chunks", |i| i["chunks_size"] = json!(null), &["info"], "chunks_size"),
        ("splits", |i| i["splits"] = json!({"train": "0:1", "val": "1:3"}), &["splits"], "splits.val"),
        ("data path", |i| i["data_path"] = json!("data/all.parquet"), &["info"], "a template such as data/chunk-"),
        (
            "greedy path",
            |i| i["video_path"] = json!("videos/{video_key}/{chunk_index:0999999999d}/{file_index}.mp4"),
            &["info"],
            "video_path",
        ),
        (
            "codec",
            |i| i["features"]["observation.images.wrist"]["info"]["video.codec"] = json!("h264"),
            &["video-codec"],
            "found av1",
        ),
    ];
    for (name, change, rules, words) in cases {
        found(name, lerobot_sample, false, |root| change_json(&root.join(INFO), change), rules, words);
    }
    let width = |root: &Path| {
        change_json(&root.join(INFO), |info| {
            let front = &mut info["features"]["observation.images.front"];
            front["shape"] = json!([240, 640, 3]);
            front["info"]["video.width"] = json!(640);
        });
    };
    let older = |root: &Path| {
        change_json(&root.join(INFO), |info| {
            info["features"]["observation.images.front"]["names"] = json!(["height", "width", "channel"]);
            let wrist = &mut info["features"]["observation.images.wrist"];
            (wrist["names"], wrist["shape"]) = (json!(["channels", "height", "width"]), json!([3, 240, 320]));
        });
    };
    found("older names", lerobot_sample, false, older, &[], "");
    found("size", lerobot_sample, false, width, &["video-size"], "expected 640x240, as info.json says");
    found("no JSON", lerobot_sample, false, |root| truncate(&root.join(INFO)), &["info"], "EOF");
    found(
        "no info",
        lerobot_sample,
        false,
        |root| fs::remove_file(root.join(INFO)).unwrap(),
        &["info"],
        "no such file",
    );
}

#[test]
fn files_that_are_missing_damaged_or_strange_are_found() {
    type Damage = fn(&Path);
    let copy = |root: &Path, from: &str, to: &str| {
        fs::copy(root.join(from), root.join(to)).unwrap();
    };
    let cases: [(&str, Damage, &[&str], &str); 21] = [
        (
            "stray rows",
            |r| {
                fs::copy(r.join(DATA), r.join("data/chunk-000/file-001.parquet")).unwrap();
            },
            &["stray-table"],
            "file-001.parquet",
        ),
        (
            "stray entries",
            |r| {
                fs::copy(r.join(ENTRIES), r.join("meta/episodes/chunk-000/file-001.parquet")).unwrap();
            },
            &["entry-place", "episode-index"],
            "episode 0 again",
        ),
        ("stray text", |r| fs::write(r.join("data/notes.txt"), "").unwrap(), &["stray-file"], "data/notes.txt"),
        (
            "stray table above",
            |r| {
                fs::copy(r.join(DATA), r.join("data/file-000.parquet")).unwrap();
            },
            &["stray-file"],
            "data/file-000.parquet",
        ),
        (
            "stray video",
            |r| {
                fs::copy(r.join(FRONT), r.join("videos/observation.images.front/x.mp4")).unwrap();
            },
            &["stray-file"],
            "x.mp4",
        ),
        ("no video", |r| fs::remove_file(r.join(FRONT)).unwrap(), &["missing-file"], "a video of 2 episodes"),
        ("no rows", |r| fs::remove_file(r.join(DATA)).unwrap(), &["missing-file"], "the episode's rows"),
        ("no entries", |r| fs::remove_file(r.join(ENTRIES)).unwrap(), &["missing-file"], "tables of the episodes"),
        ("no tasks", |r| fs::remove_file(r.join(TASKS)).unwrap(), &["missing-file"], TASKS),
        ("no statistics", |r| fs::remove_file(r.join(STATS)).unwrap(), &["stats-missing"], "no such file"),
        ("rows cut off", |r| truncate(&r.join(DATA)), &["unreadable"], DATA),
        ("entries cut off", |r| truncate(&r.join(ENTRIES)), &["unreadable"], ENTRIES),
        ("tasks cut off", |r| truncate(&r.join(TASKS)), &["tasks-table"], TASKS),
        ("statistics cut off", |r| truncate(&r.join(STATS)), &["stats-missing"], "EOF"),
        ("video cut off", |r| truncate(&r.join(FRONT)), &["unreadable"], FRONT),
        ("no video at all", |r| fs::write(r.join(FRONT), "hello, world: no boxes").unwrap(), &["unreadable"], "`ftyp`"),
        ("empty video", |r| fs::write(r.join(FRONT), "").unwrap(), &["unreadable"], "`moov`"),
        (
            "folder for a video",
            |r| {
                fs::remove_file(r.join(FRONT)).unwrap();
                fs::create_dir(r.join(FRONT)).unwrap()
            },
            &["unreadable"],
            FRONT,
        ),
        ("empty rows", |r| fs::write(r.join(DATA), "").unwrap(), &["unreadable"], DATA),
        (
            "foreign rows",
            |r| {
                fs::copy(r.join(TASKS), r.join(DATA)).unwrap();
            },
            &["columns"],
            "no `action`",
        ),
        (
            "foreign entries",
            |r| {
                fs::copy(r.join(TASKS), r.join(ENTRIES)).unwrap();
            },
            &["columns"],
            "episode_index",
        ),
    ];
    let problems: Vec<String> = cases
        .into_iter()
        .filter_map(|(name, damage, rules, words)| problem(name, lerobot_sample, false, damage, rules, words))
        .collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    let lost = |root: &Path| copy(root, STATS, "meta/episodes/chunk-000/stats.json");
    found("JSON among tables", lerobot_sample, false, lost, &["stray-file"], "stats.json");
}

#[test]
fn tables_that_contradict_the_format_are_found() {
    let data = |root: &Path| root.join(DATA);
    let entries = |root: &Path| root.join(ENTRIES);
    type Damage = Box<dyn Fn(&Path)>;
    let numbers = |path: fn(&Path) -> PathBuf, name: &'static str, change: fn(usize, f64) -> f64| -> Damage {
        Box::new(move |root| change_numbers(&path(root), name, change))
    };
    let swapped = |name: &'static str| -> Damage { Box::new(move |root| swap(&root.join(DATA), name)) };
    let stats = |change: fn(&mut Value)| -> Damage { Box::new(move |root| change_json(&root.join(STATS), change)) };
    let list = |root: &Path| {
        change_column(&root.join(DATA), "action", |array| {
            let list = array.as_fixed_size_list();
            let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(6, list.len()));
            let item = Arc::new(Field::new("element", DataType::Float32, true));
            Arc::new(ListArray::try_new(item, offsets, list.values().clone(), None).unwrap())
        });
    };
    let uneven = |root: &Path| {
        change_column(&root.join(DATA), "action", |array| {
            let list = array.as_fixed_size_list();
            let lengths = (0..list.len()).map(|row| {
                if row == 5 {
                    5
                } else if row == 6 {
                    7
                } else {
                    6
                }
            });
            let item = Arc::new(Field::new("element", DataType::Float32, true));
            let offsets = OffsetBuffer::from_lengths(lengths);
            Arc::new(ListArray::try_new(item, offsets, list.values().clone(), None).unwrap())
        });
    };
    let nulls = |root: &Path| {
        change_column(&root.join(DATA), "frame_index", |array| {
            let values = array.as_primitive::<Int64Type>().values();
            Arc::new(values.iter().enumerate().map(|(i, v)| (i != 9).then_some(*v)).collect::<Int64Array>())
        });
    };
    let floats = |root: &Path| {
        change_column(&root.join(DATA), "index", |array| {
            let values = array.as_primitive::<Int64Type>().values();
            Arc::new(values.iter().map(|v| *v as f64).collect::<Float64Array>())
        });
    };
    let without = |path: &'static str, name: &'static str| -> Damage {
        Box::new(move |root| {
            change_table(&root.join(path), |batch| {
                let kept: Vec<usize> =
                    (0..batch.num_columns()).filter(|i| batch.schema().field(*i).name() != name).collect();
                batch.project(&kept).unwrap()
            });
        })
    };
    let added = |root: &Path| {
        change_table(&root.join(DATA), |batch| {
            let mut fields: Vec<Field> = batch.schema().fields().iter().map(|field| (**field).clone()).collect();
            fields.push(Field::new("reward", DataType::Int64, true));
            let mut columns = batch.columns().to_vec();
            columns.push(Arc::new((0..batch.num_rows() as i64).collect::<Int64Array>()));
            RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
        });
    };
    let no_pandas = |root: &Path| {
        change_table(&root.join(TASKS), |batch| {
            let fields: Vec<Field> = batch.schema().fields().iter().map(|field| (**field).clone()).collect();
            RecordBatch::try_new(Arc::new(Schema::new(fields)), batch.columns().to_vec()).unwrap()
        });
    };
    let cases: Vec<(&str, Damage, &[&str], &str)> = vec![
        ("frame_index", swapped("frame_index"), &["frame-index"], "expected 3 in row 3"),
        ("timestamp", swapped("timestamp"), &["timestamp"], "0.100000 in row 3"),
        (
            "timestamp a little off",
            numbers(data, "timestamp", |i, t| if i == 7 { t + 2e-5 } else { t }),
            &["timestamp-rounded"],
            "row 7",
        ),
        ("index", swapped("index"), &["index"], "expected 3 in row 3, found 4"),
        ("not finite", numbers(data, "action", |i, v| if i == 20 { f64::NAN } else { v }), &["finite"], "NaN in row 3"),
        (
            "other values",
            numbers(data, "action", |i, v| if i == 20 { v + 1e4 } else { v }),
            &["quantiles", "stats"],
            "stats/action/max[2]",
        ),
        ("task", numbers(data, "task_index", |_, _| 1.0), &["quantiles", "stats-index", "task"], "a number below 1"),
        (
            "rows of another episode",
            numbers(data, "episode_index", |i, e| if i == 29 { 1.0 } else { e }),
            &["frame-index", "index", "length", "quantiles", "stats", "timestamp"],
            "expected 30 rows, as its entry says",
        ),
        (
            "rows of no episode",
            numbers(data, "episode_index", |i, e| if i >= 30 { 7.0 } else { e }),
            &["length"],
            "rows of episode 7",
        ),
        ("no column", without(DATA, "task_index"), &["columns"], "no `task_index`"),
        ("no column to tell rows apart", without(DATA, "episode_index"), &["columns"], "no `episode_index`"),
        ("another column", Box::new(added), &["columns"], "also `reward`"),
        ("a list of any length", Box::new(list), &["list-column"], "list<float>"),
        ("lists of different lengths", Box::new(uneven), &["column-type", "list-column"], "6 values in each row"),
        ("another type", Box::new(floats), &["column-type"], "expected int64, found double"),
        ("null", Box::new(nulls), &["nulls"], "frame_index"),
        (
            "range",
            numbers(entries, "dataset_to_index", |i, v| v - i as f64),
            &["dataset-index"],
            "expected rows 30 to 60, found 30 to 59",
        ),
        (
            "numbering",
            numbers(entries, "episode_index", |i, _| 2.0 * i as f64),
            &["episode-index", "length"],
            "expected episode 1 next, found episode 2",
        ),
        (
            "negative",
            numbers(entries, "length", |i, v| if i == 1 { -1.0 } else { v }),
            &["columns"],
            "a whole number, found -1",
        ),
        ("place", numbers(entries, "meta/episodes/file_index", |_, _| 3.0), &["entry-place"], "file-003.parquet"),
        (
            "place of the rows",
            numbers(entries, "data/file_index", |i, _| i as f64),
            &["entry-place", "missing-file"],
            "file-001.parquet",
        ),
        (
            "span",
            numbers(entries, "videos/observation.images.front/from_timestamp", |_, v| v / 2.0),
            &["video-span"],
            "expected 1.000000 to 2.000000 s, found 0.500000 to 2.000000 s",
        ),
        (
            "no span",
            without(ENTRIES, "videos/observation.images.front/to_timestamp"),
            &["columns", "stray-file"],
            "where the episode's video is",
        ),
        (
            "place of the video",
            numbers(entries, "videos/observation.images.wrist/file_index", |i, _| i as f64),
            &["missing-file", "unused-frames"],
            "expected 30 frames, one for each row, found 30 frames that no episode uses",
        ),
        (
            "statistics",
            numbers(entries, "stats/action/mean", |i, v| if i == 2 { v + 1.0 } else { v }),
            &["stats"],
            "stats/action/mean[2]",
        ),
        (
            "quantile",
            numbers(entries, "stats/action/q90", |i, v| if i == 2 { v - 1.0 } else { v }),
            &["quantiles"],
            "stats/action/q90[2]",
        ),
        ("index statistics", numbers(entries, "stats/index/max", |_, v| v + 60.0), &["stats-index"], "stats/index/max"),
        (
            "colours",
            numbers(entries, "stats/observation.images.front/max", |_, _| 1.5),
            &["stats"],
            "colours in [0, 1]",
        ),
        ("no statistics", without(ENTRIES, "stats/action/std"), &["stats-missing"], "no `std`"),
        ("no quantiles", without(ENTRIES, "stats/action/q01"), &["quantiles"], "quantiles q01 to q99"),
        ("sum", stats(|s| s["action"]["mean"][0] = json!(99.0)), &["stats"], "meta/stats.json action/mean[0]"),
        ("count", stats(|s| s["action"]["count"][0] = json!(59)), &["stats"], "expected 60, found 59"),
        ("sum's quantile", stats(|s| s["action"]["q50"][0] = json!(99.0)), &["quantiles"], "action/q50[0]"),
        (
            "sum of a camera",
            stats(|s| s["observation.images.front"]["mean"][1][0][0] = json!(0.01)),
            &["stats"],
            "front/mean[1]",
        ),
        ("no sum", stats(|s| s["action"]["std"] = json!(null)), &["stats-missing"], "null in `std`"),
        (
            "a feature without a sum",
            stats(|s| {
                s.as_object_mut().unwrap().remove("action");
            }),
            &["stats-missing"],
            "stats.json action",
        ),
        ("task's index", Box::new(no_pandas), &["tasks-table"], "\"index_columns\": [\"task\"]"),
        (
            "tasks' numbers",
            Box::new(|root| change_numbers(&root.join(TASKS), "task_index", |_, _| 4.0)),
            &["tasks-table"],
            "index 4 at position 0",
        ),
    ];
    assert!(cases.len() >= 30);
    let problems: Vec<String> = cases
        .into_iter()
        .filter_map(|(name, damage, rules, words)| problem(name, lerobot_sample, false, damage, rules, words))
        .collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn videos_that_do_not_fit_their_rows_are_found() {
    let front = |root: &Path| root.join(FRONT);
    let copy = "-map 0:v -c copy";
    let cut = |root: &Path| ffmpeg(&front(root), "", &format!("{copy} -frames:v 59"));
    found("a frame too few", lerobot_sample, false, cut, &["frame-count"], "found 59 frames");
    let scaled = |root: &Path| ffmpeg(&front(root), "", &format!("{copy} -video_track_timescale 90000"));
    found("time scale", lerobot_sample, false, scaled, &["time-scale"], "a time scale of 15360");
    let slower = |root: &Path| ffmpeg(&front(root), "-itsscale 1.1", &format!("{copy} -video_track_timescale 15360"));
    found("rate", lerobot_sample, false, slower, &["frame-time"], "frame 1 at 0.033333 s");
    let groups = |root: &Path| {
        ffmpeg(
            &front(root),
            "",
            "-c:v libx264 -g 60 -keyint_min 60 -sc_threshold 0 -bf 2 -video_track_timescale 15360",
        );
        change_json(&root.join(INFO), |info| {
            info["features"]["observation.images.front"]["info"]["video.codec"] = json!("h264")
        });
    };
    found("one key frame for two episodes", lerobot_sample, true, groups, &["seek"], "episode 1, ");
    let garbled = |root: &Path| {
        let mut bytes = fs::read(front(root)).unwrap();
        let middle = bytes.len() / 4;
        bytes[middle..middle + 2000].fill(0x55);
        fs::write(front(root), bytes).unwrap();
    };
    found("garbled, by its index", lerobot_sample, false, garbled, &[], "");
    found("garbled, decoded", lerobot_sample, true, garbled, &["decode"], "frames that can be decoded");
    let reordered = |root: &Path| {
        ffmpeg(&front(root), "", "-c:v libx264 -g 10 -bf 2 -video_track_timescale 15360");
    };
    found("B-frames in one file of two", ours_of_old, false, reordered, &["decode-start"], "decoding to start at");
}

#[test]
fn what_the_recorder_says_of_its_files_is_checked() {
    let summary = |change: fn(&mut Value)| move |root: &Path| change_json(&root.join(SUMMARY), change);
    found(
        "account",
        ours,
        false,
        summary(|s| s["cameras"]["front"]["captured"] = json!(99)),
        &["account"],
        "captured = written + dropped = 32",
    );
    found(
        "rows",
        ours,
        false,
        summary(|s| s["cameras"]["front"]["repeated"] = json!(1)),
        &["account"],
        "rows = written + repeated = 31",
    );
    found("episode", ours, false, summary(|s| s["episode_index"] = json!(1)), &["summary"], "episode_index");
    found("task", ours, false, summary(|s| s["task"] = json!("place")), &["summary"], "task");
    found("no summary", ours, false, |root| truncate(&root.join(SUMMARY)), &["summary"], "EOF");
    found("outside", ours, false, summary(|s| s["files"][0]["path"] = json!("../x")), &["summary"], "../x");
    for (file, other) in [(SUMMARY, ROWS), (ROWS, SUMMARY)] {
        assert!(ours_has(other));
        found(file, ours, false, |root| fs::remove_file(root.join(file)).unwrap(), &["missing-file"], file);
    }
    found("no video", ours, false, |root| fs::remove_file(root.join(FRONT)).unwrap(), &["missing-file"], FRONT);
    let shorter = |root: &Path| change_table(&root.join(ROWS), |batch| batch.slice(0, 29));
    found("rows of the sidecar", ours_of_old, false, shorter, &["sidecar-rows"], "found 29 rows");
    let cut = |root: &Path| truncate(&root.join(ROWS));
    found("sidecar cut off", ours_of_old, false, cut, &["unreadable"], ROWS);
    found("sidecar cut off", ours, false, cut, &["size"], ROWS);
    // A number that no reader looks at.
    let flipped = |root: &Path| {
        let mut bytes = fs::read(root.join(FRONT)).unwrap();
        let at = bytes.windows(4).position(|kind| kind == b"mfhd").unwrap();
        bytes[at + 11] ^= 1;
        fs::write(root.join(FRONT), bytes).unwrap();
    };
    found("a bit, by sizes", ours, false, flipped, &[], "");
    found("a bit, read", ours, true, flipped, &["checksum"], FRONT);
    // Between the two entries of a replacement either file is right.
    let replacing = summary(|s| {
        let files = s["files"].as_array_mut().unwrap();
        let mut entry = files[0].clone();
        entry["bytes"] = json!(1);
        files.insert(0, entry);
    });
    found("a file being replaced", ours, true, replacing, &[], "");
}

fn ours_has(file: &str) -> bool {
    OURS.path().join(file).exists()
}

/// Every file of an episode, but the summary itself, is in it, with what is on disk.
#[test]
fn checksums_are_those_of_the_files() {
    let summary: Value = serde_json::from_slice(&fs::read(OURS.path().join(SUMMARY)).unwrap()).unwrap();
    let files: Vec<FileSum> = serde_json::from_value(summary["files"].clone()).unwrap();
    let mut paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, [DATA, ENTRIES, ROWS, FRONT, &FRONT.replace("front", "wrist")]);
    for file in &files {
        let bytes = fs::read(OURS.path().join(&file.path)).unwrap();
        assert_eq!(*file, FileSum::of_bytes(Path::new(&file.path), &bytes), "made while writing");
    }
}

/// A take in progress, one that waits, one kept aside, and a save at each of its renames.
#[test]
fn a_recorder_that_runs_is_no_fault() {
    let dir = tempfile::tempdir().unwrap();
    let spec = spec(Codec::H264);
    let video = encode(Codec::H264, 0, 30);
    let mut dataset = Dataset::create(dir.path(), spec.clone()).unwrap();
    let mut take = dataset.begin(0, "pick").unwrap();
    fill(&mut take, &spec, &video, 30);
    let error = verify(dir.path(), true).unwrap_err().to_string();
    assert!(error.contains("takes in progress, and no episode that is saved"), "{error}");
    dataset.commit(take, "pick", &counters(&spec, 30)).unwrap();
    let mut take = dataset.begin(1, "pick").unwrap();
    fill(&mut take, &spec, &video, 30);
    fs::create_dir_all(dir.path().join(".partial/orphan-x")).unwrap();
    let report = verified(dir.path(), true);
    assert!(report.findings.is_empty() && report.notes.len() == 2, "{}", report.text());
    assert!(report.text().contains("in progress"), "{}", report.text());

    let before = tree(dir.path());
    dataset.commit(take, "place", &counters(&spec, 30)).unwrap();
    let after = tree(dir.path());
    let is_new = |(path, bytes): &&(PathBuf, Vec<u8>)| {
        let old = before.iter().find(|(other, _)| other == path);
        dir.path().join(path).is_file() && old.is_none_or(|(_, old)| old != bytes)
    };
    let mut renames: Vec<_> = after.iter().filter(is_new).collect();
    renames.sort_by_key(|(path, _)| path.ends_with("info.json"));
    assert!(renames.len() >= 8, "{renames:?}");
    let marker =
        json!({"episode": 1, "renames": renames.iter().map(|(path, _)| json!(["x", path])).collect::<Vec<_>>()});
    for done in 0..=renames.len() {
        let root = tempfile::tempdir().unwrap();
        let files = before.iter().filter(|(path, _)| !path.starts_with(".partial"));
        for (path, bytes) in files.chain(renames[..done].iter().copied()) {
            if dir.path().join(path).is_file() {
                fs::create_dir_all(root.path().join(path).parent().unwrap()).unwrap();
                fs::write(root.path().join(path), bytes).unwrap();
            }
        }
        let take = root.path().join(".partial/episode_000001-take_000001");
        fs::create_dir_all(&take).unwrap();
        fs::write(take.join("commit.json"), marker.to_string()).unwrap();
        let report = verify(root.path(), false).unwrap();
        assert!(report.findings.is_empty(), "{done} renames done: {}", report.text());
        let episodes = if done == renames.len() { 2 } else { 1 };
        assert_eq!((report.episodes, report.notes.is_empty()), (episodes, episodes == 2));
    }
}

/// Pictures of one luma, with statistics as a decoder would have gathered them.
fn plain_jpegs(luma: u8, frames: usize) -> Vec<Fragment> {
    let mut pixels = PixelHistogram { pictures: frames as u64, ..Default::default() };
    pixels.counts.iter_mut().for_each(|channel| channel[usize::from(luma)] = 1000);
    let mut yuv = vec![luma; WIDTH * HEIGHT];
    yuv.extend(vec![128; WIDTH * HEIGHT / 2]);
    let image = turbojpeg::YuvImage {
        pixels: yuv.as_slice(),
        width: WIDTH,
        align: 1,
        height: HEIGHT,
        subsamp: turbojpeg::Subsamp::Sub2x2,
    };
    let data = turbojpeg::Compressor::new().unwrap().compress_yuv_to_vec(image).unwrap();
    let sample = recorder::codec::Sample { data: data.into(), sync: true };
    vec![Fragment {
        first_frame: 0,
        samples: vec![sample; frames],
        format: Arc::new(SampleFormat::Mjpeg),
        substituted: Vec::new(),
        stored: Vec::new(),
        pixels,
    }]
}

#[test]
fn bad_recordings_are_warned_of() {
    const FRAMES: usize = 75;
    type Change<'a> = &'a dyn Fn(usize, &mut recorder::dataset::Row);
    let spec = spec(Codec::Mjpeg);
    let moving = encode(Codec::Mjpeg, 0, FRAMES);
    let mut still = moving.clone();
    let first = moving[0].samples[0].clone();
    still.iter_mut().skip(1).flat_map(|fragment| &mut fragment.samples).for_each(|sample| *sample = first.clone());
    let warned = |video: &[Fragment], change: Change, counters: EpisodeCounters, deep, rules: &[&str], words: &str| {
        let dir = tempfile::tempdir().unwrap();
        let mut dataset = Dataset::create(dir.path(), spec.clone()).unwrap();
        let mut take = dataset.begin(0, "pick").unwrap();
        for k in 0..FRAMES {
            let mut row = row(&spec, k);
            change(k, &mut row);
            take.push_row(row).unwrap();
        }
        video.iter().for_each(|fragment| take.push_fragment(0, fragment).unwrap());
        moving.iter().for_each(|fragment| take.push_fragment(1, fragment).unwrap());
        dataset.commit(take, "pick", &counters).unwrap();
        let report = verified(dir.path(), deep);
        assert_eq!(broken(&report), rules, "{}", report.text());
        assert!(report.text().contains(words), "`{words}` is not in {}", report.text());
        report
    };
    let as_is: Change = &|_, _| {};
    let good = || counters(&spec, FRAMES);
    warned(&moving, as_is, good(), true, &[], "");
    let report = warned(&plain_jpegs(0, FRAMES), as_is, good(), false, &["black"], "mean 0.000");
    assert_eq!(report.per_episode[0].cameras["observation.images.front"], "black");
    assert_eq!(report.per_episode[0].cameras["observation.images.wrist"], "ok");
    warned(
        &plain_jpegs(0, FRAMES),
        as_is,
        good(),
        true,
        &["black", "frozen"],
        "the same picture for 2.5 s from row 0 on",
    );
    warned(&plain_jpegs(255, FRAMES), as_is, good(), true, &["frozen", "white"], "mean luma of 235");
    warned(&plain_jpegs(100, FRAMES), as_is, good(), false, &["plain"], "deviation 0.000");
    warned(&still, as_is, good(), false, &[], "");
    let report = warned(&still, as_is, good(), true, &["frozen"], "the same picture for 2.2 s from row 10 on");
    assert_eq!(report.per_episode[0].cameras["observation.images.front"], "frozen");

    let frozen: Change = &|k, row| {
        if k > 10 {
            row.cameras[0].captured = Stamp { mono_ns: 1_000_000_000, utc_ns: 1_700_000_000_000_000_000 };
            row.cameras[0].repeated = true;
        }
    };
    let mut repeated = good();
    let front = repeated.cameras.get_mut("front").unwrap();
    (front.captured, front.written, front.repeated) = (front.captured - 64, front.written - 64, 64);
    warned(&moving, frozen, repeated, false, &["frozen", "skew"], "one picture for 2.1 s from row 11 on");
    warned(&moving, &|_, row| row.cameras[1].late = true, good(), false, &["late"], "75 of 75 rows late");
    warned(
        &moving,
        &|k, row| row.arm.as_mut().unwrap().state_reused = k % 2 == 0,
        good(),
        false,
        &["arm-reused"],
        "the state of the row before in 38",
    );
    let stands: Change = &|_, row| (row.state.fill(1.0), row.action.fill(2.0)).0;
    warned(&moving, stands, good(), false, &["motionless"], "the same in all 75 rows, 2.5 s");
    warned(
        &moving,
        &|k, row| row.late_ns = k as u64 * 1_000_000,
        good(),
        false,
        &["jitter", "rate"],
        "ticks at most 16.7 ms late",
    );

    let mut eventful = good();
    let front = eventful.cameras.get_mut("front").unwrap();
    front.dropped.insert(DropReason::Corrupt, 3);
    (front.captured, front.sequence_gaps) = (front.captured + 3, 2);
    let switch = EncoderSwitch { frame: 20, from: "nvenc".into(), to: "openh264".into(), reason: "it hung".into() };
    front.encoder_switches.push(switch);
    warned(
        &moving,
        as_is,
        eventful,
        false,
        &["drops", "encoder-switch"],
        "3 corrupt, 2 lost before capture of 80 dropped",
    );
}

/// A frozen camera is seen in encoded video as well, across key frames; a moving one is not taken for one.
#[test]
fn frozen_pictures_are_seen_in_h264() {
    let dir = tempfile::tempdir().unwrap();
    let spec = spec(Codec::Mjpeg);
    let moving = encode(Codec::Mjpeg, 0, 75);
    let mut still = moving.clone();
    let first = moving[0].samples[0].clone();
    still.iter_mut().flat_map(|fragment| &mut fragment.samples).for_each(|sample| *sample = first.clone());
    let mut dataset = Dataset::create(dir.path(), spec.clone()).unwrap();
    let mut take = dataset.begin(0, "pick").unwrap();
    (0..75).for_each(|k| take.push_row(row(&spec, k)).unwrap());
    still.iter().for_each(|fragment| take.push_fragment(0, fragment).unwrap());
    moving.iter().for_each(|fragment| take.push_fragment(1, fragment).unwrap());
    dataset.commit(take, "pick", &counters(&spec, 75)).unwrap();
    drop(dataset);
    let mut regenerate = Command::new(env!("CARGO_BIN_EXE_recorder"));
    let (ok, words) = run(regenerate.args(["regenerate", "--cpu", "--gop", "10"]).arg(dir.path()));
    assert!(ok, "{words}");
    // The videos are others now, and so are their checksums.
    let report = verified(dir.path(), true);
    assert_eq!(broken(&report), ["frozen"], "{}", report.text());
    assert_eq!(report.findings.len(), 1, "{}", report.text());
    assert!(report.text().contains("the same picture for 2.5 s from row 0 on"), "{}", report.text());
}

#[test]
fn the_report_stays_short_however_many_episodes_there_are() {
    let dir = tempfile::tempdir().unwrap();
    let mut spec = spec(Codec::H264);
    spec.cameras.clear();
    let mut dataset = Dataset::create(dir.path(), spec.clone()).unwrap();
    for take in 0..260 {
        let mut writer = dataset.begin(take, "pick").unwrap();
        let rows = if take == 3 { 2 } else { 12 };
        (0..rows).for_each(|k| writer.push_row(row(&spec, k)).unwrap());
        dataset.commit(writer, "pick", &counters(&spec, rows)).unwrap();
    }
    drop(dataset);
    let clean = verified(dir.path(), true);
    assert_eq!(broken(&clean), ["short"], "{}", clean.text());
    assert!(clean.text().contains("1 of 260 episodes shown; 259 have no finding"), "{}", clean.text());
    for n in 0..260 {
        change_json(&dir.path().join(format!("recorder/episodes/chunk-000/file-{n:03}.json")), |summary| {
            summary["task"] = json!("another");
        });
    }
    let report = verify(dir.path(), false).unwrap();
    let text = report.text();
    assert!(text.contains("FAULT  summary  × 260") && text.contains("… and 255 more"), "{text}");
    assert!(text.lines().count() < 230, "{text}");
    assert_eq!(report.faults().len(), 50);
    assert!(report.per_episode.iter().all(|line| line.faults == 1), "each episode has its line");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!((&json["episodes"], &json["findings"][0]["severity"]), (&json!(260), &json!("fault")));
}

#[test]
fn the_program_says_it_by_its_exit_code() {
    let program = |root: &Path, options: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_recorder"));
        let output = command.arg("verify").arg(root).args(options).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        (output.status.code(), text, String::from_utf8(output.stderr).unwrap())
    };
    let dir = tempfile::tempdir().unwrap();
    ours(dir.path());
    let (code, text, _) = program(dir.path(), &["--deep"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("2 episodes, 60 rows; 0 faults, 0 warnings (every byte read)"), "{text}");
    fs::write(dir.path().join("videos/stray"), "").unwrap();
    let (code, text, _) = program(dir.path(), &[]);
    assert!(code == Some(0) && text.contains("warning  stray-file") && text.contains("1 warning"), "{text}");
    change_text(&dir.path().join(INFO), "\"total_frames\": 60", "\"total_frames\": 61");
    let (code, text, _) = program(dir.path(), &["--json"]);
    assert_eq!(code, Some(1));
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["findings"][0]["rule"], "totals");
    let (code, text, words) = program(&dir.path().join("absent"), &[]);
    assert!(code == Some(4) && text.is_empty() && words.contains("expected a LeRobot v3.0 data set"), "{words}");
}

/// Bytes changed anywhere, in any table or video: findings, never a panic.
#[test]
fn random_damage_never_panics() {
    let dir = tempfile::tempdir().unwrap();
    lerobot_sample(dir.path());
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    let rounds: usize = std::env::var("VERIFY_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(100);
    let mut found = 0;
    for file in [DATA, ENTRIES, TASKS, FRONT, INFO, STATS] {
        let path = dir.path().join(file);
        let whole = fs::read(&path).unwrap();
        for _ in 0..rounds {
            let mut bytes = whole.clone();
            for _ in 0..=random(8) {
                let at = random(bytes.len());
                // Most of a parquet file's structure lies at its end, of an mp4 file's at its start.
                let at = if random(2) == 0 { at } else { bytes.len() - 1 - at / 8 };
                bytes[at] = random(256) as u8;
            }
            if random(10) == 0 {
                bytes.truncate(random(whole.len()));
            }
            fs::write(&path, &bytes).unwrap();
            found += usize::from(!verify(dir.path(), false).unwrap().findings.is_empty());
        }
        fs::write(&path, whole).unwrap();
    }
    assert!(found > rounds, "{found} of {} damages were found", 6 * rounds);
    verified(dir.path(), false);
}

#[test]
fn every_rule_is_documented() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rules = fs::read_to_string(root.join("src/verify/rules.rs")).unwrap();
    let document = fs::read_to_string(root.join("docs/verify.md")).unwrap();
    let named =
        |kind| rules.split(kind).skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next());
    let names: Vec<&str> = named("fault(").chain(named("warning(")).collect();
    assert!(names.len() > 50, "{names:?}");
    for name in names {
        assert!(document.contains(&format!("`{name}`")), "`{name}` is not in docs/verify.md");
    }
}
