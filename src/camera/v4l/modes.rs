//! What a device offers.

use v4l::Device;
use v4l::frameinterval::FrameIntervalEnum;
use v4l::framesize::FrameSizeEnum;
use v4l::video::Capture;

/// Formats, sizes and rates, a line each.
pub(super) fn offers(device: &Device) -> String {
    let mut lines = Vec::new();
    for format in device.enum_formats().unwrap_or_default() {
        for size in device.enum_framesizes(format.fourcc).unwrap_or_default() {
            let (width, height, text) = match size.size {
                FrameSizeEnum::Discrete(size) => (size.width, size.height, format!("{}x{}", size.width, size.height)),
                FrameSizeEnum::Stepwise(size) => (
                    size.max_width,
                    size.max_height,
                    format!("{}x{} to {}x{}", size.min_width, size.min_height, size.max_width, size.max_height),
                ),
            };
            let rate = |interval: &v4l::Fraction| {
                let rate = f64::from(interval.denominator) / f64::from(interval.numerator.max(1));
                format!("{}", (rate * 100.0).round() / 100.0)
            };
            let intervals = device.enum_frameintervals(format.fourcc, width, height).unwrap_or_default();
            let rates = intervals.iter().map(|interval| match &interval.interval {
                FrameIntervalEnum::Discrete(interval) => rate(interval),
                FrameIntervalEnum::Stepwise(steps) => format!("{} to {}", rate(&steps.max), rate(&steps.min)),
            });
            lines.push(format!("  {} {text} at {} fps", format.fourcc, rates.collect::<Vec<_>>().join(", ")));
        }
    }
    lines.join("\n")
}
