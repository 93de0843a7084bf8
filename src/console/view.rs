//! The status in words. Pure: a status in, lines out.

use crate::disk_space::Room;
use crate::status::{Phase, Status};

/// The live block of the terminal: at most `columns` characters a line, and one line less than `rows`. What stands
/// furthest down and to the right is cut off first.
pub fn block(status: &Status, columns: usize, rows: usize) -> Vec<String> {
    let mut lines = vec![String::new(), headline(status), bar(status, columns)];
    lines.extend(cameras(status));
    lines.extend(status.lost.iter().map(|lost| format!("  {LOST}  {lost}")));
    lines.extend(status.failing.iter().map(|name| format!("  {name} keeps being lost: check its cable and hub")));
    if status.arm_misses > 0 {
        lines.push(format!("  rows without an answer of the arm in time: {}", status.arm_misses));
    }
    lines.push(footline(status));
    lines.push("  → or n: next   ← or r: record again   Esc or q: save and stop".into());
    lines.truncate(rows.saturating_sub(1));
    // A control character would move the cursor.
    lines.into_iter().map(|line| line.chars().filter(|c| !c.is_control()).take(columns).collect()).collect()
}

/// One line, for where there is no terminal.
pub fn line(status: &Status) -> String {
    let cameras: Vec<String> = status
        .cameras
        .iter()
        .map(|c| format!("{} {:.1} fps {} dropped queue {}", c.name, c.rate, c.dropped, c.queue))
        .collect();
    let waiting = if status.waiting > 0 { format!("; {} to encode", status.waiting) } else { String::new() };
    let lost: String = status.lost.iter().map(|lost| format!("; {LOST} {lost}")).collect();
    format!(
        "{} episode {} of {}, {} of {}; {}{waiting}{lost}; disk {}",
        phase(status.phase),
        status.episode,
        status.episodes,
        clock(status.elapsed_s),
        clock(status.elapsed_s + status.left_s),
        cameras.join(", "),
        disk(status)
    )
}

fn headline(status: &Status) -> String {
    let (episode, episodes) = (status.episode, status.episodes);
    let what = match status.phase {
        Phase::Starting => "opening cameras and arm".into(),
        Phase::Resetting => format!("episode {} of {episodes} is next", episode + 1),
        Phase::Recording if status.held && status.room == Room::None => {
            format!("episode {episode} of {episodes} begins when there is room on the disk")
        }
        Phase::Recording if status.missing => {
            format!("episode {episode} of {episodes} begins when all devices are back")
        }
        Phase::Recording if status.approaching && status.elapsed_s == 0.0 => {
            format!("episode {episode} of {episodes} begins when the arm is in its first pose")
        }
        Phase::Recording if status.held => {
            format!("episode {episode} of {episodes} begins when encoders have caught up")
        }
        Phase::Recording | Phase::Finishing | Phase::Done => format!("episode {episode} of {episodes}"),
    };
    let (mark, phase) = match status.phase {
        Phase::Recording if status.held && status.room == Room::None => (' ', "paused"),
        Phase::Recording if status.missing => (' ', "waiting"),
        Phase::Recording if status.approaching && status.elapsed_s == 0.0 => (' ', "moving"),
        Phase::Recording if status.held => (' ', "encoding"),
        Phase::Recording => (RECORDING, phase(status.phase)),
        other => (' ', phase(other)),
    };
    format!("{mark} {:<9}  {what}   {}", phase, status.root)
}

/// Stands before the headline while frames are kept.
pub const RECORDING: char = '●';
/// Stands instead of a camera's rate.
pub const NO_PICTURE: &str = "NO PICTURE";
/// Stands before a device that is away.
pub const LOST: &str = "LOST";
/// Stands before the number of takes that could not be saved.
pub const FAILED: &str = "FAILED";

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Starting => "starting",
        Phase::Recording => "RECORDING",
        Phase::Resetting => "reset",
        Phase::Finishing => "saving",
        Phase::Done => "done",
    }
}

/// How much of the episode or the reset is over; as wide as the cameras' table, where there is room.
fn bar(status: &Status, columns: usize) -> String {
    let total = status.elapsed_s + status.left_s;
    if total <= 0.0 {
        return String::new();
    }
    let cells = columns.saturating_sub(17).min(48);
    let full = ((status.elapsed_s / total).clamp(0.0, 1.0) * cells as f64).round() as usize;
    format!("  {}{}  {} / {}", "█".repeat(full), "░".repeat(cells - full), clock(status.elapsed_s), clock(total))
}

/// A table of the cameras: their rate now, and what became of the frames of this take.
fn cameras(status: &Status) -> Vec<String> {
    let width = status.cameras.iter().map(|camera| camera.name.len()).max().unwrap_or(0).clamp(6, 20);
    let row = |name: &str, cells: [&str; 5]| {
        let [rate, frames, dropped, repeated, queue] = cells;
        format!("  {name:<width$.width$}  {rate:>10}  {frames:>7}  {dropped:>7}  {repeated:>8}  {queue:>7}")
    };
    let mut lines = vec![row("camera", ["frames/s", "frames", "dropped", "repeated", "waiting"])];
    for camera in &status.cameras {
        let rate = match (camera.alive, status.phase) {
            (true, _) => format!("{:.1}", camera.rate),
            (false, Phase::Starting | Phase::Done) => "-".into(),
            (false, _) => NO_PICTURE.into(),
        };
        let numbers = [camera.captured, camera.dropped, camera.repeated, camera.queue as u64].map(|n| n.to_string());
        let [frames, dropped, repeated, queue] = &numbers;
        lines.push(row(&camera.name, [&rate, frames, dropped, repeated, queue]));
    }
    lines
}

