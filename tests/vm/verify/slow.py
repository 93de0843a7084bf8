"""A camera that delivers less than its rate: told in time, with the cause."""

from dataset import episodes, events
from losses import SLOW_S
from rows import check_stamped

# A camera that becomes slow is told of within this.
TOLD_S = 3
# What slow.sh has another program set, in 100 us; a frame of front's takes 66.7 ms.
EXPOSURE = "exposure_time_absolute", "1000"
CAUSE = "its exposure is 100.0 ms, longer than a frame (66.7 ms): set exposure = 666 or less"


def slow(faults, truth):
    (episode,) = episodes(faults, truth.box / "slow", 1)
    for camera in ("front", "wrist"):
        check_stamped(faults, truth, episode, camera)
    set_ns = [int(at) for camera, at, *words in truth.lines("settings.txt") if (camera, *words) == ("front", *EXPOSURE)]
    log = [(at, event) for at, event, _ in events(truth.box / "slow.json") if event.get("camera") == "front"]
    told = [(at, event) for at, event in log if event["event"] == "camera_slow" and CAUSE in event["cause"]]
    over = [at for at, event in log if event["event"] == "camera_slow_over"]
    if len(set_ns) != 1 or len(told) != 1:
        return faults.expect(False, episode.name, "the exposure was set", set_ns, "and told", told)
    ((at, event),) = told
    after_s = (episode.mono_ns(at) - set_ns[0]) / 1e9
    print(f"{episode.name} front: {event['hertz']:.1f} frames a second were told after {after_s:.2f} s")
    faults.expect(0 < after_s <= TOLD_S + SLOW_S, episode.name, "a slow camera was told after", after_s, "s")
    right = event["target_hertz"] == 15 and 9 < event["hertz"] < 15 * 0.95
    faults.expect(right, episode.name, "tells of", event)
    faults.expect(any(end > at for end in over), episode.name, "does not tell that it is over", over)
