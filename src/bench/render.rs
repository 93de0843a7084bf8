//! The report as people read it.

use super::BUSY;
use super::bottleneck::Part;
use super::plan::Encoding;
use super::report::{Episode, Report, Run, SetUp, SpreadMs, Times};
use crate::codec::backend::Device;
use crate::encoders::fake;
use std::fmt::Write as _;

/// The whole report: a column for each device; with several ways to encode a line for each.
pub fn text(report: &Report) -> String {
    let mut text = set_up(&report.set_up);
    let several = report.runs.iter().any(|run| run.encoding != report.runs[0].encoding);
    text += &if several { modes(&report.runs) } else { stages(&report.runs) };
    text.push('\n');
    for run in &report.runs {
        remarks(&mut text, run, several);
    }
    for device in [Device::Cpu, Device::Gpu] {
        text.extend(idle_and_saturated(&report.runs, device));
    }
    let busiest = report.runs.iter().filter_map(|run| run.other_programs_cores).fold(0.0, f64::max);
    if busiest > BUSY {
        let _ = writeln!(
            text,
            "other programs used up to {busiest:.2} cores meanwhile: these are not the figures of an idle machine"
        );
    }
    if let Some(comparison) = &report.comparison {
        let saved = comparison.cores_saved;
        let _ = writeln!(
            text,
            "GPU against CPU{}: a frame is encoded {:.1} times as fast, with {:.2} cores {}",
            fake(report.fake_driver),
            comparison.encode_speedup,
            saved.abs(),
            if saved < 0.0 { "more" } else { "less" }
        );
    }
    for (device, others, reason) in [("GPU", "CPU", &report.no_gpu), ("CPU", "GPU", &report.no_cpu)] {
        if let Some(reason) = reason {
            let _ = writeln!(text, "only the {others} was measured, not the {device}: {reason}");
        }
    }
    if report.set_up.in_memory {
        text += "the data sets were in memory: on a disk saving takes longer\n";
    }
    let verdict = if report.ok { "ok: every episode was saved, no frame was lost" } else { "FAILED" };
    let _ = writeln!(text, "bottleneck: {}\n{verdict}", report.rule);
    text
}

fn set_up(set_up: &SetUp) -> String {
    let cameras: Vec<String> = set_up
        .cameras
        .iter()
        .map(|c| format!("{} {}x{} {} at {}/s ({})", c.name, c.width, c.height, c.fourcc, c.fps, c.kind))
        .collect();
    let SetUp { name, episodes, episode_s, codec, quality, gop, workers, queue, cores, .. } = set_up;
    let arm = if set_up.arm { ", a simulated arm" } else { "" };
    format!(
        "{name}: {episodes} x {episode_s} s, {}{arm}\n{codec}, quality {quality}, GOP {gop}; encoding threads on the CPU: {workers} of {cores} cores; queue: {queue}\n\n",
        cameras.join(", ")
    )
}

/// A column for each run.
fn stages(runs: &[Run]) -> String {
    let mut rows = vec![vec![String::new()]];
    rows[0].extend(runs.iter().map(column));
    let mut row = |what: &str, value: &dyn Fn(&Run) -> String| {
        let mut cells = vec![what.to_string()];
        cells.extend(runs.iter().map(value));
        rows.push(cells);
    };
    row("ms a frame: mean / p50 / p99", &|_| String::new());
    row("  capture", &|run| times(&run.stages.capture));
    row("  decode", &|run| times(&run.stages.decode));
    row("  encode", &|run| times(&run.stages.encode));
    row("  write", &|run| times(&run.stages.write));
    row("  total, capture to encoded", &|run| times(&run.stages.total));
    row("save, last tick to disk: p50 / p99 / max", &|run| spread(&run.save_ms));
    row("next episode held up: max", &|run| format!("{:.0} ms", run.held_up_ms.max));
    row("rows a second, by episode", &|run| fps(&run.episodes));
    row("frames captured / lost / repeated", &|run| {
        format!("{} / {} / {}", run.frames.captured, run.frames.lost, run.frames.repeated)
    });
    row("tick jitter: p50 / p99 / max", &jitter);
    row("CPU", &|run| format!("{:.2} cores", run.cores));
    row("peak memory", &|run| run.peak_memory_mib.map_or("-".into(), |mib| format!("{mib} MiB")));
    row("bottleneck", &bottleneck);
    aligned(&rows)
}

