//! Who on the network serves this? The question, as often as it takes, and what is made of
//! the answers (docs/protocol.md, "Discovery").
//!
//! A state machine without a socket: datagrams go in by [`Search::heard`], and
//! [`Search::poll_question`] says when to ask again. Knows whose answer counts and which of
//! them are the same. Refuses to know on which links is asked, and what a master is.

use crate::content::digest::Digest;
use crate::control::{Answer, Speaker};
use crate::request::Masters;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

/// UDP, of all masters, whatever port they serve on.
pub const PORT: u16 = 20_004;
/// What of IPv6 is asked on each link: transient, of one link (RFC 4291, section 2.7), and
/// `xget` in it.
pub const GROUP: core::net::Ipv6Addr =
    core::net::Ipv6Addr::new(0xff12, 0, 0, 0, 0, 0, 0x7867, 0x6574);

/// Between two questions: so long, then twice, three times, and so on.
const GAP_MS: u64 = 1_000;
/// What an answer may take that nothing keeps back.
const ANSWER_MS: u64 = 500;
/// Many ask at the same moment: each a little later, by lot.
const SPREAD_MS: u64 = 250;
/// Answers of different masters that are kept; those beyond are counted.
const ANSWERS_MAX: usize = 64;
/// Of these so many from one IP address, which has as many ports as it likes.
const OF_ONE_MAX: usize = 4;
/// Of those with the same digest so many are asked.
const MASTERS_MAX: usize = 16;

/// How long is looked.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Until somebody has answered.
    pub first_ms: u64,
    /// And from there on, until all others have; less where it is what is pinned.
    pub others_ms: u64,
    /// Who says that it hashes is waited for, as long as it says so.
    pub awaits_hashing: bool,
}

/// A master that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Where it serves.
    pub addr: SocketAddr,
    /// Which it is, as it says.
    pub master: u64,
    /// As it says.
    pub bytes: u64,
    /// As it says: what comes from it has to be that.
    pub digest: Digest,
}

/// A search.
pub struct Search {
    id: u64,
    question: Vec<u8>,
    /// Answers that say so go before others.
    pin: Option<Digest>,
    asked: u64,
    ask_ms: u64,
    end_ms: u64,
    /// The end where nobody answers, or a crowd.
    last_ms: u64,
    others_ms: u64,
    awaits_hashing: bool,
    /// Who hashes, and to which question it said so: it says it again to the next, or is done.
    hashing: Vec<(SocketAddr, u64)>,
    /// The last of these has been asked again, and had its time.
    hashing_ms: u64,
    found: Found,
}

/// What was heard.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Who has it, the first to answer first; a second one of the same IP address is behind the
    /// first ones of all, and so on.
    pub masters: Vec<Heard>,
    /// Who cannot say yet, since it hashes.
    pub hashing: Vec<SocketAddr>,
    /// Answers for which there was no place.
    pub unheard: u64,
}

/// What is to be made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Nobody has it.
    Nobody,
    /// These have the same.
    Same(Masters),
    /// They have different ones.
    Different,
}

impl Search {
    /// Asks this ([`Question::bytes`](crate::control::Question::bytes)) at once; its `id` was
    /// drawn by lot.
    pub fn new(
        now_ms: u64,
        id: u64,
        question: Vec<u8>,
        pin: Option<Digest>,
        patience: Patience,
    ) -> Search {
        Search {
            id,
            question,
            pin,
            asked: 0,
            ask_ms: now_ms,
            end_ms: now_ms + patience.first_ms,
            last_ms: now_ms + patience.first_ms,
            others_ms: patience.others_ms,
            awaits_hashing: patience.awaits_hashing,
            hashing: Vec::new(),
            hashing_ms: 0,
            found: Found::default(),
        }
    }

    /// The datagram that is to be sent now on every link, if it is time, and its number.
    pub fn poll_question(&mut self, now_ms: u64) -> Option<(&[u8], u64)> {
        if now_ms < self.ask_ms || self.is_over(now_ms) {
            return None;
        }
        self.asked += 1;
        self.ask_ms = now_ms + self.asked * GAP_MS + self.id % SPREAD_MS;
        Some((&self.question, self.asked))
    }