fn footline(status: &Status) -> String {
    let mut parts = vec![format!("saved {}", status.saved)];
    if status.discarded > 0 {
        parts.push(format!("discarded {}", status.discarded));
    }
    if status.failed > 0 {
        parts.push(format!("{FAILED} {}", status.failed));
    }
    if status.waiting > 0 {
        parts.push(format!("to encode {}", status.waiting));
    }
    if status.encoder_switches > 0 {
        parts.push(format!("encoder replaced {}×", status.encoder_switches));
    }
    if let Some(seconds) = status.last_save_s {
        parts.push(format!("last save {:.0} ms", seconds * 1e3));
    }
    parts.extend([format!("disk {}", disk(status)), status.encoder.clone()]);
    format!("  {}", parts.join("   "))
}

fn disk(status: &Status) -> String {
    let mark = if status.room == Room::Enough { "" } else { "LOW " };
    let free = format!("{mark}{:.0} GiB free", status.disk_free_bytes as f64 / (1u64 << 30) as f64);
    match status.recordable_s {
        Some(seconds) if seconds >= 36_000.0 => format!("{free} ({:.0} h)", seconds / 3600.0),
        Some(seconds) => format!("{free} ({:.1} h)", seconds / 3600.0),
        None => free,
    }
}

/// Minutes and seconds.
fn clock(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    format!("{:02}:{:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::CameraStatus;

    fn status() -> Status {
        Status {
            phase: Phase::Recording,
            episode: 3,
            episodes: 20,
            saved: 2,
            elapsed_s: 37.0,
            left_s: 53.0,
            cameras: vec![
                CameraStatus {
                    name: "front".into(),
                    rate: 29.97,
                    alive: true,
                    captured: 1110,
                    queue: 3,
                    ..Default::default()
                },
                CameraStatus { name: "wrist".into(), dropped: 7, repeated: 9, ..Default::default() },
            ],
            encoder: "openh264".into(),
            disk_free_bytes: 212 << 30,
            recordable_s: Some(111_600.0),
            last_save_s: Some(0.041),
            root: "data/pick-cube".into(),
            ..Default::default()
        }
    }

    #[test]
    fn the_block_says_what_an_operator_needs() {
        let expected = "
● RECORDING  episode 3 of 20   data/pick-cube
  ████████████████████░░░░░░░░░░░░░░░░░░░░░░░░░░░░  00:37 / 01:30
  camera    frames/s   frames  dropped  repeated  waiting
  front         30.0     1110        0         0        3
  wrist   NO PICTURE        0        7         9        0
  saved 2   last save 41 ms   disk 212 GiB free (31 h)   openh264
  → or n: next   ← or r: record again   Esc or q: save and stop";
        assert_eq!(block(&status(), 90, 24).join("\n"), expected);
        let also = |change: fn(&mut Status)| {
            let mut status = status();
            change(&mut status);
            block(&status, 90, 24).join("\n")
        };
        let reset = also(|s| (s.phase, s.discarded, s.failed) = (Phase::Resetting, 1, 2));
        assert!(reset.contains("  reset      episode 4 of 20 is next"), "{reset}");
        assert!(reset.contains("discarded 1   FAILED 2"), "{reset}");
        let held = also(|s| (s.held, s.waiting, s.encoder_switches) = (true, 2, 1));
        assert!(held.contains("  encoding   episode 3 of 20 begins when encoders have caught up"), "{held}");
        assert!(held.contains("to encode 2   encoder replaced 1×"), "{held}");
        let full = also(|s| (s.held, s.room) = (true, Room::None));
        assert!(full.contains("  paused     episode 3 of 20 begins when there is room on the disk"), "{full}");
        assert!(full.contains("disk LOW 212 GiB free"), "{full}");
        let lost = also(|s| {
            s.missing = true;
            s.lost = vec!["camera wrist: unplugged".into()];
            s.failing = vec!["camera wrist".into()];
        });
        assert!(lost.contains("  waiting    episode 3 of 20 begins when all devices are back"), "{lost}");
        assert!(lost.contains("  LOST  camera wrist: unplugged\n  camera wrist keeps being lost: check its"), "{lost}");
        let approaching = also(|s| (s.approaching, s.elapsed_s) = (true, 0.0));
        assert!(
            approaching.contains("  moving     episode 3 of 20 begins when the arm is in its first pose"),
            "{approaching}"
        );
        let playing = also(|s| s.approaching = true);
        assert!(playing.contains("● RECORDING  episode 3"), "{playing}");
        let starting = also(|s| (s.phase, s.elapsed_s, s.left_s) = (Phase::Starting, 0.0, 0.0));
        assert!(
            starting.contains("  starting   opening cameras and arm") && !starting.contains(NO_PICTURE),
            "{starting}"
        );
        let arm = also(|s| s.arm_misses = 4);
        assert!(arm.contains("rows without an answer of the arm in time: 4"), "{arm}");
    }

    #[test]
    fn the_block_fits_the_terminal() {
        let mut status = status();
        status.root = "a\tb\x1b[2J".into();
        for columns in [0, 1, 17, 18, 40, 200] {
            for rows in [0, 1, 2, 5, 8, 50] {
                let lines = block(&status, columns, rows);
                assert!(lines.len() <= rows.saturating_sub(1));
                assert!(lines.iter().all(|l| l.chars().count() <= columns && !l.contains('\x1b')), "{lines:?}");
            }
        }
    }

    #[test]
    fn the_line_for_logs_is_one_line() {
        let line = line(&status());
        assert!(!line.contains('\n') && line.contains("episode 3 of 20") && line.contains("7 dropped"), "{line}");
    }
}
