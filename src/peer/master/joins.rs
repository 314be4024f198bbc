//! Clients that wait for the served tree to be hashed or looked at, or for a part of
//! it to be made theirs.
//!
//! Knows what they asked for, and tells them how far the hashing is. Refuses to
//! know what they are given then.

use crate::content::digest::Digest;
use crate::content::manifest::Selector;
use crate::control::MasterMessage;
use crate::namespace::GenerationId;
use crate::server::Server;
use alloc::vec::Vec;
use core::net::IpAddr;
use ninep::server::OpenId;

/// How often waiting clients hear of the hashing.
const WAIT_LINE_MS: u64 = 1_000;
/// Most clients that wait.
const WAITING_MAX: usize = 100_000;

/// Most bytes of sources of all of them, but for joins that are short: those wait
/// as long as there is a place, whatever the others ask for.
const SOURCE_BYTES_MAX: usize = 16 << 20;
const SHORT_BYTES_MAX: usize = 1_024;

/// Addresses whose last turn is remembered.
const TURNS_MAX: usize = 64;

/// What a client asked for.
#[derive(Debug)]
pub(super) struct Join {
    /// Its conversation on `route`.
    pub open_id: OpenId,
    /// Where it is.
    pub ip: IpAddr,
    /// It waits for its turn to have a selection made, and for nothing else.
    pub is_next: bool,
    /// Where it serves.
    pub port: u16,
    pub selector: Selector,
    /// It was in this generation before.
    pub was_in: Option<Digest>,
    /// It streams, and keeps so much of what was fetched.
    pub window_bytes: Option<u64>,
    /// It wants to know who signed it.
    pub is_signed: bool,
}

/// Too many wait already.
#[derive(Debug)]
pub(super) struct TooMany;

#[derive(Debug, Default)]
pub(super) struct Joins {
    waiting: Vec<Join>,
    /// Who is to be given these once it is read who signed them.
    signing: Vec<(Join, GenerationId)>,
    /// Of those who wait, who waits for a turn.
    next_count: usize,
    /// Who had a turn, the last at the end.
    turns: Vec<IpAddr>,
    /// Of sources of those that are not short.
    source_bytes: usize,
    /// When they last heard of the hashing.
    announced_ms: u64,
    /// Bytes hashed and bytes in all.
    hashing: (u64, u64),
}

impl Joins {
    pub fn set_hashing(&mut self, done_bytes: u64, total_bytes: u64) {
        self.hashing = (done_bytes, total_bytes);
    }

    pub fn hashing(&self) -> (u64, u64) {
        self.hashing
    }

    pub fn wait(&mut self, now_ms: u64, join: Join) -> Result<(), TooMany> {
        let bytes = join.selector.bytes();
        let is_long = bytes > SHORT_BYTES_MAX;
        let has_room = !is_long || self.source_bytes + bytes <= SOURCE_BYTES_MAX;
        if self.waiting.len() >= WAITING_MAX || !has_room {
            return Err(TooMany);
        }
        self.source_bytes += if is_long { bytes } else { 0 };
        if self.waiting.is_empty() {
            self.announced_ms = now_ms;
        }
        self.next_count += usize::from(join.is_next);
        self.waiting.push(join);
        Ok(())
    }

    pub fn has(&self, open_id: OpenId) -> bool {
        let signing = self.signing.iter().map(|(join, _)| join);
        self.waiting.iter().chain(signing).any(|join| join.open_id == open_id)
    }

    /// It is to be read who signed what this one is given.
    pub fn wait_for_signature(&mut self, join: Join, id: GenerationId) {
        self.signing.push((join, id));
    }

    pub fn take_signing(&mut self, open_id: OpenId) -> Option<(Join, GenerationId)> {
        let at = self.signing.iter().position(|(join, _)| join.open_id == open_id)?;
        Some(self.signing.remove(at))
    }

    pub fn take(&mut self, open_id: OpenId) -> Option<Join> {
        let at = self.waiting.iter().position(|join| join.open_id == open_id)?;
        let join = self.waiting.remove(at);
        let bytes = join.selector.bytes();
        self.source_bytes -= if bytes > SHORT_BYTES_MAX { bytes } else { 0 };
        self.next_count -= usize::from(join.is_next);
        Some(join)
    }

    pub fn take_all(&mut self) -> Vec<Join> {
        (self.source_bytes, self.next_count) = (0, 0);
        core::mem::take(&mut self.waiting)
    }

    /// Whether somebody waits for a turn.
    pub fn is_anybody_next(&self) -> bool {
        self.next_count > 0
    }

    /// Whose turn it is: of the address whose last one is longest ago.
    pub fn take_next(&mut self) -> Option<Join> {
        let next = self.waiting.iter().filter(|join| join.is_next);
        let last_turn = |join: &&Join| self.turns.iter().position(|ip| *ip == join.ip);
        let Join { open_id, ip, .. } = *next.min_by_key(last_turn)?;
        self.turns.retain(|known| *known != ip);
        if self.turns.len() >= TURNS_MAX {
            self.turns.remove(0);
        }
        self.turns.push(ip);
        self.take(open_id)
    }

