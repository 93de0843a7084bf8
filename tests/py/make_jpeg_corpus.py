#!/usr/bin/env python3
"""Make the JPEG corpus: one picture as the encoders of others write it, and as cameras do.

usage: make_jpeg_corpus.py [FOLDER]      default: tests/data/jpeg

Needs numpy, Pillow, cjpeg (Debian: libjpeg-turbo-progs) and ffmpeg. The committed files were made with libjpeg-turbo
2.1.5, ffmpeg 5.1 and Pillow 13; other versions may make other bytes of the same picture. What each file is for stands
in tests/jpeg_corpus.rs, which looks at all of them.
"""
import io
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 98, 58  # even, and a multiple of no block


def picture(width, height):
    """Colour ramps, waves, hard edges and noise, so that no plane is flat and no block like another."""
    y, x = np.mgrid[0:height, 0:width]
    wave = np.sin(x / 5.0) + np.cos(y / 4.0)
    red = 128 + 55 * wave
    green = 255 * x / width
    blue = np.where((x // 24 + y // 16) % 2, 40, 200) * (0.4 + 0.6 * y / height)
    noise = np.random.default_rng(7).integers(-20, 21, (height, width, 1))
    return (np.stack([red, green, blue], axis=-1) + noise).clip(0, 255).astype(np.uint8)


def ppm(pixels):
    height, width, _ = pixels.shape
    return b"P6 %d %d 255\n" % (width, height) + pixels.tobytes()


def cjpeg(*arguments, pixels=picture(WIDTH, HEIGHT)):
    command = ["cjpeg", "-quality", "75", *arguments]
    return subprocess.run(command, input=ppm(pixels), stdout=subprocess.PIPE, check=True).stdout


def ffmpeg(*arguments):
    command = ["ffmpeg", "-v", "error", "-f", "ppm_pipe", "-i", "-", *arguments, "-fflags", "+bitexact", "-f", "image2pipe", "-"]
    return subprocess.run(command, input=ppm(picture(WIDTH, HEIGHT)), stdout=subprocess.PIPE, check=True).stdout


def segments(jpeg):
    """Marker segments up to the data, and the rest."""
    found, at = [], 2
    while jpeg[at + 1] != 0xDA:
        length = 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        found.append(jpeg[at : at + length])
        at += length
    return found, jpeg[at:]


def webcam(jpeg, polarity=0):
    """As many cameras write it: AVI1 for JFIF, and no Huffman tables, as the standard ones are meant."""
    kept, data = segments(jpeg)
    kept = [segment for segment in kept if segment[1] not in (0xC4, 0xE0)]
    avi1 = b"\xff\xe0\x00\x10AVI1" + bytes([polarity]) + bytes(9)
    return b"\xff\xd8" + avi1 + b"".join(kept) + data


def padded(jpeg, block=512):
    return jpeg + bytes(-len(jpeg) % block)


def cmyk():
    out = io.BytesIO()
    Image.fromarray(picture(WIDTH, HEIGHT)).convert("CMYK").save(out, "JPEG", quality=75)
    return out.getvalue()


def of_12_bits(jpeg):
    """Not a picture any more; nothing is decoded of it."""
    at = jpeg.index(b"\xff\xc0")
    return jpeg[: at + 1] + b"\xc1" + jpeg[at + 2 : at + 4] + b"\x0c" + jpeg[at + 5 :]


def fields():
    """Two pictures of half the height in one buffer, as an interlaced AVI has them."""
    whole = picture(WIDTH, HEIGHT + 6)
    pair = [webcam(cjpeg("-sample", "2x1", pixels=whole[n::2]), polarity=n + 1) for n in range(2)]
    return b"".join(pair)


def corpus():
    with tempfile.TemporaryDirectory() as folder:
        scans = Path(folder) / "scans"
        scans.write_text("0;\n1;\n2;\n")
        yield "420", cjpeg("-sample", "2x2")
        yield "422", cjpeg("-sample", "2x1")
        yield "444", cjpeg("-sample", "1x1")
        yield "440", cjpeg("-sample", "1x2")
        yield "grey", cjpeg("-grayscale")
        yield "422-by-2x2", cjpeg("-sample", "2x2,1x2,1x2")
        yield "422-optimised", cjpeg("-sample", "2x1", "-optimize")
        yield "422-restart-blocks", cjpeg("-sample", "2x1", "-restart", "3B")
        yield "420-restart-rows", cjpeg("-sample", "2x2", "-restart", "1")
        yield "420-a-scan-each", cjpeg("-sample", "2x2", "-scans", str(scans))
        yield "420-progressive", cjpeg("-sample", "2x2", "-progressive")
        yield "422-progressive-restart", cjpeg("-sample", "2x1", "-progressive", "-restart", "1")
        yield "420-16-bit-tables", cjpeg("-sample", "2x2", "-quality", "2")
        yield "420-ffmpeg", ffmpeg("-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-q:v", "4")
        yield "422-ffmpeg", ffmpeg("-c:v", "mjpeg", "-pix_fmt", "yuvj422p", "-q:v", "4", "-huffman", "default")
        yield "444-ffmpeg", ffmpeg("-c:v", "mjpeg", "-pix_fmt", "yuvj444p", "-q:v", "4")
        yield "422-webcam", padded(webcam(cjpeg("-sample", "2x1", "-restart", "1")))
        yield "420-webcam", webcam(cjpeg("-sample", "2x2"))
        yield "refused-411", cjpeg("-sample", "4x1")
        yield "refused-arithmetic", cjpeg("-sample", "2x2", "-arithmetic")
        yield "refused-cmyk", cmyk()
        yield "refused-rgb", cjpeg("-rgb")
        yield "refused-12-bit", of_12_bits(cjpeg("-sample", "2x2"))
        yield "refused-lossless", ffmpeg("-c:v", "ljpeg", "-pix_fmt", "yuvj420p")
        yield "refused-fields", fields()


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "data/jpeg"
    folder.mkdir(parents=True, exist_ok=True)
    for name, jpeg in corpus():
        (folder / f"{name}.jpg").write_bytes(jpeg)


main()
