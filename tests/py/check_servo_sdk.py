#!/usr/bin/env python3
"""Talks to six servos at their positions' middle with Feetech's own library, which is LeRobot's too.

    check_servo_sdk.py PORT

Pings, reads, writes, reads many and writes many; servo 6 is expected to report an overload, the others nothing. An
answer that is not as expected is an AssertionError.
"""

import sys

import scservo_sdk as scs

IDS = [1, 2, 3, 4, 5, 6]
MODEL, MIN_LIMIT, HOMING, TORQUE, ACCELERATION, GOAL, LOCK, POSITION = 3, 9, 31, 40, 41, 42, 55, 56
OVERLOAD = 32
# Longer than any answer takes; the library's own patience ends in some milliseconds, which a busy machine may need.
PATIENCE_MS = 60_000


def done(result, error=0, servo=0):
    assert result == scs.COMM_SUCCESS, f"servo {servo}: {result}"
    assert error == (OVERLOAD if servo == 6 else 0), f"servo {servo} reports error {error}"


def read_many(handler, port, address, ids=IDS):
    group = scs.GroupSyncRead(port, handler, address, 2)
    for servo in ids:
        assert group.addParam(servo)
    done(group.txRxPacket())
    assert all(group.isAvailable(servo, address, 2) for servo in ids)
    return [group.getData(servo, address, 2) for servo in ids]


def write_many(handler, port, address, length, values):
    group = scs.GroupSyncWrite(port, handler, address, length)
    for servo, value in values.items():
        assert group.addParam(servo, list(value.to_bytes(length, "little")))
    done(group.txPacket())


def main():
    port = scs.PortHandler(sys.argv[1])
    assert port.openPort() and port.setBaudRate(1_000_000)
    port.setPacketTimeout = lambda _: port.setPacketTimeoutMillis(PATIENCE_MS)
    handler = scs.PacketHandler(0)

    for servo in IDS:
        model, result, error = handler.ping(port, servo)
        done(result, error, servo)
        assert model == 777, model
        limit, result, error = handler.read2ByteTxRx(port, servo, MIN_LIMIT)
        done(result, error, servo)
        assert limit == [750, 800, 820, 860, 0, 1990][servo - 1], limit
        done(*handler.write1ByteTxRx(port, servo, ACCELERATION, 200 + servo), servo)
        acceleration, result, error = handler.read1ByteTxRx(port, servo, ACCELERATION)
        done(result, error, servo)
        assert acceleration == 200 + servo, acceleration
    homing, result, error = handler.read2ByteTxRx(port, 3, HOMING)
    done(result, error, 3)
    assert homing == 1200 | 1 << 11, homing

    middle = [2075, 2000, 1960, 2005, 2047, 2735]
    assert read_many(handler, port, POSITION) == middle
    assert read_many(handler, port, POSITION, [5, 2]) == [2047, 2000]
    goals = {servo: 1200 + 100 * servo for servo in IDS[:5]} | {6: 2500}
    write_many(handler, port, GOAL, 2, goals)
    assert read_many(handler, port, GOAL) == list(goals.values())
    assert read_many(handler, port, POSITION) == middle, "without torque nothing moves"
    write_many(handler, port, TORQUE, 1, dict.fromkeys(IDS, 1))
    while read_many(handler, port, POSITION) != list(goals.values()):
        pass

    # EEPROM: an id that is given takes effect at once, and the servo answers by its old one.
    done(*handler.write1ByteTxRx(port, 5, LOCK, 0), 5)
    done(*handler.write1ByteTxRx(port, 5, 5, 9), 5)
    done(*handler.ping(port, 9)[1:], 9)
    done(*handler.write1ByteTxRx(port, 9, 5, 5), 9)
    port.closePort()
    print("ok")


if __name__ == "__main__":
    main()
