//! Debian's Prometheus, with the committed configuration, on a fleet of recorders at work: all is well and nothing is said;
//! then something goes wrong in each cell, every alert fires, for its cell and for no other, and every expression of every
//! panel and rule has an answer.

mod fake_driver;
mod fleet;
mod program;
mod prometheus_support;
mod run_support;

use fleet::prometheus::{Prometheus, now};
use fleet::{Cell, Scenario, expressions, inside, outside};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

/// Long enough for the slowest fault, a part that is stuck, on a slow machine.
const PATIENCE: Duration = Duration::from_secs(150);
/// Nothing is pending for so long before the faults come.
const QUIET: Duration = Duration::from_secs(5);

const SCENARIOS: &[Scenario] = &[
    Scenario { name: "healthy", start: outside::healthy, fires: &[], allows: &[] },
    Scenario { name: "healthy on a GPU", start: outside::gpu, fires: &[], allows: &[] },
    Scenario { name: "ended by its operator", start: outside::ended, fires: &[], allows: &[] },
    Scenario { name: "down", start: outside::down, fires: &[("RecorderDown", &[("severity", "page")])], allows: &[] },
    Scenario {
        name: "silent camera",
        start: outside::silent_camera,
        fires: &[("RecorderCameraSilent", &[("camera", "wrist")])],
        allows: &["RecorderCameraSlow"],
    },
    Scenario {
        name: "slow camera",
        start: Cell::inside,
        fires: &[("RecorderCameraSlow", &[("camera", "wrist")])],
        allows: &[],
    },
    Scenario {
        name: "dropped frames",
        start: Cell::inside,
        fires: &[("RecorderFramesDropped", &[("camera", "wrist")])],
        allows: &[],
    },
    // The run ends with it, and so does the program.
    Scenario {
        name: "rows without frames",
        start: outside::rows_without_frames,
        fires: &[("RecorderRowsWithoutFrames", &[("camera", "wrist")]), ("RecorderEpisodeFailed", &[])],
        allows: &["RecorderDown"],
    },
    Scenario {
        name: "failed episode",
        start: outside::failed_episode,
        fires: &[("RecorderEpisodeFailed", &[])],
        allows: &["RecorderDown"],
    },
    Scenario {
        name: "encoder fallback",
        start: Cell::inside,
        fires: &[
            ("RecorderEncoderFallback", &[("camera", "front")]),
            ("RecorderEncoderFallback", &[("camera", "wrist")]),
        ],
        allows: &[],
    },
    // Nothing that is not encoded is saved; several takes that wait hold all of a camera's credits.
    Scenario {
        name: "full queue",
        start: Cell::inside,
        fires: &[
            ("RecorderQueueNearlyFull", &[("camera", "front")]),
            ("RecorderQueueNearlyFull", &[("camera", "wrist")]),
        ],
        allows: &["RecorderNoEpisodeSaved", "RecorderFramesDropped"],
    },
    Scenario { name: "little disk", start: Cell::inside, fires: &[("RecorderDiskLow", &[])], allows: &[] },
    Scenario {
        name: "full disk",
        start: Cell::inside,
        fires: &[("RecorderDiskFull", &[])],
        allows: &["RecorderDiskLow", "RecorderNoEpisodeSaved"],
    },
    // From the fifth time on it is away for seconds.
    Scenario {
        name: "restart loop",
        start: Cell::inside,
        fires: &[("RecorderRestartLoop", &[("device", "camera wrist")])],
        allows: &["RecorderCameraSilent", "RecorderCameraSlow"],
    },
    Scenario {
        name: "silent arm",
        start: outside::silent_arm,
        fires: &[("RecorderArmSilent", &[("device", "the arm")])],
        allows: &[],
    },
    Scenario {
        name: "nothing saved",
        start: outside::nothing_saved,
        fires: &[("RecorderNoEpisodeSaved", &[])],
        allows: &["RecorderArmSilent"],
    },
    Scenario {
        name: "overload",
        start: outside::overload,
        fires: &[("RecorderArmOverload", &[("arm", "follower")])],
        allows: &[],
    },
    Scenario {
        name: "overheat",
        start: outside::overheat,
        fires: &[("RecorderArmOverheated", &[("arm", "follower")])],
        allows: &[],
    },
    Scenario {
        name: "voltage",
        start: outside::voltage,
        fires: &[("RecorderArmVoltage", &[("arm", "follower")])],
        allows: &[],
    },
    Scenario {
        name: "stuck part",
        start: Cell::inside,
        fires: &[("RecorderPartStuck", &[("part", "writer")])],
        allows: &["RecorderNoEpisodeSaved", "RecorderQueueNearlyFull"],
    },
    Scenario {
        name: "never there",
        start: outside::never_there,
        fires: &[("RecorderDown", &[("severity", "warn")])],
        allows: &[],
    },
    Scenario { name: "full log", start: outside::full_log, fires: &[("RecorderLogLinesLost", &[])], allows: &[] },
    Scenario {
        name: "process that dies often",
        start: outside::dies_often,
        fires: &[("RecorderRestartLoop", &[])],
        allows: &[],
    },
];

