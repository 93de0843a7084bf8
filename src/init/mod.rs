//! `recorder init`: a `lab.toml` for what is plugged in. Without an actor; nothing is set or started.

pub mod arms;
pub mod ask;
pub mod lab;

use crate::config::reference;
use crate::config::schema::{RobotKind, TeleopKind};
use crate::config::validate::{is_camera_name, is_repo_id};
use crate::discover::best::{Best, best};
use crate::discover::cameras::Camera;
use crate::discover::{Found, PlaceArguments};
use arms::Arms;
use ask::{Ask, Left, until_good};
use lab::Filled;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use toml::Value;

/// Write a lab.toml for the cameras and arms that are plugged in, with every key explained
///
/// Cameras get their stable names and their best mode: MJPG if there is any, then the largest picture of at most 1280x720 that comes 30 times a
/// second. Arms are told apart where that can be known. On a terminal it asks for what it cannot know: names, the task, and which arm
/// is which. Exit code 0: written; 2: FILE is there already or cannot be written; 3: no camera and no arm is there to record from; 130: left.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct Arguments {
    /// The file to write
    #[arg(long, value_name = "FILE", default_value = "lab.toml")]
    pub output: PathBuf,
    /// Write over a file that is there
    #[arg(long)]
    pub force: bool,
    /// Ask nothing: what cannot be known is marked TODO in the file
    #[arg(long)]
    pub yes: bool,
    #[command(flatten)]
    pub place: PlaceArguments,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    #[error("{}: expected a new file, found one that is there; --force writes over it, --output FILE names another", .0.display())]
    Exists(PathBuf),
    #[error("{0}")]
    Nothing(String),
    #[error("{}: cannot be written: {error}; nothing was changed", path.display())]
    Write { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Left(#[from] Left),
}

impl InitError {
    /// See [`Arguments`].
    pub fn exit_code(&self) -> u8 {
        match self {
            InitError::Exists(_) | InitError::Write { .. } => 2,
            InitError::Nothing(_) => 3,
            InitError::Left(_) => 130,
        }
    }
}

/// Writes the file for what `look` finds, asking `person` where there is one; says what stands in it.
pub fn run(
    arguments: &Arguments,
    look: impl FnOnce(&PlaceArguments) -> Found,
    person: Option<&mut dyn Ask>,
) -> Result<String, InitError> {
    let path = &arguments.output;
    if !arguments.force && path.symlink_metadata().is_ok() {
        return Err(InitError::Exists(path.clone()));
    }
    let found = look(&arguments.place);
    let draft = Draft::new(&found, person)?;
    write(path, &draft.text(path), arguments.force)?;
    Ok(draft.summary(path, &found))
}

/// All of it or nothing.
fn write(path: &Path, text: &str, force: bool) -> Result<(), InitError> {
    let failed = |error| InitError::Write { path: path.to_owned(), error };
    let mut staged = path.as_os_str().to_owned();
    staged.push(".new");
    let staged = PathBuf::from(staged);
    let written = fs::write(&staged, text).and_then(|()| match force {
        true => fs::rename(&staged, path),
        false => fs::hard_link(&staged, path),
    });
    let _ = fs::remove_file(&staged);
    match written {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(InitError::Exists(path.to_owned())),
        written => written.map_err(failed),
    }
}

/// A camera with the name that it gets.
struct Named<'a> {
    name: String,
    camera: &'a Camera,
    best: Best,
}

/// What the file is to say.
struct Draft<'a> {
    cameras: Vec<Named<'a>>,
    /// Cameras that are there and cannot be used, and why.
    unusable: Vec<(&'a Camera, String)>,
    arms: Arms<'a>,
    repo_id: String,
    task: String,
    /// Repository and task are those of a person.
    is_told: bool,
}

const REPO_ID: &str = "lab/my-task";
const TASK: &str = "Pick up the cube";

