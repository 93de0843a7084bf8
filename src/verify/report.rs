//! What was found: bounded, in words and as JSON.

use super::rules::{Rule, Severity};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// Findings kept of each rule; the rest is counted.
const KEPT: u64 = 50;
/// Places named of each rule in words.
const PLACES: usize = 5;
/// Lines of episodes in words; with more episodes than that only those with findings have one.
const LINES: usize = 200;
/// Characters of what a file says that are repeated.
const LONGEST: usize = 200;

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    pub severity: Severity,
    /// The rule's name.
    pub rule: &'static str,
    /// The first episode concerned.
    pub episode: Option<u64>,
    /// A file from the data set's root, with what it is about.
    pub place: String,
    pub expected: String,
    pub found: String,
    pub remedy: &'static str,
}

/// How often a rule is broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Count {
    pub rule: &'static str,
    pub severity: Severity,
    pub count: u64,
}

/// One episode in short.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct EpisodeReport {
    pub episode: u64,
    /// Rows.
    pub length: u64,
    pub seconds: f64,
    /// Of each camera `ok`, or what is wrong with it.
    pub cameras: BTreeMap<String, &'static str>,
    pub faults: u64,
    pub warnings: u64,
    /// The first fault, else the first warning.
    pub worst: Option<String>,
}

/// The whole answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    pub root: String,
    /// Every byte was read and every frame decoded, but for what the notes say.
    pub deep: bool,
    /// Episodes that were looked at.
    pub episodes: u64,
    /// Their rows.
    pub frames: u64,
    /// In the order in which they were found; of each rule the first 50.
    pub findings: Vec<Finding>,
    /// By rule: also those that are not in `findings`.
    pub counts: Vec<Count>,
    /// What is no finding: work in progress, and what could not be checked.
    pub notes: Vec<String>,
    pub per_episode: Vec<EpisodeReport>,
}

impl Report {
    pub(super) fn new(root: &Path, deep: bool) -> Report {
        Report { root: root.display().to_string(), deep, ..Report::default() }
    }

    /// What is wrong; empty for a data set that is as it should be. Of each rule the first 50.
    pub fn faults(&self) -> Vec<&Finding> {
        self.of(Severity::Fault).collect()
    }

    /// What somebody should look at. Of each rule the first 50.
    pub fn warnings(&self) -> Vec<&Finding> {
        self.of(Severity::Warning).collect()
    }

