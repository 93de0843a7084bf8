//! The cameras that are plugged in. None is started, and one that somebody streams from goes on.

use super::tree::{Node, Roots, Usb};
use crate::camera::CameraError;
use crate::camera::v4l::described::{Control, Described, describe, once};
use crate::camera::v4l::modes::Offer;
use crate::in_use::Holder;
use serde::Serialize;
use std::path::PathBuf;

/// A camera.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Camera {
    /// What to write into the configuration: the name that stays.
    pub path: PathBuf,
    /// Such as /dev/video0.
    pub node: PathBuf,
    pub name: String,
    pub driver: Option<String>,
    pub usb: Option<Usb>,
    /// Another camera says the same of itself: `path` leads to whichever is plugged in at this place.
    pub named_by_place: bool,
    /// Who has it open, as far as this user may see.
    pub in_use_by: Vec<Holder>,
    pub offers: Vec<Offer>,
    pub controls: Vec<Control>,
    /// Why no more is known.
    pub problem: Option<String>,
}

/// Every device that captures video; the others that cameras have, as for metadata, are left out.
pub fn cameras(roots: &Roots) -> Vec<Camera> {
    roots.video().into_iter().filter_map(|node| camera(roots, node)).collect()
}

fn camera(roots: &Roots, node: Node) -> Option<Camera> {
    let Node { path, node, name, index, usb, is_ambiguous } = node;
    let file = node.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let in_use_by = roots.in_use_by(&node);
    let (described, problem) = match describe(&file, &path) {
        Ok(described) => (Some(described?), None),
        // Unplugged this very moment; or one of a camera's further devices, which would have said so.
        Err(CameraError::Absent { .. }) => return None,
        Err(_) if index.is_some_and(|index| index > 0) => return None,
        Err(error) => (None, Some(error.to_string())),
    };
    let (card, driver, offers, controls) = match described {
        Some(Described { card, driver, offers, controls, .. }) => (Some(card), Some(driver), offers, controls),
        None => (None, None, Vec::new(), Vec::new()),
    };
    let name = card.filter(|card| !card.is_empty()).or(name.map(|name| once(&name).to_string())).unwrap_or(file);
    Some(Camera { path, node, name, driver, usb, named_by_place: is_ambiguous, in_use_by, offers, controls, problem })
}
