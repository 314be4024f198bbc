//! One interface's DHCP client as a state machine: packets and the time in,
//! effects out.
//!
//! RFC 2131, figure 5, without INIT-REBOOT (a diskless node remembers
//! nothing) and without DHCPDECLINE. Owns no socket and no clock.

use super::message::{self, DhcpMessageType, DhcpQuery, DhcpReply, Identity, Lease};
use std::net::Ipv4Addr;

/// First pause before the same question again; doubled each time (RFC 2131,
/// 4.1, starts at 4 s: too slow where ports forward at once).
const RESEND_FIRST_MS: u64 = 1_000;
const RESEND_MAX_MS: u64 = 30_000;
/// Requests for one offer before asking everybody again.
const REQUESTS_MAX: u32 = 4;
/// The least pause while renewing. RFC 2131, 4.4.5, says 60 s, which leaves
/// one try in a lease of two minutes.
const RENEW_PAUSE_MS: u64 = 5_000;
/// After a refusal: a server that refuses is not asked at once again.
const NAK_PAUSE_MS: u64 = 1_000;

#[derive(Clone, Debug, PartialEq, Eq)]
enum DhcpState {
    Selecting,
    Requesting(Lease),
    /// Bound since `at_ms`; it renews itself when the time comes.
    Bound {
        lease: Lease,
        at_ms: u64,
    },
}

/// What the owner of the client has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DhcpEffect {
    /// From 0.0.0.0 to 255.255.255.255, the interface may have no address.
    Broadcast(Vec<u8>),
    /// From the lease's address to this server.
    Unicast(Ipv4Addr, Vec<u8>),
    /// From the lease's address to everybody.
    Rebind(Vec<u8>),
    /// There is an address.
    Bound(Lease),
    /// The lease goes on.
    Renewed(Lease),
    /// The address must not be used any more; the client starts anew.
    Lost(String),
}

/// One interface's client.
#[derive(Clone, Debug)]
pub struct DhcpClient {
    identity: Identity,
    state: DhcpState,
    xid: u32,
    random: u64,
    /// When this exchange began, for `secs`.
    since_ms: u64,
    /// Sends of the present question.
    sends: u32,
    due_ms: u64,
}

impl DhcpClient {
    /// Will send its first question at once. `seed` makes nodes differ.
    pub fn new(identity: Identity, seed: u64, now_ms: u64) -> DhcpClient {
        let mut client = DhcpClient {
            identity,
            state: DhcpState::Selecting,
            xid: 0,
            random: seed | 1,
            since_ms: now_ms,
            sends: 0,
            due_ms: now_ms,
        };
        client.restart(now_ms, 0);
        client
    }

    /// When `tick` is next wanted.
    pub fn due_ms(&self) -> u64 {
        self.due_ms
    }

    /// How many times the present question was asked.
    pub fn sends(&self) -> u32 {
        self.sends
    }

    fn random(&mut self) -> u64 {
        // xorshift64: for spreading, not for secrets.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn restart(&mut self, now_ms: u64, pause_ms: u64) {
        self.state = DhcpState::Selecting;
        self.xid = (self.random() >> 16) as u32;
        self.since_ms = now_ms;
        self.sends = 0;
        self.due_ms = now_ms + pause_ms;
    }

    /// To be called when `due_ms` has come; earlier is harmless.
    pub fn tick(&mut self, now_ms: u64) -> Option<DhcpEffect> {
        if now_ms < self.due_ms {
            return None;
        }
        match &self.state {
            DhcpState::Requesting(_) if self.sends >= REQUESTS_MAX => {
                self.restart(now_ms, 0);
                self.ask(now_ms)
            }
            DhcpState::Selecting | DhcpState::Requesting(_) => self.ask(now_ms),
            DhcpState::Bound { lease, at_ms } => {
                let age_ms = now_ms.saturating_sub(*at_ms);
                let lease = lease.clone();
                self.renew(now_ms, age_ms, &lease)
            }
        }
    }

