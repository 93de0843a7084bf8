//! What people and programs see of a run: the terminal ([`screen`]), the keys ([`keys`]), the HTTP pages
//! ([`http`]), and whether those are read ([`scrapes`]).

pub mod http;
pub mod keys;
pub mod scrapes;
pub mod screen;
pub mod view;
