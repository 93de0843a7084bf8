"""What the recorder says of the devices, against what they were made as."""

import json
import re

from dataset import episodes
from rows import STAMP, check_arm, check_stamped

CAMERAS = {
    "front": [("MJPG", [30, 15])],
    "wrist": [("MJPG", [20, 10])],
    "side": [("MJPG", [30, 15]), ("H264", [30, 15])],
}
# As in controls.h: lowest, highest, step, at the start.
GAIN = (0, 255, 1, 64)


def path_of(camera):
    return f"/dev/v4l/by-id/usb-fakeusb_USB_Camera_{camera}-video-index0"


def devices(faults, truth):
    table = (truth.box / "devices.table").read_text()
    told = json.loads((truth.box / "devices.json").read_text())
    cameras = {camera["path"]: camera for camera in told["cameras"]}
    faults.expect(set(cameras) == set(map(path_of, CAMERAS)), "devices tells of", sorted(cameras))
    for name, modes in CAMERAS.items():
        path = path_of(name)
        faults.expect(path in table, "the table leaves out", path)
        if not (camera := cameras.get(path)):
            continue
        usb = camera["usb"]
        faults.expect((usb["vendor"], usb["product"], usb["serial"]) == ("0bda", "5842", name), name, "is", usb)
        offers = [(o["fourcc"], o["width"], o["height"], o["fps"]) for o in camera["offers"]]
        faults.expect(offers == [(fourcc, 320, 240, rates) for fourcc, rates in modes], name, "offers", offers)
        gain = [c for c in camera["controls"] if c["name"] == "gain"]
        found = [(c["min"], c["max"], c["step"], c["default"]) for c in gain]
        faults.expect(found == [GAIN], name, "has gain", found)
        faults.expect(not camera["in_use_by"], name, "is in use by", camera["in_use_by"])
    for arm in ("follower", "leader"):
        path = f"/dev/serial/by-id/usb-fakeusb_USB_Single_Serial_{arm}-if00"
        faults.expect(path in table, "the table leaves out", path)
        servos = [[s["id"] for s in port["servos"]] for port in told["serial_ports"] if port["path"] == path]
        faults.expect(servos == [[1, 2, 3, 4, 5, 6]], arm, "has servos", servos)
    busy = json.loads((truth.box / "busy.json").read_text())["cameras"]
    users = {c["path"]: [user["name"] for user in c["in_use_by"]] for c in busy if c["in_use_by"]}
    faults.expect(users == {path_of("front"): ["v4l2-ctl"]}, "cameras are in use by", users)
    # Each picture names the camera that took it.
    taken = json.loads((truth.box / "snapshots.json").read_text())["snapshots"]
    shots = {shot["camera"]: shot["file"] for shot in taken}
    for name in CAMERAS:
        picture = (truth.box / shots[path_of(name)]).read_bytes() if shots.get(path_of(name)) else b""
        match = STAMP.search(picture[:512])
        faults.expect(match and match[1].decode() == name, name, "has the picture", shots.get(path_of(name)), match)
    print(f"devices: {len(cameras)} cameras, {len(told['serial_ports'])} serial ports, {len(shots)} pictures")


def init(faults, truth):
    """Each camera is recorded under the name that lab.toml gives to its stable name, and each arm in its own place."""
    (episode,) = episodes(faults, truth.box / "init", 1)
    tables = (truth.box / "lab.toml").read_text().split("\n[")
    paths = {re.match(r"robot\.cameras\.(\w+)\]", t): re.search(r'^index_or_path = "(.*)"', t, re.M) for t in tables}
    names = {path[1]: table[1] for table, path in paths.items() if table and path}
    faults.expect(set(names) == {path_of("front"), path_of("wrist")}, "lab.toml has the cameras", names)
    for camera in ("front", "wrist"):
        episode.names[camera] = names.get(path_of(camera))
        check_stamped(faults, truth, episode, camera)
    check_arm(faults, truth, episode)
    fresh = episode.rows["arm/state_reused"].count(False)
    print(f"init: {names}, {len(episode.data['index'])} rows, {fresh} with the arm")
