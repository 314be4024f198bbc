//! DHCP for IPv4 and IPv6, as far as a diskless node needs it (RFC 2131, 8415).
//!
//! Pure: no socket, no clock, no interface. `network` and `uplink` move the
//! packets.

mod client;
#[cfg(feature = "fuzzing")]
mod fuzzing;
mod lease;
mod message;
mod message6;
mod options;
#[cfg(test)]
pub mod testing;

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};

pub use client::{DhcpClient, DhcpEffect, Family};
#[cfg(feature = "fuzzing")]
pub use fuzzing::{dhcp as fuzz, dhcp6 as fuzz6};
pub use lease::{Hardware, Identity, Lease};

pub const SERVER_PORT: u16 = 67;
pub const CLIENT_PORT: u16 = 68;
/// RFC 8415, 7.2.
const SERVER_PORT6: u16 = 547;
pub const CLIENT_PORT6: u16 = 546;
/// All_DHCP_Relay_Agents_and_Servers (RFC 8415, 7.1).
const ALL_SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
pub const SERVERS6: SocketAddr = SocketAddr::V6(SocketAddrV6::new(ALL_SERVERS, SERVER_PORT6, 0, 0));
