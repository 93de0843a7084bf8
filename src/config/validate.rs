//! Rules across keys: everything that can be said of a configuration without touching a device or the disk.

mod arms;
mod controls;
mod pictures;

use super::Problem;
use super::schema::*;
use crate::codec::Preset;
use crate::codec::backend::codec_name;
use crate::console::access;
use crate::console::network::Network;
use crate::events::Event;
use crate::notify::Wanted;
use crate::schedule::Until;

/// LeRobot stores time stamps as float32 seconds; beyond this its readers cannot tell neighbouring frames apart.
pub const LONGEST_EPISODE_S: f64 = 1000.0;
/// A faster control loop than any arm of this kind can follow.
pub const HIGHEST_FPS: u32 = 240;
/// Key frames further apart than this make single frames too slow to read, and the last fragment too much to lose.
pub const LONGEST_GOP: u32 = 600;
/// A cap below this makes no picture that anybody could train on.
const LOWEST_BITRATE: f64 = 50_000.0;
/// More encoding threads than this are a slip of the finger.
pub const MOST_WORKERS: u32 = 64;
/// All that is wrong with a configuration.
pub fn problems(config: &Config) -> Vec<Problem> {
    let mut found = Vec::new();
    dataset(&config.dataset, &mut found);
    encoder(config, &mut found);
    cameras(&config.robot, &mut found);
    pictures::pictures(config, &mut found);
    arms::arms(config, &mut found);
    simulated_time(config, &mut found);
    limits(config, &mut found);
    metrics(&config.metrics, &mut found);
    notify(&config.notify, &mut found);
    run(&config.run, &mut found);
    log(&config.log, &mut found);
    found
}

/// True when the run is not bound to real time: every source can be asked for its next frame at any pace.
pub fn is_simulated(config: &Config) -> bool {
    config.robot.cameras.values().any(|camera| !camera.realtime)
}

/// Rows of one episode.
pub fn ticks_per_episode(dataset: &Dataset) -> u64 {
    (dataset.episode_time_s * f64::from(dataset.fps)).round() as u64
}

fn in_range(
    found: &mut Vec<Problem>,
    place: &str,
    value: impl PartialOrd + std::fmt::Display,
    low: impl Into<f64>,
    high: f64,
    remedy: &str,
) {
    let shown = value.to_string();
    let number: f64 = shown.parse().unwrap_or(f64::NAN);
    let low = low.into();
    if !(low..=high).contains(&number) {
        found.push(Problem::new(place, format!("{low} to {high}"), shown, remedy));
    }
}

/// `owner/name`, as on the hub.
pub fn is_repo_id(id: &str) -> bool {
    let good = |part: &&str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    let parts: Vec<&str> = id.split('/').collect();
    parts.len() == 2 && parts.iter().all(good)
}

/// What a camera may be called: it becomes a part of a feature's name.
pub fn is_camera_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

