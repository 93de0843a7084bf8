#!/usr/bin/env python
"""Holds what the recorder wrote in the virtual machine against what the simulated devices say they sent.

    verify.py BOX      the folder that run.sh filled

The cameras stamp each picture with its number and its time, and list them in pictures.txt; the servos list every
exchange in servos.txt. Nothing here depends on how fast the machine was: only times on one clock are compared.
"""

import json
import re
import sys
from bisect import bisect_right
from collections import defaultdict
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq

MOTORS = ["shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper"]
CAMERAS = {"front": 30, "wrist": 20}  # name: frames a second
FPS = 30  # rows a second
# Rows tell when their tick was noticed, a little after it was due. The least of these delays stays unknown: this much.
GRID_SLACK_NS = 2_000_000
COMMENT = re.compile(rb"\xff\xfe..fakeusb (\w+) seq=(\d+) mono_ns=(\d+)", re.DOTALL)


class Faults(list):
    def expect(self, truth, *words):
        if not truth:
            self.append(" ".join(map(str, words)))


def jpegs(path):
    """The pictures of a file of concatenated JPEGs."""
    return [b"\xff\xd8" + part for part in path.read_bytes().split(b"\xff\xd8")[1:]]


def pictures(box):
    """By camera: {sequence number: (time, outcome)} of every picture that it took."""
    taken = defaultdict(dict)
    for line in (box / "pictures.txt").read_text().splitlines():
        name, sequence, mono_ns, outcome = line.split()
        taken[name][int(sequence)] = int(mono_ns), outcome
    return taken


def exchanges(box):
    """By (arm, kind): the list of (time, values) in servos.txt."""
    listed = defaultdict(list)
    for line in (box / "servos.txt").read_text().splitlines():
        arm, kind, mono_ns, *values = line.split()
        listed[arm, kind].append((int(mono_ns), tuple(map(int, values))))
    return listed


def normalise(calibration, raw):
    """LeRobot's degrees, and 0 to 100 for the gripper."""
    values = []
    for motor, position in zip(MOTORS, raw):
        low, high = calibration[motor]["range_min"], calibration[motor]["range_max"]
        if motor == "gripper":
            values.append((min(max(position, low), high) - low) / (high - low) * 100)
        else:
            values.append((position - (low + high) / 2) * 360 / 4095)
    return np.array(values, dtype=np.float32)


def table(root, series, episode):
    """The table of an episode: {column: list}. A new data set has one file for each episode."""
    return pq.read_table(root / series / f"chunk-000/file-{episode:03d}.parquet").to_pydict()


def video(root, camera, episode):
    return av.open(str(root / f"videos/observation.images.{camera}/chunk-000/file-{episode:03d}.mp4"))


