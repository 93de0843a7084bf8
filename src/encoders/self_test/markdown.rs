//! The report as Markdown, to be pasted into the README.

use super::{Encoder, Figures, Recording, RecordingFigures, Report, SessionFigures, Sessions, Tried, name};
use crate::codec::backend::{Device, codec_name};
use crate::encoders::fake;
use std::fmt::Write as _;

impl Report {
    /// Headline, machine, a table for each kind of measurement, what was not tested, what failed.
    pub(super) fn to_markdown(&self) -> String {
        let is_fake = self.machine.fake_driver;
        let mut text = format!("### recorder {} ({}){}\n\n", self.version, self.revision, fake(is_fake));
        let _ = writeln!(text, "{}", self.machine.describe());
        if is_fake {
            text += "\n**On a fake driver: no figure of a GPU here was measured on a GPU.**\n";
        }
        let header = ["encoder", "codec", "preset", "pictures/s", "ms p50", "ms p99", "Mbit/s at 30 fps", "decoded"];
        table(&mut text, "1280x720", &header, self.encoders.iter().map(|tried| encoder_row(tried, is_fake)));
        let header =
            ["sessions at once", "codec", "opened", "pictures/s together", "ms p50", "ms p99", "then", "decoded"];
        table(&mut text, "Sessions", &header, self.sessions.iter().map(|tried| session_row(tried, is_fake)));
        let header = [
            "recording",
            "frames",
            "dropped",
            "repeated",
            "rows/s",
            "tick late p99 ms",
            "save p99 ms",
            "CPU cores",
            "Mbit/s a camera",
            "switch ms",
            "decoded",
        ];
        let rows = self.recordings.iter().map(|tried| recording_row(tried, is_fake));
        table(&mut text, "2 cameras, 1280x720 at 30 fps", &header, rows);
        list(&mut text, "Not tested", &self.not_tested);
        list(&mut text, "Failed", &self.failures);
        text
    }
}

fn table<const N: usize>(text: &mut String, title: &str, header: &[&str; N], rows: impl Iterator<Item = [String; N]>) {
    let rows: Vec<[String; N]> = rows.collect();
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{title}:\n\n| {} |\n|{}", header.join(" | "), "---|".repeat(N));
    for row in rows {
        let cells = row.map(|cell| cell.replace('|', "\\|"));
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
}

fn list(text: &mut String, title: &str, lines: &[String]) {
    if !lines.is_empty() {
        let _ = writeln!(text, "\n{title}:\n");
        text.extend(lines.iter().map(|line| format!("- {line}\n")));
    }
}

fn dash() -> String {
    "-".into()
}

fn mbit(bits_per_second: u64) -> String {
    format!("{:.1}", bits_per_second as f64 / 1e6)
}

fn encoder_row(Tried { tried, figures, failure }: &Tried<Encoder, Figures>, is_fake: bool) -> [String; 8] {
    let place = tried.gpu_id.map_or(String::new(), |id| format!(", GPU {id}{}", fake(is_fake)));
    let (encoder, codec) = (format!("{}{place}", tried.encoder), codec_name(tried.codec).to_string());
    let preset = tried.preset.map_or_else(dash, name);
    let Some(figures) = figures else {
        let reason = failure.clone().unwrap_or_default();
        return [encoder, codec, preset, dash(), dash(), dash(), dash(), format!("FAILED: {reason}")];
    };
    [
        encoder,
        codec,
        preset,
        format!("{:.0}", figures.fps),
        format!("{:.2}", figures.encode_ms.p50),
        format!("{:.2}", figures.encode_ms.p99),
        mbit(figures.bits_per_second),
        figures.decoded.as_ref().map_or_else(dash, |verdict| verdict.describe()),
    ]
}

fn session_row(Tried { tried, figures, failure }: &Tried<Sessions, SessionFigures>, is_fake: bool) -> [String; 8] {
    let place = format!("GPU {}{}", tried.gpu_id, fake(is_fake));
    let codec = codec_name(tried.codec).to_string();
    let Some(figures) = figures else {
        let reason = failure.clone().unwrap_or_default();
        return [place, codec, dash(), dash(), dash(), dash(), dash(), format!("FAILED: {reason}")];
    };
    [
        place,
        codec,
        figures.opened.to_string(),
        format!("{:.0}", figures.fps),
        format!("{:.2}", figures.encode_ms.p50),
        format!("{:.2}", figures.encode_ms.p99),
        figures.refusal.clone().unwrap_or_else(|| "no more were tried".into()),
        figures.decoded.describe(),
    ]
}

fn recording_row(
    Tried { tried, figures, failure }: &Tried<Recording, RecordingFigures>,
    is_fake: bool,
) -> [String; 11] {
    let is_gpu = tried.device == Device::Gpu && !tried.stand_in;
    let what = format!("{}{}", tried.describe(), fake(is_fake && is_gpu));
    let Some(figures) = figures else {
        let mut cells = std::array::from_fn(|_| dash());
        cells[0] = what;
        cells[10] = format!("FAILED: {}", failure.clone().unwrap_or_default());
        return cells;
    };
    [
        what,
        figures.captured.to_string(),
        figures.dropped.to_string(),
        figures.repeated.to_string(),
        format!("{:.2}", figures.rows_per_second),
        format!("{:.2}", figures.tick_jitter_p99_ms),
        format!("{:.0}", figures.save_ms.p99),
        format!("{:.2}", figures.cpu_cores),
        mbit(figures.bits_per_second),
        figures.switch_ms.map_or_else(dash, |ms| format!("{ms:.0}")),
        figures.decoded.describe(),
    ]
}
