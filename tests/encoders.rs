//! `recorder encoders`: what is there, what it can do, and why the rest is not usable; without a GPU, and on the fake
//! driver.

mod fake_driver;
mod program;

use program::Lab;
use recorder::codec::backend::Device;
use recorder::config::schema::Codec;
use recorder::encoders::decode::Verdict;
use recorder::encoders::part::Part;
use recorder::encoders::trial::{Figures, Trial};
use serde_json::Value;
use std::path::Path;

const PROGRAM: &str = env!("CARGO_BIN_EXE_recorder");

fn trial(codec: Codec, device: Device) -> Trial {
    Trial { pictures: 20, decode: true, ..Trial::new(codec, device, 0) }
}

/// The program on a machine without an NVIDIA driver.
fn run(lab: &Lab, arguments: &[&str]) -> (Option<i32>, String, String) {
    run_on(lab, &[], "", arguments)
}

/// The program with some of the fake driver's libraries, and faults.
fn run_on(lab: &Lab, libraries: &[&str], faults: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = lab.command(PROGRAM);
    command.env("LD_LIBRARY_PATH", fake_driver::folder_with(libraries)).env("FAKE_NVENC", faults);
    let output = command.arg("encoders").args(arguments).output().unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (output.status.code(), out, err)
}

#[test]
fn without_a_gpu_the_cpu_is_measured_and_the_rest_has_its_reason() {
    let lab = Lab::new();
    let (code, out, err) = run(&lab, &["--json"]);
    assert_eq!(code, Some(0), "{out}{err}");
    let listing: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&listing["fake_driver"], &listing["version"]),
        (&Value::Bool(false), &env!("CARGO_PKG_VERSION").into())
    );
    let find = |name: &str| {
        let all = listing["encoders"].as_array().unwrap();
        all.iter().find(|e| e["encoder"] == name).unwrap_or_else(|| panic!("no {name}: {out}")).clone()
    };
    let openh264 = find("openh264");
    assert_eq!((&openh264["codec"], &openh264["device"]), (&"h264".into(), &"cpu".into()));
    assert_eq!((&openh264["max_width"], &openh264["max_height"]), (&3840.into(), &2160.into()));
    for (name, at_least_bits) in [("openh264", 100_000.0), ("copy", 1_000_000.0)] {
        let encoder = find(name);
        assert_eq!(encoder["refusal"], Value::Null);
        let trial = &encoder["trial"];
        assert_eq!((&trial["width"], &trial["height"], &trial["pictures"]), (&1280.into(), &720.into(), &60.into()));
        let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{name}: {trial}"));
        let (p50, p99) = (number(&trial["encode_ms"]["p50"]), number(&trial["encode_ms"]["p99"]));
        assert!(0.0 < p50 && p50 <= p99 && p99 < 60_000.0, "{name}: {trial}");
        assert!(number(&trial["bits_per_second"]) > at_least_bits, "{name}: {trial}");
    }
    for (name, words) in [("qsv", "not supported by this recorder"), ("vce", "not supported by this recorder")] {
        assert!(find(name)["refusal"].as_str().unwrap().contains(words));
    }
    let nvenc = find("nvenc");
    assert!(nvenc["refusal"].as_str().is_some_and(|reason| reason.contains("libcuda")), "{nvenc}");
}

#[test]
fn the_table_says_the_same_to_people() {
    let (code, out, err) = run(&Lab::new(), &[]);
    assert_eq!(code, Some(0), "{out}{err}");
    let line =
        |name: &str| out.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}:\n{out}"));
    assert!(line("openh264").contains(" h264 ") && line("openh264").contains("3840x2160"), "{out}");
    assert!(line("openh264").contains("1280x720: ") && line("openh264").contains(" ms a picture"), "{out}");
    #[cfg(target_arch = "x86_64")]
    assert!(line("openh264").contains("assembler"), "{out}");
    assert!(line("copy").contains(" ms a picture"), "{out}");
    assert!(line("qsv").contains("not supported by this recorder") && line("vce").contains("not supported"), "{out}");
    line("nvenc");
}

#[test]
fn a_trial_in_a_child_gives_its_figures_and_every_picture_decodes() {
    for (codec, by) in [(Codec::H264, "openh264"), (Codec::Copy, "libjpeg-turbo")] {
        let figures: Figures = trial(codec, Device::Cpu).run_in_child(Path::new(PROGRAM)).unwrap();
        assert_eq!((figures.pictures, figures.decoded), (20, Some(Verdict::Exact { by: by.into() })), "{codec:?}");
    }
}