    fn ask(&mut self, now_ms: u64) -> Option<DhcpEffect> {
        let pause_ms = (RESEND_FIRST_MS << self.sends.min(10)).min(RESEND_MAX_MS);
        let jitter_ms = self.random() % (pause_ms / 4);
        self.sends += 1;
        self.due_ms = now_ms + pause_ms - pause_ms / 8 + jitter_ms;
        let mut query = self.query(now_ms, DhcpMessageType::Discover);
        if let DhcpState::Requesting(offer) = &self.state {
            query.message_type = DhcpMessageType::Request;
            query.requested = Some(offer.address);
            query.server = Some(offer.server);
        }
        Some(DhcpEffect::Broadcast(message::encode(&query, &self.identity)))
    }

    fn query(&self, now_ms: u64, message_type: DhcpMessageType) -> DhcpQuery {
        let secs = (now_ms.saturating_sub(self.since_ms) / 1000).min(u64::from(u16::MAX)) as u16;
        DhcpQuery { message_type, xid: self.xid, secs, client: None, requested: None, server: None }
    }

    /// Asks the server from T1 on, everybody from T2 on, and gives the
    /// address up at the end (RFC 2131, 4.4.5).
    fn renew(&mut self, now_ms: u64, age_ms: u64, lease: &Lease) -> Option<DhcpEffect> {
        let end_ms = u64::from(lease.times.lease_s) * 1000;
        let rebind_ms = u64::from(lease.times.rebind_s) * 1000;
        if age_ms >= end_ms {
            self.restart(now_ms, 0);
            return Some(DhcpEffect::Lost(format!("the lease of {} ran out", lease.address)));
        }
        if self.sends == 0 {
            self.since_ms = now_ms;
            self.xid = (self.random() >> 16) as u32;
        }
        self.sends += 1;
        let next_ms = if age_ms < rebind_ms { rebind_ms } else { end_ms };
        let left_ms = next_ms - age_ms;
        self.due_ms = now_ms + (left_ms / 2).max(RENEW_PAUSE_MS).min(left_ms);
        let mut query = self.query(now_ms, DhcpMessageType::Request);
        query.client = Some(lease.address);
        let bytes = message::encode(&query, &self.identity);
        if age_ms < rebind_ms {
            Some(DhcpEffect::Unicast(lease.server, bytes))
        } else {
            Some(DhcpEffect::Rebind(bytes))
        }
    }

    /// A payload that came to the client's port.
    pub fn receive(&mut self, now_ms: u64, bytes: &[u8]) -> Option<DhcpEffect> {
        let reply = message::decode(bytes, self.xid, &self.identity.hardware)?;
        match (&self.state, reply) {
            (DhcpState::Selecting, DhcpReply::Offer(offer)) => {
                self.state = DhcpState::Requesting(offer);
                self.sends = 0;
                self.due_ms = now_ms;
                self.tick(now_ms)
            }
            (DhcpState::Requesting(offer), DhcpReply::Ack(lease))
                if lease.server == offer.server =>
            {
                self.bind(now_ms, lease.clone());
                Some(DhcpEffect::Bound(lease))
            }
            (DhcpState::Requesting(offer), DhcpReply::Nak(_)) => {
                log::warn!("dhcp: {} refuses {}", offer.server, offer.address);
                self.restart(now_ms, NAK_PAUSE_MS);
                None
            }
            // Unasked answers (sends is 0) are old or forged.
            (DhcpState::Bound { lease: held, .. }, reply) if self.sends > 0 => {
                let address = held.address;
                self.renewed(now_ms, address, reply)
            }
            _ => None,
        }
    }

    fn renewed(&mut self, now_ms: u64, held: Ipv4Addr, reply: DhcpReply) -> Option<DhcpEffect> {
        match reply {
            DhcpReply::Ack(lease) if lease.address == held => {
                self.bind(now_ms, lease.clone());
                Some(DhcpEffect::Renewed(lease))
            }
            DhcpReply::Ack(lease) => {
                self.restart(now_ms, 0);
                Some(DhcpEffect::Lost(format!("renewing {held} gave {} instead", lease.address)))
            }
            DhcpReply::Nak(why) => {
                self.restart(now_ms, NAK_PAUSE_MS);
                let why = if why.is_empty() { "it gives no reason" } else { &why };
                Some(DhcpEffect::Lost(format!("the server no longer grants {held}: {why}")))
            }
            DhcpReply::Offer(_) => None,
        }
    }

