//! The thirteen defects of the feature that this project is built from: for each, the tests that would catch it. Those
//! that have no other place are here.

mod fake_driver;
mod fault_support;
mod program;
mod run_support;

use fault_support::*;
use recorder::check;
use recorder::codec::Preset;
use recorder::codec::backend::Device;
use run_support::{SMALL, config};
use std::path::{Path, PathBuf};

/// What was wrong, and who watches.
const DEFECTS: [(&str, &[&str]); 13] = [
    (
        "1. Encoding on the GPU in the background was unreachable: its settings were never passed on",
        &["every_mode_survives_a_fault", "settings_reach_the_encoder_in_a_resumed_run_too"],
    ),
    ("2. `video_encoding_workers` had no effect", &["as_many_videos_are_encoded_at_a_time_as_there_are_workers"]),
    (
        "3. Names of files did not match data sets v3.0: the GPU was never used, and regenerate found nothing",
        &["settings_reach_the_encoder_in_a_resumed_run_too", "lerobots_data_set_becomes_h264"],
    ),
    (
        "4. Detection read a list of encoders instead of opening one",
        &["a_gpu_that_cannot_be_used_is_told_once_and_the_cpu_records", "the_probe_tries_every_codec_of_every_gpu"],
    ),
    ("5. A preset that one encoder knows was an error for another", &["every_encoder_takes_every_preset"]),
    (
        "6. The CPU stood in with another codec: one data set had several",
        &[
            "a_fault_is_told_in_one_line_and_in_the_summary",
            "hevc_is_finished_by_another_session",
            "hevc_waits_for_a_gpu_over_the_end_of_the_run",
            "what_is_asked_for_and_there_is_used_and_the_rest_is_said",
        ],
    ),
    (
        "7. No distance of key frames was set",
        &["settings_reach_the_encoder_in_a_resumed_run_too", "a_key_frame_every_gop_and_on_request"],
    ),
    (
        "8. `maxrate` contradicted `bitrate`",
        &[
            "settings_reach_the_encoder_in_a_resumed_run_too",
            "the_bit_rate_is_a_cap",
            "each_mistake_is_named_with_place_expected_found_and_remedy",
        ],
    ),
    (
        "9. A video that failed left rows without a video",
        &[
            "hevc_stops_the_run_where_that_is_asked_for",
            "an_encoder_that_fails_for_ever_ends_the_run_by_name_and_keeps_what_is_saved",
            "a_take_whose_videos_and_rows_disagree_is_not_saved",
        ],
    ),
    (
        "10. After 300 s of waiting it finalised what was there",
        &[
            "stuck_encoders_hold_up_nothing_and_lose_nothing",
            "synchronous_encoding_holds_the_next_episode_up_until_the_last_is_saved",
            "hevc_waits_for_a_gpu_over_the_end_of_the_run",
            "hevc_that_waits_survives_a_kill",
        ],
    ),
    (
        "11. A resumed data set forgot its settings",
        &["settings_reach_the_encoder_in_a_resumed_run_too", "a_resumed_run_says_when_codecs_mix"],
    ),
    (
        "12. Regenerate deleted the old video before it had the new one",
        &["damaged_videos_are_reported_and_left", "a_killed_run_goes_on", "ctrl_c_leaves_nothing_half_done"],
    ),
    (
        "13. Encoding on the GPU in the background could stick",
        &["every_mode_survives_a_fault", "faults_at_random_frames_lose_and_double_nothing"],
    ),
];

fn rust_files(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            *text += &std::fs::read_to_string(path).unwrap();
        }
    }
}

