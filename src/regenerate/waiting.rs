//! Takes that were recorded and never encoded become episodes: encoded from the pictures that were kept of them, by the
//! same actors that record.

use super::RegenerateError;
use super::options::Arguments;
use crate::clock::SystemClock;
use crate::codec::backend::{self, Device};
use crate::codec::gpu::Prober;
use crate::config::schema::Codec;
use crate::config::{self, Config, Override};
use crate::dataset::{Dataset, DatasetError, DatasetSpec};
use crate::run::{self, Gpu, Parts};
use crate::status;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often it is looked whether the user wants to stop.
const LOOK: Duration = Duration::from_millis(100);

/// Encodes what waits, and adds it to the data set, in the order in which it was recorded; the number of episodes.
pub(super) fn finish(
    arguments: &Arguments,
    device: Device,
    prober: &Prober,
    cancelled: &AtomicBool,
) -> Result<u64, RegenerateError> {
    let mut spec = Dataset::spec_on_disk(&arguments.root)?;
    spec.cameras.sort_by(|a, b| a.name.cmp(&b.name));
    let config = configuration(arguments, &spec, device)?;
    for camera in &mut spec.cameras {
        camera.video = run::video_info(&config.dataset.encoder, &config.robot.cameras[&camera.name]);
    }
    let dataset = Dataset::resume(&arguments.root, spec)?;
    let status = status::shared();
    let parts = Parts {
        clock: Arc::new(SystemClock::default()),
        open_encoder: backend::standard(),
        gpu: (device == Device::Gpu).then(|| Gpu { works: true, prober: prober.clone() }),
        status: status.clone(),
        on_saved: Box::new(|_, _| {}),
    };
    let failed = |error: &dyn std::fmt::Display| RegenerateError::Waiting(error.to_string());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(|error| failed(&error))?.block_on(async {
        let running = run::start(&Arc::new(config), dataset, parts).await.map_err(|error| failed(&error))?;
        let controls = running.controls();
        let mut ended = std::pin::pin!(running.wait());
        loop {
            match tokio::time::timeout(LOOK, &mut ended).await {
                Ok(outcome) => break outcome.map_err(|error| failed(&error)),
                Err(_) if cancelled.load(Ordering::Relaxed) => controls.abort(),
                Err(_) => {}
            }
        }
    })?;
    let saved = status.borrow().saved;
    Ok(saved)
}

/// A run that records nothing: no episode, no device is opened.
fn configuration(arguments: &Arguments, spec: &DatasetSpec, device: Device) -> Result<Config, RegenerateError> {
    let mut text = String::from("[dataset]\nrepo_id = \"local/waiting\"\nsingle_task = \"what waits knows its own\"\n");
    for camera in &spec.cameras {
        let (name, width, height) = (&camera.name, camera.width, camera.height);
        // A camera that has encoded its video itself, at a GOP of its own, gives no JPEGs to copy.
        let coded = camera.video.codec == "h264" && camera.video.gop.is_none();
        let kind = if coded { "\"file\"\nindex_or_path = \"-\"\nfourcc = \"H264\"" } else { "\"synthetic\"" };
        text += &format!("[robot.cameras.{name}]\ntype = {kind}\nwidth = {width}\nheight = {height}\n");
    }
    // The configuration's own word.
    let codec = if arguments.codec == Codec::Copy { "copy" } else { backend::codec_name(arguments.codec) };
    let set = |key: &str, value: String| Override { key: format!("dataset.{key}"), value };
    let mut overrides = vec![
        set("fps", spec.fps.to_string()),
        set("streaming_encoding", "false".into()),
        set("gpu_video_encoding", (device == Device::Gpu).to_string()),
        set("encoder.codec", codec.into()),
        set("encoder.quality", arguments.quality.to_string()),
        set("encoder.gop", arguments.gop.to_string()),
        set("encoder.preset", arguments.preset.clone()),
        set("encoder.gpu_id", arguments.gpu_id.to_string()),
    ];
    overrides.extend(arguments.bitrate.map(|bitrate| set("encoder.bitrate", bitrate.to_string())));
    overrides.extend(arguments.workers.map(|workers| set("video_encoding_workers", workers.to_string())));
    let parsed = config::parse("the takes that wait", &text, &overrides);
    let mut config = parsed.map_err(|error| RegenerateError::Usage(error.to_string()))?;
    config.dataset.num_episodes = 0;
    Ok(config)
}

/// Takes that wait in the data set.
pub(super) fn count(root: &Path) -> Result<usize, DatasetError> {
    Dataset::waiting_on_disk(root)
}
