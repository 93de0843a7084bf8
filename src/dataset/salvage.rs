//! What can be read of a take that a crash interrupted. Changes nothing.

use super::EncoderSwitch;
use super::error::DatasetError;
use super::journal::{FragmentRecord, Journal};
use super::layout;
use super::recovery::{Fate, RecoveredTake};
use super::rows::Row;
use super::spec::DatasetSpec;
use super::summary::{EpisodeCounters, Recovered};
use crate::account::{CameraAccount, TakeReport};
use crate::clock::Stamp;
use crate::config::schema::OnCrash;
use crate::spill::Spill;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

type Result<T> = std::result::Result<T, DatasetError>;

/// Why a device was away: the journal knows that it was, not the reason.
const GAP: &str = "not known: the take was interrupted";

/// Where the pictures of a take are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pictures {
    Videos,
    Frames,
}

/// An unfinished take, as far as it can be read.
pub struct Salvage {
    pub journal: Journal,
    /// Rows that can be kept.
    pub rows: u64,
    pictures: Pictures,
    /// What ends them, where more is known to have been recorded.
    reason: Option<String>,
}

/// What is to become of an unfinished take.
pub enum Decision {
    Save,
    Wait,
    Remove(Fate),
    SetAside(String),
}

impl Salvage {
    /// Reads an unfinished take, all of it; else says what cannot be read.
    pub fn survey(dir: &Path) -> Result<std::result::Result<Salvage, String>> {
        let journal = match Journal::read(&dir.join(layout::JOURNAL))? {
            Some(Ok(journal)) => journal,
            Some(Err(damage)) => return Ok(Err(format!("its {} cannot be read: {damage}", layout::JOURNAL))),
            None => return Ok(Err(format!("it has no {}", layout::JOURNAL))),
        };
        let spec = journal.head.info.spec();
        let keys: Vec<String> = journal.head.cameras.iter().map(|camera| camera.key.clone()).collect();
        if let Err(error) = spec.validate() {
            return Ok(Err(format!("its {} describes no data set: {error}", layout::JOURNAL)));
        }
        if keys.len() != spec.cameras.len() || !spec.cameras.iter().all(|camera| keys.contains(&camera.key)) {
            return Ok(Err(format!("the head of its {} names other cameras than features", layout::JOURNAL)));
        }
        let good = journal.rows.iter().zip(0..).take_while(|((row, _), number)| row.check(*number, &spec).is_ok());
        let rows = good.count() as u64;
        let bad = (rows < journal.rows.len() as u64).then(|| format!("row {rows} is none that can be recorded"));
        let ends = |each: Vec<(u64, String)>| each.into_iter().min_by_key(|(frames, _)| *frames);
        let videos = keys.iter().zip(&journal.fragments).map(|(key, fragments)| video(dir, key, fragments));
        let videos = ends(videos.collect());
        let kept = keys.iter().all(|key| dir.join(layout::frames(key)).is_file()) && !keys.is_empty();
        let frames = if kept { ends(keys.iter().map(|key| frames(dir, key)).collect()) } else { None };
        let reach = |end: &Option<(u64, String)>| end.as_ref().map_or(rows, |(frames, _)| rows.min(*frames));
        let further = frames.is_some() && reach(&frames) > reach(&videos);
        let (pictures, end) = if further { (Pictures::Frames, frames) } else { (Pictures::Videos, videos) };
        let kept = reach(&end);
        let mut reasons: Vec<String> = end.filter(|_| kept < rows).map(|(_, reason)| reason).into_iter().collect();
        reasons.extend(bad);
        reasons.extend(journal.damage.as_ref().map(|damage| format!("its {} is damaged: {damage}", layout::JOURNAL)));
        let reason = (!reasons.is_empty()).then(|| reasons.join(", "));
        Ok(Ok(Salvage { journal, rows: kept, pictures, reason }))
    }

    /// Rows that are known to have been recorded.
    fn recorded(&self) -> u64 {
        self.journal.rows.len() as u64
    }

