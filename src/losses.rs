//! Devices that were lost in a run: which are away now, and why. Pure.

use crate::config::schema::OnLoss;
use crate::restart::{Device, Policy};
use std::collections::BTreeMap;

/// A device that worked is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    pub device: Device,
    /// For people: `camera front`.
    pub name: String,
    pub on_loss: OnLoss,
    pub reason: String,
    /// It is lost again and again.
    pub keeps_failing: bool,
}

impl Loss {
    /// Who and why; errors of cameras name their camera.
    pub fn words(&self) -> String {
        if self.reason.starts_with(&self.name) {
            self.reason.clone()
        } else {
            format!("{}: {}", self.name, self.reason)
        }
    }
}

/// The last loss of every device that was ever lost.
#[derive(Clone, Debug, Default)]
pub struct Losses(BTreeMap<Device, Last>);

#[derive(Clone, Debug)]
struct Last {
    loss: Loss,
    at_ns: u64,
    away: bool,
}

impl Losses {
    /// A device is lost.
    pub fn lost(&mut self, loss: Loss, at_ns: u64) {
        self.0.insert(loss.device, Last { loss, at_ns, away: true });
    }

    /// It is there again.
    pub fn back(&mut self, device: Device) {
        self.0.entry(device).and_modify(|last| last.away = false);
    }

    /// Why it was lost the last time.
    pub fn reason(&self, device: Device) -> &str {
        self.0.get(&device).map_or("", |last| &last.loss.reason)
    }

    /// Devices that are away.
    pub fn away(&self) -> impl Iterator<Item = &Loss> {
        self.0.values().filter(|last| last.away).map(|last| &last.loss)
    }

    /// Devices that keep failing; those that have held out for a minute do not any more.
    pub fn failing(&self, now_ns: u64) -> impl Iterator<Item = &Loss> {
        let recent = move |last: &&Last| now_ns.saturating_sub(last.at_ns) <= Policy::DEVICE.window.as_nanos() as u64;
        self.0.values().filter(recent).map(|last| &last.loss).filter(|loss| loss.keeps_failing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_away_and_who_keeps_failing() {
        let loss = |device, keeps_failing| Loss {
            device,
            name: format!("{device:?}"),
            on_loss: OnLoss::Hold,
            reason: "unplugged".into(),
            keeps_failing,
        };
        let mut losses = Losses::default();
        losses.lost(loss(Device::Arm, false), 1_000_000_000);
        losses.lost(loss(Device::Camera(1), true), 2_000_000_000);
        losses.back(Device::Camera(0));
        assert_eq!(losses.away().next().unwrap().words(), "Camera(1): unplugged");
        let camera = Loss { reason: "Arm: no picture".into(), ..loss(Device::Arm, false) };
        assert_eq!(camera.words(), "Arm: no picture");
        assert_eq!(losses.away().map(|l| l.device).collect::<Vec<_>>(), [Device::Camera(1), Device::Arm]);
        losses.back(Device::Camera(1));
        assert_eq!(losses.away().map(|l| l.device).collect::<Vec<_>>(), [Device::Arm]);
        assert_eq!((losses.reason(Device::Camera(1)), losses.reason(Device::Camera(0))), ("unplugged", ""));
        assert_eq!(losses.failing(62_000_000_000).map(|l| l.device).collect::<Vec<_>>(), [Device::Camera(1)]);
        assert_eq!(losses.failing(62_000_000_001).count(), 0);
    }
}
