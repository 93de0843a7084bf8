//! What the recorder costs, measured as a user runs it: `cargo bench --bench pipeline [-- SECTION…]`.
//!
//! Sections: `cost` (CPU against a bare decode and encode loop), `record` (2 cameras and an arm in real time), `saves`
//! (many short episodes), `cameras` (how many in real time), `copy` (how many with `codec = "copy"`); all of them when
//! none is named. The clip is synthetic: 720p, 4:2:2, quality 85, with a sensor's noise. Run it on an idle machine.

mod clip;
mod cost;
mod process;
mod realtime;

use recorder::bench::BUSY;
use recorder::bench::machine;
use std::path::Path;
use std::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
/// A section: the folder it may use, and its name.
type Section = (&'static str, fn(&Path) -> Result<()>);

const SECTIONS: [Section; 5] = [
    ("cost", cost::measure),
    ("record", realtime::record),
    ("saves", realtime::saves),
    ("cameras", realtime::cameras),
    ("copy", realtime::copy),
];

fn main() -> Result<()> {
    // Cargo passes `--bench`.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    if let Some(unknown) = wanted.iter().find(|name| SECTIONS.iter().all(|(known, _)| known != name)) {
        let known = SECTIONS.map(|(name, _)| name).join(", ");
        return Err(format!("expected a section ({known}), found {unknown}").into());
    }
    // On the disk that builds are on: a temporary folder may be memory.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    clip::write(dir.path())?;
    for (name, section) in SECTIONS {
        if wanted.is_empty() || wanted.iter().any(|wish| wish == name) {
            println!("\n{name}");
            let (others, start) = (machine::others_time()?, Instant::now());
            section(dir.path())?;
            let others = (machine::others_time()?.saturating_sub(others)).as_secs_f64() / start.elapsed().as_secs_f64();
            let hint = if others > BUSY { ": the figures are not those of an idle machine" } else { "" };
            note("other programs meanwhile", format!("{others:.2} cores{hint}"));
        }
    }
    Ok(())
}

/// A figure beside its bar.
fn line(what: &str, value: String, bar: &str, met: bool) {
    let verdict = if met { "met" } else { "MISSED" };
    println!("  {what:<34} {value:<28} bar {bar}: {verdict}");
}

/// A figure without a bar.
fn note(what: &str, value: String) {
    println!("  {what:<34} {value}");
}
