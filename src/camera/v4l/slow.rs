//! Why a camera may deliver fewer pictures than it said, as far as the device and its bus tell. Pure.

use super::described::once;
use crate::discover::tree::{Node, Usb};
use std::collections::BTreeMap;
use std::path::Path;

/// What a USB 2 bus carries, in Mbit a second.
const USB_2: f64 = 480.0;

/// What a device says of its exposure, each where it says that.
#[derive(Clone, Copy, Debug, Default)]
pub struct Exposure {
    /// 1 and 2: the time is a person's; 0 and 3: it is the camera's.
    pub mode: Option<i64>,
    /// In units of 100 µs.
    pub time: Option<i64>,
    /// The camera may lower its rate to expose for longer.
    pub dynamic_framerate: Option<i64>,
}

/// An exposure that keeps the camera from its rate, with the remedy.
pub fn exposure_words(exposure: Exposure, declared_hertz: f64) -> Option<String> {
    let frame = 10_000.0 / declared_hertz;
    let is_automatic = matches!(exposure.mode, Some(0 | 3));
    if let Some(time) = exposure.time.filter(|time| *time as f64 > frame) {
        let whose = if is_automatic { "automatic exposure takes" } else { "exposure is" };
        let (time, most) = (time as f64 / 10.0, frame.floor());
        let frame = frame / 10.0;
        return Some(format!(
            "its {whose} {time:.1} ms, longer than a frame ({frame:.1} ms): set exposure = {most} or less, and give more light or gain"
        ));
    }
    (is_automatic && exposure.dynamic_framerate == Some(1)).then(|| {
        "its automatic exposure may lower the rate in little light: give more light, set exposure to a number, or controls = {exposure_dynamic_framerate = false}".into()
    })
}

/// Other cameras on the USB 2 bus of the camera whose file is `node`, with the remedy.
pub fn bus_words(node: &Path, nodes: &[Node]) -> Option<String> {
    let is_usb_2 = |usb: &&Usb| usb.speed_mbit.is_some_and(|speed| speed <= USB_2);
    let own = nodes.iter().find(|other| other.node == node)?.usb.as_ref().filter(is_usb_2)?;
    // A camera has several nodes.
    let mut others: BTreeMap<&str, &str> = BTreeMap::new();
    for node in nodes {
        let usb = node.usb.as_ref().filter(is_usb_2).filter(|usb| usb.bus == own.bus && usb.port != own.port);
        others.extend(usb.map(|usb| (usb.port.as_str(), node.name.as_deref().map_or("a camera", once))));
    }
    let others: Vec<String> = others.iter().map(|(port, name)| format!("{name} at port {port}")).collect();
    (!others.is_empty()).then(|| {
        format!(
            "it shares USB 2 bus {} with {}: plug it into another bus (`lsusb -t` shows them), or ask for MJPG, a smaller size or a lower rate",
            own.bus,
            others.join(" and ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::known::tests::Machine;
    use super::*;

    #[test]
    fn a_shared_bus_is_a_slow_one_with_other_cameras() {
        let machine = Machine::new();
        let shared = |node: &str| bus_words(&machine.path("dev").join(node), &machine.nodes());
        machine.plug(0, "1-4", Some("A1"), "480");
        assert_eq!(shared("video0"), None, "alone");
        machine.plug(2, "3-1", Some("A2"), "480");
        machine.plug(4, "2-1", Some("A3"), "5000");
        machine.plug(6, "2-2", Some("A4"), "5000");
        assert_eq!((shared("video0"), shared("video4")), (None, None), "another bus, and a fast one");
        machine.plug(8, "1-2.1", None, "480");
        let words = shared("video0").unwrap();
        assert!(
            words.starts_with("it shares USB 2 bus 1 with USB Camera at port 2.1: plug it into another"),
            "{words}"
        );
        assert_eq!(shared("nothing"), None);
    }

    #[test]
    fn exposures_that_are_longer_than_a_frame_are_named() {
        let exposure = |mode, time, dynamic_framerate| Exposure { mode, time, dynamic_framerate };
        for (exposure, hertz, expected) in [
            (
                exposure(Some(1), Some(500), Some(1)),
                30.0,
                Some("its exposure is 50.0 ms, longer than a frame (33.3 ms): set exposure = 333 or less"),
            ),
            (exposure(None, Some(500), None), 30.0, Some("its exposure is 50.0 ms")),
            (exposure(Some(3), Some(500), Some(1)), 30.0, Some("its automatic exposure takes 50.0 ms")),
            (exposure(Some(3), Some(157), Some(1)), 30.0, Some("may lower the rate in little light")),
            (exposure(Some(0), None, Some(1)), 30.0, Some("exposure_dynamic_framerate = false")),
            (exposure(Some(1), Some(333), Some(1)), 30.0, None),
            (exposure(Some(1), Some(157), Some(1)), 60.0, None),
            (exposure(Some(1), Some(170), Some(0)), 60.0, Some("set exposure = 166 or less")),
            (exposure(Some(3), Some(157), Some(0)), 30.0, None),
            (Exposure::default(), 30.0, None),
        ] {
            let words = exposure_words(exposure, hertz);
            assert_eq!(words.is_some(), expected.is_some(), "{exposure:?} at {hertz}: {words:?}");
            assert!(words.unwrap_or_default().contains(expected.unwrap_or_default()), "{exposure:?} at {hertz}");
        }
    }
}
