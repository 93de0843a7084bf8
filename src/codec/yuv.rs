//! Pictures as planes of luma and chroma, and the arithmetic between colour ranges and samplings.
//!
//! All of it is BT.601. Full range is what JPEG holds (luma and chroma 0 to 255); limited range is what videos hold
//! (luma 16 to 235, chroma 16 to 240). The loops are plain arithmetic on bytes, in a form that the compiler vectorises.

use super::PixelHistogram;
use crate::config::schema::ColorRange;

/// A 4:2:0 picture: a plane of luma, and two of chroma at half the width and height.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct I420 {
    width: usize,
    height: usize,
    range: ColorRange,
    /// Y, U and V one after the other, without padding.
    data: Vec<u8>,
}

/// Planes of another sampling that a picture is made from: chroma is `horizontal` times narrower and `vertical` times
/// lower than luma, each 1 or 2; no chroma at all is grey.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planar<'a> {
    pub y: &'a [u8],
    pub chroma: Option<Chroma<'a>>,
}

/// The chroma planes of a [`Planar`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Chroma<'a> {
    pub u: &'a [u8],
    pub v: &'a [u8],
    pub horizontal: usize,
    pub vertical: usize,
}

impl I420 {
    /// A mid-grey picture. Sizes are rounded up to even numbers.
    pub fn grey(width: u32, height: u32, range: ColorRange) -> I420 {
        let (width, height) = (width.next_multiple_of(2) as usize, height.next_multiple_of(2) as usize);
        let mut data = vec![128; width * height * 3 / 2];
        data[..width * height].fill(match range {
            ColorRange::Full => 128,
            ColorRange::Limited => limited_luma(128),
        });
        I420 { width, height, range, data }
    }

    /// Width in pixels, even.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels, even.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The range of its values.
    pub fn range(&self) -> ColorRange {
        self.range
    }

    /// Y (`width` × `height`), U and V (half of each), all without padding.
    pub fn planes(&self) -> [&[u8]; 3] {
        let (y, uv) = self.data.split_at(self.width * self.height);
        let (u, v) = uv.split_at(uv.len() / 2);
        [y, u, v]
    }

    /// Y, U and V one after the other, without padding: width × height × 3/2 bytes, for whoever decodes elsewhere.
    pub fn data_mut(&mut self) -> &mut [u8] {
        &mut self.data
    }

    pub(super) fn planes_mut(&mut self) -> [&mut [u8]; 3] {
        let (y, uv) = self.data.split_at_mut(self.width * self.height);
        let (u, v) = uv.split_at_mut(uv.len() / 2);
        [y, u, v]
    }

    /// Takes over full-range planes of this picture's size: chroma is averaged to 4:2:0, and values become those of
    /// this picture's range, in one pass over each plane.
    pub(super) fn fill_from_full(&mut self, source: &Planar) {
        match self.range {
            ColorRange::Full => self.fill(source, |y| y, |c| c),
            ColorRange::Limited => self.fill(source, limited_luma, limited_chroma),
        }
    }

    #[inline(always)]
    fn fill(&mut self, source: &Planar, luma: impl Fn(u8) -> u8 + Copy, chroma: impl Fn(u8) -> u8 + Copy) {
        let half = self.width / 2;
        let [y, u, v] = self.planes_mut();
        map(source.y, y, luma);
        let Some(Chroma { u: from_u, v: from_v, horizontal, vertical }) = source.chroma else {
            u.fill(128);
            v.fill(128);
            return;
        };
        for (from, to) in [(from_u, u), (from_v, v)] {
            match (horizontal, vertical) {
                (2, 2) => map(from, to, chroma),
                (2, _) => average_rows(from, to, half, chroma),
                (_, 2) => average_columns(from, to, chroma),
                _ => average_squares(from, to, half, chroma),
            }
        }
    }

    /// Takes over limited-range planes of this picture's size, as [`I420::fill_from_full`] does.
    pub(super) fn fill_from_limited(&mut self, source: &Planar) {
        match self.range {
            ColorRange::Full => self.fill(source, full_luma, full_chroma),
            ColorRange::Limited => self.fill(source, |y| y, |c| c),
        }
    }

