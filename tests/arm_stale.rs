//! 100,000 transactions on a bus that loses, delays and breaks replies: not one value is older than it says.

mod arm_support;

use arm_support::{AMPLE, IDS, bare_bus, connect_leader, follower_bus, leader_bus, within};
use recorder::arm::feetech::registers as reg;
use recorder::arm::normalise::{Norm, Range, normalise};
use recorder::arm::sim::Fault;
use recorder::arm::{Reading, Teleop};
use std::collections::BTreeMap;
use std::time::Duration;

/// So many transactions, and one in so many meets a fault.
const TRANSACTIONS: u32 = 100_000;
const FAULT_EVERY: u32 = 40;
/// Short, so that the faults do not take hours. A busy machine then adds late replies of its own.
const PATIENCE: Duration = Duration::from_millis(3);

/// A sequence of numbers that is the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.0 >> 33) % u64::from(end)) as u32
    }

    /// A fault: most of them late, by up to seven requests.
    fn fault(&mut self) -> Fault {
        match self.below(8) {
            0 => Fault::Lost,
            1 => Fault::BadChecksum,
            _ => Fault::Late(1 + self.below(7)),
        }
    }
}

/// Every transaction changes what the next one must read: a counter in a register of two bytes and in one of one byte.
#[test]
fn no_value_of_100_000_transactions_is_stale_and_unmarked() {
    let sim = follower_bus();
    let mut bus = bare_bus(&sim, PATIENCE);
    let mut numbers = Numbers(1);
    let (mut missed, mut faults) = (0, BTreeMap::<&str, u32>::new());
    for k in 0..TRANSACTIONS {
        let (word, byte) = ((k % 30_000) as i32, (k % 251) as i32);
        for id in IDS {
            sim.poke(id, reg::GOAL_VELOCITY, word);
            sim.poke(id, reg::ACCELERATION, byte);
        }
        if numbers.below(FAULT_EVERY) == 0 {
            let motor = Some(IDS[numbers.below(6) as usize]).filter(|_| numbers.below(4) > 0);
            sim.inject(numbers.fault(), motor, 1 + numbers.below(4) as usize);
        }
        bus.retries = numbers.below(3);
        let deadline = within(AMPLE);
        match numbers.below(8) {
            // As the loop does it.
            0..6 => match bus.sync_read_some(&IDS, reg::GOAL_VELOCITY, deadline) {
                Ok(values) => {
                    missed += values.iter().filter(|value| value.is_none()).count();
                    for (id, value) in IDS.iter().zip(values) {
                        assert!(value.is_none_or(|value| value == word), "motor {id} at {k}: {value:?}");
                    }
                }
                Err(_) => missed += IDS.len(),
            },
            // As motors are looked after between.
            kind => {
                let id = IDS[numbers.below(6) as usize];
                let (register, expected) =
                    if kind == 6 { (reg::ACCELERATION, byte) } else { (reg::GOAL_VELOCITY, word) };
                match bus.read(id, register, deadline) {
                    Ok(value) => assert_eq!(value, expected, "motor {id}, {} at {k}", register.name),
                    Err(_) => missed += 1,
                }
            }
        }
        for fault in bus.take_faults() {
            *faults.entry(fault.kind()).or_default() += 1;
        }
    }
    println!("{TRANSACTIONS} transactions: {missed} values missed, faults {faults:?}");
    assert!(missed > 100 && faults["timeout"] > 1000, "the faults were met: {missed} missed, {faults:?}");
    assert!(faults["protocol"] > 100 && faults["checksum"] > 100, "{faults:?}");
}

/// The same through the whole driver: what a row is made of.
#[test]
fn no_reading_is_stale_and_unmarked() {
    let sim = leader_bus();
    let mut leader = connect_leader(&sim);
    let mut numbers = Numbers(2);
    let mut last: Option<Vec<f32>> = None;
    let (mut marked, mut failed) = (0, 0);
    for k in 0..5_000 {
        // Each position differs from those before it by far more than rounding.
        let position = 1500 + 10 * (k % 100);
        IDS.iter().for_each(|id| sim.turn(*id, position));
        if numbers.below(FAULT_EVERY) == 0 {
            sim.inject(numbers.fault(), Some(IDS[numbers.below(6) as usize]), 1 + numbers.below(4) as usize);
        }
        let Ok(Reading { values, reused }) = leader.action(within(AMPLE)) else {
            (last, failed) = (None, failed + 1);
            continue;
        };
        marked += reused.len();
        for (joint, value) in values.iter().enumerate() {
            if !reused.contains(&joint) {
                assert_eq!(*value, expected(joint, position), "stale: joint {joint} at {k}");
            } else if let Some(last) = &last {
                assert_eq!(*value, last[joint], "not the last value: joint {joint} at {k}");
            }
        }
        last = Some(values);
    }
    println!("5000 readings: {marked} values marked, {failed} readings failed");
    assert!(marked > 10, "{marked}");
}

/// A joint's value at a position, by the leader's calibration file.
fn expected(joint: usize, position: i32) -> f32 {
    let ranges = [(700, 3400), (800, 3300), (900, 3200), (900, 3150), (0, 4095), (1400, 2600)];
    let (min, max) = ranges[joint];
    let norm = if joint == 5 { Norm::Percent } else { Norm::Degrees };
    normalise(norm, Range { min, max, inverted: false }, position) as f32
}
