//! The GPUs on the page of a run of the program, by a fake of NVIDIA's management library: what it says, what it does not
//! support, and that nothing waits for it however it fails. Nothing here but `real_gpu` ran on a GPU.

mod fake_driver;
mod program;

use program::{Lab, PATIENCE, Running, Signal};
use recorder::codec::gpu::{GpuDevice, GpuReport};
use recorder::gpu_metrics::{Figures, Look, Page, Said, listen};
use std::cell::RefCell;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What GPUs say: one that is busy, one without encoder and sensor, one that is lost.
const BUSY: &str = "utilization=42 encoder=17 sessions=3 used=2147483648 total=8589934592 temperature=61";
const BARE: &str = "utilization=7 used=536870912 total=4294967296";
const LOST: &str = "all=15";

/// A run of the program that goes on until it is told to stop, on a fake driver.
struct Run {
    lab: Lab,
    running: Running,
    address: String,
}

impl Run {
    /// GPUs as they are told, which the run wants.
    fn start(libraries: &[&str], gpus: &[&str]) -> Run {
        Run::start_with(libraries, gpus, "", &["--dataset.gpu_video_encoding=true"])
    }

    fn start_with(libraries: &[&str], gpus: &[&str], faults: &str, overrides: &[&str]) -> Run {
        let lab = Lab::new();
        tell(&lab, gpus);
        let mut command = lab.command(env!("CARGO_BIN_EXE_recorder"));
        command
            .args(["--config", "lab.toml", "--metrics.listen=127.0.0.1:0", "--dataset.num_episodes=1000"])
            .args(overrides)
            .env("LD_LIBRARY_PATH", fake_driver::folder_with(libraries))
            .env("FAKE_NVENC", format!("codecs=h264,devices={},{faults}", gpus.len()))
            .env("FAKE_NVENC_TRACE", lab.path("trace"))
            .env("FAKE_NVML", lab.path("gpus"))
            .env("RUST_LOG", "recorder=debug,warn");
        let mut running = Running::of(command);
        let line = running.wait_for("metrics at http://");
        let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap().to_string();
        Run { lab, running, address }
    }