    /// Gives the lease back: a message for its server, to which there is no
    /// answer (RFC 2131, 4.4.6). `None` where there is no lease.
    pub fn release(&mut self, now_ms: u64) -> Option<(Ipv4Addr, Vec<u8>)> {
        let DhcpState::Bound { lease, .. } = &self.state else { return None };
        let lease = lease.clone();
        self.restart(now_ms, 0);
        let mut query = self.query(now_ms, DhcpMessageType::Release);
        query.client = Some(lease.address);
        query.server = Some(lease.server);
        Some((lease.server, message::encode(&query, &self.identity)))
    }

    fn bind(&mut self, now_ms: u64, lease: Lease) {
        // 2^32 - 1 is for ever (RFC 2131, 3.3).
        let renew_ms = u64::from(lease.times.renew_s) * 1000;
        self.due_ms = if lease.times.lease_s == u32::MAX { u64::MAX } else { now_ms + renew_ms };
        self.sends = 0;
        self.state = DhcpState::Bound { lease, at_ms: now_ms };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::dhcp::testing::{identity, reply};
    use proptest::collection::vec;
    use proptest::prelude::*;

    impl DhcpClient {
        fn lease(&self) -> Option<&Lease> {
            match &self.state {
                DhcpState::Bound { lease, .. } => Some(lease),
                _ => None,
            }
        }
    }

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
        let mut client = DhcpClient::new(identity(), 42, now_ms);
        let discover = broadcast(client.tick(now_ms));
        let request = broadcast(client.receive(now_ms, &answer(&discover, 2, [10, 0, 0, 9])));
        let bound = client.receive(now_ms, &answer(&request, 5, [10, 0, 0, 9]));
        assert!(matches!(bound, Some(DhcpEffect::Bound(_))), "{bound:?}");
        client
    }

    #[test]
    fn four_messages_to_an_address() {
        let mut client = DhcpClient::new(identity(), 42, 1000);
        assert_eq!(client.due_ms(), 1000);
        let discover = broadcast(client.tick(1000));
        assert_eq!(message_type(&discover), 1);
        assert_eq!(client.tick(1001), None);
        let request = broadcast(client.receive(1100, &answer(&discover, 2, [10, 0, 0, 9])));
        assert_eq!((message_type(&request), xid(&request)), (3, xid(&discover)));
        let at = request.windows(6).position(|six| six == [50, 4, 10, 0, 0, 9]);
        assert!(at.is_some() && request.windows(6).any(|six| six == SERVER));
        let effect = client.receive(1200, &answer(&request, 5, [10, 0, 0, 9]));
        let Some(DhcpEffect::Bound(lease)) = effect else { panic!("{effect:?}") };
        assert_eq!(lease.address, Ipv4Addr::new(10, 0, 0, 9));
        assert_eq!(client.due_ms(), 1200 + 60_000);
        assert_eq!(client.lease(), Some(&lease));
    }

