use super::schema::OnLoss;
use super::*;

const SMALL: &str = r#"
[robot.cameras.front]
type = "synthetic"

[dataset]
repo_id = "lab/pick-cube"
single_task = "Pick up the cube"
"#;

fn with(text: &str, overrides: &[(&str, &str)]) -> Result<Config, String> {
    let overrides: Vec<Override> =
        overrides.iter().map(|(key, value)| Override { key: key.to_string(), value: value.to_string() }).collect();
    parse("lab.toml", text, &overrides).map_err(|e| e.to_string())
}

fn check(key: &str, value: &str, expected: &[&str]) {
    let error = with(SMALL, &[(key, value)]).expect_err(&format!("{key} = {value} is accepted"));
    for part in expected {
        assert!(error.contains(part), "{key} = {value}: `{part}` is not in: {error}");
    }
}

#[test]
fn motors_with_faults_are_the_robots_own() {
    let arms = r#"
[robot]
type = "so101_follower"
port = "sim"
[teleop]
type = "so101_leader"
port = "sim"
"#;
    let said = |key: &str, value: &str| with(&(arms.to_string() + SMALL), &[(key, value)]).err().unwrap_or_default();
    for good in ["hold", "{gripper = \"torque_off\", elbow_flex = \"hold\"}"] {
        assert_eq!(said("robot.on_motor_fault", good), "", "{good}");
    }
    for (key, value, parts) in [
        ("robot.on_motor_fault", "{griper = \"hold\"}", ["robot.on_motor_fault.griper", "wrist_roll, gripper"]),
        ("robot.on_motor_fault", "stop", ["robot.on_motor_fault", "expected warn, hold or torque_off"]),
        ("robot.max_temperature_c", "200", ["robot.max_temperature_c", "20 to 100"]),
        ("teleop.ramp_s", "-1", ["teleop.ramp_s", "0 to 600"]),
    ] {
        let error = said(key, value);
        assert!(parts.iter().all(|part| error.contains(part)), "{key} = {value}: {error}");
    }
}

/// With a GPU other things are possible, and other things contradict.
#[test]
fn what_nvenc_takes() {
    let gpu = |more: &[(&str, &str)]| with(SMALL, &[&[("dataset.gpu_video_encoding", "true")], more].concat());
    let (codec, quality, kind) = ("dataset.encoder.codec", "dataset.encoder.quality", "dataset.encoder.encoder_type");
    let bitrate = ("dataset.encoder.bitrate", "4000000");
    for good in [
        &[(codec, "hevc"), (kind, "nvenc")][..],
        &[(codec, "av1"), (quality, "63")],
        &[bitrate],
        &[(kind, "software")],
        &[(codec, "copy")],
    ] {
        gpu(good).unwrap();
    }
    for (bad, expected) in [
        (&[(codec, "hevc"), (quality, "52")][..], "0 to 51"),
        (&[(codec, "av1"), (quality, "64")], "0 to 63"),
        (&[(codec, "av1"), (kind, "software")], "only NVENC makes it"),
        (&[(codec, "copy"), (kind, "nvenc")], "encodes nothing"),
        (&[bitrate, (quality, "0")], "leave out one of the two"),
        (&[bitrate, (kind, "software")], "constant quality"),
        (&[("dataset.encoder.bitrate", "100")], "bits a second"),
    ] {
        let error = gpu(bad).expect_err(expected);
        assert!(error.contains(expected), "{bad:?}: {error}");
    }
}

