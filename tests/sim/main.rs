//! Many real nodes over a virtual network and a virtual clock.
//!
//! The driver of the state machines that `src/xget/driver` drives over sockets;
//! only links, disks and time are made up. From the ground up: `event`, `clock`,
//! `network`, `connections`, `host`; all of them are a `world`; `effects`,
//! `endings` and `run` say what happens in it; `report` and `scenario` what comes
//! of it; `calm`, `faults`, `streams`, `goals` and `table` what has to. Every run is made by its `Setup`, seed
//! included, which a failing test prints; XGET_SIM_LOG=1 shows what the nodes
//! say.

#![allow(clippy::print_stdout)] // what a run looked like

mod calm;
mod clock;
mod connections;
mod content;
mod effects;
mod endings;
mod event;
mod faults;
mod goals;
mod host;
mod network;
mod random;
mod report;
mod run;
mod scenario;
mod streams;
mod table;
mod world;
