//! Robot arms behind two traits: what is recorded ([`Robot`]) and what it follows ([`Teleop`]).

use std::time::Instant;

/// Why an arm does not answer.
#[derive(Debug, thiserror::Error)]
pub enum ArmError {}

/// An arm that is observed and moved. Values are normalised (degrees, or −100…100; gripper 0…100), one for each feature.
pub trait Robot: Send {
    /// Ordered feature names, such as `shoulder_pan.pos`.
    fn features(&self) -> Vec<String>;
    /// Present values, before `deadline`.
    fn observe(&mut self, deadline: Instant) -> Result<Vec<f32>, ArmError>;
    /// Sends goals; answers with the goals really sent, after limits.
    fn send(&mut self, action: &[f32], deadline: Instant) -> Result<Vec<f32>, ArmError>;
    /// Leaves the arm safe: torque off on every motor where the configuration says so. Each motor that could not be
    /// reached is an error; the others are switched off all the same. Called once, and on drop if it was not.
    fn shutdown(&mut self) -> Vec<ArmError>;
}

/// A source of actions for a robot.
pub trait Teleop: Send {
    /// Ordered feature names; equal to the robot's.
    fn features(&self) -> Vec<String>;
    /// The action now, before `deadline`.
    fn action(&mut self, deadline: Instant) -> Result<Vec<f32>, ArmError>;
    /// Lets go of the device.
    fn shutdown(&mut self) -> Vec<ArmError>;
}
