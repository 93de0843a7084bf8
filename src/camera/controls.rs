//! Controls of a camera: from the keys of its table, and what the device says of itself, to what is set in which order; and
//! how what was set is held ([`Held`]). Pure: the device is behind [`Access`].

mod held;

pub use held::{Change, Held};

use crate::config::Problem;
use crate::config::schema::{self, ControlValue};
use std::io;

/// What a control takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Number,
    /// 0 or 1.
    Switch,
    /// One of its entries.
    Menu,
    /// Nothing that could be kept: a button, text, a matrix.
    Other,
}

/// A control as the device describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    pub id: u32,
    /// As [`normalised`] makes it.
    pub name: String,
    pub kind: Kind,
    pub minimum: i64,
    pub maximum: i64,
    pub step: u64,
    pub read_only: bool,
    /// What it is set to can be read back.
    pub readable: bool,
    /// It has no effect now, and many devices refuse it: another one governs it.
    pub inactive: bool,
    /// Numbers and names of a menu's entries.
    pub entries: Vec<(i64, String)>,
}

/// A control that is to be set, for the key that wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    pub key: String,
    pub control: Described,
    pub value: i64,
}

/// A device's controls.
pub trait Access {
    fn read(&mut self, id: u32) -> io::Result<i64>;
    fn write(&mut self, id: u32, value: i64) -> io::Result<()>;
}

/// The ids of Linux, which its names have changed around.
pub mod id {
    pub const WHITE_BALANCE_AUTOMATIC: u32 = 0x0098_090c;
    pub const GAIN_AUTOMATIC: u32 = 0x0098_0912;
    pub const GAIN: u32 = 0x0098_0913;
    pub const POWER_LINE_FREQUENCY: u32 = 0x0098_0918;
    pub const WHITE_BALANCE_TEMPERATURE: u32 = 0x0098_091a;
    pub const AUTO_EXPOSURE: u32 = 0x009a_0901;
    pub const EXPOSURE_TIME: u32 = 0x009a_0902;
    pub const EXPOSURE_DYNAMIC_FRAMERATE: u32 = 0x009a_0903;
    pub const FOCUS: u32 = 0x009a_090a;
    pub const FOCUS_AUTOMATIC: u32 = 0x009a_090c;
}

/// Names of controls that Linux has changed, or that have a key of their own: all that mean the same, the newest first.
const NAMES: [(u32, &[&str], Option<&str>); 10] = [
    (id::AUTO_EXPOSURE, &["auto_exposure", "exposure_auto"], Some("exposure")),
    (id::EXPOSURE_TIME, &["exposure_time_absolute", "exposure_absolute"], Some("exposure")),
    (id::EXPOSURE_DYNAMIC_FRAMERATE, &["exposure_dynamic_framerate", "exposure_auto_priority"], None),
    (id::GAIN_AUTOMATIC, &["gain_automatic"], Some("gain")),
    (id::GAIN, &["gain"], Some("gain")),
    (
        id::WHITE_BALANCE_AUTOMATIC,
        &["white_balance_automatic", "white_balance_temperature_auto"],
        Some("white_balance"),
    ),
    (id::WHITE_BALANCE_TEMPERATURE, &["white_balance_temperature"], Some("white_balance")),
    (id::FOCUS_AUTOMATIC, &["focus_automatic_continuous", "focus_auto"], Some("focus")),
    (id::FOCUS, &["focus_absolute"], Some("focus")),
    (id::POWER_LINE_FREQUENCY, &["power_line_frequency"], Some("power_line_frequency")),
];

/// The key of its own that a control has.
pub fn own_key(name: &str) -> Option<&'static str> {
    NAMES.iter().find(|(_, names, _)| names.contains(&normalised(name).as_str())).and_then(|(_, _, key)| *key)
}

/// A quantity that the camera finds by itself, or that a person gives it.
struct Quantity {
    key: &'static str,
    of: fn(&schema::Camera) -> Option<&ControlValue>,
    automatic: u32,
    /// What switches the automatic on, and off: the first that the device has.
    on: &'static [i64],
    off: &'static [i64],
    value: u32,
    in_words: &'static str,
}

