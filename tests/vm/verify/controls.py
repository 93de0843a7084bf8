"""Controls as the camera saw them set."""

from dataset import episodes, events
from losses import check_loss

# What controls.sh has the recorder set, by the camera's names; the automatic modes before what they govern.
WANTED = {
    "auto_exposure": 1,
    "exposure_time_absolute": 200,
    "white_balance_automatic": 0,
    "white_balance_temperature": 4000,
    "focus_automatic_continuous": 0,
    "focus_absolute": 30,
    "gain": 77,
    "power_line_frequency": 1,
}
OTHERS = ("gain", "10")  # what another program sets meanwhile


def controls(faults, truth):
    (episode,) = episodes(faults, truth.box / "controls", 1)
    check_loss(faults, truth, episode, "front", "unplugged", "linked")
    plugs = [[]]
    for camera, mono_ns, *words in truth.lines("controls.set"):
        if camera == "front":
            plugs.append([]) if words == ["plugged"] else plugs[-1].append((int(mono_ns), *words))
    faults.expect(len(plugs) > 2, "front was plugged in", len(plugs) - 1, "times")
    before, after = plugs[-2:]
    for name, settings in (("before", before), ("after", after)):
        refused = [words for _, *words in settings if "refused" in words]
        faults.expect(not refused, episode.name, name, "the reconnect the camera refused", refused)
        last = {control: int(value) for _, control, value, *_ in settings}
        wrong = {control: last.get(control) for control, value in WANTED.items() if last.get(control) != value}
        faults.expect(not wrong, episode.name, name, "the reconnect", wrong, "are not set as wanted")
    changed = [k for k, (_, *words) in enumerate(before) if tuple(words) == OTHERS]
    again = changed and ["gain", str(WANTED["gain"])] in [words for _, *words in before[changed[0] + 1 :]]
    faults.expect(again, episode.name, "gain was not set again after another program's", before)
    # Every control is set before the first picture that is shown.
    ((first, behind),) = [(gap["first_row"], gap["first_row"] + gap["rows"]) for gap in episode.told("front")["gaps"]]
    late = [words for at, *words in after if at > episode.column("front", "captured_mono_ns")[behind]]
    faults.expect(not late, episode.name, "rows go on before the camera is set up:", late)
    told = [event for _, event, _ in events(truth.box / "controls.json") if event["event"] == "control_changed"]
    expected = {"camera": "front", "control": "gain", "set": 77, "found": 10, "set_back": True}
    right = [event for event in told if event | expected == event]
    faults.expect(len(told) == len(right) == 1, episode.name, "tells of changes", told)
