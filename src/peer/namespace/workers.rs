//! The paper's own routing: workers by `avail`, an address by `redir`.
//!
//! For clients that speak the paper's interface by hand or by script; xget's
//! own clients use `/.xget/route`. The three heuristics of the paper, section
//! 3.2: limited levels, even load, different levels over one client's files.
//! Anybody may say that it is a worker: what it costs is bounded by their number, and
//! for one answer so many of a file's are looked at, others the next time.

use crate::control::{format_addr, parse_addr};
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::ops::RangeInclusive;
use ninep::server::{ConnId, OpenId};
use sorted::SortedMap;

/// The master is level 0; a worker may stand at 1 to 3, leaves below it.
const LEVEL_MAX: u32 = 4;
/// Most workers noted in all.
const WORKERS_MAX: usize = 16_384;
/// Workers that are looked at for one answer.
const LOOKS_MAX: usize = 64;

/// A worker for a file: its qid path, and where it serves.
type Key = (u64, SocketAddr);

#[derive(Clone, Debug)]
struct Worker {
    opener: OpenId,
    level: u32,
    /// Who feeds it, if not the master: its load falls when this one goes.
    parent: Option<SocketAddr>,
}

/// The workers of all files.
#[derive(Debug)]
pub(super) struct Workers {
    list: SortedMap<Key, Worker>,
    /// How many each address feeds, over all files.
    load: SortedMap<SocketAddr, u32>,
    /// How often each client was sent to each level.
    levels_used: SortedMap<ConnId, [u32; LEVEL_MAX as usize]>,
    load_max: u32,
    /// Who was looked at last: the next look begins behind it.
    looked_at: SocketAddr,
}

/// Why an `avail` write is not understood or not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AvailError {
    /// It is not `<port> <me or ip!port>`.
    Malformed,
    /// The parent that it names is no worker for this file.
    UnknownParent,
    /// This address is a worker for this file already, or this opening a lease.
    Duplicate,
    /// There are as many workers as are noted.
    Full,
}

const FIRST: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
const LAST: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)), u16::MAX);

/// All of a file's, from an address on or up to it.
fn of(file: u64, addrs: RangeInclusive<SocketAddr>) -> RangeInclusive<Key> {
    let (first, last) = addrs.into_inner();
    (file, first)..=(file, last)
}

impl Workers {
    /// None yet; each is to feed at most `load_max` others.
    pub fn new(load_max: u32) -> Workers {
        Workers {
            list: SortedMap::new(),
            load: SortedMap::new(),
            levels_used: SortedMap::new(),
            load_max,
            looked_at: FIRST,
        }
    }

    /// Notes a worker for this file, for as long as `opener` lasts. The text is
    /// `<port> <what redir said>`; the IP is the connection's, never the text's.
    #[inline(never)]
    pub fn avail(
        &mut self,
        opener: OpenId,
        file: u64,
        ip: IpAddr,
        text: &[u8],
    ) -> Result<(), AvailError> {
        let text = core::str::from_utf8(text).map_err(|_| AvailError::Malformed)?;
        // The original sends its string with the terminating NUL.
        let text = text.trim_end_matches(['\0', '\n', ' ']);
        let (port, from) = text.split_once(' ').ok_or(AvailError::Malformed)?;
        let port: u16 = port.parse().map_err(|_| AvailError::Malformed)?;
        let parent = match from {
            "me" => None,
            text => Some(parse_addr(text).ok_or(AvailError::Malformed)?),
        };
        let level = match parent {
            None => 1,
            Some(p) => 1 + self.list.get(&(file, p)).ok_or(AvailError::UnknownParent)?.level,
        };
        let key = (file, SocketAddr::new(ip, port));
        if self.list.contains_key(&key) || self.lease(opener, file).is_some() {
            return Err(AvailError::Duplicate);
        }
        if self.list.len() >= WORKERS_MAX {
            return Err(AvailError::Full);
        }
        if let Some(parent) = parent {
            let load = self.load.get(&parent).copied().unwrap_or(0);
            self.load.insert(parent, load + 1);
        }
        self.list.insert(key, Worker { opener, level, parent });
        Ok(())
    }

    /// The worker that lasts as long as an opening of a file's `avail`.
    fn lease(&self, opener: OpenId, file: u64) -> Option<Key> {
        let mut workers = self.list.range(of(file, FIRST..=LAST));
        workers.find(|(_, worker)| worker.opener == opener).map(|(key, _)| *key)
    }

    /// The lease ends with the opening of `avail`.
    pub fn close(&mut self, opener: OpenId, file: u64) {
        let Some(key) = self.lease(opener, file) else { return };
        let Some(parent) = self.list.remove(&key).and_then(|worker| worker.parent) else { return };
        match self.load.get_mut(&parent) {
            Some(load) if *load > 1 => *load -= 1,
            _ => drop(self.load.remove(&parent)),
        }
    }

    /// The connection is gone: what it was told is of no use any more.
    pub fn forget_client(&mut self, conn: ConnId) {
        self.levels_used.remove(&conn);
    }

