//! The follower's thread: observes at each tick, and moves to where the leader is.

use super::link::Heard;
use super::motors::Watch;
use super::{ArmArguments, ArmTick, FIRST_ANSWER, Latest, Role, Sample, count, deadline, lost, next, report, tell};
use crate::actors::coordinator::CoordinatorMessage;
use crate::actors::recorder::RecorderMessage;
use crate::actors::worker::Lost;
use crate::arm::{LEADER_SILENT_NS, Robot};
use crate::events::Event;
use crate::metrics;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Receiver;
use std::time::Instant;

/// From opening the follower to losing it, or to being told to stop.
pub(super) fn run(arguments: &ArmArguments, stop: &AtomicBool, ticks: &Receiver<ArmTick>) -> Result<(), Lost> {
    let opened = (arguments.devices.robot)(&arguments.config.robot, &arguments.clock)
        .map_err(|error| lost(arguments, Role::Follower, error))?;
    let Some(mut robot) = opened else { return Ok(()) };
    let result = follow(arguments, stop, ticks, robot.as_mut());
    let errors = robot.shutdown();
    report(Role::Follower, errors, robot.take_faults());
    result
}

fn follow(
    arguments: &ArmArguments,
    stop: &AtomicBool,
    ticks: &Receiver<ArmTick>,
    robot: &mut dyn Robot,
) -> Result<(), Lost> {
    let lost = |error| lost(arguments, Role::Follower, error);
    let first = robot.observe(Instant::now() + FIRST_ANSWER).map_err(lost)?;
    arguments.link.follows(first.values.clone());
    let _ = arguments.recorder.cast(RecorderMessage::ArmReady(Role::Follower));
    let mut state = Latest::new(Role::Follower, first);
    let mut led = Led::new(arguments);
    let mut watch = Watch::new(arguments, Role::Follower);
    let duration = ::metrics::histogram!(metrics::ARM_TRANSACTION, "arm" => "follower");
    while let Some(ArmTick { tick, hold }) = next(ticks, stop) {
        let start = Instant::now();
        let deadline = deadline(arguments);
        let mut errors: Vec<&'static str> = state.update(robot.observe(deadline)).map_err(lost)?.into_iter().collect();
        let (state_reused, sampled) = (state.reused, arguments.clock.now());
        let heard = arguments.link.wait(tick.number, deadline, stop);
        let approaches = led.hear(&heard, sampled.mono_ns);
        let (mut goal_sent, mut action_reused, mut leader_away) = (Vec::new(), true, None);
        match heard {
            Heard::Action(action) => {
                action_reused = action.reused;
                errors.extend(action.failed);
                // Without a word from the leader the follower holds its goal.
                if action.failed.is_none() {
                    if approaches {
                        robot.approach(led.ramp_s);
                    }
                    match robot.send(&action.values, deadline) {
                        Ok(sent) => goal_sent = sent,
                        Err(error) if error.is_fatal() => return Err(lost(error)),
                        Err(error) => errors.push(count(Role::Follower, &error)),
                    }
                }
                led.action = Some(action.values);
            }
            Heard::Nothing => {}
            Heard::Away(reason) => leader_away = Some(reason),
        }
        duration.record(start.elapsed().as_secs_f64());
        robot.look_after(deadline);
        errors.extend(robot.take_faults().iter().map(|fault| count(Role::Follower, fault)));
        watch.look(robot.health());
        // Before the leader's first word there is no action, and no row can be made.
        if let Some(action) = led.action.clone().or_else(|| arguments.link.last()) {
            let (tick, state) = (tick.number, state.values.clone());
            let sample =
                Sample { tick, sampled, state, action, goal_sent, state_reused, action_reused, leader_away, errors };
            let _ = arguments.coordinator.cast(CoordinatorMessage::Sample(sample));
        }
        drop(hold);
    }
    Ok(())
}

/// What the follower knows of its leader.
struct Led<'a> {
    arguments: &'a ArmArguments,
    /// Its last word.
    action: Option<Vec<f32>>,
    /// When that was, if the leader has been silent since.
    silent_since_ns: Option<u64>,
    /// That is said.
    said: bool,
    /// The next goals are to approach the leader.
    approaches: bool,
    /// The way takes at least so long; a replay has a ramp of its own.
    ramp_s: f64,
}

impl Led<'_> {
    fn new(arguments: &ArmArguments) -> Led<'_> {
        let ramp_s = if arguments.replay.is_some() { 0.0 } else { arguments.config.teleop.ramp_s };
        ::metrics::gauge!(metrics::LEADER_SILENT).set(0.0);
        Led { arguments, action: None, silent_since_ns: None, said: false, approaches: true, ramp_s }
    }

    /// Says when the leader falls silent, and when it speaks again; whether a goal now is to approach it.
    fn hear(&mut self, heard: &Heard, now_ns: u64) -> bool {
        match heard {
            Heard::Action(action) if action.failed.is_none() => {
                self.silent_since_ns = None;
                if std::mem::take(&mut self.said) {
                    self.say(Event::LeaderHeard, "the leader answers again: the follower approaches it".into());
                }
                return std::mem::take(&mut self.approaches);
            }
            // That is said by whoever opens it again.
            Heard::Away(_) => {
                self.silent_since_ns = None;
                self.approaches = true;
                if std::mem::take(&mut self.said) {
                    ::metrics::gauge!(metrics::LEADER_SILENT).set(0.0);
                }
            }
            Heard::Action(_) | Heard::Nothing => {
                let since = *self.silent_since_ns.get_or_insert(now_ns);
                if now_ns.saturating_sub(since) >= LEADER_SILENT_NS && !self.said {
                    (self.said, self.approaches) = (true, true);
                    let text = "the leader does not answer: the follower holds its goal, and is not commanded until it does; check the leader's cable and power";
                    self.say(Event::LeaderSilent, text.into());
                }
            }
        }
        false
    }

    fn say(&self, event: Event, text: String) {
        let silent = matches!(event, Event::LeaderSilent);
        ::metrics::gauge!(metrics::LEADER_SILENT).set(f64::from(u8::from(silent)));
        tell(self.arguments, event, text);
    }
}
