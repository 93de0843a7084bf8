//! Debian's Prometheus, with the committed configuration, on a fleet of recorders at work: all is well and nothing is said;
//! then something goes wrong in each cell, every alert fires, for its cell and for no other, and every expression of every
//! panel and rule has an answer.

mod fake_driver;
mod fleet;
mod program;
mod prometheus_support;
mod run_support;

use fleet::prometheus::{Prometheus, now};
use fleet::scenarios::SCENARIOS;
use fleet::{Alert, Cell, Scenario, expressions, inside};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Long enough for the slowest fault, a part that is stuck, on a slow machine.
const PATIENCE: Duration = Duration::from_secs(150);
/// Nothing is pending for so long before the faults come.
const QUIET: Duration = Duration::from_secs(5);
/// Where the machine itself stood still, cameras were silent and frames late, and it is said rightly: then the fleet
/// starts anew, so many times.
const MOST_STARTS: usize = 4;

/// A cell of the fleet with a fault inside: a process of its own, which the fleet's test starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by every_alert_fires_where_its_cause_is"]
async fn cell() {
    inside::run(&std::env::var(inside::NAME).expect("the name of a scenario")).await;
}

#[test]
fn every_alert_fires_where_its_cause_is() {
    for start in 1..=MOST_STARTS {
        let mut fleet = Fleet::start();
        fleet.every_alert_has_a_scenario();
        let surprise = match fleet.is_quiet() {
            Ok(()) => {
                fleet.every_fault_is_told();
                fleet.nothing_else_is_told()
            }
            surprise => surprise,
        };
        match surprise {
            Ok(()) => return fleet.every_expression_has_an_answer(),
            Err(told) if start < MOST_STARTS && fleet.late_ticks() > 0.0 => {
                eprintln!("the machine did not keep up, the fleet starts anew: {told:#?}");
            }
            Err(told) => panic!("fired without a cause: {told:#?}"),
        }
    }
}

struct Fleet {
    cells: Vec<(&'static Scenario, Cell)>,
    prometheus: Prometheus,
    folder: PathBuf,
    began: f64,
}

impl Fleet {
    fn start() -> Fleet {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana");
        let program = prometheus_support::tool("prometheus");
        let cells: Vec<_> = SCENARIOS.iter().map(|scenario| (scenario, (scenario.start)(scenario))).collect();
        let targets: Vec<String> = cells.iter().map(|(_, cell)| cell.address.clone()).collect();
        let prometheus = Prometheus::start(&program, &folder, &targets);
        Fleet { cells, prometheus, folder, began: now() }
    }

    /// An alert that is added is provoked here too, and one that is provoked exists.
    fn every_alert_has_a_scenario(&self) {
        let rules = self.prometheus.rules();
        let alerts = rules.iter().filter(|rule| rule["type"] == "alerting");
        let alerts: BTreeSet<&str> = alerts.map(|rule| rule["name"].as_str().unwrap()).collect();
        let provoked = SCENARIOS.iter().flat_map(|scenario| scenario.fires).map(|(name, _)| *name).collect();
        assert_eq!(&alerts - &provoked, BTreeSet::new(), "alerts of grafana/alerts.yml that no scenario provokes");
        assert_eq!(
            &provoked - &alerts,
            BTreeSet::new(),
            "alerts that are provoked, and that grafana/alerts.yml has not"
        );
    }

    /// Waits until every cell has saved an episode and nothing is pending; what has fired until then.
    fn is_quiet(&self) -> Result<(), Vec<String>> {
        let working = SCENARIOS.iter().filter(|scenario| scenario.works()).count();
        self.prometheus.until(PATIENCE, |prometheus| {
            let saved = prometheus.query("recorder_episodes_total{outcome=\"saved\"} > 0")?.len();
            if saved == working { Ok(()) } else { Err(format!("{saved} cells of {working} have saved an episode")) }
        });
        let mut quiet_since = Instant::now();
        let mut fired = Vec::new();
        self.prometheus.until(PATIENCE, |prometheus| {
            let mut alerts = prometheus.alerts();
            alerts.retain(|alert| self.scenario_of(alert).is_none_or(Scenario::works));
            fired = alerts.iter().filter(|alert| alert["state"] == "firing").map(|alert| self.words(alert)).collect();
            if !alerts.is_empty() {
                quiet_since = Instant::now();
            }
            let done = !fired.is_empty() || quiet_since.elapsed() > QUIET;
            let pending = || alerts.iter().map(|alert| self.words(alert)).collect::<Vec<_>>();
            if done { Ok(()) } else { Err(format!("nothing is wrong yet: {:#?}", pending())) }
        });
        eprintln!("{:5.1} s: all is well, or not", now() - self.began);
        if fired.is_empty() { Ok(()) } else { Err(fired) }
    }

