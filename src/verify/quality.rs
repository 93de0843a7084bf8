//! What a person should know of an episode that is whole: warnings with numbers. Pure.

use super::info::{Facts, Kind};
use super::report::Report;
use super::rules::{self, Rule};
use super::sidecar::{Sidecar, milliseconds};
use crate::dataset::stats::FeatureStats;
use crate::frame::DropReason;

/// Colours, of 1: all pictures of an episode together.
const BLACK: f64 = 0.03;
const WHITE: f64 = 0.97;
/// Spread of colours below which there is nothing to see.
const PLAIN: f64 = 0.005;
/// A picture that stays so long, in seconds, is frozen.
pub const FROZEN_S: f64 = 2.0;
/// Of a camera's rows.
const LATE: f64 = 0.25;
/// Of the rate.
const RATE: f64 = 0.02;
/// Of all rows.
const REUSED: f64 = 0.05;
/// Below this share of the median an episode is short; with fewer episodes there is nothing to compare with.
const SHORT: f64 = 0.25;
const SHORT_FROM: usize = 4;

/// Cameras that show nothing, by the episode's statistics.
pub fn colours(episode: u64, key: &str, stats: &FeatureStats, place: &str, report: &mut Report) {
    let (mean, std) = (stats.mean.iter().copied().fold(0.0, f64::max), stats.std.iter().copied().fold(0.0, f64::max));
    let darkest = stats.mean.iter().copied().fold(1.0, f64::min);
    let found: Option<(&Rule, &'static str)> = if mean < BLACK {
        Some((&rules::BLACK, "black"))
    } else if darkest > WHITE {
        Some((&rules::WHITE, "white"))
    } else if std < PLAIN {
        Some((&rules::PLAIN, "plain"))
    } else {
        None
    };
    if let Some((rule, state)) = found {
        let found = format!("colours of mean {mean:.3} and deviation {std:.3}, of 1");
        report.add(rule, Some(episode), format!("{place} stats/{key}"), "pictures", found);
        report.mark(episode, key, state);
    }
}

/// A vector that stays the same from the first row to the last.
pub fn motion(episode: u64, length: u64, facts: &Facts, stats: &[(usize, FeatureStats)], place: &str, report: &mut Report) {
    if (length as f64) < FROZEN_S * f64::from(facts.fps) {
        return;
    }
    for (at, stats) in stats {
        let feature = &facts.features[*at];
        let measured = matches!(feature.kind, Kind::Numbers(_)) && (feature.key == "action" || feature.key.starts_with("observation."));
        if measured && stats.min == stats.max {
            let seconds = length as f64 / f64::from(facts.fps);
            let found = format!("the same in all {length} rows, {seconds:.1} s");
            report.add(&rules::MOTIONLESS, Some(episode), format!("{place} {}", feature.key), "values that change", found);
        }
    }
}

/// What the recorder's account of an episode says.
pub fn account(episode: u64, length: u64, facts: &Facts, sidecar: &Sidecar, place: &str, report: &mut Report) {
    let fps = f64::from(facts.fps);
    let period_ns = 1e9 / fps;
    let number = Some(episode);
    let key = |name: &str| {
        let camera = |key: &str| key == name || key.strip_prefix("observation.images.") == Some(name);
        facts.videos().map(|(key, _)| key).find(|key| camera(key)).unwrap_or_default().to_owned()
    };
    if let Some(summary) = &sidecar.summary {
        let rate = summary.achieved_fps;
        if length as f64 > fps && (rate / fps - 1.0).abs() > RATE {
            report.add(&rules::RATE, number, place, format!("{fps} rows a second"), format!("{rate:.2}"));
        }
        if summary.tick_jitter_ns.p99 as f64 > period_ns / 2.0 {
            let found = milliseconds(&summary.tick_jitter_ns);
            report.add(&rules::JITTER, number, place, format!("ticks at most {:.1} ms late", period_ns / 2e6), found);
        }
        for (name, camera) in &summary.cameras {
            let place = format!("{place} camera {name}");
            let interval = &camera.interval_ns;
            let usual = (interval.p50 as f64).max(period_ns);
            if interval.p99 as f64 > 2.5 * usual {
                let expected = format!("a picture every {:.1} ms", usual / 1e6);
                report.add(&rules::INTERVAL, number, &place, expected, milliseconds(interval));
            }
            if camera.skew_ns.p99 as f64 > 2.0 * usual {
                let expected = format!("pictures within {:.1} ms of each other", 2.0 * usual / 1e6);
                report.add(&rules::SKEW, number, &place, expected, milliseconds(&camera.skew_ns));
            }
            let counters = &camera.counters;
            for switch in &counters.encoder_switches {
                let found = format!("{} from frame {} on, after {}: {}", switch.to, switch.frame, switch.from, switch.reason);
                report.add(&rules::ENCODER_SWITCH, number, &place, "one encoder", found);
            }
            // A camera that is faster than the data set has pictures that no row needs.
            let mut lost: Vec<String> = counters
                .dropped
                .iter()
                .filter(|(reason, n)| **reason != DropReason::Superseded && **n > 0)
                .map(|(reason, n)| format!("{n} {}", reason.name()))
                .collect();
            if counters.sequence_gaps > 0 {
                lost.push(format!("{} lost before capture", counters.sequence_gaps));
            }
            if !lost.is_empty() {
                let found = format!("{} of {} dropped", lost.join(", "), counters.captured);
                report.add(&rules::DROPS, number, &place, "every picture in the video", found);
                report.mark(episode, &key(name), "drops");
            }
        }
    }
    let Some(rows) = &sidecar.rows else { return };
    for (key, (longest, from, late)) in &rows.cameras {
        let seconds = *longest as f64 / fps;
        let place = format!("recorder/rows, {key}");
        if seconds >= FROZEN_S {
            let found = format!("one picture for {seconds:.1} s from row {from} on");
            report.add(&rules::FROZEN, number, &place, "new pictures", found);
            report.mark(episode, key, "frozen");
        } else if *late as f64 > LATE * length as f64 {
            report.add(&rules::LATE, number, &place, "pictures of their tick", format!("{late} of {length} rows late"));
            report.mark(episode, key, "late");
        }
    }
    if let Some((state, action)) = rows.reused
        && state.max(action) as f64 > REUSED * length as f64
    {
        let found = format!("the state of the row before in {state}, the action in {action} of {length} rows");
        report.add(&rules::ARM_REUSED, number, "recorder/rows, arm", "a sample in each row", found);
    }
}

/// Episodes that are much shorter than the others.
pub fn short(lengths: &[u64], fps: u32, report: &mut Report) {
    let mut sorted = lengths.to_vec();
    sorted.sort_unstable();
    let Some(&median) = sorted.get(sorted.len() / 2).filter(|_| sorted.len() >= SHORT_FROM) else { return };
    for (episode, &length) in (0u64..).zip(lengths) {
        if (length as f64) < SHORT * median as f64 {
            let seconds = |rows: u64| rows as f64 / f64::from(fps);
            let expected = format!("about {:.1} s, as the others", seconds(median));
            let found = format!("{:.1} s, {length} rows", seconds(length));
            report.add(&rules::SHORT, Some(episode), format!("episode {episode}"), expected, found);
        }
    }
}
