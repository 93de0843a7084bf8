#!/usr/bin/env python
"""LeRobot's own SO101Follower, SO101Leader and record loop against the recorder's simulated arms.

    arm_lerobot.py RECORDER WORK      WORK: a folder that is made anew; run where LeRobot is installed

1. They set up new servos, one by one.
2. They connect, observe and act: what they read is what the servos say.
3. They calibrate: the file is what the servos then hold, and `recorder check` takes it.
4. A motion is recorded twice, by LeRobot's record loop and by the recorder: names, order, units and values agree.
"""

import builtins
import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from lerobot.configs.dataset import DatasetRecordConfig
from lerobot.motors import motors_bus
from lerobot.motors.feetech import feetech
from lerobot.robots.so_follower import SO101Follower, SOFollowerRobotConfig
from lerobot.scripts import lerobot_record
from lerobot.teleoperators.so_leader import SO101Leader, SOLeaderTeleopConfig

MOTORS = ["shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper"]
FEATURES = [f"{motor}.pos" for motor in MOTORS]
FPS = 30
SECONDS = 8
TASK = "Follow the leader"
# The recorder approaches the leader's pose; rows of that way have no counterpart.
LEAST_ROWS = 60


def wait_long(port_handler, _length):
    """LeRobot's own patience, 50 ms, is less than a busy machine may take; an answer that is not expected is not waited for."""
    port_handler.setPacketTimeoutMillis(10_000)


feetech.patch_setPacketTimeout = wait_long


class Faults(list):
    def expect(self, truth, *words):
        if not truth:
            self.append(" ".join(map(str, words)))


class Arm:
    """A simulated arm in a process of its own, obeying commands."""

    def __init__(self, recorder, work, kind, *options):
        self.port = work / f"port-{kind}"
        command = [recorder, "sim-arm", "--kind", kind, "--link", self.port, *options]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        ready = self.process.stdout.readline()
        assert ready.startswith("ready"), ready
        self.lock = threading.Lock()

    def say(self, *words):
        with self.lock:
            print(*words, file=self.process.stdin, flush=True)
            answer = self.process.stdout.readline().split(maxsplit=1)
        assert answer[0] == "ok", f"{words}: {answer}"
        return answer[1].strip() if len(answer) > 1 else ""

    def read(self, register):
        """Of all motors, in order."""
        return [int(self.say("read", motor, register)) for motor in MOTORS]

    def calibration(self):
        """What the servos hold, as LeRobot's file has it."""
        held = zip(MOTORS, *(self.read(name) for name in ("ID", "Homing_Offset", "Min_Position_Limit", "Max_Position_Limit")))
        return {
            motor: {"id": i, "drive_mode": 0, "homing_offset": homing, "range_min": low, "range_max": high}
            for motor, i, homing, low, high in held
        }

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(timeout=30)


def write_calibration(folder, name, calibration):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(calibration, indent=4))


def lerobots(work, follower, leader):
    """LeRobot's own classes on the two ports."""
    robot = SO101Follower(SOFollowerRobotConfig(id="arm", calibration_dir=work / "follower", port=str(follower.port)))
    teleop = SO101Leader(SOLeaderTeleopConfig(id="arm", calibration_dir=work / "leader", port=str(leader.port)))
    return robot, teleop


def degrees(calibration, positions):
    """What LeRobot makes of positions in steps, worked out apart from it."""
    values = []
    for motor, position in zip(MOTORS, positions):
        low, high = calibration[motor]["range_min"], calibration[motor]["range_max"]
        if motor == "gripper":
            values.append((min(max(position, low), high) - low) / (high - low) * 100)
        else:
            values.append((position - (low + high) / 2) * 360 / 4095)
    return np.array(values)


def one_step(calibration):
    """The size of an encoder's step in each value."""
    gripper = calibration["gripper"]
    return np.array([360 / 4095] * 5 + [100 / (gripper["range_max"] - gripper["range_min"])])


def set_up_motors(faults, recorder, work):
    """A person connects one new servo after another; one of them comes from another arm, at another speed."""
    with Arm(recorder, work, "follower", "--new") as arm, Arm(recorder, work, "leader") as other:
        arm.say("write wrist_roll Baud_Rate 4")
        robot, _ = lerobots(work, arm, other)
        kept, builtins.input = builtins.input, lambda prompt: arm.say("only", prompt.split("'")[1])
        try:
            robot.setup_motors()
        finally:
            builtins.input = kept
        robot.bus.disconnect(disable_torque=False)
        arm.say("power")
        faults.expect(arm.say("read all ID") == "1 2 3 4 5 6", "ids:", arm.say("read all ID"))
        faults.expect(arm.say("read all Baud_Rate") == "0 0 0 0 0 0", "speeds:", arm.say("read all Baud_Rate"))


