//! A client and a server's messages, for tests of all who use a lease.

use super::lease::{DhcpReply, Hardware, Identity, Lease};
use super::message::decode;
use std::net::Ipv6Addr;

pub fn identity() -> Identity {
    Identity {
        hardware: Hardware { arp_type: 1, address: vec![0x52, 0x54, 0, 0x12, 0x34, 0x56] },
        uuid: Some([0xab; 16]),
        architecture: 7,
        class: "xget:x86_64:2".into(),
    }
}

/// A server's message with these raw options.
pub fn reply(xid: u32, message_type: u8, address: [u8; 4], options: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![0; 240];
    out[0] = 2;
    out[1] = 1;
    out[2] = 6;
    out[4..8].copy_from_slice(&xid.to_be_bytes());
    out[16..20].copy_from_slice(&address);
    out[28..34].copy_from_slice(&identity().hardware.address);
    out[236..240].copy_from_slice(&[99, 130, 83, 99]);
    out.extend_from_slice(&[53, 1, message_type]);
    out.extend_from_slice(&options.concat());
    out.push(255);
    out
}

/// The lease that a server with these raw options offers.
pub fn offer(options: &[&[u8]]) -> Lease {
    let server: &[u8] = &[54, 4, 10, 0, 0, 1];
    let bytes = reply(7, 2, [10, 0, 0, 9], &[&[server], options].concat());
    match decode(&bytes, 7, &identity().hardware) {
        Some(DhcpReply::Offer(lease, _)) => lease,
        other => panic!("no offer: {other:?}"),
    }
}

/// What `reply6` grants, and who sends it.
pub const ADDRESS6: &str = "fd00::9";
pub const SERVER6: &str = "fe80::1";

/// A DHCPv6 server's message to `identity()` with an address for so many seconds,
/// T1 and T2 at 60 and 96, and further raw options.
pub fn reply6(xid: u32, kind: u8, valid_s: Option<u32>, options: &[&[u8]]) -> Vec<u8> {
    let mut out = xid.to_be_bytes().to_vec();
    out[0] = kind;
    out.extend([0, 1, 0, 18, 0, 4]);
    out.extend([0xab; 16]);
    out.extend([0, 2, 0, 4, 0, 3, 0, 1]);
    if let Some(valid_s) = valid_s {
        let address: Ipv6Addr = ADDRESS6.parse().unwrap();
        out.extend([0, 3, 0, 40, 0, 0x12, 0x34, 0x56, 0, 0, 0, 60, 0, 0, 0, 96, 0, 5, 0, 24]);
        out.extend(address.octets());
        out.extend([valid_s.to_be_bytes(), valid_s.to_be_bytes()].concat());
    }
    out.extend(options.concat());
    out
}
