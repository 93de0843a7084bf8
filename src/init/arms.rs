//! Which of the arms that were found is which.

use super::ask::{Ask, Left};
use crate::discover::ports::Port;
use crate::discover::servos::{Arm, Role};

/// An arm and the port that it is on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found<'a> {
    pub port: &'a Port,
    pub arm: &'a Arm,
}

impl Found<'_> {
    /// Its port's path.
    pub fn path(&self) -> String {
        self.port.path.display().to_string()
    }
}

/// The arms of a set-up.
#[derive(Clone, Debug, PartialEq)]
pub enum Arms<'a> {
    None,
    One {
        follower: Found<'a>,
        leader: Found<'a>,
    },
    /// Left and right.
    Two {
        followers: [Found<'a>; 2],
        leaders: [Found<'a>; 2],
    },
    /// There are some, and which is which is not known.
    Unknown(Vec<Found<'a>>),
}

/// The arms among the ports.
pub fn found(ports: &[Port]) -> Vec<Found<'_>> {
    ports.iter().filter_map(|port| Some(Found { port, arm: port.arm.as_ref()? })).collect()
}

/// What can be known without asking: one follower and one leader; and of two arms the other one's role by the one's.
pub fn known<'a>(arms: &[Found<'a>]) -> Arms<'a> {
    let with = |role| arms.iter().copied().filter(|found| found.arm.role == role).collect::<Vec<_>>();
    let (followers, leaders, others) = (with(Some(Role::Follower)), with(Some(Role::Leader)), with(None));
    match (followers.as_slice(), leaders.as_slice(), others.as_slice()) {
        ([], [], []) => Arms::None,
        ([follower], [leader], _) => Arms::One { follower: *follower, leader: *leader },
        ([follower], [], [leader]) | ([], [leader], [follower]) => Arms::One { follower: *follower, leader: *leader },
        _ => Arms::Unknown(arms.to_vec()),
    }
}

/// Asks which is which, where that is not known and there are enough for it. Whoever does not know leaves it open.
pub fn asked<'a>(arms: Arms<'a>, person: &mut dyn Ask) -> Result<Arms<'a>, Left> {
    let Arms::Unknown(found) = arms else { return Ok(arms) };
    let parts: &[&str] = match found.len() {
        0 | 1 => return Ok(Arms::Unknown(found)),
        4 => &["left follower", "right follower", "left leader", "right leader"],
        _ => &["follower, which is recorded", "leader, which it follows"],
    };
    let (mut free, mut chosen) = (found.clone(), Vec::new());
    for part in parts {
        if let [last] = free.as_slice() {
            chosen.push(*last);
            break;
        }
        let list: Vec<String> = free
            .iter()
            .enumerate()
            .map(|(k, found)| format!("  {}  {}: {}\n", k + 1, found.path(), found.arm.because))
            .collect();
        let question =
            format!("{}Which arm is the {part}? 1 to {}, or Enter to leave it open: ", list.concat(), free.len());
        let choice = loop {
            let answer = person.ask(&question)?;
            match answer.parse::<usize>() {
                _ if answer.is_empty() => return Ok(Arms::Unknown(found)),
                Ok(number) if (1..=free.len()).contains(&number) => break number - 1,
                _ => {}
            }
        };
        chosen.push(free.remove(choice));
    }
    Ok(match *chosen.as_slice() {
        [follower, leader] => Arms::One { follower, leader },
        [a, b, c, d] => Arms::Two { followers: [a, b], leaders: [c, d] },
        _ => Arms::Unknown(found),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An arm on a port of its own.
    fn port(name: &str, role: Option<Role>, id: Option<&str>) -> Port {
        let arm = Arm { kind: "so101", role, id: id.map(String::from), because: "somehow".into() };
        Port {
            path: format!("/dev/serial/by-id/{name}").into(),
            node: "/dev/ttyACM0".into(),
            usb: None,
            named_by_place: false,
            in_use_by: Vec::new(),
            asked: true,
            servos: Vec::new(),
            garbled: false,
            arm: Some(arm),
            problem: None,
        }
    }

    /// Who answers so, and to nothing more.
    struct Answers(Vec<&'static str>);

    impl Ask for Answers {
        fn ask(&mut self, _: &str) -> Result<String, Left> {
            if self.0.is_empty() { Err(Left) } else { Ok(self.0.remove(0).into()) }
        }
    }

    fn names(arms: &Arms) -> String {
        let name = |found: &Found| found.path().rsplit('/').next().unwrap().to_string();
        match arms {
            Arms::None => "none".into(),
            Arms::One { follower, leader } => format!("{} {}", name(follower), name(leader)),
            Arms::Two { followers: [a, b], leaders: [c, d] } => [a, b, c, d].map(name).join(" "),
            Arms::Unknown(found) => format!("{} unknown", found.len()),
        }
    }

    #[test]
    fn roles_are_known_or_asked_for() {
        let (f, l) = (Some(Role::Follower), Some(Role::Leader));
        for (roles, answers, expected) in [
            (&[][..], &[][..], "none"),
            (&[f, l], &[], "a b"),
            (&[l, f], &[], "b a"),
            // The one tells the other.
            (&[None, f], &[], "b a"),
            (&[None, l], &[], "a b"),
            (&[None, l, f], &[], "c b"),
            // One alone is no set-up, and asking would not make it one.
            (&[f], &[], "1 unknown"),
            (&[None, None], &["2"], "b a"),
            (&[None, None], &["3", "x", "1"], "a b"),
            (&[f, f], &["1"], "a b"),
            (&[None, None], &[""], "2 unknown"),
            (&[f, f, l, l], &["2", "1", "1"], "b a c d"),
            (&[None; 4], &["4", "3", "2"], "d c b a"),
            (&[None; 4], &["4", "3", ""], "4 unknown"),
            (&[None, None, None], &["3", "1"], "c a"),
        ] {
            let ports: Vec<Port> =
                roles.iter().zip(["a", "b", "c", "d"]).map(|(role, name)| port(name, *role, None)).collect();
            let mut person = Answers(answers.to_vec());
            let arms = asked(known(&found(&ports)), &mut person).unwrap();
            assert_eq!(names(&arms), expected, "{roles:?} {answers:?}");
            assert_eq!(person.0, Vec::<&str>::new(), "{roles:?} {answers:?}: not asked");
        }
        let ports = ["a", "b", "c"].map(|name| port(name, None, None));
        assert_eq!(asked(known(&found(&ports)), &mut Answers(vec!["1"])), Err(Left));
    }
}
