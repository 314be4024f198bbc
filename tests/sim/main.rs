//! Many real nodes over a virtual network and a virtual clock.
//!
//! `world` drives the state machines that `drive` drives over sockets; only
//! links, disks and time are made up. Every run is made by its `Setup`, seed
//! included, which a failing test prints; XGET_SIM_LOG=1 shows what the nodes
//! say.

#![allow(clippy::print_stdout)] // what a run looked like

mod calm;
mod clock;
mod content;
mod faults;
mod goals;
mod host;
mod network;
mod report;
mod scenario;
mod table;
mod world;