    /// Takes over packed limited-range 4:2:2 (`YUYV`) of this picture's size; chroma is averaged over two rows.
    ///
    /// # Panics
    /// If `yuyv` does not hold width × height × 2 bytes.
    pub fn fill_from_yuyv(&mut self, yuyv: &[u8]) {
        assert_eq!(yuyv.len(), self.width * self.height * 2, "bytes of a YUYV picture");
        match self.range {
            ColorRange::Limited => self.unpack(yuyv, |y| y, |c| c),
            ColorRange::Full => self.unpack(yuyv, full_luma, full_chroma),
        }
    }

    /// Takes over limited-range 4:2:0 with one plane for both chroma values (`NV12`) of this picture's size.
    ///
    /// # Panics
    /// If `nv12` does not hold width × height × 3/2 bytes.
    pub fn fill_from_nv12(&mut self, nv12: &[u8]) {
        assert_eq!(nv12.len(), self.data.len(), "bytes of an NV12 picture");
        match self.range {
            ColorRange::Limited => self.separate(nv12, |y| y, |c| c),
            ColorRange::Full => self.separate(nv12, full_luma, full_chroma),
        }
    }

    #[inline(always)]
    fn separate(&mut self, nv12: &[u8], luma: impl Fn(u8) -> u8, chroma: impl Fn(u8) -> u8) {
        let (from_y, from_uv) = nv12.split_at(self.width * self.height);
        let [y, u, v] = self.planes_mut();
        map(from_y, y, luma);
        for ((u, v), pair) in u.iter_mut().zip(v).zip(from_uv.chunks_exact(2)) {
            *u = chroma(pair[0]);
            *v = chroma(pair[1]);
        }
    }

    #[inline(always)]
    fn unpack(&mut self, yuyv: &[u8], luma: impl Fn(u8) -> u8, chroma: impl Fn(u8) -> u8) {
        let width = self.width;
        let [y, u, v] = self.planes_mut();
        let rows = yuyv.chunks_exact(width * 4).zip(y.chunks_exact_mut(width * 2));
        let chroma_rows = u.chunks_exact_mut(width / 2).zip(v.chunks_exact_mut(width / 2));
        for ((two_rows, y), (u, v)) in rows.zip(chroma_rows) {
            for (to, from) in y.iter_mut().zip(two_rows.chunks_exact(2)) {
                *to = luma(from[0]);
            }
            let (upper, lower) = two_rows.split_at(width * 2);
            let pairs = upper.chunks_exact(4).zip(lower.chunks_exact(4));
            for ((a, b), (u, v)) in pairs.zip(u.iter_mut().zip(v)) {
                *u = chroma(average(a[1], b[1]));
                *v = chroma(average(a[3], b[3]));
            }
        }
    }
}

#[inline(always)]
fn map(from: &[u8], to: &mut [u8], f: impl Fn(u8) -> u8) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = f(*from);
    }
}

/// 4:2:2 to 4:2:0.
#[inline(always)]
fn average_rows(from: &[u8], to: &mut [u8], width: usize, f: impl Fn(u8) -> u8) {
    for (two_rows, to) in from.chunks_exact(width * 2).zip(to.chunks_exact_mut(width)) {
        let (upper, lower) = two_rows.split_at(width);
        for ((to, a), b) in to.iter_mut().zip(upper).zip(lower) {
            *to = f(average(*a, *b));
        }
    }
}

/// 4:4:0 to 4:2:0.
#[inline(always)]
fn average_columns(from: &[u8], to: &mut [u8], f: impl Fn(u8) -> u8) {
    for (to, pair) in to.iter_mut().zip(from.chunks_exact(2)) {
        *to = f(average(pair[0], pair[1]));
    }
}

