//! What of a captured picture is recorded: turned, then cut out. Plain loops over planes.

use super::yuv::I420;
use crate::config::schema::{Camera, Crop, Rotation};

/// How a captured picture becomes the recorded one: it is turned clockwise, and of that a part is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    pub rotation: Rotation,
    /// Left out: all of it.
    pub crop: Option<Crop>,
}

/// Pixels of a square that is turned at once: its rows and its columns stay in the processor's cache.
const TILE: usize = 32;

impl View {
    /// What a camera's configuration asks for.
    pub fn of(camera: &Camera) -> View {
        let whole = Crop { left: 0, top: 0, width: camera.width, height: camera.height };
        View { rotation: camera.rotation, crop: camera.crop.filter(|crop| *crop != whole) }
    }

    /// Pictures are recorded as they are captured.
    pub fn is_all(self) -> bool {
        self == View::default()
    }

    /// Width and height of what is recorded of a picture of this size; none where the crop does not lie within it on even
    /// pixels, as planes of chroma need it.
    pub fn size(self, width: u32, height: u32) -> Option<(u32, u32)> {
        let (width, height) = if self.rotation.is_sideways() { (height, width) } else { (width, height) };
        let Some(crop) = self.crop else { return Some((width, height)) };
        let within = |from: u32, length: u32, end: u32| from.checked_add(length).is_some_and(|last| last <= end);
        let inside = within(crop.left, crop.width, width) && within(crop.top, crop.height, height);
        let even = [crop.left, crop.top, crop.width, crop.height].iter().all(|n| n.is_multiple_of(2));
        (inside && even).then_some((crop.width, crop.height))
    }

    /// Makes `to` what is recorded of `from`; both have the same range.
    ///
    /// # Panics
    /// If `to` has not the size that [`View::size`] gives.
    pub fn apply(self, from: &I420, to: &mut I420) {
        let size = (to.width() as u32, to.height() as u32);
        assert_eq!(self.size(from.width() as u32, from.height() as u32), Some(size), "the size of {self:?}");
        let (left, top) = self.crop.map_or((0, 0), |crop| (crop.left as usize, crop.top as usize));
        let (from_width, width) = (from.width(), to.width());
        for ((from, to), scale) in from.planes().into_iter().zip(to.planes_mut()).zip([1, 2, 2]) {
            let from = Plane { pixels: from, width: from_width / scale };
            from.turn(self.rotation, left / scale, top / scale, width / scale, to);
        }
    }
}

/// A plane of pixels without padding.
struct Plane<'a> {
    pixels: &'a [u8],
    width: usize,
}

