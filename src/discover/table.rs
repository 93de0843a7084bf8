//! What is plugged in, as a person reads it.

use super::Found;
use super::cameras::Camera;
use super::ports::Port;
use super::snapshot::Snapshot;
use super::tree::Usb;
use crate::camera::v4l::described::Control;
use crate::camera::v4l::modes::{Offer, size_in_words};
use crate::in_use::Holder;
use std::fmt::Write as _;

impl Found {
    /// Lines for a terminal.
    pub fn text(&self) -> String {
        let mut text = String::new();
        match self.cameras.len() {
            0 => text.push_str("No camera: there is no /dev/video* that captures video.\n"),
            n => {
                let _ = writeln!(text, "{n} camera{}", if n == 1 { "" } else { "s" });
                self.cameras.iter().for_each(|camera| camera_lines(camera, &mut text));
            }
        }
        text.push('\n');
        match self.serial_ports.len() {
            0 => text.push_str("No serial port: there is no /dev/ttyACM* and no /dev/ttyUSB*.\n"),
            n => {
                let _ = writeln!(text, "{n} serial port{}", if n == 1 { "" } else { "s" });
                self.serial_ports.iter().for_each(|port| port_lines(port, &mut text));
            }
        }
        for (index, Snapshot { camera, file, problem }) in self.snapshots.iter().enumerate() {
            let start = if index == 0 { "\n" } else { "" };
            let _ = match (file, problem) {
                (Some(file), _) => writeln!(text, "{start}picture of {}: {}", camera.display(), file.display()),
                (None, problem) => {
                    let problem = problem.as_deref().unwrap_or_default();
                    writeln!(text, "{start}ERROR: no picture of {}: {problem}", camera.display())
                }
            };
        }
        for warning in &self.warnings {
            let _ = write!(text, "\nwarning: {warning}\n");
        }
        text
    }
}

/// A line below the device's name: what it is about, and what is to be said.
fn line(text: &mut String, about: &str, words: impl std::fmt::Display) {
    let _ = writeln!(text, "{}", format!("    {about:<10} {words}").trim_end());
}

fn camera_lines(camera: &Camera, text: &mut String) {
    let Camera { path, node, name, usb, in_use_by, offers, controls, problem, .. } = camera;
    let _ = writeln!(text, "\n  {}", path.display());
    let driver = camera.driver.as_ref().map(|driver| format!(" ({driver})")).unwrap_or_default();
    line(text, "name", format!("{name}{driver}"));
    line(text, "node", node.display());
    usb_line(usb.as_ref(), text);
    in_use_line(in_use_by, text);
    if let Some(problem) = problem {
        line(text, "problem", problem);
        return;
    }
    for (index, (fourccs, modes)) in formats(offers).into_iter().enumerate() {
        line(text, if index == 0 { "formats" } else { "" }, fourccs);
        modes.iter().for_each(|(sizes, rates)| line(text, "", format!("  {sizes} at {rates}")));
    }
    let widest = controls.iter().map(|control| control.name.len()).max().unwrap_or_default();
    for (index, control) in controls.iter().enumerate() {
        let about = if index == 0 { "controls" } else { "" };
        line(text, about, format!("{:<widest$} {}", control.name, control_words(control)));
    }
}

/// Formats that come in the same sizes and rates, joined; for each the sizes that have the same rates, joined.
fn formats(offers: &[Offer]) -> Vec<(String, Vec<(String, String)>)> {
    let mut found: Vec<(String, Vec<(String, String)>)> = Vec::new();
    for offer in offers {
        let (size, rates) = (size_in_words(offer.width, offer.height), offer.fps.to_string());
        if !found.iter().any(|(fourcc, _)| *fourcc == offer.fourcc) {
            found.push((offer.fourcc.clone(), Vec::new()));
        }
        let Some((_, modes)) = found.iter_mut().find(|(fourcc, _)| *fourcc == offer.fourcc) else { continue };
        match modes.iter_mut().find(|(_, known)| *known == rates) {
            Some((sizes, _)) => {
                let _ = write!(sizes, ", {size}");
            }
            None => modes.push((size, rates)),
        }
    }
    let mut joined: Vec<(String, Vec<(String, String)>)> = Vec::new();
    for (fourcc, modes) in found {
        match joined.iter_mut().find(|(_, known)| *known == modes) {
            Some((fourccs, _)) => {
                let _ = write!(fourccs, ", {}", fourcc.trim());
            }
            None => joined.push((fourcc.trim().into(), modes)),
        }
    }
    joined
}

