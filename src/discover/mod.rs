//! `recorder devices`: what is plugged in, what it can do, and who uses it. Without an actor; nothing is set, started or stopped.

pub mod bandwidth;
pub mod cameras;
pub mod ports;
pub mod servos;
pub mod table;
pub mod tree;

use bandwidth::Load;
use cameras::Camera;
use ports::{Asked, Port};
use serde::Serialize;
use std::path::PathBuf;
use tree::Roots;

/// List cameras and serial ports with their stable names: what they can do, who uses them, and which servos answer
///
/// Cameras are asked for formats, sizes, rates and controls; none is started, and one that somebody uses goes on undisturbed.
/// Serial ports of the bridges that servo boards have, and that nobody uses, are asked at 1 Mbaud whether Feetech servos are there: they are pinged and
/// read from, nothing is written to them, and no torque changes. Exit code 0.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct Arguments {
    /// As JSON: docs/devices.md describes it
    #[arg(long)]
    pub json: bool,
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
}

/// Looks.
pub fn look(arguments: &PlaceArguments) -> Found {
    let roots = Roots::below(&arguments.root);
    let known = servos::known(|name| std::env::var(name).ok());
    let cameras = cameras::cameras(&roots);
    let serial_ports = ports::ports(&roots, arguments.ask, &known);
    let warnings = warnings(&cameras, &serial_ports);
    Found { cameras, serial_ports, warnings }
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
    /// As docs/devices.md describes it.
    pub fn json(&self) -> String {
        let mut json = serde_json::json!({ "version": 1 });
        if let (Some(all), Ok(serde_json::Value::Object(found))) = (json.as_object_mut(), serde_json::to_value(self)) {
            all.extend(found);
        }
        format!("{json:#}\n")
    }
}
