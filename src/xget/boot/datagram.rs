//! UDP datagrams with their IPv4 headers by hand, for an interface that has no
//! address yet.
//!
//! RFC 791 and 768. Pure; the link header is the packet socket's.

use super::fields::be16;
use std::net::Ipv4Addr;

const IP_LEN: usize = 20;
const UDP_LEN: usize = 8;
const UDP: u8 = 17;

/// A datagram from 0.0.0.0 to everybody.
#[inline(never)]
pub fn broadcast(from_port: u16, to_port: u16, payload: &[u8]) -> Vec<u8> {
    let total_len = IP_LEN + UDP_LEN + payload.len();
    let udp_len = (UDP_LEN + payload.len()) as u16;
    let mut out = vec![0; IP_LEN];
    out[0] = 0x45;
    out[2..4].copy_from_slice(&(total_len as u16).to_be_bytes());
    out[8] = 64;
    out[9] = UDP;
    out[16..20].copy_from_slice(&Ipv4Addr::BROADCAST.octets());
    let sum = checksum(&[&out]);
    out[10..12].copy_from_slice(&sum.to_be_bytes());
    let mut udp = Vec::with_capacity(usize::from(udp_len));
    udp.extend_from_slice(&from_port.to_be_bytes());
    udp.extend_from_slice(&to_port.to_be_bytes());
    udp.extend_from_slice(&udp_len.to_be_bytes());
    udp.extend_from_slice(&[0, 0]);
    udp.extend_from_slice(payload);
    let pseudo = [0, UDP, (udp_len >> 8) as u8, udp_len as u8];
    let sum = match checksum(&[&out[12..20], &pseudo, &udp]) {
        // Zero stands for "no checksum".
        0 => 0xffff,
        sum => sum,
    };
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
    out.extend_from_slice(&udp);
    out
}

/// The payload of an unfragmented UDP packet to `port`.
///
/// The UDP checksum is not looked at: between a host and its guests nobody
/// computes it, and a message is recognised by its own fields.
pub fn payload(packet: &[u8], port: u16) -> Option<&[u8]> {
    let first = *packet.first()?;
    let (version, header_len) = (first >> 4, usize::from(first & 15) * 4);
    let header = packet.get(..header_len)?;
    if version != 4 || header_len < IP_LEN || checksum(&[header]) != 0 {
        return None;
    }
    // Without the two flags that are no part of the fragment's place.
    let fragment = be16(header, 6)? & 0x3fff;
    if header[9] != UDP || fragment != 0 {
        return None;
    }
    // Ethernet pads short frames: the header knows where the packet ends.
    let udp = packet.get(header_len..usize::from(be16(header, 2)?))?;
    let (to_port, udp_len) = (be16(udp, 2)?, usize::from(be16(udp, 4)?));
    if to_port != port {
        return None;
    }
    udp.get(UDP_LEN..udp_len)
}

/// The Internet checksum (RFC 1071); all parts but the last are of even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for part in parts {
        for pair in part.chunks(2) {
            let low = pair.get(1).copied().unwrap_or(0);
            sum += u32::from(u16::from_be_bytes([pair[0], low]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn header_byte_for_byte() {
        let packet = broadcast(68, 67, &[1, 2, 3]);
        let ip = [0x45, 0, 0, 31, 0, 0, 0, 0, 64, 17, 0x7a, 0xcf, 0, 0, 0, 0, 255, 255, 255, 255];
        assert_eq!(packet[..20], ip);
        // 0xffff + 0xffff + 17 + 11 + 68 + 67 + 11 + 0x0102 + 0x0300 = 0x2049e
        assert_eq!(packet[20..28], [0, 68, 0, 67, 0, 11, 0xfb, 0x4f]);
        assert_eq!(packet[28..], [1, 2, 3]);
    }

    #[test]
    fn what_is_sent_can_be_read() {
        let packet = broadcast(67, 68, b"hello");
        assert_eq!(payload(&packet, 68), Some(&b"hello"[..]));
        assert_eq!(payload(&packet, 69), None);
        // Ethernet pads short frames.
        let padded = [&packet[..], &[0; 20]].concat();
        assert_eq!(payload(&padded, 68), Some(&b"hello"[..]));
    }

    #[test]
    fn the_sums_come_out_as_zero() {
        let packet = broadcast(68, 67, &[7; 301]);
        assert_eq!(checksum(&[&packet[..20]]), 0);
        let pseudo = [0, UDP, 1, 53];
        assert_eq!(checksum(&[&packet[12..20], &pseudo, &packet[20..]]), 0);
    }

    proptest! {
        #[test]
        fn any_payload_comes_out_as_it_went_in(
            bytes in vec(any::<u8>(), 0..1472),
            from_port in any::<u16>(),
            to_port in any::<u16>(),
        ) {
            let packet = broadcast(from_port, to_port, &bytes);
            prop_assert_eq!(payload(&packet, to_port), Some(bytes.as_slice()));
            let udp_len = (bytes.len() + UDP_LEN) as u16;
            let [high, low] = udp_len.to_be_bytes();
            let pseudo = [0, UDP, high, low];
            prop_assert_eq!(checksum(&[&packet[12..20], &pseudo, &packet[20..]]), 0);
        }

        /// With a header whose sum is right, so that all the rest is looked at.
        #[test]
        fn any_packet_is_survived(bytes in vec(any::<u8>(), 20..200), header_len in 5usize..16) {
            let mut bytes = bytes;
            let header_len = (header_len * 4).min(bytes.len() / 4 * 4);
            bytes[0] = 0x40 | (header_len / 4) as u8;
            bytes[6..8].fill(0);
            bytes[9] = UDP;
            bytes[10..12].fill(0);
            let sum = checksum(&[&bytes[..header_len]]);
            bytes[10..12].copy_from_slice(&sum.to_be_bytes());
            for port in [68, be16(&bytes, header_len + 2).unwrap_or(0)] {
                if let Some(found) = payload(&bytes, port) {
                    prop_assert!(found.len() + header_len + UDP_LEN <= bytes.len());
                }
            }
        }
    }

    #[test]
    fn broken_packets_give_nothing() {
        let good = broadcast(67, 68, b"hello");
        for len in 0..good.len() {
            assert_eq!(payload(&good[..len], 68), None, "{len}");
        }
        for at in 0..20 {
            let mut bad = good.clone();
            bad[at] ^= 0x55;
            assert_eq!(payload(&bad, 68), None, "byte {at}");
        }
        let mut long = good.clone();
        long[24..26].copy_from_slice(&[255, 255]);
        assert_eq!(payload(&long, 68), None);
        long[24..26].copy_from_slice(&[0, 3]);
        assert_eq!(payload(&long, 68), None);
    }
}
