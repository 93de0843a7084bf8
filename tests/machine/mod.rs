//! The devices' files of a machine, as the kernel and udev make them, in a folder.
#![allow(dead_code)] // each test binary uses its part

use recorder::camera::v4l::modes::{Extent, Offer, Rates};
use recorder::discover::cameras::Camera;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use tempfile::TempDir;

/// A folder with `dev`, `sys` and `proc`.
pub struct Machine {
    dir: TempDir,
}

impl Machine {
    pub fn new() -> Machine {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("dev")).unwrap();
        Machine { dir }
    }

    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn link(&self, path: &str, target: impl AsRef<Path>) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    /// A USB device at a place such as `1-2.3`: bus 1, port 3 of the hub at port 2. `id` is `vendor:product`.
    pub fn usb(&self, place: &str, id: &str, serial: Option<&str>, speed: f64) {
        let (bus, port) = place.split_once('-').unwrap();
        let (vendor, product) = id.split_once(':').unwrap();
        let write = |name: &str, text: &str| self.write(&format!("{}/{name}", usb_folder(place)), &format!("{text}\n"));
        write("idVendor", vendor);
        write("idProduct", product);
        write("busnum", bus);
        write("devpath", port);
        write("speed", &speed.to_string());
        if let Some(serial) = serial {
            write("serial", serial);
        }
        write(&format!("{place}:1.0/bInterfaceNumber"), "00");
    }

    /// A device's file that is a plain file.
    pub fn node(&self, name: &str) {
        self.write(&format!("dev/{name}"), "");
    }

    /// A process that has a device's file open.
    pub fn process(&self, process: u32, name: &str, device: &str) {
        self.write(&format!("proc/{process}/comm"), &format!("{name}\n"));
        let device = fs::canonicalize(self.root().join("dev").join(device)).unwrap();
        self.link(&format!("proc/{process}/fd/3"), device);
    }

    fn class(&self, class: &str, name: &str, place: &str) -> String {
        let folder = format!("{}/{place}:1.0/{class}/{name}", usb_folder(place));
        self.link(&format!("{folder}/device"), "../..");
        self.link(&format!("sys/class/{class}/{name}"), self.root().join(&folder));
        folder
    }

    /// /dev/videoN of a USB device; udev's links are made by place always, by id where it is given.
    pub fn video(&self, number: u32, place: &str, index: u32, card: &str, by_id: Option<&str>) {
        let name = format!("video{number}");
        let folder = self.class("video4linux", &name, place);
        self.write(&format!("{folder}/name"), card);
        self.write(&format!("{folder}/index"), &index.to_string());
        self.node(&name);
        self.link(&format!("dev/v4l/by-path/{place}-video-index{index}"), format!("../../{name}"));
        if let Some(id) = by_id {
            self.link(&format!("dev/v4l/by-id/{id}"), format!("../../{name}"));
        }
    }

    /// /dev/ttyACMN of a USB device; what is written to it goes to `device`, else nowhere.
    pub fn serial(&self, number: u32, place: &str, by_id: Option<&str>, device: Option<&Path>) {
        let name = format!("ttyACM{number}");
        self.class("tty", &name, place);
        match device {
            Some(device) => self.link(&format!("dev/{name}"), device),
            None => self.node(&name),
        }
        self.link(&format!("dev/serial/by-path/{place}"), format!("../../{name}"));
        if let Some(id) = by_id {
            self.link(&format!("dev/serial/by-id/{id}"), format!("../../{name}"));
        }
    }
}

fn usb_folder(place: &str) -> String {
    format!("sys/devices/pci/usb/{place}")
}

/// A camera as it is listed, whose path ends in `name`, with modes at 30 frames a second.
pub fn camera(name: &str, offers: &[(&str, u32, u32)]) -> Camera {
    let offer = |&(fourcc, width, height): &(&str, u32, u32)| Offer {
        fourcc: fourcc.into(),
        width: Extent::One(width),
        height: Extent::One(height),
        fps: Rates::Each(vec![30.0]),
    };
    Camera {
        path: format!("/dev/v4l/by-id/{name}").into(),
        node: "/dev/video0".into(),
        name: name.into(),
        driver: None,
        usb: None,
        named_by_place: false,
        in_use_by: Vec::new(),
        offers: offers.iter().map(offer).collect(),
        controls: Vec::new(),
        problem: None,
    }
}