def connect_observe_act(faults, recorder, work):
    with Arm(recorder, work, "follower", "--motion", "step") as follower, Arm(recorder, work, "leader") as leader:
        for name, arm in (("follower", follower), ("leader", leader)):
            write_calibration(work / name, "arm", arm.calibration())
        robot, teleop = lerobots(work, follower, leader)
        builtins_input, builtins.input = builtins.input, lambda *_: faults.expect(False, "LeRobot asks, though it is calibrated")
        try:
            robot.connect()
            teleop.connect()
        finally:
            builtins.input = builtins_input
        faults.expect(follower.read("Torque_Enable") == [1] * 6, "the follower has no torque")
        faults.expect(leader.read("Torque_Enable") == [0] * 6, "the leader has torque")
        calibration = follower.calibration()
        observed = robot.get_observation()
        faults.expect(list(observed) == FEATURES, "observed:", list(observed))
        said = degrees(calibration, follower.read("Present_Position"))
        faults.expect(np.allclose([observed[f] for f in FEATURES], said, atol=1e-4), "observed", observed, "the servos say", said)
        # There and back, each joint another way.
        for share in (0.2, 0.8, 0.5):
            goal = {}
            for motor, feature in zip(MOTORS, FEATURES):
                joint = calibration[motor]
                position = joint["range_min"] + share * (joint["range_max"] - joint["range_min"])
                middle = (joint["range_min"] + joint["range_max"]) / 2
                goal[feature] = share * 100 if motor == "gripper" else (position - middle) * 360 / 4095
            robot.send_action(goal)
            reached = robot.get_observation()
            away = np.abs([reached[f] - goal[f] for f in FEATURES])
            faults.expect((away <= 1.01 * one_step(calibration)).all(), "sent", goal, "reached", reached)
        poses = {tuple(teleop.get_action().values()) for _ in range(20)}
        faults.expect(len(poses) > 1, "the leader stands still")
        robot.disconnect()
        teleop.disconnect()
        faults.expect(follower.read("Torque_Enable") == [0] * 6, "torque stays on after the end")


def calibrate(faults, recorder, work):
    """A person centres the arm, presses Enter, sweeps every joint, presses Enter: here the simulated bus turns the joints."""
    for kind in ("follower", "leader"):
        with Arm(recorder, work, kind) as arm, Arm(recorder, work, "follower" if kind == "leader" else "leader") as other:
            folder = work / f"calibrated-{kind}"
            ends = {motor: (900 + 40 * i, 3100 - 30 * i) for i, motor in enumerate(MOTORS)}
            done = threading.Event()

            def centre(*_, arm=arm):
                # The encoder stands elsewhere than the middle: there is something to home.
                for motor in MOTORS:
                    arm.say("turn", motor, 1500)

            def sweep(arm=arm, ends=ends, done=done):
                for motor, (low, high) in ends.items():
                    for position in (low, high, 2047):
                        arm.say("turn", motor, position)
                        reads.wait_for_more(3)
                done.set()

            robot, teleop = lerobots(work, *((arm, other) if kind == "follower" else (other, arm)))
            device = robot if kind == "follower" else teleop
            device.calibration_fpath = folder / "arm.json"
            folder.mkdir()
            device.calibration, device.bus.calibration = {}, {}
            device.bus.connect()
            reads = Reads(device.bus)
            sweeping = threading.Thread(target=sweep)

            def entered():
                if not sweeping.is_alive() and not done.is_set():
                    sweeping.start()
                return done.is_set()

            kept = builtins.input, motors_bus.enter_pressed
            builtins.input, motors_bus.enter_pressed = centre, entered
            try:
                device.calibrate()
            finally:
                builtins.input, motors_bus.enter_pressed = kept
            sweeping.join()
            written = json.loads((folder / "arm.json").read_text())
            faults.expect(written == arm.calibration(), kind, "the file says", written, "the servos", arm.calibration())
            for motor in MOTORS:
                low, high = (0, 4095) if motor == "wrist_roll" else ends[motor]
                found = written[motor]["range_min"], written[motor]["range_max"]
                faults.expect(found == (low, high), kind, motor, "has the range", found, "expected", (low, high))
            device.bus.disconnect()
            arm.say("power")
            faults.expect(written == arm.calibration(), kind, "without power the servos forgot their calibration")


