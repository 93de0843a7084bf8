//! The controls of a device: described, set, and held.

use super::slow::Exposure;
use crate::camera::CameraError;
use crate::camera::controls::{Access, Change, Described, Held, Kind, id, normalised, nothing_to_set, plan};
use crate::config::schema;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use v4l::Device;
use v4l::control::{Control, Description, Flags, MenuItem, Type, Value};

impl Access for Device {
    fn read(&mut self, id: u32) -> io::Result<i64> {
        read(self, id)
    }

    fn write(&mut self, id: u32, value: i64) -> io::Result<()> {
        self.set_control(Control { id, value: Value::Integer(value) })
    }
}

/// What a control is now.
pub(super) fn read(device: &Device, id: u32) -> io::Result<i64> {
    match device.control(id)?.value {
        Value::Integer(value) => Ok(value),
        Value::Boolean(on) => Ok(i64::from(on)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Controls of a camera that are set.
pub(super) struct Controls {
    device: Device,
    held: Held,
}

impl Controls {
    /// Sets what the camera's table says and reads it back.
    pub fn set(name: &str, config: &schema::Camera, mut device: Device) -> Result<Controls, CameraError> {
        if nothing_to_set(config) {
            return Ok(Controls { device, held: Held::default() });
        }
        let described = described(&mut device);
        let set = plan(config, &described).and_then(|plan| Held::set(plan, &mut device));
        let (held, rounded) = set.map_err(|problem| CameraError::Control { camera: name.into(), problem })?;
        for words in rounded {
            tracing::warn!("camera {name}: {words}");
        }
        Ok(Controls { device, held })
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Once pictures come: some cameras begin to stream with their own settings.
    pub fn settle(&mut self) {
        self.held.settle(&mut self.device);
    }

    /// What the camera says of its exposure now.
    pub fn exposure(&mut self) -> Exposure {
        let mut read = |id| self.device.read(id).ok();
        Exposure {
            mode: read(id::AUTO_EXPOSURE),
            time: read(id::EXPOSURE_TIME),
            dynamic_framerate: read(id::EXPOSURE_DYNAMIC_FRAMERATE),
        }
    }

    /// See [`Held::look`].
    pub fn look(&mut self) -> Vec<Change> {
        self.held.look(&mut self.device)
    }
}

/// All controls of a device; none where it says of none.
pub(super) fn described(device: &mut Device) -> Vec<Described> {
    // The v4l crate panics on types of controls that are newer than itself, such as the rectangles of Linux 6.16.
    match catch_unwind(AssertUnwindSafe(|| device.query_controls())) {
        Ok(found) => found.unwrap_or_default().into_iter().filter(|d| d.typ != Type::CtrlClass).map(of).collect(),
        Err(_) => USUAL.iter().filter(|(id, ..)| device.read(*id).is_ok()).map(usual).collect(),
    }
}

/// A control in the recorder's words.
pub(super) fn of(description: Description) -> Described {
    let flags = description.flags;
    let entries = description.items.unwrap_or_default().into_iter().map(|(number, item)| match item {
        MenuItem::Name(name) => (i64::from(number), name.split('\0').next().unwrap_or_default().to_string()),
        MenuItem::Value(value) => (i64::from(number), value.to_string()),
    });
    Described {
        id: description.id,
        name: normalised(&description.name),
        kind: match description.typ {
            Type::Integer | Type::Integer64 => Kind::Number,
            Type::Boolean => Kind::Switch,
            Type::Menu | Type::IntegerMenu => Kind::Menu,
            _ => Kind::Other,
        },
        minimum: description.minimum,
        maximum: description.maximum,
        step: description.step,
        read_only: flags.intersects(Flags::READ_ONLY | Flags::DISABLED),
        // The crate does not read menus of numbers.
        readable: !flags.contains(Flags::WRITE_ONLY) && description.typ != Type::IntegerMenu,
        inactive: flags.contains(Flags::INACTIVE),
        entries: entries.collect(),
    }
}

/// Id, name, kind, and a menu's entries.
type Usual = (u32, &'static str, Kind, &'static [(i64, &'static str)]);

/// What webcams have, for devices whose description cannot be read: without their ranges, which they then hold themselves.
const USUAL: [Usual; 17] = [
    (0x0098_0900, "brightness", Kind::Number, &[]),
    (0x0098_0901, "contrast", Kind::Number, &[]),
    (0x0098_0902, "saturation", Kind::Number, &[]),
    (0x0098_0903, "hue", Kind::Number, &[]),
    (id::WHITE_BALANCE_AUTOMATIC, "white_balance_automatic", Kind::Switch, &[]),
    (0x0098_0910, "gamma", Kind::Number, &[]),
    (id::GAIN, "gain", Kind::Number, &[]),
    (
        id::POWER_LINE_FREQUENCY,
        "power_line_frequency",
        Kind::Menu,
        &[(0, "Disabled"), (1, "50 Hz"), (2, "60 Hz"), (3, "Auto")],
    ),
    (id::WHITE_BALANCE_TEMPERATURE, "white_balance_temperature", Kind::Number, &[]),
    (0x0098_091b, "sharpness", Kind::Number, &[]),
    (0x0098_091c, "backlight_compensation", Kind::Number, &[]),
    (
        id::AUTO_EXPOSURE,
        "auto_exposure",
        Kind::Menu,
        &[(1, "Manual Mode"), (3, "Aperture Priority Mode"), (0, "Auto Mode"), (2, "Shutter Priority Mode")],
    ),
    (id::EXPOSURE_TIME, "exposure_time_absolute", Kind::Number, &[]),
    (id::EXPOSURE_DYNAMIC_FRAMERATE, "exposure_dynamic_framerate", Kind::Switch, &[]),
    (id::FOCUS, "focus_absolute", Kind::Number, &[]),
    (id::FOCUS_AUTOMATIC, "focus_automatic_continuous", Kind::Switch, &[]),
    (0x009a_090d, "zoom_absolute", Kind::Number, &[]),
];

fn usual(&(id, name, kind, entries): &Usual) -> Described {
    let (minimum, maximum) = if kind == Kind::Switch { (0, 1) } else { (i32::MIN.into(), i32::MAX.into()) };
    let entries = entries.iter().map(|(number, name)| (*number, (*name).to_string())).collect();
    let name = name.into();
    Described { id, name, kind, minimum, maximum, step: 1, read_only: false, readable: true, inactive: false, entries }
}
