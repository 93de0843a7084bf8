//! Where the pictures lie in a file: JPEGs concatenated, in an AVI, or in an MP4; H.264 as a byte stream. Only their places are
//! kept in memory.

use super::access_units::access_units;
use crate::frame::PixelFormat;
use shiguredo_mp4::TrackKind;
use shiguredo_mp4::boxes::SampleEntry;
use shiguredo_mp4::demux::{DemuxError, Mp4FileDemuxer};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::os::unix::fs::FileExt;

/// One picture's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub offset: u64,
    pub length: u32,
}

/// Largest picture; of a larger one, which is damage, only so much is delivered.
const LARGEST_PICTURE: u64 = 64 << 20;
/// Largest index of an MP4 (hours of video have some 10 MB); a larger one is refused.
const LARGEST_INDEX: u64 = 256 << 20;

impl Span {
    pub(super) fn new(offset: u64, length: u64) -> Span {
        Span { offset, length: length.min(LARGEST_PICTURE) as u32 }
    }
}

/// Why there is no index.
#[derive(Debug)]
pub(super) enum IndexError {
    Io(io::Error),
    /// What the file holds instead of pictures of the format.
    Content(String),
}

impl From<io::Error> for IndexError {
    fn from(error: io::Error) -> IndexError {
        IndexError::Io(error)
    }
}

/// Finds the pictures of a file in any of the forms that their format has, in their order. Damaged pictures are among them.
pub(super) fn index(file: &File, format: PixelFormat) -> Result<Vec<Span>, IndexError> {
    let mut start = Vec::new();
    file.take(12).read_to_end(&mut start)?;
    let is_h264 = matches!(start[..], [0, 0, 1, ..] | [0, 0, 0, 1, ..]);
    if is_h264 && format != PixelFormat::H264 {
        return Err(IndexError::Content("H.264 (set fourcc = \"H264\" to record it)".into()));
    }
    let spans = match &start[..] {
        _ if is_h264 => {
            let mut file = file;
            file.rewind()?;
            access_units(file)?
        }
        [_, ..] if format == PixelFormat::H264 => {
            return Err(IndexError::Content("something else".into()));
        }
        [0xff, 0xd8, ..] => concatenated(file)?,
        [b'R', b'I', b'F', b'F', _, _, _, _, b'A', b'V', b'I', b' '] => avi(file)?,
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => mp4(file)?,
        [] => return Err(IndexError::Content("nothing: it is empty".into())),
        other => return Err(IndexError::Content(format!("something else (its first bytes are {other:02x?})"))),
    };
    if spans.is_empty() {
        return Err(IndexError::Content("no picture".into()));
    }
    Ok(spans)
}

/// Follows the structure of one JPEG after the other. A picture that is cut off ends where the next one starts.
fn concatenated(file: &File) -> io::Result<Vec<Span>> {
    let mut reader = Markers { input: BufReader::with_capacity(1 << 16, file), position: 0 };
    reader.input.rewind()?;
    let mut spans = Vec::new();
    let mut start = None;
    while let Some(marker) = reader.next()? {
        let at = reader.position - 2;
        match (marker, start) {
            (0xd8, _) => {
                spans.extend(start.map(|start| Span::new(start, at - start)));
                start = Some(at);
            }
            (0xd9, Some(begun)) => {
                spans.push(Span::new(begun, reader.position - begun));
                start = None;
            }
            // A segment's body may hold anything, such as a thumbnail with marks of its own.
            (0xc0..=0xcf | 0xda..=0xef | 0xfe, Some(_)) => reader.skip_segment()?,
            _ => {}
        }
    }
    spans.extend(start.map(|start| Span::new(start, reader.position - start)));
    Ok(spans)
}

struct Markers<R> {
    input: R,
    position: u64,
}

