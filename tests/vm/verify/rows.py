"""Every row of an episode against what was really there: pictures, their repetition and loss, and the arms."""

import re

import av
import numpy as np

from truth import newest_at

# The stamp that fakeusb puts in each picture.
STAMP = re.compile(rb"fakeusb (\w+) seq=(\d+) mono_ns=(\d+)")
FPS = 30  # rows a second
# Pictures that a camera holds for a computer that is slow to take them, as fakeusb does.
CAMERA_DEPTH = 3
# A frame that a slow machine brings later than this after a tick serves the next one.
PATIENCE_NS = 150_000_000
# One row in so many may show its frame late on such a machine, whatever the frame's time of arrival.
MOST_BEHIND = 10
# Why a frame that was there in time is not shown at all.
TOO_SLOW = "no_credit_frames", "no_credit_bytes", "late"
# Frames at the ends of an episode of which it is not known whether the account has them.
EDGE = 10
MOTORS = ["shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper"]


def check_stamped(faults, truth, episode, camera, shown=("taken",)):
    """The cameras' own pictures as they came, each of which names itself: every row shows the newest that was there, flags
    say which are repeated, and all others are accounted for. Pictures of other outcomes than `shown` cannot be shown.
    Returns the number of the picture in each row."""
    where = f"{episode.name} {camera}"
    captured, samples = episode.column(camera, "captured_mono_ns"), episode.samples(camera)
    faults.expect(len(samples) == len(captured), where, "has", len(samples), "frames,", len(captured), "rows")
    pictures, numbers = truth.pictures[camera], []
    recent = recently_taken(pictures)
    for row, (sample, at) in enumerate(zip(samples, captured)):
        match = STAMP.search(sample[:512])
        if not match or match[1].decode() != camera:
            faults.expect(False, where, "row", row, "is not a picture of this camera")
            return []
        number, mono_ns = int(match[2]), int(match[3])
        picture = pictures.get(number)
        named = picture is not None and picture.mono_ns == mono_ns and picture.outcome in shown
        faults.expect(named, where, "row", row, "is picture", number, "which is", picture)
        faults.expect(number in recent(at), where, "row", row, "captured", at - mono_ns, "ns after it was taken")
        if row:
            check_order(faults, f"{where} row {row}", number, numbers[-1], at, captured[row - 1])
        numbers.append(number)
    frames = truth.identified(faults, where, camera, dict(zip(captured, numbers)))
    usable = [f for f in frames if f.picture is None or pictures[f.picture].outcome in shown]
    check_newest(faults, where, episode, camera, usable)
    check_account(faults, where, episode, camera, frames)
    return numbers


def check_order(faults, where, number, before, at, at_before):
    faults.expect(number >= before, where, "shows picture", number, "after", before)
    faults.expect((number > before) == (at > at_before), where, "shows picture", number, "after", before, "captured otherwise")


def check_intact(faults, truth, episode, camera):
    """Each sample is the very JPEG that the camera sent."""
    clip = truth.clip(camera)
    for row, sample in enumerate(episode.samples(camera)):
        number = int(STAMP.search(sample[:512])[2])
        # The comment stands right after the first two bytes. The clip loops; numbers begin at 1.
        comment_end = 4 + int.from_bytes(sample[4:6], "big")
        same = sample[:2] + sample[comment_end:] == clip[(number - 1) % len(clip)]
        faults.expect(same, episode.name, camera, "row", row, "differs from what was sent")


def recently_taken(pictures):
    """The numbers of the pictures that a frame captured at some time can be: the newest sent, or one that waited for the
    machine in the camera."""
    sent = sorted(picture for picture in pictures.values() if picture.outcome not in ("lost", "dropped", "frozen"))
    stamps = [picture.mono_ns for picture in sent]

    def at(captured_ns):
        newest = newest_at(stamps, captured_ns)
        return [picture.sequence for picture in sent[max(0, newest - CAMERA_DEPTH) : newest + 1]]

    return at


def check_encoded(faults, truth, episode, camera, usable=None):
    """An encoded video: each frame looks like one of the last pictures taken by its time of capture, and every row has the
    newest that was there, of the `usable` frames that the kernel handed over, or all."""
    where = f"{episode.name} {camera}"
    captured, frames = episode.column(camera, "captured_mono_ns"), episode.frames(camera)
    faults.expect(len(frames) == len(captured), where, "has", len(frames), "frames,", len(captured), "rows")
    recent = recently_taken(truth.pictures[camera])
    with av.open(str(truth.file(camera))) as file:
        originals = [grey(frame) for frame in file.decode(video=0)]
    before = None
    for row, (frame, at) in enumerate(zip(frames, captured)):
        candidates, picture = recent(at), grey(frame)
        error = {n: float(np.abs(picture - originals[(n - 1) % len(originals)]).mean()) for n in candidates}
        number = min(error, key=error.get)
        faults.expect(error[number] < 3, where, "row", row, "is none of", candidates, "by", error[number], "of 255")
        if row:
            check_order(faults, f"{where} row {row}", number, before, at, captured[row - 1])
        before = number
    check_newest(faults, where, episode, camera, sorted(truth.frames[camera]) if usable is None else usable)


