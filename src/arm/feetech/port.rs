//! Opening a serial port, and what people can do when that fails.

use crate::arm::ArmError;
use crate::in_use::InUse;
use rustix::process::{getegid, geteuid, getgroups};
use serialport::{ErrorKind, TTYPort};
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// Opens a port for this process alone.
pub fn open(path: &str, baud: u32) -> Result<TTYPort, ArmError> {
    TTYPort::open(&serialport::new(path, baud)).map_err(|e| open_error(path, e))
}

/// The serial ports of this machine that an arm could be on, stable names first.
pub fn serial_ports() -> Vec<String> {
    let list = |folder: &str, prefixes: &[&str]| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)))
            .map(|name| format!("{folder}/{name}"))
            .collect();
        names.sort();
        names
    };
    [list("/dev/serial/by-id", &[""]), list("/dev", &["ttyACM", "ttyUSB"])].concat()
}

/// The serial ports that are not the device at `path`.
pub fn other_ports(path: &str) -> Vec<String> {
    let device = |path: &str| fs::canonicalize(path).ok();
    let this = device(path);
    serial_ports().into_iter().filter(|port| device(port) != this).collect()
}

/// Why a port cannot be opened, and what to do about it.
fn open_error(path: &str, error: serialport::Error) -> ArmError {
    let port = path.to_string();
    match error.kind() {
        ErrorKind::Io(io::ErrorKind::NotFound) => ArmError::PortAbsent { port, found: serial_ports() },
        ErrorKind::Io(io::ErrorKind::PermissionDenied) => ArmError::PortPermission { remedy: permission(path), port },
        ErrorKind::NoDevice => ArmError::PortBusy { port, holder: InUse(Path::new(path)).to_string() },
        _ => ArmError::PortUnusable { reason: unusable(path, error.description), port },
    }
}

/// What stands where a serial port should, or the system's words where it looks like one.
fn unusable(path: &str, words: String) -> String {
    let Ok(metadata) = fs::metadata(path) else { return words };
    match metadata.file_type() {
        kind if kind.is_dir() => "it is a folder".into(),
        kind if kind.is_file() => "it is a plain file".into(),
        kind if kind.is_char_device() => format!("it is another kind of device ({words})"),
        _ => words,
    }
}

/// Why this user may not open the port, and what to do, as the end of a sentence.
fn permission(path: &str) -> String {
    let Ok(metadata) = fs::metadata(path) else {
        return "a folder on the way to it may not be entered; check the path".into();
    };
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let mut session = getgroups().unwrap_or_default();
    session.push(getegid());
    Access {
        mode: metadata.mode() & 0o777,
        gid: metadata.gid(),
        groups: &read("/etc/group"),
        user: &user_name(&read("/etc/passwd"), geteuid().as_raw()),
        session: &session.iter().map(|gid| gid.as_raw()).collect::<Vec<_>>(),
    }
    .remedy()
}

/// Name of a user by `/etc/passwd`, or the number.
fn user_name(passwd: &str, uid: u32) -> String {
    let mut entries = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let named = entries.find(|fields| fields.get(2).is_some_and(|id| id.parse() == Ok(uid)));
    named.map_or_else(|| uid.to_string(), |fields| fields[0].to_string())
}

/// What decides whether a user may open a device.
struct Access<'a> {
    /// The permission bits and the group of the device.
    mode: u32,
    gid: u32,
    /// The text of `/etc/group`.
    groups: &'a str,
    user: &'a str,
    /// The groups of this process.
    session: &'a [u32],
}

impl Access<'_> {
    const READ_WRITE: u32 = 0o060;

    fn remedy(&self) -> String {
        let Access { mode, gid, user, .. } = self;
        let mut entries = self.groups.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let entry = entries.find(|fields| fields.len() == 4 && fields[2].parse() == Ok(*gid));
        let group = entry.as_ref().map_or_else(|| gid.to_string(), |fields| fields[0].to_string());
        let listed = entry.is_some_and(|fields| fields[3].split(',').any(|member| member == *user));
        if mode & Self::READ_WRITE != Self::READ_WRITE || *gid == 0 {
            // Being in the group would not help, or would be too much.
            return format!(
                "it belongs to the group {group} with mode {mode:04o}, which opens it to nobody else; add a udev rule such as \
                 KERNEL==\"ttyACM*|ttyUSB*\", MODE=\"0660\", GROUP=\"dialout\""
            );
        }
        if self.session.contains(gid) {
            return format!(
                "the user {user} is in its group {group}, so something else forbids it: check what the container or the service may open"
            );
        }
        if listed {
            return format!(
                "the user {user} is in its group {group}, but was not yet when this session began; log out and in again"
            );
        }
        format!(
            "it belongs to the group {group}, and the user {user} is not in it; run `sudo usermod -aG {group} {user}` and log in again"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permission_names_the_ports_own_group_and_whether_the_user_is_in_it() {
        let groups = "root:x:0:\ndialout:x:20:anna,ben\nuucp:x:14:\nbroken\n";
        for (mode, gid, user, session, words) in [
            (
                0o660,
                20,
                "carl",
                &[1000][..],
                "group dialout, and the user carl is not in it; run `sudo usermod -aG dialout carl`",
            ),
            (
                0o660,
                14,
                "carl",
                &[1000],
                "group uucp, and the user carl is not in it; run `sudo usermod -aG uucp carl`",
            ),
            (
                0o660,
                20,
                "ben",
                &[1000],
                "ben is in its group dialout, but was not yet when this session began; log out",
            ),
            (0o660, 20, "ben", &[1000, 20], "ben is in its group dialout, so something else forbids it"),
            (0o660, 77, "ben", &[1000], "group 77, and the user ben is not in it"),
            (
                0o600,
                20,
                "ben",
                &[1000, 20],
                "group dialout with mode 0600, which opens it to nobody else; add a udev rule",
            ),
            (0o660, 0, "ben", &[1000], "group root with mode 0660, which opens it to nobody else; add a udev rule"),
        ] {
            let remedy = Access { mode, gid, groups, user, session }.remedy();
            assert!(remedy.contains(words), "expected '{words}', found '{remedy}'");
        }
    }

    #[test]
    fn users_by_name_or_else_by_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\nbroken\n";
        for (uid, name) in [(0, "root"), (1000, "anna"), (7, "7")] {
            assert_eq!(user_name(passwd, uid), name);
        }
    }
}