/// What is recorded of a picture, and what `copy` can store.
#[test]
fn rotation_and_crop() {
    let (codec, fourcc) = ("dataset.encoder.codec", "robot.cameras.front.fourcc");
    let v4l = [("robot.cameras.front.type", "v4l"), ("robot.cameras.front.index_or_path", "987")];
    let size = [("robot.cameras.front.width", "480"), ("robot.cameras.front.height", "640")];
    let (rotation, crop) = ("robot.cameras.front.rotation", "robot.cameras.front.crop");
    let low = "{left = 0, top = 480, width = 480, height = 160}";
    let with_size = |more: &[(&str, &str)]| with(SMALL, &[&size[..], more].concat());
    for good in [
        &[(rotation, "90")][..],
        &[(rotation, "-90"), (crop, low)],
        &[(crop, "{left = 0, top = 0, width = 480, height = 640}"), (codec, "copy")],
        &[v4l[0], v4l[1], (fourcc, "NV12"), (rotation, "180")],
        &[v4l[0], v4l[1], (fourcc, "GREY"), (crop, low)],
        &[v4l[0], v4l[1], (fourcc, "H264"), (codec, "copy")],
        &[v4l[0], v4l[1], (fourcc, "H264"), (rotation, "90")],
        &[("robot.cameras.front.type", "file"), v4l[1], (fourcc, "H264")],
    ] {
        with_size(good).unwrap_or_else(|error| panic!("{good:?}: {error}"));
    }
    for (bad, expected) in [
        (&[(crop, "{left = 0, top = 482, width = 480, height = 160}")][..], "within 480x640"),
        (&[(rotation, "90"), (crop, "{left = 16, top = 0, width = 480, height = 160}")], "within 480x640"),
        (&[(rotation, "180"), (codec, "copy")], "cannot be turned or cut"),
        (&[(crop, low), (codec, "copy")], "cannot be turned or cut"),
        (&[v4l[0], v4l[1], (fourcc, "NV12"), (codec, "copy")], "MJPG or H264 where"),
        (&[v4l[0], v4l[1], (fourcc, "H264"), (rotation, "90"), (codec, "copy")], "cannot be turned or cut"),
        (&[("robot.cameras.front.type", "file"), v4l[1], (fourcc, "GREY")], "MJPG or H264 for file cameras"),
    ] {
        let error = with_size(bad).expect_err(expected);
        assert!(error.contains(expected), "{bad:?}: {error}");
    }
}

#[test]
fn defaults_are_lerobots() {
    let config = with(SMALL, &[]).unwrap();
    assert_eq!((config.dataset.fps, config.dataset.num_episodes), (30, 50));
    assert_eq!((config.dataset.episode_time_s, config.dataset.reset_time_s), (60.0, 60.0));
    assert!(config.dataset.streaming_encoding && !config.dataset.gpu_video_encoding && !config.dataset.resume);
    assert_eq!(config.dataset.encoder, schema::Encoder::default());
    assert!(config.robot.use_degrees && config.robot.disable_torque_on_disconnect);
    assert_eq!((config.robot.on_loss, config.robot.cameras["front"].on_loss), (OnLoss::Hold, OnLoss::Hold));
}

