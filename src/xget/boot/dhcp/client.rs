//! One interface's DHCP client as a state machine: packets and the time in,
//! effects out. One for both versions, which differ in their messages.
//!
//! RFC 2131, figure 5, without INIT-REBOOT (a diskless node remembers
//! nothing) and without DHCPDECLINE. RFC 8415, 18.2, without Confirm for the
//! same reason. Owns no socket and no clock.

use super::lease::{DhcpQuery, DhcpReply, Identity, Lease, Question};
use super::{message, message6};
use std::net::IpAddr;

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
/// The first question waits a random part of this (RFC 8415, 18.2.1).
const SOLICIT_DELAY_MS: u64 = 1_000;

/// Which messages are spoken, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
    /// DHCPv6 without an address: the routers' networks have another way to one.
    Inform6,
}

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
    Unicast(IpAddr, Vec<u8>),
    /// From an address of this interface to everybody.
    Rebind(Vec<u8>),
    /// There is an address, or what was asked for in its place.
    Bound(Lease),
    /// The lease goes on.
    Renewed(Lease),
    /// The address must not be used any more; the client starts anew.
    Lost(String),
}

/// One interface's client.
#[derive(Debug)]
pub struct DhcpClient {
    family: Family,
    identity: Identity,
    state: DhcpState,
    /// The best offer so far, and the server's preference.
    best: Option<(Lease, u8)>,
    /// A server's refusal was said; it may come with every question.
    is_refused: bool,
    xid: u32,
    random: u64,
    /// When this exchange began, for `secs`.
    since_ms: u64,
    /// Sends of the present question.
    sends: u32,
    due_ms: u64,
}