/// A cell of the fleet with a fault inside: a process of its own, which the fleet's test starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by every_alert_fires_where_its_cause_is"]
async fn cell() {
    inside::run(&std::env::var(inside::NAME).expect("the name of a scenario")).await;
}

#[test]
fn every_alert_fires_where_its_cause_is() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana");
    let program = prometheus_support::tool("prometheus");
    let mut fleet: Vec<(&Scenario, Cell)> = start_all();
    let targets: Vec<String> = fleet.iter().map(|(_, cell)| cell.address.clone()).collect();
    let began = now();
    let prometheus = Prometheus::start(&program, &folder, &targets);
    every_alert_has_a_scenario(&prometheus);

    let names: BTreeMap<String, &Scenario> =
        fleet.iter().map(|(scenario, cell)| (cell.address.clone(), *scenario)).collect();
    let said = |alerts: &[Value]| -> Vec<String> { alerts.iter().map(|alert| told(&names, alert)).collect() };
    prometheus.until(PATIENCE, |prometheus| {
        let saved = prometheus.query("recorder_episodes_total{outcome=\"saved\"} > 0")?.len();
        if saved == SCENARIOS.iter().filter(|scenario| scenario.works()).count() {
            Ok(())
        } else {
            Err(format!("{saved} cells have saved an episode"))
        }
    });
    let mut quiet_since = Instant::now();
    prometheus.until(PATIENCE, |prometheus| {
        let mut alerts = prometheus.alerts();
        alerts.retain(|alert| scenario_of(&names, alert).is_none_or(Scenario::works));
        assert!(alerts.iter().all(|alert| alert["state"] != "firing"), "nothing is wrong yet: {:#?}", said(&alerts));
        if !alerts.is_empty() {
            quiet_since = Instant::now();
        }
        let is_quiet = quiet_since.elapsed() > QUIET;
        if is_quiet { Ok(()) } else { Err(format!("nothing is wrong yet: {:#?}", said(&alerts))) }
    });
    eprintln!("all is well after {:.0} s", now() - began);

    let broken = now();
    fleet.iter_mut().for_each(|(_, cell)| cell.break_it());
    let mut missing: BTreeSet<String> = expected();
    prometheus.until(PATIENCE, |prometheus| {
        let alerts = prometheus.alerts();
        for alert in alerts.iter().filter(|alert| alert["state"] == "firing") {
            let Some(scenario) = scenario_of(&names, alert) else { continue };
            let fires = lines_of(scenario).filter(|(name, labels)| is_of(alert, name, labels));
            for line in fires.map(line_of(scenario)).filter(|line| missing.remove(line)) {
                eprintln!("{:5.1} s: {line}", now() - broken);
            }
        }
        let are_there = || said(&alerts);
        if missing.is_empty() { Ok(()) } else { Err(format!("expected {missing:#?}, there are {:#?}", are_there())) }
    });

    nothing_else_fired(&prometheus, &names, began);
    every_expression_has_an_answer(&prometheus, &folder, &targets, began);
}

/// At the same time: each takes a moment.
fn start_all() -> Vec<(&'static Scenario, Cell)> {
    SCENARIOS.iter().map(|scenario| (scenario, (scenario.start)(scenario))).collect()
}

type Line = (&'static str, &'static [(&'static str, &'static str)]);

fn lines_of(scenario: &Scenario) -> impl Iterator<Item = Line> + use<> {
    scenario.fires.iter().copied()
}

fn line_of(scenario: &Scenario) -> impl Fn(Line) -> String + use<> {
    let cell = scenario.name;
    move |(name, labels)| format!("{cell}: {name} {labels:?}")
}

/// What the faults are to fire, in words.
fn expected() -> BTreeSet<String> {
    SCENARIOS.iter().flat_map(|scenario| lines_of(scenario).map(line_of(scenario))).collect()
}

fn is_of(alert: &Value, name: &str, labels: &[(&str, &str)]) -> bool {
    alert["alertname"] == name && labels.iter().all(|(label, value)| alert[label] == *value)
}