    fn of(&self, severity: Severity) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.severity == severity)
    }

    /// The program's exit code.
    pub fn exit_code(&self) -> u8 {
        u8::from(self.of(Severity::Fault).next().is_some())
    }

    pub(super) fn add(
        &mut self,
        rule: &Rule,
        episode: Option<u64>,
        place: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) {
        let Rule { name, severity, remedy } = *rule;
        let (place, expected, found) = (short(place.into()), short(expected.into()), short(found.into()));
        let line = episode.and_then(|n| usize::try_from(n).ok()).and_then(|n| self.per_episode.get_mut(n));
        if let Some(line) = line {
            let first = match severity {
                Severity::Fault => line.faults == 0,
                Severity::Warning => line.faults + line.warnings == 0,
            };
            match severity {
                Severity::Fault => line.faults += 1,
                Severity::Warning => line.warnings += 1,
            }
            if first {
                line.worst = Some(format!("{name}: {found}"));
            }
        }
        let count = match self.counts.iter_mut().position(|count| count.rule == name) {
            Some(known) => &mut self.counts[known],
            None => {
                self.counts.push(Count { rule: name, severity, count: 0 });
                let last = self.counts.len() - 1;
                &mut self.counts[last]
            }
        };
        count.count += 1;
        if count.count <= KEPT {
            self.findings.push(Finding { severity, rule: name, episode, place, expected, found, remedy });
        }
    }

    /// Lets an episode's line say what is wrong with a camera; the first that is said stays.
    pub(super) fn mark(&mut self, episode: u64, camera: &str, state: &'static str) {
        let line = usize::try_from(episode).ok().and_then(|n| self.per_episode.get_mut(n));
        if let Some(line) = line
            && let Some(known) = line.cameras.get_mut(camera)
            && *known == OK
        {
            *known = state;
        }
    }

    fn sum(&self, severity: Severity) -> u64 {
        self.counts.iter().filter(|count| count.severity == severity).map(|count| count.count).sum()
    }

    /// For a person.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let all = self.per_episode.len() <= LINES;
        let lines = self.per_episode.iter().filter(|line| all || line.worst.is_some());
        for line in lines.clone().take(LINES) {
            let _ = writeln!(text, "{}", line.text());
        }
        let shown = lines.count().min(LINES);
        if shown < self.per_episode.len() {
            let rest = &self.per_episode;
            let good = rest.iter().filter(|line| line.worst.is_none()).count();
            let _ = writeln!(text, "({shown} of {} episodes shown; {good} have no finding)", rest.len());
        }
        for severity in [Severity::Fault, Severity::Warning] {
            for count in self.counts.iter().filter(|count| count.severity == severity) {
                self.group(&mut text, count);
            }
        }
        for note in &self.notes {
            let _ = writeln!(text, "\nnote: {note}");
        }
        let plural = |n: u64, one: &str| if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") };
        let (faults, warnings) = (self.sum(Severity::Fault), self.sum(Severity::Warning));
        let how = if self.deep { "every byte read" } else { "videos not decoded: --deep does" };
        let _ = writeln!(
            text,
            "\n{}: {}, {}; {}, {} ({how})",
            self.root,
            plural(self.episodes, "episode"),
            plural(self.frames, "row"),
            plural(faults, "fault"),
            plural(warnings, "warning"),
        );
        text
    }

    /// All findings of a rule, once.
    fn group(&self, text: &mut String, count: &Count) {
        let mut findings = self.findings.iter().filter(|finding| finding.rule == count.rule);
        let Some(first) = findings.next() else { return };
        let (word, times) = match count.severity {
            Severity::Fault => ("FAULT", count.count),
            Severity::Warning => ("warning", count.count),
        };
        let _ = write!(text, "\n{word}  {}", count.rule);
        let _ = if times > 1 { writeln!(text, "  × {times}") } else { writeln!(text) };
        let alike = |a: &Finding, b: &Finding| a.expected == b.expected;
        let one_expectation = findings.clone().all(|other| alike(first, other));
        if one_expectation {
            let _ = writeln!(text, "  expected {}", first.expected);
        }
        for finding in std::iter::once(first).chain(findings).take(PLACES) {
            let episode = finding.episode.map_or(String::new(), |n| format!("episode {n}, "));
            let expected = if one_expectation { String::new() } else { format!("expected {}, ", finding.expected) };
            let _ = writeln!(text, "  {episode}{}: {expected}found {}", finding.place, finding.found);
        }
        if times > PLACES as u64 {
            let _ = writeln!(text, "  … and {} more", times - PLACES as u64);
        }
        let _ = writeln!(text, "  → {}", first.remedy);
    }
}

/// The state of a camera without a finding.
pub const OK: &str = "ok";

impl EpisodeReport {
    fn text(&self) -> String {
        let EpisodeReport { episode, length, seconds, cameras, worst, .. } = self;
        let mut text = format!("episode {episode:>5}  {length:>6} rows  {seconds:>7.1} s");
        for (key, state) in cameras {
            let name = key.strip_prefix("observation.images.").unwrap_or(key);
            let _ = write!(text, "  {name} {state}");
        }
        if let Some(worst) = worst {
            let word = if self.faults > 0 { "FAULT" } else { "warning" };
            let _ = write!(text, "  {word} {worst}");
        }
        text
    }
}

/// What a file says may be long.
fn short(mut text: String) -> String {
    if let Some((at, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(at);
        text.push('…');
    }
    // A line stays a line, on any terminal.
    if text.contains(char::is_control) {
        text = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    }
    text
}
