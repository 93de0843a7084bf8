//! What a device offers: formats, sizes and rates, and which of them are nearest to what was asked for.

use serde::Serialize;
use std::fmt;
use v4l::Device;
use v4l::frameinterval::FrameIntervalEnum;
use v4l::framesize::FrameSizeEnum;
use v4l::video::Capture;

/// An error lists so many offers at most: some devices have hundreds.
const MOST_NAMED: usize = 12;
/// Rates that differ by less are the same: 30 frames a second are 30000/1001 in some cameras.
const SAME_RATE: f64 = 0.1;
/// What another format counts, in the unit of [`Offer::distance`]: as much as a size that differs by two thirds.
const OTHER_FORMAT: f64 = 0.5;

/// One format in one size, or in every size of a range.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Offer {
    /// V4L2's four characters.
    pub fourcc: String,
    /// Pixels.
    pub width: Extent,
    /// Pixels.
    pub height: Extent,
    /// Frames a second.
    pub fps: Rates,
}

/// A width or a height: a number, or any of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Extent {
    One(u32),
    Between { min: u32, max: u32, step: u32 },
}

impl Extent {
    /// The one that is nearest to `wanted`.
    pub fn nearest(self, wanted: u32) -> u32 {
        match self {
            Extent::One(pixels) => pixels,
            Extent::Between { min, max, step } => {
                let wanted = wanted.clamp(min, max.max(min));
                wanted - (wanted - min) % step.max(1)
            }
        }
    }

    /// The largest.
    pub fn max(self) -> u32 {
        match self {
            Extent::One(pixels) => pixels,
            Extent::Between { max, .. } => max,
        }
    }
}

/// Frames a second: a list, or any of a range. An empty list: the device does not say.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Rates {
    Each(Vec<f64>),
    Between { min: f64, max: f64 },
}

impl Rates {
    /// The one that `wanted` is served by best: that very rate, else the next higher one, else the highest.
    pub fn nearest(&self, wanted: f64) -> Option<f64> {
        match self {
            Rates::Between { min, max } => Some(wanted.clamp(*min, max.max(*min))),
            Rates::Each(rates) => {
                let enough = rates.iter().copied().filter(|rate| *rate > wanted - SAME_RATE).min_by(f64::total_cmp);
                enough.or_else(|| rates.iter().copied().max_by(f64::total_cmp))
            }
        }
    }
}

/// A mode that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    pub fourcc: &'a str,
    pub width: u32,
    pub height: u32,
    pub fps: f64,
}

impl Offer {
    /// How far the offer is from what is wanted: sizes and rates that are too low by their ratios, and a bit for another format.
    fn distance(&self, wanted: &Wanted) -> f64 {
        let ratio = |a: f64, b: f64| (a.max(1.0) / b.max(1.0)).ln().abs();
        let size = ratio(self.width.nearest(wanted.width).into(), wanted.width.into())
            + ratio(self.height.nearest(wanted.height).into(), wanted.height.into());
        let format = if self.fourcc == wanted.fourcc { 0.0 } else { OTHER_FORMAT };
        let slow = match self.fps.nearest(wanted.fps) {
            Some(rate) if rate < wanted.fps - SAME_RATE => ratio(rate, wanted.fps),
            _ => 0.0,
        };
        size + format + slow
    }
}

/// The offers, those that are nearest to `wanted` first. Formats that `is_readable` refuses come last.
pub fn nearest_first(offers: &[Offer], wanted: &Wanted, is_readable: impl Fn(&str) -> bool) -> Vec<Offer> {
    let mut offers = offers.to_vec();
    let rank = |offer: &Offer| (!is_readable(&offer.fourcc), offer.distance(wanted));
    offers.sort_by(|a, b| {
        let (a, b) = (rank(a), rank(b));
        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
    });
    offers
}