fn dataset(dataset: &Dataset, found: &mut Vec<Problem>) {
    in_range(found, "dataset.fps", dataset.fps, 1, f64::from(HIGHEST_FPS), "set the rate of rows, 30 for most cameras");
    let longest = "LeRobot's float32 time stamps cannot tell frames apart in longer episodes: record several";
    in_range(found, "dataset.episode_time_s", dataset.episode_time_s, 0.001, LONGEST_EPISODE_S, longest);
    if dataset.fps > 0 && dataset.episode_time_s > 0.0 && ticks_per_episode(dataset) == 0 {
        found.push(Problem::new(
            "dataset.episode_time_s",
            "at least one row",
            format!("{} s at {} rows a second", dataset.episode_time_s, dataset.fps),
            "make the episode longer",
        ));
    }
    in_range(found, "dataset.reset_time_s", dataset.reset_time_s, 0, 86_400.0, "give the pause in seconds; 0 for none");
    in_range(found, "dataset.num_episodes", dataset.num_episodes, 1, 1e6, "give how many episodes this run records");
    if dataset.single_task.trim().is_empty() {
        found.push(Problem::new(
            "dataset.single_task",
            "what the robot is to do, in words",
            "nothing",
            "write it as you would tell a person: policies are conditioned on it",
        ));
    }
    if !is_repo_id(&dataset.repo_id) {
        found.push(Problem::new(
            "dataset.repo_id",
            "owner/name of letters, digits, '.', '_' and '-'",
            format!("\"{}\"", dataset.repo_id),
            "name it as on the hub, such as lab/pick-cube; nothing is uploaded",
        ));
    }
    if let Some(workers) = dataset.video_encoding_workers {
        in_range(
            found,
            "dataset.video_encoding_workers",
            workers,
            1,
            f64::from(MOST_WORKERS),
            "leave it out for one thread a camera, at most the machine's cores",
        );
    }
    in_range(
        found,
        "dataset.video_encoding_queue_size",
        dataset.video_encoding_queue_size,
        1,
        10_000.0,
        "100 is plenty",
    );
    if dataset.streaming_encoding && dataset.async_video_encoding {
        found.push(Problem::new(
            "dataset.async_video_encoding",
            "false where streaming_encoding is on",
            "true",
            "videos are encoded while they are recorded: leave it out, or set streaming_encoding = false to encode them after each episode in the background",
        ));
    }
}

/// The worst quality that a codec has a number for.
pub fn worst_quality(codec: Codec) -> u32 {
    if codec == Codec::Av1 { 63 } else { 51 }
}

fn encoder(config: &Config, found: &mut Vec<Problem>) {
    let encoder = &config.dataset.encoder;
    let gpu = config.dataset.gpu_video_encoding;
    if encoder.encoder_type == EncoderType::Nvenc && !gpu {
        found.push(Problem::new(
            "dataset.encoder.encoder_type",
            "auto or software where gpu_video_encoding is off",
            "nvenc",
            "set dataset.gpu_video_encoding = true",
        ));
    }
    if matches!(encoder.codec, Codec::Hevc | Codec::Av1) && (!gpu || encoder.encoder_type == EncoderType::Software) {
        found.push(Problem::new(
            "dataset.encoder.codec",
            "h264 or copy on the CPU",
            codec_name(encoder.codec),
            "set dataset.gpu_video_encoding = true, without encoder_type = \"software\": only NVENC makes it",
        ));
    }
    if encoder.encoder_type == EncoderType::Nvenc && encoder.codec == Codec::Copy {
        found.push(Problem::new(
            "dataset.encoder.encoder_type",
            "auto where codec = \"copy\"",
            "nvenc",
            "copy stores the cameras' JPEGs and encodes nothing: leave encoder_type out, or choose another codec",
        ));
    }
    let worst = worst_quality(encoder.codec);
    in_range(
        found,
        "dataset.encoder.quality",
        encoder.quality,
        0,
        f64::from(worst),
        "it is a constant quality; 23 is a good start for h264, 30 for av1, lower is better and larger",
    );
    if let Some(bitrate) = encoder.bitrate {
        in_range(
            found,
            "dataset.encoder.bitrate",
            bitrate,
            LOWEST_BITRATE,
            1e9,
            "give the cap in bits a second, such as 4000000",
        );
        if !gpu || encoder.encoder_type == EncoderType::Software || encoder.codec == Codec::Copy {
            found.push(Problem::new(
                "dataset.encoder.bitrate",
                "nothing where NVENC does not encode",
                bitrate.to_string(),
                "the CPU encodes at constant quality: leave it out and set quality",
            ));
        }
        if encoder.quality == 0 {
            found.push(Problem::new(
                "dataset.encoder.quality",
                "at least 1 where a bitrate caps it",
                "0, which is the best there is at any size",
                "leave out one of the two",
            ));
        }
    }
    in_range(
        found,
        "dataset.encoder.gop",
        encoder.gop,
        1,
        f64::from(LONGEST_GOP),
        "2 reads single frames fastest, 15 is a good start, 30 makes the smallest files",
    );
    if Preset::named(&encoder.preset).is_none() {
        found.push(Problem::new(
            "dataset.encoder.preset",
            Preset::NAMES.map(|(name, _)| name).join(", "),
            format!("\"{}\"", encoder.preset),
            "leave it out for fast",
        ));
    }
}

