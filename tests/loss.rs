//! Cameras and arms that are lost in the middle of a run: what becomes of the take by policy, what the rows and the summary
//! tell of it, and that nothing else suffers.

mod buses;
mod outages;
mod program;
mod run_support;

use buses::{Buses, IDS, Said};
use outages::Outages;
use recorder::actors::recorder::RunError;
use recorder::arm::feetech::registers as reg;
use recorder::arm::sim::{SimBus, SimKind};
use recorder::clock::SystemClock;
use recorder::dataset::{EpisodeSummary, Row};
use recorder::devices::Devices;
use recorder::episode::Key;
use recorder::metrics;
use recorder::status::Status;
use run_support::*;
use std::path::Path;
use std::sync::Arc;

/// 60 rows, 15 ticks of reset; the first tick is 0.067 s and the first row 0.1 s after the start.
const TIMES: [(&str, &str); 2] = [("dataset.episode_time_s", "2"), ("dataset.reset_time_s", "0.5")];

/// A run in simulated time with devices that are away; how it ended, its last status.
async fn run(root: &Path, overrides: &[(&str, &str)], outages: Outages) -> (Result<(), RunError>, Status) {
    let overrides = [&TIMES[..], overrides].concat();
    let (running, status) = start_on(&config(SMALL, root, &overrides), simulated(), outages.devices()).await;
    let ended = running.wait().await;
    let status = status.borrow().clone();
    (ended, status)
}

/// First row and number of rows of each gap, of the front camera, the wrist camera, the arm.
type Found = [Vec<(u64, u64)>; 3];

/// The gaps that an episode's summary tells, after holding them against the rows' flags.
fn gaps(root: &Path, summary: &EpisodeSummary) -> Found {
    let rows = Rows::read(root, summary.episode_index as usize);
    let of = |told: &recorder::account::Gaps, column: &str| -> Vec<(u64, u64)> {
        let flagged = rows.flags(column).iter().filter(|f| **f).count() as u64;
        let told_rows: u64 = told.gaps.iter().map(|gap| gap.rows).sum();
        assert_eq!((told.gaps_total, told.rows_lost), (told.gaps.len() as u64, flagged), "{column}");
        assert_eq!(told_rows, flagged, "{column}");
        assert!(told.gaps.iter().all(|gap| gap.reason.contains("pulled the plug")), "{told:?}");
        told.gaps.iter().map(|gap| (gap.first_row, gap.rows)).collect()
    };
    let camera = |name: &str| of(&summary.cameras[name].counters.gaps, &format!("observation.images.{name}/lost"));
    [camera("front"), camera("wrist"), of(&summary.arm, "arm/lost")]
}

/// Lengths and gaps of all episodes.
fn episodes(root: &Path) -> Vec<(u64, Found)> {
    summaries(root).iter().map(|summary| (summary.length, gaps(root, summary))).collect()
}