def grey(frame):
    return frame.to_ndarray(format="gray").astype(np.int16)


def check_newest(faults, where, episode, camera, frames):
    """Every row holds the newest frame that was captured at or before its tick, by the kernel's own stamps."""
    stamps = [frame.mono_ns for frame in frames]
    captured, repeated = episode.column(camera, "captured_mono_ns"), episode.column(camera, "repeated")
    sequences, left_out = episode.column(camera, "sequence"), {}
    arrived = dict(zip(captured, episode.column(camera, "arrived_mono_ns")))
    for row, (tick, at) in enumerate(zip(episode.rows["tick/mono_ns"], captured)):
        newest = newest_at(stamps, at)
        known = newest >= 0 and stamps[newest] == at
        faults.expect(known, where, "row", row, "the kernel handed over no frame of", at)
        if known:
            found = frames[newest].sequence
            faults.expect(found == sequences[row], where, "row", row, "is frame", sequences[row], "to the driver", found)
        faults.expect(at <= tick, where, "row", row, "shows a frame captured", at - tick, "ns after its tick")
        better = stamps[newest_at(stamps, tick)]
        if better > at and arrived.get(better, 0) < tick + PATIENCE_NS:
            left_out.setdefault(better, (row, tick - better))
        again = row > 0 and at == captured[row - 1]
        faults.expect(repeated[row] == again, where, "row", row, "repeated is", repeated[row])
    # A machine that is too slow for the frames drops some, and says so; a few serve a later row than they should.
    dropped = episode.told(camera)["dropped"]
    behind = len(captured) // MOST_BEHIND
    if len(left_out) - min(len(arrived.keys() & left_out), behind) > sum(dropped.get(reason, 0) for reason in TOO_SLOW):
        for row, gap in left_out.values():
            faults.expect(False, where, "row", row, "leaves out a frame captured", gap, "ns before its tick")


def check_account(faults, where, episode, camera, frames):
    """The summary counts what the kernel handed over and rows do not show, and what the driver numbered and lost."""
    summary, captured = episode.told(camera), episode.column(camera, "captured_mono_ns")
    stamps = [frame.mono_ns for frame in frames]
    written = len(set(captured))
    faults.expect(summary["written"] == written, where, "written is", summary["written"], "of", written)
    # What came before the first row belongs to no episode.
    first = newest_at(stamps, episode.rows["tick/mono_ns"][0])
    last = newest_at(stamps, captured[-1])
    dropped = sum(summary["dropped"].values())
    # Those behind the last row's are known to it or not.
    most = newest_at(stamps, episode.rows["tick/mono_ns"][-1]) - first + 1 - written
    least = last - first + 1 - written
    faults.expect(least <= dropped <= most, where, "dropped is", summary["dropped"], "of", least, "to", most)
    least, most = lost(frames[first + 1 : last + 1]), lost(frames[max(0, first - EDGE) : last + 1 + EDGE])
    gaps = summary["sequence_gaps"]
    faults.expect(least <= gaps <= most, where, "sequence_gaps is", gaps, "of", least, "to", most)


def lost(frames):
    """How many numbers the driver left out between frames of one session."""
    steps = (after.sequence - before.sequence for before, after in zip(frames, frames[1:]))
    return sum(step - 1 for step in steps if step > 1)


def normalise(calibration, raw):
    """LeRobot's degrees, and 0 to 100 for the gripper; NaN for motors that were not asked."""
    values = []
    for motor, position in zip(MOTORS, raw):
        position = np.nan if position is None else position
        low, high = calibration[motor]["range_min"], calibration[motor]["range_max"]
        if motor == "gripper":
            values.append((min(max(position, low), high) - low) / (high - low) * 100)
        else:
            values.append((position - (low + high) / 2) * 360 / 4095)
    return np.array(values, dtype=np.float32)


def check_arm(faults, truth, episode):
    """State and action of every row are answers of the servos, each motor's its own (those that were silent are asked again):
    of this tick, or else the row is marked."""
    rows = episode.rows
    for column, arm, flag in (("observation.state", "follower", "state_reused"), ("action", "leader", "action_reused")):
        calibration = truth.calibration(arm)
        exchanged = truth.exchanges[arm, "read"]
        times, answers = [at for at, _ in exchanged], [normalise(calibration, raw) for _, raw in exchanged]
        for row, (value, tick, sampled, reused) in enumerate(
            zip(episode.data[column], rows["tick/mono_ns"], rows["arm/sampled_mono_ns"], rows[f"arm/{flag}"])
        ):
            first = 0 if reused else newest_at(times, tick) + 1
            last = newest_at(times, sampled + 1e9 / FPS)
            same = np.array(answers[first : last + 1]).reshape(-1, len(MOTORS)) == np.array(value, dtype=np.float32)
            faults.expect(same.any(axis=0).all(), episode.name, "row", row, column, "is not what the servos answered")


def runs(flags):
    """The runs of true flags: (first, behind the last)."""
    edges = [0] + [int(flag) for flag in flags] + [0]
    firsts = [k for k in range(len(flags)) if edges[k + 1] > edges[k]]
    return [(first, next(k for k in range(first, len(edges) - 1) if not edges[k + 1])) for first in firsts]