fn control_words(control: &Control) -> String {
    let Control { kind, min, max, step, default, value, menu, inactive, read_only, .. } = control;
    let range = match *kind {
        "menu" | "integer_menu" => {
            let entries: Vec<String> = menu.iter().map(|entry| format!("{} {}", entry.value, entry.name)).collect();
            format!("menu: {}", entries.join(", "))
        }
        "boolean" => "true or false".into(),
        "integer" if *step > 1 => format!("{min} to {max} in steps of {step}"),
        "integer" | "bitmask" => format!("{min} to {max}"),
        other => return other.into(),
    };
    let of = |value: i64| if *kind == "boolean" { (value != 0).to_string() } else { value.to_string() };
    let mut words = range;
    if let Some(value) = value {
        let _ = write!(words, "; is {}", of(*value));
    }
    let _ = write!(words, "; default {}", of(*default));
    words.push_str(if *read_only { "; cannot be set" } else { "" });
    words.push_str(if *inactive { "; ruled by another control now" } else { "" });
    words
}

fn port_lines(port: &Port, text: &mut String) {
    let Port { path, node, usb, in_use_by, servos, arm, problem, .. } = port;
    let _ = writeln!(text, "\n  {}", path.display());
    if let Some(name) = usb.as_ref().and_then(|usb| usb.name.as_ref()) {
        line(text, "name", name);
    }
    line(text, "node", node.display());
    usb_line(usb.as_ref(), text);
    in_use_line(in_use_by, text);
    if let Some(problem) = problem {
        line(text, "problem", problem);
    }
    if !port.asked {
        return;
    }
    if servos.is_empty() {
        let words = if port.garbled { "something answers, but not as a Feetech servo does" } else { "no servo" };
        line(text, "answers", words);
    }
    for (index, servo) in servos.iter().enumerate() {
        let model = match servo.model {
            Some(crate::arm::feetech::registers::STS3215) => "STS3215".into(),
            Some(model) => format!("model {model}"),
            None => "does not tell its model".into(),
        };
        let volts = servo.volts.map(|volts| format!(", {volts:.1} V")).unwrap_or_default();
        let doubled = if servo.doubled { ", twice: two servos have this id" } else { "" };
        line(text, if index == 0 { "answers" } else { "" }, format!("servo {}: {model}{volts}{doubled}", servo.id));
    }
    if let Some(arm) = arm {
        let words = match arm.role {
            Some(role) => format!("an SO-101 {}: {}", role.name(), arm.because),
            None => format!("an SO-101; which one cannot be told: {}", arm.because),
        };
        line(text, "arm", words);
    }
}

fn usb_line(usb: Option<&Usb>, text: &mut String) {
    let Some(Usb { vendor, product, serial, bus, port, speed_mbit, .. }) = usb else { return };
    let serial = serial.as_ref().map_or("no serial number".into(), |serial| format!("serial {serial}"));
    let speed = speed_mbit.map(|speed| format!(", {speed} Mbit/s")).unwrap_or_default();
    line(text, "usb", format!("{vendor}:{product}, {serial}, bus {bus} port {port}{speed}"));
}

fn in_use_line(holders: &[Holder], text: &mut String) {
    if !holders.is_empty() {
        let names: Vec<String> =
            holders.iter().map(|holder| format!("{} (process {})", holder.name, holder.process)).collect();
        line(text, "in use by", names.join(", "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::v4l::modes::{Extent, Rates};

    #[test]
    fn sizes_with_the_same_rates_and_formats_with_the_same_sizes_are_joined() {
        let offer = |fourcc: &str, (width, height), fps: &[f64]| Offer {
            fourcc: fourcc.into(),
            width: Extent::One(width),
            height: Extent::One(height),
            fps: Rates::Each(fps.to_vec()),
        };
        let (vga, hd) = ((640, 480), (1280, 720));
        let offers = [
            offer("MJPG", vga, &[30.0]),
            offer("MJPG", hd, &[30.0]),
            offer("YUYV", vga, &[30.0]),
            offer("YUYV", hd, &[10.0, 5.0]),
            offer("NV12", vga, &[30.0]),
            offer("NV12", hd, &[10.0, 5.0]),
        ];
        let words = |sizes: &str, rates: &str| (sizes.to_string(), rates.to_string());
        let expected = [
            ("MJPG".to_string(), vec![words("640x480, 1280x720", "30 fps")]),
            ("YUYV, NV12".to_string(), vec![words("640x480", "30 fps"), words("1280x720", "10, 5 fps")]),
        ];
        assert_eq!(formats(&offers), expected);
    }
}
