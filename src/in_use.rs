//! Who holds a device file open, for messages that name it.

use serde::Serialize;
use std::fmt;
use std::fs;
use std::path::Path;

/// A process that has a file open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Holder {
    pub process: u32,
    /// The program's name.
    pub name: String,
}

/// The processes that have `path` open, as far as this user may see.
pub fn holders(path: &Path) -> Vec<Holder> {
    holders_in(Path::new("/proc"), path)
}

/// As [`holders`], by what a folder such as /proc tells.
pub fn holders_in(proc: &Path, path: &Path) -> Vec<Holder> {
    let Ok(path) = fs::canonicalize(path) else { return Vec::new() };
    let processes = fs::read_dir(proc).into_iter().flatten().flatten();
    let mut found: Vec<Holder> = processes
        .filter_map(|entry| {
            let process: u32 = entry.file_name().to_str()?.parse().ok()?;
            let mut files = fs::read_dir(entry.path().join("fd")).ok()?.flatten();
            files.any(|file| fs::read_link(file.path()).is_ok_and(|target| target == path)).then(|| {
                let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
                Holder { process, name: name.trim().to_string() }
            })
        })
        .collect();
    found.sort_by_key(|holder| holder.process);
    found
}

/// The end of a sentence that began with "is in use by": who it is, as far as known, and what to do.
pub struct InUse<'a>(pub &'a Path);

impl fmt::Display for InUse<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&words(self.0, &holders(self.0), std::process::id()))
    }
}

fn words(path: &Path, holders: &[Holder], this_process: u32) -> String {
    let others: Vec<String> = holders
        .iter()
        .filter(|holder| holder.process != this_process)
        .map(|holder| format!("{} (process {})", holder.name, holder.process))
        .collect();
    match others.as_slice() {
        [] if !holders.is_empty() => "this very program: two keys name one device; give each its own".into(),
        [] => format!("another program; end that program (`fuser {}` names it)", path.display()),
        others => format!("another program: {}; end it first", others.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_that_holds_a_file_is_found_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("file"), dir.path().join("link"));
        fs::write(&path, "").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(holders(&link), []);
        let held = fs::File::open(&path).unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").stdin(held).spawn().unwrap();
        let found = holders(&link);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.contains(&Holder { process: child.id(), name: "sleep".into() }), "{found:?}");
    }

    #[test]
    fn whoever_it_is_is_named() {
        let holder = |process| Holder { process, name: "recorder".into() };
        for (holders, expected) in [
            (vec![], "another program; end that program (`fuser /dev/x` names it)"),
            (vec![holder(7)], "this very program: two keys name one device; give each its own"),
            (vec![holder(7), holder(8)], "another program: recorder (process 8); end it first"),
        ] {
            assert_eq!(words(Path::new("/dev/x"), &holders, 7), expected);
        }
    }
}
