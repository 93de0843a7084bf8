#!/usr/bin/env python3
"""Writes single frames of a video to standard output, each found by seeking as a trainer does: grey, 8 bits a pixel.

usage: random_access.py VIDEO FPS FRAME...
"""
import sys
from fractions import Fraction

import av

path, fps, frames = sys.argv[1], int(sys.argv[2]), [int(n) for n in sys.argv[3:]]
with av.open(path) as container:
    stream = container.streams.video[0]
    for n in frames:
        wanted = round(Fraction(n, fps) / stream.time_base)
        container.seek(wanted, stream=stream, backward=True)
        found = next((f for f in container.decode(stream) if f.pts >= wanted), None)
        if found is None or found.pts != wanted:
            sys.exit(f"{path}: expected a frame at {wanted}, found {found}")
        sys.stdout.buffer.write(found.reformat(format="gray").to_ndarray().tobytes())
