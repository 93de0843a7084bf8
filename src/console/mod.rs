//! What people and programs see of a run: the terminal ([`screen`]), the keys ([`keys`]), the HTTP pages ([`http`]),
//! who may read them ([`access`]), and whether they are read ([`scrapes`]).

pub mod access;
pub mod http;
pub mod keys;
pub mod network;
mod printer;
pub mod scrapes;
pub mod screen;
pub mod view;