    fn page(&self) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
        text
    }

    /// Waits until the page shows this of the GPUs, and nothing else.
    fn shows(&self, expected: &[(&str, u32, f64)]) {
        let lines =
            |page: &str| page.lines().filter(|line| line.starts_with("recorder_gpu_")).map(String::from).collect();
        let expected =
            expected.iter().map(|(name, gpu, value)| format!("recorder_gpu_{name}{{gpu=\"{gpu}\"}} {value}"));
        let mut expected: Vec<String> = expected.collect();
        expected.sort();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut shown: Vec<String> = lines(&self.page());
            shown.sort();
            if shown == expected {
                return;
            }
            assert!(Instant::now() < deadline, "expected {expected:#?}, found {shown:#?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until it has saved so many episodes more.
    fn saves(&self, episodes: u64) {
        let saved = || -> u64 {
            let page = self.page();
            let line = page.lines().find(|line| line.starts_with("recorder_episodes_total{outcome=\"saved\"}"));
            line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
        };
        let (before, deadline) = (saved(), Instant::now() + PATIENCE);
        while saved() < before + episodes {
            assert!(Instant::now() < deadline, "the run stands still");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Stops it, and gives its log.
    fn stop(self) -> String {
        self.running.signal(Signal::INT);
        let ended = self.running.wait();
        assert_eq!(ended.code, Some(130), "{}", ended.text);
        ended.text
    }
}

/// What the driver says from now on, a line for each GPU. At once, since it may be reading.
fn tell(lab: &Lab, gpus: &[&str]) {
    std::fs::rename(lab.write("new", &gpus.join("\n")), lab.path("gpus")).unwrap();
}

fn busy(gpu: u32) -> [(&'static str, u32, f64); 6] {
    [
        ("utilization_ratio", gpu, 0.42),
        ("encoder_utilization_ratio", gpu, 0.17),
        ("memory_used_bytes", gpu, 2147483648.0),
        ("memory_bytes", gpu, 8589934592.0),
        ("temperature_celsius", gpu, 61.0),
        ("encoder_sessions", gpu, 3.0),
    ]
}

fn bare(gpu: u32) -> [(&'static str, u32, f64); 3] {
    [("utilization_ratio", gpu, 0.07), ("memory_used_bytes", gpu, 536870912.0), ("memory_bytes", gpu, 4294967296.0)]
}

fn nothing<const N: usize>(figures: [(&'static str, u32, f64); N]) -> [(&'static str, u32, f64); N] {
    figures.map(|(name, gpu, _)| (name, gpu, f64::NAN))
}

fn count(text: &str, words: &str) -> usize {
    text.lines().filter(|line| line.contains(words)).count()
}

const ALL: &[&str] = &[fake_driver::CUDA, fake_driver::NVENC, fake_driver::NVML];

#[test]
fn each_gpu_is_on_the_page_and_one_that_is_lost_shows_no_number() {
    // CUDA's GPU 0 is at 1 on the bus, and NVML's GPU 1.
    let (first, second) = (format!("bus=2 {BUSY}"), format!("bus=1 {BARE}"));
    let mut run = Run::start(ALL, &[&first, &second]);
    // What a GPU does not know is absent, and not 0.
    run.shows(&[&busy(0)[..], &bare(1)].concat());
    run.running.wait_for("GPU 0 (dataset.encoder.gpu_id) is gpu=\"1\" on /metrics, as nvidia-smi counts");
    tell(&run.lab, &[LOST, BARE]);
    run.shows(&[&nothing(busy(0))[..], &bare(1)].concat());
    let line = run.running.wait_for("GPU 0 gives no figures");
    assert!(line.contains("WARN") && line.contains("GPU is lost"), "{line}");
    tell(&run.lab, &[BUSY, BARE]);
    run.shows(&[&busy(0)[..], &bare(1)].concat());
    run.running.wait_for("GPU 0 gives figures again");
    let log = run.stop();
    assert_eq!((count(&log, "gives no figures"), count(&log, "no figures of the GPUs")), (1, 0), "{log}");
}

#[test]
fn a_driver_that_hangs_holds_up_neither_page_nor_run() {
    let run = Run::start(ALL, &["all=hang"]);
    let deadline = Instant::now() + PATIENCE;
    while !std::fs::read_to_string(run.lab.path("trace")).is_ok_and(|trace| trace.contains("hang call=nvml")) {
        assert!(Instant::now() < deadline, "nobody asked");
        std::thread::sleep(Duration::from_millis(20));
    }
    let children = children(run.running.id());
    assert!(!children.is_empty());
    run.saves(2);
    let log = run.stop();
    assert!(log.contains("episodes saved"), "{log}");
    // The child hangs no longer.
    for child in children {
        while is_alive(child) {
            assert!(Instant::now() < deadline, "{child} lives on");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn children(parent: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{parent}/task")).unwrap().map(|task| task.unwrap().path());
    let lists = tasks.map(|task| std::fs::read_to_string(task.join("children")).unwrap_or_default());
    lists.flat_map(|list| list.split(' ').filter_map(|id| id.parse().ok()).collect::<Vec<u32>>()).collect()
}

/// What has ended may wait to be reaped by whoever adopted it.
fn is_alive(process: u32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{process}/stat"));
    state.is_ok_and(|state| !state.contains(") Z") && !state.contains(") X"))
}

#[test]
fn without_the_library_the_figures_are_absent_and_only_missed_where_there_is_a_gpu() {
    let words = "no figures of the GPUs on /metrics: the NVIDIA driver's libnvidia-ml.so.1 cannot be loaded";
    for (libraries, level) in [(&[][..], "DEBUG"), (&[fake_driver::CUDA, fake_driver::NVENC], "WARN")] {
        let mut run = Run::start(libraries, &[BUSY]);
        let line = run.running.wait_for(words);
        assert!(line.contains(level) && line.contains("driver capability \"utility\""), "{line}");
        run.shows(&[]);
        assert_eq!(count(&run.stop(), "figures of the GPUs"), 1, "said once");
    }
}

#[test]
fn a_run_that_wants_no_gpu_asks_none() {
    let run = Run::start_with(ALL, &[BUSY], "", &["--dataset.gpu_video_encoding=false"]);
    run.saves(1);
    assert_eq!(children(run.running.id()), Vec::<u32>::new());
    run.shows(&[]);
    run.stop();
}

/// Of the metrics that the pool feeds: what the whole program shows of a GPU that fails once.
#[test]
fn a_take_in_which_the_gpu_fails_shows_a_fallback_and_the_next_one_none() {
    // Long enough that the page is looked at while the take goes on.
    let overrides = ["--dataset.gpu_video_encoding=true", "--dataset.episode_time_s=5"];
    let run = Run::start_with(ALL, &[BUSY], "fail=20:20", &overrides);
    let until = |expected: &[(&str, &[&str], &str)]| {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let page = run.page();
            let is_shown = |(name, labels, value): &(&str, &[&str], &str)| {
                let is_it = |line: &&str| line.starts_with(name) && labels.iter().all(|label| line.contains(label));
                page.lines().find(is_it).is_some_and(|line| line.rsplit(' ').next() == Some(value))
            };
            if expected.iter().all(is_shown) {
                return;
            }
            assert!(Instant::now() < deadline, "expected {expected:?}, found {page}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let backends = |on_gpu, on_cpu| {
        [("recorder_encoder_info{", &["\"nvenc\""][..], on_gpu), ("recorder_encoder_info{", &["\"openh264\""], on_cpu)]
    };
    until(&[&[("recorder_encoder_fallback{", &["\"front\""][..], "1")], &backends("0", "1")[..]].concat());
    until(&[&[("recorder_encoder_fallback{", &["\"front\""][..], "0")], &backends("1", "0")[..]].concat());
    until(&[("recorder_encoder_fallbacks_total{", &["from=\"nvenc\"", "to=\"openh264\"", "reason=\"error\""], "1")]);
    run.stop();
}

/// What is said by a child that runs this script, until it says nothing more.
fn listen_to(script: &Path, patience: Duration) -> Vec<String> {
    let said = RefCell::new(Vec::new());
    let devices = vec![GpuDevice { id: 0, name: "Card".into(), pci_bus_id: None, refusal: None, codecs: vec![] }];
    let mut page = Page::new(&GpuReport { devices, ..GpuReport::default() }, 0);
    listen(script, patience, &mut page, &|Said { text, .. }| said.borrow_mut().push(text));
    said.into_inner()
}

// One test only: a program that is being written cannot be run, and another test's children would hold it open.
#[test]
fn every_end_of_the_child_is_said_and_none_outlives_it() {
    let dir = tempfile::tempdir().unwrap();
    let script = |body: &str| -> PathBuf {
        let path = dir.path().join("script");
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    let look =
        serde_json::to_string(&Look::Ok(vec![Figures { utilization: Some(0.5), ..Figures::default() }])).unwrap();
    let (driver, told, program) = (fake_driver::folder(), dir.path().join("gpus"), env!("CARGO_BIN_EXE_recorder"));
    let (driver, told) = (driver.display(), told.display());
    let fake =
        |gpus: &str| format!("echo '{gpus}' >{told}\nLD_LIBRARY_PATH={driver} FAKE_NVML={told} exec {program} \"$@\"");
    let asked = "[ \"$*\" = 'encoders --watch-in-process' ] || exit 9";
    for (body, reason) in [
        (
            format!("{asked}\necho hello\necho '{look}'\nexit 3"),
            "the reading of the GPUs' figures failed (exit code 3)",
        ),
        (format!("echo '{look}'\nkill -SEGV $$"), "the NVIDIA driver crashed when asked (signal 11)"),
        (fake("all=crash"), "the NVIDIA driver crashed when asked (signal 11)"),
        (fake("init=crash"), "the NVIDIA driver crashed when asked (signal 11)"),
        (fake("init=9"), "Driver Not Loaded (nvmlInit_v2: 9)"),
        (fake("init=12345"), "Unknown Error (nvmlInit_v2: 12345)"),
        (fake(""), "there is no NVIDIA GPU"),
    ] {
        let said = listen_to(&script(&body), PATIENCE);
        assert_eq!(said, [format!("no figures of the GPUs on /metrics: {reason}")], "{body}");
    }
    // All GPUs are lost: the driver is started anew, later.
    let said = listen_to(&script(&fake("all=15\nall=15")), PATIENCE);
    let lost = |gpu| {
        format!("GPU {gpu} gives no figures: GPU is lost (nvmlDeviceGetHandleByIndex_v2: 15); it is NaN on /metrics")
    };
    assert_eq!(said, [lost(0), lost(1)]);

    let pid = dir.path().join("pid");
    for body in ["sleep 1000 & echo $! >PID; wait", "while :; do echo rubbish; echo $$ >PID; sleep 0.01; done"] {
        let script = script(&body.replace("PID", &pid.display().to_string()));
        // On a busy machine the child may need longer to come to where it hangs.
        for patience in [500, 5_000, 50_000].map(Duration::from_millis) {
            let reason = format!("the NVIDIA driver did not answer within {} s", patience.as_secs_f64());
            assert_eq!(listen_to(&script, patience), [format!("no figures of the GPUs on /metrics: {reason}")]);
            if std::fs::read_to_string(&pid).is_ok_and(|pid| pid.ends_with('\n')) {
                break;
            }
        }
        let child = std::fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
        let deadline = Instant::now() + PATIENCE;
        while is_alive(child) {
            assert!(Instant::now() < deadline, "the child of {body:?} lives on");
            std::thread::yield_now();
        }
        std::fs::remove_file(&pid).unwrap();
    }
}

/// On a machine with an NVIDIA GPU: `cargo test --test gpu_metrics -- --ignored --nocapture real_gpu`. Holds what the driver's
/// own library tells the recorder against what nvidia-smi prints: the same GPUs in the same order, their memory, a
/// temperature close by, shares between 0 and 1, and prints it.
#[test]
#[ignore = "needs an NVIDIA GPU"]
fn real_gpu() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_recorder"))
        .args(["encoders", "--watch-in-process"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let query = "--query-gpu=index,pci.bus_id,memory.total,temperature.gpu";
    let output = Command::new("nvidia-smi").args([query, "--format=csv,noheader,nounits"]).output().unwrap();
    let listed = String::from_utf8(output.stdout).unwrap();
    let mut last = Instant::now();
    for _ in 0..3 {
        let line = lines.next().expect("a line every two seconds");
        println!("after {:?}: {line}", last.elapsed());
        last = Instant::now();
        let gpus = serde_json::from_str::<Look>(&line).unwrap().unwrap();
        assert_eq!(gpus.len(), listed.lines().count(), "{listed}");
        for (gpu, line) in gpus.iter().zip(listed.lines()) {
            println!("nvidia-smi: {line}");
            let [index, pci, total_mib, celsius] = line.split(", ").collect::<Vec<_>>()[..] else { panic!("{line}") };
            assert_eq!(gpu.refusal, None);
            assert_eq!((gpu.gpu.to_string().as_str(), gpu.pci_bus_id.as_deref()), (index, Some(pci)));
            assert_eq!(gpu.memory_bytes.unwrap() >> 20, total_mib.parse::<u64>().unwrap());
            assert!(gpu.memory_used_bytes <= gpu.memory_bytes);
            assert!(gpu.temperature_celsius.unwrap().abs_diff(celsius.parse().unwrap()) <= 10);
            for share in [gpu.utilization, gpu.encoder_utilization].into_iter().flatten() {
                assert!((0.0..=1.0).contains(&share), "{share}");
            }
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