impl Plane<'_> {
    /// Fills `to`, of `width` pixels a row, with the turned plane from (`left`, `top`) on.
    fn turn(&self, rotation: Rotation, left: usize, top: usize, width: usize, to: &mut [u8]) {
        let height = self.pixels.len() / self.width;
        match rotation {
            Rotation::None => {
                for (row, to) in to.chunks_exact_mut(width).enumerate() {
                    to.copy_from_slice(&self.pixels[(top + row) * self.width + left..][..width]);
                }
            }
            Rotation::By180 => {
                for (row, to) in to.chunks_exact_mut(width).enumerate() {
                    let end = (height - top - row) * self.width - left;
                    let from = &self.pixels[end - width..end];
                    to.iter_mut().zip(from.iter().rev()).for_each(|(to, from)| *to = *from);
                }
            }
            // A recorded column is a captured row: read upwards, or downwards from the right.
            Rotation::By90 => self.turn_sideways(width, to, |x, y| (height - 1 - left - x, top + y)),
            Rotation::By270 => self.turn_sideways(width, to, |x, y| (left + x, self.width - 1 - top - y)),
        }
    }

    /// `origin` gives the captured row and column of a recorded pixel.
    #[inline(always)]
    fn turn_sideways(&self, width: usize, to: &mut [u8], origin: impl Fn(usize, usize) -> (usize, usize)) {
        for (band, rows) in to.chunks_mut(width * TILE).enumerate() {
            for first in (0..width).step_by(TILE) {
                for (row, to) in rows.chunks_exact_mut(width).enumerate() {
                    let columns = first..width.min(first + TILE);
                    for (x, to) in columns.clone().zip(&mut to[columns]) {
                        let (from_row, from_column) = origin(x, band * TILE + row);
                        *to = self.pixels[from_row * self.width + from_column];
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::ColorRange;

    fn view(degrees: i32, crop: Option<[u32; 4]>) -> View {
        let crop = crop.map(|[left, top, width, height]| Crop { left, top, width, height });
        View { rotation: degrees.try_into().unwrap(), crop }
    }

    fn applied(view: View, from: &I420) -> I420 {
        let (width, height) = view.size(from.width() as u32, from.height() as u32).unwrap();
        let mut to = I420::grey(width, height, from.range());
        view.apply(from, &mut to);
        to
    }

    /// A picture in which every pixel of a plane differs from those around it.
    fn picture(width: u32, height: u32) -> I420 {
        let mut picture = I420::grey(width, height, ColorRange::Limited);
        picture.data_mut().iter_mut().enumerate().for_each(|(i, byte)| *byte = (i * 7 + i / 251) as u8);
        picture
    }

    #[test]
    fn pictures_turn_clockwise_and_are_cut_after_that() {
        let mut from = I420::grey(4, 2, ColorRange::Full);
        from.data_mut().copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8, 10, 20, 30, 40]);
        for (degrees, crop, luma, u, v) in [
            (0, None, &[1, 2, 3, 4, 5, 6, 7, 8][..], &[10, 20][..], &[30, 40][..]),
            (90, None, &[5, 1, 6, 2, 7, 3, 8, 4], &[10, 20], &[30, 40]),
            (180, None, &[8, 7, 6, 5, 4, 3, 2, 1], &[20, 10], &[40, 30]),
            (270, None, &[4, 8, 3, 7, 2, 6, 1, 5], &[20, 10], &[40, 30]),
            (-90, None, &[4, 8, 3, 7, 2, 6, 1, 5], &[20, 10], &[40, 30]),
            (0, Some([2, 0, 2, 2]), &[3, 4, 7, 8], &[20], &[40]),
            (90, Some([0, 2, 2, 2]), &[7, 3, 8, 4], &[20], &[40]),
            (180, Some([2, 0, 2, 2]), &[6, 5, 2, 1], &[10], &[30]),
            (270, Some([0, 2, 2, 2]), &[2, 6, 1, 5], &[10], &[30]),
        ] {
            let to = applied(view(degrees, crop), &from);
            assert_eq!(to.planes(), [luma, u, v], "{degrees} degrees, {crop:?}");
        }
    }

    #[test]
    fn turns_of_large_pictures_add_up() {
        for (width, height) in [(16, 16), (162, 122), (70, 34)] {
            let from = picture(width, height);
            let turned = |quarters: usize| (0..quarters).fold(from.clone(), |p, _| applied(view(90, None), &p));
            for (quarters, degrees) in [(2, 180), (3, 270), (4, 0)] {
                assert!(turned(quarters) == applied(view(degrees, None), &from), "{width}x{height}, {degrees} degrees");
            }
            // What is cut out of a turned picture lies there where the crop says.
            for degrees in [0, 90, 180, 270] {
                let whole = applied(view(degrees, None), &from);
                let (left, top) = (whole.width() as u32 - 10, 6);
                let part = applied(view(degrees, Some([left, top, 10, 8])), &from);
                let expected = applied(view(0, Some([left, top, 10, 8])), &whole);
                assert!(part == expected, "{width}x{height}, {degrees} degrees");
            }
        }
    }

    #[test]
    fn a_crop_lies_within_the_turned_picture() {
        for (degrees, crop, size) in [
            (0, None, Some((640, 480))),
            (90, None, Some((480, 640))),
            (90, Some([0, 480, 480, 160]), Some((480, 160))),
            (0, Some([0, 480, 480, 160]), None),
            (0, Some([u32::MAX - 1, 0, 16, 16]), None),
            (0, Some([1, 0, 16, 16]), None),
            (0, Some([0, 0, 16, 17]), None),
        ] {
            assert_eq!(view(degrees, crop).size(640, 480), size, "{degrees} degrees, {crop:?}");
        }
    }
}
