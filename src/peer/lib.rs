//! One peer, master or client, as a state machine: inputs and the time go in,
//! effects come out. No socket, no file, no clock and no libc.

#![deny(missing_docs)]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod alone;
pub mod auth;
pub mod caller;
pub mod conn;
pub mod content;
pub mod control;
pub mod discovery;
pub mod failure;
pub mod fetch;
pub mod image;
pub mod master;
pub mod namespace;
// Only a benchmark asks it by itself: for the program it is private, so that the
// compiler sees what nobody uses.
#[cfg(not(feature = "testing"))]
mod overlay;
#[cfg(feature = "testing")]
pub mod overlay;
mod rate;
mod recent;
pub mod request;
pub mod server;
pub mod signature;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod timers;
mod voices;
