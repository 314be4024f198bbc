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

/// Parsers of what strangers send, as plain functions for fuzz targets.
#[cfg(feature = "fuzzing")]
pub mod fuzzing {
    /// A DHCP message, alone and in its packet.
    pub fn dhcp(bytes: &[u8]) {
        crate::boot::fuzz_dhcp(bytes);
    }
}

pub use command::main;
// For tests that fetch within their own process.
pub use driver::{FetchRequest, Fetching, Turn, Watch};
