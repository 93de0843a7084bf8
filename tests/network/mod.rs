//! A network in which this machine meets itself under addresses that are not loopback's, as other machines do.
//!
//! A test that needs it runs once more in a network namespace of its own. Where none can be had it uses the machine's own
//! address. Where there is none either, it fails: a test of what others may see must have been one of the others.

use std::net::{IpAddr, UdpSocket};
use std::process::Command;

/// Addresses of this machine as others see it, in a run of the test inside of the namespace.
const VARIABLE: &str = "RECORDER_TEST_ADDRESSES";
/// From the blocks that are kept for documentation.
const V4: &str = "192.0.2.1";
const V6: &str = "2001:db8::1";

/// Addresses that are not loopback's.
pub struct Outside {
    pub v4: IpAddr,
    /// Absent where the kernel knows no IPv6.
    pub v6: Option<IpAddr>,
}

/// Calls `body` with the addresses, here or in a run of the test `name` by itself in a network of its own.
#[track_caller]
pub fn from_outside(name: &str, body: impl FnOnce(&Outside)) {
    if let Some(addresses) = std::env::var_os(VARIABLE) {
        let addresses = addresses.into_string().unwrap();
        let mut addresses = addresses.split(' ').map(|address| address.parse().unwrap());
        return body(&Outside { v4: addresses.next().unwrap(), v6: addresses.next() });
    }
    let has_v6 = UdpSocket::bind("[::1]:0").is_ok();
    let setup = "ip link set lo up && ip address add \"$1\"/32 dev lo && \
                 { [ -z \"$2\" ] || ip address add \"$2\"/128 dev lo nodad; } && shift 2 && exec \"$@\"";
    let in_a_network = |options: &[&str], command: &[&str]| {
        let (v6, addresses) = if has_v6 { (V6, format!("{V4} {V6}")) } else { ("", V4.to_string()) };
        let mut unshare = Command::new("unshare");
        unshare.args(options).args(["sh", "-c", setup, "sh", V4, v6]).args(command).env(VARIABLE, addresses);
        unshare.output().map_err(|error| error.to_string())
    };
    let mut reasons = Vec::new();
    // Root may have a network at once; others need to be root of a namespace of users first.
    for options in [&["--net"][..], &["--net", "--map-root-user"]] {
        match in_a_network(options, &["true"]) {
            Ok(output) if output.status.success() => {
                let this = std::env::current_exe().unwrap();
                let command = [this.to_str().unwrap(), "--exact", name, "--nocapture"];
                let output = in_a_network(options, &command).unwrap();
                let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
                assert!(output.status.success() && said[0].contains("1 passed"), "{}{}", said[0], said[1]);
                return;
            }
            Ok(output) => reasons.push(String::from_utf8_lossy(&output.stderr).trim().to_string()),
            Err(error) => reasons.push(error),
        }
    }
    match own_address() {
        Some(v4) => body(&Outside { v4, v6: None }),
        None => panic!("no network namespace ({}), and no address but loopback's", reasons.join("; ")),
    }
}

/// The address that this machine would use towards others; nothing is sent.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("198.51.100.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|address| !address.is_loopback() && !address.is_unspecified())
}