class Reads:
    """Counts the positions that LeRobot reads, to turn a joint only after it has seen the last pose."""

    def __init__(self, bus):
        self.condition, self.count, self.inner = threading.Condition(), 0, bus.sync_read
        bus.sync_read = self.sync_read

    def sync_read(self, *arguments, **options):
        values = self.inner(*arguments, **options)
        with self.condition:
            self.count += 1
            self.condition.notify_all()
        return values

    def wait_for_more(self, reads):
        with self.condition:
            goal = self.count + reads
            assert self.condition.wait_for(lambda: self.count >= goal, timeout=60), "LeRobot reads no positions"


def record_both(faults, recorder, work):
    """Each pose of the leader is another one, and the follower is at its goal at once: rows of the same pose must agree."""
    roots = {}
    for who in ("lerobot", "recorder"):
        with Arm(recorder, work, "follower", "--motion", "step") as follower, Arm(recorder, work, "leader", "--motion", "step") as leader:
            for name, arm in (("follower", follower), ("leader", leader)):
                write_calibration(work / name, "arm", arm.calibration())
            roots[who] = work / f"set-{who}"
            if who == "lerobot":
                dataset = DatasetRecordConfig(
                    repo_id="lab/both", single_task=TASK, root=roots[who], fps=FPS, episode_time_s=SECONDS, reset_time_s=0,
                    num_episodes=1, push_to_hub=False,
                )
                robot, teleop = (arm.config for arm in lerobots(work, follower, leader))
                lerobot_record.record(lerobot_record.RecordConfig(robot=robot, dataset=dataset, teleop=teleop, play_sounds=False))
            else:
                (work / "lab.toml").write_text(LAB.format(work=work, root=roots[who]))
                subprocess.run([recorder, "--config", work / "lab.toml"], check=True, timeout=300)
            calibration = leader.calibration(), follower.calibration()
    infos = {who: json.loads((root / "meta/info.json").read_text()) for who, root in roots.items()}
    for key in ("codebase_version", "robot_type", "fps", "total_episodes"):
        faults.expect(infos["lerobot"][key] == infos["recorder"][key], key, *(info[key] for info in infos.values()))
    for feature in ("action", "observation.state"):
        described = [{k: info["features"][feature][k] for k in ("dtype", "shape", "names")} for info in infos.values()]
        faults.expect(described[0] == described[1], feature, *described)
    actions, states = (
        {who: np.stack(pq.read_table(root / "data/chunk-000/file-000.parquet")[feature].to_pylist()) for who, root in roots.items()}
        for feature in ("action", "observation.state")
    )
    leaders, followers = map(one_step, calibration)
    found = 0
    for row, (action, state) in enumerate(zip(actions["lerobot"], states["lerobot"])):
        same = np.flatnonzero(np.abs(actions["recorder"][:, 0] - action[0]) < leaders[0] / 2)
        if row == 0 or not len(same):
            continue
        ours = same[0]
        away = np.abs(actions["recorder"][ours] - action)
        faults.expect((away <= leaders * 1.01).all(), "row", row, "has the action", action, "the recorder's", actions["recorder"][ours])
        # The follower is where the goal of the row before took it: on a busy machine that may be a goal that only one has.
        before = np.abs(actions["recorder"][ours - 1] - actions["lerobot"][row - 1])
        if ours < FPS * RAMP_S + 1 or (before > leaders / 2).any():
            continue
        away = np.abs(states["recorder"][ours] - state)
        faults.expect((away <= followers * 1.01).all(), "row", row, "has the state", state, "the recorder's", states["recorder"][ours])
        found += 1
    faults.expect(found >= LEAST_ROWS, "only", found, "rows of both have the same pose of the leader")
    print(f"arm_lerobot: {found} rows of the same pose compared, of {len(actions['lerobot'])} and {len(actions['recorder'])}")


# Longer than the way to the first pose takes at the approach's fastest, 90 degrees a second.
RAMP_S = 1.5
LAB = f"""
[robot]
type = "so101_follower"
id = "arm"
port = "{{work}}/port-follower"
calibration_dir = "{{work}}/follower"
[teleop]
type = "so101_leader"
id = "arm"
port = "{{work}}/port-leader"
calibration_dir = "{{work}}/leader"
ramp_s = {RAMP_S}
[dataset]
repo_id = "lab/both"
root = "{{root}}"
single_task = "{TASK}"
fps = {FPS}
episode_time_s = {SECONDS}
num_episodes = 1
[metrics]
listen = ""
"""


def main():
    recorder, work = sys.argv[1], Path(sys.argv[2])
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    faults = Faults()
    for part in (set_up_motors, connect_observe_act, calibrate, record_both):
        part(faults, recorder, work.resolve())
    for fault in faults[:40]:
        print("FAULT:", fault)
    print(f"arm_lerobot: {len(faults)} faults")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