impl<'a> Draft<'a> {
    fn new(found: &'a Found, mut person: Option<&mut dyn Ask>) -> Result<Draft<'a>, InitError> {
        let (mut usable, mut unusable) = (Vec::new(), Vec::new());
        for camera in &found.cameras {
            match (&camera.problem, best(&camera.offers)) {
                (Some(problem), _) => unusable.push((camera, problem.clone())),
                (None, None) => unusable.push((camera, "it offers no format that can be recorded".into())),
                (None, Some(best)) => usable.push((camera, best)),
            }
        }
        let mut arms = arms::known(&arms::found(&found.serial_ports));
        if let Some(person) = person.as_deref_mut() {
            arms = arms::asked(arms, person)?;
        }
        if usable.is_empty() && matches!(arms, Arms::None | Arms::Unknown(_)) {
            return Err(InitError::Nothing(nothing(found, &arms, &unusable)));
        }
        let mut cameras: Vec<Named> = Vec::new();
        for (camera, best) in usable {
            let usual = format!("camera{}", cameras.len() + 1);
            let name = match person.as_deref_mut() {
                None => usual,
                Some(person) => {
                    let question = format!(
                        "Name of the camera {} at {}, such as front or wrist?",
                        camera.name,
                        camera.path.display()
                    );
                    until_good(person, &question, &usual, |name| bad_name(name, &cameras))?
                }
            };
            cameras.push(Named { name, camera, best });
        }
        let (mut repo_id, mut task, is_told) = (REPO_ID.to_string(), TASK.to_string(), person.is_some());
        if let Some(person) = person {
            task = until_good(person, "What is the robot to do, in words?", TASK, |_| None)?;
            repo_id = until_good(person, "Name of the data set, as owner/name?", REPO_ID, bad_repo_id)?;
        }
        Ok(Draft { cameras, unusable, arms, repo_id, task, is_told })
    }

    /// The file.
    fn text(&self, path: &Path) -> String {
        let mut head = vec![
            format!("Written by `recorder init` for what was plugged in. Next: recorder check --config {}", path.display()),
            "Keys that begin with # are not set and have the value that stands there; without one: … . What a key means stands above it.".into(),
        ];
        for (camera, problem) in &self.unusable {
            head.push(format!("Left out: {} at {}: {problem}", camera.name, camera.path.display()));
        }
        let mut filled = self.arms();
        filled.extend(self.cameras.iter().map(|named| named.filled()));
        let mut values = vec![("repo_id", text(&self.repo_id)), ("single_task", text(&self.task))];
        let slowest = self.cameras.iter().map(|named| named.best.fps).min();
        if let Some(fps) = slowest.filter(|fps| *fps < 30) {
            values.push(("fps", Value::Integer(fps.into())));
        }
        let remarks =
            if self.is_told { vec![] } else { vec!["TODO: the data set's name, and what the robot is to do.".into()] };
        filled.push(Filled { table: "dataset", name: None, remarks, values });
        lab::render(&head, &filled, &reference::entries(&reference::json_schema()))
    }

    /// The tables of the arms.
    fn arms(&self) -> Vec<Filled> {
        let table = |table, remarks: Vec<String>, values| Filled { table, name: None, remarks, values };
        let id = |found: &arms::Found, usual: &str| text(found.arm.id.as_deref().unwrap_or(usual));
        let robot = |kind: RobotKind| text(kind.name());
        let teleop = |kind: TeleopKind| text(kind.name());
        let why = |found: &arms::Found| format!("{}: {}", found.path(), found.arm.because);
        let calibration = |found: &arms::Found| {
            match found.arm.id {
            Some(_) => vec![why(found)],
            None => vec![
                why(found),
                "TODO: id is that of its calibration file, as given to lerobot-calibrate; without one: `recorder calibrate`.".into(),
            ],
        }
        };
        match &self.arms {
            Arms::None => vec![table("robot", vec!["No arm answered: cameras only.".into()], vec![])],
            Arms::Unknown(found) => {
                let mut remarks: Vec<String> = vec![match found.len() {
                    1 => "TODO: one arm answered. With its leader, or a motion to replay, set type and port here and in [teleop].".into(),
                    n => format!("TODO: {n} arms answered, and which is which is not known. Set type and port here and in [teleop]."),
                }];
                remarks.extend(found.iter().map(why));
                vec![table("robot", remarks, vec![])]
            }
            Arms::One { follower, leader } => vec![
                table(
                    "robot",
                    calibration(follower),
                    vec![
                        ("type", robot(RobotKind::So101Follower)),
                        ("port", text(&follower.path())),
                        ("id", id(follower, "follower")),
                    ],
                ),
                table(
                    "teleop",
                    calibration(leader),
                    vec![
                        ("type", teleop(TeleopKind::So101Leader)),
                        ("port", text(&leader.path())),
                        ("id", id(leader, "leader")),
                    ],
                ),
            ],
            Arms::Two { followers, leaders } => {
                let port = |found: &arms::Found| vec![("port", text(&found.path()))];
                vec![
                    table(
                        "robot",
                        vec![],
                        vec![
                            ("type", robot(RobotKind::BiSo101Follower)),
                            ("id", text(&pair_id(followers, "followers"))),
                        ],
                    ),
                    table("robot.left_arm_config", vec![why(&followers[0])], port(&followers[0])),
                    table("robot.right_arm_config", vec![why(&followers[1])], port(&followers[1])),
                    table(
                        "teleop",
                        vec![],
                        vec![("type", teleop(TeleopKind::BiSo101Leader)), ("id", text(&pair_id(leaders, "leaders")))],
                    ),
                    table("teleop.left_arm_config", vec![why(&leaders[0])], port(&leaders[0])),
                    table("teleop.right_arm_config", vec![why(&leaders[1])], port(&leaders[1])),
                ]
            }
        }
    }

    /// For the person: what stands in the file, and what to do now.
    fn summary(&self, path: &Path, found: &Found) -> String {
        let mut lines = Vec::new();
        for Named { name, camera, best } in &self.cameras {
            let Best { fourcc, width, height, fps } = best;
            lines.push(format!(
                "{name}: {}, {width}x{height} {fourcc} at {fps} fps, {}",
                camera.name,
                camera.path.display()
            ));
        }
        for (camera, problem) in &self.unusable {
            lines.push(format!("left out: {} at {}: {problem}", camera.name, camera.path.display()));
        }
        match &self.arms {
            Arms::None => lines.push("no arm answered: cameras only".into()),
            Arms::Unknown(found) => lines.push(format!(
                "{} answered, and which is which is not known: cameras only, until [robot] and [teleop] are filled in",
                if found.len() == 1 { "1 arm".into() } else { format!("{} arms", found.len()) }
            )),
            Arms::One { follower, leader } => {
                lines.push(format!("follower: {}", follower.path()));
                lines.push(format!("leader: {}", leader.path()));
            }
            Arms::Two { followers, leaders } => {
                let arms = followers.iter().chain(leaders);
                lines.extend(
                    arms.zip(["left follower", "right follower", "left leader", "right leader"])
                        .map(|(found, what)| format!("{what}: {}", found.path())),
                );
            }
        }
        lines.extend(without_arm(found));
        lines.extend(found.warnings.iter().map(|warning| format!("warning: {warning}")));
        let next = if self.is_told { "" } else { "fill in what is marked TODO, then: " };
        lines.push(format!("{} is written; {next}recorder check --config {}", path.display(), path.display()));
        lines.join("\n") + "\n"
    }
}

impl Named<'_> {
    fn filled(&self) -> Filled {
        let Named { name, camera, best } = self;
        let serial = camera.usb.as_ref().and_then(|usb| usb.serial.as_ref());
        let serial = serial.map(|serial| format!(", serial {serial}")).unwrap_or_default();
        let mut remarks = vec![format!("{}{serial}", camera.name)];
        if camera.named_by_place {
            remarks.push(
                "Named by the port that it is plugged into, as another camera says the same of itself: keep it there."
                    .into(),
            );
        }
        let number = |n: u32| Value::Integer(n.into());
        let values = vec![
            ("type", text("v4l")),
            ("index_or_path", text(&camera.path.to_string_lossy())),
            ("width", number(best.width)),
            ("height", number(best.height)),
            ("fps", number(best.fps)),
            ("fourcc", text(&best.fourcc)),
        ];
        Filled { table: "robot.cameras.NAME", name: Some(name.clone()), remarks, values }
    }
}

