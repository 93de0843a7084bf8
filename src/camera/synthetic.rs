//! A moving test picture: textured ground that sways, three discs that circle, and on top two strips that are drawn for
//! every frame. The first strip shows the frame's number as black and white cells, for tests ([`read_counter`] finds
//! it after H.264 at any sensible quality); the second the camera's name, the number and the time, for people.
//!
//! Only the strips are compressed live. Everything below them loops and is compressed when the camera opens; the parts
//! are joined as restart intervals of one JPEG.

use super::pace::Pacer;
use super::picture::{self, Canvas};
use super::{Camera, CameraError, Mode, Picture, own_mode};
use crate::clock::{Clock, Rank, Stamp};
use crate::config::schema;
use crate::frame::PixelFormat;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use turbojpeg::{Compressor, Subsamp, YuvImage};

/// Pictures in a loop at 720p and below; larger pictures get shorter loops, to stay at some 10 MB.
const LOOP: usize = 60;
/// Like a camera.
const JPEG_QUALITY: i32 = 85;
/// Strips that are drawn for every frame.
const LIVE_STRIPS: usize = 2;

/// See the module's text.
pub struct SyntheticCamera {
    name: Box<str>,
    mode: Mode,
    pacer: Pacer,
    compressor: Compressor,
    canvas: Canvas,
    /// Everything up to the entropy-coded data.
    header: Vec<u8>,
    /// The entropy-coded data below the live strips, for each picture of the loop.
    bodies: Vec<Vec<u8>>,
    jpeg: Vec<u8>,
}

impl SyntheticCamera {
    /// Renders the loop, some 5 ms a picture at 720p. Its pictures are as large as configured, at least 64×48, even.
    pub fn open(
        name: &str,
        config: &schema::Camera,
        clock: &Arc<dyn Clock>,
        rank: Rank,
    ) -> Result<SyntheticCamera, CameraError> {
        let mode = own_mode(name, config, &[PixelFormat::Mjpg])?;
        let (width, height) = (mode.width as usize, mode.height as usize);
        if width % 2 + height % 2 != 0 || !(64..=4096).contains(&width) || !(48..=4096).contains(&height) {
            return Err(CameraError::Setting {
                camera: name.into(),
                key: "width and height",
                found: format!(
                    "{width}x{height}{}",
                    if config.rotation.is_sideways() { " before it is turned" } else { "" }
                ),
                expected: "even numbers from 64x48 to 4096x4096".into(),
            });
        }
        let failed = |error| drawing_failed(name, error);
        let mut compressor = Compressor::new().map_err(failed)?;
        compressor.set_quality(JPEG_QUALITY).map_err(failed)?;
        let mut canvas = Canvas::new(width, height);
        let mut render = || -> turbojpeg::Result<_> {
            let strips = strips(height);
            let header = header(&compress(&mut compressor, &canvas, &strips[0])?, width, height);
            let scene = picture::Scene::new(name, width, height);
            let count = (LOOP * 1280 * 720 / (width * height)).clamp(8, LOOP);
            let mut bodies = Vec::with_capacity(count);
            for k in 0..count {
                scene.draw(&mut canvas, k, count);
                let mut body = Vec::new();
                for (i, strip) in strips.iter().enumerate().skip(LIVE_STRIPS) {
                    append(&mut body, i, &compress(&mut compressor, &canvas, strip)?);
                }
                bodies.push(body);
            }
            Ok((header, bodies))
        };
        let (header, bodies) = render().map_err(failed)?;
        let pacer = Pacer::new(clock, rank, config.fps);
        Ok(SyntheticCamera { name: name.into(), mode, pacer, compressor, canvas, header, bodies, jpeg: Vec::new() })
    }

    fn assemble(&mut self, number: u64, captured: Stamp) -> turbojpeg::Result<()> {
        let strips = strips(self.canvas.height);
        draw_counter(&mut self.canvas, number as u32);
        let seconds = captured.utc_ns / 1_000_000_000;
        let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
        let millis = captured.utc_ns / 1_000_000 % 1000;
        let text = format!("{} #{number} {hours:02}:{minutes:02}:{:02}.{millis:03} UTC", self.name, seconds % 60);
        picture::write(&mut self.canvas, strips[1].clone(), &text);
        self.jpeg.clear();
        self.jpeg.extend_from_slice(&self.header);
        for (i, strip) in strips.iter().take(LIVE_STRIPS).enumerate() {
            append(&mut self.jpeg, i, &compress(&mut self.compressor, &self.canvas, strip)?);
        }
        self.jpeg.extend_from_slice(&self.bodies[(number % self.bodies.len() as u64) as usize]);
        self.jpeg.extend_from_slice(&[0xff, 0xd9]);
        Ok(())
    }
}

impl Camera for SyntheticCamera {
    fn mode(&self) -> &Mode {
        &self.mode
    }

    fn next(&mut self, timeout: Duration) -> Result<Picture<'_>, CameraError> {
        let (sequence, captured) = self.pacer.wait(timeout)?;
        self.assemble(sequence, captured).map_err(|error| drawing_failed(&self.name, error))?;
        Ok(Picture { sequence, captured, data: &self.jpeg })
    }
}

fn drawing_failed(name: &str, error: turbojpeg::Error) -> CameraError {
    let source = std::io::Error::other(error.to_string());
    CameraError::Io { camera: name.into(), path: "a synthetic camera".into(), action: "drawing for", source }
}

/// Height of all strips but the last: whole rows of JPEG blocks.
fn strip_height(height: usize) -> usize {
    if height >= 200 { 32 } else { 16 }
}

