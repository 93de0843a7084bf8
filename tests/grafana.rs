//! The dashboards: they agree with their description, and the checker notices what Grafana, Prometheus or a person would trip over.
//!
//! That every expression parses and gives data is shown on a real Prometheus by `tests/prometheus.rs`.

mod dataset_support;

use dataset_support::{python, run};
use std::path::Path;
use std::process::Command;

fn generate(words: &[&str]) -> (bool, String) {
    run(Command::new(python()).arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana/generate.py")).args(words))
}

#[test]
fn dashboards_agree_with_their_description_and_are_valid() {
    let (ok, output) = generate(&["--check"]);
    assert!(
        ok,
        "run `$(scripts/venv.sh) grafana/generate.py` after a change of what it reads: generator, alerts.yml\n{output}"
    );
}

#[test]
fn every_expression_is_listed_with_what_it_needs() {
    let (ok, output) = generate(&["--expressions"]);
    assert!(ok, "{output}");
    let listed: Vec<serde_json::Value> = serde_json::from_str(&output).unwrap();
    let text = |entry: &serde_json::Value, key: &str| entry[key].as_str().map(str::to_string);
    for dashboard in ["cell", "fleet"] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("grafana/dashboards/{dashboard}.json"));
        let file: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let of_panels = file["panels"].as_array().unwrap().iter();
        let of_panels: usize = of_panels.filter_map(|p| p["targets"].as_array()).map(Vec::len).sum();
        let here = |place: &str| {
            let uid = Some(format!("recorder-{dashboard}"));
            listed.iter().filter(|e| text(e, "dashboard") == uid && text(e, "where").as_deref() == Some(place)).count()
        };
        assert_eq!(here("panel"), of_panels, "{dashboard}");
        assert_eq!(here("annotation"), file["annotations"]["list"].as_array().unwrap().len(), "{dashboard}");
        // The data source's variable asks nothing.
        assert_eq!(here("variable"), file["templating"]["list"].as_array().unwrap().len() - 1, "{dashboard}");
    }
    for entry in &listed {
        assert!(!text(entry, "expr").unwrap().contains('$'), "{entry}");
        assert!(["instant", "range"].contains(&text(entry, "how").unwrap().as_str()), "{entry}");
        assert!(entry["needs"].is_null() || entry["needs"] == "gpu", "{entry}");
    }
}

/// What breaks a dashboard `d` (a panel of it is `p`, with a query `q`; a table `t`), and what has to be said of it.
const BROKEN: &[(&str, &str)] = &[
    ("p['type'] = 'timeseriez'", "type 'timeseriez' is none of Grafana's"),
    ("p['fieldConfig']['defaults']['unti'] = 's'", "unti: the SDK does not know it"),
    ("p['fieldConfig']['defaults']['unit'] = 'secs'", "unit 'secs' is none of Grafana's"),
    ("p['fieldConfig']['defaults']['color']['mode'] = 'rainbow'", "found 'rainbow'"),
    ("p['fieldConfig']['defaults']['custom']['drawStyle'] = 'crayon'", "found 'crayon'"),
    ("p['fieldConfig']['defaults']['custom']['lineColour'] = 'red'", "lineColour: the SDK does not know it"),
    ("p['fieldConfig']['defaults']['thresholds']['steps'][1]['value'] = 'high'", "expected a number, found 'high'"),
    ("p['options']['legend']['calcs'] = 'max'", "expected a list, found 'max'"),
    ("del p['fieldConfig']['defaults']['noValue']", "expected noValue"),
    ("del p['fieldConfig']['defaults']['thresholds']", "expected thresholds"),
    ("del d['panels'][0]['fieldConfig']['defaults']['mappings'][0]['type']", "the SDK cannot read it"),
    ("p['description'] = 'Encoders.'", "expected a description"),
    ("p['id'] = 1", "panel number 1: expected one panel with it"),
    ("p['gridPos']['x'] += 1", "overlap"),
    ("p['gridPos']['w'] = 30", "does not fit into the grid's 24 columns"),
    ("d['panels'][0]['gridPos']['w'] -= 1", "the grid has a hole"),
    ("p['datasource'] = {'type': 'prometheus', 'uid': 'mine'}", "data source: expected"),
    ("q['datasource'] = {'type': 'loki', 'uid': '${datasource}'}", "query A: data source: expected"),
    ("q['expr'] = ''", "expected an expression"),
    ("q['expr'] = 'recorder_spill_bytes'", "expected the choice of cells"),
    ("q['expr'] = 'recorder_spilled_bytes{instance=\"$instance\"}'", "recorder_spilled_bytes is declared neither"),
    ("q['expr'] = 'recorder_queue_frames{instance=\"$instance\",kamera=\"front\"}'", "has no label kamera"),
    ("q['expr'] = 'median(recorder_spill_bytes{instance=\"$instance\"})'", "median() is no function"),
    ("q['expr'] = 'sum(recorder_spill_bytes{instance=\"$instance\"}'", "do not match"),
    ("q['expr'] = q['expr'].replace('$instance', '$instance$cell')", "variable 'cell' is used and not declared"),
    ("p['targets'].append(q)", "expected queries with names of their own"),
    ("p['fieldConfig']['overrides'][0]['matcher']['options'] = 'Z'", "an override is for query 'Z'"),
    ("p['fieldConfig']['overrides'][0]['properties'][0]['id'] = 'custom.wobble'", "an override sets 'custom.wobble'"),
    ("t['transformations'][0]['id'] = 'smerge'", "transformation 'smerge'"),
    ("t['transformations'][0]['on'] = True", "on: the SDK does not know it"),
    ("d['templating']['list'] = d['templating']['list'][1:]", "expected a variable `datasource`"),
    ("d['templating']['list'][1]['query'] = 'cells()'", "expected label_values(series, label)"),
    (
        "d['annotations']['list'][0]['expr'] = 'recorder_gone{instance=\"$instance\"}'",
        "recorder_gone is declared neither",
    ),
    ("del d['annotations']['list'][0]['titleFormat']", "expected titleFormat"),
    ("d['refresh'] = 10", "expected str, found 10"),
    ("d['theme'] = 'dark'", "theme: the SDK does not know it"),
    ("d.pop('panels')", "expected a dashboard with panels"),
];

