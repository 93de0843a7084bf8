use super::*;
use crate::codec::gpu::{GpuCodec, GpuDevice};
use crate::encoders::decode::Verdict;
use crate::encoders::trial::Milliseconds;

fn found(fake: bool) -> GpuReport {
    let codec = |codec, refusal: Option<&str>| GpuCodec {
        codec,
        refusal: refusal.map(str::to_string),
        max_width: 4096,
        max_height: 4096,
        trial_ms: None,
    };
    let gpu = |id, codecs| GpuDevice { id, name: format!("Card {id}"), pci_bus_id: None, refusal: None, codecs };
    let devices = vec![gpu(0, vec![codec(Codec::H264, None), codec(Codec::Av1, Some("too old"))])];
    GpuReport { driver: Some("CUDA 12.2".into()), api: Some("12.1".into()), fake, devices, ..GpuReport::default() }
}

fn exact() -> Verdict {
    Verdict::Exact { by: "a decoder".into() }
}

fn wrong() -> Verdict {
    Verdict::Wrong { by: "a decoder".into(), what: "picture 3".into() }
}

fn trial(decoded: Verdict) -> Figures {
    Figures {
        pictures: 30,
        width: 1280,
        height: 720,
        open_ms: 1.0,
        decode_ms: Milliseconds::default(),
        encode_ms: Milliseconds::default(),
        fps: 100.0,
        bits_per_second: 1,
        decoded: Some(decoded),
    }
}

fn recorded() -> RecordingFigures {
    RecordingFigures {
        cameras: 2,
        episodes: 1,
        captured: 60,
        written: 60,
        dropped: 0,
        repeated: 0,
        rows_per_second: 30.0,
        tick_jitter_p99_ms: 0.1,
        save_ms: Milliseconds::default(),
        cpu_cores: 0.5,
        bits_per_second: 1,
        encoders: vec!["openh264".into()],
        switches: vec![["nvenc".into(), "openh264".into(), "error".into()]],
        switch_ms: Some(40.0),
        decoded: exact(),
    }
}

fn dying() -> Recording {
    Recording { device: Device::Gpu, gpu_id: 0, seconds: 10, death: Some(Death::Error), stand_in: false }
}

fn report(found: &GpuReport) -> Report {
    Report {
        version: "1".into(),
        revision: "2".into(),
        measured_at_unix_s: 0,
        machine: Machine::here(found),
        encoders: vec![],
        sessions: vec![],
        recordings: vec![],
        not_tested: not_tested(found),
        failures: vec![],
        markdown: String::new(),
    }
}

#[test]
fn every_preset_of_every_codec_is_tried_and_the_rest_is_named() {
    let found = found(true);
    let tried: Vec<String> = encoders(&found).iter().map(Encoder::describe).collect();
    assert_eq!(tried[..2], ["openh264 h264", "copy mjpeg"]);
    let presets: Vec<String> = (1..=7).map(|n| format!("nvenc h264, preset p{n} on GPU 0")).collect();
    assert_eq!(tried[2..], presets);
    assert_eq!(sessions(&found).len(), 1);
    assert_eq!(not_tested(&found), ["GPU 0 (Card 0), av1: too old"]);

    let none = GpuReport::refused("no driver");
    assert_eq!((encoders(&none).len(), sessions(&none).len()), (2, 0));
    let lines = not_tested(&none);
    assert_eq!((lines[0].as_str(), lines.len()), ("NVENC: no driver", 3));
}

#[test]
fn without_a_gpu_a_stand_in_dies_and_the_cpu_records() {
    let test = SelfTest { program: PathBuf::new(), seconds: 600, folder: PathBuf::new() };
    let described =
        |found: &GpuReport| test.recordings(found).iter().map(Recording::describe).collect::<Vec<_>>().join("\n");
    assert_eq!(
        described(&found(false)),
        "recording 2 cameras on GPU 0 for 10 s, a session fails\n\
         recording 2 cameras on GPU 0 for 10 s, a session hangs\n\
         recording 2 cameras on GPU 0 for 600 s\n\
         recording 2 cameras on the CPU for 600 s"
    );
    assert_eq!(
        described(&GpuReport::default()),
        "recording 2 cameras on a stand-in for a GPU for 10 s, a session fails\n\
         recording 2 cameras on a stand-in for a GPU for 10 s, a session hangs\n\
         recording 2 cameras on the CPU for 600 s"
    );
}

