//! What people and programs see of a run: the terminal ([`screen`]), the keys ([`keys`]), the HTTP pages ([`http`]).

pub mod http;
pub mod keys;
pub mod screen;
pub mod view;