#[test]
fn each_mistake_is_named_with_place_expected_found_and_remedy() {
    check("dataset.fps", "0", &["dataset.fps", "expected 1 to 240", "found 0"]);
    check("dataset.fsp", "30", &["dataset.fsp", "found `fsp`", "did you mean `fps`?"]);
    check("dataset.width", "30", &["stands at `robot.cameras.NAME.width`"]);
    check("dataset.fps", "\"thirty\"", &["dataset.fps", "expected u32", "string"]);
    check("dataset.episode_time_s", "1001", &["dataset.episode_time_s", "0.001 to 1000", "float32"]);
    check("dataset.num_episodes", "0", &["dataset.num_episodes"]);
    check("dataset.video_encoding_workers", "0", &["dataset.video_encoding_workers", "found 0"]);
    check("dataset.repo_id", "../x", &["dataset.repo_id", "owner/name"]);
    check("dataset.single_task", "\" \"", &["dataset.single_task"]);
    check("dataset.async_video_encoding", "true", &["dataset.async_video_encoding", "streaming_encoding = false"]);
    check("limits.gpu_watchdog_ms", "50", &["limits.gpu_watchdog_ms", "100 to 60000"]);
    for name in ["qsv", "vce"] {
        check(
            "dataset.encoder.encoder_type",
            name,
            &["dataset.encoder.encoder_type", name, "NVENC", "recorder encoders"],
        );
    }
    check("dataset.encoder.encoder_type", "nvenc", &["dataset.encoder.encoder_type", "gpu_video_encoding = true"]);
    check("dataset.encoder.bitrate", "4000000", &["dataset.encoder.bitrate", "constant quality"]);
    check("dataset.encoder.preset", "veryslow", &["dataset.encoder.preset", "medium"]);
    check("dataset.encoder.codec", "vp9", &["dataset.encoder.codec", "vp9", "h264"]);
    check("dataset.encoder.codec", "av1", &["dataset.encoder.codec", "CPU"]);
    check("dataset.encoder.quality", "52", &["dataset.encoder.quality", "0 to 51"]);
    check("dataset.encoder.gop", "0", &["dataset.encoder.gop"]);
    check("dataset.encoder.preset", "turbo", &["dataset.encoder.preset", "turbo", "medium"]);
    check("dataset.encoder.encoder_type", "qsv", &["dataset.encoder.encoder_type", "qsv", "software"]);
    check("robot.cameras.front.fourcc", "MJP", &["robot.cameras.front.fourcc", "exactly four characters"]);
    check("robot.cameras.front.fourcc", "YV12", &["robot.cameras.front.fourcc", "MJPG, YUYV, NV12, GREY or H264"]);
    check("robot.cameras.front.fourcc", "NV12", &["robot.cameras.front.fourcc", "MJPG for synthetic"]);
    check("robot.cameras.front.fourcc", "H264", &["robot.cameras.front.fourcc", "MJPG for synthetic"]);
    check("robot.cameras.front.fourcc", "YU12", &["robot.cameras.front.fourcc", "MJPG, YUYV"]);
    check("robot.cameras.front.rotation", "45", &["robot.cameras.front.rotation", "found 45", "0, 90, 180 or 270"]);
    check("robot.cameras.front.crop", "{left=1,top=0,width=64,height=64}", &["robot.cameras.front.crop", "even"]);
    check("robot.cameras.front.crop", "{left=0,top=0,width=8,height=64}", &["robot.cameras.front.crop", "16x16"]);
    check("robot.cameras.front.width", "641", &["robot.cameras.front.width", "even"]);
    check("robot.cameras.front.type", "v4l", &["robot.cameras.front.index_or_path", "/dev/v4l/by-id"]);
    check("robot.cameras.front.type", "gopro", &["robot.cameras.front.type", "gopro", "v4l"]);
    check("robot.cameras.front.on_loss", "wait", &["robot.cameras.front.on_loss", "wait", "pause"]);
    check("robot.on_loss", "wait", &["robot.on_loss", "wait", "discard"]);
    check("robot.type", "so101_follower", &["robot.port", "teleop.type", "so101_leader or replay"]);
    check("teleop.type", "replay", &["robot.type", "teleop.path", "teleop.episode"]);
    check("teleop.max_speed", "\"fast\"", &["teleop.max_speed"]);
    check("teleop.type", "so101_leader", &["robot.type", "teleop.port"]);
    for everywhere in ["0.0.0.0:9464", "[::]:9464", "192.0.2.1:9464", "[::ffff:192.0.2.1]:9464"] {
        check(
            "metrics.listen",
            everywhere,
            &["metrics.listen", everywhere, "loopback", "metrics.allow", "metrics.token"],
        );
    }
    for nowhere in ["here", "localhost:9464", "0.0.0.0", "::1:9464", "127.0.0.1:99999", "127.0.0.1:9464 ", ":9464"] {
        check("metrics.listen", &format!("\"{nowhere}\""), &["metrics.listen", "ADDRESS:PORT", nowhere, "not a name"]);
    }
    for (token, found) in [
        ("\"\"", "nothing"),
        ("\"short\"", "5 characters"),
        ("\"0123456789 abcdef\"", "a space"),
        ("\"0123456789\\nabcdef\"", "a line break"),
        ("\"0123456789äbcdef\"", "another character"),
        ("1234567890123456", "invalid type: integer"),
        ("[\"0123456789abcdef\"]", "invalid type: array"),
    ] {
        check("metrics.token", token, &["metrics.token", found]);
        let shown = with(SMALL, &[("metrics.token", token)]).unwrap_err();
        assert!(!["0123456789", "1234567890", "short"].iter().any(|part| shown.contains(part)), "{shown}");
    }
    for (network, found) in [
        ("lab.example", "no IP address"),
        ("10.0.0.0/33", "0 to 32"),
        ("10.0.0.5/8", "within the network 10.0.0.0/8"),
        ("", "no IP address"),
    ] {
        check("metrics.allow", &format!("[\"{network}\"]"), &["metrics.allow", "192.168.1.0/24", found]);
    }
    check("metrics.allow", "10.0.0.5", &["metrics.allow", "expected a sequence"]);
    for (command, found) in
        [("\"\"", "nothing"), ("[]", "nothing"), ("[\" \"]", "nothing"), ("\"a\\u0000\"", "zero byte")]
    {
        check("notify.command", command, &["notify.command", found]);
    }
    check("notify.command", "5", &["notify.command", "expected a string or a list of strings"]);
    check("notify.on", "[\"critical\", \"device_lots\"]", &["notify.on", "did you mean \"device_lost\"?"]);
    check("notify.on", "error", &["notify.on", "warning, critical"]);
    check("notify.timeout_s", "0", &["notify.timeout_s", "0.1 to 300"]);
    check("notify.min_interval_s", "-1", &["notify.min_interval_s", "0 to 86400"]);
    check("robot.cameras", "{}", &["robot", "a camera or an arm"]);
}

