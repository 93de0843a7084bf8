//! Embeds version and git revision, and refuses to build a slow encoder.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CXXFLAGS");
    embed_version();
    let is_x86 = matches!(variable("CARGO_CFG_TARGET_ARCH").as_str(), "x86" | "x86_64");
    if is_x86 {
        check_assembler();
    }
    let assembler = match variable("CXXFLAGS").contains("-DHAVE_AVX2") {
        _ if !is_x86 => "without x86 assembler",
        true => "assembler with AVX2",
        false => "assembler without AVX2",
    };
    println!("cargo::rustc-env=RECORDER_ASSEMBLER={assembler}");
}

/// `RECORDER_REVISION` is the git revision, `unknown` outside of a repository; packagers may set it.
/// `RECORDER_VERSION` is what `--version` prints.
fn embed_version() {
    println!("cargo::rerun-if-env-changed=RECORDER_REVISION");
    let given = variable("RECORDER_REVISION");
    let revision = if given.is_empty() { git(&["rev-parse", "--short=12", "HEAD"]) } else { Some(given) };
    let revision = revision.unwrap_or_else(|| "unknown".into());
    // Every commit and checkout writes there. A path that is missing would make cargo build each time.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|log| Path::new(log).exists()) {
        println!("cargo::rerun-if-changed={log}");
    }
    println!("cargo::rustc-env=RECORDER_REVISION={revision}");
    println!("cargo::rustc-env=RECORDER_VERSION={} ({revision})", variable("CARGO_PKG_VERSION"));
}

/// Without nasm openh264 silently builds its C code, which takes twice the time for every frame.
fn check_assembler() {
    if !Command::new("nasm").arg("-v").output().is_ok_and(|output| output.status.success()) {
        println!(
            "cargo::error=nasm is missing, without which the video encoder would be half as fast: \
             install it (Debian: `sudo apt-get install nasm`), run `cargo clean -p openh264-sys2`, and build again"
        );
    } else if openh264_fell_back() {
        println!(
            "cargo::error=openh264 was built when nasm was missing, and is half as fast as it should be: \
             run `cargo clean -p openh264-sys2` and build again"
        );
    }
    if !variable("CXXFLAGS").contains("-DHAVE_AVX2") {
        println!(
            "cargo::warning=openh264 is built without AVX2 and some 7 % slower: CXXFLAGS lacks -DHAVE_AVX2, which \
             .cargo/config.toml sets unless CXXFLAGS is set already"
        );
    }
}

/// Whether the build of openh264 in this target folder said so.
fn openh264_fell_back() -> bool {
    let out = PathBuf::from(variable("OUT_DIR"));
    let builds = out.ancestors().nth(2).and_then(|folder| folder.read_dir().ok()).into_iter().flatten().flatten();
    builds
        .filter(|build| build.file_name().to_string_lossy().starts_with("openh264-sys2-"))
        .filter_map(|build| std::fs::read_to_string(build.path().join("output")).ok())
        .any(|output| output.contains("Failed to compile NASM files"))
}

/// Empty if it is not set.
fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}
