//! `recorder bench`: short runs of the real program. What makes of figures a verdict is shown in src/bench/report/tests.rs.

mod fake_driver;
mod program;

use program::{Lab, Signal};
use serde_json::Value;
use std::process::Stdio;

/// Runs `recorder bench ARGUMENTS` in a lab; exit code, standard output, standard error.
fn bench(lab: &Lab, arguments: &[&str], environment: &[(&str, &std::path::Path)]) -> (Option<i32>, String, String) {
    let mut command = lab.command(env!("CARGO_BIN_EXE_recorder"));
    command.arg("bench").args(arguments).envs(environment.iter().copied()).stdin(Stdio::null());
    let output = command.output().unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (output.status.code(), out, err)
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// What must be so in every run, however busy the machine is.
fn adds_up(run: &Value, rows: u64, episodes: usize) {
    let frames = &run["frames"];
    let count = |name: &str| frames[name].as_u64().unwrap_or_else(|| panic!("{name}: {frames}"));
    let told = run["episodes"].as_array().unwrap();
    assert_eq!((told.len(), &run["failure"]), (episodes, &Value::Null), "{run}");
    assert!(told.iter().all(|episode| episode["rows"] == rows && number(&episode["save_ms"]) > 0.0), "{run}");
    let cameras = 2;
    assert_eq!(count("written") + count("repeated"), cameras * rows * episodes as u64, "{frames}");
    let dropped: u64 = frames["dropped"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(count("captured"), count("written") + dropped, "{frames}");
    assert_eq!(run["ok"], Value::Bool(count("lost") == 0), "{run}");
    for stage in ["capture", "decode", "encode", "total"] {
        let [mean, p50, p99] = ["mean_ms", "p50_ms", "p99_ms"].map(|name| number(&run["stages"][stage][name]));
        assert!(0.0 < p50 && p50 <= p99 && 0.0 < mean, "{stage}: {run}");
    }
    let mean = |stage: &str| number(&run["stages"][stage]["mean_ms"]);
    assert!(mean("total") > mean("decode") + mean("encode"), "{run}");
    assert!(mean("write") > 0.0, "{run}");
    for positive in [&run["cores"], &run["peak_memory_mib"], &run["tick_jitter_us"]["p50"], &run["busy"]["encoders"]] {
        assert!(number(positive) > 0.0, "{run}");
    }
    assert!(run["bottleneck"]["stage"].is_string(), "{run}");
}

#[test]
fn a_short_bench_gives_figures_that_add_up() {
    let lab = Lab::new();
    let before = lab.tree();
    let arguments = ["--mode", "aggressive", "--seconds", "1", "--episodes", "2", "--json"];
    let (code, out, err) = bench(&lab, &arguments, &[("LD_LIBRARY_PATH", &fake_driver::folder_with(&[]))]);
    let report: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"));
    assert_eq!(code, Some(i32::from(report["ok"] != Value::Bool(true))), "{out}{err}");
    let set_up = &report["set_up"];
    assert_eq!((&set_up["name"], &set_up["workers"], &set_up["queue"]), (&"aggressive".into(), &2.into(), &100.into()));
    assert_eq!((set_up["cameras"].as_array().unwrap().len(), &set_up["arm"]), (2, &Value::Bool(true)));
    let runs = report["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 1, "{out}");
    assert_eq!((&runs[0]["device"], &runs[0]["encoder"]), (&"cpu".into(), &"openh264".into()));
    adds_up(&runs[0], 30, 2);
    assert!(report["no_gpu"].as_str().is_some_and(|reason| !reason.is_empty()), "{out}");
    assert_eq!((&report["fake_driver"], &report["comparison"]), (&Value::Bool(false), &Value::Null));
    assert_eq!(lab.tree(), before, "nothing is left behind");
}

/// The set-up of a laboratory with small pictures, in every way to encode, on a GPU too.
#[test]
fn cpu_and_gpu_are_compared_and_every_way_to_encode() {
    let lab = Lab::new();
    let camera = "[robot.cameras.wrist]\ntype = \"synthetic\"\nwidth = 160\nheight = 120\nrealtime = false\n";
    let text = std::fs::read_to_string(lab.path("lab.toml")).unwrap() + camera;
    lab.write("lab.toml", &text.replace("width = 128\nheight = 96", "width = 320\nheight = 240\nrealtime = false"));
    let environment = [("LD_LIBRARY_PATH", &*fake_driver::folder())];
    let arguments =
        ["--config", "lab.toml", "--seconds=0.5", "--episodes=2", "--modes", "--json", "--keep", "kept/sets"];
    let (code, out, err) = bench(&lab, &arguments, &environment);
    let report: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"));
    assert_eq!(code, Some(i32::from(report["ok"] != Value::Bool(true))), "{out}{err}");
    assert_eq!((&report["fake_driver"], &report["no_gpu"]), (&Value::Bool(true), &Value::Null), "{out}");
    assert!(number(&report["comparison"]["encode_speedup"]) > 0.0, "{out}");
    let runs = report["runs"].as_array().unwrap();
    let names: Vec<_> =
        runs.iter().map(|run| [&run["device"], &run["encoding"]].map(|v| v.as_str().unwrap())).collect();
    let ways = ["streaming", "saturated", "deferred", "deferred_async"];
    let expected: Vec<_> = ["cpu", "gpu"].iter().flat_map(|device| ways.map(|way| [*device, way])).collect();
    assert_eq!(names, expected);
    for (number, run) in runs.iter().enumerate() {
        adds_up(run, 15, 2);
        assert_eq!(run["fake_driver"], run["device"] == "gpu");
        assert_eq!(run["encoder"], if run["device"] == "gpu" { "nvenc" } else { "openh264" });
        assert!(lab.path(&format!("kept/sets/{}/meta/info.json", number + 1)).exists());
    }
    // Only there the next episode waits until the last one is encoded.
    let held = |way: usize| number(&runs[way]["held_up_ms"]["max"]);
    assert!(held(2) > 0.0 && held(0) < held(2), "{} and {}", held(0), held(2));
    let (code, _, err) = bench(&lab, &arguments, &environment);
    assert!(code == Some(2) && err.contains("--keep kept/sets: expected a new folder"), "{code:?} {err}");
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_written() {
    let lab = Lab::new();
    let before = lab.tree();
    for (arguments, words) in [
        (&["--mode", "interactive"][..], &["expected a terminal", "--mode conservative"][..]),
        (&["--mode", "careful"], &["careful", "conservative, aggressive, interactive"]),
        (&["--mode", "aggressive", "--config", "lab.toml"], &["expected --mode or --config, found both"]),
        (&["--config", "absent.toml"], &["absent.toml", "cannot be read"]),
        (&["--seconds", "0"], &["dataset.episode_time_s: expected 0.001 to 1000, found 0"]),
        (&["--episodes", "0"], &["dataset.num_episodes: expected 1 to 1000000, found 0"]),
        (&["--dataset.encoder.codec=h265"], &["dataset.encoder.codec"]),
        (
            &["--dataset.encoder.codec=hevc"],
            &["expected an encoder, found none", "the CPU: it does not make hevc", "the GPU: "],
        ),
        (&["--config", "lab.toml", "--dataset.fsp=3"], &["did you mean `fps`?"]),
    ] {
        let (code, out, err) = bench(&lab, arguments, &[("LD_LIBRARY_PATH", &fake_driver::folder_with(&[]))]);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{arguments:?}: {err}");
        assert!(words.iter().all(|word| err.contains(word)) && !err.contains("panicked"), "{arguments:?}: {err}");
        assert_eq!(lab.tree(), before, "{arguments:?}");
    }
}

#[test]
fn a_bench_that_is_stopped_leaves_nothing_behind() {
    use std::io::{BufRead, BufReader};
    let lab = Lab::new();
    let before = lab.tree();
    let mut command = lab.command(env!("CARGO_BIN_EXE_recorder"));
    command.args(["bench", "--dataset.encoder.encoder_type=software"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(log.any(|line| line.contains("recording episode 1 of 3")));
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::INT).unwrap();
    log.for_each(drop);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(130), 0));
    assert_eq!(lab.tree(), before);
}
