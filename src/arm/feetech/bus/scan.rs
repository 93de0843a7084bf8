//! Who is on a bus at all, and at which rate: for servos that were never set up.

use super::Bus;
use crate::arm::ArmError;
use crate::arm::feetech::packet::{BROADCAST, Packet};
use serialport::{ClearBuffer, SerialPort};
use std::time::{Duration, Instant};

/// What answers a ping to all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// The id of every reply, in the order in which they came; one twice is that of two servos.
    pub ids: Vec<u8>,
    /// Bytes came that are no whole reply: servos speak over each other, or at another rate.
    pub garbled: bool,
}

impl Bus {
    /// Speaks at `baud` from now on.
    pub fn set_baud(&mut self, baud: u32) -> Result<(), ArmError> {
        self.port.set_baud_rate(baud).map_err(|error| self.lost(error.into()))
    }

    /// Asks every servo at the present rate who it is, and listens for `window`.
    pub fn scan(&mut self, window: Duration) -> Result<Scan, ArmError> {
        self.port.clear(ClearBuffer::Input).map_err(|e| self.lost(e.into()))?;
        self.decoder.clear();
        self.transmit(&Packet::ping(BROADCAST))?;
        let until = Instant::now() + window;
        let mut scan = Scan::default();
        while self.fill(until)? {
            while let Some(next) = self.decoder.next(0) {
                match next {
                    Ok(reply) => scan.ids.push(reply.id),
                    Err(_) => scan.garbled = true,
                }
            }
            // A line that chatters without end is no reason to stay.
            if Instant::now() >= until {
                break;
            }
        }
        scan.garbled |= !self.decoder.is_empty();
        Ok(scan)
    }
}
