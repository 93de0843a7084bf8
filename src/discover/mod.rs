//! `recorder devices`: what is plugged in, what it can do, and who uses it. Without an actor; nothing is set, started or stopped.

pub mod bandwidth;
pub mod best;
pub mod cameras;
pub mod ports;
pub mod servos;
pub mod snapshot;
pub mod table;
pub mod tree;

use bandwidth::Load;
use cameras::Camera;
use ports::{Asked, Port};
use serde::Serialize;
use snapshot::Snapshot;
use std::path::PathBuf;
use tree::Roots;

/// List cameras and serial ports with their stable names: what they can do, who uses them, and which servos answer
///
/// Cameras are asked for formats, sizes, rates and controls; none is started, and one that somebody uses goes on undisturbed.
/// Serial ports of the bridges that servo boards have, and that nobody uses, are asked at 1 Mbaud whether Feetech servos are there: they are pinged and
/// read from, nothing is written to them, and no torque changes. Exit code 0; 2 if DIR cannot be used; 3 if a camera gave no picture for --snapshot.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct Arguments {
    /// As JSON: docs/devices.md describes it
    #[arg(long)]
    pub json: bool,
    /// Also start each camera and save a picture of it in DIR, so that you see which is which; pictures that are there stay
    #[arg(long, value_name = "DIR")]
    pub snapshot: Option<PathBuf>,
    #[command(flatten)]
    pub place: PlaceArguments,
}

/// Where devices are looked for, and what is done to them.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct PlaceArguments {
    /// Which serial ports are asked for servos; to anything else the bytes of a question may mean something
    #[arg(long, value_enum, value_name = "WHICH", default_value_t = Asked::Known)]
    pub ask: Asked,
    /// Look below this folder for dev, sys and proc
    #[arg(long, hide = true, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
}

/// What is plugged in.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Found {
    pub cameras: Vec<Camera>,
    pub serial_ports: Vec<Port>,
    /// What will not work as it is plugged in.
    pub warnings: Vec<String>,
    /// The pictures that were asked for.
    pub snapshots: Vec<Snapshot>,
}

/// Looks.
pub fn look(arguments: &PlaceArguments) -> Found {
    let roots = Roots::below(&arguments.root);
    let known = servos::known(|name| std::env::var(name).ok());
    let cameras = cameras::cameras(&roots);
    let serial_ports = ports::ports(&roots, arguments.ask, &known);
    let warnings = warnings(&cameras, &serial_ports);
    Found { cameras, serial_ports, warnings, snapshots: Vec::new() }
}

fn warnings(cameras: &[Camera], ports: &[Port]) -> Vec<String> {
    let file = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let names: Vec<String> = cameras.iter().map(|camera| file(&camera.node)).collect();
    let loads: Vec<Load> = cameras
        .iter()
        .zip(&names)
        .filter_map(|(camera, name)| Some(Load { name, usb: camera.usb.as_ref()?, offers: &camera.offers }))
        .collect();
    let mut found = bandwidth::warnings(&loads);
    let cameras = cameras.iter().filter(|camera| camera.named_by_place).map(|camera| &camera.node);
    let ports = ports.iter().filter(|port| port.named_by_place).map(|port| &port.node);
    let alike: Vec<String> = cameras.chain(ports).map(file).collect();
    if !alike.is_empty() {
        found.push(format!(
            "{} say the same of themselves as another device, serial number included: they are named by the ports that they are plugged into; \
             keep them there",
            alike.join(", ")
        ));
    }
    found
}

impl Found {
    /// 3 where a camera gave no picture.
    pub fn exit_code(&self) -> u8 {
        if self.snapshots.iter().any(|snapshot| snapshot.file.is_none()) { 3 } else { 0 }
    }

    /// As docs/devices.md describes it.
    pub fn json(&self) -> String {
        let mut json = serde_json::json!({ "version": 1 });
        if let (Some(all), Ok(serde_json::Value::Object(found))) = (json.as_object_mut(), serde_json::to_value(self)) {
            all.extend(found);
        }
        format!("{json:#}\n")
    }
}
