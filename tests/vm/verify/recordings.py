"""Two cameras and two arms: a whole session as it should be, and one whose bus is unplugged."""

import numpy as np

from dataset import episodes
from rows import check_arm, check_encoded, check_intact, check_stamped, runs

CAMERAS = "front", "wrist"
# Rows of a data set at least whose arm samples are of their own tick, however slow the machine is.
LEAST_FRESH = 10


def record(faults, truth):
    check(faults, truth, "copy", 2)
    check(faults, truth, "h264", 1, encoded=True)
    check_torque(faults, truth, 12)


def bus(faults, truth):
    """The arm was away for some rows in the middle, which say so; before and behind them it was there."""
    for episode in check(faults, truth, "bus", 1):
        lost, length = episode.rows["arm/lost"], len(episode.data["index"])
        (gone,), (*_, back) = truth.happened("follower", "unplugged")[:1], truth.happened("follower", "plugged")
        ticks = episode.rows["tick/mono_ns"]
        # A machine that is too slow for the arms loses them more often.
        gaps = [(first, behind) for first, behind in runs(lost) if gone < ticks[behind - 1] and ticks[first] < back]
        inside = len(gaps) > 0 and 0 < gaps[0][0] and gaps[-1][1] < length
        faults.expect(inside, episode.name, "has gaps of the arm", runs(lost), "expected one while it was unplugged")
        reused = list(map(max, episode.rows["arm/state_reused"], episode.rows["arm/action_reused"]))
        faults.expect(all(again for again, away in zip(reused, lost) if away), episode.name, "has answers in a gap")
        if inside:
            fresh = sum(not again for again in reused[gaps[-1][1] :])
            faults.expect(fresh >= LEAST_FRESH, episode.name, "has", fresh, "fresh rows after the arm came back")
    # At the start, and once more after the unplugging.
    check_torque(faults, truth, 12)


def check(faults, truth, name, expected, encoded=False):
    found = episodes(faults, truth.box / name, expected)
    repeated = reused = total = 0
    actions, states = [], []
    for episode in found:
        total += len(episode.data["index"])
        reused += sum(map(max, episode.rows["arm/state_reused"], episode.rows["arm/action_reused"]))
        actions += episode.data["action"]
        states += episode.data["observation.state"]
        check_arm(faults, truth, episode)
        for camera in CAMERAS:
            repeated += sum(episode.column(camera, "repeated"))
            if encoded:
                check_encoded(faults, truth, episode, camera)
            elif check_stamped(faults, truth, episode, camera):
                check_intact(faults, truth, episode, camera)
    # Over all episodes: a slow machine may lose the arm for one of them.
    faults.expect((np.ptp(actions, axis=0) > 5).all(), name, "the leader stood still:", np.ptp(actions, axis=0))
    faults.expect((np.ptp(states, axis=0) > 2).all(), name, "the follower stood still:", np.ptp(states, axis=0))
    faults.expect(total - reused >= LEAST_FRESH, name, "has", reused, "of", total, "arm samples reused: nothing is shown")
    print(f"{name}: {total} rows, {expected} episodes, {repeated} pictures repeated, {reused} arm samples reused")
    return found


def check_torque(faults, truth, least):
    """The follower's motors were switched on, so many times at least, and never with a goal elsewhere."""
    on = [values for _, values in truth.exchanges["follower", "torque"] if values[1] == 1]
    faults.expect(len(on) >= least, "the follower's torque was switched on", len(on), "times")
    for servo, _, jump in on:
        faults.expect(jump <= 20, "servo", servo, "was switched on with its goal", jump, "steps away")