impl<R: BufRead> Markers<R> {
    /// The next marker, across whatever lies before it; stuffed bytes and restarts are part of a picture's data.
    fn next(&mut self) -> io::Result<Option<u8>> {
        loop {
            self.position += self.input.skip_until(0xff)? as u64;
            let mut code = 0xff;
            while code == 0xff {
                let Some(&byte) = self.input.fill_buf()?.first() else { return Ok(None) };
                code = byte;
                self.input.consume(1);
                self.position += 1;
            }
            if !matches!(code, 0x00 | 0x01 | 0xd0..=0xd7) {
                return Ok(Some(code));
            }
        }
    }

    fn skip_segment(&mut self) -> io::Result<()> {
        let mut length = Vec::new();
        self.position += (&mut self.input).take(2).read_to_end(&mut length)? as u64;
        let &[high, low] = &length[..] else { return Ok(()) };
        let rest = u64::from(u16::from_be_bytes([high, low])).saturating_sub(2);
        self.position += io::copy(&mut (&mut self.input).take(rest), &mut io::sink())?;
        Ok(())
    }
}

/// Walks the chunks of a RIFF file one after the other, descending into lists; sizes of lists are not needed, so a file
/// whose writer was killed is read as far as it goes.
fn avi(file: &File) -> Result<Vec<Span>, IndexError> {
    let end = file.metadata()?.len();
    let mut spans = Vec::new();
    let mut streams = 0u32;
    // Number of the first video stream, as in its chunks' names.
    let mut video: Option<[u8; 2]> = None;
    let mut at = 0;
    while at + 8 <= end {
        let mut header = [0; 8];
        file.read_exact_at(&mut header, at)?;
        let size = u64::from(u32::from_le_bytes([header[4], header[5], header[6], header[7]]));
        let body = at + 8;
        match &header[..4] {
            b"RIFF" | b"LIST" => {
                at += 12;
                continue;
            }
            b"strh" if body + 8 <= end => {
                let mut kind = [0; 8];
                file.read_exact_at(&mut kind, body)?;
                if &kind[..4] == b"vids" && video.is_none() {
                    let (tens, ones) = (streams / 10 % 10, streams % 10);
                    video = Some([b'0' + tens as u8, b'0' + ones as u8]);
                    let codec = kind[4..].to_ascii_uppercase();
                    if codec != b"MJPG" && codec != b"JPEG" {
                        let codec = String::from_utf8_lossy(&codec).into_owned();
                        return Err(IndexError::Content(format!("{codec} video in an AVI")));
                    }
                }
                streams += 1;
            }
            [a, b, b'd', b'c' | b'b'] if video == Some([*a, *b]) && size > 0 && body + size <= end => {
                spans.push(Span::new(body, size));
            }
            _ => {}
        }
        at = body + size + size % 2;
    }
    Ok(spans)
}

