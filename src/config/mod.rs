//! The configuration file `lab.toml`.

pub mod schema;