    /// When they are to hear again.
    pub fn deadline_ms(&self) -> Option<u64> {
        (!self.waiting.is_empty()).then_some(self.announced_ms + WAIT_LINE_MS)
    }

    pub fn announce_hashing(&mut self, now_ms: u64, server: &mut Server) {
        if self.deadline_ms().is_none_or(|at_ms| now_ms < at_ms) {
            return;
        }
        self.announced_ms = now_ms;
        let (done_bytes, total_bytes) = self.hashing;
        for join in &self.waiting {
            server.answer(join.open_id, &MasterMessage::Wait { done_bytes, total_bytes });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::NameSpace;
    use ninep::server::ConnId;

    fn join(conn: u32) -> Join {
        let open_id = OpenId { conn: ConnId(conn), serial: 1 };
        let ip = IpAddr::from(conn.to_be_bytes());
        Join {
            open_id,
            ip,
            is_next: false,
            port: 7000,
            selector: Selector::default(),
            was_in: None,
            window_bytes: None,
            is_signed: false,
        }
    }

    #[test]
    fn they_hear_of_the_hashing_every_second_from_the_first_on() {
        let mut server = Server::new(NameSpace::new(true, 1));
        let mut joins = Joins::default();
        assert_eq!(joins.deadline_ms(), None, "nobody waits");
        joins.wait(300, join(1)).unwrap();
        joins.wait(900, join(2)).unwrap();
        assert_eq!(joins.deadline_ms(), Some(1_300), "both at once");
        joins.announce_hashing(1_299, &mut server);
        assert_eq!(joins.deadline_ms(), Some(1_300), "not yet");
        joins.announce_hashing(1_350, &mut server);
        assert_eq!(joins.deadline_ms(), Some(2_350));
        joins.take(join(1).open_id);
        assert!(!joins.has(join(1).open_id) && joins.has(join(2).open_id));
        assert_eq!(joins.take_all().len(), 1);
        assert_eq!(joins.deadline_ms(), None);
        joins.wait(5_000, join(3)).unwrap();
        assert_eq!(joins.deadline_ms(), Some(6_000), "a second of its own");
    }

    #[test]
    fn so_many_can_wait_and_who_goes_makes_room() {
        let mut joins = Joins::default();
        (0..100_000).for_each(|conn| joins.wait(0, join(conn)).unwrap());
        let last = join(100_000);
        assert!(joins.wait(0, join(100_000)).is_err());
        assert!(!joins.has(last.open_id));
        joins.take(join(7).open_id);
        assert!(joins.wait(0, last).is_ok());
    }

    #[test]
    fn turns_go_round_the_addresses() {
        let mut joins = Joins::default();
        let of = |conn, host: u8| Join {
            ip: IpAddr::from([10, 0, 0, host]),
            is_next: host > 0,
            ..join(conn)
        };
        (0..50).for_each(|conn| joins.wait(0, of(conn, 1)).unwrap());
        joins.wait(0, of(50, 0)).unwrap();
        let mut next = || joins.take_next().map(|join| join.open_id.conn.0);
        assert_eq!((next(), next()), (Some(0), Some(1)), "who came first");
        joins.wait(0, of(60, 2)).unwrap();
        joins.wait(0, of(61, 2)).unwrap();
        joins.wait(0, of(62, 3)).unwrap();
        let mut next = || joins.take_next().map(|join| join.open_id.conn.0);
        let order: Vec<_> = (0..6).map(|_| next()).collect();
        assert_eq!(order, [60, 62, 2, 61, 3, 4].map(Some));
        while joins.take_next().is_some() {}
        assert!(!joins.is_anybody_next() && joins.has(join(50).open_id), "of another kind");
    }

    #[test]
    fn long_lists_of_sources_have_a_bound_that_short_ones_do_not_feel() {
        let mut joins = Joins::default();
        let long = |conn| Join { selector: Selector::of_paths(&[[b'x'; 59_000]]), ..join(conn) };
        let short = |conn| Join { selector: Selector::of_paths(&[[b'x'; 900]]), ..join(conn) };
        let taken = (0..1_000).take_while(|conn| joins.wait(0, long(*conn)).is_ok()).count();
        assert_eq!(taken, SOURCE_BYTES_MAX / (59_000 + size_of::<Vec<u8>>()));
        assert!((1_000..9_000).all(|conn| joins.wait(0, short(conn)).is_ok()));
        joins.take(join(5).open_id);
        assert!(joins.wait(0, long(5)).is_ok() && joins.wait(0, long(9_999)).is_err());
        joins.take_all();
        assert!(joins.wait(0, long(1)).is_ok());
    }
}
