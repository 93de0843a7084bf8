//! The alerts, the recording rules and the page of metrics, before Prometheus' own tool and against each other.

mod prometheus_support;
mod run_support;

use recorder::metrics::{self, Kind, Metric};
use run_support::*;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn path(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(file: &str) -> String {
    std::fs::read_to_string(path(file)).unwrap()
}

/// Runs promtool in `grafana/`; it has nothing to say against what it is given.
fn promtool(arguments: &[&str], input: &str) {
    let mut promtool = Command::new(prometheus_support::tool("promtool"))
        .args(arguments)
        .current_dir(path("grafana"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {arguments:?}:\n{said}");
}

#[test]
fn the_configuration_and_its_rules_are_valid() {
    promtool(&["check", "config", "prometheus.yml"], "");
    promtool(&["check", "rules", "rules.yml", "alerts.yml"], "");
}

#[test]
fn alerts_fire_on_their_cause_and_keep_silent_without() {
    promtool(&["test", "rules", "alerts_test.yml", "alerts_day_test.yml"], "");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_a_run_follows_the_conventions() {
    let handle = metrics::install().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let status = record(&config(SMALL, &dir.path().join("set"), &[]), simulated(), tampered(|_| Ok(()))).await;
    assert_eq!(status.saved, 2);
    let page = metrics::render(handle, Default::default());
    promtool(&["check", "metrics"], &page);
    let rules = text("grafana/rules.yml") + &text("grafana/alerts.yml");
    for (name, _) in words(&rules, "process_") {
        assert!(page.contains(&format!("\n{name} ")), "{name} is in a rule and not on the page");
    }
}

/// What stands behind `key: ` on any line, in order.
fn values<'a>(yaml: &'a str, key: &str) -> Vec<&'a str> {
    let value = |line: &'a str| line.trim_start().trim_start_matches("- ").strip_prefix(key)?.strip_prefix(": ");
    yaml.lines().filter_map(value).collect()
}

/// The names of all alerts.
fn alerts(yaml: &str) -> BTreeSet<&str> {
    values(yaml, "alert").into_iter().collect()
}

/// Words that begin with `prefix`; for words with more than letters, digits, `_` and `:` in front of it, see what follows.
fn words<'a>(text: &'a str, prefix: &str) -> Vec<(&'a str, &'a str)> {
    let part_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(part_of_name) {
        let word = rest[start..].split(|c| !part_of_name(c)).next().unwrap_or_default();
        rest = &rest[start + word.len()..];
        if word.starts_with(prefix) {
            found.push((word, rest));
        }
    }
    found
}

/// The label names of a selector, from behind the metric's name on.
fn labels(behind: &str) -> Vec<&str> {
    let Some(inside) = behind.strip_prefix('{') else { return Vec::new() };
    let inside = inside.split('}').next().unwrap();
    inside.split(", ").map(|matcher| matcher.split(['=', '!']).next().unwrap().trim()).collect()
}

/// The metric that has a series of this name.
fn declared(name: &str) -> Option<&'static Metric> {
    metrics::ALL.iter().find(|metric| {
        let parts: &[&str] = match metric.kind {
            Kind::Histogram(_) => &["_bucket", "_count", "_sum"],
            _ => &[""],
        };
        name.strip_prefix(metric.name).is_some_and(|part| parts.contains(&part))
    })
}

#[test]
fn rules_use_what_there_is() {
    let mut used = 0;
    let rules = text("grafana/rules.yml") + &text("grafana/alerts.yml");
    let recorded: BTreeSet<&str> = values(&rules, "record").into_iter().collect();
    for line in rules.lines().map(str::trim).filter(|line| !line.starts_with('#') && !line.starts_with("- name:")) {
        for (name, behind) in words(line, "recorder_") {
            let metric = declared(name).unwrap_or_else(|| panic!("{name} is no metric of src/metrics.rs: {line}"));
            for label in labels(behind) {
                let known = metric.labels.contains(&label) || ["job", "instance", "le"].contains(&label);
                assert!(known, "{name} has no label {label}: {line}");
            }
            used += 1;
        }
        for (name, _) in words(line, "instance").into_iter().filter(|(name, _)| name.contains(':')) {
            assert!(recorded.contains(name), "{name} is not recorded: {line}");
        }
    }
    assert!(used > 50, "only {used} metrics were found in the rules");
}

