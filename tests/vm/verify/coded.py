"""A camera that encodes itself: its H.264 is stored as it came, where nothing is left out."""

from dataset import episodes
from rows import STAMP, check_account, check_encoded, recently_taken

# Pictures from one key picture to the next.
GOP = 10
# Pictures at least that are stored as they came. A machine that is too slow repeats many, and encodes what follows.
LEAST_WHOLE = 10
SLICES = 1, 5  # types of NAL units


def coded(faults, truth):
    (episode,) = episodes(faults, truth.box / "coded", 1)
    camera, where = "side", f"{episode.name} side"
    captured, pictures = episode.column(camera, "captured_mono_ns"), truth.pictures[camera]
    recent, clip = recently_taken(pictures), access_units((truth.box / "side.h264").read_bytes())
    shown = {}
    for row, (sample, at) in enumerate(zip(episode.samples(camera), captured)):
        match = STAMP.search(sample[:1024])
        if not match:
            continue  # encoded anew: it has no stamp, and is looked at below
        number, mono_ns = int(match[2]), int(match[3])
        picture = pictures.get(number)
        faults.expect(picture and picture[1:] == (mono_ns, "taken"), where, "row", row, "is picture", number, "which is", picture)
        faults.expect(number in recent(at), where, "row", row, "captured", at - mono_ns, "ns after it was taken")
        faults.expect(at not in shown, where, "row", row, "has picture", number, "as it came, twice")
        same = [n for n in prefixed_units(sample) if n[0] & 31 in SLICES] == clip[(number - 1) % len(clip)]
        faults.expect(same, where, "row", row, "differs from what was sent")
        shown[at] = number
    fresh = episode.column(camera, "repeated").count(False)
    faults.expect(len(shown) >= LEAST_WHOLE, where, "has", len(shown), "pictures as they came, of", fresh)
    frames = truth.identified(faults, where, camera, shown)
    usable, broken, delivered = set(), True, {frame.picture for frame in frames}
    for number, picture in sorted(pictures.items()):
        # One that was lost in the kernel breaks what follows as one that was damaged on the way to it.
        broken = picture.outcome != "taken" or number not in delivered or (broken and (number - 1) % GOP != 0)
        if not broken:
            usable.add(number)
    check_encoded(faults, truth, episode, camera, [f for f in frames if f.picture is None or f.picture in usable])
    check_account(faults, where, episode, camera, frames)
    damaged = [f for f in frames if captured[0] < f.mono_ns < captured[-1] and f.picture not in usable]
    corrupt = episode.told(camera)["dropped"].get("corrupt", 0)
    print(f"{where}: {len(captured)} rows, {len(shown)} of {fresh} pictures as they came, {corrupt} build on a damaged one")
    errors = sum(p.outcome == "error" and captured[0] < p.mono_ns < captured[-1] for p in pictures.values())
    faults.expect(errors == 2, where, "has", errors, "damaged pictures in the middle")
    faults.expect(damaged and corrupt == len(damaged), where, "counts", corrupt, "corrupt pictures of", len(damaged))


def access_units(stream):
    """The slices of each picture of a byte stream whose pictures begin with a delimiter."""
    units = [unit.rstrip(b"\0") for unit in stream.split(b"\0\0\1")[1:]]
    found = []
    for unit in units:
        if unit[0] & 31 == 9:
            found.append([])
        elif unit[0] & 31 in SLICES:
            found[-1].append(unit)
    return found


def prefixed_units(sample):
    """The NAL units of a video's sample, each behind its length."""
    found = []
    while sample:
        length = int.from_bytes(sample[:4], "big")
        found.append(sample[4 : 4 + length].rstrip(b"\0"))
        sample = sample[4 + length :]
    return found