    /// Who is to feed this client with this file: `me` or `ip!port`, without a
    /// newline, as the original has it.
    #[inline(never)]
    pub fn redir(&mut self, conn: ConnId, file: u64) -> String {
        let mut used = self.levels_used.get(&conn).copied().unwrap_or_default();
        let load_of = |addr| self.load.get(addr).copied().unwrap_or(0);
        let behind = self.list.range(of(file, self.looked_at..=LAST));
        let before = self.list.range(of(file, FIRST..=self.looked_at));
        let looks: Vec<(&Key, &Worker)> = behind.chain(before).take(LOOKS_MAX).collect();
        let fits = looks.iter().filter(|((_, addr), worker)| {
            worker.level < LEVEL_MAX && worker.opener.conn != conn && load_of(addr) < self.load_max
        });
        let best = fits.min_by_key(|((_, addr), worker)| {
            (load_of(addr), used[worker.level as usize], worker.level)
        });
        let best = best.map(|((_, addr), worker)| (*addr, worker.level as usize));
        if let Some(((_, addr), _)) = looks.last() {
            self.looked_at = *addr;
        }
        let Some((addr, level)) = best else { return "me".into() };
        used[level] += 1;
        self.levels_used.insert(conn, used);
        format_addr(addr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opener(conn: u32) -> OpenId {
        OpenId { conn: ConnId(conn), serial: 0 }
    }
    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn the_master_serves_until_a_worker_is_there_and_its_lease_ends_it() {
        let mut workers = Workers::new(10);
        assert_eq!(workers.redir(ConnId(1), 7), "me");
        assert_eq!(workers.avail(opener(1), 7, ip(1), b"4000 me\0"), Ok(()));
        assert_eq!(workers.redir(ConnId(2), 7), "10.0.0.1!4000");
        assert_eq!(workers.redir(ConnId(1), 7), "me", "nobody is sent to itself");
        assert_eq!(workers.redir(ConnId(2), 8), "me", "another file");
        workers.close(opener(1), 7);
        assert_eq!(workers.redir(ConnId(2), 7), "me");
    }

    #[test]
    fn levels_are_limited_and_load_is_even() {
        let mut workers = Workers::new(2);
        let mut from = "me".to_string();
        for n in 1..=4u8 {
            let line = format!("4000 {from}");
            workers.avail(opener(n.into()), 7, ip(n), line.as_bytes()).unwrap();
            from = format!("10.0.0.{n}!4000");
        }
        // 1, 2 and 3 feed one each; 4 stands too low to be a worker.
        let mut got: Vec<String> = Vec::new();
        for n in 10..14u8 {
            let at = workers.redir(ConnId(n.into()), 7);
            if at != "me" {
                workers.avail(opener(n.into()), 7, ip(n), format!("4000 {at}").as_bytes()).unwrap();
            }
            got.push(at);
        }
        assert!(!got.contains(&"10.0.0.4!4000".to_string()), "{got:?}");
        assert!(workers.load.values().all(|&load| load <= 2));
    }

    #[test]
    fn nonsense_is_refused() {
        let mut workers = Workers::new(10);
        for (text, error) in [
            (&b"x me"[..], AvailError::Malformed),
            (b"4000", AvailError::Malformed),
            (b"70000 me", AvailError::Malformed),
            (b"4000 10.9.9.9!1", AvailError::UnknownParent),
        ] {
            assert_eq!(workers.avail(opener(1), 7, ip(1), text), Err(error));
        }
        assert_eq!(workers.avail(opener(1), 7, ip(1), b"4000 me"), Ok(()));
        assert_eq!(workers.avail(opener(2), 7, ip(1), b"4000 me"), Err(AvailError::Duplicate));
    }

    #[test]
    fn an_opening_is_one_lease_and_nothing_is_left_of_it() {
        let mut workers = Workers::new(10);
        assert_eq!(workers.avail(opener(1), 7, ip(1), b"4000 me"), Ok(()));
        let second = workers.avail(opener(1), 7, ip(1), b"4001 me");
        assert_eq!(second, Err(AvailError::Duplicate));
        assert_eq!(workers.avail(opener(2), 7, ip(2), b"4000 10.0.0.1!4000"), Ok(()));
        workers.close(opener(1), 7);
        workers.close(opener(2), 7);
        assert!(workers.list.is_empty() && workers.load.is_empty());
    }

    #[test]
    fn of_very_many_workers_some_are_looked_at_and_each_has_its_turn() {
        let mut workers = Workers::new(1);
        for n in 0..1_000u32 {
            let ip = IpAddr::from((0x0a00_0000 + n).to_be_bytes());
            assert_eq!(workers.avail(opener(n), 7, ip, b"4000 me"), Ok(()));
        }
        let told: Vec<String> = (0..30).map(|n| workers.redir(ConnId(5_000 + n), 7)).collect();
        let mut different = told.clone();
        different.sort();
        different.dedup();
        assert!(different.len() > 10 && !told.contains(&"me".to_string()), "{told:?}");
        assert_eq!(workers.redir(ConnId(1), 8), "me");
    }
}
