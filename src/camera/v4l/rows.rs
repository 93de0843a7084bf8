//! How the rows of a raw picture lie in a driver's buffer. Pure.

use crate::frame::PixelFormat;

/// Rows of a raw picture, each with the same padding behind it: those of all planes, one below the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    /// Bytes of a row.
    length: usize,
    count: usize,
    /// Bytes from the start of one row to that of the next.
    stride: usize,
}

impl Rows {
    /// Those of a picture whose driver tells `stride` (`bytesperline`), of which 0 says nothing; none of a compressed
    /// picture. Rows that would overlap are an error: how long one must be.
    pub fn of(format: PixelFormat, width: u32, height: u32, stride: u32) -> Result<Option<Rows>, usize> {
        let Some((length, count)) = format.rows(width, height) else { return Ok(None) };
        match stride as usize {
            0 => Ok(Some(Rows { length, count, stride: length })),
            short if short < length => Err(length),
            stride => Ok(Some(Rows { length, count, stride })),
        }
    }

    /// The picture without padding, by way of `buffer` where there is some. Less than a whole picture stays less.
    pub fn packed<'a>(self, data: &'a [u8], buffer: &'a mut Vec<u8>) -> &'a [u8] {
        let Rows { length, count, stride } = self;
        if stride == length {
            // Buffers may be larger than the picture.
            return &data[..data.len().min(length * count)];
        }
        buffer.clear();
        for row in data.chunks(stride).take(count) {
            buffer.extend_from_slice(&row[..row.len().min(length)]);
        }
        buffer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_taken_out_row_by_row() {
        let check = |format, stride, data: &[u8], expected: &[u8]| {
            let rows = Rows::of(format, 4, 2, stride).unwrap().unwrap();
            assert_eq!(rows.packed(data, &mut vec![99; 7]), expected, "{format:?}, {stride} bytes a row");
        };
        let bytes: Vec<u8> = (0..40).collect();
        check(PixelFormat::Grey, 4, &bytes[..8], &bytes[..8]);
        check(PixelFormat::Grey, 0, &bytes[..9], &bytes[..8]);
        check(PixelFormat::Grey, 6, &bytes[..12], &[0, 1, 2, 3, 6, 7, 8, 9]);
        check(PixelFormat::Grey, 6, &bytes[..10], &[0, 1, 2, 3, 6, 7, 8, 9]);
        check(PixelFormat::Grey, 6, &bytes[..9], &[0, 1, 2, 3, 6, 7, 8]);
        check(PixelFormat::Grey, 6, &bytes[..30], &[0, 1, 2, 3, 6, 7, 8, 9]);
        check(PixelFormat::Grey, 6, &[], &[]);
        check(PixelFormat::Nv12, 5, &bytes[..15], &[0, 1, 2, 3, 5, 6, 7, 8, 10, 11, 12, 13]);
        check(PixelFormat::Yuyv, 10, &bytes[..20], &[0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17]);
    }

    #[test]
    fn rows_that_would_overlap_are_refused() {
        assert_eq!(Rows::of(PixelFormat::Yuyv, 4, 2, 7), Err(8));
        assert_eq!(Rows::of(PixelFormat::Mjpg, 4, 2, 0), Ok(None));
    }
}