/// An alert's labels, with its cell's name.
fn told(names: &BTreeMap<String, &Scenario>, alert: &Value) -> String {
    format!("{}: {alert}", scenario_of(names, alert).map_or("no cell", |scenario| scenario.name))
}

/// What is wrong where an alert says so.
fn scenario_of<'a>(names: &BTreeMap<String, &'a Scenario>, labels: &Value) -> Option<&'a Scenario> {
    names.get(labels["instance"].as_str()?).copied()
}

/// An alert that is added is provoked here too, and one that is provoked exists.
fn every_alert_has_a_scenario(prometheus: &Prometheus) {
    let rules = prometheus.rules();
    let of = |kind: &str| -> BTreeSet<String> {
        let rules = rules.iter().filter(|rule| rule["type"] == kind);
        rules.map(|rule| rule["name"].as_str().unwrap().to_string()).collect()
    };
    let provoked: BTreeSet<String> = SCENARIOS.iter().flat_map(lines_of).map(|(name, _)| name.to_string()).collect();
    let alerts = of("alerting");
    assert_eq!(&alerts - &provoked, BTreeSet::new(), "alerts of grafana/alerts.yml that no scenario provokes");
    assert_eq!(&provoked - &alerts, BTreeSet::new(), "alerts that are provoked, and that grafana/alerts.yml has not");
    assert!(!of("recording").is_empty());
}

/// Since the beginning no cell has said anything that its fault does not explain.
fn nothing_else_fired(prometheus: &Prometheus, names: &BTreeMap<String, &Scenario>, began: f64) {
    let fired = prometheus.since(began, "ALERTS{alertstate=\"firing\"}").unwrap();
    let explained = |labels: &Value| {
        let Some(scenario) = scenario_of(names, labels) else { return false };
        lines_of(scenario).any(|(name, _)| labels["alertname"] == name && is_about(labels, scenario))
            || scenario.allows.iter().any(|name| labels["alertname"] == *name)
    };
    let others: Vec<String> = fired
        .iter()
        .map(|series| &series["metric"])
        .filter(|labels| !explained(labels))
        .map(|labels| told(names, labels))
        .collect();
    assert!(others.is_empty(), "fired without a cause: {others:#?}");
    // Of the rules that share a name, too.
    let of = |alerts: &[&Value]| -> BTreeSet<String> {
        alerts.iter().map(|labels| format!("{} {}", labels["alertname"], labels["severity"])).collect()
    };
    let rules = prometheus.rules();
    let alerts: Vec<Value> = rules.into_iter().filter(|rule| rule["type"] == "alerting").map(with_name).collect();
    let fired: Vec<&Value> = fired.iter().map(|series| &series["metric"]).collect();
    let silent = &of(&alerts.iter().collect::<Vec<_>>()) - &of(&fired);
    assert_eq!(silent, BTreeSet::new(), "alerts that have not fired");
}

/// The labels of a rule's alerts.
fn with_name(mut rule: Value) -> Value {
    rule["labels"]["alertname"] = rule["name"].take();
    rule["labels"].take()
}

/// A camera of the cell that nothing has happened to is not accused.
fn is_about(labels: &Value, scenario: &Scenario) -> bool {
    let named: Vec<&str> = lines_of(scenario)
        .filter(|(name, _)| labels["alertname"] == *name)
        .flat_map(|(_, labels)| labels)
        .filter(|(label, _)| *label == "camera")
        .map(|(_, camera)| *camera)
        .collect();
    named.is_empty() || labels["camera"].as_str().is_none_or(|camera| named.contains(&camera))
}

/// Executed as they are, over all of the fleet's time.
fn every_expression_has_an_answer(prometheus: &Prometheus, folder: &Path, cells: &[String], began: f64) {
    let mut all = expressions::of_dashboards(&folder.join("dashboards"));
    for rule in prometheus.rules() {
        let name = rule["name"].as_str().unwrap();
        assert_eq!(rule["health"], "ok", "{name}: {}", rule["lastError"]);
        let expression = |text: &str| expressions::Expression { place: format!("rule {name}"), text: text.to_string() };
        all.push(expression(rule["query"].as_str().unwrap()));
        if rule["type"] == "recording" {
            all.push(expression(name));
        }
    }
    let mut problems = Vec::new();
    for expression in &all {
        match expression.count(prometheus, cells, began) {
            Err(error) => problems.push(format!("{}: {}: {error}", expression.place, expression.text)),
            Ok(0) => problems.push(format!("{}: {}: no data", expression.place, expression.text)),
            Ok(_) => {}
        }
    }
    eprintln!("{} expressions", all.len());
    assert!(problems.is_empty(), "{problems:#?}");
}