/// A line for each run: what blocks, and what does not.
fn modes(runs: &[Run]) -> String {
    let header = [
        "VIDEOS ARE ENCODED",
        "BY",
        "SAVED AFTER p50 / max",
        "NEXT EPISODE HELD UP max",
        "TICK JITTER p50 / p99 / max",
        "ENCODERS BUSY",
        "LOST",
    ];
    let mut rows = vec![header.map(String::from).to_vec()];
    rows.extend(runs.iter().map(|run| {
        vec![
            run.encoding.name().into(),
            column(run),
            format!("{:.0} / {:.0} ms", run.save_ms.p50, run.save_ms.max),
            format!("{:.0} ms", run.held_up_ms.max),
            jitter(run),
            encoders_busy(run),
            run.frames.lost.to_string(),
        ]
    }));
    aligned(&rows)
}

/// While an episode was recorded: work put off until after it is none then, and that of idle pictures was not timed.
fn encoders_busy(run: &Run) -> String {
    match run.encoding {
        Encoding::Streaming => format!("{:.0} %", run.busy.encoders * 1e2),
        Encoding::Saturated => "all the time".into(),
        Encoding::Deferred => "not while recording".into(),
        Encoding::DeferredAsync => format!("{:.0} %, also after", run.busy.encoders * 1e2),
    }
}

fn column(run: &Run) -> String {
    let device = if run.device == Device::Cpu { "CPU" } else { "GPU" };
    format!("{device} ({}){}", run.encoder, fake(run.fake_driver))
}

fn times(times: &Times) -> String {
    let shown = |value: Option<f64>| value.map_or("-".into(), |ms| format!("{ms:.2}"));
    format!("{} / {} / {}", shown(times.mean_ms), shown(times.p50_ms), shown(times.p99_ms))
}

fn spread(spread: &SpreadMs) -> String {
    format!("{:.0} / {:.0} / {:.0} ms", spread.p50, spread.p99, spread.max)
}

fn jitter(run: &Run) -> String {
    let jitter = &run.tick_jitter_us;
    format!("{:.0} / {:.0} / {:.0} us", jitter.p50, jitter.p99, jitter.max)
}

fn fps(episodes: &[Episode]) -> String {
    let shown: Vec<String> = episodes.iter().map(|episode| format!("{:.2}", episode.achieved_fps)).collect();
    shown.join(" ")
}

fn bottleneck(run: &Run) -> String {
    let found = &run.bottleneck;
    let part = match found.part {
        Part::Capture => "the cameras' threads".into(),
        Part::Encoders if run.threads == 1 => "the encoding thread".into(),
        Part::Encoders => format!("the {} encoding threads", run.threads),
        Part::Writer => "the writer's thread".into(),
        Part::Cpu => "the CPU".into(),
    };
    let more = found.headroom.map_or(String::new(), |headroom| format!("; all of it at {headroom:.1} x the frames"));
    format!("{}: {:.0} % of {part}{more}", found.stage, found.busy * 1e2)
}

/// What the figures of a run do not say.
fn remarks(text: &mut String, run: &Run, several: bool) {
    let mut remark = |words: String| {
        let encoding = if several { format!("{}, ", run.encoding.name()) } else { String::new() };
        let _ = writeln!(text, "{encoding}{}: {words}", column(run));
    };
    if let Some(failure) = &run.failure {
        remark(format!("the run ended early: {failure}"));
    }
    if run.frames.lost > 0 {
        let reasons: Vec<String> =
            run.frames.dropped.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        remark(format!("{} frames were lost ({})", run.frames.lost, reasons.join(", ")));
    }
    if run.frames.encoder_switches > 0 {
        remark(format!(
            "{} times an encoder failed and another went on: the figures are of both",
            run.frames.encoder_switches
        ));
    }
}

/// Whether the control loop feels the encoders.
fn idle_and_saturated(runs: &[Run], device: Device) -> Option<String> {
    let jitter = |encoding| {
        let run = runs.iter().find(|run| run.device == device && run.encoding == encoding)?;
        Some((run, format!("{:.0} / {:.0} us", run.tick_jitter_us.p50, run.tick_jitter_us.p99)))
    };
    let ((run, idle), (_, saturated)) = (jitter(Encoding::Deferred)?, jitter(Encoding::Saturated)?);
    let by = column(run);
    Some(format!("{by}: tick jitter p50 / p99 with encoders idle {idle}, saturated {saturated}\n"))
}

/// Columns next to each other; the last one is as wide as it is.
fn aligned(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..rows.first().map_or(0, Vec::len)).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let line: String = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}  ")).collect();
        text += line.trim_end();
        text.push('\n');
    }
    text
}
