"""The kernel's virtual camera in raw formats: colours are those of its test pattern, and the number that it writes into each
picture is the one that the row names."""

import numpy as np

from dataset import episodes
from rows import check_newest

# Three quarters of full colour, as bars from left to right.
BARS = [(191 * r, 191 * g, 191 * b) for r, g, b in [(1, 1, 1), (1, 1, 0), (0, 1, 1), (0, 1, 0), (1, 0, 1), (1, 0, 0), (0, 0, 1), (0, 0, 0)]]
# What each is in a grey picture of the virtual camera: luma as in high definition.
LUMA = (0.2126, 0.7152, 0.0722)
# Rows of the picture without text, and columns of each bar that its neighbours do not reach.
CLEAR_ROWS, MARGIN = slice(64, 176), 8
# Lossy encoding, and colours rounded twice.
TOLERANCE = 8
# The number begins behind the time, in characters of 8 x 16.
NUMBER_X, NUMBER_Y, GLYPH = 128, 16, (8, 16)


def vivid(faults, truth):
    (episode,) = episodes(faults, truth.box / "vivid", 1)
    for camera in episode.summary["cameras"]:
        where = f"{episode.name} {camera}"
        pictures = [frame.to_ndarray(format="rgb24").astype(np.int16) for frame in episode.frames(camera)]
        check_newest(faults, where, episode, camera, sorted(truth.frames[camera]))
        for row, picture in enumerate(pictures):
            check_bars(faults, f"{where} row {row}", picture, grey=camera == "grey")
        check_numbers(faults, where, episode.column(camera, "sequence"), pictures)
        print(f"{where}: {len(pictures)} rows, {len(set(episode.column(camera, 'sequence')))} pictures")


def check_bars(faults, where, picture, grey):
    width = picture.shape[1] // len(BARS)
    for k, expected in enumerate(BARS):
        if grey:
            expected = (np.dot(expected, LUMA),) * 3
        bar = picture[CLEAR_ROWS, k * width + MARGIN : (k + 1) * width - MARGIN].reshape(-1, 3)
        found, spread = bar.mean(axis=0), bar.std(axis=0).max()
        faults.expect(np.abs(found - expected).max() <= TOLERANCE, where, "bar", k, "is", found.round(), "of", expected)
        faults.expect(spread <= TOLERANCE, where, "bar", k, "is not even, by", spread)


def check_numbers(faults, where, sequences, pictures):
    """Nobody has to know what digits look like: those that are the same look the same, and others do not."""
    glyphs = [
        (digit, picture[NUMBER_Y : NUMBER_Y + GLYPH[1], NUMBER_X + GLYPH[0] * k :][:, : GLYPH[0]])
        for sequence, picture in zip(sequences, pictures)
        for k, digit in enumerate(str(sequence))
    ]
    known = {}
    for digit, glyph in glyphs:
        known.setdefault(digit, []).append(glyph)
    faults.expect(len(known) > 5, where, "shows too few digits to tell them apart:", sorted(known))
    looks = {digit: np.median(each, axis=0) for digit, each in known.items()}
    for digit, glyph in glyphs:
        nearest = min(looks, key=lambda other: np.abs(looks[other] - glyph).mean())
        faults.expect(nearest == digit, where, "a picture whose number has a", digit, "shows a", nearest)
