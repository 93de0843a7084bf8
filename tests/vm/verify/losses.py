"""Cameras that go away in the middle of an episode and come back."""

from dataset import episodes, events
from rows import CAMERA_DEPTH, check_intact, check_stamped, runs

# A lost camera is noticed within this, and opened again within this after its return.
NOTICED_S, REOPENED_S = 2, 5
# What an emulated processor, of which others want a share too, may be behind.
SLOW_S = 1
# Rows of a camera that is there, before and behind the gap.
LEAST_FRESH = 10


def unplug(faults, truth):
    (episode,) = episodes(faults, truth.box / "unplug", 1)
    for camera in ("front", "wrist"):
        minors = [node.minor for node in truth.nodes if node.camera == camera]
        faults.expect(len(set(minors)) > 1, camera, "never had another number than", minors)
        check_loss(faults, truth, episode, camera, "unplugged", "linked")


def freeze(faults, truth):
    (episode,) = episodes(faults, truth.box / "freeze", 1)
    check_loss(faults, truth, episode, "front", "frozen", "thawed")
    numbers = check_stamped(faults, truth, episode, "wrist")
    faults.expect(not any(episode.column("wrist", "lost")), episode.name, "lost wrist too")
    silent = [picture for picture in truth.pictures["front"].values() if picture.outcome == "frozen"]
    faults.expect(silent and numbers, episode.name, "nothing was frozen")


def reset(faults, truth):
    (episode,) = episodes(faults, truth.box / "reset", 1)
    check_loss(faults, truth, episode, "front", "reset", "linked")
    numbers = check_stamped(faults, truth, episode, "wrist")
    faults.expect(numbers and not any(episode.column("wrist", "lost")), episode.name, "lost wrist too")


def check_loss(faults, truth, episode, camera, gone, returned):
    """One gap in the middle of the episode: told, flagged, and filled with the last picture before it."""
    where = f"{episode.name} {camera}"
    numbers = check_stamped(faults, truth, episode, camera)
    if not numbers:
        return
    check_intact(faults, truth, episode, camera)
    start, end = episode.rows["tick/mono_ns"][0], episode.rows["tick/mono_ns"][-1]
    within = [at for at in truth.happened(camera, gone) if start < at < end]
    links = [episode.mono_ns(node.linked_utc_ns) for node in truth.nodes if node.camera == camera]
    back = links if returned == "linked" else truth.happened(camera, returned)
    back = [at for at in back if start < at < end]
    if len(within) != 1 or len(back) != 1:
        return faults.expect(False, where, gone, within, "and back", back, "expected once within", start, end)
    (gone_ns,), (back_ns,) = within, back
    gaps = runs(episode.column(camera, "lost"))
    if len(gaps) != 1:
        return faults.expect(False, where, "has gaps", gaps, "expected one")
    ((first, behind),) = gaps
    captured, repeated = episode.column(camera, "captured_mono_ns"), episode.column(camera, "repeated")
    faults.expect(all(repeated[first:behind]), where, "has a new picture in the gap")
    fresh_before, fresh_after = repeated[:first].count(False), repeated[behind:].count(False)
    faults.expect(min(fresh_before, fresh_after) >= LEAST_FRESH, where, "has", fresh_before, "and", fresh_after, "fresh rows")
    taken = [p for p in truth.pictures[camera].values() if p.outcome == "taken" and p.mono_ns < gone_ns]
    missing = max(taken).sequence - numbers[first]
    faults.expect(missing >= 0, where, "holds a picture of later than it was there")
    # What was on its way when the plug was pulled is lost with it.
    most = 0 if gone == "frozen" else CAMERA_DEPTH + 1
    faults.expect(missing <= most, where, "holds a picture", missing, "before the last")
    faults.expect(captured[behind] > gone_ns, where, "goes on with a picture of before it went")
    # The summary tells the gap.
    told = episode.told(camera)["gaps"]
    told_rows = [(gap["first_row"], gap["first_row"] + gap["rows"]) for gap in told]
    faults.expect(told_rows == gaps, where, "the summary tells gaps", told_rows, "rows", gaps)
    # Events tell it once, in time.
    log = events(truth.box / f"{episode.root.name}.json")
    mine = [(at, event) for at, event, _ in log if event.get("device") == f"camera {camera}"]
    names = [event["event"] for _, event in mine]
    if names != ["device_lost", "device_back"]:
        return faults.expect(False, where, "events are", names)
    noticed_s = (episode.mono_ns(mine[0][0]) - max(captured[first], gone_ns if gone != "frozen" else 0)) / 1e9
    reopened_s = (captured[behind] - back_ns) / 1e9
    print(f"{where}: rows {first} to {behind} of {len(captured)} without it; noticed after {noticed_s:.2f} s, back {reopened_s:.2f} s after its return")
    faults.expect(noticed_s <= NOTICED_S + SLOW_S, where, "was noticed after", noticed_s, "s")
    faults.expect(reopened_s <= REOPENED_S + SLOW_S, where, "was opened", reopened_s, "s after its return")