#[test]
fn a_trial_that_cannot_be_says_why() {
    let refused = |trial: Trial, program: &str, words: &[&str]| {
        let reason = trial.run_in_child(Path::new(program)).unwrap_err();
        assert!(words.iter().all(|word| reason.contains(word)) && !reason.contains('\n'), "{reason}");
    };
    refused(trial(Codec::Hevc, Device::Cpu), PROGRAM, &["NVENC", "codec = \"h264\""]);
    refused(
        trial(Codec::H264, Device::Cpu),
        "/absent/recorder",
        &["the process that tried it cannot be started", "/absent/recorder"],
    );
    refused(trial(Codec::H264, Device::Cpu), "/bin/false", &["the process that tried it failed (exit code 1)"]);
    refused(trial(Codec::H264, Device::Cpu), "/bin/true", &["the process that tried it gave no answer"]);
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    for (arguments, words) in [
        (&["--jsn"][..], "--json"),
        (&["--part-in-process", "{"], "--part-in-process"),
        (&["--part-in-process", "{}"], "--part-in-process"),
    ] {
        let (code, out, err) = run(&Lab::new(), arguments);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(err.contains(words), "{arguments:?}: {err}");
    }
}

const DRIVER: [&str; 2] = [fake_driver::CUDA, fake_driver::NVENC];

#[test]
fn a_gpu_has_its_codecs_limits_versions_and_a_trial_and_a_fake_is_called_one() {
    let lab = Lab::new();
    let (code, out, err) = run_on(&lab, &DRIVER, "codecs=h264", &["--json"]);
    assert_eq!(code, Some(0), "{out}{err}");
    let listing: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&listing["fake_driver"], &listing["nvenc_api"]), (&true.into(), &"12.1".into()), "{out}");
    assert!(listing["driver"].as_str().unwrap().starts_with("CUDA "), "{out}");
    let all = listing["encoders"].as_array().unwrap();
    let of = |codec: &str| all.iter().find(|e| e["encoder"] == "nvenc" && e["codec"] == codec).unwrap();
    let h264 = of("h264");
    assert_eq!((&h264["refusal"], &h264["gpu_id"], &h264["device"]), (&Value::Null, &0.into(), &"gpu".into()));
    assert!(
        h264["max_width"].as_u64() >= Some(1280) && h264["trial"]["encode_ms"]["p50"].as_f64() > Some(0.0),
        "{h264}"
    );
    assert!(h264["first_picture_ms"].as_f64() > Some(0.0), "{h264}");
    for codec in ["hevc", "av1"] {
        assert!(of(codec)["refusal"].as_str().is_some_and(|reason| !reason.is_empty()), "{out}");
    }
    let (code, out, err) = run_on(&lab, &DRIVER, "codecs=h264", &[]);
    assert_eq!(code, Some(0), "{out}{err}");
    for line in out.lines().filter(|line| line.contains("GPU 0") || line.contains("NVIDIA driver:")) {
        assert!(line.contains("fake driver"), "{out}");
    }
    assert!(out.contains("NVENC API 12.1"), "{out}");
}

/// H.265 and AV1 have no decoder in this program: ffmpeg tells whether the right pictures are in them.
#[test]
fn what_only_a_gpu_makes_is_decoded_by_ffmpeg() {
    for codec in [Codec::Hevc, Codec::Av1] {
        let part = Part::Trial(Trial { pictures: 4, ..trial(codec, Device::Gpu) });
        let question = serde_json::to_string(&part).unwrap();
        let (code, out, err) = run_on(&Lab::new(), &DRIVER, "", &["--part-in-process", &question]);
        assert_eq!(code, Some(0), "{codec:?}: {out}{err}");
        let figures: Result<Figures, String> = serde_json::from_str(&out).unwrap();
        let figures = figures.unwrap_or_else(|reason| panic!("{codec:?}: {reason}"));
        assert_eq!((figures.pictures, figures.decoded), (4, Some(Verdict::Exact { by: "ffmpeg".into() })), "{codec:?}");
    }
}

/// A driver's faults are one line of the list; what else there is is measured all the same.
#[test]
fn a_driver_that_crashes_refuses_or_fails_costs_its_own_lines_only() {
    for (libraries, faults, words) in [
        (&DRIVER[..], "crash=0", "the NVIDIA driver crashed when asked (signal 11)"),
        (&DRIVER, "codecs=h264,crash=20", "the process that tried it crashed (signal 11)"),
        (&DRIVER, "codecs=h264,fail=20:20", "20"),
        (&DRIVER, "cuinit=999", "999"),
        (&DRIVER, "codecs=h264,open=2", "no encoder"),
        (&[fake_driver::CUDA], "", "libnvidia-encode"),
    ] {
        let (code, out, err) = run_on(&Lab::new(), libraries, faults, &[]);
        assert_eq!(code, Some(0), "{faults}: {out}{err}");
        let line =
            |name: &str| out.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}:\n{out}"));
        assert!(line("nvenc").contains("not usable: ") && line("nvenc").contains(words), "{faults}: {out}");
        assert!(line("openh264").contains(" ms a picture"), "{faults}: {out}");
    }
}
