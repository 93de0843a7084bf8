//! Rules of the arms, of one or of two, and of what they follow.

use super::super::Problem;
use super::super::arms::{Side, followers, leaders};
use super::super::schema::*;
use super::in_range;
use crate::arm::motor_names;
use std::path::PathBuf;

pub fn arms(config: &Config, found: &mut Vec<Problem>) {
    let (robot, teleop) = (&config.robot, &config.teleop);
    tables(
        ("robot", robot.kind.name(), robot.kind.sides()),
        [robot.left_arm_config.is_some(), robot.right_arm_config.is_some()],
        &followers_keys(robot),
        found,
    );
    tables(
        ("teleop", teleop.kind.name(), teleop.kind.sides()),
        [teleop.left_arm_config.is_some(), teleop.right_arm_config.is_some()],
        &leaders_keys(teleop),
        found,
    );
    pairing(config, found);
    ports(config, found);
    let units = followers(robot).into_iter().zip(leaders(teleop));
    for ((_, follower), (side, leader)) in
        units.filter(|((_, robot), (_, teleop))| robot.use_degrees != teleop.use_degrees)
    {
        found.push(Problem::new(
            format!("{}.use_degrees", side.table("teleop")),
            format!("{}, as {}.use_degrees", follower.use_degrees, side.table("robot")),
            leader.use_degrees.to_string(),
            "the leader's value is the follower's goal: both need one unit",
        ));
    }
    for (side, follower) in followers(robot) {
        if let Some(limits) = &follower.max_relative_target {
            let place = format!("{}.max_relative_target", side.table("robot"));
            positive(found, &place, limits);
            each_motor(found, &place, limits, &motor_names(follower.kind));
        }
    }
    if robot.kind != RobotKind::None {
        motor_faults(robot, found);
    }
    if teleop.kind != TeleopKind::None {
        in_range(found, "teleop.ramp_s", teleop.ramp_s, 0, 600.0, "give it in seconds; 2 is gentle");
    }
    if teleop.kind == TeleopKind::Replay {
        replay(config, found);
    }
}

/// The keys of one arm that stand at the top of `robot` and differ from their defaults, with their values.
fn followers_keys(robot: &Robot) -> Vec<(&'static str, String)> {
    let default = Robot::default();
    let mut keys = vec![("port", robot.port.as_ref().map(|port| format!("\"{port}\"")))];
    let differing = |same: bool, value: String| (!same).then_some(value);
    keys.push(("use_degrees", differing(robot.use_degrees == default.use_degrees, robot.use_degrees.to_string())));
    keys.push(("max_relative_target", robot.max_relative_target.as_ref().map(|_| "a limit".into())));
    let (off, as_ever) = (robot.disable_torque_on_disconnect, default.disable_torque_on_disconnect);
    keys.push(("disable_torque_on_disconnect", differing(off == as_ever, off.to_string())));
    for (key, value, default) in [
        ("position_p_coefficient", robot.position_p_coefficient, default.position_p_coefficient),
        ("position_i_coefficient", robot.position_i_coefficient, default.position_i_coefficient),
        ("position_d_coefficient", robot.position_d_coefficient, default.position_d_coefficient),
    ] {
        keys.push((key, differing(value == default, value.to_string())));
    }
    let (retries, as_ever) = (robot.num_read_retries, default.num_read_retries);
    keys.push(("num_read_retries", differing(retries == as_ever, retries.to_string())));
    keys.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

/// As [`followers_keys`], of `teleop`.
fn leaders_keys(teleop: &Teleop) -> Vec<(&'static str, String)> {
    let default = Teleop::default();
    let differing = |same: bool, value: String| (!same).then_some(value);
    let (degrees, retries) = (teleop.use_degrees, teleop.num_read_retries);
    [
        ("port", teleop.port.as_ref().map(|port| format!("\"{port}\""))),
        ("use_degrees", differing(degrees == default.use_degrees, degrees.to_string())),
        ("num_read_retries", differing(retries == default.num_read_retries, retries.to_string())),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key, value?)))
    .collect()
}

