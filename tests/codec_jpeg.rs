//! Broken JPEGs: whatever a cable or a camera makes of a picture, parsing and decoding answer, and the next picture is whole.

mod media;

use media::textured;
use recorder::codec::jpeg::{self, Decoder, JpegError};
use recorder::codec::yuv::I420;
use recorder::config::schema::ColorRange;
use turbojpeg::Subsamp;

const W: usize = 96;
const H: usize = 64;

fn grey() -> I420 {
    I420::grey(W as u32, H as u32, ColorRange::Limited)
}

/// Marker segments as (offset, length) up to the data, as the JPEG itself says.
fn segments(jpeg: &[u8]) -> Vec<(usize, usize)> {
    let mut segments = vec![(0, 2)];
    let mut at = 2;
    loop {
        let length = 2 + usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
        segments.push((at, length));
        if jpeg[at + 1] == 0xda {
            return segments;
        }
        at += length;
    }
}

#[test]
fn cut_off_anywhere_is_corrupt_and_leaves_the_picture_before() {
    let whole = textured(W, H, 0);
    let mut cuts: Vec<usize> = segments(&whole)
        .iter()
        .flat_map(|&(at, length)| [at, at + 1, at + 2, at + 3, at + length / 2, at + length])
        .collect();
    let data = cuts.last().copied().unwrap();
    cuts.extend((data..whole.len()).step_by(97).chain([whole.len() - 2, whole.len() - 1]));
    let mut decoder = Decoder::new().unwrap();
    for cut in cuts {
        let mut picture = grey();
        let error = decoder.decode(&whole[..cut], &mut picture).expect_err("a cut JPEG");
        assert_eq!(error.reason().name(), "corrupt", "cut at {cut}: {error}");
        assert!(picture == grey(), "cut at {cut}: the picture before is kept");
        // Cut off, and an end mark behind: only the decoder can tell.
        let sealed = [&whole[..cut], b"\xff\xd9"].concat();
        if cut < whole.len() - 2 {
            assert!(decoder.decode(&sealed, &mut picture).is_err(), "cut at {cut} and sealed");
        }
    }
    let mut after = grey();
    decoder.decode(&whole, &mut after).unwrap();
    let mut fresh = grey();
    Decoder::new().unwrap().decode(&whole, &mut fresh).unwrap();
    assert!(after == fresh, "broken pictures leave nothing behind in the decoder");
}

/// A small generator, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

#[test]
fn thousands_of_mutations_never_panic() {
    let subsamplings = [Subsamp::Sub2x1, Subsamp::Sub2x2, Subsamp::None, Subsamp::Sub1x2, Subsamp::Gray];
    let seeds = subsamplings.map(|s| media::jpeg(W, H, s, 80, |x, y| [(x * 2) as u8, (y * 3) as u8, (x * y) as u8]));
    let mut random = Random(0x5eed_5eed_5eed_5eed);
    let mut decoder = Decoder::new().unwrap();
    let (mut decoded, mut refused) = (0, 0);
    for round in 0..6000 {
        let mut jpeg = seeds[round % seeds.len()].clone();
        let header = segments(&jpeg).last().map_or(0, |(at, length)| at + length);
        for _ in 0..1 + random.below(8) {
            // Every other mutation hits the header, which is small and says the most.
            let end = if random.below(2) == 0 { header.min(jpeg.len()) } else { jpeg.len() };
            let at = random.below(end.max(1));
            match random.below(5) {
                0 => jpeg[at] = random.below(256) as u8,
                1 => jpeg[at] ^= 1 << random.below(8),
                2 => jpeg.truncate(at.max(2)),
                3 => drop(jpeg.splice(at..at, vec![0xff; random.below(5)])),
                _ => drop(jpeg.drain(at..(at + random.below(20)).min(jpeg.len()))),
            }
            if jpeg.is_empty() {
                jpeg.push(0xff);
            }
        }
        let parsed = jpeg::parse(&jpeg);
        match decoder.decode(&jpeg, &mut grey()) {
            Ok(()) => {
                assert!(parsed.is_ok(), "what decodes has a sound structure");
                decoded += 1;
            }
            Err(_) => refused += 1,
        }
    }
    assert!(decoded > 100 && refused > 1000, "{decoded} decoded, {refused} refused: the mutations reach both");
}

#[test]
fn another_size_is_told_from_damage() {
    let error = Decoder::new().unwrap().decode(&textured(W, H + 16, 0), &mut grey()).unwrap_err();
    assert!(matches!(error, JpegError::WrongSize { found_height: 80, .. }), "{error}");
    assert_eq!(error.reason().name(), "wrong_size");
    assert!(error.to_string().contains("96x80, expected 96x64"), "{error}");
}

/// Many cameras leave the Huffman tables out, as the standard ones are meant.
#[test]
fn missing_huffman_tables_are_the_standard_ones() {
    let whole = textured(W, H, 0);
    let is_table = |&(at, _): &(usize, usize)| whole[at + 1] == 0xc4;
    let without: Vec<u8> = segments(&whole)
        .into_iter()
        .filter(|segment| !is_table(segment))
        .flat_map(|(at, length)| whole[at..at + length].to_vec())
        .chain(whole[segments(&whole).last().map_or(0, |(at, length)| at + length)..].iter().copied())
        .collect();
    assert!(without.len() + 400 < whole.len(), "tables were there");
    let (mut expected, mut found) = (grey(), grey());
    Decoder::new().unwrap().decode(&whole, &mut expected).unwrap();
    Decoder::new().unwrap().decode(&without, &mut found).unwrap();
    assert!(found == expected);
}

/// Stray bytes between the data and the end mark: the picture is whole, and some cameras send them every time.
#[test]
fn stray_bytes_before_the_end_mark_are_harmless() {
    let whole = textured(W, H, 0);
    let (data, end) = whole.split_at(whole.len() - 2);
    let stray = [data, b"\x12\x34\x56", end, b"padding"].concat();
    let (mut expected, mut found) = (grey(), grey());
    let mut decoder = Decoder::new().unwrap();
    decoder.decode(&whole, &mut expected).unwrap();
    decoder.decode(&stray, &mut found).unwrap();
    assert!(found == expected);
}

#[test]
fn colour_spaces_without_luma_are_refused() {
    let pixels = [100u8; 16 * 16 * 4];
    let image = turbojpeg::Image {
        pixels: &pixels[..],
        width: 16,
        pitch: 64,
        height: 16,
        format: turbojpeg::PixelFormat::CMYK,
    };
    let cmyk = turbojpeg::compress(image, 80, Subsamp::None).unwrap();
    let error = Decoder::new().unwrap().decode(&cmyk, &mut I420::grey(16, 16, ColorRange::Full)).unwrap_err();
    assert_eq!(error.reason().name(), "corrupt", "{error}");
}