    /// Brings the faults on, and waits until each has fired what it is to.
    fn every_fault_is_told(&mut self) {
        let broken = now();
        self.cells.iter_mut().for_each(|(_, cell)| cell.break_it());
        let line = |scenario: &Scenario, alert: &Alert| format!("{}: {alert:?}", scenario.name);
        let lines = |scenario: &'static Scenario| scenario.fires.iter().map(move |alert| line(scenario, alert));
        let mut missing: BTreeSet<String> = SCENARIOS.iter().flat_map(lines).collect();
        self.prometheus.until(PATIENCE, |prometheus| {
            let alerts = prometheus.alerts();
            for told in alerts.iter().filter(|alert| alert["state"] == "firing") {
                let Some(scenario) = self.scenario_of(told) else { continue };
                let fires = scenario.fires.iter().filter(|alert| is_of(told, alert)).map(|alert| line(scenario, alert));
                for line in fires.filter(|line| missing.remove(line)) {
                    eprintln!("{:5.1} s: {line}", now() - broken);
                }
            }
            let there = || alerts.iter().map(|alert| self.words(alert)).collect::<Vec<_>>();
            if missing.is_empty() { Ok(()) } else { Err(format!("expected {missing:#?}, there are {:#?}", there())) }
        });
    }

    /// What has fired since the beginning that the faults do not explain; every rule has fired, those that share a name too.
    fn nothing_else_is_told(&self) -> Result<(), Vec<String>> {
        let fired = self.prometheus.since(self.began, "ALERTS{alertstate=\"firing\"}").unwrap();
        let name = |labels: &Value| format!("{} {}", labels["alertname"], labels["severity"]);
        let rules = self.prometheus.rules().into_iter().filter(|rule| rule["type"] == "alerting").map(|mut rule| {
            rule["labels"]["alertname"] = rule["name"].take();
            name(&rule["labels"])
        });
        let told = fired.iter().map(|series| name(&series["metric"])).collect();
        assert_eq!(&rules.collect::<BTreeSet<_>>() - &told, BTreeSet::new(), "alerts that have not fired");
        let others = fired.iter().map(|series| &series["metric"]).filter(|labels| !self.is_explained(labels));
        let others: Vec<String> = others.map(|labels| self.words(labels)).collect();
        if others.is_empty() { Ok(()) } else { Err(others) }
    }

    /// By the fault of its cell. A camera that nothing has happened to is not to be accused.
    fn is_explained(&self, labels: &Value) -> bool {
        let Some(scenario) = self.scenario_of(labels) else { return false };
        let camera = |(_, labels): &Alert| labels.iter().find(|(label, _)| *label == "camera").map(|(_, name)| *name);
        let mut fires = scenario.fires.iter().filter(|(name, _)| labels["alertname"] == *name);
        fires.any(|alert| camera(alert).is_none_or(|name| labels["camera"] == name))
            || scenario.allows.iter().any(|name| labels["alertname"] == *name)
    }

    /// Ticks that woke more than a tenth of a second late: the machine had no time for a thread that asks for next to none.
    fn late_ticks(&self) -> f64 {
        const LATE: &str = "sum(max_over_time(recorder_tick_jitter_seconds_count[1h])
            - ignoring (le) max_over_time(recorder_tick_jitter_seconds_bucket{le=\"0.1\"}[1h]))";
        let late = self.prometheus.query(LATE).unwrap();
        late.first().and_then(|series| series["value"][1].as_str()?.parse().ok()).unwrap_or_default()
    }

    /// Executed as they are, over all of the fleet's time.
    fn every_expression_has_an_answer(&self) {
        let mut all = expressions::of_dashboards(&self.folder.join("dashboards"));
        for rule in self.prometheus.rules() {
            let name = rule["name"].as_str().unwrap();
            assert_eq!(rule["health"], "ok", "{name}: {}", rule["lastError"]);
            let expression =
                |text: &str| expressions::Expression { place: format!("rule {name}"), text: text.to_string() };
            all.push(expression(rule["query"].as_str().unwrap()));
            if rule["type"] == "recording" {
                all.push(expression(name));
            }
        }
        let cells: Vec<String> = self.cells.iter().map(|(_, cell)| cell.address.clone()).collect();
        let problems: Vec<String> = all
            .iter()
            .filter_map(|expression| {
                let problem = match expression.count(&self.prometheus, &cells, self.began) {
                    Ok(0) => "no data".to_string(),
                    Ok(_) => return None,
                    Err(error) => error,
                };
                Some(format!("{}: {}: {problem}", expression.place, expression.text))
            })
            .collect();
        eprintln!("{} expressions in {:.0} s", all.len(), now() - self.began);
        assert!(problems.is_empty(), "{problems:#?}");
    }

    /// What is wrong where an alert says so.
    fn scenario_of(&self, labels: &Value) -> Option<&'static Scenario> {
        let found = self.cells.iter().find(|(_, cell)| labels["instance"] == cell.address.as_str());
        found.map(|(scenario, _)| *scenario)
    }

    /// An alert's labels, with its cell's name.
    fn words(&self, labels: &Value) -> String {
        format!("{}: {labels}", self.scenario_of(labels).map_or("no cell", |scenario| scenario.name))
    }
}

fn is_of(told: &Value, (name, labels): &Alert) -> bool {
    told["alertname"] == *name && labels.iter().all(|(label, value)| told[label] == *value)
}