    /// What is to become of it in a data set of `spec`. `damage` is why it cannot wait, as it was to.
    pub fn decide(&self, spec: &DatasetSpec, on_crash: OnCrash, damage: Option<&str>) -> Decision {
        let head = &self.journal.head;
        let differences = head.info.differences(spec);
        if let Some(first) = differences.first() {
            let (what, found, expected) = (&first.what, &first.found, &first.expected);
            return Decision::SetAside(format!(
                "it was recorded with another set-up: {what} (expected {expected}, found {found})"
            ));
        }
        // One that has ended was to be kept.
        if on_crash == OnCrash::Discard && self.journal.report.is_none() && damage.is_none() {
            return Decision::Remove(Fate::Discarded);
        }
        let is_short = self.recorded() <= u64::from(head.info.fps) && self.journal.damage.is_none();
        match self.pictures {
            _ if self.rows == 0 && is_short && damage.is_none() => Decision::Remove(Fate::Nothing),
            _ if self.rows == 0 => {
                let reasons = [damage, self.reason.as_deref()].map(|reason| reason.map(str::to_owned));
                Decision::SetAside(reasons.into_iter().flatten().collect::<Vec<_>>().join("; "))
            }
            Pictures::Videos => Decision::Save,
            Pictures::Frames => Decision::Wait,
        }
    }

    /// For the report of a recovery.
    pub fn told(&self, fate: Fate) -> RecoveredTake {
        let fps = f64::from(self.journal.head.info.fps.max(1));
        let rows = if fate == Fate::Nothing { 0 } else { self.rows };
        let rows_lost = self.recorded() - rows;
        RecoveredTake {
            take: self.journal.head.take,
            rows,
            seconds: rows as f64 / fps,
            rows_lost,
            seconds_lost: rows_lost as f64 / fps,
            reason: self.reason.clone(),
            ended: self.journal.report.is_some(),
            fate,
        }
    }

    /// For the episode's summary.
    pub fn recovered(&self) -> Recovered {
        let RecoveredTake { rows_lost, seconds_lost, reason, ended, .. } = self.told(Fate::Waiting);
        let at = if ended { "before the take was saved" } else { "before the take had ended" };
        let reason = reason.map(|reason| format!("; {reason}")).unwrap_or_default();
        Recovered { rows_lost, seconds_lost, reason: format!("the recorder was interrupted {at}{reason}") }
    }

    /// The take's account up to its last row that is kept.
    pub fn report(&self) -> TakeReport {
        let Journal { head, rows, report, .. } = &self.journal;
        if let Some(report) = report.as_ref().filter(|report| report.rows == self.rows) {
            return report.clone();
        }
        let cameras = vec![CameraAccount::default(); head.cameras.len()];
        let started = rows.first().map(|(row, _)| row.tick).unwrap_or_default();
        let mut report = TakeReport { take: head.take, started, cameras, rows: self.rows, ..TakeReport::default() };
        for (index, (row, losses)) in (0..).zip(&rows[..self.rows as usize]) {
            for (camera, (account, frame)) in report.cameras.iter_mut().zip(&row.cameras).enumerate() {
                let dropped = losses.dropped.iter().filter(|(c, _)| *c == camera).map(|(_, reason)| *reason);
                account.add(frame.repeated, &dropped.collect::<Vec<_>>());
                if frame.lost {
                    account.gaps.add(index, GAP);
                }
            }
            if row.arm.as_ref().is_some_and(|arm| arm.lost) {
                report.arm_gaps.add(index, GAP);
            }
            for (camera, lost) in &losses.before_capture {
                let account = &mut report.cameras[*camera];
                account.lost_before_capture = account.lost_before_capture.saturating_add(*lost);
            }
            report.arm_misses += u64::from(row.arm.as_ref().is_some_and(|arm| arm.state_reused || arm.action_reused));
            losses.arm_errors.iter().for_each(|kind| *report.arm_errors.entry(kind.clone()).or_default() += 1);
            let late = |ns: u64| ns.saturating_add(row.late_ns);
            report.ended = Stamp { mono_ns: late(row.tick.mono_ns), utc_ns: late(row.tick.utc_ns) };
        }
        report
    }