    /// When there is something to do again.
    pub fn deadline_ms(&self) -> u64 {
        self.ask_ms.min(self.over_ms())
    }

    /// It is over.
    pub fn is_over(&self, now_ms: u64) -> bool {
        now_ms >= self.over_ms()
    }

    fn over_ms(&self) -> u64 {
        let is_awaited = !self.hashing.is_empty() && !self.found.has(self.pin);
        if is_awaited { self.end_ms.max(self.hashing_ms) } else { self.end_ms }
    }

    /// A datagram came from there. What is no answer to this question is nothing.
    #[inline(never)]
    pub fn heard(&mut self, now_ms: u64, from: SocketAddr, datagram: &[u8]) {
        let Some((answer, Speaker { master, port })) = Answer::parse(datagram, self.id) else {
            return;
        };
        let Some(addr) = master_at(from, port).filter(|_| !self.is_over(now_ms)) else { return };
        self.hashing.retain(|(known, _)| *known != addr);
        match answer {
            Answer::Hashing if self.hashing.len() >= ANSWERS_MAX => {}
            Answer::Hashing => {
                self.hashing.push((addr, self.asked));
                if self.awaits_hashing {
                    self.hashing_ms = self.last_ms.min(self.ask_ms + ANSWER_MS);
                }
            }
            Answer::Have { bytes, digest } => {
                let is_first = self.found.masters.is_empty();
                self.found.add(Heard { addr, master, bytes, digest }, self.pin);
                if self.found.has(self.pin) {
                    let soon_ms = now_ms + self.others_ms.min(ANSWER_MS);
                    self.end_ms = self.end_ms.min(soon_ms);
                } else if self.found.unheard > 0 {
                    // Among so many the kernel may have dropped others: they are asked again.
                    self.end_ms = self.last_ms;
                } else if is_first {
                    self.end_ms = self.end_ms.min(now_ms + self.others_ms);
                }
            }
        }
    }

    /// What was heard.
    pub fn end(self) -> Found {
        let Search { hashing, asked, mut found, .. } = self;
        found.hashing =
            hashing.iter().filter(|(_, to)| *to == asked).map(|(addr, _)| *addr).collect();
        found
    }
}

impl Found {
    /// Nobody said anything.
    pub fn is_empty(&self) -> bool {
        self.masters.is_empty() && self.hashing.is_empty()
    }

    /// Those that others cannot call, or not from every link, behind the others.
    pub fn in_order(mut self) -> Found {
        let masters = core::mem::take(&mut self.masters);
        // Stable: the first of each kind stays the first. There are few.
        let (near, mut masters): (Vec<Heard>, Vec<Heard>) =
            masters.into_iter().partition(|heard| is_near(heard.addr.ip()));
        masters.extend(near);
        Found { masters, ..self }
    }

    /// Each master but once, for people: which it is, anybody can say, so that who is left out
    /// here is asked all the same.
    pub fn listed(&self) -> Vec<Heard> {
        let same = |heard: &Heard| (heard.master, heard.digest, heard.bytes);
        let mut masters: Vec<Heard> = Vec::new();
        for heard in &self.masters {
            let is_near = is_near(heard.addr.ip());
            if !is_near || !masters.iter().any(|other| same(other) == same(heard)) {
                masters.push(*heard);
            }
        }
        masters
    }

    /// A master may say something else later, for what it serves may change: its last word counts.
    #[inline(never)]
    fn add(&mut self, heard: Heard, pin: Option<Digest>) {
        let is_wanted = |heard: &Heard| Some(heard.digest) == pin;
        let len = self.masters.len();
        let nth = self.nth_of_one(len, &heard);
        let is_crowd = nth >= OF_ONE_MAX;
        if let Some(known) = self.masters.iter_mut().find(|known| known.addr == heard.addr) {
            *known = heard;
        } else if len < ANSWERS_MAX && !is_crowd {
            let is_behind = |at: &usize| self.nth_of_one(*at, &self.masters[*at]) > nth;
            self.masters.insert((0..len).find(is_behind).unwrap_or(len), heard);
        } else {
            self.unheard += 1;
            // A crowd of others does not keep out what is wanted, or that there is another; one
            // address drives out its own alone.
            let is_news = !self.masters.iter().any(|known| known.digest == heard.digest);
            let gives_way = |known: &&mut Heard| {
                !is_wanted(known) && (!is_crowd || known.addr.ip() == heard.addr.ip())
            };
            let other = self.masters.iter_mut().rfind(gives_way);
            if let Some(other) = other.filter(|_| is_news || is_wanted(&heard)) {
                *other = heard;
            }
        }
    }

