//! The program: Linux, disks, sockets, the loop, PID 1, the command line.
//! What is decided is decided in `peer`.

mod boot;
mod cli;
mod command;
mod console;
mod driver;
mod logger;
mod os;
mod store;

pub use command::main;
// For tests that fetch within their own process.
pub use driver::{FetchRequest, Fetching, Turn, Watch};