#[test]
fn a_broken_dashboard_is_noticed() {
    let script = r#"
import copy, json, sys
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[1]) / "grafana"))
from generator import check
root = Path(sys.argv[1])
known, whole = check.names(root), json.loads((root / "grafana/dashboards/cell.json").read_text())
assert check.dashboard(whole, known) == []
for damage, expected in json.loads(sys.argv[2]):
    d = copy.deepcopy(whole)
    p = next(p for p in d["panels"] if p["title"] == "From capture to disk")
    if "overrides" in damage:
        p = next(p for p in d["panels"] if p["title"] == "GPU against CPU")
    q, t = p["targets"][0], next(p for p in d["panels"] if p["type"] == "table")
    exec(damage)
    found = check.dashboard(d, known)
    assert any(expected in line for line in found), f"{damage}: expected `{expected}`, found {found}"
"#;
    let root = env!("CARGO_MANIFEST_DIR");
    let broken = serde_json::to_string(BROKEN).unwrap();
    let (ok, output) = run(Command::new(python()).args(["-c", script, root, &broken]));
    assert!(ok, "{output}");
}

/// A copy of what the checker reads, for what is wrong outside of a dashboard.
#[test]
fn what_does_not_fit_around_the_dashboards_is_noticed() {
    let script = r#"
import shutil, sys
from pathlib import Path
root, copy = Path(sys.argv[1]), Path(sys.argv[2])
sys.path.insert(0, str(root / "grafana"))
from generator import check, deployment
(copy / "src").mkdir()
shutil.copy(root / "src/metrics.rs", copy / "src/metrics.rs")
shutil.copytree(root / "grafana", copy / "grafana")
def found():
    paths = [copy / "grafana/dashboards/cell.json", copy / "grafana/dashboards/fleet.json"]
    return [*check.files(copy, paths), *deployment.wrong(copy)]
assert found() == [], found()
metrics, compose, sources = "src/metrics.rs", "grafana/compose.yaml", "grafana/provisioning/datasources/prometheus.yaml"
for damage, expected in [
    ((metrics, "recorder_spill_bytes", "recorder_overflow_bytes"), "recorder_spill_bytes is declared neither"),
    ((metrics, "recorder_spill_bytes", "recorder_overflow_bytes"), "recorder_overflow_bytes is declared in src/metrics.rs and in no"),
    (("grafana/rules.yml", "recorder_queue:ratio", "recorder_queue:share"), "recorder_queue:ratio is declared neither"),
    ((compose, "network_mode: host", "network_mode: bridge"), "network"),
    ((compose, "prom/prometheus:v", "prom/prometheus:latest-v"), "expected prom/prometheus with a whole version"),
    ((compose, "./dashboards:", "./boards:"), "./boards is no folder here"),
    ((compose, "dashboards/fleet.json", "dashboards/all.json"), "dashboards/all.json, is no file here"),
    ((compose, "- .:/etc/prometheus", "- ./dashboards:/etc/prometheus"), "the configuration of Prometheus"),
    ((compose, "volumes:\n  prom", "volumes\n  prom"), "compose.yaml"),
    ((sources, "type: prometheus", "type: loki"), "type: expected 'prometheus'"),
    ((sources, "9090", "9091"), "url: expected"),
    ((sources, "timeInterval: 5s", "timeInterval: 60s"), "timeInterval: expected '5s'"),
    ((sources, "jsonData:", "json:"), "lacks what the others need"),
    (("grafana/provisioning/dashboards/recorder.yaml", "/etc/recorder", "/etc/recorders"), "what Grafana finds at"),
    (("grafana/prometheus.yml", "- rules.yml", "- rule.yml"), "rule.yml is no file here"),
    (("grafana/prometheus.yml", "job_name: recorder", "job_name: camera"), "jobs that dashboards look for"),
    (("grafana/dashboards/fleet.json", "{", "["), "run grafana/generate.py"),
]:
    file, old, new = damage
    text = (copy / file).read_text()
    assert old in text, f"{file} has no {old}"
    (copy / file).write_text(text.replace(old, new))
    lines = found()
    (copy / file).write_text(text)
    assert any(expected in line for line in lines), f"{damage}: expected `{expected}`, found {lines}"
"#;
    let copy = tempfile::tempdir().unwrap();
    let (ok, output) = run(Command::new(python()).args(["-c", script, env!("CARGO_MANIFEST_DIR")]).arg(copy.path()));
    assert!(ok, "{output}");
}
