"""What the simulated devices and the kernel say happened: the files that they left in the box."""

import json
from bisect import bisect_right
from collections import defaultdict, namedtuple

# A picture that a camera took; see fakeusb.c for the outcomes.
Picture = namedtuple("Picture", "sequence mono_ns outcome")
# A frame that the kernel handed over: its time stamp, the driver's number, whether the driver marks it as damaged, and
# the picture's number, None where nobody knows it.
Frame = namedtuple("Frame", "mono_ns sequence error picture", defaults=[None])
# A camera's node: when it was plugged in or reset, on the monotonic clock, and when its link came, since 1970.
Node = namedtuple("Node", "camera minor plugged_ns linked_utc_ns")

SENT = "taken", "error", "truncated"


def newest_at(stamps, at_ns):
    """Index of the newest of ascending `stamps` at or before `at_ns`, -1 where there is none."""
    return bisect_right(stamps, at_ns) - 1


class Truth:
    def __init__(self, box):
        self.box = box
        self.nodes = [
            Node(name, int(minor), int(plugged), int(linked.replace(".", "")))
            for name, minor, plugged, linked in self.lines("devices.txt")
        ]
        self.pictures = defaultdict(dict)
        for name, sequence, mono_ns, outcome in self.lines("pictures.txt"):
            self.pictures[name][int(sequence)] = Picture(int(sequence), int(mono_ns), outcome)
        self.exchanges = defaultdict(list)
        if (box / "servos.txt").exists():
            for arm, kind, mono_ns, *values in self.lines("servos.txt"):
                values = tuple(None if value == "-" else int(value) for value in values)
                self.exchanges[arm, kind].append((int(mono_ns), values))
        self.frames = defaultdict(list)
        for minor, mono_ns, sequence, flags in self.lines("frames.txt"):
            owners = [node for node in self.nodes if node.minor == int(minor) and node.plugged_ns < int(mono_ns)]
            frame = Frame(int(mono_ns), int(sequence), "ERROR" in flags)
            self.frames[max(owners, key=lambda node: node.plugged_ns).camera].append(frame)

    def lines(self, name):
        return [line.split() for line in (self.box / name).read_text().splitlines()]

    def file(self, camera):
        """The pictures that a camera shows in a loop; numbers begin at 1."""
        return self.box / f"{camera}.{'h264' if camera == 'side' else 'mjpeg'}"

    def clip(self, camera):
        """The same of a camera that sends JPEGs."""
        return [b"\xff\xd8" + part for part in self.file(camera).read_bytes().split(b"\xff\xd8")[1:]]

    def happened(self, device, what):
        """When it was `plugged`, `unplugged`, `frozen`, `thawed` or `reset`, in ns."""
        lines = self.lines("fakeusb.log") + self.lines("resets.txt")
        words = [line for line in lines if line[:2] == [device, what]]
        return [int(line[2].removeprefix("mono_ns=")) for line in words]

    def sessions(self, camera):
        """The frames handed over, in the order of their stamps, a list for each time that streaming began."""
        found = []
        for frame in sorted(self.frames[camera]):
            if not found or frame.sequence <= found[-1][-1].sequence:
                found.append([])
            found[-1].append(frame)
        return found

    def identified(self, faults, where, camera, shown):
        """The frames handed over, each with the number of its picture: [`shown`: {stamp: number of the picture}], which a
        recording says, tells of some frames of a session which pictures they are; what was sent in between has to be as
        many pictures as the driver counted. So a picture that is not where it belongs is found out."""
        sent = sorted(picture.sequence for picture in self.pictures[camera].values() if picture.outcome in SENT)
        place, found = {sequence: k for k, sequence in enumerate(sent)}, []
        for session in self.sessions(camera):
            known = [(frame, shown[frame.mono_ns]) for frame in session if shown.get(frame.mono_ns) in place]
            offsets = {place[picture] - frame.sequence for frame, picture in known}
            faults.expect(len(offsets) < 2, where, "the driver's numbers and the pictures' are apart by", sorted(offsets))
            for frame in session:
                k = frame.sequence + min(offsets) if offsets else -1
                found.append(frame._replace(picture=sent[k] if 0 <= k < len(sent) else None))
        return found

    def calibration(self, arm):
        return json.loads((self.box / f"calibration/{arm}.json").read_text())
