//! The actors, one file each. `actors.md` is their map: what each owns, receives, sends, does on failure, and what bounds it.

pub mod arm;
pub mod camera;
pub mod coordinator;
pub mod encoder;
pub mod encoder_pool;
pub mod recorder;
pub mod ticker;
pub mod worker;
pub mod writer;
