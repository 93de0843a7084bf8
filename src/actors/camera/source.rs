//! How a camera's pictures become frames, in the camera's thread: whole ones, with their memory credit.

use super::CameraArguments;
use crate::budget::Exhausted;
use crate::camera::{CameraError, Mode, Picture};
use crate::clock::Stamp;
use crate::codec::h264::{Decoded, Decoder, H264Error};
use crate::codec::jpeg;
use crate::codec::view::View;
use crate::frame::{DropReason, Frame, PixelFormat};
use bytes::Bytes;

/// What is known of an open camera's pictures.
pub struct Source {
    mode: Mode,
    view: View,
    /// Of a camera that encodes itself.
    decoder: Option<Decoder>,
    /// The last complaint about the decoder's food: each is told once.
    told: Option<H264Error>,
}

impl Source {
    /// For a camera that was just opened.
    pub fn open(arguments: &CameraArguments, mode: &Mode) -> Result<Source, CameraError> {
        let decoder = (mode.format == PixelFormat::H264).then(|| Decoder::open(mode.width, mode.height)).transpose();
        let decoder = decoder.map_err(|error| CameraError::Io {
            camera: arguments.name.as_str().into(),
            path: "its pictures".into(),
            action: "opening a decoder for",
            source: std::io::Error::other(error.to_string()),
        })?;
        Ok(Source { mode: mode.clone(), view: View::of(&arguments.config), decoder, told: None })
    }

    /// The picture as a frame, or why it is none. Every picture must come by here, in order.
    pub fn frame(
        &mut self,
        arguments: &CameraArguments,
        picture: &Picture<'_>,
        arrived: Stamp,
    ) -> Result<Frame, DropReason> {
        let Picture { sequence, captured, data } = *picture;
        let Mode { format, width, height, .. } = self.mode;
        let decoded = match self.decoder.as_mut().map(|decoder| decoder.decode(sequence, data)).transpose() {
            Ok(decoded) => decoded,
            Err(error) => {
                let reason = error.reason();
                // Pictures without a key frame follow from what was told, and are usual at the start.
                if error != H264Error::NoKeyFrame && self.told.as_ref() != Some(&error) {
                    tracing::warn!(camera = arguments.name, "{error}");
                    self.told = Some(error);
                }
                return Err(reason);
            }
        };
        let bytes = match format {
            // Padding behind the picture is left in the device's memory.
            PixelFormat::Mjpg => jpeg::parse_sized(data, width, height).map_err(|error| error.reason())?.end,
            _ => decoded.as_ref().map_or(data.len(), Decoded::bytes),
        };
        let credit = if arguments.clock.is_simulated() {
            // Time stands still while this thread waits: nothing is missed.
            Ok(arguments.budget.acquire(bytes))
        } else {
            arguments.budget.try_acquire(bytes)
        };
        let credit = credit.map_err(|exhausted| match exhausted {
            Exhausted::Frames => DropReason::NoCreditFrames,
            Exhausted::Bytes => DropReason::NoCreditBytes,
        })?;
        let (format, data, coded) = match decoded {
            None => (format, Bytes::copy_from_slice(&data[..bytes]), None),
            Some(decoded) => {
                let format = decoded.format;
                let (planes, coded) = decoded.into_parts();
                (format, planes.into(), Some(coded))
            }
        };
        let (camera, view) = (arguments.index, self.view);
        Ok(Frame { camera, sequence, captured, arrived, format, width, height, view, data, coded, credit })
    }
}
