#!/usr/bin/env python3
"""The servos of two SO-101 arms, six STS3215 each, answering on two serial ports (Feetech protocol).

    servo_sim.py CALIBRATIONS LOG FOLLOWER_TTY LEADER_TTY

Independent of the recorder's own simulator on purpose: what one side gets wrong about the protocol shows.
CALIBRATIONS holds follower.json and leader.json, whose ranges and offsets stand in the servos' registers. The leader
moves by itself; the follower moves towards its goals, as fast as a servo can. LOG gets a line for each exchange:

    ARM read MONO_NS P1 ... P6       positions, in steps, when several were asked for at once; - for those that were not
    ARM goal MONO_NS P1 ... P6       goals, when all six were given at once
    ARM torque MONO_NS ID ON JUMP    torque switched; JUMP: steps from the position to the goal it starts with

Prints `ready` once both ports are open.
"""

import json
import math
import os
import select
import sys
import time
import tty

PING, READ, WRITE, SYNC_READ, SYNC_WRITE = 1, 2, 3, 0x82, 0x83
BROADCAST = 0xFE
FIRMWARE, MODEL, ID, LIMITS, HOMING, TORQUE, GOAL, POSITION = 0, 3, 5, 9, 31, 40, 42, 56
STEPS_A_SECOND = 3000


def sign_magnitude(value, sign_bit):
    return abs(value) | (value < 0) << sign_bit


class Servo:
    """The registers of one servo, its motion brought up to date whenever they are looked at."""

    def __init__(self, calibration, leader):
        self.registers = bytearray(128)
        self.low, self.high = calibration["range_min"], calibration["range_max"]
        self.leader, self.position, self.moved_ns = leader, (self.low + self.high) / 2, time.monotonic_ns()
        self.registers[FIRMWARE : FIRMWARE + 2] = 3, 10
        self.registers[ID] = calibration["id"]
        self.set(MODEL, 777)
        self.set(LIMITS, self.low)
        self.set(LIMITS + 2, self.high)
        self.set(HOMING, sign_magnitude(calibration["homing_offset"], 11))
        self.set(POSITION, int(self.position))

    def set(self, address, word):
        self.registers[address : address + 2] = word.to_bytes(2, "little")

    def get(self, address):
        return int.from_bytes(self.registers[address : address + 2], "little")

    def move(self, now_ns):
        seconds, self.moved_ns = (now_ns - self.moved_ns) / 1e9, now_ns
        if self.leader:
            period_s = 2 + 0.3 * self.registers[ID]
            swing = 0.3 * (self.high - self.low) * math.sin(2 * math.pi * now_ns / 1e9 / period_s)
            self.position = (self.low + self.high) / 2 + swing
        elif self.registers[TORQUE]:
            step = STEPS_A_SECOND * seconds
            self.position += max(-step, min(step, self.get(GOAL) - self.position))
        self.set(POSITION, int(self.position))


class Arm:
    """Six servos on one bus."""

    def __init__(self, name, calibrations, log, path):
        with open(f"{calibrations}/{name}.json") as file:
            motors = json.load(file).values()
        self.servos = {motor["id"]: Servo(motor, name == "leader") for motor in motors}
        self.name, self.log, self.buffer = name, log, bytearray()
        self.port = os.open(path, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self.port)

    def note(self, *words):
        print(self.name, *words, file=self.log, flush=True)

    def receive(self):
        """Takes what has come in and answers every whole packet in it; bytes that are no packet are skipped."""
        self.buffer += os.read(self.port, 4096)
        while (start := self.buffer.find(b"\xff\xff")) >= 0:
            del self.buffer[:start]
            if len(self.buffer) < 4 or len(self.buffer) < 4 + self.buffer[3]:
                return
            packet = bytes(self.buffer[2 : 4 + self.buffer[3]])
            if packet[1] >= 2 and sum(packet) & 0xFF == 0xFF:
                del self.buffer[: 2 + len(packet)]
                self.execute(packet[0], packet[2], packet[3:-1])
            else:
                del self.buffer[0]

    def execute(self, servo_id, instruction, parameters):
        now_ns = time.monotonic_ns()
        for servo in self.servos.values():
            servo.move(now_ns)
        if instruction == SYNC_READ:
            address, length, *ids = parameters
            self.reply(*((i, self.servos[i].registers[address : address + length]) for i in ids if i in self.servos))
            if address == POSITION:
                self.note("read", now_ns, *(s.get(POSITION) if i in ids else "-" for i, s in self.servos.items()))
        elif instruction == SYNC_WRITE:
            address, length, *rest = parameters
            for k in range(0, len(rest), 1 + length):
                self.write(rest[k], address, bytes(rest[k + 1 : k + 1 + length]), now_ns)
            if address == GOAL and len(rest) == 6 * (1 + length):
                self.note("goal", now_ns, *(servo.get(GOAL) for servo in self.servos.values()))
        elif servo_id in self.servos:
            if instruction == PING:
                self.reply((servo_id, b""))
            elif instruction == READ:
                address, length = parameters
                self.reply((servo_id, self.servos[servo_id].registers[address : address + length]))
            elif instruction == WRITE:
                self.write(servo_id, parameters[0], parameters[1:], now_ns)
                self.reply((servo_id, b""))
        elif servo_id == BROADCAST and instruction == WRITE:
            for each in self.servos:
                self.write(each, parameters[0], parameters[1:], now_ns)

    def write(self, servo_id, address, data, now_ns):
        if servo_id not in self.servos:
            return
        servo = self.servos[servo_id]
        torque_before = servo.registers[TORQUE]
        servo.registers[address : address + len(data)] = data
        if servo.registers[TORQUE] != torque_before:
            jump = abs(servo.get(GOAL) - servo.get(POSITION))
            self.note("torque", now_ns, servo_id, servo.registers[TORQUE], jump)

    def reply(self, *statuses):
        out = b""
        for servo_id, data in statuses:
            body = bytes([servo_id, len(data) + 2, 0]) + data
            out += b"\xff\xff" + body + bytes([~sum(body) & 0xFF])
        os.write(self.port, out)


def main():
    calibrations, log_path, follower, leader = sys.argv[1:]
    with open(log_path, "w") as log:
        arms = {}
        for name, path in (("follower", follower), ("leader", leader)):
            arm = Arm(name, calibrations, log, path)
            arms[arm.port] = arm
        print("ready", flush=True)
        while True:
            for port in select.select(list(arms), [], [])[0]:
                arms[port].receive()


if __name__ == "__main__":
    main()
