//! Rules for what cameras' pictures are and what of them is recorded.

use super::in_range;
use crate::codec::view::View;
use crate::config::Problem;
use crate::config::schema::{Camera, CameraKind, Codec, Config, Crop};
use crate::frame::PixelFormat;

/// Encoders take no smaller pictures.
const SMALLEST: u32 = 16;

/// All that is wrong with formats, sizes, rotations and crops.
pub fn pictures(config: &Config, found: &mut Vec<Problem>) {
    for (name, camera) in &config.robot.cameras {
        let at = |key: &str| format!("robot.cameras.{name}.{key}");
        if let Some((expected, remedy)) = fourcc_fault(camera) {
            found.push(Problem::new(at("fourcc"), expected, format!("\"{}\"", camera.fourcc), remedy));
        } else if config.dataset.encoder.codec == Codec::Copy {
            copied(camera, &at, found);
        }
        for (key, value) in [("width", camera.width), ("height", camera.height)] {
            in_range(found, &at(key), value, SMALLEST, 8192.0, "give the picture's size in pixels");
            if value % 2 == 1 {
                let remedy = "video stores one colour sample for two pixels: choose an even size";
                found.push(Problem::new(at(key), "an even number", value.to_string(), remedy));
            }
        }
        if let Some(crop) = camera.crop {
            let Crop { left, top, width, height } = crop;
            let shown = format!("left {left}, top {top}, width {width}, height {height}");
            let (captured_width, captured_height) = camera.captured_size();
            let view = View { rotation: camera.rotation, crop: Some(crop) };
            if width < SMALLEST || height < SMALLEST {
                let expected = format!("at least {SMALLEST}x{SMALLEST} pixels");
                found.push(Problem::new(at("crop"), expected, shown, "record a larger part"));
            } else if view.size(captured_width, captured_height).is_none() {
                let expected = format!("even numbers within {}x{}", camera.width, camera.height);
                let remedy = "crop counts from the upper left corner of the picture as it is after rotation";
                found.push(Problem::new(at("crop"), expected, shown, remedy));
            }
        }
    }
}

/// What is expected instead of a camera's `fourcc`, and what to do.
fn fourcc_fault(camera: &Camera) -> Option<(&'static str, &'static str)> {
    if camera.fourcc.chars().count() != 4 {
        return Some(("exactly four characters", "write MJPG, or another format that the camera offers"));
    }
    match (camera.kind, PixelFormat::of_camera(camera.fourcc.as_bytes())) {
        (_, None) => Some(("MJPG, YUYV, NV12, GREY or H264", "ask the camera for MJPG")),
        (CameraKind::V4l, _) | (_, Some(PixelFormat::Mjpg)) | (CameraKind::File, Some(PixelFormat::H264)) => None,
        (CameraKind::File, _) => Some(("MJPG or H264 for file cameras", "leave it out for a file of JPEGs")),
        (CameraKind::Synthetic, _) => Some(("MJPG for synthetic cameras", "leave it out")),
    }
}

/// What cannot be stored as it comes.
fn copied(camera: &Camera, at: &impl Fn(&str) -> String, found: &mut Vec<Problem>) {
    let format = PixelFormat::of_camera(camera.fourcc.as_bytes());
    if !matches!(format, Some(PixelFormat::Mjpg | PixelFormat::H264)) {
        found.push(Problem::new(
            at("fourcc"),
            "MJPG or H264 where dataset.encoder.codec = \"copy\"",
            format!("\"{}\"", camera.fourcc),
            "copy stores what the camera has encoded: ask the camera for MJPG or set codec = \"h264\"",
        ));
    }
    if !View::of(camera).is_all() {
        let key = if camera.crop.is_some() { "crop" } else { "rotation" };
        found.push(Problem::new(
            at(key),
            "nothing where dataset.encoder.codec = \"copy\"",
            "a picture that is not stored as the camera gives it",
            "leave it out, or set codec = \"h264\": what is copied cannot be turned or cut",
        ));
    }
}
