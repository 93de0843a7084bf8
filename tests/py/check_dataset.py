#!/usr/bin/env python3
"""Check a LeRobot v3.0 data set for everything that LeRobot would trip over, with pyarrow, numpy and PyAV only.

usage: check_dataset.py ROOT [--deep] [--cut]

Reads every table, compares every statistic, counts and decodes every video frame; where the recorder left its account
of an episode's frames, that must balance. --deep also seeks to every row's
frame as a trainer does. --cut allows for videos that are shared by episodes and hold frames of none: others were
deleted. Prints a line for each finding and `N frames, N episodes, N bad` last; exit status 1 when
anything is bad, 2 when the check itself cannot run.
"""
import argparse
import json
import math
import sys
from collections import defaultdict
from fractions import Fraction
from pathlib import Path

try:
    import av
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError as e:
    print(f"check_dataset.py: {e}; install with `pip install pyarrow av numpy`, or set RECORDER_PYTHON", file=sys.stderr)
    sys.exit(2)

STATS = ["min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99"]
DEFAULTS = {"timestamp": "float32", "frame_index": "int64", "episode_index": "int64", "index": "int64", "task_index": "int64"}
BINS = 5000  # of LeRobot's histograms
TOLERANCE_S = 1e-4  # LeRobot's, between a row's time and its frame's
SHOWN = 60
bad = 0


def say(*words):
    global bad
    bad += 1
    if bad <= SHOWN:
        print("BAD", *words)


def expect(what, found, expected):
    if found != expected:
        say(f"{what}: expected {expected}, found {found}")
    return found == expected


def read_info(root):
    info = json.loads((root / "meta/info.json").read_text())
    expect("info.json codebase_version", info.get("codebase_version"), "v3.0")
    for key, kind in {
        "fps": int, "features": dict, "total_episodes": int, "total_frames": int, "total_tasks": int, "chunks_size": int,
        "data_files_size_in_mb": int, "video_files_size_in_mb": int, "data_path": str, "splits": dict,
    }.items():
        if not isinstance(info.get(key), kind):
            say(f"info.json {key}: expected {kind.__name__}, found {info.get(key)!r}")
    expect("info.json data_path", info["data_path"], "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet")
    expect("info.json splits", info["splits"], {"train": f"0:{info['total_episodes']}"})
    for key, dtype in DEFAULTS.items():
        expect(f"info.json feature {key}", info["features"].get(key), {"dtype": dtype, "shape": [1], "names": None})
    for key, feature in info["features"].items():
        if "/" in key:
            say(f"info.json feature {key}: expected a name without '/'")
        if feature["dtype"] != "video":
            continue
        height, width, channels = feature["shape"]
        expect(f"{key} names", feature["names"], ["height", "width", "channels"])
        block = feature.get("info") or {}
        wanted = {"is_depth_map": False, "video.height": height, "video.width": width, "video.fps": info["fps"],
                  "video.channels": channels, "has_audio": False}
        for name, value in wanted.items():
            expect(f"{key} info {name}", block.get(name), value)
        for name in ("video.codec", "video.pix_fmt", "video.g", "video.crf", "video.preset", "video.fast_decode",
                     "video.video_backend", "video.extra_options"):
            if name not in block:
                say(f"{key} info: expected {name}, found none")
    if any(f["dtype"] == "video" for f in info["features"].values()):
        expect("info.json video_path", info.get("video_path"),
               "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4")
    return info


def parquet_files(folder):
    """All tables of a folder in LeRobot's order; it reads whatever lies there."""
    files = sorted(folder.glob("*/*.parquet"))
    for path in folder.rglob("*"):
        if path.is_file() and path not in files:
            say(f"stray file {path}")
    return files


def compression(path):
    meta = pq.ParquetFile(path).metadata
    for g in range(meta.num_row_groups):
        for c in range(meta.row_group(g).num_columns):
            if meta.row_group(g).column(c).compression != "SNAPPY":
                return say(f"{path}: expected Snappy, found {meta.row_group(g).column(c).compression}")


def column_type(feature):
    kind = {"float32": pa.float32(), "int64": pa.int64()}[feature["dtype"]]
    return kind if feature["shape"] == [1] else pa.list_(kind, feature["shape"][0])