/// The device is away for 0.2 s in the middle of the first episode, and found again a quarter of a second after it was lost.
#[tokio::test(flavor = "multi_thread")]
async fn every_policy_for_every_device() {
    let nothing = || [vec![], vec![], vec![]];
    // An arm that is lost in the middle of a tick misses that tick.
    let cut = |rows: u64, device: &str| match device {
        "follower" | "leader" => [vec![], vec![], vec![(rows - 1, 1)]],
        _ => nothing(),
    };
    for (device, key, at) in
        [("wrist", "robot.cameras.wrist.on_loss", 1), ("follower", "robot.on_loss", 2), ("leader", "robot.on_loss", 2)]
    {
        for policy in ["hold", "pause", "discard", "stop"] {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path().join("set");
            let (outcome, status) = run(&root, &[(key, policy)], Outages::of(&[(device, &[(1.5, 1.7)])])).await;
            check(&root);
            let found = episodes(&root);
            let name = format!("{device}, {policy}: {found:?}");
            assert_eq!(status.discarded, u64::from(policy == "discard"), "{name}");
            assert!(status.lost.is_empty() || policy == "stop", "{name}: {status:?}");
            match policy {
                "hold" => {
                    assert_eq!(found.len(), 2, "{name}");
                    let [gap] = found[0].1[at][..] else { panic!("{name}") };
                    // From 1.5 s to 1.75 s.
                    assert!((40..=44).contains(&gap.0) && (7..=9).contains(&gap.1), "{name}");
                    let mut expected = nothing();
                    expected[at] = vec![gap];
                    assert_eq!(found, [(60, expected), (60, nothing())], "{name}");
                }
                "pause" => {
                    assert!((41..=44).contains(&found[0].0), "{name}");
                    let rows = found[0].0;
                    assert_eq!(found, [(rows, cut(rows, device)), (60, nothing())], "{name}");
                }
                "discard" => assert_eq!(found, [(60, nothing()), (60, nothing())], "{name}"),
                _ => {
                    assert!((41..=44).contains(&found[0].0), "{name}");
                    let rows = found[0].0;
                    assert_eq!(found, [(rows, cut(rows, device))], "{name}");
                    let Err(RunError::Lost(words)) = &outcome else { panic!("{name}: {outcome:?}") };
                    let who = match device {
                        "wrist" => "camera wrist: ",
                        "follower" => "the arm: ",
                        _ => "the leader: ",
                    };
                    assert!(words.contains(who) && words.contains("pulled the plug"), "{words}");
                }
            }
            assert_eq!(outcome.is_ok(), policy != "stop", "{name}");
        }
    }
}

/// A take begins only when the reset is over and the device is there; with `hold` it begins with the last value, marked.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_lost_in_the_reset() {
    for (device, key, at) in [("wrist", "robot.cameras.wrist.on_loss", 1), ("leader", "robot.on_loss", 2)] {
        let mut begins = Vec::new();
        for policy in ["hold", "pause", "discard", "stop"] {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path().join("set");
            // The reset goes from 2.1 s to 2.6 s; the device answers from 2.3 + 0.25 + 0.5 s on.
            let (ended, status) = run(&root, &[(key, policy)], Outages::of(&[(device, &[(2.3, 2.9)])])).await;
            check(&root);
            let found = episodes(&root);
            assert_eq!(status.discarded, 0, "{device}, {policy}");
            assert!(found.iter().all(|(rows, _)| *rows == 60), "{device}, {policy}: {found:?}");
            match policy {
                "stop" => {
                    assert!(matches!(ended, Err(RunError::Lost(_))), "{device}: {ended:?}");
                    assert_eq!(found.len(), 1);
                    continue;
                }
                "hold" => {
                    let [gap] = found[1].1[at][..] else { panic!("{device}: {found:?}") };
                    assert!(gap.0 == 0 && (12..=16).contains(&gap.1), "{device}: {found:?}");
                }
                _ => assert!(found[1].1.iter().all(Vec::is_empty), "{device}, {policy}: {found:?}"),
            }
            begins.push(summaries(&root)[1].start_mono_ns);
        }
        let [hold, pause, discard] = begins[..] else { panic!("{begins:?}") };
        assert!(pause >= 4_050_000_000 && pause > hold && pause == discard, "{device}: {begins:?}");
    }
}

/// Each device ends the take by its own policy, once; the next one waits for all.
#[tokio::test(flavor = "multi_thread")]
async fn several_devices_away_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    let overrides = [
        ("robot.on_loss", "pause"),
        ("robot.cameras.front.on_loss", "discard"),
        ("robot.cameras.wrist.on_loss", "discard"),
        ("dataset.reset_time_s", "0"),
    ];
    let outages: [(&str, &[(f64, f64)]); 3] =
        [("follower", &[(1.5, 1.7)]), ("front", &[(1.6, 2.3)]), ("wrist", &[(1.55, 1.6), (1.9, 3.0)])];
    let (ended, status) = run(&root, &overrides, Outages::of(&outages)).await;
    assert_eq!((ended, status.discarded), (Ok(()), 0));
    check(&root);
    let found = episodes(&root);
    assert!((41..=44).contains(&found[0].0) && found[1].0 == 60, "{found:?}");
    let rows = found[0].0;
    assert_eq!((&found[0].1[..2], &found[0].1[2][..]), (&[vec![], vec![]][..], &[(rows - 1, 1)][..]));
    assert!(found[1].1.iter().all(Vec::is_empty), "{found:?}");
    // The last to come back is the wrist camera: lost at 1.9 s, and not there at 2.4 s; then at 3.4 s.
    let begins = summaries(&root)[1].start_mono_ns;
    assert!((4_300_000_000..4_600_000_000).contains(&begins), "{begins}");
}