#[test]
fn a_recording_is_judged_by_its_pictures_its_account_and_its_switch() {
    let good = recorded;
    let on_cpu = Recording { device: Device::Cpu, death: None, ..dying() };
    for (recording, figures, fault) in [
        (dying(), good(), None),
        (on_cpu, RecordingFigures { switches: vec![], switch_ms: None, ..good() }, None),
        (dying(), RecordingFigures { decoded: wrong(), ..good() }, Some("WRONG by a decoder: picture 3")),
        (dying(), RecordingFigures { written: 59, dropped: 1, ..good() }, None),
        (dying(), RecordingFigures { written: 59, ..good() }, Some("frames were lost: captured 60, written 59")),
        (dying(), RecordingFigures { switch_ms: Some(1001.0), ..good() }, Some("the switch took 1001 ms")),
        (dying(), RecordingFigures { switch_ms: None, ..good() }, Some("nobody took over")),
        (dying(), RecordingFigures { switches: vec![], ..good() }, Some("expected 1 changes of encoder, found 0")),
        (on_cpu, good(), Some("expected 0 changes of encoder, found 1: nvenc to openh264: error")),
    ] {
        let faults = figures.faults(&recording);
        assert_eq!(faults.len(), usize::from(fault.is_some()), "{faults:?}");
        assert!(fault.is_none_or(|fault| faults[0].contains(fault)), "{faults:?}");
    }
}

#[test]
fn whatever_failed_is_in_the_list_and_what_was_not_checked_is_in_the_other() {
    let found = found(false);
    let encoder = || encoders(&found).remove(2);
    let mut report = report(&found);
    report.encoders = vec![
        Tried::new(encoder(), Ok(trial(exact()))),
        Tried::new(encoder(), Ok(trial(wrong()))),
        Tried::new(encoder(), Ok(trial(Verdict::NotChecked { why: "no ffmpeg".into() }))),
        Tried::new(encoder(), Err("it crashed".into())),
    ];
    let opened = |opened, decoded| {
        let (refusal, encode_ms) = (Some("full".into()), Milliseconds::default());
        Tried::new(sessions(&found)[0], Ok(SessionFigures { opened, refusal, fps: 0.0, encode_ms, decoded }))
    };
    let none = Verdict::NotChecked { why: "none".into() };
    report.sessions = vec![opened(0, none), opened(3, exact()), opened(3, wrong())];
    report.recordings = vec![Tried::new(dying(), Ok(recorded())), Tried::new(dying(), Err("the disk is full".into()))];
    report.judge();
    assert_eq!(
        report.failures,
        [
            "nvenc h264, preset p1 on GPU 0: WRONG by a decoder: picture 3",
            "nvenc h264, preset p1 on GPU 0: it crashed",
            "sessions on GPU 0: not one: full",
            "sessions on GPU 0: WRONG by a decoder: picture 3",
            "recording 2 cameras on GPU 0 for 10 s, a session fails: the disk is full",
        ]
    );
    assert_eq!(report.not_tested[1..], ["decoding nvenc h264, preset p1 on GPU 0: no ffmpeg"]);
}

#[test]
fn a_fake_is_called_one_in_every_row_of_a_gpu() {
    for fake in [true, false] {
        let found = found(fake);
        let mut report = report(&found);
        report.encoders = encoders(&found).into_iter().map(|e| Tried::new(e, Ok(trial(exact())))).collect();
        report.sessions = sessions(&found).into_iter().map(|s| Tried::new(s, Err("it | crashed".into()))).collect();
        report.recordings = vec![Tried::new(dying(), Ok(recorded())), Tried::new(dying(), Err("lost".into()))];
        report.judge();
        let text = report.to_markdown();
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with('|') && line.contains("GPU 0")).collect();
        assert_eq!(rows.len(), 7 + 1 + 2, "{text}");
        assert!(rows.iter().all(|row| row.contains("fake driver") == fake), "{text}");
        assert!(text.lines().next().is_some_and(|title| title.contains("fake driver") == fake), "{text}");
        assert!(text.contains("FAILED: it \\| crashed") && text.contains("FAILED: lost"), "{text}");
        assert!(text.contains("- GPU 0 (Card 0), av1: too old"), "{text}");
        // Every row of a table has as many cells as its header.
        let mut columns = 0;
        for line in text.lines() {
            let cells = line.replace("\\|", "").matches('|').count();
            assert!(cells == 0 || columns == 0 || cells == columns, "{line}");
            columns = cells;
        }
    }
}
