//! The JPEG corpus (`tests/data/jpeg`, made by `tests/py/make_jpeg_corpus.py`), what is to become of each picture, and what
//! cables and cameras make of them.
#![allow(dead_code)] // each test binary uses its part

use std::path::{Path, PathBuf};

/// Of every picture, unless it is one of another size.
pub const WIDTH: u32 = 98;
pub const HEIGHT: u32 = 58;

/// What is to become of a file.
pub enum Fate {
    /// It decodes. The pixel format of its planes, as ffmpeg calls it.
    Decoded(&'static str),
    /// It is refused: words of the error, and the label that it is counted under.
    Refused(&'static str, &'static str),
}
use Fate::{Decoded, Refused};

pub const FILES: [(&str, Fate); 25] = [
    ("420", Decoded("yuvj420p")),
    ("422", Decoded("yuvj422p")),
    ("444", Decoded("yuvj444p")),
    ("440", Decoded("yuvj440p")),
    ("grey", Decoded("gray")),
    // 4:2:2 with sampling factors that could be halved.
    ("422-by-2x2", Decoded("yuvj422p")),
    ("422-optimised", Decoded("yuvj422p")),
    ("422-restart-blocks", Decoded("yuvj422p")),
    ("420-restart-rows", Decoded("yuvj420p")),
    ("420-a-scan-each", Decoded("yuvj420p")),
    ("420-progressive", Decoded("yuvj420p")),
    ("422-progressive-restart", Decoded("yuvj422p")),
    ("420-16-bit-tables", Decoded("yuvj420p")),
    ("420-ffmpeg", Decoded("yuvj420p")),
    ("422-ffmpeg", Decoded("yuvj422p")),
    ("444-ffmpeg", Decoded("yuvj444p")),
    // AVI1, no Huffman tables, zeros behind it; the first with restarts.
    ("422-webcam", Decoded("yuvj422p")),
    ("420-webcam", Decoded("yuvj420p")),
    ("refused-411", Refused("the sampling Sub4x1", "corrupt")),
    ("refused-arithmetic", Refused("arithmetic coding", "corrupt")),
    ("refused-cmyk", Refused("4 components", "corrupt")),
    ("refused-rgb", Refused("the colour space RGB", "corrupt")),
    ("refused-12-bit", Refused("12-bit samples", "corrupt")),
    ("refused-lossless", Refused("lossless or hierarchical coding", "corrupt")),
    // Two fields, each a picture of its own.
    ("refused-fields", Refused("the JPEG is 98x32, expected 98x58", "wrong_size")),
];

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/jpeg")
}

pub fn path(name: &str) -> PathBuf {
    folder().join(format!("{name}.jpg"))
}

pub fn read(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap()
}

/// Those that decode.
pub fn good() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    FILES.iter().filter(|(_, fate)| matches!(fate, Decoded(_))).map(|(name, _)| (*name, read(name)))
}

/// Where the markers are: those of segments, restarts and the ends. Stuffed bytes are none.
pub fn markers(jpeg: &[u8]) -> Vec<usize> {
    let (mut found, mut at) = (vec![0], 2);
    while at + 1 < jpeg.len() {
        match (jpeg[at], jpeg[at + 1]) {
            (0xff, 0xd9) => {
                found.push(at);
                return found;
            }
            (0xff, 0xd0..=0xd7) => found.push(at),
            (0xff, 0xc0..=0xfe) => {
                found.push(at);
                at += usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
            }
            _ => {}
        }
        at += 1 + usize::from(jpeg[at] == 0xff);
    }
    found
}

/// With a segment of `kind` behind the start mark.
pub fn with_segment(jpeg: &[u8], kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + 2).unwrap().to_be_bytes();
    [&[0xff, 0xd8, 0xff, kind], &length[..], body, &jpeg[2..]].concat()
}

/// A small generator, so that a failure can be repeated.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

/// Mutations of the corpus without an end, always the same ones.
pub struct Mutations {
    seeds: Vec<Vec<u8>>,
    random: Random,
}

impl Mutations {
    pub fn new(seed: u64) -> Mutations {
        Mutations { seeds: FILES.iter().map(|(name, _)| read(name)).collect(), random: Random(seed) }
    }
}

impl Iterator for Mutations {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let Mutations { seeds, random } = self;
        let (which, other) = (random.below(seeds.len()), random.below(seeds.len()));
        let mut jpeg = seeds[which].clone();
        for _ in 0..1 + random.below(6) {
            // Every other one hits the segments, which are short and say the most.
            let header = markers(&seeds[which])[..].iter().find(|at| seeds[which][**at + 1] == 0xda).unwrap() + 14;
            let end = if random.below(2) == 0 { header.min(jpeg.len()) } else { jpeg.len() };
            let at = random.below(end.max(1));
            let length = random.below(40).min(jpeg.len() - at);
            match random.below(9) {
                0 => jpeg[at] = random.below(256) as u8,
                1 | 2 => jpeg[at] ^= 1 << random.below(8),
                3 if at > 1 => jpeg.truncate(at),
                4 => drop(jpeg.splice(at..at, vec![0xff; random.below(5)])),
                5 => drop(jpeg.drain(at..at + length)),
                // Lost packets of a transfer are often zeros.
                6 => jpeg[at..at + length].fill(0),
                7 => drop(jpeg.splice(at..at, jpeg[at..at + length].to_vec())),
                _ => drop(jpeg.splice(at.., seeds[other][at.min(seeds[other].len())..].iter().copied())),
            }
            if jpeg.is_empty() {
                jpeg.push(0xff);
            }
        }
        Some(jpeg)
    }
}
