//! What a client asks for and what a server grants, in either version of DHCP.
//!
//! Values that `message` and `message6` write and read, and that `client` decides
//! by. Knows no bytes.

use crate::boot::ipconfig::Route;
use std::net::IpAddr;

/// The interface, as DHCP names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hardware {
    /// ARPHRD_ number: 1 Ethernet, 32 InfiniBand.
    pub arp_type: u8,
    pub address: Vec<u8>,
}

/// What a client tells about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub hardware: Hardware,
    /// SMBIOS UUID, in the order of its text.
    pub uuid: Option<[u8; 16]>,
    /// RFC 4578, 2.1: 0 BIOS, 7 EFI x86-64, 11 EFI ARM64.
    pub architecture: u16,
    /// Option 60 of DHCPv4, the user class of DHCPv6.
    pub class: String,
}

/// For how long an address may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTimes {
    /// `u32::MAX` is for ever (RFC 2131, 3.3; RFC 8415, 7.7).
    pub lease_s: u32,
    /// T1: the server is asked from then on.
    pub renew_s: u32,
    /// T2: everybody is asked from then on.
    pub rebind_s: u32,
}

impl LeaseTimes {
    /// T1 and T2 as the server says, or half and seven eighths of the lease
    /// (RFC 2131, 4.4.5; at the client's discretion in RFC 8415, 21.4).
    pub fn new(lease_s: u32, t1: Option<u32>, t2: Option<u32>) -> LeaseTimes {
        let rebind_s = t2.filter(|t2| *t2 < lease_s).unwrap_or(lease_s - lease_s / 8);
        let renew_s = t1.filter(|t1| *t1 < rebind_s).unwrap_or((lease_s / 2).min(rebind_s));
        LeaseTimes { lease_s, renew_s, rebind_s }
    }

    pub const FOR_EVER: LeaseTimes =
        LeaseTimes { lease_s: u32::MAX, renew_s: u32::MAX, rebind_s: u32::MAX };
}

/// What a server grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Unspecified where a server only informs.
    pub address: IpAddr,
    pub prefix_len: u8,
    /// Its address, and by what it is told from others.
    pub server: IpAddr,
    pub server_id: Vec<u8>,
    pub routes: Vec<Route>,
    pub dns: Vec<IpAddr>,
    pub domain: Option<String>,
    pub hostname: Option<String>,
    pub mtu: Option<u32>,
    /// Named on purpose, for us.
    pub master: Option<String>,
    /// Who may be the master when nobody is named.
    pub master_guesses: Vec<String>,
    pub times: LeaseTimes,
}

impl Lease {
    /// Of an address that nobody takes away again.
    pub fn of(address: IpAddr) -> Lease {
        Lease {
            address,
            prefix_len: 128,
            server: address,
            server_id: Vec::new(),
            routes: Vec::new(),
            dns: Vec::new(),
            domain: None,
            hostname: None,
            mtu: None,
            master: None,
            master_guesses: Vec::new(),
            times: LeaseTimes::FOR_EVER,
        }
    }
}

/// A server's reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DhcpReply {
    /// With the server's preference; 255 is not waited for (RFC 8415, 18.2.1).
    Offer(Lease, u8),
    Ack(Lease),
    /// With the server's words.
    Nak(String),
}

/// By the numbers of RFC 8415, 7.3, where the first is called Solicit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    Discover = 1,
    Request = 3,
    Renew = 5,
    Rebind = 6,
    Release = 8,
    /// DHCPv6: the address is in use by somebody else.
    Decline = 9,
    /// DHCPv6: no address is asked for.
    Inform = 11,
}

/// What is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DhcpQuery<'a> {
    pub question: Question,
    pub xid: u32,
    /// Since this exchange began.
    pub elapsed_ms: u64,
    /// What was offered or is held; none while discovering.
    pub lease: Option<&'a Lease>,
}