    /// Where each camera of `spec` stands in the journal.
    pub fn places(&self, spec: &DatasetSpec) -> Vec<usize> {
        let place = |key: &str| self.journal.head.cameras.iter().position(|camera| camera.key == key);
        spec.cameras.iter().filter_map(|camera| place(&camera.key)).collect()
    }

    /// The rows that are kept, with the cameras in the order of `places`.
    pub fn rows(&self, places: &[usize]) -> Vec<Row> {
        let ordered = |row: &Row| Row { cameras: places.iter().map(|&i| row.cameras[i]).collect(), ..row.clone() };
        self.journal.rows[..self.rows as usize].iter().map(|(row, _)| ordered(row)).collect()
    }

    /// What was counted, by the names of `spec`.
    pub fn counters(&self, spec: &DatasetSpec, places: &[usize]) -> EpisodeCounters {
        let Journal { rows, fragments, encoders, switches, .. } = &self.journal;
        let report = self.report();
        let substituted = fragments.iter().enumerate().flat_map(|(camera, fragments)| {
            let all = fragments.iter().flat_map(|fragment| &fragment.substituted);
            // A frame that is shown twice is dropped once.
            let own = move |row: u64| row < self.rows && !rows[row as usize].0.cameras[camera].repeated;
            all.filter(move |(row, _)| own(*row)).map(move |(_, reason)| (camera, *reason))
        });
        let substituted: Vec<_> = substituted.collect();
        let stored = |fragments: &Vec<FragmentRecord>| {
            fragments.iter().flat_map(|fragment| &fragment.stored).filter(|row| **row < self.rows).count() as u64
        };
        let stored: Vec<u64> = fragments.iter().map(stored).collect();
        let name = |i: usize| {
            let camera = places.iter().position(|&place| place == i).map(|camera| &spec.cameras[camera]);
            camera.map(|camera| camera.name.clone()).unwrap_or_default()
        };
        let names: Vec<String> = (0..fragments.len()).map(name).collect();
        let before = |(_, switch): &&(usize, EncoderSwitch)| switch.frame < self.rows;
        let switches: Vec<_> = switches.iter().filter(before).cloned().collect();
        EpisodeCounters::of(&names, &report, &substituted, &stored, encoders, &switches)
    }
}

/// Frames of a camera's video that are whole, and what comes behind them, in words.
fn video(dir: &Path, key: &str, fragments: &[FragmentRecord]) -> (u64, String) {
    let mut end = 0;
    let path = dir.join(layout::video(key));
    let whole = File::open(&path)
        .map_err(|error| error.to_string())
        .and_then(|file| fragments.iter().try_for_each(|fragment| read(&file, fragment).map(|_| end = fragment.end())));
    let reason = match whole {
        Ok(()) => format!("the video of {key} had come to frame {end} only"),
        Err(reason) => format!("the video of {key} is damaged from frame {end} on: {reason}"),
    };
    (end, reason)
}

/// Frames of a camera that wait and are whole, and what comes behind them, in words.
fn frames(dir: &Path, key: &str) -> (u64, String) {
    match Spill::reopen(dir.join(layout::frames(key))) {
        Ok((spill, Some(cut))) => (spill.rows(), cut.to_string()),
        Ok((spill, None)) => (spill.rows(), format!("{} frames of {key} had been kept", spill.rows())),
        Err(error) => (0, error.to_string()),
    }
}

/// The bytes of a fragment's frames, held against its checksum.
pub fn read(file: &File, fragment: &FragmentRecord) -> std::result::Result<Vec<u8>, String> {
    let (offset, bytes) = (fragment.offset, fragment.bytes());
    let length = file.metadata().map_err(|error| error.to_string())?.len();
    if offset.checked_add(bytes).is_none_or(|end| end > length) {
        return Err(format!("{bytes} bytes from byte {offset} on expected, the file has {length}"));
    }
    let mut data = vec![0; bytes as usize];
    file.read_exact_at(&mut data, offset).map_err(|error| error.to_string())?;
    if crc32fast::hash(&data) != fragment.crc32 {
        return Err(format!("the checksum of the {bytes} bytes from byte {offset} on is not theirs"));
    }
    Ok(data)
}
