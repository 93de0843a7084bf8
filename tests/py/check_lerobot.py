#!/usr/bin/env python
"""Loads a recorded data set with the real LeRobot and looks at every row, in every video back end.

Prints a line for each fault and `N frames, N episodes, N faults` last; exit code 1 when there is a fault.
"""

import argparse
import json
import math
import os
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import av
import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset

STATISTICS = {"min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99"}
FAULTS_SHOWN = 40


class Report:
    """Counts faults and prints the first of them."""

    def __init__(self):
        self.faults = 0

    def fault(self, *words):
        self.faults += 1
        if self.faults <= FAULTS_SHOWN:
            print("FAULT:", *words)


def check_rows(report, dataset, info, cameras, backend):
    """Every row: its numbers, its task in words, and a picture of each camera. Returns the number of rows
    read, and the brightness of each picture of each camera, in small."""
    frames_of_episode = {}
    seen = {camera: {} for camera in cameras}
    for i in range(len(dataset)):
        try:
            row = dataset[i]
        except Exception as e:  # whatever a back end throws is a fault of this row
            report.fault(backend, "row", i, type(e).__name__, str(e)[:160].replace("\n", " "))
            continue
        episode, frame = row["episode_index"].item(), row["frame_index"].item()
        frames_of_episode.setdefault(episode, []).append(frame)
        if row["index"].item() != i:
            report.fault(backend, "row", i, "has index", row["index"].item())
        if not math.isclose(row["timestamp"].item(), frame / info["fps"], abs_tol=1e-4):
            report.fault(backend, "row", i, "frame", frame, "has timestamp", row["timestamp"].item())
        if not isinstance(row["task"], str):
            report.fault(backend, "row", i, "has a task that is not text:", row["task"])
        for camera in cameras:
            height, width, _ = info["features"][camera]["shape"]
            picture = row[camera].numpy()
            if picture.shape != (3, height, width) or not np.isfinite(picture).all() or picture.std() < 1e-3:
                report.fault(backend, "row", i, camera, "picture", picture.shape, "deviation", float(picture.std()))
            seen[camera][episode, frame] = (picture.mean(axis=0)[::2, ::2] * 255).astype(np.int16)
    for episode, frames in frames_of_episode.items():
        if frames != list(range(len(frames))):
            report.fault(backend, "episode", episode, "has frame_index other than 0, 1, 2 ...")
    return sum(map(len, frames_of_episode.values())), seen


def check_alike(report, seen):
    """The back ends show the same picture in each row: what one shows is not much nearer to the other's neighbours. Both
    round differently."""

    def difference(one, other):
        return float(np.abs(one - other).mean())

    first, second = seen.values()
    for camera, pictures in first.items():
        for (episode, frame), picture in pictures.items():
            others = {n: second[camera].get((episode, frame + n)) for n in (-1, 0, 1)}
            far = {n: difference(picture, other) for n, other in others.items() if other is not None}
            if nearer := [n for n in far if far[n] < far.get(0, math.inf) / 2]:
                report.fault("episode", episode, "frame", frame, camera, f"{list(seen)} differ: nearer to", nearer, far)


def count_packets(path):
    with av.open(str(path)) as container:
        return sum(packet.size > 0 for packet in container.demux(video=0))


def check_videos(report, root, info, episodes, cameras, cut):
    """Each episode's span in its mp4, and the mp4's frames where it holds one episode, equal the episode's rows.

    Where episodes were deleted that shared an mp4 (cut), it may hold more."""
    for camera in cameras:
        file_of = [(e[f"videos/{camera}/chunk_index"], e[f"videos/{camera}/file_index"]) for e in episodes]
        shared = Counter(file_of)
        for episode, (chunk, file) in zip(episodes, file_of):
            where = ("episode", episode["episode_index"], camera)
            span = episode[f"videos/{camera}/to_timestamp"] - episode[f"videos/{camera}/from_timestamp"]
            if round(span * info["fps"]) != episode["length"]:
                report.fault(*where, "spans", span * info["fps"], "frames, has", episode["length"], "rows")
            path = root / info["video_path"].format(video_key=camera, chunk_index=chunk, file_index=file)
            if shared[(chunk, file)] == 1 and not cut and (frames := count_packets(path)) != episode["length"]:
                report.fault(*where, "mp4 has", frames, "frames, the episode", episode["length"], "rows")


def check_resume(report, root, info):
    """A copy opens for appending, as `lerobot-record --resume` does."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "dataset"
        shutil.copytree(root, copy)
        try:
            resumed = LeRobotDataset.resume("local/check", root=copy, streaming_encoding=True)
        except Exception as e:
            report.fault("resume:", type(e).__name__, str(e)[:200])
            return
        if resumed.num_episodes != info["total_episodes"]:
            report.fault("resume sees", resumed.num_episodes, "episodes, info.json says", info["total_episodes"])


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("root", type=Path)
    arguments.add_argument("--cut", action="store_true", help="episodes were deleted that shared a video")
    options = arguments.parse_args()
    root = options.root

    report = Report()
    info = json.loads((root / "meta/info.json").read_text())
    cameras = [name for name, feature in info["features"].items() if feature["dtype"] == "video"]
    frames, seen = 0, {}
    for backend in ("torchcodec", "pyav"):
        dataset = LeRobotDataset("local/check", root=root, video_backend=backend)
        if len(dataset) != info["total_frames"]:
            report.fault(backend, "has", len(dataset), "rows, info.json says", info["total_frames"])
        if dataset.num_episodes != info["total_episodes"]:
            report.fault(backend, "has", dataset.num_episodes, "episodes, info.json says", info["total_episodes"])
        rows, seen[backend] = check_rows(report, dataset, info, cameras, backend)
        frames += rows
    check_alike(report, seen)
    for name in info["features"]:
        if lacking := STATISTICS - set((dataset.meta.stats or {}).get(name, ())):
            report.fault("stats.json lacks", name, sorted(lacking))
    check_videos(report, root, info, list(dataset.meta.episodes), cameras, options.cut)
    check_resume(report, root, info)

    print(f"{root}: {frames} frames, {info['total_episodes']} episodes, {report.faults} faults")
    sys.exit(report.faults > 0 or frames == 0)


if __name__ == "__main__":
    main()
