use super::*;
use crate::codec::gpu::GpuCodec;
use trial::Milliseconds;

fn gpu_codec(codec: Codec, refusal: Option<&str>) -> GpuCodec {
    let trial_ms = refusal.is_none().then_some(31.0);
    GpuCodec { codec, refusal: refusal.map(str::to_string), max_width: 8192, max_height: 4096, trial_ms }
}

fn gpu(id: u32, refusal: Option<&str>, codecs: Vec<GpuCodec>) -> GpuDevice {
    GpuDevice { id, name: format!("Card {id}"), pci_bus_id: None, refusal: refusal.map(str::to_string), codecs }
}

/// `encoder codec where refusal`, of what could be on a GPU.
fn check(found: &GpuReport, expected: &[&str]) {
    let lines: Vec<String> = listed(found)
        .iter()
        .filter(|listed| listed.encoder == "nvenc")
        .map(|listed| {
            let codec = listed.codec.map_or("-", |codec| backend::codec_name(codec));
            let id = listed.gpu_id.map_or("-".into(), |id| id.to_string());
            format!("{codec} {id} {}", listed.refusal.as_deref().unwrap_or("usable"))
        })
        .collect();
    assert_eq!(lines, expected);
}

#[test]
fn every_gpu_and_codec_has_a_line_with_its_reason() {
    check(&GpuReport::refused("no driver"), &["- - no driver"]);
    check(&GpuReport::default(), &["- - there is no NVIDIA GPU"]);
    let codecs = vec![gpu_codec(Codec::H264, None), gpu_codec(Codec::Av1, Some("too old"))];
    let devices = vec![gpu(0, None, codecs), gpu(1, Some("hidden"), vec![]), gpu(2, None, vec![])];
    let found = GpuReport { devices, ..GpuReport::default() };
    check(&found, &["h264 0 usable", "av1 0 too old", "- 1 hidden", "- 2 it has no encoder"]);
}

#[test]
fn the_cpu_and_the_names_people_know_are_always_there() {
    let names: Vec<_> = listed(&GpuReport::default()).into_iter().map(|l| (l.encoder, l.refusal.is_none())).collect();
    let expected = [("openh264", true), ("copy", true), ("nvenc", false), ("qsv", false), ("vce", false)];
    assert_eq!(names, expected.map(|(name, usable)| (name.to_string(), usable)));
}

#[test]
fn a_fake_is_called_one_beside_every_figure() {
    let time = Milliseconds { mean: 1.5, p50: 1.25, p99: 3.0, max: 4.0 };
    let trial = Figures {
        pictures: 60,
        width: 1280,
        height: 720,
        open_ms: 9.0,
        decode_ms: time,
        encode_ms: time,
        fps: 666.0,
        bits_per_second: 4_000_000,
        decoded: None,
    };
    let devices = vec![gpu(0, None, vec![gpu_codec(Codec::H264, None)])];
    let mut encoders = listed(&GpuReport { devices, ..GpuReport::default() });
    encoders[2].trial = Some(trial);
    for fake_driver in [true, false] {
        let listing = Listing {
            version: "1".into(),
            revision: "2".into(),
            driver: Some("CUDA 12.2".into()),
            nvenc_api: Some("12.1".into()),
            fake_driver,
            encoders: encoders.clone(),
        };
        let table = listing.table();
        let lines: Vec<&str> = table.lines().filter(|line| line.contains("Card") || line.contains("driver:")).collect();
        assert_eq!(lines.len(), 2, "{table}");
        assert!(lines.iter().all(|line| line.contains("fake driver") == fake_driver), "{table}");
        assert!(lines[0].contains("8192x4096") && lines[0].contains("1.25 ms a picture (p99 3.00)"), "{table}");
        assert_eq!(lines[1].replace(" (fake driver)", ""), "NVIDIA driver: CUDA 12.2, NVENC API 12.1");
        // Every column begins at the same place in every line.
        let column = |line: &str, word: &str| line.find(word).map(|at| line[..at].chars().count());
        let state = column(&table, "STATE");
        assert!(
            table
                .lines()
                .skip(1)
                .take(5)
                .all(|line| { ["not usable", "not tried", "1280x720"].iter().any(|word| column(line, word) == state) }),
            "{table}"
        );
    }
}
