//! DHCP for IPv4, as far as a diskless node needs it (RFC 2131).
//!
//! Pure: no socket, no clock, no interface. `network` and `uplink` move the
//! packets.

mod client;
#[cfg(feature = "fuzzing")]
mod fuzzing;
mod message;
mod options;
#[cfg(test)]
pub mod testing;

pub use client::{DhcpClient, DhcpEffect};
#[cfg(feature = "fuzzing")]
pub use fuzzing::dhcp as fuzz;
pub use message::{Hardware, Identity, Lease};

pub const SERVER_PORT: u16 = 67;
pub const CLIENT_PORT: u16 = 68;