#[test]
fn the_tests_of_the_rules_feed_series_as_the_recorder_has_them() {
    let tests = text("grafana/alerts_test.yml");
    let mut fed = BTreeSet::new();
    for line in tests.lines().filter(|line| line.trim_start().starts_with("- {series:")) {
        for (name, behind) in words(line, "recorder_").into_iter().take(1) {
            let metric = declared(name).unwrap_or_else(|| panic!("{name} is no metric of src/metrics.rs: {line}"));
            let mut expected: BTreeSet<&str> = metric.labels.iter().copied().chain(["job", "instance"]).collect();
            expected.extend(name.ends_with("_bucket").then_some("le"));
            assert_eq!(labels(behind).into_iter().collect::<BTreeSet<_>>(), expected, "{line}");
            fed.insert(metric.name);
        }
    }
    let rules = text("grafana/rules.yml") + &text("grafana/alerts.yml");
    for metric in words(&rules, "recorder_").into_iter().filter_map(|(name, _)| declared(name)) {
        assert!(fed.contains(metric.name), "{} is in a rule, and in no test of the rules", metric.name);
    }
    for record in values(&rules, "record") {
        assert!(tests.contains(record), "{record} is in no test of the rules");
    }
}

#[test]
fn every_alert_has_a_case_that_fires_and_one_that_does_not() {
    let (rules, tests) = (text("grafana/alerts.yml"), text("grafana/alerts_test.yml"));
    for alert in alerts(&rules) {
        let cases: Vec<&str> = tests
            .split("\n  - name: ")
            .filter(|case| {
                let title = case.lines().next().unwrap_or_default().split(" - ").next().unwrap_or_default();
                title.split(", ").any(|name| name == alert)
            })
            .collect();
        let fires = format!("alertname=\"{alert}\", alertstate=\"firing\"");
        let is_silent = |line: &str| line.contains("ALERTS") && line.contains("exp_samples: []");
        let is_silent_too =
            |line: &str| line.contains(&format!("alertname: {alert},")) && line.contains("exp_alerts: []");
        let told = format!("alertname: {alert}\n");
        assert!(cases.iter().any(|case| case.contains(&fires) || case.contains(&told)), "{alert} fires in no case");
        let mut lines = cases.iter().flat_map(|case| case.lines());
        assert!(lines.any(|line| is_silent(line) || is_silent_too(line)), "{alert} keeps silent in no case");
    }
}

#[test]
fn every_alert_says_what_it_is_and_what_to_do() {
    let rules = text("grafana/alerts.yml");
    let mut rules = rules.split("- alert: ");
    rules.next();
    for rule in rules {
        let name = rule.lines().next().unwrap();
        for key in ["summary", "description", "remedy"] {
            assert!(rule.contains(&format!("\n          {key}: ")), "{name} has no {key}");
        }
        let severity = rule.contains("labels: {severity: page}") || rule.contains("labels: {severity: warn}");
        assert!(severity, "{name}: expected the severity page or warn");
        assert!(rule.contains("{{ $labels.instance }}"), "{name} does not say which cell");
    }
}

#[test]
fn the_documents_name_the_alerts() {
    let rules = text("grafana/alerts.yml");
    let table = text("docs/alerts.md");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    assert_eq!(rows.collect::<BTreeSet<_>>(), alerts(&rules), "docs/alerts.md and grafana/alerts.yml");
    for document in ["README.md", "grafana/README.md", "docs/metrics.md", "docs/unattended.md"] {
        let Ok(document) = std::fs::read_to_string(path(document)) else { continue };
        for (word, _) in words(&document, "Recorder").into_iter().filter(|(word, _)| *word != "Recorder") {
            assert!(alerts(&rules).contains(word), "{word} is no alert of grafana/alerts.yml");
        }
    }
}
