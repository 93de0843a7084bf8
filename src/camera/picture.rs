//! What a synthetic camera shows: drawing in planes of luma and chroma.

use std::ops::Range;

/// A 4:2:2 picture in full range.
pub(super) struct Canvas {
    pub width: usize,
    pub height: usize,
    y: Vec<u8>,
    u: Vec<u8>,
    v: Vec<u8>,
}

impl Canvas {
    /// A grey canvas of an even width.
    pub fn new(width: usize, height: usize) -> Canvas {
        let grey = |n| vec![128; n];
        Canvas { width, height, y: grey(width * height), u: grey(width * height / 2), v: grey(width * height / 2) }
    }

    /// The plane of luma.
    #[cfg(test)]
    pub fn luma(&self) -> &[u8] {
        &self.y
    }

    /// Some rows of all planes, one after the other.
    pub fn rows(&self, rows: Range<usize>) -> Vec<u8> {
        let (luma, chroma) = (self.width, self.width / 2);
        let chroma = rows.start * chroma..rows.end * chroma;
        [&self.y[rows.start * luma..rows.end * luma], &self.u[chroma.clone()], &self.v[chroma]].concat()
    }

    /// A grey rectangle.
    pub fn fill(&mut self, x: Range<usize>, y: Range<usize>, luma: u8) {
        for row in y {
            self.y[row * self.width..][x.clone()].fill(luma);
            self.u[row * self.width / 2..][x.start / 2..x.end / 2].fill(128);
            self.v[row * self.width / 2..][x.start / 2..x.end / 2].fill(128);
        }
    }

    fn disc(&mut self, centre: (f32, f32), radius: f32, colour: [u8; 3]) {
        let clip = |from: f32, to: f32, end: usize| (from.max(0.0) as usize).min(end)..(to.max(0.0) as usize).min(end);
        for row in clip(centre.1 - radius, centre.1 + radius, self.height) {
            let dy = row as f32 - centre.1;
            let half = (radius * radius - dy * dy).max(0.0).sqrt();
            let x = clip(centre.0 - half, centre.0 + half, self.width);
            self.y[row * self.width..][x.clone()].fill(colour[0]);
            self.u[row * self.width / 2..][x.start / 2..x.end / 2].fill(colour[1]);
            self.v[row * self.width / 2..][x.start / 2..x.end / 2].fill(colour[2]);
        }
    }
}

/// Depth of the noise that changes from picture to picture, in levels of luma.
const GRAIN: i32 = 5;

/// The ground and the discs, tinted by the camera's name so that a person can tell cameras apart.
pub(super) struct Scene {
    /// A canvas larger than the picture, over which the picture's frame moves.
    ground: Canvas,
    sway: usize,
    tint: f32,
    grain: Vec<i8>,
}