def read_data(root, info):
    """The whole table, with the file each row came from."""
    expected = {k: column_type(f) for k, f in info["features"].items() if f["dtype"] != "video"}
    tables, origin = [], []
    for path in parquet_files(root / "data"):
        table = pq.read_table(path)
        expect(f"{path} columns", table.column_names, list(expected))
        for key, kind in expected.items():
            if key in table.column_names:
                expect(f"{path} column {key}", table.schema.field(key).type, kind)
                if table[key].null_count:
                    say(f"{path} column {key}: expected no nulls, found {table[key].null_count}")
        groups = pq.ParquetFile(path).metadata.num_row_groups
        expect(f"{path} row groups, one for each episode", groups, len(set(table["episode_index"].to_pylist())))
        described = json.loads((table.schema.metadata or {}).get(b"huggingface", b"{}"))
        if described:
            expect(f"{path} huggingface features", list(described["info"]["features"]), list(expected))
        compression(path)
        tables.append(table)
        origin += [path] * table.num_rows
    table = pa.concat_tables(tables)
    expect("rows", table.num_rows, info["total_frames"])
    return {k: np.array(table[k].to_pylist(), dtype=info["features"][k]["dtype"]) for k in expected}, origin


def read_tasks(root, info):
    path = root / "meta/tasks.parquet"
    table = pq.read_table(path)
    pandas = json.loads((table.schema.metadata or {}).get(b"pandas", b"{}"))
    expect(f"{path} pandas index_columns", pandas.get("index_columns"), ["task"])
    expect(f"{path} columns", table.column_names, ["task_index", "task"])
    expect(f"{path} task_index type", table.schema.field("task_index").type, pa.int64())
    expect(f"{path} task_index", table["task_index"].to_pylist(), list(range(table.num_rows)))
    expect(f"{path} tasks", table.num_rows, info["total_tasks"])
    return table["task"].to_pylist()


def episode_columns(info):
    cameras = [k for k, f in info["features"].items() if f["dtype"] == "video"]
    columns = {"episode_index": pa.int64(), "tasks": pa.list_(pa.string()), "length": pa.int64(),
               "data/chunk_index": pa.int64(), "data/file_index": pa.int64(),
               "dataset_from_index": pa.int64(), "dataset_to_index": pa.int64()}
    for k in cameras:
        columns |= {f"videos/{k}/chunk_index": pa.int64(), f"videos/{k}/file_index": pa.int64(),
                    f"videos/{k}/from_timestamp": pa.float64(), f"videos/{k}/to_timestamp": pa.float64()}
    for k in info["features"]:
        for s in STATS:
            kind = pa.list_(pa.int64() if s == "count" else pa.float64())
            columns[f"stats/{k}/{s}"] = pa.list_(pa.list_(kind)) if k in cameras and s != "count" else kind
    return columns | {"meta/episodes/chunk_index": pa.int64(), "meta/episodes/file_index": pa.int64()}


def read_episodes(root, info):
    expected = episode_columns(info)
    episodes = []
    for path in parquet_files(root / "meta/episodes"):
        table = pq.read_table(path)
        expect(f"{path} columns", table.column_names, list(expected))
        for name, kind in expected.items():
            if name in table.column_names and not table.schema.field(name).type.equals(kind):
                say(f"{path} column {name}: expected {kind}, found {table.schema.field(name).type}")
        compression(path)
        for row in table.to_pylist():
            place = f"chunk-{row['meta/episodes/chunk_index']:03d}/file-{row['meta/episodes/file_index']:03d}.parquet"
            expect(f"episode {row['episode_index']} says it lies in", place, str(path.relative_to(root / "meta/episodes")))
            episodes.append(row)
    expect("episodes", len(episodes), info["total_episodes"])
    expect("episode_index", [e["episode_index"] for e in episodes], list(range(len(episodes))))
    return episodes


def check_rows(root, info, data, origin, episodes, tasks):
    rows = len(data["index"])
    expect("index", bool((data["index"] == np.arange(rows)).all()), True)
    at = 0
    for e in episodes:
        name, length = f"episode {e['episode_index']}", e["length"]
        expect(f"{name} dataset_from_index", e["dataset_from_index"], at)
        expect(f"{name} dataset_to_index", e["dataset_to_index"], at + length)
        part = slice(at, at + length)
        if not (data["episode_index"][part] == e["episode_index"]).all() or len(data["index"][part]) != length:
            say(f"{name}: rows {at} to {at + length} are not its own")
        frames = np.arange(length)
        expect(f"{name} frame_index", bool((data["frame_index"][part] == frames).all()), True)
        seconds = (frames / info["fps"]).astype(np.float32)
        expect(f"{name} timestamp = frame_index / fps", bool((data["timestamp"][part] == seconds).all()), True)
        used = {int(t) for t in data["task_index"][part]}
        if any(t not in range(len(tasks)) for t in used):
            say(f"{name}: task_index {used} of {len(tasks)} tasks")
        else:
            expect(f"{name} tasks", sorted(e["tasks"]), sorted(tasks[t] for t in used))
        path = root / info["data_path"].format(chunk_index=e["data/chunk_index"], file_index=e["data/file_index"])
        expect(f"{name} data file", {str(p) for p in origin[part]}, {str(path)})
        at += length
    expect("rows of all episodes", at, rows)
    for key, values in data.items():
        if not np.isfinite(values).all():
            say(f"{key}: expected finite values")