def grid(rows):
    """When each tick was due: the regular grid that no tick was noticed before."""
    ticks = rows["tick/mono_ns"]
    start = min(tick - k * 1_000_000_000 // FPS for k, tick in enumerate(ticks))
    return [start + k * 1_000_000_000 // FPS for k in range(len(ticks))]


def newest_at(stamps, tick_ns):
    """Index of the newest of ascending `stamps` at or before `tick_ns`, -1 where there is none."""
    return bisect_right(stamps, tick_ns) - 1


def check_copied(faults, where, samples, rows, camera, clip, taken):
    """codec = copy: each sample is the very JPEG that the camera sent, so it names itself."""
    shown = []
    for row, sample in enumerate(samples):
        match = COMMENT.search(sample[:256])
        if not match or match[1].decode() != camera:
            faults.expect(False, where, "row", row, "is not a picture of this camera")
            return
        sequence, mono_ns = int(match[2]), int(match[3])
        faults.expect(taken[sequence] == (mono_ns, "taken"), where, "row", row, "picture", sequence, "is not as taken")
        # The clip loops; numbers begin at 1. The comment stands right after the first two bytes.
        comment_end = 4 + int.from_bytes(sample[4:6], "big")
        original = clip[(sequence - 1) % len(clip)]
        faults.expect(sample[:2] + sample[comment_end:] == original, where, "row", row, "differs from what was sent")
        shown.append(sequence)
    check_newest(faults, where, shown, rows, camera, taken)


def check_newest(faults, where, shown, rows, camera, taken):
    """Every row shows the newest picture that was captured at or before its tick."""
    key = f"observation.images.{camera}"
    captured, repeated = rows[f"{key}/captured_mono_ns"], rows[f"{key}/repeated"]
    # The driver stamps a picture when its first byte arrives: this much after the camera took it.
    delays = [at - taken[sequence][0] for at, sequence in zip(captured, shown)]
    faults.expect(min(delays) >= 0, where, "a picture was captured before it was taken:", min(delays), "ns")
    slack_ns = max(delays)
    faults.expect(slack_ns < 1e9 / CAMERAS[camera], where, "captured", slack_ns, "ns after it was taken")
    for row, (tick, at, sequence) in enumerate(zip(grid(rows), captured, shown)):
        faults.expect(at <= tick, where, "row", row, "shows a picture captured", at - tick, "ns after its tick")
        later = [s for s in range(sequence + 1, sequence + 4) if taken.get(s, (0, ""))[1] == "taken"]
        for s in later:
            captured_by = taken[s][0] + slack_ns + GRID_SLACK_NS
            faults.expect(captured_by > tick, where, "row", row, "shows picture", sequence, "though", s, "was there")
        if row > 0:
            faults.expect(sequence >= shown[row - 1], where, "row", row, "goes back to picture", sequence)
            faults.expect(
                repeated[row] == (sequence == shown[row - 1]), where, "row", row, "repeated is", repeated[row]
            )


def check_encoded(faults, where, frames, rows, camera, clip, taken):
    """codec = h264: each frame looks like the picture that was newest by the row's capture time, and like no other."""
    sequences = [s for s, (_, outcome) in taken.items() if outcome == "taken"]
    stamps = [taken[s][0] for s in sequences]
    decoder = av.CodecContext.create("mjpeg", "r")
    grey = lambda frame: frame.to_ndarray(format="gray").astype(np.int16)
    originals = [grey(decoder.decode(av.Packet(jpeg))[0]) for jpeg in clip]
    shown = [sequences[newest_at(stamps, at)] for at in rows[f"observation.images.{camera}/captured_mono_ns"]]
    for row, (frame, sequence) in enumerate(zip(frames, shown)):
        errors = [np.abs(grey(frame) - original).mean() for original in originals]
        best = int(np.argmin(errors))
        expected = (sequence - 1) % len(clip)
        faults.expect(best == expected, where, "row", row, "shows picture", best, "of the clip instead of", expected)
        faults.expect(errors[best] < 4, where, "row", row, "differs by", errors[best], "of 255 on the mean")
    check_newest(faults, where, shown, rows, camera, taken)


def check_arm(faults, where, data, rows, calibrations, exchanged):
    """State and action of every row are what the servos answered to one question of this tick."""
    sampled, reused = rows["arm/sampled_mono_ns"], rows["arm/reused"]
    for column, arm in (("observation.state", "follower"), ("action", "leader")):
        reads = exchanged[arm, "read"]
        times = [at for at, _ in reads]
        for row, (value, tick, at) in enumerate(zip(data[column], grid(rows), sampled)):
            if reused[row]:
                faults.expect(row == 0 or value == data[column][row - 1], where, "row", row, column, "is not as before")
                continue
            # The follower's question is asked when the sample is stamped, the leader's right after it.
            asked = newest_at(times, at)
            near = [normalise(calibrations[arm], raw) for _, raw in reads[max(0, asked) : asked + 2]]
            same = any((answer == np.array(value, dtype=np.float32)).all() for answer in near)
            faults.expect(same, where, "row", row, column, "is not what the servos answered")
            faults.expect(tick <= at < tick + 1e9 / FPS, where, "row", row, column, "sampled", at - tick, "ns after")
    actions, states = np.array(data["action"]), np.array(data["observation.state"])
    faults.expect((np.ptp(actions, axis=0) > 5).all(), where, "the leader stood still:", np.ptp(actions, axis=0))
    faults.expect((np.ptp(states, axis=0) > 2).all(), where, "the follower stood still:", np.ptp(states, axis=0))


def check_data_set(faults, box, name, episodes, copied):
    root = box / name
    info = json.loads((root / "meta/info.json").read_text())
    faults.expect(info["total_episodes"] == episodes, name, "has", info["total_episodes"], "episodes")
    taken, exchanged = pictures(box), exchanges(box)
    calibrations = {arm: json.loads((box / f"calibration/{arm}.json").read_text()) for arm in ("follower", "leader")}
    total = repeats = 0
    for episode in range(episodes):
        data, rows = table(root, "data", episode), table(root, "recorder/rows", episode)
        length = len(data["index"])
        total += length
        faults.expect(data["frame_index"] == list(range(length)), name, episode, "frame_index is not 0, 1, 2 ...")
        faults.expect(len(rows["tick/mono_ns"]) == length, name, episode, "rows beside the data set")
        check_arm(faults, f"{name} episode {episode}", data, rows, calibrations, exchanged)
        for camera in CAMERAS:
            where = f"{name} episode {episode} {camera}"
            clip = jpegs(box / f"{camera}.mjpeg")
            with video(root, camera, episode) as container:
                if copied:
                    content = [bytes(packet) for packet in container.demux(video=0) if packet.size]
                else:
                    content = list(container.decode(video=0))
            faults.expect(len(content) == length, where, "has", len(content), "frames,", length, "rows")
            check = check_copied if copied else check_encoded
            check(faults, where, content, rows, camera, clip, taken[camera])
            repeats += sum(rows[f"observation.images.{camera}/repeated"])
    faults.expect(total == info["total_frames"], name, "has", total, "rows, info.json says", info["total_frames"])
    print(f"{name}: {total} rows, {episodes} episodes, {repeats} pictures repeated")


def main():
    box = Path(sys.argv[1])
    faults = Faults()
    check_data_set(faults, box, "copy", 3, copied=True)
    check_data_set(faults, box, "h264", 2, copied=False)
    torque_on = [values for _, values in exchanges(box)["follower", "torque"] if values[1] == 1]
    faults.expect(len(torque_on) >= 6, "the follower's torque was switched on", len(torque_on), "times")
    for servo, _, jump in torque_on:
        faults.expect(jump <= 20, "servo", servo, "was switched on with its goal", jump, "steps away")
    for fault in faults[:40]:
        print("FAULT:", fault)
    print(f"vm: {len(faults)} faults")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