/// Offers for an error, a line each.
pub fn in_words(offers: &[Offer]) -> String {
    let mut lines: Vec<String> = offers.iter().take(MOST_NAMED).map(|offer| format!("  {offer}")).collect();
    match offers.len().saturating_sub(MOST_NAMED) {
        0 if lines.is_empty() => lines.push("  nothing that it tells of".into()),
        0 => {}
        more => lines.push(format!("  and {more} more, which `recorder devices` lists")),
    }
    lines.join("\n")
}

/// `1280x720`, or the range.
pub fn size_in_words(width: Extent, height: Extent) -> String {
    match (width, height) {
        (Extent::One(width), Extent::One(height)) => format!("{width}x{height}"),
        _ => format!("{}x{} to {}x{}", width.nearest(0), height.nearest(0), width.max(), height.max()),
    }
}

/// `30`, or `29.97`.
fn rate_in_words(rate: f64) -> String {
    format!("{}", (rate * 100.0).round() / 100.0)
}

impl fmt::Display for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rates::Each(rates) if rates.is_empty() => f.write_str("a rate of its own"),
            Rates::Each(rates) => {
                let rates: Vec<String> = rates.iter().map(|rate| rate_in_words(*rate)).collect();
                write!(f, "{} fps", rates.join(", "))
            }
            Rates::Between { min, max } => write!(f, "{} to {} fps", rate_in_words(*min), rate_in_words(*max)),
        }
    }
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} at {}", self.fourcc, size_in_words(self.width, self.height), self.fps)
    }
}

/// Everything that a device offers, in its own order.
pub(super) fn offers(device: &Device) -> Vec<Offer> {
    let mut found: Vec<Offer> = Vec::new();
    for format in device.enum_formats().unwrap_or_default() {
        for size in device.enum_framesizes(format.fourcc).unwrap_or_default() {
            let (width, height) = match size.size {
                FrameSizeEnum::Discrete(size) => (Extent::One(size.width), Extent::One(size.height)),
                FrameSizeEnum::Stepwise(size) => (
                    extent(size.min_width, size.max_width, size.step_width),
                    extent(size.min_height, size.max_height, size.step_height),
                ),
            };
            let fourcc = fourcc_in_words(format.fourcc.repr);
            let intervals = device.enum_frameintervals(format.fourcc, width.max(), height.max()).unwrap_or_default();
            let offer = Offer { fourcc, width, height, fps: rates(&intervals) };
            // Some cameras name the size that they start with twice.
            if !found.contains(&offer) {
                found.push(offer);
            }
        }
    }
    found
}

/// The four characters; those of big-endian formats have a bit beyond, which the kernel writes so too.
fn fourcc_in_words(mut fourcc: [u8; 4]) -> String {
    let is_big_endian = fourcc[3] & 0x80 != 0;
    fourcc[3] &= 0x7f;
    let characters = String::from_utf8_lossy(&fourcc).into_owned();
    if is_big_endian { characters + "-BE" } else { characters }
}

fn extent(min: u32, max: u32, step: u32) -> Extent {
    if min == max { Extent::One(min) } else { Extent::Between { min, max, step } }
}

