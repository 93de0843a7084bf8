"""What the recorder wrote: its tables, videos, summaries and events."""

import json
from datetime import datetime

import av
import pyarrow.parquet as pq


class Episode:
    """An episode of a new data set, which has one file for each."""

    def __init__(self, root, index):
        self.root, self.index, self.name = root, index, f"{root.name} episode {index}"
        self.names = {}  # of cameras that have another one in the data set
        self.data, self.rows = self.table("data"), self.table("recorder/rows")
        self.summary = json.loads((root / f"recorder/episodes/chunk-000/file-{index:03d}.json").read_text())

    def table(self, series):
        return pq.read_table(self.root / series / f"chunk-000/file-{self.index:03d}.parquet").to_pydict()

    def key(self, camera):
        return f"observation.images.{self.names.get(camera, camera)}"

    def column(self, camera, name):
        return self.rows[f"{self.key(camera)}/{name}"]

    def told(self, camera):
        """What its summary tells of a camera."""
        return self.summary["cameras"][self.names.get(camera, camera)]

    def video(self, camera):
        return av.open(str(self.root / f"videos/{self.key(camera)}/chunk-000/file-{self.index:03d}.mp4"))

    def samples(self, camera):
        """The bytes of its video's frames."""
        with self.video(camera) as container:
            return [bytes(packet) for packet in container.demux(video=0) if packet.size]

    def frames(self, camera):
        """Its video's frames, decoded."""
        with self.video(camera) as container:
            return list(container.decode(video=0))

    def mono_ns(self, utc_ns):
        """The time on the monotonic clock."""
        return utc_ns - self.rows["tick/utc_ns"][0] + self.rows["tick/mono_ns"][0]


def episodes(faults, root, expected):
    """All episodes of a data set that is to have so many."""
    info = json.loads((root / "meta/info.json").read_text())
    faults.expect(info["total_episodes"] == expected, root.name, "has", info["total_episodes"], "episodes")
    found = [Episode(root, index) for index in range(info["total_episodes"])]
    for episode in found:
        length = len(episode.data["index"])
        faults.expect(episode.data["frame_index"] == list(range(length)), episode.name, "frame_index is not 0, 1, 2 ...")
        tabled = len(episode.rows["tick/mono_ns"])
        faults.expect(tabled == length, episode.name, "has", length, "rows, the recorder's table", tabled)
    total = sum(len(episode.data["index"]) for episode in found)
    faults.expect(total == info["total_frames"], root.name, "has", total, "rows, info.json says", info["total_frames"])
    return found


def events(log):
    """The events of a JSON log: (UTC in ns, the event's fields, its words)."""
    found = []
    for line in map(json.loads, log.read_text().splitlines()):
        if "event" in line:
            at = datetime.fromisoformat(line["timestamp"].replace("Z", "+00:00"))
            found.append((int(at.timestamp()) * 10**9 + at.microsecond * 1000, line["event"], line["message"]))
    return found
