//! What a device says of itself, asked without starting or stopping anything: another program may stream from it meanwhile.

use super::controls::{of, read};
use super::modes::{Offer, offers};
use super::opening::Opening;
use crate::camera::{CameraError, controls};
use serde::Serialize;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use v4l::Device;
use v4l::capability::Flags as Capability;
use v4l::control::{Description, Flags, Type};

/// A camera, in its own words.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// Its name.
    pub card: String,
    pub driver: String,
    /// Where it is plugged in, in the driver's words.
    pub bus: String,
    pub offers: Vec<Offer>,
    pub controls: Vec<Control>,
}

/// A control of a camera. Values are in the control's own units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Control {
    /// As the configuration names it: `exposure_time_absolute`.
    pub name: String,
    /// As the driver names it: `Exposure Time, Absolute`.
    pub label: String,
    /// `integer`, `boolean`, `menu`, `integer_menu`, `bitmask`, `button`, `string` or `other`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub min: i64,
    pub max: i64,
    pub step: u64,
    pub default: i64,
    /// What it is now; none where the driver does not tell.
    pub value: Option<i64>,
    /// The entries of a menu.
    pub menu: Vec<Entry>,
    /// Another control rules it now, as auto exposure does the exposure.
    pub inactive: bool,
    pub read_only: bool,
}

/// An entry of a menu.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    pub value: i64,
    pub name: String,
}

/// What `path` says of itself; none where it is no camera, as the second devices that many cameras have for metadata.
pub fn describe(name: &str, path: &Path) -> Result<Option<Described>, CameraError> {
    let opening = Opening { name, path };
    // As in `V4lCamera::open`: the v4l crate panics on what it does not know.
    let unknown = |what: &'static str| io::Error::other(format!("the driver's {what} cannot be understood"));
    let opened = catch_unwind(|| -> io::Result<_> {
        let device = Device::with_path(path)?;
        Ok(device.query_caps().ok().map(|capabilities| (device, capabilities)))
    });
    let opened = opened.unwrap_or_else(|_| Err(unknown("description")));
    let Some((device, capabilities)) = opened.map_err(|error| opening.io("opening", error))? else { return Ok(None) };
    if !capabilities.capabilities.contains(Capability::VIDEO_CAPTURE | Capability::STREAMING) {
        return Ok(None);
    }
    let offers = catch_unwind(AssertUnwindSafe(|| offers(&device))).unwrap_or_default();
    let controls = catch_unwind(AssertUnwindSafe(|| all_controls(&device))).unwrap_or_else(|_| {
        tracing::warn!(path = %path.display(), "{}", unknown("controls"));
        Vec::new()
    });
    let text = |text: &str| text.split('\0').next().unwrap_or_default().trim().to_string();
    Ok(Some(Described {
        card: once(&text(&capabilities.card)).to_string(),
        driver: text(&capabilities.driver),
        bus: text(&capabilities.bus),
        offers,
        controls,
    }))
}

/// The name of a camera whose USB function is called as the device itself: `USB Camera: USB Camera`.
pub fn once(card: &str) -> &str {
    card.split_once(": ").filter(|(device, function)| device == function).map_or(card, |(device, _)| device)
}

fn all_controls(device: &Device) -> Vec<Control> {
    let is_one = |control: &Description| control.typ != Type::CtrlClass && !control.flags.contains(Flags::DISABLED);
    let descriptions = device.query_controls().unwrap_or_default();
    descriptions.into_iter().filter(is_one).map(|description| control(device, description)).collect()
}

fn control(device: &Device, description: Description) -> Control {
    let kind = match description.typ {
        Type::Integer | Type::Integer64 => "integer",
        Type::Boolean => "boolean",
        Type::Menu => "menu",
        Type::IntegerMenu => "integer_menu",
        Type::Bitmask => "bitmask",
        Type::Button => "button",
        Type::String => "string",
        _ => "other",
    };
    let (label, default) = (description.name.clone(), description.default);
    let controls::Described { id, name, minimum, maximum, step, read_only, readable, inactive, entries, kind: plain } =
        of(description);
    let is_told = readable && plain != controls::Kind::Other;
    let value = if is_told { read(device, id).ok() } else { None };
    let menu = entries.into_iter().map(|(value, name)| Entry { value, name }).collect();
    Control { name, label, kind, min: minimum, max: maximum, step, default, value, menu, inactive, read_only }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_said_once() {
        for (card, name) in [
            ("USB Camera: USB Camera", "USB Camera"),
            ("Integrated Camera: Integrated I", "Integrated Camera: Integrated I"),
            ("HD Pro Webcam C920", "HD Pro Webcam C920"),
        ] {
            assert_eq!(once(card), name);
        }
    }

    #[test]
    fn what_is_no_camera_is_none_and_what_is_absent_is_an_error() {
        assert_eq!(describe("x", Path::new("/dev/null")).unwrap(), None);
        let error = describe("x", Path::new("/dev/video-that-is-not")).unwrap_err().to_string();
        assert!(error.contains("/dev/video-that-is-not does not exist"), "{error}");
    }
}