/// Who may read the pages elsewhere is said; then they may be served everywhere.
#[test]
fn controls_are_a_real_cameras_and_each_has_one_key() {
    let v4l = |key: &str, value: &str| {
        let front = "robot.cameras.front";
        let (kind, path, key) = (format!("{front}.type"), format!("{front}.index_or_path"), format!("{front}.{key}"));
        with(SMALL, &[(&kind, "v4l"), (&path, "7"), (&key, value)])
    };
    for (key, value) in [
        ("exposure", "157"),
        ("exposure", "auto"),
        ("gain", "0"),
        ("white_balance", "auto"),
        ("focus", "30"),
        ("power_line_frequency", "50"),
        ("power_line_frequency", "off"),
        ("controls", "{brightness = -3, \"Hue, Auto\" = false, exposure_dynamic_framerate = false}"),
        ("warmup_s", "0"),
        ("warmup_s", "60"),
    ] {
        v4l(key, value).unwrap_or_else(|error| panic!("{key} = {value}: {error}"));
    }
    for (key, value, expected) in [
        ("exposure", "true", "exposure: expected a number or \"auto\", found true"),
        ("gain", "much", "gain: expected a number or \"auto\", found \"much\""),
        ("white_balance", "Auto", "found \"Auto\""),
        ("focus", "1.5", "expected a number, true or false, or a word"),
        ("power_line_frequency", "70", "power_line_frequency: expected 50, 60, \"off\" or \"auto\", found 70"),
        ("warmup_s", "61", "warmup_s: expected 0 to 60, found 61"),
        ("warmup_s", "nan", "warmup_s: expected 0 to 60, found NaN"),
        (
            "controls",
            "{gain = 3}",
            "controls.gain: expected a control without a key of its own, found 3; set robot.cameras.front.gain",
        ),
        ("controls", "{\"Exposure, Auto\" = 1}", "set robot.cameras.front.exposure instead"),
    ] {
        let error = v4l(key, value).expect_err(expected);
        assert!(error.contains(expected), "{key} = {value}: {error}");
    }
    check(
        "robot.cameras.front.exposure",
        "157",
        &["robot.cameras.front.exposure", "nothing where type is not \"v4l\""],
    );
    check("robot.cameras.front.controls", "{hue = 1}", &["robot.cameras.front.controls", "only real cameras"]);
}

#[test]
fn pages_for_others_need_a_guard() {
    let token = ("metrics.token", "0123456789abcdef");
    let everywhere = ("metrics.listen", "[::]:9464");
    for guard in [token, ("metrics.token_file", "/etc/token"), ("metrics.allow", "[\"10.0.0.0/8\", \"::1\"]")] {
        with(SMALL, &[everywhere, guard]).unwrap();
        // On loopback it does no harm.
        with(SMALL, &[guard]).unwrap();
    }
    let error = with(SMALL, &[everywhere, token, ("metrics.token_file", "/etc/token")]).unwrap_err();
    assert!(error.contains("metrics.token_file") && error.contains("leave one of the two out"), "{error}");
}