def near(a, b, tolerance):
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    return a.shape == b.shape and bool(np.isfinite(a).all()) and bool((abs(a - b) <= tolerance * (1 + abs(b))).all())


def check_stats(root, info, data, episodes):
    stats = json.loads((root / "meta/stats.json").read_text())
    for key, feature in info["features"].items():
        video = feature["dtype"] == "video"
        shape = (3, 1, 1) if video else (feature["shape"][0],)
        for e in episodes:
            s = {name: np.array(e[f"stats/{key}/{name}"]) for name in STATS}
            where = f"episode {e['episode_index']} stats/{key}"
            for name, values in s.items():
                if values.shape != ((1,) if name == "count" else shape) or not np.isfinite(values).all():
                    say(f"{where}/{name}: expected finite values of shape {shape}, found {values.shape}")
            if (s["min"] > s["q01"] + 1e-6).any() or (s["q99"] > s["max"] + 1e-6).any() or (s["q01"] > s["q99"] + 1e-6).any():
                say(f"{where}: expected min <= q01 <= q99 <= max")
            if video:
                if (s["min"] < 0).any() or (s["max"] > 1).any() or not 1 <= s["count"][0] <= e["length"]:
                    say(f"{where}: expected values in [0, 1] of at most {e['length']} pictures")
                continue
            expect(f"{where}/count", int(s["count"][0]), e["length"])
            rows = data[key][e["dataset_from_index"]:e["dataset_to_index"]].astype(float).reshape(e["length"], -1)
            truth = {"min": rows.min(0), "max": rows.max(0), "mean": rows.mean(0), "std": rows.std(0)}
            for name, values in truth.items():
                if not near(s[name], values, 1e-5):
                    say(f"{where}/{name}: expected {values}, found {s[name]}")
            for name in STATS[5:]:
                values = quantile(rows, int(name[1:]) / 100)
                # LeRobot works in the feature's own precision: a value on an edge may fall into the next bin.
                if (abs(s[name] - values) > 2 * np.ptp(rows, axis=0) / BINS + 1e-6).any():
                    say(f"{where}/{name}: expected {values}, found {s[name]}")
        if set(stats.get(key, {})) != set(STATS):
            say(f"stats.json {key}: expected {STATS}, found {list(stats.get(key, {}))}")
            continue
        total = aggregate([{name: np.array(e[f"stats/{key}/{name}"]) for name in STATS} for e in episodes])
        for name, values in total.items():
            if not near(stats[key][name], values, 1e-6):
                say(f"stats.json {key}/{name}: expected the episodes' {values.tolist()}, found {stats[key][name]}")


def quantile(rows, q):
    """LeRobot's quantile from a histogram, for each column."""
    if len(rows) < 2:
        return rows.mean(0)
    result = []
    for column in rows.T:
        edges = np.linspace(column.min() - 1e-10, column.max() + 1e-10, BINS + 1)
        sums = np.cumsum(np.histogram(column, bins=edges)[0])
        i = int(np.searchsorted(sums, q * len(column)))
        inside = 0 if i == 0 else (q * len(column) - sums[i - 1]) / (sums[i] - sums[i - 1])
        result.append(edges[i] + inside * (edges[i + 1] - edges[i]))
    return np.array(result)


def aggregate(parts):
    """LeRobot's aggregate_feature_stats."""
    counts = np.array([p["count"][0] for p in parts], dtype=float)
    def mean(values):
        return np.tensordot(counts, np.stack(values), 1) / counts.sum()
    total = mean([p["mean"] for p in parts])
    result = {"min": np.min([p["min"] for p in parts], axis=0), "max": np.max([p["max"] for p in parts], axis=0),
              "mean": total, "std": np.sqrt(mean([p["std"] ** 2 + (p["mean"] - total) ** 2 for p in parts])),
              "count": np.array([counts.sum()])}
    return result | {q: mean([p[q] for p in parts]) for q in STATS[5:]}


