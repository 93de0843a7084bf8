//! What is to hold after every crash: recovery works and says what it did, the data set verifies, and every episode that
//! the recorder said it had saved is there, to the byte.

use super::disk::{Tree, read_tree};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A data set after recovery.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    pub episodes: u64,
    pub frames: u64,
    /// Recovery said that something was lost.
    pub lost: bool,
    pub words: String,
}

/// `recorder ARGUMENTS`, with nothing of this machine's in its environment.
pub fn recorder(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_recorder"));
    command.args(arguments).env_remove("RUST_LOG").env("NO_COLOR", "1").stdin(std::process::Stdio::null());
    command
}

fn words(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat()
}

/// Recovers and verifies; a folder that nothing was recorded in has nothing to recover.
pub fn recover(root: &Path) -> Result<Recovered, String> {
    if !["meta/info.json", ".partial"].iter().any(|path| root.join(path).exists()) {
        return Ok(Recovered::default());
    }
    recover_and_verify(root, &[])
}

fn recover_and_verify(root: &Path, how: &[&str]) -> Result<Recovered, String> {
    let root_name = root.to_str().unwrap();
    let output = recorder(&["recover", root_name]).output().unwrap();
    let code = output.status.code();
    let recovered = words(&output);
    if !matches!(code, Some(0 | 3)) {
        return Err(format!("recover ended with {}:\n{recovered}", output.status));
    }
    let (episodes, frames) = totals(root)?;
    let output = recorder(&[&["verify", root_name], how].concat()).output().unwrap();
    if output.status.code() != Some(if episodes == 0 { 4 } else { 0 }) {
        let verified = words(&output);
        return Err(format!(
            "verify ended with {} after recover said\n{recovered}\nverify:\n{verified}",
            output.status
        ));
    }
    Ok(Recovered { episodes, frames, lost: code == Some(3), words: recovered })
}

/// Episodes and rows as `info.json` counts them; none without one.
pub fn totals(root: &Path) -> Result<(u64, u64), String> {
    let path = root.join("meta/info.json");
    let Ok(text) = std::fs::read(&path) else { return Ok((0, 0)) };
    let info: Value = serde_json::from_slice(&text).map_err(|e| format!("{}: {e}", path.display()))?;
    let total = |key: &str| info[key].as_u64().ok_or_else(|| format!("{}: no {key}", path.display()));
    Ok((total("total_episodes")?, total("total_frames")?))
}

/// The files that are one episode's alone.
pub fn episode(tree: &Tree, episode: u64) -> Vec<(&PathBuf, &Vec<u8>)> {
    let stem = format!("chunk-{:03}/file-{:03}", episode / 1000, episode % 1000);
    let own = |path: &Path| !path.starts_with(".partial") && path.with_extension("").ends_with(&stem);
    tree.iter().filter_map(|(path, data)| Some((path, data.as_ref().filter(|_| own(path))?))).collect()
}

/// The first `episodes` episodes of `expected` are in `found` to the byte.
pub fn same_episodes(expected: &Tree, found: &Tree, episodes: u64) -> Result<(), String> {
    for index in 0..episodes {
        let files = episode(expected, index);
        assert!(
            files.len() >= 5,
            "episode {index} has only {:?}",
            files.iter().map(|(path, _)| path).collect::<Vec<_>>()
        );
        for (path, data) in files {
            match found.get(path) {
                Some(Some(now)) if now == data => {}
                Some(Some(now)) => {
                    return Err(format!(
                        "episode {index}: {} changed, {} bytes, now {}",
                        path.display(),
                        data.len(),
                        now.len()
                    ));
                }
                _ => return Err(format!("episode {index}: {} is gone", path.display())),
            }
        }
    }
    Ok(())
}

/// Recovers, and holds the result against what was acknowledged: the first `saved` episodes of `expected`.
pub fn judge(root: &Path, saved: u64, expected: &Tree) -> Result<Recovered, String> {
    let recovered = recover(root)?;
    if recovered.episodes < saved {
        return Err(format!("{saved} episodes were saved, {} are there:\n{}", recovered.episodes, recovered.words));
    }
    same_episodes(expected, &read_tree(root), saved)?;
    Ok(recovered)
}

/// Recovers a second time, which must change nothing and find nothing lost, and verifies by decoding every frame.
pub fn again(root: &Path) -> Result<(), String> {
    if !root.join("meta/info.json").exists() {
        return Ok(());
    }
    let before = read_tree(root);
    let recovered = recover_and_verify(root, &["--deep"])?;
    if recovered.lost {
        return Err(format!("recovering a second time loses again:\n{}", recovered.words));
    }
    let after = read_tree(root);
    let changed: Vec<_> =
        before.keys().chain(after.keys()).filter(|path| before.get(*path) != after.get(*path)).collect();
    if changed.is_empty() { Ok(()) } else { Err(format!("recovering a second time changes {changed:?}")) }
}
