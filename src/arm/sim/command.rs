//! What can be done to the simulated bus by a line of text.

use super::{Fault, Noise, SimBus};
use crate::arm::feetech::registers::{self as reg, Register};
use crate::arm::so101::MOTORS;
use std::time::Duration;

/// Every command of [`SimBus::command`] and what it does.
pub const COMMANDS: [(&str, &str); 17] = [
    ("lose [MOTOR] [COUNT]", "the next COUNT replies of MOTOR are never sent"),
    ("late TIME [MOTOR] [COUNT]", "they come later: 60ms, or 2 for two requests"),
    ("corrupt [MOTOR] [COUNT]", "their checksums are wrong"),
    ("noise before|instead|behind [MOTOR] [COUNT]", "bytes that no servo has sent stand there"),
    ("clear", "no reply meets any of these faults any more"),
    ("overload MOTOR [on|off]", "this error bit stands in every reply"),
    ("overheat MOTOR [on|off]", "likewise"),
    ("voltage MOTOR [on|off]", "likewise"),
    ("missing MOTOR", "the servo is off the bus"),
    ("back MOTOR", "it is on the bus again"),
    ("only MOTOR", "no other is on the bus"),
    ("slow MS", "all bytes come MS milliseconds later"),
    ("power", "the arm's power is switched off and on"),
    ("turn MOTOR POSITION", "a hand turns the joint to a position, in steps"),
    ("read MOTOR REGISTER", "answers with its value, such as `ok 2047`"),
    ("write MOTOR REGISTER VALUE", "sets it, past the bus and its rules"),
    ("registers", "answers with the names of all registers"),
];

/// The error bits that last.
const BITS: [(&str, i32); 3] = [("voltage", 1), ("overheat", 4), ("overload", 32)];

impl SimBus {
    /// Obeys one of [`COMMANDS`]. MOTOR is a joint's name, which finds the servo in its place whatever its id is, or an id,
    /// or `all`, which is also meant where a motor is left out; COUNT is 1 where it is left out. Answers with what was asked
    /// for, else with nothing; an error says what was expected, and nothing has happened.
    pub fn command(&self, line: &str) -> Result<String, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match *words.as_slice() {
            ["lose", ref replies @ ..] => self.spoil(Fault::Lost, replies)?,
            ["late", time, ref replies @ ..] => self.spoil(late(time)?, replies)?,
            ["corrupt", ref replies @ ..] => self.spoil(Fault::BadChecksum, replies)?,
            ["noise", "before", ref replies @ ..] => self.spoil(Fault::Noise(Noise::Before), replies)?,
            ["noise", "instead", ref replies @ ..] => self.spoil(Fault::Noise(Noise::Instead), replies)?,
            ["noise", "behind", ref replies @ ..] => self.spoil(Fault::Noise(Noise::Behind), replies)?,
            ["clear"] => self.shared.lock().faults.clear(),
            [bit, motor] | [bit, motor, "on"] if bits(bit).is_some() => self.set_bits(bit, motor, true)?,
            [bit, motor, "off"] if bits(bit).is_some() => self.set_bits(bit, motor, false)?,
            ["missing", motor] => self.connect(motor, |is_named| is_named.then_some(false))?,
            ["back", motor] => self.connect(motor, |is_named| is_named.then_some(true))?,
            ["only", motor] => self.connect(motor, Some)?,
            ["slow", ms] => self.set_delay(Duration::from_millis(number(ms, "a number of milliseconds")?)),
            ["power"] => self.power_cycle(),
            ["turn", motor, position] => {
                let position = number(position, "a position in steps")?;
                let now_ns = self.shared.clock.now().mono_ns;
                let places = self.places(motor)?;
                let mut state = self.shared.lock();
                places.into_iter().for_each(|place| state.servos[place].turn(position, now_ns));
            }
            ["read", motor, register] => return self.read(motor, register),
            ["write", motor, register, value] => self.write(motor, register, value)?,
            ["registers"] => return Ok(reg::ALL.iter().map(|register| register.name).collect::<Vec<_>>().join(" ")),
            [] => return Err(expected("a command", "none")),
            [name, ..] => return Err(expected(&usage(name), &format!("`{}`", words.join(" ")))),
        }
        Ok(String::new())
    }

    /// Lets the replies that the words name meet a fault.
    fn spoil(&self, fault: Fault, replies: &[&str]) -> Result<(), String> {
        let (motor, count) = match *replies {
            [] => ("all", 1),
            [motor] => (motor, 1),
            [motor, count] => (motor, number(count, "a number of replies")?),
            [_, _, ref more @ ..] => return Err(expected("[MOTOR] [COUNT] and no more", &more.join(" "))),
        };
        let id = match motor {
            "all" => None,
            _ => self.places(motor)?.first().map(|place| self.shared.lock().servos[*place].id()),
        };
        self.inject(fault, id, count);
        Ok(())
    }

    fn set_bits(&self, bit: &str, motor: &str, on: bool) -> Result<(), String> {
        let places = self.places(motor)?;
        let bits = bits(bit).unwrap_or_default();
        let now_ns = self.shared.clock.now().mono_ns;
        let mut state = self.shared.lock();
        for place in places {
            let servo = &mut state.servos[place];
            let status = servo.get(reg::STATUS);
            let status = if on { status | bits } else { status & !bits };
            servo.poke(reg::STATUS.addr, &[status as u8], now_ns);
        }
        Ok(())
    }

    /// Puts servos on the bus or takes them off it: `is_on` is told of each whether it was named, and says nothing to leave
    /// it as it is.
    fn connect(&self, motor: &str, is_on: impl Fn(bool) -> Option<bool>) -> Result<(), String> {
        let places = self.places(motor)?;
        for (place, servo) in self.shared.lock().servos.iter_mut().enumerate() {
            servo.is_connected = is_on(places.contains(&place)).unwrap_or(servo.is_connected);
        }
        Ok(())
    }

    fn read(&self, motor: &str, name: &str) -> Result<String, String> {
        let register = register(name)?;
        let now_ns = self.shared.clock.now().mono_ns;
        let places = self.places(motor)?;
        let state = self.shared.lock();
        let value = |place: usize| register.decode(&state.servos[place].read(register.addr, register.size, now_ns));
        Ok(places.into_iter().map(|place| value(place).to_string()).collect::<Vec<_>>().join(" "))
    }

    fn write(&self, motor: &str, name: &str, value: &str) -> Result<(), String> {
        let register = register(name)?;
        let value = number(value, "a whole number")?;
        let bytes = register.encode(value).ok_or_else(|| {
            let most = (1 << register.sign_bit.unwrap_or(8 * register.size)) - 1;
            let least = if register.sign_bit.is_some() { -most } else { 0 };
            expected(&format!("{least} to {most} for {}", register.name), &value.to_string())
        })?;
        let places = self.places(motor)?;
        let now_ns = self.shared.clock.now().mono_ns;
        let mut state = self.shared.lock();
        places.into_iter().for_each(|place| state.servos[place].poke(register.addr, &bytes, now_ns));
        Ok(())
    }

    /// Where the servos stand that a word names; at least one.
    fn places(&self, motor: &str) -> Result<Vec<usize>, String> {
        let state = self.shared.lock();
        let id = motor.parse::<u8>().ok();
        let is_meant =
            |place: &usize| motor == "all" || MOTORS[*place].0 == motor || id == Some(state.servos[*place].id());
        let places: Vec<usize> = (0..state.servos.len()).filter(is_meant).collect();
        if places.is_empty() {
            let names = MOTORS.map(|(name, _)| name).join(", ");
            return Err(expected(&format!("a motor ({names}), the id of one that there is, or all"), motor));
        }
        Ok(places)
    }
}