fn text(words: &str) -> Value {
    Value::String(words.to_string())
}

/// The id that the files of a pair's arms begin with, as LeRobot names them: `<id>_left` and `<id>_right`.
fn pair_id(arms: &[arms::Found; 2], usual: &str) -> String {
    let [left, right] = arms.each_ref().map(|found| found.arm.id.as_deref().unwrap_or_default());
    match (left.strip_suffix("_left"), right.strip_suffix("_right")) {
        (Some(left), Some(right)) if left == right && !left.is_empty() => left.to_string(),
        _ => usual.to_string(),
    }
}

/// What is missing, and what to do.
fn nothing(all: &Found, arms: &Arms, unusable: &[(&Camera, String)]) -> String {
    let mut found: Vec<String> =
        unusable.iter().map(|(camera, problem)| format!("{}: {problem}", camera.path.display())).collect();
    if let Arms::Unknown(arms) = arms {
        found.extend(arms.iter().map(|arm| format!("an arm at {}: {}", arm.path(), arm.arm.because)));
    }
    found.extend(without_arm(all));
    let found = if found.is_empty() { "neither".into() } else { found.join("; ") };
    format!(
        "expected a camera, or a follower and its leader, to record from; found {found}. Plug them in and see what `recorder devices` says; \
         examples/demo.toml records without any device. Nothing was written"
    )
}

/// The ports on which no arm was found, and why.
fn without_arm(found: &Found) -> impl Iterator<Item = String> + '_ {
    let ports = found.serial_ports.iter();
    ports.filter_map(|port| Some(format!("no arm at {}: {}", port.path.display(), port.without_arm()?)))
}

fn bad_name(name: &str, others: &[Named]) -> Option<String> {
    if !is_camera_name(name) {
        return Some("expected letters, digits, '_' and '-': it becomes a part of a feature's name".into());
    }
    others.iter().any(|other| other.name == name).then(|| "another camera has this name".into())
}

fn bad_repo_id(id: &str) -> Option<String> {
    (!is_repo_id(id)).then(|| "expected owner/name of letters, digits, '.', '_' and '-'".into())
}
