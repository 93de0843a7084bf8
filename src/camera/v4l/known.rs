//! Cameras that are lost and come back: each is looked for by the name that stays with it, and another device that sits in
//! its place is left alone.

use crate::camera::CameraError;
use crate::config::schema::{Camera, IndexOrPath};
use crate::discover::tree::{Node, Roots, Usb};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// What the cameras of a run are known by.
pub struct Known {
    root: PathBuf,
    cameras: Mutex<BTreeMap<String, Place>>,
}

/// A camera that has been open.
#[derive(Clone)]
struct Place {
    path: PathBuf,
    usb: Option<Usb>,
}

impl Default for Known {
    /// Of this machine.
    fn default() -> Known {
        Known::below("/".into())
    }
}

impl Known {
    /// Of a machine whose `dev` and `sys` are below `root`.
    pub fn below(root: PathBuf) -> Known {
        Known { root, cameras: Mutex::default() }
    }

    /// Opens the camera `name` with `open`: the first time as it is configured, and from then on as the same device. A
    /// camera that is configured by a stable name keeps that: it is what the user wants there.
    pub fn open<T>(
        &self,
        name: &str,
        config: &Camera,
        open: impl FnOnce(&Camera) -> Result<T, CameraError>,
    ) -> Result<T, CameraError> {
        let configured = config.index_or_path.as_ref().map(IndexOrPath::path);
        let is_stable = |path: &PathBuf| path.starts_with(self.root.join("dev/v4l"));
        let Some(configured) = configured.filter(|path| !is_stable(path)) else { return open(config) };
        let known = self.cameras.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        let Some(place) = known else {
            let opened = open(config)?;
            let place = self.place(configured);
            tracing::info!("camera {name}: if it is lost it is looked for as {}", place.path.display());
            self.cameras.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_string(), place);
            return Ok(opened);
        };
        self.require_same(name, &place)?;
        open(&Camera { index_or_path: Some(IndexOrPath::Path(place.path)), ..config.clone() })
    }

    /// What a device is known by that is open now: by its serial number, else by where it is plugged in, else by its path.
    fn place(&self, path: PathBuf) -> Place {
        match find(&path, &Roots::below(&self.root).video()) {
            Some(Node { path, usb, .. }) => Place { path: path.clone(), usb: usb.clone() },
            None => Place { path, usb: None },
        }
    }

    /// Refuses another device in the place of one that has been open. That nothing is there, opening it tells.
    fn require_same(&self, name: &str, place: &Place) -> Result<(), CameraError> {
        let present = Roots::below(&self.root).video();
        let (Some(expected), Some(found)) = (&place.usb, find(&place.path, &present)) else { return Ok(()) };
        let found = found.usb.as_ref();
        if found.is_some_and(|found| is_again(expected, found, &present)) {
            return Ok(());
        }
        let found = found.map_or("no USB device".into(), words);
        let (camera, path, expected) = (name.into(), place.path.clone(), words(expected));
        Err(CameraError::Another { camera, path, expected, found })
    }
}

/// What a path leads to, among what there is.
fn find<'a>(path: &Path, nodes: &'a [Node]) -> Option<&'a Node> {
    let target = fs::canonicalize(path).ok()?;
    nodes.iter().find(|node| fs::canonicalize(&node.node).is_ok_and(|found| found == target))
}

/// The same device, as far as can be known: its port counts where others like it are present.
fn is_again(expected: &Usb, found: &Usb, present: &[Node]) -> bool {
    let alike = |other: &Usb| {
        (&other.vendor, &other.product, &other.serial) == (&expected.vendor, &expected.product, &expected.serial)
    };
    let port = |usb: &Usb| (usb.bus, usb.port.clone());
    let is_elsewhere = |node: &Node| node.usb.as_ref().is_some_and(|other| alike(other) && port(other) != port(found));
    alike(found) && (port(found) == port(expected) || !present.iter().any(is_elsewhere))
}

