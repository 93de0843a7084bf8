//! The servos on the bus, and what becomes of what they say.

use super::fault::{Fault, Faults, Sent};
use super::servo::Servo;
use crate::arm::feetech::packet::{BROADCAST, Instruction, Packet};
use crate::arm::feetech::registers as reg;
use std::sync::mpsc;
use std::time::Duration;

/// Bytes for the client.
pub struct Outgoing {
    /// How long their servo waits before it sends them.
    pub pause: Duration,
    /// How much later they come than they were sent.
    pub late: Duration,
    pub bytes: Vec<u8>,
}

/// What the servos of one id answer. All of them talk at once.
struct Reply {
    id: u8,
    pause: Duration,
    packets: Vec<Packet>,
}

impl Reply {
    /// Where several talk, the line is low whenever one of them pulls it down: equal replies look like one.
    fn bytes(&self) -> Vec<u8> {
        self.packets.iter().map(Packet::encode).fold(Vec::new(), |line, reply| {
            let longest = line.len().max(reply.len());
            let at = |bytes: &[u8], index| bytes.get(index).copied().unwrap_or(0xFF);
            (0..longest).map(|index| at(&line, index) & at(&reply, index)).collect()
        })
    }
}

#[derive(Default)]
pub struct State {
    /// From the base on.
    pub servos: Vec<Servo>,
    pub faults: Faults,
    /// Replies that are late, and by how many requests they still are.
    late: Vec<(u32, Vec<u8>)>,
    /// Requests that are obeyed without an answer.
    pub unanswered: Vec<Vec<u8>>,
    pub tap: Option<mpsc::Sender<Vec<u8>>>,
    /// All bytes come so much later.
    pub delay: Duration,
    /// Bytes take their time.
    pub wire_time: bool,
    /// How often the positions of all servos were read at once.
    poses: u64,
}

impl State {
    pub fn new(servos: Vec<Servo>, wire_time: bool) -> State {
        State { servos, wire_time, ..State::default() }
    }

    /// Obeys a request that came at this speed, and answers with what the client gets for it.
    pub fn hear(&mut self, request: &Packet, baud: u32, now_ns: u64) -> Vec<Outgoing> {
        let said = request.encode();
        let mut outgoing = self.overdue();
        let replies = self.answer(request, baud, now_ns);
        if !self.unanswered.contains(&said) {
            for reply in replies {
                outgoing.extend(self.transmit(reply));
            }
        }
        self.tap = self.tap.take().filter(|tap| tap.send(said).is_ok());
        outgoing
    }

    /// The first servo with an id.
    pub fn servo(&mut self, id: u8) -> Option<&mut Servo> {
        self.servos.iter_mut().find(|servo| servo.id() == id)
    }

    /// The replies to a request, in the order in which the servos send them.
    fn answer(&mut self, request: &Packet, baud: u32, now_ns: u64) -> Vec<Reply> {
        let Some(instruction) = Instruction::from_code(request.code) else { return Vec::new() };
        let (id, params) = (request.id, request.params.as_slice());
        match (instruction, params) {
            (Instruction::SyncRead, [addr, len, ids @ ..]) => {
                if *addr == reg::PRESENT_POSITION.addr && ids.len() == self.servos.len() {
                    self.servos.iter_mut().for_each(|servo| servo.pose(self.poses));
                    self.poses += 1;
                }
                let read = |servo: &mut Servo| Some(servo.reply(servo.read(*addr, *len, now_ns)));
                ids.iter().filter_map(|id| self.ask(*id, baud, read)).collect()
            }
            (Instruction::SyncWrite, [addr, len, values @ ..]) => {
                for value in values.chunks_exact(usize::from(*len) + 1) {
                    self.ask(value[0], baud, |servo| {
                        servo.write(*addr, &value[1..], now_ns);
                        None
                    });
                }
                Vec::new()
            }
            (_, _) if id == BROADCAST => {
                let mut ids: Vec<u8> = self.servos.iter().map(Servo::id).collect();
                ids.sort_unstable();
                ids.dedup();
                let obey = |servo: &mut Servo| servo.obey(instruction, params, now_ns);
                let replies: Vec<Reply> = ids.into_iter().filter_map(|id| self.ask(id, baud, obey)).collect();
                // Servos that are spoken to all at once keep silent, except when it is asked who is there.
                if instruction == Instruction::Ping { replies } else { Vec::new() }
            }
            _ => self.ask(id, baud, |servo| servo.obey(instruction, params, now_ns)).into_iter().collect(),
        }
    }

    /// Lets the servos of an id hear something; none for silence.
    fn ask(&mut self, id: u8, baud: u32, say: impl Fn(&mut Servo) -> Option<Packet>) -> Option<Reply> {
        let mut reply = Reply { id, pause: Duration::ZERO, packets: Vec::new() };
        for servo in self.servos.iter_mut().filter(|servo| servo.id() == id && servo.hears(baud)) {
            reply.pause = reply.pause.max(servo.return_delay());
            reply.packets.extend(say(servo));
        }
        (!reply.packets.is_empty()).then_some(reply)
    }

    /// A request has come: the replies that were late until now.
    fn overdue(&mut self) -> Vec<Outgoing> {
        let mut due = Vec::new();
        self.late.retain_mut(|(requests, bytes)| {
            *requests = requests.saturating_sub(1);
            if *requests == 0 {
                due.push(Outgoing { pause: Duration::ZERO, late: Duration::ZERO, bytes: std::mem::take(bytes) });
            }
            *requests > 0
        });
        due
    }

    /// What the client gets of a reply.
    fn transmit(&mut self, mut reply: Reply) -> Option<Outgoing> {
        let fault = self.faults.take(reply.id);
        if let Some(Fault::ErrorBits(bits)) = fault {
            reply.packets.iter_mut().for_each(|packet| packet.code |= bits);
        }
        match self.faults.spoil(fault, reply.bytes())? {
            Sent::After(late, bytes) => Some(Outgoing { pause: reply.pause, late, bytes }),
            Sent::With(requests, bytes) => {
                self.late.push((requests, bytes));
                None
            }
        }
    }
}