/// Keys stand where their arm is: in the table itself for one arm, in a table for each of two.
fn tables(
    (table, kind, sides): (&str, &str, &[Side]),
    given: [bool; 2],
    keys: &[(&str, String)],
    found: &mut Vec<Problem>,
) {
    let both = [Side::Left, Side::Right];
    let of_kind = format!("{table}.type = \"{kind}\"");
    match sides.len() {
        1 => {
            for side in both.into_iter().zip(given).filter_map(|(side, given)| given.then_some(side)) {
                found.push(Problem::new(
                    side.table(table),
                    format!("nothing where {of_kind}"),
                    "a table",
                    format!("set {table}.type = \"bi_{kind}\", or put its keys into [{table}]"),
                ));
            }
        }
        2 => {
            for side in both.into_iter().zip(given).filter_map(|(side, given)| (!given).then_some(side)) {
                found.push(Problem::new(
                    side.table(table),
                    format!("the arm's table where {of_kind}"),
                    "nothing",
                    format!("add [{}] with the arm's port", side.table(table)),
                ));
            }
            for (key, value) in keys {
                found.push(Problem::new(
                    format!("{table}.{key}"),
                    format!("nothing where {of_kind}"),
                    value,
                    format!("give it in [{table}.left_arm_config] and [{table}.right_arm_config]"),
                ));
            }
        }
        _ => {}
    }
}

/// A robot needs what leads it, with as many arms, and the other way round.
fn pairing(config: &Config, found: &mut Vec<Problem>) {
    let (robot, teleop) = (config.robot.kind, config.teleop.kind);
    let leader = match robot {
        RobotKind::None => None,
        RobotKind::So101Follower => Some(TeleopKind::So101Leader),
        RobotKind::BiSo101Follower => Some(TeleopKind::BiSo101Leader),
    };
    let follower = match teleop {
        TeleopKind::None => None,
        TeleopKind::Replay if robot == RobotKind::BiSo101Follower => Some(robot),
        TeleopKind::So101Leader | TeleopKind::Replay => Some(RobotKind::So101Follower),
        TeleopKind::BiSo101Leader => Some(RobotKind::BiSo101Follower),
    };
    match (leader, follower) {
        (Some(leader), None) => found.push(Problem::new(
            "teleop.type",
            format!("{} or replay where robot.type = \"{}\"", leader.name(), robot.name()),
            "none",
            "the recorded action is the leader's: configure one, or set robot.type = \"none\"",
        )),
        (None, Some(follower)) => found.push(Problem::new(
            "robot.type",
            format!("{} where teleop.type = \"{}\"", follower.name(), teleop.name()),
            "none",
            format!("set robot.type = \"{}\", or teleop.type = \"none\"", follower.name()),
        )),
        (Some(leader), Some(follower)) if follower != robot => found.push(Problem::new(
            "teleop.type",
            format!("{} or replay where robot.type = \"{}\"", leader.name(), robot.name()),
            teleop.name(),
            "each arm of the robot follows one of the leader's: configure as many",
        )),
        _ => {}
    }
}

/// Every arm has a port of its own; one that is named differently twice is still one.
fn ports(config: &Config, found: &mut Vec<Problem>) {
    let robots = followers(&config.robot).into_iter().map(|(side, arm)| (side.table("robot"), arm.port));
    let teleops = leaders(&config.teleop).into_iter().map(|(side, arm)| (side.table("teleop"), arm.port));
    let mut known: Vec<(String, PathBuf)> = Vec::new();
    for (table, port) in robots.chain(teleops) {
        let place = format!("{table}.port");
        let Some(port) = port else {
            let remedy = "give its path under /dev/serial/by-id, or \"sim\"";
            found.push(Problem::new(place, "a serial port", "nothing", remedy));
            continue;
        };
        if port == "sim" {
            continue;
        }
        let path = std::fs::canonicalize(&port).unwrap_or_else(|_| port.clone().into());
        if let Some((other, _)) = known.iter().find(|(_, known)| *known == path) {
            let (expected, shared) = ("a port of its own", format!("\"{port}\", which {other} has too"));
            found.push(Problem::new(place, expected, shared, "each arm has a bus of its own: ls -l /dev/serial/by-id"));
        } else {
            known.push((place, path));
        }
    }
}

