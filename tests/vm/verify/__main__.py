#!/usr/bin/env python
"""Holds what the recorder wrote in the virtual machine against what the simulated devices and the kernel say.

    python tests/vm/verify BOX SCENARIO...      BOX: the folder that run.sh filled

Nothing here depends on how fast the machine was: only times on one clock are compared. Each scenario has a function
of its name, in the module for its kind.
"""

import subprocess
import sys
from pathlib import Path

import coded
import controls
import devices
import losses
import pictures
import raw
import recordings
import slow
from truth import Truth

CHECKS = {
    "record": recordings.record,
    "bus": recordings.bus,
    "unplug": losses.unplug,
    "freeze": losses.freeze,
    "reset": losses.reset,
    "damage": pictures.damage,
    "drift": pictures.drift,
    "slow": slow.slow,
    "vivid": raw.vivid,
    "controls": controls.controls,
    "coded": coded.coded,
    "devices": devices.devices,
    "init": devices.init,
}
MOST_SHOWN = 40


class Faults(list):
    """What is not as it should be, in words."""

    def expect(self, truth, *words):
        if not truth:
            self.append(" ".join(map(str, words)))


def main():
    box, *scenarios = sys.argv[1:]
    box = Path(box)
    faults, truth = Faults(), Truth(box)
    checker = Path(__file__).parents[2] / "py/check_dataset.py"
    for root in sorted(path.parents[1] for path in box.glob("*/meta/info.json")):
        checked = subprocess.run([sys.executable, checker, root], capture_output=True, text=True)
        faults.expect(checked.returncode == 0, root.name, checked.stdout, checked.stderr)
    for scenario in scenarios:
        if check := CHECKS.get(scenario):
            check(faults, truth)
    for fault in faults[:MOST_SHOWN]:
        print("FAULT:", fault)
    print(f"vm: {len(faults)} faults")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
