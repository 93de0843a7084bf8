#!/usr/bin/env python
"""Holds what the recorder wrote in the virtual machine against what the simulated devices say they sent.

    verify.py BOX      the folder that run.sh filled

The cameras stamp each picture with its number and its time, and list them in pictures.txt; the kernel lists every frame
that it handed over in frames.txt; the servos list every exchange in servos.txt. Nothing here depends on how fast the
machine was: only times on one clock are compared.
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
# Pictures that a camera holds for a computer that is slow to take them, as fakeusb does.
CAMERA_DEPTH = 3
# Rows of a data set at least whose arm samples are of their own tick, however slow the machine is.
LEAST_FRESH = 10
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


def frames(box):
    """By camera: the ascending time stamps of every frame that the kernel handed over."""
    name_of = {minor: name for name, minor in map(str.split, (box / "minors.txt").read_text().splitlines())}
    stamps = defaultdict(list)
    for line in (box / "frames.txt").read_text().splitlines():
        minor, stamp_ns = line.split()
        stamps[name_of[minor]].append(int(stamp_ns))
    return {name: sorted(each) for name, each in stamps.items()}


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


def newest_at(stamps, tick_ns):
    """Index of the newest of ascending `stamps` at or before `tick_ns`, -1 where there is none."""
    return bisect_right(stamps, tick_ns) - 1


def recently_taken(taken):
    """The pictures that a frame captured at some time can be: the newest, or one that waited in the camera for the machine."""
    sequences = [s for s, (_, outcome) in taken.items() if outcome == "taken"]
    stamps = [taken[s][0] for s in sequences]

    def at(captured_ns):
        newest = newest_at(stamps, captured_ns)
        return sequences[max(0, newest - CAMERA_DEPTH) : newest + 1]

    return at


def check_copied(faults, where, samples, captured, clip, taken):
    """codec = copy: each sample is the very JPEG that the camera sent, so it names itself."""
    name = where.split()[-1]
    recent = recently_taken(taken)
    before = 0
    for row, (sample, at) in enumerate(zip(samples, captured)):
        match = COMMENT.search(sample[:256])
        if not match or match[1].decode() != name:
            faults.expect(False, where, "row", row, "is not a picture of this camera")
            return
        sequence, mono_ns = int(match[2]), int(match[3])
        faults.expect(taken.get(sequence) == (mono_ns, "taken"), where, "row", row, "picture", sequence, "was not taken")
        # The clip loops; numbers begin at 1. The comment stands right after the first two bytes.
        comment_end = 4 + int.from_bytes(sample[4:6], "big")
        original = clip[(sequence - 1) % len(clip)]
        faults.expect(sample[:2] + sample[comment_end:] == original, where, "row", row, "differs from what was sent")
        faults.expect(sequence in recent(at), where, "row", row, "captured", at - mono_ns, "ns after it was taken")
        advanced = row == 0 or (sequence > before) == (at > captured[row - 1])
        faults.expect(advanced and sequence >= before, where, "row", row, "shows picture", sequence, "after", before)
        before = sequence


def check_encoded(faults, where, frames, captured, clip, taken):
    """codec = h264: each frame looks like one of the last pictures taken by its time of capture."""
    recent = recently_taken(taken)
    decoder = av.CodecContext.create("mjpeg", "r")
    originals = [grey(decoder.decode(av.Packet(jpeg))[0]) for jpeg in clip]
    before = 0
    for row, (frame, at) in enumerate(zip(frames, captured)):
        candidates, picture = recent(at), grey(frame)
        error = {s: float(np.abs(picture - originals[(s - 1) % len(clip)]).mean()) for s in candidates}
        sequence = min(error, key=error.get)
        faults.expect(error[sequence] < 3, where, "row", row, "is none of", candidates, "by", error[sequence], "of 255")
        advanced = row == 0 or (sequence > before) == (at > captured[row - 1])
        faults.expect(advanced and sequence >= before, where, "row", row, "shows picture", sequence, "after", before)
        before = sequence


def grey(frame):
    return frame.to_ndarray(format="gray").astype(np.int16)


def check_newest(faults, where, rows, key, handed_over):
    """Every row holds the newest frame that was captured at or before its tick, by the kernel's own stamps."""
    captured, repeated = rows[f"{key}/captured_mono_ns"], rows[f"{key}/repeated"]
    for row, (tick, at) in enumerate(zip(rows["tick/mono_ns"], captured)):
        newest = newest_at(handed_over, at)
        known = newest >= 0 and handed_over[newest] == at
        faults.expect(known, where, "row", row, "the kernel handed over no frame of", at)
        faults.expect(at <= tick, where, "row", row, "shows a frame captured", at - tick, "ns after its tick")
        if newest + 1 < len(handed_over):
            gap = tick - handed_over[newest + 1]
            faults.expect(gap < 0, where, "row", row, "leaves out a frame captured", gap, "ns before its tick")
        again = row > 0 and at == captured[row - 1]
        faults.expect(repeated[row] == again, where, "row", row, "repeated is", repeated[row])


