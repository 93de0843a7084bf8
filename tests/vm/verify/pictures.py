"""Pictures that are damaged, missing, or come at another rate than the camera promised."""

import numpy as np
from dataset import episodes
from rows import check_intact, check_stamped

# What fakeusb was told of each kind.
DAMAGED = 3
# The share of the nominal rate, by data set, and what rows have to make of it.
DRIFT = {"drift97": (0.97, "repeated"), "drift103": (1.03, "superseded")}
NOMINAL = {"front": 15, "wrist": 10}


def damage(faults, truth):
    """Pictures with the error bit: front's are kept back by the driver, wrist's are handed over marked, and shown, their JPEG
    being whole. Those that are cut off are never shown, and counted; those that never came leave rows that repeat."""
    (episode,) = episodes(faults, truth.box / "damage", 1)
    for camera, shown in (("front", ("taken",)), ("wrist", ("taken", "error"))):
        where = f"{episode.name} {camera}"
        numbers = check_stamped(faults, truth, episode, camera, shown)
        if not numbers:
            continue
        within = [truth.pictures[camera][n] for n in range(numbers[0], numbers[-1])]
        of = {kind: sum(p.outcome == kind for p in within) for kind in ("error", "truncated", "dropped", "lost")}
        summary = episode.told(camera)
        print(f"{where}: {of} of {len(within)} pictures; rows drop {summary['dropped']}, the driver {summary['sequence_gaps']}")
        for kind in ("error", "truncated", "dropped"):
            faults.expect(of[kind] == DAMAGED, where, "has", of[kind], kind, "pictures in the middle")
        corrupt = summary["dropped"].get("corrupt", 0)
        faults.expect(corrupt == of["truncated"], where, "counts", corrupt, "corrupt pictures")
        if camera == "front":
            faults.expect(summary["sequence_gaps"] >= DAMAGED, where, "has gaps of", summary["sequence_gaps"])
            check_intact(faults, truth, episode, camera)
        else:
            marked = {number for number in numbers if truth.pictures[camera][number].outcome == "error"}
            faults.expect(marked, where, "shows no picture that the driver has marked")


def drift(faults, truth):
    """Rows repeat or leave out exactly what the stamps say (check_stamped); and there is something to repeat or leave out."""
    for name, (share, consequence) in DRIFT.items():
        (episode,) = episodes(faults, truth.box / name, 1)
        for camera, hertz in NOMINAL.items():
            where = f"{episode.name} {camera}"
            numbers = check_stamped(faults, truth, episode, camera)
            if not numbers:
                continue
            check_intact(faults, truth, episode, camera)
            # Of all stamps: a single one may be late in a machine that is emulated.
            shown = [truth.pictures[camera][n] for n in sorted(set(numbers))]
            period_ns, _ = np.polyfit([p.sequence for p in shown], [p.mono_ns - shown[0].mono_ns for p in shown], 1)
            rate = 1e9 / period_ns
            faults.expect(abs(rate / hertz - share) < 0.01, where, "was to run at", share * hertz, "Hz, and did at", rate)
            summary = episode.told(camera)
            count = summary["repeated"] if consequence == "repeated" else summary["dropped"].get("superseded", 0)
            print(f"{where}: {rate:.3f} Hz of {hertz}: {summary['repeated']} rows repeat, {summary['dropped']} dropped")
            if camera == "front":
                faults.expect(count > 0, where, "has nothing", consequence)