/// In simulated time a run with losses is as repeatable as one without, to the byte.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_with_losses_is_repeatable() {
    let mut trees = Vec::new();
    for _ in 0..2 {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("set");
        let outages: [(&str, &[(f64, f64)]); 3] =
            [("front", &[(0.8, 1.3)]), ("wrist", &[(1.0, 1.1), (3.0, 3.1)]), ("leader", &[(1.2, 1.4)])];
        let overrides = [("dataset.encoder.codec", "copy"), ("robot.cameras.wrist.on_loss", "pause")];
        let (ended, _) = run(&root, &overrides, Outages::of(&outages)).await;
        assert_eq!(ended, Ok(()));
        trees.push(tree(&root));
    }
    let differing: Vec<_> = trees[0].iter().zip(&trees[1]).filter(|(a, b)| a != b).map(|(a, _)| &a.0).collect();
    assert_eq!((trees[0].len(), differing), (trees[1].len(), vec![]));
}

/// A loose cable: said once, opened ever more rarely, and nobody else notices.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_flaps_takes_nothing_down() {
    let page = metrics::install().unwrap();
    for (device, name, at) in [("wrist", "camera wrist", 1), ("leader", "the leader", 2)] {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("set");
        // Away for 0.1 s in every 1.7 s.
        let spans: Vec<(f64, f64)> = (1..60).map(|k| (f64::from(k) * 1.7 - 0.1, f64::from(k) * 1.7)).collect();
        let overrides = [
            ("dataset.episode_time_s", "15"),
            ("dataset.fps", "15"),
            ("robot.cameras.front.fps", "15"),
            ("robot.cameras.wrist.fps", "15"),
        ];
        let config = config(SMALL, &root, &[&TIMES[..], &overrides].concat());
        let (running, status) = start_on(&config, simulated(), Outages::of(&[(device, &spans)]).devices()).await;
        running.wait().await.unwrap();
        assert_eq!(status.borrow().failing, [name]);
        check(&root);
        let mut found = episodes(&root);
        assert_eq!(found.len(), 2);
        // 250, 500, 1000, 2000 ms, then 4 s for as long as it goes on: gaps grow, and there are few.
        let all: Vec<u64> = found.iter().flat_map(|(_, gaps)| gaps[at].iter().map(|(_, rows)| *rows)).collect();
        assert!((7..=10).contains(&all.len()) && all[..5].is_sorted() && all[4] >= 55, "{name}: {all:?}");
        for (rows, gaps) in &mut found {
            gaps[at].clear();
            assert_eq!((*rows, &gaps[..]), (225, &[vec![], vec![], vec![]][..]), "{name}");
        }
        for summary in summaries(&root) {
            assert_eq!(summary.cameras["front"].counters.repeated, 0, "{name}");
            let arm_errors = summary.arm_errors.values().sum::<u64>();
            assert!(at == 2 || arm_errors == 0, "{name}: {arm_errors}");
        }
        let page = metrics::render(page, Default::default());
        let loops = |device| format!("recorder_restart_loops_total{{device=\"{device}\"}}");
        for line in [format!("{} 1", loops(name)), format!("{} 0", loops("camera front"))] {
            assert!(page.contains(&line), "no {line} in {page}");
        }
    }
}