fn cameras(robot: &Robot, found: &mut Vec<Problem>) {
    if robot.cameras.is_empty() && robot.kind == RobotKind::None {
        found.push(Problem::new(
            "robot",
            "a camera or an arm",
            "neither",
            "add a table [robot.cameras.front] or set robot.type",
        ));
    }
    for (name, camera) in &robot.cameras {
        let at = |key: &str| format!("robot.cameras.{name}.{key}");
        if !is_camera_name(name) {
            found.push(Problem::new(
                format!("robot.cameras.{name}"),
                "a name of letters, digits, '_' and '-'",
                format!("\"{name}\""),
                "rename it: the name becomes the feature observation.images.NAME",
            ));
        }
        in_range(found, &at("fps"), camera.fps, 1, 1000.0, "give the camera's rate");
        match (&camera.kind, &camera.index_or_path) {
            (CameraKind::V4l, None) => found.push(Problem::new(
                at("index_or_path"),
                "a device",
                "nothing",
                "give its path under /dev/v4l/by-id (`ls -l /dev/v4l/by-id`), or an index",
            )),
            (CameraKind::File, None) => {
                found.push(Problem::new(
                    at("index_or_path"),
                    "a file",
                    "nothing",
                    "give the path of the MJPEG to play",
                ));
            }
            _ => {}
        }
        controls::controls(name, camera, found);
        if camera.kind == CameraKind::V4l && !camera.realtime {
            found.push(Problem::new(
                at("realtime"),
                "true for a real camera",
                "false",
                "leave it out: only file and synthetic cameras can run faster than time",
            ));
        }
    }
    let devices: Vec<(&String, std::path::PathBuf)> = robot
        .cameras
        .iter()
        .filter(|(_, camera)| camera.kind == CameraKind::V4l)
        .filter_map(|(name, camera)| {
            let path = camera.index_or_path.as_ref()?.path();
            // Two names of one device are one device: by-id and /dev/videoN. One that is absent keeps its name.
            Some((name, std::fs::canonicalize(&path).unwrap_or(path)))
        })
        .collect();
    for (i, (name, path)) in devices.iter().enumerate() {
        if let Some((other, _)) = devices[..i].iter().find(|(_, p)| p == path) {
            found.push(Problem::new(
                format!("robot.cameras.{name}.index_or_path"),
                "a device of its own",
                format!("{}, which camera `{other}` uses", path.display()),
                "give each camera its own device",
            ));
        }
    }
}

fn simulated_time(config: &Config, found: &mut Vec<Problem>) {
    if !is_simulated(config) {
        return;
    }
    for (name, camera) in config.robot.cameras.iter().filter(|(_, camera)| camera.realtime) {
        found.push(Problem::new(
            format!("robot.cameras.{name}.realtime"),
            "false, as another camera has",
            "true",
            if camera.kind == CameraKind::V4l {
                "a real camera cannot run in simulated time: set realtime = true for all"
            } else {
                "a run is in real time as a whole or not at all: give all cameras the same"
            },
        ));
    }
    arms::simulated(config, found);
}

fn run(run: &Run, found: &mut Vec<Problem>) {
    if let Some(hours) = run.max_hours {
        in_range(found, "run.max_hours", hours, 0.001, 8784.0, "give it in hours; leave it out for no end");
    }
    if let Some(words) = run.until.as_deref().filter(|until| until.parse::<Until>().is_err()) {
        found.push(Problem::new(
            "run.until",
            "HH:MM in local time, or a date and time with its offset such as 2026-11-23T06:30:00+01:00",
            format!("\"{words}\""),
            "leave it out for no end",
        ));
    }
}