    /// How many of its IP address there are before that place.
    #[inline(never)]
    fn nth_of_one(&self, place: usize, heard: &Heard) -> usize {
        let is_beside = |known: &&Heard| known.addr.ip() == heard.addr.ip();
        self.masters[..place].iter().filter(is_beside).count()
    }

    /// Somebody says that it has what is pinned.
    fn has(&self, pin: Option<Digest>) -> bool {
        pin.is_some_and(|pin| self.masters.iter().any(|heard| heard.digest == pin))
    }

    /// Who answers there is the first from now on, where it is one of them.
    pub fn put_first(&mut self, addr: SocketAddr) {
        if let Some(at) = self.masters.iter().position(|heard| heard.addr == addr) {
            self.masters.swap(0, at);
        }
    }

    /// The first is no more; who says that it has the same may speak the truth. Whether there
    /// are others.
    pub fn drop_first(&mut self) -> bool {
        if !self.masters.is_empty() {
            self.masters.remove(0);
        }
        !self.masters.is_empty()
    }

    /// These are no more.
    pub fn drop_all(&mut self, called: &Masters) {
        self.masters.retain(|heard| !called.addrs().any(|addr| addr == heard.addr));
    }

    /// The first, and those that have the same, where what they have need not be known.
    pub fn of_first(&self) -> Option<Masters> {
        self.masters.first().map(|first| self.same_as(first))
    }

    fn same_as(&self, first: &Heard) -> Masters {
        self.those(&|heard| heard.digest == first.digest)
    }

    /// All, whatever they say that they have: where what comes tells who is believed.
    pub fn all(&self) -> Masters {
        self.those(&|_| true)
    }

    fn those(&self, is_wanted: &dyn Fn(&Heard) -> bool) -> Masters {
        let mut masters = Masters::default();
        let wanted = self.masters.iter().filter(|heard| is_wanted(heard));
        wanted.take(MASTERS_MAX).for_each(|heard| masters.add([heard.addr]));
        masters
    }

    /// Whom to ask. Where a digest is pinned and somebody has it, the others do not count.
    pub fn choice(&self, pin: Option<Digest>) -> Choice {
        let is_pinned = |heard: &&Heard| pin.is_none_or(|pin| heard.digest == pin);
        let pinned = self.masters.iter().find(is_pinned);
        let Some(first) = pinned.or(self.masters.first()) else { return Choice::Nobody };
        let is_same = |heard: &&Heard| (heard.digest, heard.bytes) == (first.digest, first.bytes);
        let has_pin = pin == Some(first.digest);
        if !has_pin && !self.masters.iter().all(|heard| is_same(&heard)) {
            return Choice::Different;
        }
        let mut masters = self.same_as(first);
        masters.generation = Some(first.digest);
        Choice::Same(masters)
    }
}

/// Where a master serves that answered from there; nowhere, where that is nobody's address.
fn master_at(from: SocketAddr, port: u16) -> Option<SocketAddr> {
    let mut addr = from;
    addr.set_port(port);
    let is_one = match from.ip() {
        IpAddr::V4(ip) => !ip.is_multicast() && (1..240).contains(&ip.octets()[0]),
        IpAddr::V6(ip) => !ip.is_multicast() && !ip.is_unspecified(),
    };
    (is_one && port > 0).then_some(addr)
}

/// An address that others could not call, or not from every link.
fn is_near(ip: IpAddr) -> bool {
    ip.is_loopback() || matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

#[cfg(test)]
mod tests;
