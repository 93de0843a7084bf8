//! The light checker itself: it must notice what LeRobot would trip over.

mod dataset_support;

use dataset_support::{lerobot_sample, python, run};
use std::path::Path;
use std::process::Command;

/// Damages a copy of the sample by a line of Python and asserts that the checker names it.
fn noticed(damage: &str, expected: &str) {
    let dir = tempfile::tempdir().unwrap();
    lerobot_sample(dir.path());
    let helper = r#"
import os, sys, json, shutil, subprocess
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
os.chdir(sys.argv[1])
data, episodes, tasks = "data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet", "meta/tasks.parquet"
front = "videos/observation.images.front/chunk-000/file-000.mp4"
def column(path, name, change):
    table = pq.read_table(path)
    i = table.column_names.index(name)
    array = pa.array(change(table[name].to_pylist()), type=table.schema.field(name).type)
    with pq.ParquetWriter(path, table.schema, compression="snappy") as writer:
        table = table.set_column(i, table.schema.field(name), array)
        groups = [table.slice(0, 30), table.slice(30)] if path == data else [table]
        for group in groups: writer.write_table(group)
def text(path, old, new):
    found = open(path).read(); assert old in found, old
    open(path, "w").write(found.replace(old, new))
def ffmpeg(*words): subprocess.run(["ffmpeg", "-v", "error", "-y", *words], check=True)
"#;
    let (ok, output) = run(Command::new(python()).arg("-c").arg(format!("{helper}\n{damage}")).arg(dir.path()));
    assert!(ok, "{output}");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/py/check_dataset.py");
    let (ok, output) = run(Command::new(python()).arg(script).arg(dir.path()));
    assert!(!ok && output.contains(expected), "{damage}: expected `{expected}` in\n{output}");
    assert!(!output.trim_end().ends_with(" 0 bad"), "{output}");
}

#[test]
fn damage_is_noticed() {
    for (damage, expected) in [
        ("text('meta/info.json', 'v3.0', 'v2.1')", "codebase_version: expected v3.0, found v2.1"),
        ("text('meta/info.json', '\"total_frames\": 60', '\"total_frames\": 61')", "rows: expected 61, found 60"),
        ("column(data, 'frame_index', lambda v: v[:-1] + [7])", "episode 1 frame_index"),
        ("column(data, 'timestamp', lambda v: [t + 0.001 for t in v])", "timestamp = frame_index / fps"),
        ("column(data, 'index', lambda v: v[::-1])", "index: expected True"),
        ("column(data, 'action', lambda v: [[float('nan')] * 6] + v[1:])", "action: expected finite values"),
        ("t = pq.read_table(data); pq.write_table(t.drop(['task_index']), data)", "columns: expected"),
        (
            "t = pq.read_table(data); i = t.column_names.index('action')\n\
             pq.write_table(t.set_column(i, 'action', pa.array(t['action'].to_pylist(), pa.list_(pa.float32()))), data)",
            "column action: expected fixed_size_list",
        ),
        ("shutil.copy(data, 'data/chunk-000/file-001.parquet')", "rows: expected 60, found 120"),
        ("t = pq.read_table(tasks); pq.write_table(t.replace_schema_metadata({}), tasks)", "pandas index_columns"),
        (
            "column(episodes, 'dataset_to_index', lambda v: [30, 59])",
            "episode 1 dataset_to_index: expected 60, found 59",
        ),
        (
            "column(episodes, 'stats/action/q90', lambda v: [[x - 1 for x in v[0]]] + v[1:])",
            "episode 0 stats/action/q90",
        ),
        ("column(episodes, 'stats/action/mean', lambda v: [[9.0] * 6] + v[1:])", "episode 0 stats/action/mean"),
        (
            "s = json.load(open('meta/stats.json')); s['action']['q50'][0] += 0.1; json.dump(s, open('meta/stats.json', 'w'))",
            "stats.json action/q50: expected the episodes'",
        ),
        (
            "s = json.load(open('meta/stats.json')); del s['index']['q99']; json.dump(s, open('meta/stats.json', 'w'))",
            "stats.json index",
        ),
        (
            "ffmpeg('-i', front, '-c', 'copy', '-frames:v', '59', 'x.mp4'); os.rename('x.mp4', front)",
            "packets: expected 60, found 59",
        ),
        (
            "ffmpeg('-i', front, '-c', 'copy', '-video_track_timescale', '90000', 'x.mp4'); os.rename('x.mp4', front)",
            "time base: expected 1/15360",
        ),
        (
            "b = bytearray(open(front, 'rb').read()); b[9000:15000] = bytes(6000); open(front, 'wb').write(b)",
            "observation.images.front",
        ),
        ("os.remove(front)", "No such file"),
    ] {
        noticed(damage, expected);
    }
}
