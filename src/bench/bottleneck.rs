//! What would run out first if there were more frames: pure.

use crate::codec::backend::Device;
use serde::Serialize;

/// Which share of what it can do a part did, for the time that was recorded; above 1 it was behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Busy {
    /// The threads of the cameras; nothing of real ones, which wait for the device.
    pub capture: Option<f64>,
    /// The encoding threads, which decode too; the idle pictures of `saturated` do not count.
    pub encoders: f64,
    /// The writer's thread.
    pub writer: Option<f64>,
    /// The machine's cores, by this process, while it recorded and saved.
    pub cpu: f64,
}

/// What would run out first if there were more frames.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bottleneck {
    pub part: Part,
    /// The costliest stage of that part: `capture`, `decode`, `encode` or `write`.
    pub stage: String,
    /// Share of what the part can do.
    pub busy: f64,
    /// So many times the frames would keep it busy all the time; nothing if it had nothing to do.
    pub headroom: Option<f64>,
}

/// A part of the machine that does work for frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    Capture,
    Encoders,
    Writer,
    Cpu,
}

/// How a bottleneck is found.
pub const RULE: &str = "the part that is busiest (the cameras' threads, the encoding threads, the writer's thread: their \
time at work for each second recorded, by threads; the CPU: cores in use, by cores there), and its costliest stage";

/// Seconds of work for all frames.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Nothing of real cameras, which wait for the device.
    pub capture: Option<f64>,
    pub decode: f64,
    pub encode: f64,
    /// Nothing where it was not measured.
    pub write: Option<f64>,
}

/// See [`RULE`].
pub fn bottleneck(busy: &Busy, work: &Work, device: Device) -> Bottleneck {
    let parts = [
        (Part::Encoders, Some(busy.encoders)),
        (Part::Capture, busy.capture),
        (Part::Writer, busy.writer),
        (Part::Cpu, Some(busy.cpu)),
    ];
    let stages = [
        ("encode", Some(work.encode)),
        ("decode", Some(work.decode)),
        ("capture", work.capture),
        ("write", work.write),
    ];
    // Of equals the first.
    fn most<T: Copy>(of: impl Iterator<Item = (T, Option<f64>)>, otherwise: T) -> (T, f64) {
        let found = of.filter_map(|(what, value)| Some((what, value?)));
        found.fold((otherwise, 0.0), |most, next| if next.1 > most.1 { next } else { most })
    }
    let (part, busy) = most(parts.into_iter(), Part::Encoders);
    let belongs = |stage: &str| match part {
        Part::Encoders => stage == "encode" || stage == "decode",
        Part::Capture => stage == "capture",
        Part::Writer => stage == "write",
        // While the GPU encodes, the CPU waits for it.
        Part::Cpu => device == Device::Cpu || stage != "encode",
    };
    let (stage, _) = most(stages.into_iter().filter(|(stage, _)| belongs(stage)), "decode");
    Bottleneck { part, stage: stage.into(), busy, headroom: (busy > 0.0).then(|| 1.0 / busy) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bottleneck_is_the_costliest_stage_of_the_busiest_part() {
        let base = Busy { capture: Some(0.1), encoders: 0.2, writer: Some(0.1), cpu: 0.1 };
        let cheap = Work { capture: Some(1.0), decode: 2.0, encode: 3.0, write: Some(0.1) };
        let decoding = Work { decode: 4.0, ..cheap };
        let drawing = Work { capture: Some(9.0), ..cheap };
        use Device::{Cpu, Gpu};
        for (busy, work, device, part, stage) in [
            (base, cheap, Cpu, Part::Encoders, "encode"),
            (base, decoding, Cpu, Part::Encoders, "decode"),
            (base, drawing, Gpu, Part::Encoders, "encode"),
            (Busy { capture: Some(0.3), ..base }, cheap, Cpu, Part::Capture, "capture"),
            // Real cameras only wait.
            (Busy { capture: None, ..base }, Work { capture: None, ..cheap }, Cpu, Part::Encoders, "encode"),
            (Busy { writer: Some(0.3), ..base }, cheap, Cpu, Part::Writer, "write"),
            (Busy { cpu: 0.9, ..base }, cheap, Cpu, Part::Cpu, "encode"),
            (Busy { cpu: 0.9, ..base }, cheap, Gpu, Part::Cpu, "decode"),
            (Busy { cpu: 0.9, ..base }, drawing, Cpu, Part::Cpu, "capture"),
            // Of equals: what does the work.
            (Busy { cpu: 0.2, ..base }, cheap, Cpu, Part::Encoders, "encode"),
        ] {
            let found = bottleneck(&busy, &work, device);
            assert_eq!((found.part, found.stage.as_str()), (part, stage), "{busy:?} {work:?} {device:?}");
            assert!((found.headroom.unwrap() * found.busy - 1.0).abs() < 1e-9);
        }
        let nothing = bottleneck(&Busy::default(), &Work::default(), Cpu);
        assert_eq!((nothing.busy, nothing.headroom), (0.0, None));
    }
}
