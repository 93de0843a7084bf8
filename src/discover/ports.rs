//! The serial ports that are plugged in, and what answers on them.

use super::servos::{self, Arm, Heard, Known, Servo};
use super::tree::{Node, Roots, Usb};
use crate::in_use::Holder;
use clap::ValueEnum;
use serde::Serialize;
use std::path::PathBuf;

/// The USB-serial bridges of the boards that an arm's servos are connected to: WCH's CH343, CH9102 and CH340, Silicon Labs' CP210x, and
/// FTDI's FT232R, FT232H and FT-X.
const BRIDGES: [(&str, &str); 7] = [
    ("1a86", "55d3"),
    ("1a86", "55d4"),
    ("1a86", "7523"),
    ("10c4", "ea60"),
    ("0403", "6001"),
    ("0403", "6014"),
    ("0403", "6015"),
];

/// Which serial ports are asked for servos.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Asked {
    /// Those of USB-serial bridges that servo boards have
    #[default]
    Known,
    /// Every port: bytes are written to whatever it is
    All,
    /// None: ports are listed only
    None,
}

/// A serial port.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Port {
    /// What to write into the configuration: the name that stays.
    pub path: PathBuf,
    /// Such as /dev/ttyACM0.
    pub node: PathBuf,
    pub usb: Option<Usb>,
    /// Another port says the same of itself: `path` leads to whichever is plugged in at this place.
    pub named_by_place: bool,
    /// Who has it open, as far as this user may see.
    pub in_use_by: Vec<Holder>,
    /// Whether it was asked for servos.
    pub asked: bool,
    pub servos: Vec<Servo>,
    /// Bytes came back that are no servo's.
    pub garbled: bool,
    /// The arm that the servos make.
    pub arm: Option<Arm>,
    /// Why it was not asked, or could not be.
    pub problem: Option<String>,
}

impl Port {
    /// Where it has no arm: why not.
    pub fn without_arm(&self) -> Option<String> {
        let ids: Vec<String> = self.servos.iter().map(|servo| servo.id.to_string()).collect();
        match (&self.arm, &self.problem) {
            (Some(_), _) => None,
            (None, Some(problem)) => Some(problem.clone()),
            (None, None) if self.garbled && ids.is_empty() => Some("something answers, but not as a servo does".into()),
            (None, None) if ids.is_empty() => Some("no servo answers: if an arm is there, check its power".into()),
            (None, None) => Some(format!(
                "servos {} answer, and an SO-101 has one STS3215 for each id from 1 to 6: check its cables, or see `recorder setup-motors`",
                ids.join(", ")
            )),
        }
    }
}

/// Every port; those of `which` are asked, one after the other, unless somebody uses them.
pub fn ports(roots: &Roots, which: Asked, known: &[Known]) -> Vec<Port> {
    roots.serial().into_iter().map(|node| port(roots, node, which, known)).collect()
}

fn port(roots: &Roots, node: Node, which: Asked, known: &[Known]) -> Port {
    let Node { path, node, usb, is_ambiguous, .. } = node;
    let in_use_by = roots.in_use_by(&node);
    let (mut asked, mut problem, mut heard) = (false, None, Heard::default());
    match (unasked(which, usb.as_ref(), &in_use_by), path.to_str()) {
        (Some(reason), _) => problem = Some(reason.into()),
        (None, None) => problem = Some("its name is not UTF-8".into()),
        (None, Some(path)) => match servos::ask(path, known) {
            Ok(answer) => (asked, heard) = (true, answer),
            Err(error) => problem = Some(error.to_string()),
        },
    }
    let Heard { servos, garbled, arm } = heard;
    Port { path, node, usb, named_by_place: is_ambiguous, in_use_by, asked, servos, garbled, arm, problem }
}

/// Why a port is not asked, if so.
fn unasked(which: Asked, usb: Option<&Usb>, in_use_by: &[Holder]) -> Option<&'static str> {
    let is_bridge = usb.is_some_and(|usb| BRIDGES.contains(&(usb.vendor.as_str(), usb.product.as_str())));
    match which {
        Asked::None => Some("not asked, as --ask none says"),
        _ if !in_use_by.is_empty() => Some("not asked, as it is in use"),
        Asked::Known if !is_bridge => Some("not asked, as it is no bridge known from servo boards; --ask all asks it"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_and_ports_in_use_are_not_asked() {
        let usb = |vendor: &str, product: &str| Usb {
            vendor: vendor.into(),
            product: product.into(),
            manufacturer: None,
            name: None,
            serial: None,
            bus: 1,
            port: "1".into(),
            speed_mbit: None,
            interface: None,
        };
        let (bridge, printer) = (usb("1a86", "55d3"), usb("2c99", "0002"));
        let holder = [Holder { process: 7, name: "recorder".into() }];
        for (which, usb, holders, is_asked) in [
            (Asked::Known, Some(&bridge), &holder[..0], true),
            (Asked::Known, Some(&bridge), &holder, false),
            (Asked::Known, Some(&printer), &holder[..0], false),
            (Asked::Known, None, &holder[..0], false),
            (Asked::All, Some(&printer), &holder[..0], true),
            (Asked::All, None, &holder[..0], true),
            (Asked::All, Some(&bridge), &holder, false),
            (Asked::None, Some(&bridge), &holder[..0], false),
        ] {
            assert_eq!(unasked(which, usb, holders).is_none(), is_asked, "{which:?} {usb:?} {holders:?}");
        }
    }
}