#[test]
fn every_defect_has_its_tests() {
    let mut all = String::new();
    for folder in ["src", "tests"] {
        rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut all);
    }
    for (defect, tests) in DEFECTS {
        assert!(!tests.is_empty());
        for test in tests {
            let (before, _) = all.split_once(&format!("fn {test}() {{")).unwrap_or_else(|| panic!("{defect}: {test}"));
            let attribute = before.trim_end().trim_end_matches("async").trim_end().lines().last().unwrap().trim();
            assert!(attribute.starts_with("#[test") || attribute.starts_with("#[tokio::test"), "{test}: {attribute}");
        }
    }
}

/// Presets belong to NVENC; whoever has none passes over them, whichever it is.
#[test]
fn every_encoder_takes_every_preset() {
    let root = tempfile::tempdir().unwrap();
    for (preset, _) in Preset::NAMES {
        for encoder in ["auto", "nvenc", "software"] {
            let overrides = [
                ("dataset.gpu_video_encoding", "true"),
                ("dataset.encoder.encoder_type", encoder),
                ("dataset.encoder.preset", preset),
            ];
            check::encoder(&config(SMALL, root.path(), &overrides), Device::Cpu).unwrap();
        }
    }
}

/// The GPU encodes in the background, by the settings, in a new data set and in one that is continued; so does the CPU
/// what of them it knows.
#[test]
fn settings_reach_the_encoder_in_a_resumed_run_too() {
    const GOP: usize = 7;
    let settings = ["--dataset.num_episodes=1", "--limits.gpu_watchdog_ms=30000", "--dataset.encoder.gop=7"];
    let nvenc = ["--dataset.encoder.preset=slow", "--dataset.encoder.quality=30", "--dataset.encoder.bitrate=4000000"];
    let cpu: &[&str] = &["--dataset.gpu_video_encoding=false"];
    for (more, encoder) in [(&nvenc[..], "nvenc"), (cpu, "openh264")] {
        let faulty = Faulty::new("");
        for resume in ["--dataset.resume=false", "--dataset.resume=true"] {
            let ended = faulty.record(&[ASYNC, &settings, more, &[resume]].concat());
            assert_eq!(ended.code, Some(0), "{}", ended.text);
            assert_eq!(lines(&ended.text, "WARN"), [""; 0]);
        }
        faulty.is_whole(2);
        for episode in 0..2 {
            assert_eq!(faulty.encoders(episode), [encoder; 2]);
            for camera in CAMERAS {
                let expected: Vec<usize> = (0..ROWS).step_by(GOP).collect();
                assert_eq!(key_frames(&faulty.video(camera, episode)), expected, "{encoder}, {camera}, {episode}");
            }
        }
        if encoder == "nvenc" {
            let trace = faulty.trace();
            let asked = lines(&trace, " size=160x120 ");
            assert_eq!(asked.len(), 4, "{trace}");
            for words in [
                "codec=h264 preset=p7 ",
                " gop=7 idr=7 ",
                " rc=vbr target_quality=30 ",
                " average_bit_rate=0 max_bit_rate=4000000 ",
            ] {
                assert!(asked.iter().all(|line| line.contains(words)), "{words}: {asked:?}");
            }
        }
    }
}

/// Another codec than the data set's may be wanted; it is never silent.
#[test]
fn a_resumed_run_says_when_codecs_mix() {
    let faulty = Faulty::new("");
    let short = ["--dataset.num_episodes=1", "--dataset.episode_time_s=0.5", "--dataset.gpu_video_encoding=false"];
    for (more, warnings) in [
        (&["--dataset.encoder.codec=copy"][..], 0),
        (&["--dataset.encoder.codec=copy", "--dataset.resume=true"], 0),
        (&["--dataset.resume=true"], CAMERAS.len()),
    ] {
        let ended = faulty.record(&[&short, more].concat());
        assert_eq!(ended.code, Some(0), "{}", ended.text);
        let said = lines(&ended.text, "WARN");
        assert_eq!(said.len(), warnings, "{}", ended.text);
        assert!(said.iter().all(|line| line.contains("mjpeg") && line.contains("h264")), "{said:?}");
    }
    run_support::check(&faulty.root());
}
