//! Devices as the kernel and udev name them: read from /dev and /sys, without opening any.

use crate::in_use::{Holder, holders_in};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Where devices are looked for.
#[derive(Clone, Debug)]
pub struct Roots {
    dev: PathBuf,
    sys: PathBuf,
    proc: PathBuf,
}

impl Roots {
    /// The folders `dev`, `sys` and `proc` below `root`: of this machine for `/`.
    pub fn below(root: &Path) -> Roots {
        let [dev, sys, proc] = ["dev", "sys", "proc"].map(|name| root.join(name));
        Roots { dev, sys, proc }
    }

    /// Which other processes have a device open, as far as this user may see.
    pub fn in_use_by(&self, node: &Path) -> Vec<Holder> {
        let is_other = |holder: &Holder| holder.process != std::process::id();
        holders_in(&self.proc, node).into_iter().filter(is_other).collect()
    }

    /// Video devices, several of which may belong to one camera.
    pub fn video(&self) -> Vec<Node> {
        self.nodes("video4linux", "v4l", &["video"])
    }

    /// Serial ports that an arm could be on.
    pub fn serial(&self) -> Vec<Node> {
        self.nodes("tty", "serial", &["ttyACM", "ttyUSB"])
    }

    /// Devices of a class of the kernel's, whose stable names are in `folder`, by their numbers.
    fn nodes(&self, class: &str, folder: &str, prefixes: &[&str]) -> Vec<Node> {
        let [by_id, by_path] = ["by-id", "by-path"].map(|way| links(&self.dev.join(folder).join(way)));
        let mut names: Vec<(String, u32)> = names(&self.dev)
            .into_iter()
            .filter_map(|name| {
                let number = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix)?.parse().ok())?;
                Some((name, number))
            })
            .collect();
        names.sort_by(|(a, m), (b, n)| {
            (a.trim_end_matches(char::is_numeric), m).cmp(&(b.trim_end_matches(char::is_numeric), n))
        });
        let node = |name: &String| {
            let at = self.sys.join("class").join(class).join(name);
            let index = text(&at.join("index")).and_then(|index| index.parse().ok());
            Node {
                path: PathBuf::new(),
                node: self.dev.join(name),
                name: text(&at.join("name")),
                index,
                usb: Usb::above(&at.join("device")),
                is_ambiguous: false,
            }
        };
        let mut nodes: Vec<Node> = names.iter().map(|(name, _)| node(name)).collect();
        let identities: Vec<_> = nodes.iter().map(Node::identity).collect();
        for (place, (node, (name, _))) in nodes.iter_mut().zip(&names).enumerate() {
            let is_twin = |(other, identity): (usize, &Option<_>)| other != place && *identity == identities[place];
            node.is_ambiguous = identities[place].is_some() && identities.iter().enumerate().any(is_twin);
            let by_id = by_id.get(name).filter(|_| !node.is_ambiguous);
            node.path = by_id.or(by_path.get(name)).cloned().unwrap_or_else(|| node.node.clone());
        }
        nodes
    }
}

/// A device's file, and what is known of it without opening it.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The name that stays: below by-id, else below by-path, else `node`.
    pub path: PathBuf,
    /// Such as /dev/video0; another one after a reboot, maybe.
    pub node: PathBuf,
    /// Of video devices: the camera's name.
    pub name: Option<String>,
    /// Of video devices: 0 for the first one of a camera.
    pub index: Option<u32>,
    pub usb: Option<Usb>,
    /// Another device says the same of itself, so that by-id leads to either: `path` tells them apart by where they are plugged in.
    pub is_ambiguous: bool,
}

impl Node {
    /// What by-id names are made of.
    fn identity(&self) -> Option<(Usb, Option<u32>)> {
        // The names of serial ports hold the interface's number, those of video devices only the index.
        let usb = self.usb.clone()?;
        let interface = usb.interface.clone().filter(|_| self.index.is_none());
        Some((Usb { bus: 0, port: String::new(), speed_mbit: None, interface, ..usb }, self.index))
    }
}

/// What a USB device says of itself, and where it is plugged in.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Usb {
    /// Four hexadecimal digits.
    pub vendor: String,
    /// Four hexadecimal digits.
    pub product: String,
    pub manufacturer: Option<String>,
    pub name: Option<String>,
    pub serial: Option<String>,
    /// The bus's number.
    pub bus: u32,
    /// The way to it through the bus's ports and hubs: `1.4`.
    pub port: String,
    /// Mbit/s that the device runs at.
    pub speed_mbit: Option<f64>,
    /// Which of its functions it is.
    #[serde(skip)]
    pub interface: Option<String>,
}

impl Usb {
    /// The USB device that a device of the kernel's belongs to, if to any.
    fn above(device: &Path) -> Option<Usb> {
        let device = fs::canonicalize(device).ok()?;
        let at = device.ancestors().find(|folder| folder.join("idVendor").is_file())?;
        let read = |name: &str| text(&at.join(name));
        let interface = device.ancestors().find_map(|folder| text(&folder.join("bInterfaceNumber")));
        Some(Usb {
            vendor: read("idVendor")?,
            product: read("idProduct")?,
            manufacturer: read("manufacturer"),
            name: read("product"),
            serial: read("serial"),
            bus: read("busnum")?.parse().ok()?,
            port: read("devpath").unwrap_or_default(),
            speed_mbit: read("speed").and_then(|speed| speed.parse().ok()),
            interface,
        })
    }
}

/// A file's text without the space around it; none where it is empty or cannot be read.
fn text(path: &Path) -> Option<String> {
    let text = fs::read(path).ok()?;
    let text = String::from_utf8_lossy(&text).trim().to_string();
    (!text.is_empty()).then_some(text)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// The links of a folder by the device that they lead to, the first by name where several lead to one.
fn links(folder: &Path) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    for name in names(folder) {
        let path = folder.join(name);
        let target = fs::read_link(&path).ok();
        if let Some(device) = target.and_then(|target| target.file_name()?.to_str().map(String::from)) {
            found.entry(device).or_insert(path);
        }
    }
    found
}