fn expected(what: &str, found: &str) -> String {
    format!("expected {what}; found {found}")
}

fn bits(name: &str) -> Option<i32> {
    BITS.iter().find(|(bit, _)| *bit == name).map(|(_, bits)| *bits)
}

/// How a command is written; of an unknown one, what commands there are.
fn usage(name: &str) -> String {
    let first = |usage: &str| usage.split(' ').next().unwrap_or_default().to_string();
    match COMMANDS.iter().find(|(usage, _)| first(usage) == name) {
        Some((usage, _)) => format!("`{usage}`"),
        None => format!("one of {}", COMMANDS.map(|(usage, _)| first(usage)).join(", ")),
    }
}

/// `60ms`, or a number of requests.
fn late(time: &str) -> Result<Fault, String> {
    let what = "a time such as 60ms, or a number of requests above 0";
    match time.strip_suffix("ms") {
        Some(ms) => Ok(Fault::LateBy(Duration::from_millis(number(ms, what)?))),
        None => match number(time, what)? {
            0 => Err(expected(what, time)),
            requests => Ok(Fault::Late(requests)),
        },
    }
}

fn number<T: std::str::FromStr>(word: &str, what: &str) -> Result<T, String> {
    word.parse().map_err(|_| expected(what, word))
}

fn register(name: &str) -> Result<Register, String> {
    let found = reg::ALL.iter().find(|register| register.name.eq_ignore_ascii_case(name));
    found.copied().ok_or_else(|| {
        let closest = reg::ALL.iter().max_by(|a, b| {
            let like = |register: &Register| strsim::jaro_winkler(&register.name.to_lowercase(), &name.to_lowercase());
            like(a).total_cmp(&like(b))
        });
        let closest = closest.map_or("", |register| register.name);
        expected(&format!("a register such as {closest} (`registers` lists them)"), name)
    })
}