#[test]
fn two_cameras_on_one_device_are_refused() {
    let text = format!(
        "{SMALL}[robot.cameras.a]\ntype = \"opencv\"\nindex_or_path = 7\n[robot.cameras.b]\ntype = \"v4l\"\nindex_or_path = \"/dev/video7\"\n"
    );
    let error = with(&text, &[]).unwrap_err();
    assert!(error.contains("robot.cameras.b.index_or_path") && error.contains("camera `a` uses"), "{error}");
}

#[test]
fn all_problems_are_reported_at_once() {
    let error = with(SMALL, &[("dataset.fps", "0"), ("dataset.encoder.gop", "0")]).unwrap_err();
    assert_eq!(error.lines().count(), 2, "{error}");
}

#[test]
fn syntax_errors_name_the_line() {
    let error = with("[dataset]\nfps = = 3\n", &[]).unwrap_err();
    assert!(error.starts_with("lab.toml:2: not valid TOML"), "{error}");
}

#[test]
fn lerobots_other_names_mean_the_same() {
    let a = format!("{SMALL}[dataset.gpu_encoder_config]\nvcodec = \"copy\"\ncrf = 20\ng = 2\n");
    let b = format!("{SMALL}[dataset.encoder]\ncodec = \"copy\"\nquality = 20\ngop = 2\n");
    assert_eq!(with(&a, &[]).unwrap(), with(&b, &[]).unwrap());
    let both = format!("{SMALL}[dataset.encoder]\ncrf = 20\nquality = 21\n");
    assert!(with(&both, &[]).unwrap_err().contains("leave `crf` out"));
}

const PAIR: &str = r#"
[robot]
type = "bi_so101_follower"
left_arm_config = { port = "/dev/a" }
right_arm_config = { port = "/dev/b" }
[teleop]
type = "bi_so101_leader"
left_arm_config = { port = "/dev/c" }
right_arm_config = { port = "/dev/d" }
[dataset]
repo_id = "lab/fold"
single_task = "Fold"
"#;

#[test]
fn a_pair_of_arms_is_named_by_all_of_lerobots_names() {
    let pair = with(PAIR, &[]).unwrap();
    for [robot, teleop] in [["bi_so_follower", "bi_so_leader"], ["bi_so100_follower", "bi_so100_leader"]] {
        assert_eq!(with(PAIR, &[("robot.type", robot), ("teleop.type", teleop)]).unwrap(), pair);
    }
    let single = |robot: &str, teleop: &str| {
        let arms = [("robot.type", robot), ("robot.port", "a"), ("teleop.type", teleop), ("teleop.port", "b")];
        with(SMALL, &arms).unwrap()
    };
    let so101 = single("so101_follower", "so101_leader");
    assert_eq!(single("so100_follower", "so100_leader"), so101);
    assert_eq!(single("so_follower", "so_leader"), so101);
}