fn log(log: &Log, found: &mut Vec<Problem>) {
    in_range(found, "log.max_mib", log.max_mib, 1, 10_240.0, "16 holds days of an ordinary run");
    in_range(found, "log.keep", log.keep, 0, 1000.0, "4 is plenty");
    if log.file.as_ref().is_some_and(|file| file.file_name().is_none()) {
        found.push(Problem::new("log.file", "the path of a file", "a folder", "name the file, such as recorder.log"));
    }
}

fn limits(config: &Config, found: &mut Vec<Problem>) {
    in_range(
        found,
        "limits.frame_memory_mib",
        config.limits.frame_memory_mib,
        16,
        65_536.0,
        "256 holds a second of some twenty 720p cameras",
    );
    in_range(
        found,
        "limits.gpu_watchdog_ms",
        config.limits.gpu_watchdog_ms,
        100,
        60_000.0,
        "500 is much longer than any picture takes",
    );
    in_range(found, "limits.min_free_gib", config.limits.min_free_gib, 0, 1e6, "give it in GiB");
}

fn metrics(metrics: &Metrics, found: &mut Vec<Problem>) {
    let Metrics { listen, token, token_file, allow } = metrics;
    for network in allow {
        if let Err(error) = network.parse::<Network>() {
            found.push(Problem::new(
                "metrics.allow",
                "addresses and networks such as 10.0.0.5 or 192.168.1.0/24",
                format!("\"{network}\" ({error})"),
                "write the address itself, not a name, and of a network the first one",
            ));
        }
    }
    if let Some(fault) = token.as_ref().and_then(|token| access::token_fault(token.reveal())) {
        found.push(Problem::new("metrics.token", access::token_expected(), fault, access::MAKE_TOKEN));
    }
    if token.is_some() && token_file.is_some() {
        let remedy = "leave one of the two out";
        found.push(Problem::new("metrics.token_file", "nothing where metrics.token is set", "both", remedy));
    }
    if listen.is_empty() {
        return;
    }
    match listen.parse::<std::net::SocketAddr>() {
        Ok(address) if access::is_loopback(address.ip()) => {}
        Ok(_) if token.is_some() || token_file.is_some() || !allow.is_empty() => {}
        Ok(_) => found.push(Problem::new(
            "metrics.listen",
            "a loopback address such as 127.0.0.1:9464 where neither metrics.token nor metrics.allow is set",
            format!("\"{listen}\""),
            format!(
                "say who may ask: metrics.allow = [\"192.168.1.0/24\"], or metrics.token ({}), or both",
                access::MAKE_TOKEN
            ),
        )),
        Err(_) => found.push(Problem::new(
            "metrics.listen",
            "ADDRESS:PORT",
            format!("\"{listen}\""),
            "write 127.0.0.1:9464, 0.0.0.0:9464 for every network of this machine, or \"\" for none; not a name",
        )),
    }
}

fn notify(notify: &Notify, found: &mut Vec<Problem>) {
    if let Some(command) = &notify.command
        && command.as_slice().first().is_none_or(|program| program.trim().is_empty())
    {
        let remedy = "leave it out to run nothing; docs/notify.md has examples";
        found.push(Problem::new("notify.command", "a command", "nothing", remedy));
    }
    let command = notify.command.iter().flat_map(Words::as_slice);
    if command.into_iter().any(|word| word.contains('\0')) {
        found.push(Problem::new("notify.command", "text", "a zero byte in it", "leave it out: no command can get it"));
    }
    for name in notify.on.as_slice() {
        if Wanted::of(name).is_none() {
            let known = Wanted::SEVERITIES.iter().chain(Event::NAMES);
            let nearest = known.min_by_key(|known| strsim::damerau_levenshtein(name, known)).unwrap_or(&"warning");
            found.push(Problem::new(
                "notify.on",
                "warning, critical, or names of events",
                format!("\"{name}\""),
                format!("did you mean \"{nearest}\"? docs/events.md lists them"),
            ));
        }
    }
    in_range(found, "notify.timeout_s", notify.timeout_s, 0.1, 300.0, "10 is plenty for a message");
    in_range(found, "notify.min_interval_s", notify.min_interval_s, 0, 86_400.0, "give it in seconds; 0 for no pause");
}
