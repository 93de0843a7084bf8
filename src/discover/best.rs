//! Which of a camera's modes a recording is best made in.

use crate::camera::v4l::modes::Offer;
use crate::frame::PixelFormat;

/// Formats, the best first: JPEGs need little of the bus and can be kept as they come.
const FORMATS: [&str; 5] = ["MJPG", "YUYV", "NV12", "GREY", "H264"];
/// The rate to have.
const FPS: f64 = 30.0;
/// Rates that differ by less are the same.
const SAME_RATE: f64 = 0.1;
/// The size to have: larger pictures cost more and are made smaller before a policy sees them.
const SIZE: (u32, u32) = (1280, 720);

/// A mode as the configuration has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Best {
    pub fourcc: String,
    pub width: u32,
    pub height: u32,
    pub fps: u32,
}

/// The best mode: MJPG if there is any, then the largest picture of at most 1280x720 pixels that comes 30 times a second; if none does, the
/// one that comes most often; if all are larger, the smallest. None where the recorder can use no mode at all.
pub fn best(offers: &[Offer]) -> Option<Best> {
    let candidates = offers.iter().filter_map(|offer| {
        let is_readable = PixelFormat::from_fourcc(offer.fourcc.as_bytes()).is_some();
        let format = FORMATS.iter().position(|format| *format == offer.fourcc).filter(|_| is_readable)?;
        let (width, height) = (offer.width.nearest(SIZE.0), offer.height.nearest(SIZE.1));
        if width % 2 == 1 || height % 2 == 1 {
            return None;
        }
        // A device that tells of no rate is asked for the one to have.
        let rate = offer.fps.nearest(FPS).unwrap_or(FPS);
        let missing = if rate > FPS - SAME_RATE { 0.0 } else { FPS - rate };
        let (pixels, most) = (i64::from(width) * i64::from(height), i64::from(SIZE.0) * i64::from(SIZE.1));
        let size = if pixels <= most { -pixels } else { pixels };
        let best = Best { fourcc: offer.fourcc.clone(), width, height, fps: rate.round().max(1.0) as u32 };
        Some(((format, missing, size, (rate - FPS).abs()), best))
    });
    let order = |a: &(usize, f64, i64, f64), b: &(usize, f64, i64, f64)| {
        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)).then(a.3.total_cmp(&b.3))
    };
    candidates.min_by(|(a, _), (b, _)| order(a, b)).map(|(_, best)| best)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::v4l::modes::{Extent, Rates};

    fn offer(fourcc: &str, width: u32, height: u32, fps: &[f64]) -> Offer {
        let (width, height) = (Extent::One(width), Extent::One(height));
        Offer { fourcc: fourcc.into(), width, height, fps: Rates::Each(fps.to_vec()) }
    }

    #[test]
    fn the_best_mode_of_cameras_as_there_are() {
        let any = |min, max| Extent::Between { min, max, step: 2 };
        let range = Offer {
            fourcc: "YUYV".into(),
            width: any(16, 4096),
            height: any(16, 2160),
            fps: Rates::Between { min: 1.0, max: 60.0 },
        };
        for (offers, expected) in [
            (
                vec![
                    offer("YUYV", 1280, 720, &[30.0]),
                    offer("MJPG", 640, 480, &[30.0]),
                    offer("MJPG", 1280, 720, &[60.0, 30.0, 15.0]),
                    offer("MJPG", 1920, 1080, &[30.0]),
                ],
                Some(("MJPG", 1280, 720, 30)),
            ),
            // Too slow at 720p.
            (vec![offer("MJPG", 1280, 720, &[15.0]), offer("MJPG", 640, 480, &[29.97])], Some(("MJPG", 640, 480, 30))),
            // Slow everywhere.
            (vec![offer("MJPG", 1280, 720, &[15.0]), offer("MJPG", 640, 480, &[20.0])], Some(("MJPG", 640, 480, 20))),
            // Large everywhere, and only faster than need be.
            (
                vec![offer("MJPG", 3840, 2160, &[60.0]), offer("MJPG", 1920, 1080, &[60.0])],
                Some(("MJPG", 1920, 1080, 60)),
            ),
            (vec![offer("H264", 1280, 720, &[30.0]), offer("YUYV", 640, 480, &[30.0])], Some(("YUYV", 640, 480, 30))),
            (vec![range], Some(("YUYV", 1280, 720, 30))),
            (vec![offer("MJPG", 1280, 720, &[])], Some(("MJPG", 1280, 720, 30))),
            (vec![offer("MJPG", 641, 481, &[30.0]), offer("Z16 ", 640, 480, &[30.0])], None),
            (vec![], None),
        ] {
            let expected =
                expected.map(|(fourcc, width, height, fps)| Best { fourcc: fourcc.into(), width, height, fps });
            assert_eq!(best(&offers), expected, "{offers:?}");
        }
    }
}