#[test]
fn mistakes_in_a_pair_of_arms_are_named() {
    for (key, value, expected) in [
        ("robot.port", "/dev/e", &["robot.port: expected nothing", "[robot.left_arm_config]"][..]),
        ("robot.use_degrees", "false", &["robot.use_degrees: expected nothing", "found false"]),
        ("robot.max_relative_target", "5", &["robot.max_relative_target: expected nothing"]),
        ("robot.position_p_coefficient", "20", &["robot.position_p_coefficient: expected nothing", "found 20"]),
        ("teleop.port", "/dev/e", &["teleop.port: expected nothing", "[teleop.right_arm_config]"]),
        ("robot.left_arm_config", "{}", &["robot.left_arm_config.port: expected a serial port"]),
        ("robot.left_arm_config.prot", "a", &["robot.left_arm_config.prot", "did you mean `port`?"]),
        (
            "robot.right_arm_config.port",
            "/dev/a",
            &["robot.right_arm_config.port: expected a port of its own", "robot.left_arm_config.port has too"],
        ),
        (
            "teleop.left_arm_config.port",
            "/dev/b",
            &["teleop.left_arm_config.port", "robot.right_arm_config.port has too"],
        ),
        (
            "teleop.right_arm_config.use_degrees",
            "false",
            &["teleop.right_arm_config.use_degrees: expected true, as robot.right_arm_config.use_degrees"],
        ),
        (
            "teleop.type",
            "so101_leader",
            &[
                "teleop.type: expected bi_so101_leader or replay",
                "teleop.port",
                "teleop.left_arm_config: expected nothing",
            ],
        ),
        ("teleop.type", "none", &["teleop.type: expected bi_so101_leader or replay"]),
        (
            "robot.type",
            "so101_follower",
            &["robot.left_arm_config: expected nothing where robot.type = \"so101_follower\"", "bi_so101_follower"],
        ),
        (
            "robot.right_arm_config.max_relative_target",
            "{ gripper = 3 }",
            &["robot.right_arm_config.max_relative_target", "each of shoulder_pan", "found gripper"],
        ),
        (
            "robot.left_arm_config.max_relative_target",
            "0",
            &["robot.left_arm_config.max_relative_target: expected a number above 0"],
        ),
        (
            "robot.on_motor_fault",
            "{ gripper = \"hold\" }",
            &["robot.on_motor_fault.gripper: expected a motor of the robot: left_shoulder_pan"],
        ),
    ] {
        let error = with(PAIR, &[(key, value)]).expect_err(&format!("{key} = {value} is accepted"));
        for part in expected {
            assert!(error.contains(part), "{key} = {value}: `{part}` is not in: {error}");
        }
    }
    let missing = PAIR.replace("right_arm_config = { port = \"/dev/b\" }\n", "");
    let error = with(&missing, &[]).unwrap_err();
    assert!(
        error.contains("robot.right_arm_config: expected the arm's table")
            && error.contains("add [robot.right_arm_config]"),
        "{error}"
    );
    let policies = [("robot.on_motor_fault", "{ left_gripper = \"hold\", right_elbow_flex = \"torque_off\" }")];
    with(PAIR, &policies).unwrap();
}

#[test]
fn overrides_take_toml_or_plain_text() {
    let config = with(
        SMALL,
        &[
            ("dataset.num_episodes", "3"),
            ("dataset.single_task", "Pick up = the cube"),
            ("robot.cameras.wrist.type", "synthetic"),
            ("robot.cameras.wrist.fps", "15"),
        ],
    )
    .unwrap();
    assert_eq!(config.dataset.num_episodes, 3);
    assert_eq!(config.dataset.single_task, "Pick up = the cube");
    assert_eq!(config.robot.cameras["wrist"].fps, 15);
    let error = with(SMALL, &[("dataset.fps.x", "3")]).map(|_| ()).unwrap_err();
    assert!(error.contains("dataset.fps"), "{error}");
}

#[test]
fn simulated_time_is_all_or_nothing() {
    let base = [("robot.cameras.front.realtime", "false")];
    assert!(validate::is_simulated(&with(SMALL, &base).unwrap()));
    let mixed = [base[0], ("robot.cameras.wrist.type", "synthetic")];
    assert!(with(SMALL, &mixed).unwrap_err().contains("robot.cameras.wrist.realtime"));
}

/// `UPDATE_DOCS=1 cargo test` writes it anew.
#[test]
fn docs_config_md_is_the_schema() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/config.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, reference::markdown()).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(text == reference::markdown(), "docs/config.md is not what the schema says: run UPDATE_DOCS=1 cargo test");
    for entry in reference::entries(&reference::json_schema()) {
        assert!(!entry.doc.is_empty(), "{} has no doc", entry.path);
    }
}

#[test]
fn the_examples_and_the_readme_are_valid() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    for name in ["examples/lab.toml", "examples/demo.toml", "examples/replay.toml", "examples/bimanual.toml"] {
        with(&read(name), &[]).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let readme = read("README.md");
    let block = readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    with(block, &[]).unwrap_or_else(|error| panic!("README.md: {error}"));
}

proptest::proptest! {
    /// Whatever stands in the file, the answer is a configuration or a message.
    #[test]
    fn any_text_gives_an_answer(text in "\\PC{0,200}", key in "[a-z.]{0,20}", value in "\\PC{0,20}") {
        let _ = with(&format!("{SMALL}{text}"), &[(&key, &value)]);
        let _ = with(&text, &[]);
    }
}
