//! Whether the cameras of a USB bus fit on it together.

use super::tree::Usb;
use crate::camera::v4l::modes::{Offer, Rates};
use std::collections::BTreeMap;

/// What a USB 2 bus carries for cameras in bytes a second: 5 transactions of 1024 bytes in each of the 8000 microframes of a second.
/// A microframe holds 7500 bytes at 480 Mbit/s, of which at most 80 % may be periodic (USB 2.0, 5.6.4); a transaction of 1024 bytes takes
/// 1062 with its overhead (table 5-5).
pub const USB_2_BYTES_A_SECOND: f64 = 5.0 * 1024.0 * 8000.0;
/// The fastest devices of USB 2; those of USB 3 are on a bus of their own.
const USB_2_MBIT: f64 = 480.0;

/// A camera, where it is plugged in, and what it offers.
#[derive(Clone, Copy, Debug)]
pub struct Load<'a> {
    pub name: &'a str,
    pub usb: &'a Usb,
    pub offers: &'a [Offer],
}

/// A warning for each USB 2 bus that the uncompressed pictures of its cameras cannot fit on.
pub fn warnings(cameras: &[Load]) -> Vec<String> {
    let mut buses: BTreeMap<u32, Vec<(&str, f64)>> = BTreeMap::new();
    for camera in cameras.iter().filter(|camera| camera.usb.speed_mbit.is_some_and(|speed| speed <= USB_2_MBIT)) {
        let rates = camera.offers.iter().filter_map(bytes_a_second);
        if let Some(most) = rates.max_by(f64::total_cmp) {
            buses.entry(camera.usb.bus).or_default().push((camera.name, most));
        }
    }
    let megabytes = |bytes: f64| format!("{:.1}", bytes / 1e6);
    let mut found = Vec::new();
    for (bus, cameras) in buses {
        let needed: f64 = cameras.iter().map(|(_, bytes)| bytes).sum();
        if cameras.len() > 1 && needed > USB_2_BYTES_A_SECOND {
            let each: Vec<String> =
                cameras.iter().map(|(name, bytes)| format!("{name} up to {}", megabytes(*bytes))).collect();
            found.push(format!(
                "{} cameras share USB 2 bus {bus}, and their uncompressed pictures cannot fit on it: {} MB/s of about {} MB/s ({}); \
                 ask them for MJPG, or plug one into a port of another bus",
                cameras.len(),
                megabytes(needed),
                megabytes(USB_2_BYTES_A_SECOND),
                each.join(", ")
            ));
        }
    }
    found
}

/// What an uncompressed mode needs at its largest size and highest rate; none of a compressed or unknown format.
fn bytes_a_second(offer: &Offer) -> Option<f64> {
    let bits = match offer.fourcc.as_str() {
        "YUYV" | "YVYU" | "UYVY" | "VYUY" | "Y16 " | "Z16 " => 16.0,
        "NV12" | "NV21" | "YU12" | "YV12" => 12.0,
        "GREY" => 8.0,
        "RGB3" | "BGR3" => 24.0,
        _ => return None,
    };
    let rate = match &offer.fps {
        Rates::Each(rates) => rates.iter().copied().max_by(f64::total_cmp)?,
        Rates::Between { max, .. } => *max,
    };
    Some(f64::from(offer.width.max()) * f64::from(offer.height.max()) * bits / 8.0 * rate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::v4l::modes::Extent;

    fn usb(bus: u32, speed: f64) -> Usb {
        Usb {
            vendor: "046d".into(),
            product: "082d".into(),
            manufacturer: None,
            name: None,
            serial: None,
            bus,
            port: "1".into(),
            speed_mbit: Some(speed),
            interface: None,
        }
    }

    fn offers(modes: &[(&str, u32, u32, f64)]) -> Vec<Offer> {
        let offer = |&(fourcc, width, height, fps): &(&str, u32, u32, f64)| Offer {
            fourcc: fourcc.into(),
            width: Extent::One(width),
            height: Extent::One(height),
            fps: Rates::Each(vec![fps, 5.0]),
        };
        modes.iter().map(offer).collect()
    }

    #[test]
    fn cameras_that_share_a_usb_2_bus_are_told_when_their_raw_pictures_cannot_fit() {
        // 18.4 and 23.0 MB/s.
        let vga = offers(&[("YUYV", 640, 480, 30.0), ("MJPG", 1920, 1080, 60.0)]);
        let large = offers(&[("YUYV", 640, 480, 30.0), ("YUYV", 1280, 720, 12.5)]);
        let huge = offers(&[("YUYV", 1920, 1080, 30.0)]);
        let only_jpeg = offers(&[("MJPG", 1920, 1080, 60.0)]);
        let (one, other, fast) = (usb(1, 480.0), usb(3, 480.0), usb(2, 5000.0));
        let load = |name, usb, offers| Load { name, usb, offers };
        for (cameras, expected) in [
            (vec![load("a", &one, &huge)], 0),
            (vec![load("a", &one, &vga), load("b", &one, &vga)], 0),
            (vec![load("a", &one, &vga), load("b", &one, &large)], 1),
            (vec![load("a", &one, &vga), load("b", &one, &vga), load("c", &one, &vga)], 1),
            (vec![load("a", &one, &vga), load("b", &other, &large)], 0),
            (vec![load("a", &one, &large), load("b", &one, &only_jpeg)], 0),
            (vec![load("a", &fast, &large), load("b", &fast, &large)], 0),
            (
                vec![
                    load("a", &one, &large),
                    load("b", &one, &large),
                    load("c", &other, &large),
                    load("d", &other, &large),
                ],
                2,
            ),
        ] {
            assert_eq!(warnings(&cameras).len(), expected, "{cameras:?}");
        }
        let words = &warnings(&[load("a", &one, &vga), load("b", &one, &large)])[0];
        for part in ["2 cameras share USB 2 bus 1", "41.5 MB/s of about 41.0 MB/s (a up to 18.4, b up to 23.0)", "MJPG"]
        {
            assert!(words.contains(part), "{words}");
        }
    }
}
