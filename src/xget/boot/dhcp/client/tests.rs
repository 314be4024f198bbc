//! A client against servers that answer, refuse, fall silent and lie.

use super::*;
use crate::boot::dhcp::testing::{ADDRESS6, SERVER6, identity, reply, reply6};
use proptest::collection::vec;
use proptest::prelude::*;
use std::net::Ipv4Addr;

impl DhcpClient {
    fn lease(&self) -> Option<&Lease> {
        match &self.state {
            DhcpState::Bound { lease, .. } => Some(lease),
            _ => None,
        }
    }
}

const ANYBODY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const SERVER: &[u8] = &[54, 4, 10, 0, 0, 1];
const TWO_MINUTES: &[u8] = &[51, 4, 0, 0, 0, 120];

fn xid(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[4..8].try_into().unwrap())
}

fn message_type(bytes: &[u8]) -> u8 {
    assert_eq!(bytes[240..242], [53, 1]);
    bytes[242]
}

fn broadcast(effect: Option<DhcpEffect>) -> Vec<u8> {
    match effect {
        Some(DhcpEffect::Broadcast(bytes)) => bytes,
        other => panic!("{other:?}"),
    }
}

fn answer(to: &[u8], message_type: u8, address: [u8; 4]) -> Vec<u8> {
    reply(xid(to), message_type, address, &[SERVER, TWO_MINUTES])
}

/// A client bound to 10.0.0.9 at `now_ms`.
fn bound(now_ms: u64) -> DhcpClient {
    let mut client = DhcpClient::new(Family::V4, identity(), 42, now_ms);
    let discover = broadcast(client.tick(now_ms));
    let request = broadcast(client.receive(now_ms, ANYBODY, &answer(&discover, 2, [10, 0, 0, 9])));
    let bound = client.receive(now_ms, ANYBODY, &answer(&request, 5, [10, 0, 0, 9]));
    assert!(matches!(bound, Some(DhcpEffect::Bound(_))), "{bound:?}");
    client
}

#[test]
fn four_messages_to_an_address() {
    let mut client = DhcpClient::new(Family::V4, identity(), 42, 1000);
    assert_eq!(client.due_ms(), 1000);
    let discover = broadcast(client.tick(1000));
    assert_eq!(message_type(&discover), 1);
    assert_eq!(client.tick(1001), None);
    let request = broadcast(client.receive(1100, ANYBODY, &answer(&discover, 2, [10, 0, 0, 9])));
    assert_eq!((message_type(&request), xid(&request)), (3, xid(&discover)));
    let at = request.windows(6).position(|six| six == [50, 4, 10, 0, 0, 9]);
    assert!(at.is_some() && request.windows(6).any(|six| six == SERVER));
    let effect = client.receive(1200, ANYBODY, &answer(&request, 5, [10, 0, 0, 9]));
    let Some(DhcpEffect::Bound(lease)) = effect else { panic!("{effect:?}") };
    assert_eq!(lease.address, IpAddr::from([10, 0, 0, 9]));
    assert_eq!(client.due_ms(), 1200 + 60_000);
    assert_eq!(client.lease(), Some(&lease));
}

#[test]
fn silence_is_asked_into_less_and_less_often() {
    let mut client = DhcpClient::new(Family::V4, identity(), 42, 0);
    let mut pauses = Vec::new();
    let mut now_ms = 0;
    for _ in 0..9 {
        assert_eq!(message_type(&broadcast(client.tick(now_ms))), 1);
        pauses.push(client.due_ms() - now_ms);
        now_ms = client.due_ms();
    }
    for (sends, pause_ms) in pauses.iter().enumerate() {
        let middle_ms = (1000u64 << sends).min(30_000);
        let range = middle_ms - middle_ms / 8..=middle_ms + middle_ms / 8;
        assert!(range.contains(pause_ms), "{pauses:?}");
    }
    let late = broadcast(client.tick(now_ms));
    assert_eq!(u64::from(u16::from_be_bytes([late[8], late[9]])), now_ms / 1000);
}

#[test]
fn two_nodes_ask_at_different_times() {
    let due = |seed| {
        let mut client = DhcpClient::new(Family::V4, identity(), seed, 0);
        client.tick(0);
        (client.due_ms(), client.xid)
    };
    assert_ne!(due(2), due(4));
}

