//! The leader's thread: reads at each tick, and tells the follower.

use super::link::{Action, Link};
use super::motors::Watch;
use super::{ArmArguments, ArmTick, FIRST_ANSWER, Latest, Role, count, deadline, lost, next, report};
use crate::actors::recorder::RecorderMessage;
use crate::actors::worker::Lost;
use crate::arm::replay::{Replay, Replayer};
use crate::arm::{ArmError, Reading, Teleop};
use crate::metrics;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Receiver;
use std::time::Instant;

/// From opening the leader to losing it, or to being told to stop.
pub(super) fn run(arguments: &ArmArguments, stop: &AtomicBool, ticks: &Receiver<ArmTick>) -> Result<(), Lost> {
    let opened = match &arguments.replay {
        Some(replay) => Player::start(replay, &arguments.link, stop).map(|player| Box::new(player) as Box<dyn Teleop>),
        None => (arguments.devices.teleop)(&arguments.config.teleop, &arguments.clock)
            .map_err(|error| lost(arguments, Role::Leader, error))?,
    };
    let Some(mut leader) = opened else { return Ok(()) };
    let result = lead(arguments, stop, ticks, leader.as_mut());
    if let Err(lost) = &result {
        // At once: letting go may take a while, and the follower need not wait for it.
        arguments.link.leader_left(&lost.reason);
    }
    let errors = leader.shutdown();
    report(Role::Leader, errors, leader.take_faults());
    result
}

fn lead(
    arguments: &ArmArguments,
    stop: &AtomicBool,
    ticks: &Receiver<ArmTick>,
    leader: &mut dyn Teleop,
) -> Result<(), Lost> {
    let lost = |error| lost(arguments, Role::Leader, error);
    let first = leader.action(Instant::now() + FIRST_ANSWER).map_err(lost)?;
    arguments.link.leads(first.values.clone());
    let _ = arguments.recorder.cast(RecorderMessage::ArmReady(Role::Leader));
    let mut latest = Latest::new(Role::Leader, first);
    let mut watch = Watch::new(arguments, Role::Leader);
    let duration = ::metrics::histogram!(metrics::ARM_TRANSACTION, "arm" => "leader");
    while let Some(ArmTick { tick, hold }) = next(ticks, stop) {
        let start = Instant::now();
        let deadline = deadline(arguments);
        let failed = latest.update(leader.action_at(tick.number, deadline)).map_err(lost)?;
        let (values, reused) = (latest.values.clone(), latest.reused);
        arguments.link.tell(Action { tick: tick.number, values, reused, failed });
        duration.record(start.elapsed().as_secs_f64());
        leader.look_after(deadline);
        for fault in leader.take_faults() {
            count(Role::Leader, &fault);
        }
        watch.look(leader.health());
        drop(hold);
    }
    Ok(())
}

/// A motion in the place of a leader. It begins where the follower is, and anew there when the follower was away.
struct Player {
    replay: Replay,
    link: Arc<Link>,
    playing: Replayer,
}

impl Player {
    /// Waits for a follower; `None` when the thread should end.
    fn start(replay: &Replay, link: &Arc<Link>, stop: &AtomicBool) -> Option<Player> {
        let playing = replay.start(&link.wait_start(stop)?);
        Some(Player { replay: replay.clone(), link: link.clone(), playing })
    }
}

impl Teleop for Player {
    fn features(&self) -> Vec<String> {
        self.playing.features()
    }

    fn action(&mut self, deadline: Instant) -> Result<Reading, ArmError> {
        self.playing.action(deadline)
    }

    /// Without a follower nothing is played.
    fn action_at(&mut self, tick: u64, deadline: Instant) -> Result<Reading, ArmError> {
        if let Some(start) = self.link.take_start() {
            self.playing = self.replay.start(&start);
        }
        match self.link.has_follower() {
            true => self.playing.action_at(tick, deadline),
            false => self.playing.action(deadline),
        }
    }

    fn shutdown(&mut self) -> Vec<ArmError> {
        self.playing.shutdown()
    }
}
