//! What has to hold of any message, for `fuzz/`.
//!
//! A message is parsed whoever it is for, and then given to a client that waits
//! for it: its transaction number and hardware address are put in, because
//! nobody on the wire has to guess them.

use super::client::{DhcpClient, DhcpEffect, Family};
use super::lease::{DhcpReply, Hardware, Identity, Lease};
use super::message;
use super::options::{ROUTES_MAX, TEXT_LEN_MAX};
use std::net::{Ipv4Addr, Ipv6Addr};

const HARDWARE: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
/// Option 53 of a DHCPACK and of a DHCPOFFER.
const ACK: [u8; 3] = [53, 1, 5];
const OFFER: [u8; 3] = [53, 1, 2];
/// The client as DHCPv6 names it, by the link's address; some server; an answer.
const CLIENT_ID: [u8; 14] = [0, 1, 0, 10, 0, 3, 0, 1, 0x52, 0x54, 0, 0x12, 0x34, 0x56];
const SERVER_ID: [u8; 8] = [0, 2, 0, 4, 0, 3, 0, 1];
const REPLY: u8 = 7;
/// Answers and deadlines that one client is driven through.
const STEPS: usize = 16;

/// # Panics
/// A lease is beyond its bounds, or the client's time runs backwards.
pub fn dhcp(bytes: &[u8]) {
    match message::parse(bytes) {
        Some(DhcpReply::Offer(lease, _) | DhcpReply::Ack(lease)) => check(&lease),
        Some(DhcpReply::Nak(words)) => assert!(words.len() <= 3 * TEXT_LEN_MAX),
        None => return,
    }
    let mut message = bytes.to_vec();
    message[28..34].copy_from_slice(&HARDWARE);
    let mut offer = message.clone();
    if let Some(at) = offer.windows(3).position(|three| three == ACK) {
        offer[at..at + 3].copy_from_slice(&OFFER);
    }
    drive(&mut offer, &mut message);
}

/// Options of DHCPv6, after a byte that chooses the message's kind. Who a message
/// is for and from is put in before them.
///
/// # Panics
/// A lease is beyond its bounds, or the client's time runs backwards.
pub fn dhcp6(bytes: &[u8]) {
    let Some((kind, options)) = bytes.split_first() else { return };
    for family in [Family::V6, Family::Inform6] {
        let (mut client, mut now_ms) = (DhcpClient::new(family, identity(), 1, 0), 0);
        let mut message = Vec::new();
        for step in 0..STEPS {
            now_ms = client.due_ms();
            let asked = client.tick(now_ms);
            if let Some(DhcpEffect::Broadcast(asked) | DhcpEffect::Rebind(asked)) = &asked {
                let kind = if step == 0 { *kind } else { REPLY };
                message = [&[kind], &asked[1..4], &CLIENT_ID, &SERVER_ID, options].concat();
            }
            let effect = client.receive(now_ms, Ipv6Addr::LOCALHOST.into(), &message);
            if let Some(DhcpEffect::Bound(lease) | DhcpEffect::Renewed(lease)) = &effect {
                check(lease);
                assert_eq!(lease.address.is_unspecified(), family == Family::Inform6);
            }
            assert!(client.due_ms() >= now_ms, "a deadline in the past");
            if client.due_ms() == u64::MAX {
                break;
            }
        }
        client.decline(now_ms);
    }
}

fn identity() -> Identity {
    let hardware = Hardware { arp_type: 1, address: HARDWARE.into() };
    Identity { hardware, uuid: None, architecture: 7, class: "xget".into() }
}

/// A client that is offered a lease and then answered with `message` for ever.
fn drive(offer: &mut [u8], message: &mut [u8]) {
    let (mut client, mut now_ms) = (DhcpClient::new(Family::V4, identity(), 1, 0), 0);
    for step in 0..STEPS {
        let answer = if step == 0 { &mut *offer } else { &mut *message };
        let asked = client.tick(now_ms);
        note_xid(asked.as_ref(), answer);
        let effect = client.receive(now_ms, Ipv4Addr::UNSPECIFIED.into(), answer);
        note_xid(effect.as_ref(), message);
        if let Some(DhcpEffect::Bound(lease) | DhcpEffect::Renewed(lease)) = &effect {
            check(lease);
        }
        assert!(client.due_ms() >= now_ms, "a deadline in the past");
        if client.due_ms() == u64::MAX {
            return;
        }
        now_ms = client.due_ms();
    }
}

/// Makes `answer` one to what the client asks.
fn note_xid(effect: Option<&DhcpEffect>, answer: &mut [u8]) {
    if let Some(
        DhcpEffect::Broadcast(asked) | DhcpEffect::Unicast(_, asked) | DhcpEffect::Rebind(asked),
    ) = effect
    {
        answer[4..8].copy_from_slice(&asked[4..8]);
    }
}

fn check(lease: &Lease) {
    assert!(lease.prefix_len <= 128 && lease.routes.iter().all(|route| route.prefix_len <= 32));
    assert!(!lease.address.is_multicast() && lease.dns.len() <= 8);
    assert!(lease.address.is_ipv6() || !lease.address.is_unspecified() && lease.prefix_len <= 32);
    let times = lease.times;
    assert!(times.renew_s <= times.rebind_s && times.rebind_s <= times.lease_s);
    assert!(lease.routes.len() <= ROUTES_MAX);
    assert!(lease.master_guesses.len() <= 3);
}