/// The arm is unplugged and comes back on another port: it is found by its stable name, and the next episode begins then.
#[tokio::test(flavor = "multi_thread")]
async fn an_arm_comes_back_by_its_stable_name() {
    let dir = tempfile::tempdir().unwrap();
    let (root, by_id) = (dir.path().join("set"), dir.path().join("usb-test-arm"));
    let start = || SimBus::start(SimKind::Follower, Arc::new(SystemClock::default())).unwrap();
    let arm = start();
    std::os::unix::fs::symlink(arm.path(), &by_id).unwrap();
    let (port, calibration) = (
        by_id.display().to_string(),
        format!("{}/tests/golden/arm/calib/robots/so_follower", env!("CARGO_MANIFEST_DIR")),
    );
    let overrides = [
        ("robot.cameras.front.realtime", "true"),
        ("robot.cameras.wrist.realtime", "true"),
        ("robot.port", port.as_str()),
        ("robot.id", "f1"),
        ("robot.calibration_dir", calibration.as_str()),
        ("robot.on_loss", "pause"),
        ("dataset.episode_time_s", "900"),
        ("dataset.reset_time_s", "0"),
    ];
    let (running, status) = start_on(&config(SMALL, &root, &overrides), real(), Devices::default()).await;
    until(&status, "rows are recorded", |s| s.elapsed_s > 0.5).await;
    let old = arm.path().to_string();
    drop(arm);
    until(&status, "the first episode is kept", |s| s.missing && s.saved == 1).await;
    // Another port has its number by now.
    let mut taken = Vec::new();
    let arm = loop {
        match start() {
            arm if arm.path() != old => break arm,
            same => taken.push(same),
        }
    };
    std::fs::remove_file(&by_id).unwrap();
    std::os::unix::fs::symlink(arm.path(), &by_id).unwrap();
    until(&status, "the second one is recorded", |s| !s.missing && s.episode == 2 && s.elapsed_s > 0.5).await;
    running.key(Key::Stop);
    running.wait().await.unwrap();
    check(&root);
    let summaries = summaries(&root);
    assert_eq!(summaries.len(), 2);
    assert_eq!(summaries[1].arm.rows_lost, 0);
}

/// The leader is unplugged and comes back on another port: it is found by its stable name and configured anew, and the
/// follower holds its goal meanwhile, with torque on.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_comes_back_by_its_stable_name() {
    let dir = tempfile::tempdir().unwrap();
    let (root, by_id) = (dir.path().join("set"), dir.path().join("usb-test-leader"));
    let Buses { follower, leader } = Buses::start(&real());
    std::os::unix::fs::symlink(leader.path(), &by_id).unwrap();
    let mut buses = Buses { follower, leader };
    let ports: Vec<(&str, String)> = buses
        .overrides()
        .into_iter()
        .map(|(key, value)| (key, if key == "teleop.port" { by_id.display().to_string() } else { value }))
        .collect();
    let overrides = [
        ("robot.cameras.front.realtime", "true"),
        ("robot.cameras.wrist.realtime", "true"),
        ("dataset.episode_time_s", "900"),
    ];
    let ports: Vec<(&str, &str)> = ports.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let overrides = [&overrides[..], &ports].concat();
    let (running, status) = start_on(&config(SMALL, &root, &overrides), real(), Devices::default()).await;
    until(&status, "rows are recorded", |s| s.elapsed_s > 0.5).await;
    let tap = buses.follower.tap();
    let old = buses.leader.path().to_string();
    let new = SimBus::start(SimKind::Leader, Arc::new(SystemClock::default())).unwrap();
    drop(std::mem::replace(&mut buses.leader, new));
    until(&status, "the leader is away", |s| s.lost.iter().any(|lost| lost.starts_with("the leader: "))).await;
    Said::on(&tap);
    let held = IDS.map(|id| buses.follower.peek(id, reg::GOAL_POSITION));
    let away = status.borrow().elapsed_s;
    until(&status, "rows go on without it", |s| s.elapsed_s > away + 0.5).await;
    assert_eq!((buses.torque(), IDS.map(|id| buses.follower.peek(id, reg::GOAL_POSITION))), ([1; 6], held));
    assert_ne!(buses.leader.path(), old);
    assert_eq!(buses.leader.peek(1, reg::RETURN_DELAY_TIME), Some(250), "as it is delivered");
    std::fs::remove_file(&by_id).unwrap();
    std::os::unix::fs::symlink(buses.leader.path(), &by_id).unwrap();
    until(&status, "it is back", |s| s.lost.is_empty()).await;
    assert_eq!(buses.leader.peek(1, reg::RETURN_DELAY_TIME), Some(0), "handshake and configuration again");
    let back = status.borrow().elapsed_s;
    until(&status, "rows go on with it", |s| s.elapsed_s > back + 0.5).await;
    let said = Said::on(&tap);
    assert!(!said.goals().is_empty() && said.connections() == 0 && said.written(reg::TORQUE_ENABLE).is_empty());
    running.key(Key::Stop);
    running.wait().await.unwrap();
    assert_eq!(buses.torque(), [0; 6]);
    check(&root);
    let rows = Rows::read(&root, 0);
    let [lost, reused] = ["arm/lost", "arm/action_reused"].map(|column| rows.flags(column));
    assert!(lost.iter().filter(|lost| **lost).count() >= 10, "half a second of rows");
    assert!(lost.iter().zip(&reused).all(|(lost, reused)| !lost || *reused));
    assert!(!lost[0] && !lost[lost.len() - 1]);
}

