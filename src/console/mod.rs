//! What people and programs see of a run: the terminal ([`screen`]), the keys ([`keys`]), the HTTP pages ([`http`])
//! and who may read them ([`access`]).

pub mod access;
pub mod http;
pub mod keys;
pub mod screen;
pub mod view;