/// 4:4:4 to 4:2:0.
#[inline(always)]
fn average_squares(from: &[u8], to: &mut [u8], width: usize, f: impl Fn(u8) -> u8) {
    for (two_rows, to) in from.chunks_exact(width * 4).zip(to.chunks_exact_mut(width)) {
        let (upper, lower) = two_rows.split_at(width * 2);
        for ((to, a), b) in to.iter_mut().zip(upper.chunks_exact(2)).zip(lower.chunks_exact(2)) {
            let sum = u16::from(a[0]) + u16::from(a[1]) + u16::from(b[0]) + u16::from(b[1]);
            *to = f(((sum + 2) >> 2) as u8);
        }
    }
}

#[inline(always)]
fn average(a: u8, b: u8) -> u8 {
    ((u16::from(a) + u16::from(b) + 1) >> 1) as u8
}

/// x / 255 rounded down, exact for every x below 65,280.
#[inline(always)]
fn div_255(x: u16) -> u16 {
    (x + 1 + (x >> 8)) >> 8
}

/// 0…255 to 16…235, rounded.
#[inline(always)]
fn limited_luma(y: u8) -> u8 {
    (16 + div_255(u16::from(y) * 219 + 127)) as u8
}

/// 0…255 to 16…240 around 128, rounded.
#[inline(always)]
fn limited_chroma(c: u8) -> u8 {
    div_255(u16::from(c) * 224 + 128 * 31 + 127) as u8
}

/// 16…235 to 0…255, rounded; values beyond are clipped.
#[inline(always)]
fn full_luma(y: u8) -> u8 {
    scaled(i32::from(y) - 16, 255, 219).clamp(0, 255) as u8
}

/// 16…240 to 0…255 around 128, rounded; values beyond are clipped.
#[inline(always)]
fn full_chroma(c: u8) -> u8 {
    (128 + scaled(i32::from(c) - 128, 255, 224)).clamp(0, 255) as u8
}

/// x × numerator / denominator, rounded, by a 16-bit fixed-point factor.
#[inline(always)]
const fn scaled(x: i32, numerator: i32, denominator: i32) -> i32 {
    (x * ((numerator << 16) / denominator) + (1 << 15)) >> 16
}

/// How far apart LeRobot takes the pixels of its image statistics, in both directions.
pub fn pixel_stride(width: usize, height: usize) -> usize {
    match width.max(height) {
        longer if longer >= 300 => longer / 150,
        _ => 1,
    }
}