fn rates(intervals: &[v4l::FrameInterval]) -> Rates {
    let rate = |interval: &v4l::Fraction| f64::from(interval.denominator) / f64::from(interval.numerator.max(1));
    let mut each = Vec::new();
    for interval in intervals {
        match &interval.interval {
            FrameIntervalEnum::Discrete(interval) => each.push(rate(interval)),
            // The longest interval is the lowest rate.
            FrameIntervalEnum::Stepwise(steps) => {
                return Rates::Between { min: rate(&steps.max), max: rate(&steps.min) };
            }
        }
    }
    Rates::Each(each)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(fourcc: &str, width: u32, height: u32, fps: &[f64]) -> Offer {
        let (width, height) = (Extent::One(width), Extent::One(height));
        Offer { fourcc: fourcc.into(), width, height, fps: Rates::Each(fps.to_vec()) }
    }

    fn webcam() -> Vec<Offer> {
        vec![
            offer("Z16 ", 1280, 720, &[30.0]),
            offer("YUYV", 640, 480, &[30.0, 15.0]),
            offer("YUYV", 1280, 720, &[10.0, 5.0]),
            offer("MJPG", 640, 480, &[30.0, 15.0]),
            offer("MJPG", 1280, 720, &[30.0, 60.0]),
            offer("MJPG", 1920, 1080, &[30.0]),
        ]
    }

    #[test]
    fn the_nearest_modes_come_first() {
        for ((fourcc, width, height, fps), expected) in [
            // A size between two: the nearer by ratio, in the wanted format.
            (("MJPG", 1280, 700, 30.0), ["MJPG 1280x720", "MJPG 1920x1080", "MJPG 640x480"]),
            (("MJPG", 320, 240, 30.0), ["MJPG 640x480", "YUYV 640x480", "MJPG 1280x720"]),
            // Another format in the wanted size and rate comes before less than half of the rate.
            (("YUYV", 1280, 720, 25.0), ["MJPG 1280x720", "YUYV 1280x720", "YUYV 640x480"]),
            (("YUYV", 1280, 720, 10.0), ["YUYV 1280x720", "MJPG 1280x720", "YUYV 640x480"]),
            // A camera without the format at all.
            (("NV12", 640, 480, 30.0), ["YUYV 640x480", "MJPG 640x480", "MJPG 1280x720"]),
        ] {
            let wanted = Wanted { fourcc, width, height, fps };
            let ranked = nearest_first(&webcam(), &wanted, |fourcc| fourcc != "Z16 ");
            let words: Vec<String> = ranked.iter().map(ToString::to_string).collect();
            for (word, start) in words.iter().zip(expected) {
                assert!(word.starts_with(start), "{wanted:?}: expected {expected:?}, found {words:?}");
            }
            assert!(words[5].starts_with("Z16"), "what cannot be read comes last: {words:?}");
        }
    }

    #[test]
    fn an_error_names_the_nearest_and_counts_the_rest() {
        let many: Vec<Offer> = (1..=15).map(|k| offer("MJPG", 160 * k, 120 * k, &[30.0, 29.97])).collect();
        let words = in_words(&many);
        assert_eq!(words.lines().count(), 13);
        assert!(words.starts_with("  MJPG 160x120 at 30, 29.97 fps\n"), "{words}");
        assert!(words.ends_with("\n  and 3 more, which `recorder devices` lists"), "{words}");
        assert_eq!(in_words(&[]), "  nothing that it tells of");
    }

    #[test]
    fn formats_are_written_as_the_kernel_does() {
        assert_eq!([*b"MJPG", *b"Y16 ", *b"Y16\xa0"].map(fourcc_in_words), ["MJPG", "Y16 ", "Y16 -BE"]);
    }

    #[test]
    fn any_size_and_rate_of_a_range() {
        let width = Extent::Between { min: 48, max: 4096, step: 16 };
        for (wanted, nearest) in [(0, 48), (48, 48), (1281, 1280), (5000, 4096)] {
            assert_eq!(width.nearest(wanted), nearest);
        }
        let any = Rates::Between { min: 1.0, max: 60.0 };
        assert_eq!([0.5, 25.0, 90.0].map(|wanted| any.nearest(wanted)), [Some(1.0), Some(25.0), Some(60.0)]);
        let each = Rates::Each(vec![60.0, 29.97, 15.0]);
        assert_eq!([5.0, 15.0, 30.0, 31.0, 90.0].map(|w| each.nearest(w)), [15.0, 15.0, 29.97, 60.0, 60.0].map(Some));
        assert_eq!(Rates::Each(vec![]).nearest(30.0), None);
        let offer = Offer { fourcc: "YUYV".into(), width, height: Extent::One(480), fps: any };
        assert_eq!(offer.to_string(), "YUYV 48x480 to 4096x480 at 1 to 60 fps");
        let json = serde_json::json!({
            "fourcc": "YUYV", "width": {"min": 48, "max": 4096, "step": 16}, "height": 480, "fps": {"min": 1.0, "max": 60.0}
        });
        assert_eq!(serde_json::json!(offer), json);
    }
}