/// The program: exit code 3, and what was recorded is saved.
#[test]
fn a_run_that_stops_for_a_lost_camera_says_so() {
    let lab = program::Lab::new();
    let made =
        lab.record(&["--robot.cameras.front.realtime=false", "--dataset.encoder.codec=copy", "--dataset.root=clip"]);
    assert_eq!(made.code, Some(0), "{}", made.text);
    let clip = lab.path("clip/videos/observation.images.front/chunk-000/file-000.mp4");
    let mut running = lab.start(&[
        "--robot.cameras.top.type=file",
        "--robot.cameras.top.width=128",
        "--robot.cameras.top.height=96",
        &format!("--robot.cameras.top.index_or_path={}", clip.display()),
        "--robot.cameras.top.on_loss=stop",
        "--dataset.episode_time_s=900",
    ]);
    running.wait_for("recording episode 1 of 2");
    std::fs::File::options().write(true).open(&clip).unwrap().set_len(0).unwrap();
    let ended = running.wait();
    assert_eq!(ended.code, Some(3), "{}", ended.text);
    for words in
        ["camera top: reading", "its on_loss is \"stop\"", "everything recorded up to then is saved", "1 episode saved"]
    {
        assert!(ended.text.contains(words), "`{words}` is not in:\n{}", ended.text);
    }
}

/// What version 0.1.0 left waiting is read as rows without a loss.
#[test]
fn rows_of_older_versions_are_read() {
    let now = serde_json::to_value(Row {
        arm: Some(Default::default()),
        cameras: vec![Default::default()],
        ..Default::default()
    });
    let mut old = now.unwrap();
    assert_eq!(old["arm"].as_object_mut().unwrap().remove("lost"), Some(false.into()));
    assert_eq!(old["cameras"][0].as_object_mut().unwrap().remove("lost"), Some(false.into()));
    let row: Row = serde_json::from_value(old).unwrap();
    assert!(!row.arm.unwrap().lost && !row.cameras[0].lost);
    let report: recorder::account::TakeReport = serde_json::from_str(
        r#"{"take":1,"started":{"mono_ns":0,"utc_ns":0},"ended":{"mono_ns":0,"utc_ns":0},"rows":1,"arm_misses":0,"arm_errors":{},
           "cameras":[{"written":1,"repeated":0,"dropped":{},"lost_before_capture":0}]}"#,
    )
    .unwrap();
    assert_eq!((report.arm_gaps.gaps_total, report.cameras[0].gaps.rows_lost), (0, 0));
}
