//! Where LeRobot keeps its files on this machine.

use std::path::PathBuf;

/// LeRobot's folder: `$HF_LEROBOT_HOME`, else `lerobot` in `$HF_HOME`, in `$XDG_CACHE_HOME/huggingface`, in
/// `~/.cache/huggingface`. `env` gives an environment variable.
pub fn lerobot_home(env: &impl Fn(&str) -> Option<String>) -> PathBuf {
    let var = |name: &str| env(name).map(|value| expand(&value, env));
    let hugging_face = || {
        let cache = || var("XDG_CACHE_HOME").unwrap_or_else(|| expand("~/.cache", env));
        var("HF_HOME").unwrap_or_else(|| cache().join("huggingface"))
    };
    var("HF_LEROBOT_HOME").unwrap_or_else(|| hugging_face().join("lerobot"))
}

/// The path with a leading `~` replaced by the home folder.
pub fn expand(path: &str, env: &impl Fn(&str) -> Option<String>) -> PathBuf {
    match (path.strip_prefix('~'), env("HOME")) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
            PathBuf::from(home).join(rest.trim_start_matches('/'))
        }
        _ => PathBuf::from(path),
    }
}