    #[test]
    fn silence_is_asked_into_less_and_less_often() {
        let mut client = DhcpClient::new(identity(), 42, 0);
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
            let mut client = DhcpClient::new(identity(), seed, 0);
            client.tick(0);
            (client.due_ms(), client.xid)
        };
        assert_ne!(due(2), due(4));
    }

    #[test]
    fn a_refused_request_starts_anew_with_another_xid() {
        let mut client = DhcpClient::new(identity(), 42, 0);
        let discover = broadcast(client.tick(0));
        let request = broadcast(client.receive(0, &answer(&discover, 2, [10, 0, 0, 9])));
        assert_eq!(client.receive(10, &answer(&request, 6, [0; 4])), None);
        assert_eq!(client.due_ms(), 1010);
        let again = broadcast(client.tick(1010));
        assert_eq!(message_type(&again), 1);
        assert_ne!(xid(&again), xid(&discover));
    }

    #[test]
    fn a_server_that_offers_and_falls_silent_is_left() {
        let mut client = DhcpClient::new(identity(), 42, 0);
        let discover = broadcast(client.tick(0));
        let mut last = broadcast(client.receive(0, &answer(&discover, 2, [10, 0, 0, 9])));
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
        let mut client = DhcpClient::new(identity(), 42, 0);
        let discover = broadcast(client.tick(0));
        let request = broadcast(client.receive(0, &answer(&discover, 2, [10, 0, 0, 9])));
        let other = reply(xid(&request), 5, [10, 0, 0, 9], &[&[54, 4, 10, 0, 0, 2], TWO_MINUTES]);
        assert_eq!(client.receive(1, &other), None);
        let ack = answer(&request, 5, [10, 0, 0, 9]);
        assert!(client.receive(2, &ack).is_some());
        assert_eq!(client.receive(3, &ack), None);
        assert_eq!(client.receive(4, &answer(&request, 6, [0; 4])), None);
        assert!(client.lease().is_some());
    }

    #[test]
    fn a_lease_of_two_minutes_is_renewed_in_time() {
        let mut client = bound(0);
        assert_eq!(client.tick(59_999), None);
        let effect = client.tick(60_000);
        let Some(DhcpEffect::Unicast(server, bytes)) = effect else { panic!("{effect:?}") };
        assert_eq!(server, Ipv4Addr::new(10, 0, 0, 1));
        assert_eq!(bytes[12..16], [10, 0, 0, 9]);
        assert_eq!(bytes[10..12], [0, 0], "a node with an address needs no broadcast");
        let effect = client.receive(60_100, &answer(&bytes, 5, [10, 0, 0, 9]));
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
            let effect = client.receive(60_001, &answer(&bytes, kind, address));
            let Some(DhcpEffect::Lost(why)) = effect else { panic!("{effect:?}") };
            assert!(
                why.ends_with("gives no reason") || why.ends_with("10.0.0.77 instead"),
                "{why}"
            );
            assert_eq!(client.lease(), None);
        }
    }

    #[test]
    fn a_lease_is_given_back_once() {
        let mut client = DhcpClient::new(identity(), 42, 0);
        assert_eq!(client.release(0), None);
        let mut client = bound(0);
        let (server, bytes) = client.release(5000).unwrap();
        assert_eq!(server, Ipv4Addr::new(10, 0, 0, 1));
        assert_eq!((message_type(&bytes), &bytes[12..16]), (7, &[10, 0, 0, 9][..]));
        assert_eq!(client.lease(), None);
        assert_eq!(client.release(5000), None);
        assert_eq!(message_type(&broadcast(client.tick(5000))), 1, "a new one can be asked for");
    }

    #[test]
    fn a_lease_for_ever_and_a_lease_of_nothing() {
        let mut client = DhcpClient::new(identity(), 42, 0);
        let discover = broadcast(client.tick(0));
        let for_ever: &[u8] = &[51, 4, 255, 255, 255, 255];
        let offer = reply(xid(&discover), 2, [10, 0, 0, 9], &[SERVER, for_ever]);
        let request = broadcast(client.receive(0, &offer));
        client.receive(0, &reply(xid(&request), 5, [10, 0, 0, 9], &[SERVER, for_ever]));
        assert_eq!(client.due_ms(), u64::MAX);
        let nothing: &[u8] = &[51, 4, 0, 0, 0, 0];
        let mut client = DhcpClient::new(identity(), 42, 0);
        let discover = broadcast(client.tick(0));
        let request = broadcast(
            client.receive(0, &reply(xid(&discover), 2, [10, 0, 0, 9], &[SERVER, nothing])),
        );
        client.receive(0, &reply(xid(&request), 5, [10, 0, 0, 9], &[SERVER, nothing]));
        assert!(matches!(client.tick(0), Some(DhcpEffect::Lost(_))));
    }

    proptest! {
        #[test]
        fn a_wire_that_loses_much_delays_the_lease_and_no_more(
            seed in any::<u64>(),
            losses in vec(any::<bool>(), 0..12),
        ) {
            let mut losses = losses.into_iter();
            let mut client = DhcpClient::new(identity(), seed, 0);
            let mut now_ms = 0;
            while client.lease().is_none() {
                prop_assert!(now_ms < 600_000, "not bound after ten minutes");
                let mut effect = client.tick(now_ms);
                while let Some(DhcpEffect::Broadcast(bytes)) = effect {
                    let kind = if message_type(&bytes) == 1 { 2 } else { 5 };
                    let is_lost = losses.next().unwrap_or(false);
                    effect = (!is_lost)
                        .then(|| client.receive(now_ms, &answer(&bytes, kind, [10, 0, 0, 9])))
                        .flatten();
                }
                now_ms = client.due_ms();
            }
        }
    }
}
