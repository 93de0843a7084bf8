"""Compares the RGB that a trainer's video back end gives with that of the JPEG which a `file` camera played.

usage: check_colour.py ROOT PATCHES.json [--backend pyav|torchcodec]

PATCHES.json holds, for a chart of equal squares, the mean RGB of each square's middle in the source JPEG, as
libjpeg-turbo decodes it. Every camera's first video is looked at, at its first, middle and last frame. Prints the
largest difference, and a line for each square that is more than 3 of 255 off; exit code 1 when there is one.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy

TOLERANCE = 3.0


def pyav(path):
    import av

    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def torchcodec(path):
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(str(path), dimension_order="NHWC")
    return [decoder[i].numpy() for i in range(len(decoder))]


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("root", type=Path)
    arguments.add_argument("patches", type=Path)
    arguments.add_argument("--backend", choices=["pyav", "torchcodec"], default="pyav")
    options = arguments.parse_args()
    chart = json.loads(options.patches.read_text())
    side, columns = chart["side"], chart["columns"]
    decode = {"pyav": pyav, "torchcodec": torchcodec}[options.backend]
    videos = sorted((options.root / "videos").glob("*/chunk-000/file-000.mp4"))
    if not videos:
        sys.exit(f"check_colour.py: no videos in {options.root}")
    bad, worst = 0, 0.0
    for video in videos:
        pictures = decode(video)
        for k in sorted({0, len(pictures) // 2, len(pictures) - 1}):
            for patch, expected in enumerate(chart["means"]):
                top, left = patch // columns * side, patch % columns * side
                inner = slice(side // 4, side * 3 // 4)
                square = pictures[k][top : top + side, left : left + side][inner, inner]
                found = square.reshape(-1, 3).mean(axis=0)
                difference = float(numpy.abs(found - expected).max())
                worst = max(worst, difference)
                if difference > TOLERANCE:
                    bad += 1
                    print(f"BAD {video} frame {k}, patch {patch}: expected {expected}, found {found.round(1).tolist()}")
    print(f"{options.backend}: {len(videos)} videos, largest difference {worst:.2f} of 255, {bad} bad")
    sys.exit(bad > 0)


main()