const QUANTITIES: [Quantity; 4] = [
    Quantity {
        key: "exposure",
        of: |camera| camera.exposure.as_ref(),
        automatic: id::AUTO_EXPOSURE,
        // Aperture priority, where the exposure time alone is the camera's, then all automatic; manual, then the time alone.
        on: &[3, 0],
        off: &[1, 2],
        value: id::EXPOSURE_TIME,
        in_words: "exposure time",
    },
    Quantity {
        key: "gain",
        of: |camera| camera.gain.as_ref(),
        automatic: id::GAIN_AUTOMATIC,
        on: &[1],
        off: &[0],
        value: id::GAIN,
        in_words: "gain",
    },
    Quantity {
        key: "white_balance",
        of: |camera| camera.white_balance.as_ref(),
        automatic: id::WHITE_BALANCE_AUTOMATIC,
        on: &[1],
        off: &[0],
        value: id::WHITE_BALANCE_TEMPERATURE,
        in_words: "white balance temperature",
    },
    Quantity {
        key: "focus",
        of: |camera| camera.focus.as_ref(),
        automatic: id::FOCUS_AUTOMATIC,
        on: &[1],
        off: &[0],
        value: id::FOCUS,
        in_words: "focus",
    },
];

/// A name as `v4l2-ctl` writes it: `White Balance, Automatic` is `white_balance_automatic`.
pub fn normalised(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("_").to_lowercase()
}

/// True when the camera's table says nothing of controls.
pub fn nothing_to_set(config: &schema::Camera) -> bool {
    config.controls.is_empty()
        && config.power_line_frequency.is_none()
        && QUANTITIES.iter().all(|quantity| (quantity.of)(config).is_none())
}

/// What is to be set, automatics first: while one is on, devices refuse the value that it governs.
pub fn plan(config: &schema::Camera, device: &[Described]) -> Result<Vec<Setting>, Box<Problem>> {
    let mut planned: Vec<Setting> = Vec::new();
    for quantity in &QUANTITIES {
        match (quantity.of)(config) {
            None => {}
            Some(ControlValue::Number(number)) => {
                let control = with_id(device, quantity.value).ok_or_else(|| {
                    missing(device, quantity.key, format!("a camera whose {} can be set", quantity.in_words))
                })?;
                if let Some(automatic) = with_id(device, quantity.automatic) {
                    let off = first_of(automatic, quantity.off).ok_or_else(|| {
                        let expected =
                            format!("an entry of {} that leaves the {} alone", automatic.name, quantity.in_words);
                        let remedy = format!("set {} = \"auto\", or leave it out", quantity.key);
                        Box::new(Problem::new(quantity.key, expected, offered(automatic), remedy))
                    })?;
                    planned.push(setting(quantity.key, automatic, off)?);
                }
                planned.push(setting(quantity.key, control, in_range(quantity.key, control, *number)?)?);
            }
            Some(_) => {
                let automatic = with_id(device, quantity.automatic)
                    .and_then(|control| first_of(control, quantity.on).map(|on| (control, on)));
                let (control, on) = automatic.ok_or_else(|| {
                    missing(device, quantity.key, format!("a camera that finds its {} by itself", quantity.in_words))
                })?;
                planned.push(setting(quantity.key, control, on)?);
            }
        }
    }
    if let Some(wanted) = &config.power_line_frequency {
        planned.push(power_line(wanted, device)?);
    }
    for (name, wanted) in &config.controls {
        let key = format!("controls.{name}");
        let control = named(device, name).ok_or_else(|| unknown(device, &key, name))?;
        let value = value_of(&key, control, wanted)?;
        if planned.iter().any(|other| other.control.id == control.id) {
            let remedy = "leave one of them out";
            return Err(Box::new(Problem::new(key, "each control once", format!("{} twice", control.name), remedy)));
        }
        planned.push(setting(&key, control, value)?);
    }
    planned.sort_by_key(|setting| setting.control.kind == Kind::Number);
    Ok(planned)
}

fn setting(key: &str, control: &Described, value: i64) -> Result<Setting, Box<Problem>> {
    if control.read_only {
        let (expected, found) = ("a control that can be set", format!("{}, which can only be read", control.name));
        return Err(Box::new(Problem::new(key, expected, found, "leave it out")));
    }
    Ok(Setting { key: key.into(), control: control.clone(), value })
}

fn power_line(wanted: &ControlValue, device: &[Described]) -> Result<Setting, Box<Problem>> {
    let key = "power_line_frequency";
    let control = with_id(device, id::POWER_LINE_FREQUENCY)
        .ok_or_else(|| missing(device, key, "a camera that knows of the mains' frequency".into()))?;
    // The entries' numbers are Linux'.
    let number = match wanted {
        ControlValue::Number(50) => 1,
        ControlValue::Number(60) => 2,
        ControlValue::Word(word) if word == "auto" => 3,
        _ => 0,
    };
    match first_of(control, &[number]) {
        Some(number) => setting(key, control, number),
        None => {
            let expected = format!("one of {}", offered(control));
            Err(Box::new(Problem::new(
                key,
                expected,
                wanted.to_string(),
                "choose one that the camera has, or leave it out",
            )))
        }
    }
}

