//! The links to parents, and which of them is the parent of which stripe.
//!
//! Remembers which parents are rejected or banned. Refuses to know what is asked
//! of which parent (`Scheduler`) and what is done when one fails (`Transfer`).

use super::parent_link::ParentLink;
use crate::control::ParentAddr;
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;
use ninep::server::ConnId;

/// After more than so many parents of one stripe were rejected, the master itself becomes
/// the parent, whomever it names: XGet's last resort, too.
const REJECTED_IN_A_ROW_MAX: u32 = 4;
/// Rejections that are remembered, of all stripes together; and as many of who is shunned.
const REJECTED_MAX: usize = 64;
/// Who gave nothing in one stripe is not asked in any other for so long.
const SHUNNED_MS: u64 = 30_000;
/// Who was frozen twice within this time is not asked for as long.
const FROZEN_MS: u64 = 5_000;

pub(super) struct Parents {
    /// In the order of their connections; there are hardly more than stripes.
    links: Vec<(ConnId, ParentLink)>,
    /// The parent of each stripe.
    by_stripe: Vec<Option<ConnId>>,
    /// Who sent corrupt bytes, and which piece: not connected to any more.
    banned: Vec<(SocketAddr, u32)>,
    /// Who lives and is of no use, and until when that is believed; the last at the end.
    shunned: VecDeque<(SocketAddr, u64)>,
    /// Who was rejected in which stripe, the last at the end.
    rejected: VecDeque<(usize, SocketAddr)>,
    /// For each stripe, rejections since the master itself was its parent.
    rejected_count: Vec<u32>,
}

impl Parents {
    pub fn new(stripes: u8) -> Parents {
        Parents {
            links: Vec::new(),
            by_stripe: vec![None; usize::from(stripes)],
            banned: Vec::new(),
            shunned: VecDeque::new(),
            rejected: VecDeque::new(),
            rejected_count: vec![0; usize::from(stripes)],
        }
    }

    pub fn by_stripe(&self) -> &[Option<ConnId>] {
        &self.by_stripe
    }

    fn find(&self, conn: ConnId) -> Option<usize> {
        self.links.iter().position(|(known, _)| *known == conn)
    }

    pub fn link(&mut self, conn: ConnId) -> Option<&mut ParentLink> {
        self.find(conn).map(|at| &mut self.links[at].1)
    }

    pub fn links(&self) -> impl Iterator<Item = (ConnId, &ParentLink)> {
        self.links.iter().map(|(conn, link)| (*conn, link))
    }

    pub fn links_mut(&mut self) -> impl Iterator<Item = (ConnId, &mut ParentLink)> {
        self.links.iter_mut().map(|(conn, link)| (*conn, link))
    }

    /// The connection of the next link, to go through all without a list of them.
    pub fn next_conn(&self, after: Option<ConnId>) -> Option<ConnId> {
        let follows = |conn: &ConnId| after.is_none_or(|after| *conn > after);
        self.links().map(|(conn, _)| conn).find(follows)
    }

    /// The parent that a link leads to.
    pub fn addr(&self, conn: ConnId) -> Option<ParentAddr> {
        self.find(conn).map(|at| self.links[at].1.parent)
    }

    /// The link to a parent, if there is one.
    pub fn conn_of(&self, parent: ParentAddr) -> Option<ConnId> {
        self.links().find(|(_, link)| link.parent == parent).map(|(conn, _)| conn)
    }

    /// The link to the parent of a stripe.
    pub fn link_of_stripe(&self, stripe: usize) -> Option<&ParentLink> {
        self.find(self.by_stripe[stripe]?).map(|at| &self.links[at].1)
    }

    pub fn stripes_of(&self, conn: ConnId) -> Vec<usize> {
        let is_its = |&stripe: &usize| self.by_stripe[stripe] == Some(conn);
        (0..self.by_stripe.len()).filter(is_its).collect()
    }

    pub fn add(&mut self, conn: ConnId, link: ParentLink) {
        let at = self.links.partition_point(|(known, _)| *known < conn);
        self.links.insert(at, (conn, link));
    }

    pub fn set(&mut self, stripe: usize, conn: ConnId) {
        self.by_stripe[stripe] = Some(conn);
    }

    pub fn clear(&mut self, stripe: usize) {
        self.by_stripe[stripe] = None;
    }

    /// Takes a link out, and leaves its stripes without a parent.
    pub fn remove(&mut self, conn: ConnId) -> Option<ParentLink> {
        let at = self.find(conn)?;
        let (_, link) = self.links.remove(at);
        for stripe in self.stripes_of(conn) {
            self.clear(stripe);
        }
        Some(link)
    }

    /// Links that are for no stripe any more.
    pub fn idle(&self) -> Vec<ConnId> {
        let is_idle = |conn: &ConnId| !self.by_stripe.contains(&Some(*conn));
        self.links().map(|(conn, _)| conn).filter(is_idle).collect()
    }

    pub fn ban(&mut self, parent: ParentAddr, piece: u32) {
        if let ParentAddr::Peer(addr) = parent {
            self.banned.push((addr, piece));
        }
    }

    pub fn is_banned(&self, parent: ParentAddr) -> bool {
        self.corrupt_piece(parent).is_some()
    }

    /// The piece that a parent is banned for.
    pub fn corrupt_piece(&self, parent: ParentAddr) -> Option<u32> {
        let is_it = |&(addr, _): &(SocketAddr, u32)| parent == ParentAddr::Peer(addr);
        self.banned.iter().copied().find(is_it).map(|(_, piece)| piece)
    }

