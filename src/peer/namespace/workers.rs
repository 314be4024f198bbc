//! The paper's own routing: workers by `avail`, an address by `redir`.
//!
//! For clients that speak the paper's interface by hand or by script; xget's
//! own clients use `/.xget/route`. The three heuristics of the paper, section
//! 3.2: limited levels, even load, different levels over one client's files.

use crate::control::{format_addr, parse_addr};
use crate::sorted::SortedMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use ninep::server::{ConnId, OpenId};

/// The master is level 0; a worker may stand at 1 to 3, leaves below it.
const LEVEL_MAX: u32 = 4;
/// Most workers noted in all.
const WORKERS_MAX: usize = 65_536;

#[derive(Clone, Debug)]
struct Worker {
    opener: OpenId,
    /// By its qid path.
    file: u64,
    addr: SocketAddr,
    level: u32,
    /// Who feeds it, if not the master: its load falls when this one goes.
    parent: Option<SocketAddr>,
}

/// The workers of all files.
#[derive(Debug)]
pub(super) struct Workers {
    list: Vec<Worker>,
    /// How many each worker address feeds, over all files.
    load: SortedMap<SocketAddr, u32>,
    /// How often each client was sent to each level.
    levels_used: SortedMap<ConnId, [u32; LEVEL_MAX as usize]>,
    load_max: u32,
}

/// Why an `avail` write is not understood or not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AvailError {
    /// It is not `<port> <me or ip!port>`.
    Malformed,
    /// The parent that it names is no worker for this file.
    UnknownParent,
    /// This address is a worker for this file already.
    Duplicate,
    /// There are as many workers as are noted.
    Full,
}

impl Workers {
    /// None yet; each is to feed at most `load_max` others.
    pub fn new(load_max: u32) -> Workers {
        let (load, levels_used) = (SortedMap::new(), SortedMap::new());
        Workers { list: Vec::new(), load, levels_used, load_max }
    }

    /// Notes a worker for this file, for as long as `opener` lasts. The text is
    /// `<port> <what redir said>`; the IP is the connection's, never the text's.
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
        let addr = SocketAddr::new(ip, port);
        let parent = match from {
            "me" => None,
            text => Some(parse_addr(text).ok_or(AvailError::Malformed)?),
        };
        let level = match parent {
            None => 1,
            Some(p) => 1 + self.level(file, p).ok_or(AvailError::UnknownParent)?,
        };
        if self.list.iter().any(|w| w.addr == addr && w.file == file) {
            return Err(AvailError::Duplicate);
        }
        if self.list.len() >= WORKERS_MAX {
            return Err(AvailError::Full);
        }
        if let Some(parent) = parent {
            *self.load.get_or_insert_with(parent, || 0) += 1;
        }
        self.list.push(Worker { opener, file, addr, level, parent });
        Ok(())
    }

    fn level(&self, file: u64, addr: SocketAddr) -> Option<u32> {
        self.list.iter().find(|w| w.addr == addr && w.file == file).map(|w| w.level)
    }

    /// The lease ends with the opening of `avail`.
    pub fn close(&mut self, opener: OpenId) {
        let Some(at) = self.list.iter().position(|w| w.opener == opener) else { return };
        let worker = self.list.swap_remove(at);
        if let Some(load) = worker.parent.and_then(|p| self.load.get_mut(&p)) {
            *load = load.saturating_sub(1);
        }
        if !self.list.iter().any(|w| w.addr == worker.addr) {
            self.load.remove(&worker.addr);
        }
    }

    /// The connection is gone: what it was told is of no use any more.
    pub fn forget_client(&mut self, conn: ConnId) {
        self.levels_used.remove(&conn);
    }

    /// Who is to feed this client with this file: `me` or `ip!port`, without a
    /// newline, as the original has it.
    pub fn redir(&mut self, conn: ConnId, file: u64) -> String {
        let used = self.levels_used.get_or_insert_with(conn, Default::default);
        let load_of = |w: &Worker| self.load.get(&w.addr).copied().unwrap_or(0);
        let best = self
            .list
            .iter()
            .filter(|w| w.file == file && w.level < LEVEL_MAX && w.opener.conn != conn)
            .filter(|w| load_of(w) < self.load_max)
            .min_by_key(|w| (load_of(w), used[w.level as usize], w.level));
        match best {
            Some(worker) => {
                used[worker.level as usize] += 1;
                format_addr(worker.addr)
            }
            None => "me".into(),
        }
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
        workers.close(opener(1));
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
}