fn words(usb: &Usb) -> String {
    let Usb { vendor, product, serial, bus, port, .. } = usb;
    let serial = serial.as_ref().map(|serial| format!(" with serial number {serial}")).unwrap_or_default();
    format!("the USB device {vendor}:{product}{serial} at port {bus}-{port}")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::schema::CameraKind;
    use std::os::unix::fs::symlink;

    /// A machine's `/sys` and `/dev`, as far as cameras show there.
    pub struct Machine(tempfile::TempDir);

    impl Machine {
        pub fn new() -> Machine {
            let machine = Machine(tempfile::tempdir().unwrap());
            for folder in ["sys/class/video4linux", "dev/v4l/by-id", "dev/v4l/by-path"] {
                fs::create_dir_all(machine.path(folder)).unwrap();
            }
            machine
        }

        pub fn path(&self, below: &str) -> PathBuf {
            self.0.path().join(below)
        }

        fn class(&self) -> PathBuf {
            self.path("sys/class/video4linux")
        }

        pub fn nodes(&self) -> Vec<Node> {
            Roots::below(self.0.path()).video()
        }

        /// A camera at a port (`1-4`: port 4 of bus 1) whose node is `videoN`; a second one is for metadata.
        pub fn plug(&self, node: u32, port: &str, serial: Option<&str>, speed: &str) {
            let device = self.path(&format!("sys/devices/pci/usb/{port}"));
            let interface = device.join(format!("{port}:1.0"));
            fs::create_dir_all(&interface).unwrap();
            let (bus, path) = port.split_once('-').unwrap();
            let ids = [("idVendor", "046d"), ("idProduct", "0825")];
            for (file, text) in [("busnum", bus), ("devpath", path), ("speed", speed)].into_iter().chain(ids) {
                fs::write(device.join(file), format!("{text}\n")).unwrap();
            }
            if let Some(serial) = serial {
                fs::write(device.join("serial"), format!("{serial}\n")).unwrap();
            }
            for (index, node) in ["0", "1"].into_iter().zip(node..) {
                let entry = self.class().join(format!("video{node}"));
                fs::create_dir_all(&entry).unwrap();
                fs::write(entry.join("name"), "USB Camera: USB Camera\n").unwrap();
                fs::write(entry.join("index"), index).unwrap();
                symlink(&interface, entry.join("device")).unwrap();
                fs::write(self.path(&format!("dev/video{node}")), "").unwrap();
            }
            let mut links = vec![("by-path", format!("pci-usb-{port}"))];
            links.push(("by-id", format!("usb-046d_0825{}", serial.map(|s| format!("_{s}")).unwrap_or_default())));
            for (folder, link) in links {
                for index in [0, 1] {
                    let link = self.path(&format!("dev/v4l/{folder}/{link}-video-index{index}"));
                    // As udev does: the newest wins.
                    let _ = fs::remove_file(&link);
                    symlink(format!("../../video{}", node + index), link).unwrap();
                }
            }
        }

        /// Takes it away, and its names.
        pub fn unplug(&self, node: u32, port: &str) {
            fs::remove_dir_all(self.path(&format!("sys/devices/pci/usb/{port}"))).unwrap();
            for node in [node, node + 1] {
                fs::remove_dir_all(self.class().join(format!("video{node}"))).unwrap();
                fs::remove_file(self.path(&format!("dev/video{node}"))).unwrap();
            }
            for folder in ["by-id", "by-path"] {
                for link in fs::read_dir(self.path(&format!("dev/v4l/{folder}"))).unwrap().flatten() {
                    if !link.path().exists() {
                        fs::remove_file(link.path()).unwrap();
                    }
                }
            }
        }
    }

    /// A machine, the cameras of a run on it, and one that is configured by its node.
    struct Run {
        machine: Machine,
        known: Known,
        config: Camera,
    }

    impl Run {
        fn of(node: u32) -> Run {
            let machine = Machine::new();
            let known = Known::below(machine.path(""));
            let path = machine.path(&format!("dev/video{node}"));
            let config =
                Camera { index_or_path: Some(IndexOrPath::Path(path)), ..Camera::new(CameraKind::V4l, 640, 480) };
            Run { machine, known, config }
        }

        /// Which path and which node is opened, below the machine's `/dev`.
        fn open(&self) -> Result<(String, String), String> {
            let open = |config: &Camera| {
                let path = config.index_or_path.as_ref().unwrap().path();
                let target = fs::canonicalize(&path).map_err(|source| CameraError::Io {
                    camera: "front".into(),
                    path: path.clone(),
                    action: "opening",
                    source,
                })?;
                let below = |path: &Path| {
                    path.strip_prefix(fs::canonicalize(self.machine.path("dev")).unwrap())
                        .unwrap_or(path)
                        .display()
                        .to_string()
                };
                let asked = path.strip_prefix(self.machine.path("dev")).unwrap().display().to_string();
                Ok((asked, below(&target)))
            };
            self.known.open("front", &self.config, open).map_err(|error| error.to_string())
        }
    }

    fn opened(path: &str, node: &str) -> Result<(String, String), String> {
        Ok((path.into(), node.into()))
    }

    #[test]
    fn a_camera_by_its_number_comes_back_under_another() {
        let run = Run::of(0);
        run.machine.plug(0, "1-4", Some("A1"), "480");
        assert_eq!(run.open(), opened("video0", "video0"));
        run.machine.unplug(0, "1-4");
        assert!(run.open().unwrap_err().contains("by-id/usb-046d_0825_A1-video-index0"));
        // At another port, too.
        run.machine.plug(4, "1-3", Some("A1"), "480");
        let by_id = "v4l/by-id/usb-046d_0825_A1-video-index0";
        assert_eq!(run.open(), opened(by_id, "video4"));
        // Another camera has its number by now.
        run.machine.plug(0, "1-4", Some("B2"), "480");
        assert_eq!(run.open(), opened(by_id, "video4"));
    }

    #[test]
    fn cameras_that_are_alike_are_known_by_their_ports() {
        let run = Run::of(0);
        run.machine.plug(0, "1-4", None, "480");
        run.machine.plug(2, "1-3", None, "480");
        assert_eq!(run.open(), opened("video0", "video0"));
        run.machine.unplug(0, "1-4");
        assert!(run.open().unwrap_err().contains("by-path/pci-usb-1-4-video-index0"));
        run.machine.plug(6, "1-4", None, "480");
        assert_eq!(run.open(), opened("v4l/by-path/pci-usb-1-4-video-index0", "video6"));
    }

    #[test]
    fn a_camera_without_a_serial_number_may_move_as_long_as_it_is_alone() {
        let run = Run::of(0);
        run.machine.plug(0, "1-4", None, "480");
        assert_eq!(run.open(), opened("video0", "video0"));
        run.machine.unplug(0, "1-4");
        run.machine.plug(0, "1-2", None, "480");
        let by_id = "v4l/by-id/usb-046d_0825-video-index0";
        assert_eq!(run.open(), opened(by_id, "video0"));
        // Another one like it: the name leads to that, and who is who is known by the port only.
        run.machine.unplug(0, "1-2");
        run.machine.plug(0, "1-4", None, "480");
        run.machine.plug(2, "1-1", None, "480");
        let error = run.open().unwrap_err();
        assert!(error.contains("is another camera now: expected the USB device 046d:0825 at port 1-4, found the USB device 046d:0825 at port 1-1"), "{error}");
    }

    #[test]
    fn without_names_the_path_is_used_and_another_camera_there_is_left_alone() {
        let run = Run::of(0);
        run.machine.plug(0, "1-4", Some("A1"), "480");
        fs::remove_dir_all(run.machine.path("dev/v4l")).unwrap();
        assert_eq!(run.open(), opened("video0", "video0"));
        assert_eq!(run.open(), opened("video0", "video0"), "it was only frozen");
        fs::create_dir_all(run.machine.path("dev/v4l/by-id")).unwrap();
        fs::create_dir_all(run.machine.path("dev/v4l/by-path")).unwrap();
        run.machine.unplug(0, "1-4");
        run.machine.plug(0, "1-4", Some("B2"), "480");
        let error = run.open().unwrap_err();
        assert!(
            error.contains("camera front: ")
                && error.contains("expected the USB device 046d:0825 with serial number A1"),
            "{error}"
        );
        run.machine.unplug(0, "1-4");
        run.machine.plug(0, "1-2", Some("A1"), "480");
        assert_eq!(run.open(), opened("video0", "video0"));
    }

    #[test]
    fn a_stable_name_is_taken_as_it_is() {
        let run = Run::of(0);
        run.machine.plug(0, "1-4", Some("A1"), "480");
        let by_path = run.machine.path("dev/v4l/by-path/pci-usb-1-4-video-index0");
        let run =
            Run { config: Camera { index_or_path: Some(IndexOrPath::Path(by_path)), ..run.config.clone() }, ..run };
        let expected = opened("v4l/by-path/pci-usb-1-4-video-index0", "video0");
        assert_eq!(run.open(), expected);
        // Whoever configures a place wants what is there.
        run.machine.unplug(0, "1-4");
        run.machine.plug(0, "1-4", Some("B2"), "480");
        assert_eq!(run.open(), expected);
    }
}
