//! `actors.md` is held against the code, and the rules that no type can hold.

mod run_support;

use recorder::codec::backend;
use run_support::*;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn source(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    found
}

/// The message enums of a file with their variants.
fn messages(text: &str) -> Vec<(String, Vec<String>)> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("pub enum ").and_then(|rest| rest.split(' ').next()) {
            inside = name.ends_with("Message");
            if inside {
                found.push((name.to_string(), Vec::new()));
            }
        } else if line == "}" {
            inside = false;
        } else if let Some(rest) =
            line.strip_prefix("    ").filter(|rest| inside && rest.starts_with(char::is_uppercase))
        {
            let variant: String = rest.chars().take_while(|c| c.is_alphanumeric()).collect();
            found.last_mut().unwrap().1.push(variant);
        }
    }
    found
}

#[test]
fn the_map_names_every_message() {
    let map = source("actors.md");
    let mut count = 0;
    for path in files("src/actors") {
        for (name, variants) in messages(&std::fs::read_to_string(&path).unwrap()) {
            // An actor's file, or its folder.
            let named = if path.ends_with("mod.rs") { path.parent().unwrap() } else { &path };
            let actor = named.file_stem().unwrap().to_string_lossy().replace('_', "");
            let section = map.split("\n### ").find(|section| {
                let title: String = section.lines().next().unwrap().to_lowercase();
                title.trim_end_matches("actor") == actor
            });
            let section = section.unwrap_or_else(|| panic!("actors.md has no section for {}", path.display()));
            let receives = section.split("- **Receives**").nth(1).and_then(|s| s.split("\n- **").next()).unwrap_or("");
            for variant in variants {
                count += 1;
                assert!(receives.contains(&format!("`{variant}`")), "actors.md does not say that {name} has {variant}");
            }
        }
    }
    assert!(count > 30, "only {count} messages were found: the test reads the sources wrongly");
}

#[test]
fn the_map_names_tests_that_exist() {
    let map = source("actors.md");
    let all: String =
        files("src").into_iter().chain(files("tests")).map(|p| std::fs::read_to_string(p).unwrap()).collect();
    let invariants = map.split("## Invariants").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut count = 0;
    for name in invariants.split('`').skip(1).step_by(2) {
        let name = name.rsplit("::").next().unwrap();
        if name.contains('_') && name.chars().all(|c| c.is_ascii_lowercase() || c == '_') && name != "pre_start" {
            count += 1;
            assert!(all.contains(&format!("fn {name}(")), "actors.md names a test that does not exist: {name}");
        }
    }
    assert!(count >= 9, "{count}");
}

#[test]
fn only_the_pool_sends_to_encoders() {
    for path in files("src") {
        let shown = path.to_string_lossy().into_owned();
        if !shown.ends_with("actors/encoder.rs") && !shown.contains("actors/encoder_pool/") {
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(!text.contains("EncoderMessage"), "{} talks to encoders", path.display());
        }
    }
}

#[test]
fn no_actor_knows_of_the_network() {
    let recording = ["src/actors", "src/camera", "src/codec", "src/dataset"];
    for path in recording.into_iter().flat_map(files) {
        let text = std::fs::read_to_string(&path).unwrap();
        for word in ["crate::console", "hyper", "std::net", "tokio::net"] {
            assert!(!text.contains(word), "{} mentions {word}", path.display());
        }
    }
}

/// Threads of this process by name.
fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).ok();
    tasks.filter_map(|task| name(task.ok()?)).map(|name| name.trim().to_string()).collect()
}

/// A thread that was joined is in the kernel's list for a moment longer: what is left is looked at until nothing is.
#[track_caller]
fn soon_empty(left: impl Fn() -> Vec<String>) {
    let start = Instant::now();
    while !left().is_empty() {
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", left());
        std::thread::yield_now();
    }
}

/// After a run no thread of a device, of the tick, or of an encoder is left, and no file of the data set is open.
#[tokio::test(flavor = "multi_thread")]
async fn run_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let before = threads().len();
    for run in 0..3 {
        let root = dir.path().join(run.to_string());
        let overrides = [("dataset.num_episodes", "1"), ("dataset.video_encoding_workers", "2")];
        record(&config(SMALL, &root, &overrides), simulated(), backend::standard()).await;
        summaries(&root);
    }
    let mine = ["camera-front", "camera-wrist", "leader", "follower", "tick"];
    soon_empty(|| threads().into_iter().filter(|name| mine.contains(&name.as_str())).collect());
    // The runtime keeps its workers and a few threads for blocking work; encoders, pool and writer have ended.
    soon_empty(|| threads().into_iter().skip(before + 8).collect());
    soon_empty(|| {
        let targets =
            std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
        targets.filter(|target| target.starts_with(dir.path())).map(|target| target.display().to_string()).collect()
    });
}
