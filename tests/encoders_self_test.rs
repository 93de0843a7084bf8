//! `recorder encoders --self-test`: short ones, without a GPU and on the fake driver.

mod fake_driver;
mod program;

use program::{Ended, Lab};
use serde_json::Value;

const DRIVER: [&str; 2] = [fake_driver::CUDA, fake_driver::NVENC];

/// A self-test with some of the fake driver's libraries, and its report. Nothing else of it may be left.
fn self_test(lab: &Lab, libraries: &[&str], faults: &str) -> (Ended, Value) {
    let mut command = lab.command(env!("CARGO_BIN_EXE_recorder"));
    command.env("LD_LIBRARY_PATH", fake_driver::folder_with(libraries)).env("FAKE_NVENC", faults);
    let arguments = ["encoders", "--self-test", "--seconds", "2", "--report", "out/report.json"];
    std::fs::create_dir(lab.path("out")).unwrap();
    let output = command.args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    let report = std::fs::read_to_string(lab.path("out/report.json")).unwrap_or_else(|error| panic!("{error}: {text}"));
    let left: Vec<_> = lab.path("out").read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["report.json"], "{text}");
    (Ended { code: output.status.code(), text }, serde_json::from_str(&report).unwrap())
}

fn list(report: &Value, key: &str) -> Vec<String> {
    report[key].as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_string()).collect()
}

/// All is well, but for a switch that a machine which is busy with other tests is too slow for.
#[track_caller]
fn all_is_well(ended: &Ended, report: &Value) {
    let failures = list(report, "failures");
    assert!(failures.iter().all(|line| line.contains("the switch took")), "{}", ended.text);
    assert_eq!(ended.code, Some(i32::from(!failures.is_empty())), "{}", ended.text);
}

/// Every recording was whole, and every switch was seen.
fn check_recordings(report: &Value, expected: &[(&str, bool)]) {
    let recordings = report["recordings"].as_array().unwrap();
    assert_eq!(recordings.len(), expected.len(), "{report:#}");
    for (recording, (encoders, dies)) in recordings.iter().zip(expected) {
        let figures = &recording["figures"];
        assert_eq!(figures["decoded"]["exact"]["by"], "openh264", "{recording:#}");
        let count = |key: &str| figures[key].as_u64().unwrap();
        assert_eq!((count("cameras"), count("episodes")), (2, 1), "{recording:#}");
        assert!(count("captured") == count("written") + count("dropped") && count("captured") > 0, "{recording:#}");
        let names: Vec<&str> =
            figures["encoders"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        assert_eq!(names.join(","), *encoders, "{recording:#}");
        assert_eq!(figures["switches"].as_array().unwrap().len(), usize::from(*dies), "{recording:#}");
        assert_eq!(figures["switch_ms"].is_f64(), *dies, "{recording:#}");
    }
}

#[test]
fn without_a_gpu_the_cpu_is_tested_and_the_rest_is_named() {
    let lab = Lab::new();
    let (ended, report) = self_test(&lab, &[], "");
    all_is_well(&ended, &report);
    assert_eq!(report["machine"]["fake_driver"], false);
    assert!(report["machine"]["cores"].as_u64() >= Some(1) && report["machine"]["kernel"].as_str() != Some(""));
    let not_tested = list(&report, "not_tested");
    assert!(not_tested[0].starts_with("NVENC: ") && not_tested[0].contains("libcuda"), "{not_tested:?}");
    assert!(not_tested.iter().any(|line| line.contains("stood in")), "{not_tested:?}");
    let encoders = report["encoders"].as_array().unwrap();
    let decoded: Vec<&Value> = encoders.iter().map(|tried| &tried["figures"]["decoded"]["exact"]["by"]).collect();
    assert_eq!(decoded, ["openh264", "libjpeg-turbo"]);
    check_recordings(&report, &[("nvenc,openh264", true), ("nvenc,openh264", true), ("openh264", false)]);
    // The table is printed, and in the report.
    assert!(ended.text.contains(report["markdown"].as_str().unwrap()), "{}", ended.text);
    assert!(!ended.text.contains("fake driver"), "{}", ended.text);
}

#[test]
fn a_gpu_is_tested_in_all_its_presets_sessions_and_deaths() {
    let lab = Lab::new();
    let (ended, report) = self_test(&lab, &DRIVER, "codecs=h264,sessions=3");
    all_is_well(&ended, &report);
    assert_eq!(report["machine"]["fake_driver"], true);
    let encoders = report["encoders"].as_array().unwrap();
    let presets: Vec<&str> = encoders.iter().filter_map(|tried| tried["tried"]["preset"].as_str()).collect();
    assert_eq!(presets, ["p1", "p2", "p3", "p4", "p5", "p6", "p7"]);
    for tried in encoders {
        assert!(tried["figures"]["decoded"]["exact"].is_object(), "{tried:#}");
        assert!(tried["figures"]["fps"].as_f64() > Some(0.0), "{tried:#}");
    }
    let sessions = &report["sessions"][0]["figures"];
    assert_eq!(
        (&sessions["opened"], &sessions["decoded"]["exact"]["by"]),
        (&3.into(), &"openh264".into()),
        "{sessions:#}"
    );
    assert!(sessions["refusal"].as_str().unwrap().contains("10"), "{sessions:#}");
    check_recordings(
        &report,
        &[("nvenc,openh264", true), ("nvenc,openh264", true), ("nvenc", false), ("openh264", false)],
    );
    let markdown = report["markdown"].as_str().unwrap();
    for line in markdown.lines().filter(|line| line.starts_with('|') && line.contains("GPU 0")) {
        assert!(line.contains("fake driver"), "{markdown}");
    }
    assert!(
        list(&report, "not_tested").iter().all(|line| line.starts_with("GPU 0")),
        "{:?}",
        list(&report, "not_tested")
    );
}

#[test]
fn a_driver_that_crashes_fails_the_test_and_not_the_rest_of_it() {
    let lab = Lab::new();
    let (ended, report) = self_test(&lab, &DRIVER, "codecs=h264,crash=20");
    let failures = list(&report, "failures");
    assert_eq!(ended.code, Some(1), "{}", ended.text);
    // Seven presets, the sessions, two deaths, a recording.
    assert_eq!(failures.len(), 11, "{failures:#?}");
    assert!(failures.iter().all(|line| line.contains("crashed (signal 11)")), "{failures:#?}");
    let recordings = report["recordings"].as_array().unwrap();
    let cpu = recordings.iter().find(|recording| recording["tried"]["device"] == "cpu").unwrap();
    assert!(cpu["figures"]["decoded"]["exact"].is_object(), "{cpu:#}");
}

#[test]
fn a_report_that_cannot_be_written_is_refused_before_the_test() {
    let lab = Lab::new();
    lab.write("file", "");
    for (arguments, words) in [
        (&["--self-test", "--report", "absent/report.json"][..], "absent/.recorder-self-test-"),
        (&["--self-test", "--report", "file/report.json"], "--report FILE"),
        (&["--self-test", "--report", "."], "cannot be written"),
        (&["--self-test", "--seconds", "0"], "1..=86400"),
        (&["--report", "r.json"], "--self-test"),
        (&["--seconds", "5"], "--self-test"),
    ] {
        let ended = lab.run(&[&["encoders"], arguments].concat());
        assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.text);
        assert!(ended.text.contains(words), "{arguments:?}: {}", ended.text);
    }
}