#[test]
fn a_refused_request_starts_anew_with_another_xid() {
    let mut client = DhcpClient::new(Family::V4, identity(), 42, 0);
    let discover = broadcast(client.tick(0));
    let request = broadcast(client.receive(0, ANYBODY, &answer(&discover, 2, [10, 0, 0, 9])));
    assert_eq!(client.receive(10, ANYBODY, &answer(&request, 6, [0; 4])), None);
    assert_eq!(client.due_ms(), 1010);
    let again = broadcast(client.tick(1010));
    assert_eq!(message_type(&again), 1);
    assert_ne!(xid(&again), xid(&discover));
}

#[test]
fn a_server_that_offers_and_falls_silent_is_left() {
    let mut client = DhcpClient::new(Family::V4, identity(), 42, 0);
    let discover = broadcast(client.tick(0));
    let mut last = broadcast(client.receive(0, ANYBODY, &answer(&discover, 2, [10, 0, 0, 9])));
    let mut requests = 0;
    while message_type(&last) == 3 {
        requests += 1;
        let now_ms = client.due_ms();
        last = broadcast(client.tick(now_ms));
    }
    assert_eq!(requests, REQUESTS_MAX);
    assert_eq!(message_type(&last), 1);
}

#[test]
fn an_ack_of_another_server_or_twice_changes_nothing() {
    let mut client = DhcpClient::new(Family::V4, identity(), 42, 0);
    let discover = broadcast(client.tick(0));
    let request = broadcast(client.receive(0, ANYBODY, &answer(&discover, 2, [10, 0, 0, 9])));
    let other = reply(xid(&request), 5, [10, 0, 0, 9], &[&[54, 4, 10, 0, 0, 2], TWO_MINUTES]);
    assert_eq!(client.receive(1, ANYBODY, &other), None);
    let ack = answer(&request, 5, [10, 0, 0, 9]);
    assert!(client.receive(2, ANYBODY, &ack).is_some());
    assert_eq!(client.receive(3, ANYBODY, &ack), None);
    assert_eq!(client.receive(4, ANYBODY, &answer(&request, 6, [0; 4])), None);
    assert!(client.lease().is_some());
}

#[test]
fn a_lease_of_two_minutes_is_renewed_in_time() {
    let mut client = bound(0);
    assert_eq!(client.tick(59_999), None);
    let effect = client.tick(60_000);
    let Some(DhcpEffect::Unicast(server, bytes)) = effect else { panic!("{effect:?}") };
    assert_eq!(server, IpAddr::from([10, 0, 0, 1]));
    assert_eq!(bytes[12..16], [10, 0, 0, 9]);
    assert_eq!(bytes[10..12], [0, 0], "a node with an address needs no broadcast");
    let effect = client.receive(60_100, ANYBODY, &answer(&bytes, 5, [10, 0, 0, 9]));
    assert!(matches!(effect, Some(DhcpEffect::Renewed(_))));
    assert_eq!(client.due_ms(), 120_100);
}