impl DhcpClient {
    /// Will send its first question at once, or soon. `seed` makes nodes differ.
    pub fn new(family: Family, identity: Identity, seed: u64, now_ms: u64) -> DhcpClient {
        let mut client = DhcpClient {
            family,
            identity,
            state: DhcpState::Selecting,
            best: None,
            is_refused: false,
            xid: 0,
            random: seed | 1,
            since_ms: now_ms,
            sends: 0,
            due_ms: now_ms,
        };
        let delay_ms = if family == Family::V4 { 0 } else { seed % SOLICIT_DELAY_MS };
        client.restart(now_ms, delay_ms);
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

    /// DHCPv6 has room for three bytes of it.
    fn new_xid(&mut self) -> u32 {
        let xid = (self.random() >> 16) as u32;
        if self.family == Family::V4 { xid } else { xid >> 8 }
    }

    fn restart(&mut self, now_ms: u64, pause_ms: u64) {
        self.state = DhcpState::Selecting;
        self.best = None;
        self.xid = self.new_xid();
        self.since_ms = now_ms;
        self.sends = 0;
        self.due_ms = now_ms + pause_ms;
    }

    /// To be called when `due_ms` has come; earlier is harmless.
    pub fn tick(&mut self, now_ms: u64) -> Option<DhcpEffect> {
        if now_ms < self.due_ms {
            return None;
        }
        if let Some((offer, _)) = self.best.take() {
            self.state = DhcpState::Requesting(offer);
            self.sends = 0;
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
        let (question, lease) = match &self.state {
            DhcpState::Requesting(offer) => (Question::Request, Some(offer)),
            _ if self.family == Family::Inform6 => (Question::Inform, None),
            _ => (Question::Discover, None),
        };
        Some(DhcpEffect::Broadcast(self.message(now_ms, question, lease)))
    }

    fn message(&self, now_ms: u64, question: Question, lease: Option<&Lease>) -> Vec<u8> {
        let elapsed_ms = now_ms.saturating_sub(self.since_ms);
        let query = DhcpQuery { question, xid: self.xid, elapsed_ms, lease };
        match self.family {
            Family::V4 => message::encode(&query, &self.identity),
            _ => message6::encode(&query, &self.identity),
        }
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
            self.xid = self.new_xid();
        }
        self.sends += 1;
        let next_ms = if age_ms < rebind_ms { rebind_ms } else { end_ms };
        let left_ms = next_ms - age_ms;
        self.due_ms = now_ms + (left_ms / 2).max(RENEW_PAUSE_MS).min(left_ms);
        let is_rebind = age_ms >= rebind_ms;
        let question = if is_rebind { Question::Rebind } else { Question::Renew };
        let bytes = self.message(now_ms, question, Some(lease));
        // DHCPv6 servers are all asked in one way (RFC 8415, 18.2).
        if is_rebind || self.family != Family::V4 {
            Some(DhcpEffect::Rebind(bytes))
        } else {
            Some(DhcpEffect::Unicast(lease.server, bytes))
        }
    }

    /// Somebody else has the address (RFC 8415, 18.2.8): the server hears it
    /// once, and another one is asked for.
    pub fn decline(&mut self, now_ms: u64) -> Option<DhcpEffect> {
        let (_, bytes) = self.part(now_ms, Question::Decline)?;
        Some(DhcpEffect::Broadcast(bytes))
    }

    /// Gives the lease back: a message for its server (RFC 2131, 4.4.6; RFC 8415,
    /// 18.2.7). `None` where there is no lease.
    pub fn release(&mut self, now_ms: u64) -> Option<(IpAddr, Vec<u8>)> {
        self.part(now_ms, Question::Release)
    }

    /// The end of a lease; no answer is waited for.
    fn part(&mut self, now_ms: u64, question: Question) -> Option<(IpAddr, Vec<u8>)> {
        let DhcpState::Bound { lease, .. } = &self.state else { return None };
        let lease = lease.clone();
        self.restart(now_ms, NAK_PAUSE_MS);
        Some((lease.server, self.message(now_ms, question, Some(&lease))))
    }

    /// A payload that came to the client's port.
    pub fn receive(&mut self, now_ms: u64, from: IpAddr, bytes: &[u8]) -> Option<DhcpEffect> {
        let (xid, identity) = (self.xid, &self.identity);
        let informs = self.family == Family::Inform6;
        let reply = match self.family {
            Family::V4 => message::decode(bytes, xid, &identity.hardware)?,
            _ => message6::decode(bytes, xid, identity, from, informs)?,
        };
        match (&self.state, reply) {
            (DhcpState::Selecting, DhcpReply::Offer(offer, preference)) => {
                if self.best.as_ref().is_none_or(|(_, known)| preference > *known) {
                    self.best = Some((offer, preference));
                }
                // Others have time until the question is repeated.
                if preference == u8::MAX || self.sends > 1 {
                    self.due_ms = now_ms;
                }
                self.tick(now_ms)
            }
            // Rapid commit, or information.
            (DhcpState::Selecting, DhcpReply::Ack(lease)) if self.family != Family::V4 => {
                self.bind(now_ms, lease.clone());
                Some(DhcpEffect::Bound(lease))
            }
            (DhcpState::Requesting(offer), DhcpReply::Ack(lease))
                if lease.server_id == offer.server_id =>
            {
                self.bind(now_ms, lease.clone());
                Some(DhcpEffect::Bound(lease))
            }
            (DhcpState::Requesting(offer), DhcpReply::Nak(why)) => {
                log::warn!("dhcp: {} refuses {}: {why}", offer.server, offer.address);
                self.restart(now_ms, NAK_PAUSE_MS);
                None
            }
            (DhcpState::Selecting, DhcpReply::Nak(why)) if !self.is_refused => {
                log::warn!("dhcp: {from} has no address: {why}");
                self.is_refused = true;
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

    #[inline(never)]
    fn renewed(&mut self, now_ms: u64, held: IpAddr, reply: DhcpReply) -> Option<DhcpEffect> {
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
                Some(DhcpEffect::Lost(format!("the server no longer grants {held}: {why}")))
            }
            DhcpReply::Offer(..) => None,
        }
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
mod tests;
