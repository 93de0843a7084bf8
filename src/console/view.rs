//! The status in words. Pure: a status in, lines out.

use crate::status::{Phase, Status};

/// The live block of the terminal, at most `width` characters a line.
pub fn block(status: &Status, width: usize) -> Vec<String> {
    let mut lines = vec![headline(status), bar(status, width.clamp(20, 100))];
    for camera in &status.cameras {
        let state = if camera.alive { "" } else { "   NO PICTURE" };
        lines.push(format!(
            "  {:<12} {:>5.1} fps   {:>6} frames   {} dropped   {} repeated   queue {}{state}",
            camera.name, camera.rate, camera.captured, camera.dropped, camera.repeated, camera.queue
        ));
    }
    if status.arm_misses > 0 {
        lines.push(format!("  arm          did not answer in time in {} rows", status.arm_misses));
    }
    lines.push(footline(status));
    lines.push("  → or n: next   ← or r: record again   Esc or q: stop".into());
    lines.into_iter().map(|line| line.chars().take(width).collect()).collect()
}

/// One line, for where there is no terminal.
pub fn line(status: &Status) -> String {
    let cameras: Vec<String> = status
        .cameras
        .iter()
        .map(|c| format!("{} {:.1} fps {} dropped queue {}", c.name, c.rate, c.dropped, c.queue))
        .collect();
    format!(
        "{} episode {} of {}, {} of {}; {}; disk {}",
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
    format!(" recorder   {}   episode {} of {}   {}", status.root, status.episode, status.episodes, phase(status.phase))
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Starting => "starting",
        Phase::Recording => "RECORDING",
        Phase::Resetting => "reset",
        Phase::Finishing => "saving",
        Phase::Done => "done",
    }
}

fn bar(status: &Status, width: usize) -> String {
    let total = status.elapsed_s + status.left_s;
    let share = if total > 0.0 { (status.elapsed_s / total).clamp(0.0, 1.0) } else { 0.0 };
    let cells = width.saturating_sub(20);
    let full = (share * cells as f64).round() as usize;
    format!("  {}{}  {} / {}", "█".repeat(full), "░".repeat(cells - full), clock(status.elapsed_s), clock(total))
}

fn footline(status: &Status) -> String {
    let mut parts = vec![format!("encoder {}", status.encoder), format!("disk {}", disk(status))];
    parts.push(format!("saved {}", status.saved));
    if status.discarded > 0 {
        parts.push(format!("discarded {}", status.discarded));
    }
    if status.failed > 0 {
        parts.push(format!("FAILED {}", status.failed));
    }
    if let Some(seconds) = status.last_save_s {
        parts.push(format!("last save {:.0} ms", seconds * 1e3));
    }
    format!("  {}", parts.join("   "))
}

fn disk(status: &Status) -> String {
    let free = format!("{:.0} GiB free", status.disk_free_bytes as f64 / (1u64 << 30) as f64);
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
        let text = block(&status(), 90).join("\n");
        for part in [
            "data/pick-cube",
            "episode 3 of 20",
            "RECORDING",
            "00:37 / 01:30",
            "30.0 fps     1110 frames   0 dropped",
            "7 dropped   9 repeated   queue 0   NO PICTURE",
            "openh264",
            "212 GiB free (31 h)",
            "saved 2",
            "last save 41 ms",
            "record again",
        ] {
            assert!(text.contains(part), "`{part}` is not in:\n{text}");
        }
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in [1, 20, 40, 200] {
            assert!(block(&status(), width).iter().all(|l| l.chars().count() <= width));
        }
    }

    #[test]
    fn the_line_for_logs_is_one_line() {
        let line = line(&status());
        assert!(!line.contains('\n') && line.contains("episode 3 of 20") && line.contains("7 dropped"), "{line}");
    }
}