#[test]
fn an_unrenewed_lease_is_asked_of_everybody_and_then_lost() {
    let mut client = bound(0);
    let (mut unicasts, mut rebinds) = (0, 0);
    let lost_ms = loop {
        let now_ms = client.due_ms();
        match client.tick(now_ms).unwrap() {
            DhcpEffect::Unicast(..) => unicasts += 1,
            DhcpEffect::Rebind(bytes) => {
                assert!(now_ms >= 105_000);
                assert_eq!(bytes[12..16], [10, 0, 0, 9]);
                rebinds += 1;
            }
            DhcpEffect::Lost(_) => break now_ms,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(lost_ms, 120_000);
    assert!(unicasts >= 3 && rebinds >= 2, "{unicasts} {rebinds}");
    assert_eq!(message_type(&broadcast(client.tick(lost_ms))), 1);
}

#[test]
fn renewal_refused_or_changed_loses_the_address() {
    for (kind, address) in [(6, [0; 4]), (5, [10, 0, 0, 77])] {
        let mut client = bound(0);
        let Some(DhcpEffect::Unicast(_, bytes)) = client.tick(60_000) else { panic!() };
        let effect = client.receive(60_001, ANYBODY, &answer(&bytes, kind, address));
        let Some(DhcpEffect::Lost(why)) = effect else { panic!("{effect:?}") };
        assert!(why.ends_with("does not say why") || why.ends_with("10.0.0.77 instead"), "{why}");
        assert_eq!(client.lease(), None);
    }
}

#[test]
fn a_lease_is_given_back_once() {
    let mut client = DhcpClient::new(Family::V4, identity(), 42, 0);
    assert_eq!(client.release(0), None);
    let mut client = bound(0);
    let (server, bytes) = client.release(5000).unwrap();
    assert_eq!(server, IpAddr::from([10, 0, 0, 1]));
    assert_eq!((message_type(&bytes), &bytes[12..16]), (7, &[10, 0, 0, 9][..]));
    assert_eq!(client.lease(), None);
    assert_eq!(client.release(5000), None);
    let now_ms = client.due_ms();
    assert_eq!(message_type(&broadcast(client.tick(now_ms))), 1, "a new one can be asked for");
    let (mut client, _) = bound6();
    assert_eq!(client.release(5000).unwrap().1[0], 8);
}

#[test]
fn a_lease_for_ever_and_a_lease_of_nothing() {
    let mut client = DhcpClient::new(Family::V4, identity(), 42, 0);
    let discover = broadcast(client.tick(0));
    let for_ever: &[u8] = &[51, 4, 255, 255, 255, 255];
    let offer = reply(xid(&discover), 2, [10, 0, 0, 9], &[SERVER, for_ever]);
    let request = broadcast(client.receive(0, ANYBODY, &offer));
    client.receive(0, ANYBODY, &reply(xid(&request), 5, [10, 0, 0, 9], &[SERVER, for_ever]));
    assert_eq!(client.due_ms(), u64::MAX);
    let nothing: &[u8] = &[51, 4, 0, 0, 0, 0];
    let mut client = DhcpClient::new(Family::V4, identity(), 42, 0);
    let discover = broadcast(client.tick(0));
    let request = broadcast(client.receive(
        0,
        ANYBODY,
        &reply(xid(&discover), 2, [10, 0, 0, 9], &[SERVER, nothing]),
    ));
    client.receive(0, ANYBODY, &reply(xid(&request), 5, [10, 0, 0, 9], &[SERVER, nothing]));
    assert!(matches!(client.tick(0), Some(DhcpEffect::Lost(_))));
}

fn xid6(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().unwrap()) & 0x00ff_ffff
}

const ADVERTISE: u8 = 2;
const REPLY: u8 = 7;

/// A DHCPv6 client that has just asked for the first time, and its question.
fn solicited(family: Family) -> (DhcpClient, u64, Vec<u8>) {
    let mut client = DhcpClient::new(family, identity(), 0x1234_5678, 0);
    let now_ms = client.due_ms();
    assert!(now_ms < SOLICIT_DELAY_MS);
    assert!(now_ms == 0 || client.tick(now_ms - 1).is_none());
    let solicit = broadcast(client.tick(now_ms));
    (client, now_ms, solicit)
}

fn receive6(client: &mut DhcpClient, now_ms: u64, bytes: &[u8]) -> Option<DhcpEffect> {
    client.receive(now_ms, SERVER6.parse().unwrap(), bytes)
}

/// Bound by a rapid commit; T1 is 60 s, T2 96 s, the end 120 s.
fn bound6() -> (DhcpClient, u64) {
    let (mut client, now_ms, solicit) = solicited(Family::V6);
    let reply = reply6(xid6(&solicit), REPLY, Some(120), &[]);
    let effect = receive6(&mut client, now_ms, &reply);
    let Some(DhcpEffect::Bound(lease)) = effect else { panic!("{effect:?}") };
    assert_eq!(lease.address, ADDRESS6.parse::<IpAddr>().unwrap());
    (client, now_ms)
}

#[test]
fn the_preferred_server_is_waited_for_until_the_first_repetition() {
    let (mut client, now_ms, solicit) = solicited(Family::V6);
    let advertise = |preference: &[u8]| {
        reply6(xid6(&solicit), ADVERTISE, Some(120), &[&[0, 7, 0, 1], preference])
    };
    assert_eq!(receive6(&mut client, now_ms, &advertise(&[1])), None);
    assert_eq!(receive6(&mut client, now_ms, &advertise(&[9])), None);
    assert_eq!(receive6(&mut client, now_ms, &advertise(&[5])), None);
    assert_eq!(client.best.as_ref().map(|(_, preference)| *preference), Some(9));
    let now_ms = client.due_ms();
    let request = broadcast(client.tick(now_ms));
    assert_eq!(request[0], 3);
    let bound = receive6(&mut client, now_ms, &reply6(xid6(&request), REPLY, Some(120), &[]));
    assert!(matches!(bound, Some(DhcpEffect::Bound(_))), "{bound:?}");
    // Who is preferred above all is asked at once, and so is who comes late.
    let (mut client, now_ms, solicit) = solicited(Family::V6);
    let at_once = reply6(xid6(&solicit), ADVERTISE, Some(120), &[&[0, 7, 0, 1, 255]]);
    assert_eq!(broadcast(receive6(&mut client, now_ms, &at_once))[0], 3);
    let (mut client, _, _) = solicited(Family::V6);
    let now_ms = client.due_ms();
    let again = broadcast(client.tick(now_ms));
    let late = reply6(xid6(&again), ADVERTISE, Some(120), &[]);
    assert_eq!(broadcast(receive6(&mut client, now_ms, &late))[0], 3);
}

#[test]
fn a_lease_of_ipv6_is_renewed_rebound_and_lost() {
    let (mut client, at_ms) = bound6();
    assert_eq!(client.due_ms(), at_ms + 60_000);
    let (mut kinds, mut now_ms) = (Vec::new(), 0);
    while kinds.last() != Some(&0) {
        now_ms = client.due_ms();
        kinds.push(match client.tick(now_ms).unwrap() {
            DhcpEffect::Rebind(bytes) => bytes[0],
            DhcpEffect::Lost(_) => 0,
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(now_ms, at_ms + 120_000);
    assert!(kinds.is_sorted_by_key(|kind| [5, 6, 0].iter().position(|k| k == kind)), "{kinds:?}");
    assert!(kinds.contains(&5) && kinds.contains(&6), "{kinds:?}");
    let (mut client, at_ms) = bound6();
    let Some(DhcpEffect::Rebind(renew)) = client.tick(at_ms + 60_000) else { panic!() };
    let reply = reply6(xid6(&renew), REPLY, Some(120), &[]);
    let effect = receive6(&mut client, at_ms + 60_100, &reply);
    assert!(matches!(effect, Some(DhcpEffect::Renewed(_))), "{effect:?}");
    let Some(DhcpEffect::Rebind(renew)) = client.tick(at_ms + 120_100) else { panic!() };
    let gone = reply6(xid6(&renew), REPLY, Some(0), &[b"\0\x0d\0\x06\0\x03gone"]);
    let effect = receive6(&mut client, at_ms + 120_200, &gone);
    let Some(DhcpEffect::Lost(why)) = effect else { panic!("{effect:?}") };
    assert!(why.ends_with("gone"), "{why}");
}

#[test]
fn an_address_in_use_is_declined_and_another_asked_for() {
    let (mut client, at_ms) = bound6();
    let decline = broadcast(client.decline(at_ms + 1500));
    assert_eq!(decline[0], 9);
    assert_eq!(client.decline(at_ms + 1500), None);
    let now_ms = client.due_ms();
    assert_eq!(broadcast(client.tick(now_ms))[0], 1);
}

#[test]
fn information_comes_without_an_address_and_for_good() {
    let (mut client, now_ms, question) = solicited(Family::Inform6);
    assert_eq!(question[0], 11);
    let reply = reply6(xid6(&question), REPLY, None, &[b"\0\x3b\0\x09xget://n1"]);
    let effect = receive6(&mut client, now_ms, &reply);
    let Some(DhcpEffect::Bound(lease)) = effect else { panic!("{effect:?}") };
    assert!(lease.address.is_unspecified());
    assert_eq!((lease.master.as_deref(), client.due_ms()), (Some("n1"), u64::MAX));
}

#[test]
fn a_server_without_addresses_is_asked_again() {
    let (mut client, now_ms, solicit) = solicited(Family::V6);
    let none = reply6(xid6(&solicit), ADVERTISE, None, &[]);
    assert_eq!(receive6(&mut client, now_ms, &none), None);
    assert!(client.is_refused);
    let now_ms = client.due_ms();
    assert_eq!(broadcast(client.tick(now_ms))[0], 1);
}

proptest! {
    #[test]
    fn a_wire_that_loses_much_delays_the_lease_and_no_more(
        seed in any::<u64>(),
        losses in vec(any::<bool>(), 0..12),
    ) {
        let mut losses = losses.into_iter();
        let mut client = DhcpClient::new(Family::V4, identity(), seed, 0);
        let mut now_ms = 0;
        while client.lease().is_none() {
            prop_assert!(now_ms < 600_000, "not bound after ten minutes");
            let mut effect = client.tick(now_ms);
            while let Some(DhcpEffect::Broadcast(bytes)) = effect {
                let kind = if message_type(&bytes) == 1 { 2 } else { 5 };
                let is_lost = losses.next().unwrap_or(false);
                effect = (!is_lost)
                    .then(|| client.receive(now_ms, ANYBODY, &answer(&bytes, kind, [10, 0, 0, 9])))
                    .flatten();
            }
            now_ms = client.due_ms();
        }
    }
}