    pub fn shun(&mut self, addr: SocketAddr, now_ms: u64) {
        self.shun_until(addr, now_ms + SHUNNED_MS);
    }

    /// It is frozen: once that may be chance, and the next time it is shunned.
    pub fn note_frozen(&mut self, addr: SocketAddr, now_ms: u64) {
        let was_frozen =
            |known: &(SocketAddr, u64)| known.0 == addr && known.1 + FROZEN_MS > now_ms;
        let is_again = self.shunned.iter().any(was_frozen);
        self.shun_until(addr, if is_again { now_ms + FROZEN_MS } else { now_ms });
    }

    fn shun_until(&mut self, addr: SocketAddr, until_ms: u64) {
        self.shunned.retain(|(known, _)| *known != addr);
        self.shunned.push_back((addr, until_ms));
        if self.shunned.len() > REJECTED_MAX {
            self.shunned.pop_front();
        }
    }

    pub fn is_shunned(&self, parent: ParentAddr, now_ms: u64) -> bool {
        let is_it = |&(known, until_ms): &(SocketAddr, u64)| {
            until_ms > now_ms && parent == ParentAddr::Peer(known)
        };
        self.shunned.iter().any(is_it)
    }

    /// Rejects a parent in a stripe. True when so many were rejected there that
    /// the master itself is to be the parent.
    pub fn reject(&mut self, stripe: usize, addr: SocketAddr) -> bool {
        self.rejected.push_back((stripe, addr));
        if self.rejected.len() > REJECTED_MAX {
            self.rejected.pop_front();
        }
        self.rejected_count[stripe] += 1;
        let is_enough = self.rejected_count[stripe] > REJECTED_IN_A_ROW_MAX;
        if is_enough {
            self.rejected_count[stripe] = 0;
        }
        is_enough
    }

    pub fn is_rejected(&self, stripe: usize, parent: ParentAddr) -> bool {
        matches!(parent, ParentAddr::Peer(addr) if self.rejected.contains(&(stripe, addr)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::digest::Digest;

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    fn parents() -> Parents {
        let mut parents = Parents::new(2);
        for conn in [1, 2] {
            let parent = ParentAddr::Peer(addr(conn as u16));
            parents.add(
                ConnId(conn),
                ParentLink::new(ConnId(conn), parent, Digest::default(), 0, None),
            );
        }
        parents
    }

    #[test]
    fn a_link_that_goes_leaves_its_stripes_without_a_parent() {
        let mut parents = parents();
        assert_eq!(parents.idle(), [ConnId(1), ConnId(2)]);
        parents.set(0, ConnId(1));
        parents.set(1, ConnId(1));
        assert_eq!((parents.idle(), parents.stripes_of(ConnId(1))), (vec![ConnId(2)], vec![0, 1]));
        assert!(parents.remove(ConnId(1)).is_some() && parents.remove(ConnId(1)).is_none());
        assert_eq!(parents.by_stripe(), [None, None]);
    }

    #[test]
    fn who_failed_is_remembered_by_stripe_and_the_fifth_is_one_too_many() {
        let mut parents = parents();
        let failed: Vec<bool> = (1..=6).map(|port| parents.reject(0, addr(port))).collect();
        assert_eq!(failed, [false, false, false, false, true, false]);
        assert!(parents.is_rejected(0, ParentAddr::Peer(addr(1))));
        assert!(!parents.is_rejected(1, ParentAddr::Peer(addr(1))), "in another stripe");
        assert!(!parents.is_rejected(0, ParentAddr::Master));
        (10..10 + REJECTED_MAX as u16).for_each(|port| {
            parents.reject(1, addr(port));
        });
        assert!(!parents.is_rejected(0, ParentAddr::Peer(addr(1))), "so many are remembered");
    }

    #[test]
    fn who_is_of_no_use_is_shunned_for_a_while() {
        let mut parents = parents();
        for (at_ms, is_shunned) in [(5, false), (5 + FROZEN_MS, false), (6 + FROZEN_MS, true)] {
            parents.note_frozen(addr(2), at_ms);
            assert_eq!(parents.is_shunned(ParentAddr::Peer(addr(2)), at_ms), is_shunned, "{at_ms}");
        }
        assert!(!parents.is_shunned(ParentAddr::Peer(addr(2)), 6 + 2 * FROZEN_MS));
        parents.shun(addr(1), 5);
        assert!(parents.is_shunned(ParentAddr::Peer(addr(1)), SHUNNED_MS + 4));
        assert!(!parents.is_shunned(ParentAddr::Peer(addr(1)), SHUNNED_MS + 5));
        assert!(!parents.is_shunned(ParentAddr::Peer(addr(3)), 6));
        (10..10 + REJECTED_MAX as u16).for_each(|port| parents.shun(addr(port), 6));
        assert!(!parents.is_shunned(ParentAddr::Peer(addr(1)), 6), "so many are remembered");
    }

    #[test]
    fn the_master_is_never_banned() {
        let mut parents = parents();
        parents.ban(ParentAddr::Master, 7);
        parents.ban(ParentAddr::Peer(addr(3)), 7);
        assert!(!parents.is_banned(ParentAddr::Master));
        assert_eq!(parents.corrupt_piece(ParentAddr::Peer(addr(3))), Some(7));
    }
}