def check_arm(faults, where, data, rows, calibrations, exchanged):
    """State and action of every row are an answer of the servos: one of this tick, or else the row is marked, and each
    motor's value is an answer of its own."""
    for column, arm, flag in (("observation.state", "follower", "state_reused"), ("action", "leader", "action_reused")):
        times, answers = zip(*((at, normalise(calibrations[arm], raw)) for at, raw in exchanged[arm, "read"]))
        for row, (value, tick, sampled, reused) in enumerate(
            zip(data[column], rows["tick/mono_ns"], rows["arm/sampled_mono_ns"], rows[f"arm/{flag}"])
        ):
            first = 0 if reused else newest_at(times, tick) + 1
            last = newest_at(times, sampled + 1e9 / FPS)
            same = np.array(answers[first : last + 1]).reshape(-1, len(MOTORS)) == np.array(value, dtype=np.float32)
            # Motors that did not answer have the last value that they told, which may be older than the others'.
            same = same.any(axis=0).all() if reused else same.all(axis=1).any()
            faults.expect(same, where, "row", row, column, "is not what the servos answered")


def check_gap(faults, name, rows):
    """The arm was away for some rows in the middle, which say so; before and behind them it was there."""
    lost = rows["arm/lost"]
    gaps = sum(now and not before for before, now in zip([False] + lost, lost))
    faults.expect(gaps == 1 and not lost[0] and not lost[-1], name, "has", gaps, "gaps of the arm, expected one in the middle")
    for column in ("arm/state_reused", "arm/action_reused"):
        faults.expect(all(rows[column][row] for row, away in enumerate(lost) if away), name, column, "is not set in the gap")
    after = len(lost) - lost[::-1].index(True) if gaps else 0
    fresh = sum(not reused for reused in rows["arm/state_reused"][after:])
    faults.expect(fresh >= LEAST_FRESH, name, "has", fresh, "fresh rows after the arm came back")


def check_data_set(faults, box, name, episodes, codec="copy", unplugged=False):
    root = box / name
    info = json.loads((root / "meta/info.json").read_text())
    faults.expect(info["total_episodes"] == episodes, name, "has", info["total_episodes"], "episodes")
    taken, handed_over, exchanged = pictures(box), frames(box), exchanges(box)
    calibrations = {arm: json.loads((box / f"calibration/{arm}.json").read_text()) for arm in ("follower", "leader")}
    total = repeated = reused = 0
    actions, states = [], []
    for episode in range(episodes):
        data, rows = table(root, "data", episode), table(root, "recorder/rows", episode)
        length = len(data["index"])
        total += length
        reused += sum(map(max, rows["arm/state_reused"], rows["arm/action_reused"]))
        where = f"{name} episode {episode}"
        faults.expect(data["frame_index"] == list(range(length)), where, "frame_index is not 0, 1, 2 ...")
        faults.expect(len(rows["tick/mono_ns"]) == length, where, "has", length, "rows, the recorder's table others")
        check_arm(faults, where, data, rows, calibrations, exchanged)
        if unplugged:
            check_gap(faults, name, rows)
        actions += data["action"]
        states += data["observation.state"]
        for camera in CAMERAS:
            key = f"observation.images.{camera}"
            clip = jpegs(box / f"{camera}.mjpeg")
            with video(root, camera, episode) as container:
                if codec == "copy":
                    content = [bytes(packet) for packet in container.demux(video=0) if packet.size]
                else:
                    content = list(container.decode(video=0))
            faults.expect(len(content) == length, where, camera, "has", len(content), "frames,", length, "rows")
            check = check_copied if codec == "copy" else check_encoded
            check(faults, f"{where} {camera}", content, rows[f"{key}/captured_mono_ns"], clip, taken[camera])
            check_newest(faults, f"{where} {camera}", rows, key, handed_over[camera])
            repeated += sum(rows[f"{key}/repeated"])
    # Over all episodes: a slow machine may lose the arm for one of them.
    faults.expect((np.ptp(actions, axis=0) > 5).all(), name, "the leader stood still:", np.ptp(actions, axis=0))
    faults.expect((np.ptp(states, axis=0) > 2).all(), name, "the follower stood still:", np.ptp(states, axis=0))
    faults.expect(total - reused >= LEAST_FRESH, name, "has", reused, "of", total, "arm samples reused: nothing is shown")
    faults.expect(total == info["total_frames"], name, "has", total, "rows, info.json says", info["total_frames"])
    print(f"{name}: {total} rows, {episodes} episodes, {repeated} pictures repeated, {reused} arm samples reused")


def main():
    box = Path(sys.argv[1])
    faults = Faults()
    check_data_set(faults, box, "copy", 3)
    check_data_set(faults, box, "h264", 2, codec="h264")
    check_data_set(faults, box, "unplugged", 1, unplugged=True)
    torque_on = [values for _, values in exchanges(box)["follower", "torque"] if values[1] == 1]
    # Three recordings, and once more after the unplugging.
    faults.expect(len(torque_on) >= 24, "the follower's torque was switched on", len(torque_on), "times")
    for servo, _, jump in torque_on:
        faults.expect(jump <= 20, "servo", servo, "was switched on with its goal", jump, "steps away")
    for fault in faults[:40]:
        print("FAULT:", fault)
    print(f"vm: {len(faults)} faults")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
