#!/usr/bin/env python3
"""LeRobot's own SO101Follower and SO101Leader against `recorder sim-arm`, from new servos to a moving arm.

    check_lerobot_arm.py RECORDER

They set up the motors, connect, calibrate, observe, act and disconnect; what a person does at the arm is done here by
commands. A difference is an AssertionError.
"""

import builtins
import json
import logging
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import deepdiff  # noqa: F401
    import scservo_sdk  # noqa: F401
except ImportError as error:
    sys.exit(f"check_lerobot_arm.py: {error}; this LeRobot cannot drive arms: pip install 'lerobot[feetech]==0.6.1'")

import lerobot.motors.motors_bus as motors_bus
from lerobot.robots.so_follower import SO101Follower, SO101FollowerConfig
from lerobot.teleoperators.so_leader import SO101Leader, SO101LeaderConfig

JOINTS = ["shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper"]
# Where the person centres the arm, before calibration, and how far it is turned from there.
CENTRES = [2000, 2100, 1700, 2300, 2047, 2500]
LEAST, MOST = -900, 800


class Sim:
    """The simulated arm and the person beside it."""

    def __init__(self, recorder, kind, folder):
        self.path = f"{folder}/{kind}"
        command = [recorder, "sim-arm", "--kind", kind, "--new", "--link", self.path]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == f"ready {self.path}\n"
        self.sweep = iter([LEAST, MOST])

    def obey(self, command):
        print(command, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline().split()
        assert answer[:1] == ["ok"], f"{command}: {answer}"
        return [int(word) for word in answer[1:]]

    def turn(self, positions):
        for joint, position in zip(JOINTS, positions, strict=True):
            self.obey(f"turn {joint} {position}")

    def asked(self, prompt=""):
        """Somebody is asked at the terminal."""
        for joint in JOINTS:
            if f"'{joint}' motor only" in prompt:
                self.obey(f"only {joint}")
        if "middle of its range" in prompt:
            self.turn(CENTRES)
        return ""

    def is_done(self):
        """The person goes on sweeping, or has come to the end."""
        offset = next(self.sweep, None)
        if offset is not None:
            self.turn([2047 + offset] * 6)
        return offset is None


def check(sim, kind, folder):
    builtins.input, motors_bus.enter_pressed = sim.asked, sim.is_done
    config = {"port": sim.path, "id": "arm", "calibration_dir": Path(folder) / f"{kind}-calibration"}
    if kind == "follower":
        arm = SO101Follower(SO101FollowerConfig(**config))
        read = arm.get_observation
    else:
        arm = SO101Leader(SO101LeaderConfig(**config))
        read = arm.get_action

    # One servo has another speed than the others, as one from another arm may have.
    sim.obey("write wrist_roll Baud_Rate 4")
    arm.setup_motors()
    arm.bus.disconnect(disable_torque=False)
    sim.obey("back all")
    sim.obey("power")
    assert sim.obey("read all ID") == [1, 2, 3, 4, 5, 6]
    assert sim.obey("read all Baud_Rate") == [0] * 6

    arm.connect()
    saved = json.loads((config["calibration_dir"] / "arm.json").read_text())
    offsets = [centre - 2047 for centre in CENTRES]
    ranges = [(0, 4095) if joint == "wrist_roll" else (2047 + LEAST, 2047 + MOST) for joint in JOINTS]
    for joint, offset, (least, most) in zip(JOINTS, offsets, ranges, strict=True):
        assert (saved[joint]["homing_offset"], saved[joint]["range_min"], saved[joint]["range_max"]) == (offset, least, most)
    assert sim.obey("read all Homing_Offset") == offsets
    assert sim.obey("read all Min_Position_Limit") == [least for least, _ in ranges]
    assert sim.obey("read all Torque_Enable") == [int(kind == "follower")] * 6

    sim.obey("write all Torque_Enable 0")
    sim.turn([1500] * 6)
    values = list(read().values())
    for value, (least, most) in zip(values[:5], ranges, strict=False):
        degrees = (1500 - (least + most) / 2) * 360 / 4095
        assert abs(value - degrees) < 1e-3, (kind, value, degrees)
    assert abs(values[5] - (1500 - 2047 - LEAST) / (MOST - LEAST) * 100) < 1e-3, values

    if kind == "follower":
        sim.obey("write all Torque_Enable 1")
        goal = {f"{joint}.pos": 10.0 + 3 * index for index, joint in enumerate(JOINTS)}
        assert arm.send_action(goal) == goal
        step = 360 / 4095
        while any(abs(value - goal[name]) > step for name, value in read().items()):
            pass
    arm.disconnect()
    assert sim.obey("read all Torque_Enable") == [0] * 6

    # It is known again, also after its power was off: nobody is asked.
    sim.obey("power")
    builtins.input = None
    arm.connect()
    arm.disconnect()
    sim.obey("write 3 Homing_Offset 5")
    arm.bus.connect()
    assert not arm.is_calibrated
    arm.bus.disconnect()
    print("quit", file=sim.process.stdin, flush=True)
    assert sim.process.wait() == 0
    print(f"check_lerobot_arm.py: {kind}: ok")


def main():
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("follower", "leader"):
            sim = Sim(sys.argv[1], kind, folder)
            try:
                check(sim, kind, folder)
            finally:
                sim.process.kill()


if __name__ == "__main__":
    main()