impl PixelHistogram {
    /// Adds one picture, sampled at [`pixel_stride`] as LeRobot does.
    pub fn add_picture(&mut self, picture: &I420) {
        let (luma_gain, luma_offset, chroma_gain) = match picture.range {
            ColorRange::Full => (1.0, 0.0, 1.0),
            ColorRange::Limited => (255.0 / 219.0, 16.0, 255.0 / 224.0),
        };
        // 16-bit fixed point.
        let fixed = |x: f64| (x * 65536.0).round() as i32;
        let gain = fixed(luma_gain);
        let offset = fixed(0.5 - luma_gain * luma_offset);
        let (red_v, green_u, green_v, blue_u) = (
            fixed(1.402 * chroma_gain),
            fixed(0.344_136 * chroma_gain),
            fixed(0.714_136 * chroma_gain),
            fixed(1.772 * chroma_gain),
        );
        let [y, u, v] = picture.planes();
        let [red, green, blue] = &mut *self.counts;
        let stride = pixel_stride(picture.width, picture.height);
        for row in (0..picture.height).step_by(stride) {
            let luma = &y[row * picture.width..][..picture.width];
            let chroma = row / 2 * (picture.width / 2)..(row / 2 + 1) * (picture.width / 2);
            let (u, v) = (&u[chroma.clone()], &v[chroma]);
            for column in (0..picture.width).step_by(stride) {
                let luma = i32::from(luma[column]) * gain + offset;
                let (u, v) = (i32::from(u[column / 2]) - 128, i32::from(v[column / 2]) - 128);
                let level = |x: i32| (x >> 16).clamp(0, 255) as usize;
                red[level(luma + v * red_v)] += 1;
                green[level(luma - u * green_u - v * green_v)] += 1;
                blue[level(luma + u * blue_u)] += 1;
            }
        }
        self.pictures += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_conversion_is_the_rounded_formula_for_every_value() {
        for value in 0..=255u8 {
            let x = f64::from(value);
            assert_eq!(f64::from(limited_luma(value)), (16.0 + x * 219.0 / 255.0).round(), "luma {value}");
            let chroma = 128.0 + (x - 128.0) * 224.0 / 255.0;
            assert!((f64::from(limited_chroma(value)) - chroma).abs() <= 0.5, "chroma {value}");
            let luma = ((x - 16.0) * 255.0 / 219.0).clamp(0.0, 255.0);
            assert!((f64::from(full_luma(value)) - luma).abs() <= 0.51, "full luma {value}");
            let chroma = (128.0 + (x - 128.0) * 255.0 / 224.0).clamp(0.0, 255.0);
            assert!((f64::from(full_chroma(value)) - chroma).abs() <= 0.51, "full chroma {value}");
            assert!(full_luma(limited_luma(value)).abs_diff(value) <= 1);
        }
    }

    #[test]
    fn chroma_of_every_sampling_is_averaged_with_rounding() {
        let y = [0u8; 16];
        let check = |u: &[u8], horizontal, vertical, expected: [u8; 4]| {
            let mut picture = I420::grey(4, 4, ColorRange::Full);
            let chroma = Some(Chroma { u, v: u, horizontal, vertical });
            picture.fill_from_full(&Planar { y: &y, chroma });
            assert_eq!(picture.planes()[1], expected, "{horizontal}x{vertical}");
            assert_eq!(picture.planes()[2], expected, "{horizontal}x{vertical}");
        };
        check(&[1, 2, 3, 4], 2, 2, [1, 2, 3, 4]);
        check(&[10, 20, 11, 20, 30, 40, 50, 41], 2, 1, [11, 20, 40, 41]);
        check(&[10, 11, 20, 20, 30, 50, 40, 41], 1, 2, [11, 20, 40, 41]);
        check(&[0, 1, 8, 8, 1, 1, 8, 9, 2, 2, 4, 4, 2, 2, 4, 4], 1, 1, [1, 8, 2, 4]);
    }

    #[test]
    fn yuyv_is_unpacked() {
        // Two rows of two pixels: Y U Y V.
        let yuyv = [16, 100, 235, 200, 40, 103, 50, 201];
        let mut picture = I420::grey(2, 2, ColorRange::Limited);
        picture.fill_from_yuyv(&yuyv);
        assert_eq!(picture.planes(), [&[16, 235, 40, 50][..], &[102], &[201]]);
        let mut picture = I420::grey(2, 2, ColorRange::Full);
        picture.fill_from_yuyv(&yuyv);
        assert_eq!(picture.planes(), [&[0, 255, 28, 40][..], &[98], &[211]]);
    }

    #[test]
    fn pixel_stride_is_lerobots() {
        let cases = [((1280, 720), 8), ((640, 480), 4), ((320, 240), 2), ((299, 200), 1), ((480, 640), 4)];
        for ((width, height), stride) in cases {
            assert_eq!(pixel_stride(width, height), stride, "{width}x{height}");
        }
    }

    #[test]
    fn histogram_reads_the_same_colour_from_both_ranges() {
        for range in [ColorRange::Full, ColorRange::Limited] {
            let mut picture = I420::grey(4, 4, range);
            // BT.601 of pure red in full range.
            let (y, u, v) = ([76u8; 16], [85u8; 4], [255u8; 4]);
            let chroma = Some(Chroma { u: &u, v: &v, horizontal: 2, vertical: 2 });
            picture.fill_from_full(&Planar { y: &y, chroma });
            let mut histogram = PixelHistogram::default();
            histogram.add_picture(&picture);
            assert_eq!(histogram.pictures, 1);
            let mean = |channel: usize| {
                let sum: u64 = histogram.counts[channel].iter().zip(0..).map(|(n, value)| n * value).sum();
                sum as f64 / 16.0
            };
            let (red, green, blue) = (mean(0), mean(1), mean(2));
            assert!(red >= 253.0 && green <= 2.0 && blue <= 2.0, "{range:?}: {red} {green} {blue}");
        }
    }
}