fn mp4(file: &File) -> Result<Vec<Span>, IndexError> {
    let damaged = |error: DemuxError| IndexError::Content(format!("an MP4 that cannot be read ({error})"));
    let end = file.metadata()?.len();
    let mut demuxer = Mp4FileDemuxer::new();
    while let Some(wanted) = demuxer.required_input() {
        let available = end.saturating_sub(wanted.position);
        let length = wanted.size.map_or(available, |size| available.min(size as u64));
        if length > LARGEST_INDEX {
            return Err(IndexError::Content(format!("an MP4 with an index of {} MiB", length >> 20)));
        }
        let mut data = vec![0; length as usize];
        file.read_exact_at(&mut data, wanted.position)?;
        demuxer.handle_input(wanted.to_input(&data));
    }
    let mut spans = Vec::new();
    let mut video = None;
    while let Some(sample) = demuxer.next_sample().map_err(damaged)? {
        if sample.track.kind != TrackKind::Video || *video.get_or_insert(sample.track.track_id) != sample.track.track_id
        {
            continue;
        }
        let codec = match sample.sample_entry {
            None => None,
            // JPEG has no sample entry of its own in the demuxer; the pictures themselves tell.
            Some(SampleEntry::Unknown(entry)) if matches!(entry.box_type.as_bytes(), b"mp4v" | b"jpeg" | b"mjpa") => {
                None
            }
            Some(SampleEntry::Unknown(entry)) => Some(entry.box_type.to_string()),
            Some(SampleEntry::Avc1(_)) => Some("H.264".into()),
            Some(SampleEntry::Hev1(_) | SampleEntry::Hvc1(_)) => Some("H.265".into()),
            Some(SampleEntry::Av01(_)) => Some("AV1".into()),
            Some(_) => Some("another codec's".into()),
        };
        if let Some(codec) = codec {
            return Err(IndexError::Content(format!("{codec} video in an MP4")));
        }
        let (offset, length) = (sample.data_offset, sample.data_size as u64);
        if offset.checked_add(length).is_some_and(|last| last <= end) && length > 0 {
            spans.push(Span::new(offset, length));
        }
    }
    Ok(spans)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn spans(bytes: &[u8]) -> Result<Vec<(u64, u32)>, String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        match index(&file, PixelFormat::Mjpg) {
            Ok(spans) => Ok(spans.iter().map(|span| (span.offset, span.length)).collect()),
            Err(IndexError::Content(found)) => Err(found),
            Err(IndexError::Io(error)) => panic!("{error}"),
        }
    }

    /// A JPEG's bones: an APP segment that holds marks of its own, data with a stuffed byte and a restart.
    const JPEG: &[u8] = b"\xff\xd8\xff\xe1\x00\x06\xff\xd8\xff\xd9\xff\xda\x00\x02ab\xff\x00c\xff\xd0d\xff\xd9";

    #[test]
    fn concatenated_pictures_are_told_apart() {
        let n = JPEG.len() as u32;
        assert_eq!(spans(JPEG), Ok(vec![(0, n)]));
        assert_eq!(spans(&[JPEG, b"padding", JPEG].concat()), Ok(vec![(0, n), (u64::from(n) + 7, n)]));
        let cut = &JPEG[..JPEG.len() - 4];
        assert_eq!(spans(&[cut, JPEG].concat()), Ok(vec![(0, n - 4), (u64::from(n) - 4, n)]), "cut off in the middle");
        assert_eq!(spans(&[JPEG, cut].concat()), Ok(vec![(0, n), (u64::from(n), n - 4)]), "cut off at the end");
    }

    #[test]
    fn avi_chunks_are_found_even_without_an_end() {
        let chunk = |name: &[u8; 4], body: &[u8]| {
            let pad = &b"\0"[..body.len() % 2];
            [&name[..], &(body.len() as u32).to_le_bytes(), body, pad].concat()
        };
        let head = |codec: &[u8; 4]| {
            let strh = chunk(b"strh", &[&b"vids"[..], codec, &[0; 48]].concat());
            let audio = chunk(b"strh", &[&b"auds"[..], &[0; 52]].concat());
            [&b"RIFF\0\0\0\0AVI LIST\0\0\0\0hdrl"[..], &audio, &strh, b"LIST\0\0\0\0movi"].concat()
        };
        let file = [head(b"MJPG"), chunk(b"01dc", b"abc"), chunk(b"00wb", b"?"), chunk(b"01dc", b"de")].concat();
        let first = head(b"MJPG").len() as u64 + 8;
        assert_eq!(spans(&file), Ok(vec![(first, 3), (first + 4 + 10 + 8, 2)]));
        assert_eq!(spans(&file[..file.len() - 1]), Ok(vec![(first, 3)]), "the last chunk is cut off");
        assert_eq!(spans(&head(b"H264")), Err("H264 video in an AVI".into()));
    }

    #[test]
    fn other_files_are_named() {
        assert_eq!(spans(b""), Err("nothing: it is empty".into()));
        assert!(spans(b"hello world!").unwrap_err().contains("something else"));
        assert!(spans(b"\0\0\0\x10ftypisom\0\0\0\0").unwrap_err().contains("cannot be read"));
    }
}