fn strips(height: usize) -> Vec<Range<usize>> {
    let step = strip_height(height);
    (0..height).step_by(step).map(|top| top..(top + step).min(height)).collect()
}

/// A strip of the canvas as a JPEG of its own.
fn compress(compressor: &mut Compressor, canvas: &Canvas, strip: &Range<usize>) -> turbojpeg::Result<Vec<u8>> {
    let pixels = canvas.rows(strip.clone());
    let image =
        YuvImage { pixels: &pixels[..], width: canvas.width, align: 1, height: strip.len(), subsamp: Subsamp::Sub2x1 };
    compressor.compress_yuv_to_vec(image)
}

/// Appends the entropy-coded data of strip `i`, after a restart marker where one belongs.
fn append(jpeg: &mut Vec<u8>, i: usize, strip: &[u8]) {
    if i > 0 {
        jpeg.extend_from_slice(&[0xff, 0xd0 + ((i - 1) % 8) as u8]);
    }
    jpeg.extend_from_slice(&strip[entropy_start(strip)..strip.len() - 2]);
}

/// The header for the whole picture, from a strip's: its height, and a restart interval of one strip.
fn header(strip: &[u8], width: usize, height: usize) -> Vec<u8> {
    let mut header = vec![0xff, 0xd8];
    for (marker, at, length) in segments(strip) {
        let start = header.len();
        if marker == 0xda {
            // Blocks of 4:2:2 cover 16×8 pixels.
            let interval = (strip_height(height) / 8 * width.div_ceil(16)) as u16;
            header.extend_from_slice(&[0xff, 0xdd, 0, 4]);
            header.extend_from_slice(&interval.to_be_bytes());
        }
        header.extend_from_slice(&strip[at..at + length]);
        if marker == 0xc0 {
            header[start + 5..start + 7].copy_from_slice(&(height as u16).to_be_bytes());
        }
    }
    header
}

fn entropy_start(jpeg: &[u8]) -> usize {
    segments(jpeg).last().map_or(jpeg.len(), |(_, at, length)| at + length)
}

/// The segments of a JPEG that the compressor made, as (marker, offset, length), through the start of scan.
fn segments(jpeg: &[u8]) -> impl Iterator<Item = (u8, usize, usize)> {
    let mut at = 2;
    let mut done = false;
    std::iter::from_fn(move || {
        let &[0xff, marker, high, low] = jpeg.get(at..at + 4).filter(|_| !done)? else { return None };
        let (start, length) = (at, 2 + usize::from(u16::from_be_bytes([high, low])));
        at += length;
        done = marker == 0xda;
        Some((marker, start, length))
    })
}

/// Cells in a row of the counter, and rows.
const CELLS: (usize, usize) = (20, 2);
/// White, black, white, black: by these a counter is told from any other picture.
const SYNC: u64 = 0b1010;

/// 4 bits to recognise a counter, 32 bits of the number, 4 bits of checksum.
fn counter_bits(number: u32) -> u64 {
    let checksum = (0..8).fold(0b0110, |sum, i| sum ^ (number >> (i * 4) & 0xf));
    SYNC << 36 | u64::from(number) << 4 | u64::from(checksum)
}

/// Every cell's bit (from the highest) and rectangle.
fn cells(width: usize, height: usize) -> impl Iterator<Item = (u32, Range<usize>, Range<usize>)> {
    let (columns, rows) = CELLS;
    let cell_height = strip_height(height) / rows;
    (0..columns * rows).map(move |i| {
        let (row, column) = (i / columns, i % columns);
        let x = column * width / columns..(column + 1) * width / columns;
        ((columns * rows - 1 - i) as u32, x, row * cell_height..(row + 1) * cell_height)
    })
}

fn draw_counter(canvas: &mut Canvas, number: u32) {
    let bits = counter_bits(number);
    for (bit, x, y) in cells(canvas.width, canvas.height) {
        canvas.fill(x, y, if bits >> bit & 1 == 1 { 235 } else { 20 });
    }
}

/// The number that a synthetic camera burnt into a picture, from its plane of luma (`width` × `height` bytes, full or
/// limited range). None if there is no counter, or one that cannot be read for certain.
pub fn read_counter(luma: &[u8], width: usize, height: usize) -> Option<u32> {
    let mut bits = 0u64;
    for (bit, x, y) in cells(width, height) {
        // The middle of the cell, away from its neighbours.
        let middle = |range: &Range<usize>| range.start + range.len() / 3..range.end - range.len() / 3;
        let (x, y) = (middle(&x), middle(&y));
        let count = x.len() * y.len();
        let mut sum = 0;
        for row in y {
            sum += luma.get(row * width..)?.get(x.clone())?.iter().map(|&value| usize::from(value)).sum::<usize>();
        }
        match sum / count.max(1) {
            160.. => bits |= 1 << bit,
            0..=96 => {}
            _ => return None,
        }
    }
    let number = (bits >> 4) as u32;
    (bits == counter_bits(number)).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counter_is_read_back_and_nothing_else_is() {
        for (width, height) in [(1280, 720), (320, 240), (64, 48), (642, 362)] {
            let mut canvas = Canvas::new(width, height);
            assert_eq!(read_counter(canvas.luma(), width, height), None);
            for number in [0, 1, 0x8000_0000, 0xdead_beef, u32::MAX] {
                draw_counter(&mut canvas, number);
                assert_eq!(read_counter(canvas.luma(), width, height), Some(number));
            }
            // One cell changed.
            canvas.fill(width / 2..width * 11 / 20, 0..strip_height(height) / 2, 20);
            assert_eq!(read_counter(canvas.luma(), width, height), None);
        }
        assert_eq!(read_counter(&[0; 100], 1280, 720), None);
    }
}