/// The number that stands for what is wanted.
fn value_of(key: &str, control: &Described, wanted: &ControlValue) -> Result<i64, Box<Problem>> {
    let expected = match (control.kind, wanted) {
        (Kind::Number, ControlValue::Number(number)) => return in_range(key, control, *number),
        (Kind::Switch, ControlValue::Switch(on)) => return Ok(i64::from(*on)),
        (Kind::Menu, wanted) => {
            let is_wanted = |(number, name): &&(i64, String)| match wanted {
                ControlValue::Number(wanted) => number == wanted,
                ControlValue::Word(wanted) => normalised(name) == normalised(wanted),
                ControlValue::Switch(_) => false,
            };
            if let Some((number, _)) = control.entries.iter().find(is_wanted) {
                return Ok(*number);
            }
            format!("one of {}", offered(control))
        }
        (Kind::Number, _) => format!("a number, {}", offered(control)),
        (Kind::Switch, _) => "true or false".into(),
        (Kind::Other, _) => "a number, a switch or a menu".into(),
    };
    let found = match control.kind {
        Kind::Other => format!("{}, which is none of them", control.name),
        _ => wanted.to_string(),
    };
    Err(Box::new(Problem::new(key, expected, found, "`recorder devices` lists the camera's controls")))
}

fn in_range(key: &str, control: &Described, number: i64) -> Result<i64, Box<Problem>> {
    if (control.minimum..=control.maximum).contains(&number) {
        return Ok(number);
    }
    let nearest = number.clamp(control.minimum, control.maximum);
    let remedy = format!("{nearest} is the nearest that this camera has");
    Err(Box::new(Problem::new(key, offered(control), number.to_string(), remedy)))
}

/// What can be asked of a control.
fn offered(control: &Described) -> String {
    match control.kind {
        Kind::Menu => {
            let entries = control.entries.iter().map(|(number, name)| format!("{number} ({name})"));
            entries.collect::<Vec<_>>().join(", ")
        }
        Kind::Switch => "true, false".into(),
        Kind::Number if control.step > 1 => {
            format!("{} to {} in steps of {}", control.minimum, control.maximum, control.step)
        }
        Kind::Number | Kind::Other => format!("{} to {}", control.minimum, control.maximum),
    }
}

fn first_of(control: &Described, wanted: &[i64]) -> Option<i64> {
    let has = |number: &i64| match control.kind {
        Kind::Menu => control.entries.iter().any(|(entry, _)| entry == number),
        _ => (control.minimum..=control.maximum).contains(number),
    };
    wanted.iter().copied().find(has)
}

fn with_id(device: &[Described], id: u32) -> Option<&Described> {
    device.iter().find(|control| control.id == id)
}

/// By its name here, or by another that Linux has had for it.
fn named<'a>(device: &'a [Described], name: &str) -> Option<&'a Described> {
    let name = normalised(name);
    let by_name = device.iter().find(|control| control.name == name);
    by_name.or_else(|| {
        let (id, ..) = NAMES.iter().find(|(_, names, _)| names.contains(&name.as_str()))?;
        with_id(device, *id)
    })
}

fn unknown(device: &[Described], key: &str, name: &str) -> Box<Problem> {
    let names = device.iter().filter(|control| control.kind != Kind::Other).map(|control| control.name.as_str());
    let nearest = names.min_by_key(|known| strsim::damerau_levenshtein(&normalised(name), known));
    let remedy = nearest.map_or("leave it out".into(), |nearest| format!("did you mean {nearest}?"));
    Box::new(Problem::new(key, format!("a control of this camera, {}", list(device)), format!("\"{name}\""), remedy))
}

fn missing(device: &[Described], key: &str, expected: String) -> Box<Problem> {
    Box::new(Problem::new(key, expected, format!("one with {}", list(device)), format!("leave {key} out")))
}

fn list(device: &[Described]) -> String {
    let names: Vec<&str> = device.iter().filter(|c| c.kind != Kind::Other).map(|c| c.name.as_str()).collect();
    if names.is_empty() { "no controls at all".into() } else { names.join(", ") }
}

/// A value for people: a menu's with its name.
fn value_words(control: &Described, value: i64) -> String {
    match (control.kind, control.entries.iter().find(|(number, _)| *number == value)) {
        (Kind::Menu, Some((_, name))) => format!("{value} ({name})"),
        (Kind::Switch, _) => (value != 0).to_string(),
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests;
