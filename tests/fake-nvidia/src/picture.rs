//! Input buffers as the driver lays them out, and the pictures in them.

/// What an input buffer holds: 8-bit 4:2:0 with luma in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Cb and Cr alternating in one plane of the luma's pitch.
    Nv12,
    /// Cr, then Cb, each with half of the luma's pitch.
    Yv12,
    /// Cb, then Cr, each with half of the luma's pitch.
    Iyuv,
}

/// Memory that a picture is written to, row by row at a pitch that is never its width.
#[derive(Debug)]
pub struct InputBuffer {
    pub layout: Layout,
    pub width: usize,
    pub height: usize,
    pub data: Vec<u8>,
    pub locked: bool,
}

/// A 4:2:0 picture without padding: Y, Cb and Cr.
#[derive(Debug)]
pub struct Picture {
    pub width: usize,
    pub height: usize,
    pub data: Vec<u8>,
}

impl InputBuffer {
    /// Filled with stripes, so that what was not written shows.
    pub fn new(layout: Layout, width: usize, height: usize) -> InputBuffer {
        let mut buffer = InputBuffer { layout, width, height, data: Vec::new(), locked: false };
        buffer.data = (0..buffer.pitch() * height * 3 / 2).map(|i| if i % 16 < 8 { 0x20 } else { 0xd0 }).collect();
        buffer
    }

    /// Bytes from one row of luma to the next: aligned as on a GPU, and always some more than the width.
    pub fn pitch(&self) -> usize {
        (self.width + 1).next_multiple_of(64) + 64
    }

    /// The picture in the buffer.
    pub fn picture(&self) -> Picture {
        let (pitch, width, height) = (self.pitch(), self.width, self.height);
        let (luma, chroma) = self.data.split_at(pitch * height);
        let mut data = Vec::with_capacity(width * height * 3 / 2);
        take_rows(luma, pitch, width, &mut data);
        match self.layout {
            Layout::Nv12 => {
                let mut pairs = Vec::with_capacity(width * height / 2);
                take_rows(chroma, pitch, width, &mut pairs);
                data.extend(pairs.iter().step_by(2));
                data.extend(pairs.iter().skip(1).step_by(2));
            }
            Layout::Yv12 | Layout::Iyuv => {
                let (first, second) = chroma.split_at(pitch / 2 * (height / 2));
                let planes = if self.layout == Layout::Iyuv { [first, second] } else { [second, first] };
                planes.into_iter().for_each(|plane| take_rows(plane, pitch / 2, width / 2, &mut data));
            }
        }
        Picture { width, height, data }
    }
}

impl Picture {
    /// Mid-grey.
    pub fn grey(width: usize, height: usize) -> Picture {
        Picture { width, height, data: vec![128; width * height * 3 / 2] }
    }

    /// Y, Cb and Cr.
    pub fn planes(&self) -> [&[u8]; 3] {
        let (y, chroma) = self.data.split_at(self.width * self.height);
        let (u, v) = chroma.split_at(chroma.len() / 2);
        [y, u, v]
    }
}

fn take_rows(plane: &[u8], pitch: usize, width: usize, to: &mut Vec<u8>) {
    plane.chunks_exact(pitch).for_each(|row| to.extend_from_slice(&row[..width]));
}
