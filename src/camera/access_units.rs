//! Where the pictures lie in a file of H.264, a byte stream as encoders write it (ITU-T H.264, annex B and 7.4.1.2.3). Only
//! their places are kept in memory.

use super::container::Span;
use crate::codec::h264::slice_start;
use std::io::{self, BufRead, BufReader, Read};

/// Bytes of a NAL unit that tell whether a picture begins with it.
const LOOKED_AT: usize = 20;

/// The access units of a byte stream, in their order.
pub(super) fn access_units(input: impl Read) -> io::Result<Vec<Span>> {
    let mut input = BufReader::with_capacity(1 << 16, input);
    let mut found = AccessUnits::default();
    let (mut position, mut zeros) = (0u64, 0u64);
    // The start of the NAL unit that is being read, behind its start code.
    let mut unit: Option<(u64, Vec<u8>)> = None;
    loop {
        let buffer = input.fill_buf()?;
        let length = buffer.len();
        if length == 0 {
            break;
        }
        for &byte in buffer {
            position += 1;
            if byte == 1 && zeros >= 2 {
                if let Some((start, head)) = unit.take() {
                    found.unit(start, &head);
                }
                unit = Some((position - 1 - zeros.min(3), Vec::with_capacity(LOOKED_AT)));
            } else if let Some((_, head)) = unit.as_mut().filter(|(_, head)| head.len() < LOOKED_AT) {
                head.push(byte);
            }
            zeros = if byte == 0 { zeros + 1 } else { 0 };
        }
        input.consume(length);
    }
    if let Some((start, head)) = unit {
        found.unit(start, &head);
    }
    Ok(found.finish(position))
}

#[derive(Default)]
struct AccessUnits {
    spans: Vec<Span>,
    /// Where the open one begins.
    start: Option<u64>,
    /// It has a slice.
    has_picture: bool,
}

impl AccessUnits {
    /// The next NAL unit, which begins at `at` with these bytes.
    fn unit(&mut self, at: u64, head: &[u8]) {
        let Some(kind) = head.first().map(|byte| byte & 0x1f) else { return };
        let is_slice = matches!(kind, 1 | 2 | 5);
        let begins = match kind {
            6..=9 | 14..=18 => true,
            _ => is_slice && slice_start(head).is_some_and(|(first_macroblock, _)| first_macroblock == 0),
        };
        if begins && self.has_picture {
            self.close(at);
        }
        self.start.get_or_insert(at);
        self.has_picture |= is_slice;
    }

    fn close(&mut self, end: u64) {
        self.spans.extend(self.start.take().map(|start| Span::new(start, end - start)));
        self.has_picture = false;
    }

    fn finish(mut self, end: u64) -> Vec<Span> {
        if self.has_picture {
            self.close(end);
        }
        self.spans
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_told_apart() {
        // Types 7, 8: parameter sets; 9: delimiter; 5, 1: slices, whose first bit is 1 at a picture's start.
        let nal = |long: bool, bytes: &[u8]| [if long { &[0, 0, 0, 1][..] } else { &[0, 0, 1] }, bytes].concat();
        let (sps, pps, delimiter) = (nal(true, &[0x67, 1, 2]), nal(true, &[0x68, 3]), nal(true, &[9, 0xf0]));
        let (key, first, more) =
            (nal(false, &[0x65, 0x88, 7]), nal(true, &[0x41, 0x9a, 0]), nal(false, &[0x41, 0x48, 9]));
        let check = |pictures: &[&[&Vec<u8>]]| {
            let pictures: Vec<Vec<u8>> =
                pictures.iter().map(|units| units.iter().copied().flatten().copied().collect()).collect();
            let spans = access_units(&pictures.concat()[..]).unwrap();
            let mut at = 0;
            let expected = pictures.iter().map(|picture| {
                at += picture.len() as u64;
                Span::new(at - picture.len() as u64, picture.len() as u64)
            });
            assert_eq!(spans, expected.collect::<Vec<_>>());
        };
        check(&[&[&sps, &pps, &key], &[&first], &[&first]]);
        check(&[&[&delimiter, &sps, &pps, &key, &more], &[&delimiter, &first, &more, &more], &[&sps, &pps, &key]]);
        check(&[&[&key], &[&pps, &first], &[&first]]);
        assert_eq!(access_units(&[][..]).unwrap(), []);
        assert_eq!(access_units(&[0, 0, 1, 0x67, 1, 0, 0, 1][..]).unwrap(), [], "no picture");
        // What precedes the first start code is no part of a picture.
        assert_eq!(access_units(&[&[7, 7][..], &key].concat()[..]).unwrap(), [Span::new(2, 6)]);
    }
}