/// In simulated time every arm is.
pub fn simulated(config: &Config, found: &mut Vec<Problem>) {
    let robots = followers(&config.robot).into_iter().map(|(side, arm)| (side.table("robot"), arm.port));
    let teleops = leaders(&config.teleop).into_iter().map(|(side, arm)| (side.table("teleop"), arm.port));
    for (table, port) in robots.chain(teleops) {
        if let Some(port) = port.filter(|port| port != "sim") {
            found.push(Problem::new(
                format!("{table}.port"),
                "\"sim\" where cameras have realtime = false",
                format!("\"{port}\""),
                "a real arm cannot run in simulated time",
            ));
        }
    }
}

fn replay(config: &Config, found: &mut Vec<Problem>) {
    let teleop = &config.teleop;
    if teleop.path.is_none() {
        found.push(Problem::new(
            "teleop.path",
            "a data set's folder or a CSV file",
            "nothing",
            "give the root of a LeRobot v3.0 data set, and teleop.episode, or a CSV file with a header of the robot's features",
        ));
    }
    if let Some(fps) = teleop.fps {
        in_range(found, "teleop.fps", fps, 1, 1000.0, "give the file's rows a second, or leave it out for dataset.fps");
    }
    positive(found, "teleop.max_speed", &teleop.max_speed);
    if config.robot.kind != RobotKind::None {
        each_motor(found, "teleop.max_speed", &teleop.max_speed, &motor_names(config.robot.kind));
    }
}

fn motor_faults(robot: &Robot, found: &mut Vec<Problem>) {
    let remedy = "60 leaves room below the 70 at which the motors give up";
    in_range(found, "robot.max_temperature_c", robot.max_temperature_c, 20, 100.0, remedy);
    let OnMotorFault::ByMotor(policies) = &robot.on_motor_fault else { return };
    let motors = motor_names(robot.kind);
    for motor in policies.keys().filter(|name| !motors.contains(name)) {
        found.push(Problem::new(
            format!("robot.on_motor_fault.{motor}"),
            format!("a motor of the robot: {}", motors.join(", ")),
            format!("\"{motor}\""),
            "correct the name, or leave it out",
        ));
    }
}

fn positive(found: &mut Vec<Problem>, place: &str, limits: &PerMotor) {
    let mut check = |place: &str, limit: f64| {
        if !(limit > 0.0 && limit.is_finite()) {
            let remedy = "give it in normalised units, or leave it out";
            found.push(Problem::new(place, "a number above 0", limit.to_string(), remedy));
        }
    };
    match limits {
        PerMotor::All(limit) => check(place, *limit),
        PerMotor::ByMotor(limits) => {
            limits.iter().for_each(|(motor, limit)| check(&format!("{place}.{motor}"), *limit))
        }
    }
}

/// Limits by motor are for every motor.
fn each_motor(found: &mut Vec<Problem>, place: &str, limits: &PerMotor, motors: &[String]) {
    let PerMotor::ByMotor(limits) = limits else { return };
    if limits.len() != motors.len() || !motors.iter().all(|motor| limits.contains_key(motor)) {
        let named: Vec<&str> = limits.keys().map(String::as_str).collect();
        found.push(Problem::new(
            place,
            format!("one number for each of {}", motors.join(", ")),
            if named.is_empty() { "none".into() } else { named.join(", ") },
            "name every motor, or give one number for all",
        ));
    }
}