def check_video(path, name, feature, fps, episodes, key, first, deep, cut):
    """One mp4 with the episodes that lie in it; returns the rows whose frame was found."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        expect(f"{name} streams", len(container.streams), 1)
        expect(f"{name} time base", stream.time_base, Fraction(1, 512 * fps))
        expect(f"{name} average rate", stream.average_rate, Fraction(fps))
        expect(f"{name} size", [stream.height, stream.width], feature["shape"][:2])
        if first:
            expect(f"{name} codec", stream.codec.canonical_name, feature["info"]["video.codec"])
        indexed = stream.frames
        packets = [(p.pts, p.is_keyframe) for p in container.demux(stream) if p.size]
    pts = sorted(time for time, _ in packets)
    wanted = sum(e["length"] for e in episodes)
    if cut:
        wanted = max(wanted, len(packets))
    expect(f"{name} packets", len(packets), wanted)
    expect(f"{name} frames in the index", indexed, wanted)
    if not packets or not packets[0][1]:
        say(f"{name}: expected a key frame first")
    decoded = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            decoded.append(frame.pts)
            if first and frame.pts == 0:
                expect(f"{name} pixel format", frame.format.name, feature["info"]["video.pix_fmt"])
    expect(f"{name} decoded frames", len(decoded), wanted)
    expect(f"{name} decoded times", decoded == pts, True)
    found = 0
    seconds = np.array(pts) / (512 * fps)
    for e in episodes:
        start, length = e[f"videos/{key}/from_timestamp"], e["length"]
        span = round((e[f"videos/{key}/to_timestamp"] - start) * fps)
        expect(f"{name} span of episode {e['episode_index']}", span, length)
        query = start + (np.arange(length) / fps).astype(np.float32).astype(float)
        picked = np.rint(query * fps).astype(int)  # as torchcodec does
        if length and (picked.max() >= len(seconds) or (abs(seconds[picked] - query) > TOLERANCE_S).any()):
            say(f"{name}: no frame within {TOLERANCE_S} s of a row of episode {e['episode_index']}")
        else:
            found += length
        if deep:
            for t in query:
                seek(path, name, float(t))
    return found


def seek(path, name, seconds):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        container.seek(math.floor(seconds / stream.time_base), stream=stream, backward=True)
        for frame in container.decode(stream):
            if abs(float(frame.pts * stream.time_base) - seconds) <= TOLERANCE_S:
                return
            if float(frame.pts * stream.time_base) > seconds + TOLERANCE_S:
                break
    say(f"{name}: seeking to {seconds:.4f} s finds no frame there")


def check_videos(root, info, episodes, deep, cut):
    found = 0
    for key, feature in info["features"].items():
        if feature["dtype"] != "video":
            continue
        files = defaultdict(list)
        for e in episodes:
            files[(e[f"videos/{key}/chunk_index"], e[f"videos/{key}/file_index"])].append(e)
        paths = set()
        for i, ((chunk, file), part) in enumerate(sorted(files.items())):
            name = info["video_path"].format(video_key=key, chunk_index=chunk, file_index=file)
            paths.add(root / name)
            try:
                found += check_video(root / name, name, feature, info["fps"], part, key, i == 0, deep, cut)
            except (OSError, av.FFmpegError) as e:
                say(f"{name}: {type(e).__name__} {e}")
        for path in (root / "videos" / key).rglob("*"):
            if path.is_file() and path not in paths:
                say(f"{path}: no episode uses it")
    return found


def check_accounts(root, episodes):
    """What the recorder says of each episode: every frame captured is written or dropped, every row is one of them."""
    for path in sorted((root / "recorder/episodes").glob("*/*.json")):
        summary = json.loads(path.read_text())
        name, index = str(path.relative_to(root)), summary["episode_index"]
        if not index < len(episodes):
            say(f"{name}: there is no episode {index}")
            continue
        expect(f"{name} length", summary["length"], episodes[index]["length"])
        for camera, counted in summary["cameras"].items():
            dropped = sum(counted["dropped"].values())
            expect(f"{name} {camera}: captured = written + dropped", counted["captured"], counted["written"] + dropped)
            expect(f"{name} {camera}: rows = written + repeated", summary["length"], counted["written"] + counted["repeated"])


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("root", type=Path)
    arguments.add_argument("--deep", action="store_true", help="also seek to every row's frame")
    arguments.add_argument("--cut", action="store_true", help="shared videos may hold frames of no episode")
    options = arguments.parse_args()
    root = options.root
    info = read_info(root)
    data, origin = read_data(root, info)
    tasks = read_tasks(root, info)
    episodes = read_episodes(root, info)
    check_rows(root, info, data, origin, episodes, tasks)
    check_stats(root, info, data, episodes)
    frames = check_videos(root, info, episodes, options.deep, options.cut)
    check_accounts(root, episodes)
    print(f"{frames} frames, {len(episodes)} episodes, {bad} bad")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