impl Scene {
    pub fn new(name: &str, width: usize, height: usize) -> Scene {
        let seed = name.bytes().fold(0x811c_9dc5u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let tint = seed as f32 / u32::MAX as f32 * std::f32::consts::TAU;
        let sway = (width / 64 * 2).max(2);
        let mut ground = Canvas::new(width + 2 * sway, height + 2 * sway);
        let half = ground.width / 2;
        for row in 0..ground.height {
            for column in 0..ground.width {
                // Coarse shapes, and the fine grain of a real surface.
                let luma = [(96, 70), (24, 36), (7, 26), (2, 14)]
                    .map(|(size, depth)| noise(seed, column, row, size) * depth / 256)
                    .iter()
                    .sum::<i32>();
                ground.y[row * ground.width + column] = (128 + luma).clamp(0, 255) as u8;
            }
            for column in 0..half {
                let wave = noise(seed ^ 1, column * 2, row, 160) as f32 / 128.0;
                ground.u[row * half + column] = (128.0 + 30.0 * (tint + wave).cos()) as u8;
                ground.v[row * half + column] = (128.0 + 30.0 * (tint + wave).sin()) as u8;
            }
        }
        let grain = (0..1 << 16).map(|i| (noise(seed, i, 0, 1) * GRAIN / 128) as i8).collect();
        Scene { ground, sway, tint, grain }
    }

    /// Picture `k` of a loop of `count`.
    pub fn draw(&self, canvas: &mut Canvas, k: usize, count: usize) {
        let phase = k as f32 / count as f32 * std::f32::consts::TAU;
        let shift = |wave: f32| (self.sway as f32 * (1.0 + wave)) as usize;
        let (left, top) = (shift(phase.sin()) / 2 * 2, shift((phase + 1.0).cos()));
        let (width, ground) = (canvas.width, &self.ground);
        for row in 0..canvas.height {
            let from = (row + top) * ground.width + left;
            // A sensor's noise: another part of the table for every row and picture.
            let grain = &self.grain[(row * 7919 + k * 104_729) % (self.grain.len() - width)..];
            let luma = ground.y[from..][..width].iter().zip(grain);
            for (pixel, (ground, grain)) in canvas.y[row * width..][..width].iter_mut().zip(luma) {
                *pixel = ground.saturating_add_signed(*grain);
            }
            canvas.u[row * width / 2..][..width / 2].copy_from_slice(&ground.u[from / 2..][..width / 2]);
            canvas.v[row * width / 2..][..width / 2].copy_from_slice(&ground.v[from / 2..][..width / 2]);
        }
        let (width, height) = (canvas.width as f32, canvas.height as f32);
        for i in 0..3 {
            let angle = phase * [1.0, -1.0, 2.0][i] + i as f32 * 2.0;
            let centre = (width * (0.5 + 0.3 * angle.cos()), height * (0.55 + 0.25 * angle.sin()));
            let hue = self.tint + i as f32 * 2.1 + 1.0;
            let colour = [60 + 60 * i as u8, (128.0 + 90.0 * hue.cos()) as u8, (128.0 + 90.0 * hue.sin()) as u8];
            canvas.disc(centre, height * (0.06 + 0.03 * i as f32), colour);
        }
    }
}

/// Smooth noise from -128 to 127, with features of `size` pixels.
fn noise(seed: u32, x: usize, y: usize, size: usize) -> i32 {
    let corner = |x: usize, y: usize| {
        let mut hash = seed ^ (x as u32).wrapping_mul(0x9e37_79b1) ^ (y as u32).wrapping_mul(0x85eb_ca77);
        hash = (hash ^ hash >> 15).wrapping_mul(0x2c1b_3c6d);
        ((hash ^ hash >> 12) & 0xff) as i32 - 128
    };
    let (column, row) = (x / size, y / size);
    let (right, down, size) = ((x % size) as i32, (y % size) as i32, size as i32);
    let upper = corner(column, row) * (size - right) + corner(column + 1, row) * right;
    let lower = corner(column, row + 1) * (size - right) + corner(column + 1, row + 1) * right;
    (upper * (size - down) + lower * down) / (size * size)
}

/// Writes white on black in a strip of the canvas, as large as fits; letters are shown as capitals, characters without
/// a glyph as blanks, and what is too long is cut off.
pub(super) fn write(canvas: &mut Canvas, strip: Range<usize>, text: &str) {
    canvas.fill(0..canvas.width, strip.clone(), 20);
    let fits = canvas.width / (6 * text.chars().count().max(1));
    let scale = fits.clamp(1, strip.len() / 10);
    let top = strip.start + (strip.len() - 7 * scale) / 2;
    for (i, character) in text.chars().take(canvas.width / (6 * scale)).enumerate() {
        for (column, bits) in glyph(character).into_iter().enumerate() {
            let left = (i * 6 + column) * scale;
            for row in (0..7).filter(|row| bits >> row & 1 == 1) {
                canvas.fill(left..left + scale, top + row * scale..top + (row + 1) * scale, 235);
            }
        }
    }
}

/// Five columns of seven dots, the lowest bit on top.
#[rustfmt::skip]
fn glyph(character: char) -> [u8; 5] {
    match character.to_ascii_uppercase() {
        '#' => [0x14, 0x7f, 0x14, 0x7f, 0x14], '-' => [0x08, 0x08, 0x08, 0x08, 0x08], '.' => [0x00, 0x60, 0x60, 0x00, 0x00],
        ':' => [0x00, 0x36, 0x36, 0x00, 0x00], '_' => [0x40, 0x40, 0x40, 0x40, 0x40], '0' => [0x3e, 0x51, 0x49, 0x45, 0x3e],
        '1' => [0x00, 0x42, 0x7f, 0x40, 0x00], '2' => [0x42, 0x61, 0x51, 0x49, 0x46], '3' => [0x21, 0x41, 0x45, 0x4b, 0x31],
        '4' => [0x18, 0x14, 0x12, 0x7f, 0x10], '5' => [0x27, 0x45, 0x45, 0x45, 0x39], '6' => [0x3c, 0x4a, 0x49, 0x49, 0x30],
        '7' => [0x01, 0x71, 0x09, 0x05, 0x03], '8' => [0x36, 0x49, 0x49, 0x49, 0x36], '9' => [0x06, 0x49, 0x49, 0x29, 0x1e],
        'A' => [0x7e, 0x11, 0x11, 0x11, 0x7e], 'B' => [0x7f, 0x49, 0x49, 0x49, 0x36], 'C' => [0x3e, 0x41, 0x41, 0x41, 0x22],
        'D' => [0x7f, 0x41, 0x41, 0x22, 0x1c], 'E' => [0x7f, 0x49, 0x49, 0x49, 0x41], 'F' => [0x7f, 0x09, 0x09, 0x09, 0x01],
        'G' => [0x3e, 0x41, 0x49, 0x49, 0x7a], 'H' => [0x7f, 0x08, 0x08, 0x08, 0x7f], 'I' => [0x00, 0x41, 0x7f, 0x41, 0x00],
        'J' => [0x20, 0x40, 0x41, 0x3f, 0x01], 'K' => [0x7f, 0x08, 0x14, 0x22, 0x41], 'L' => [0x7f, 0x40, 0x40, 0x40, 0x40],
        'M' => [0x7f, 0x02, 0x0c, 0x02, 0x7f], 'N' => [0x7f, 0x04, 0x08, 0x10, 0x7f], 'O' => [0x3e, 0x41, 0x41, 0x41, 0x3e],
        'P' => [0x7f, 0x09, 0x09, 0x09, 0x06], 'Q' => [0x3e, 0x41, 0x51, 0x21, 0x5e], 'R' => [0x7f, 0x09, 0x19, 0x29, 0x46],
        'S' => [0x46, 0x49, 0x49, 0x49, 0x31], 'T' => [0x01, 0x01, 0x7f, 0x01, 0x01], 'U' => [0x3f, 0x40, 0x40, 0x40, 0x3f],
        'V' => [0x1f, 0x20, 0x40, 0x20, 0x1f], 'W' => [0x3f, 0x40, 0x38, 0x40, 0x3f], 'X' => [0x63, 0x14, 0x08, 0x14, 0x63],
        'Y' => [0x07, 0x08, 0x70, 0x08, 0x07], 'Z' => [0x61, 0x51, 0x49, 0x45, 0x43],
        _ => [0; 5],
    }
}
