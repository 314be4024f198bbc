//! Who feeds which stripe: links made, watched, blamed and replaced.
//!
//! Knows the parents that the master named and how they behave. What arrives
//! on the links is `arrival`'s, what to ask for next `spread::transfer`'s.

use super::*;
use alloc::collections::BinaryHeap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// A stripe that lags this long, and brings less than half of what others
/// bring, is complained of; and so, as often, is one with a piece owed that long.
const SLOW_MS: u64 = 300;
/// A parent is narrow that brings less than one in so many of what is usual:
/// much less than a loaded one brings among idle ones.
const NARROW: u32 = 4;
/// A piece that a living parent owes for this long is asked of the master: it
/// may never come, and whoever gives nothing must not hold up the others.
const STARVED_MS: u64 = 15_000;
/// After that many parents of one stripe failed, the master is asked itself,
/// whatever it answers: the original's last resort.
const REPLACED_MAX: u32 = 4;

/// Failures of parents that are remembered.
const REJECTED_MAX: usize = 64;

impl Fetch {
    /// The master names a parent. When it knows none but one that failed us in
    /// that stripe, going back and forth would bring nothing: the master
    /// itself is asked then.
    pub(super) fn named(
        &mut self,
        common: &mut Common,
        now_ms: u64,
        stripe: u8,
        source: ParentAddr,
    ) {
        let is_rejected =
            matches!(source, ParentAddr::Peer(addr) if self.rejected.contains(&(stripe, addr)));
        if !is_rejected {
            self.set_feeder(common, now_ms, stripe, source);
        } else if self.feeders.get(usize::from(stripe)) == Some(&None) {
            self.set_feeder(common, now_ms, stripe, ParentAddr::Master);
        }
    }

    pub(super) fn set_feeder(
        &mut self,
        common: &mut Common,
        now_ms: u64,
        stripe: u8,
        source: ParentAddr,
    ) {
        let Some(slot) = self.slot else { return };
        if usize::from(stripe) >= self.feeders.len() || self.is_settled() {
            return;
        }
        let banned = matches!(source, ParentAddr::Peer(addr) if self.banned.contains(&addr));
        if banned {
            return self.master_link.ask(
                common,
                &ClientMessage::Replace { stripe, source, complaint: Complaint::Corrupt },
            );
        }
        self.feeders[usize::from(stripe)] = Some(source);
        self.lags[usize::from(stripe)] = None;
        let found = self.links.iter().find(|(_, link)| link.source == source);
        let conn = match found.map(|(conn, _)| conn) {
            Some(conn) => conn,
            None => {
                let conn = common.next_conn();
                let digest = common.space.generation(slot).map(Generation::digest);
                let link = ParentLink::new(conn, source, digest.unwrap_or_default(), now_ms);
                self.call(common, conn, link);
                conn
            }
        };
        self.scheduler.set_feeder(stripe, Some(ParentKey(conn.0)));
        self.drop_idle_links(common);
        self.fill(common, now_ms, conn);
    }

    fn call(&mut self, common: &mut Common, conn: ConnId, link: ParentLink) {
        let source = link.source;
        let addr = match source {
            ParentAddr::Peer(addr) => addr,
            ParentAddr::Master => self.master_link.addr(),
        };
        self.links.insert(conn, link);
        self.scheduler.add_parent(ParentKey(conn.0), source == ParentAddr::Master);
        common.effects.push_back(Effect::Connect { conn, addr });
    }

    /// Calls those again that do not answer: it may be that a SYN was lost.
    pub(super) fn reconnect(&mut self, common: &mut Common, now_ms: u64) {
        let late = |link: &ParentLink| link.is_unanswered(now_ms, self.local_stall_ms);
        let late = self.links.iter().filter(|(_, link)| late(link)).map(|(conn, _)| conn);
        for old in late.collect::<Vec<_>>() {
            let Some(mut link) = self.links.remove(&old) else { continue };
            self.scheduler.drop_parent(ParentKey(old.0));
            common.effects.push_back(Effect::Close { conn: old });
            let (source, conn) = (link.source, common.next_conn());
            link.reconnect(conn, now_ms);
            self.call(common, conn, link);
            for stripe in (0..self.feeders.len()).filter(|&s| self.feeders[s] == Some(source)) {
                self.scheduler.set_feeder(stripe as u8, Some(ParentKey(conn.0)));
            }
        }
    }

    /// Links that feed no stripe any more are closed.
    pub(super) fn drop_idle_links(&mut self, common: &mut Common) {
        let feeds = |source: ParentAddr| self.feeders.contains(&Some(source));
        let idle = self.links.iter().filter(|(_, link)| !feeds(link.source));
        for conn in idle.map(|(conn, _)| conn).collect::<Vec<_>>() {
            self.close_link(common, conn);
        }
    }

    pub(super) fn close_link(&mut self, common: &mut Common, conn: ConnId) {
        if self.links.remove(&conn).is_some() {
            self.scheduler.drop_parent(ParentKey(conn.0));
            common.effects.push_back(Effect::Close { conn });
        }
    }

    /// A parent does not do: say so, and ask for another.
    pub(super) fn lose_link(
        &mut self,
        common: &mut Common,
        conn: ConnId,
        complaint: Complaint,
        why: &str,
        now_ms: u64,
    ) {
        let Some(link) = self.links.get(&conn) else { return };
        let source = link.source;
        if !self.is_settled() {
            common.effects.push_back(Effect::Warn(format!("{}: {why}", self.source_name(source))));
        }
        if let (Complaint::Corrupt, ParentAddr::Peer(addr)) = (complaint, source) {
            self.banned.push(addr);
        }
        self.close_link(common, conn);
        for stripe in 0..self.feeders.len() {
            if self.feeders[stripe] == Some(source) {
                self.replace(common, now_ms, stripe, source, complaint);
            }
        }
        self.fill_all(common, now_ms);
    }

    pub(super) fn replace(
        &mut self,
        common: &mut Common,
        now_ms: u64,
        stripe: usize,
        source: ParentAddr,
        complaint: Complaint,
    ) {
        self.feeders[stripe] = None;
        self.scheduler.set_feeder(stripe as u8, None);
        self.lags[stripe] = None;
        if self.is_settled() {
            return;
        }
        self.master_link
            .ask(common, &ClientMessage::Replace { stripe: stripe as u8, source, complaint });
        // Who is silent may only be busy: the master knows what others say of it.
        if let (ParentAddr::Peer(addr), true) = (source, complaint != Complaint::Frozen) {
            self.reject(common, now_ms, stripe, addr);
        }
    }

    fn reject(&mut self, common: &mut Common, now_ms: u64, stripe: usize, addr: SocketAddr) {
        self.rejected.push_back((stripe as u8, addr));
        if self.rejected.len() > REJECTED_MAX {
            self.rejected.pop_front();
        }
        self.replaced[stripe] += 1;
        if self.replaced[stripe] > REPLACED_MAX {
            self.replaced[stripe] = 0;
            self.set_feeder(common, now_ms, stripe as u8, ParentAddr::Master);
        }
    }

    pub(super) fn source_name(&self, source: ParentAddr) -> String {
        match source {
            ParentAddr::Master => format!("the master {}", self.master_link.addr()),
            ParentAddr::Peer(addr) => format!("peer {addr}"),
        }
    }

    pub(super) fn heard(&mut self, conn: ConnId, now_ms: u64) {
        if self.master_link.is(conn) {
            self.master_link.heard(now_ms);
        } else if let Some(link) = self.links.get_mut(&conn) {
            link.heard_part(now_ms);
            self.last_data_ms = now_ms;
        }
    }

    /// Keeps the windows of all links full.
    pub(super) fn fill_all(&mut self, common: &mut Common, now_ms: u64) {
        for conn in self.links.keys().collect::<Vec<_>>() {
            self.fill(common, now_ms, conn);
        }
    }

    /// Keeps a link's window of requests full.
    pub(super) fn fill(&mut self, common: &mut Common, now_ms: u64, conn: ConnId) {
        let Some(generation) = self.generation(common) else { return };
        let (manifest_count, stride) =
            (generation.manifest_pieces.count(), generation.manifest_pieces.stride());
        let list_len = if generation.list_known { 0 } else { manifest_count * 32 };
        let Some(link) = self.links.get_mut(&conn) else { return };
        if list_len > 0 {
            link.ask_list(common, list_len);
        }
        let moves = matches!(self.phase, FetchPhase::Manifest | FetchPhase::Moving);
        while moves
            && link.is_open()
            && let Some(ask) = self.scheduler.next_ask(ParentKey(conn.0), now_ms)
        {
            link.ask_piece(now_ms, ask, stride);
        }
        link.flush(common);
    }

    pub(super) fn stalled(
        &mut self,
        common: &mut Common,
        now_ms: u64,
    ) -> Vec<(ConnId, String, Complaint)> {
        let mut stalled = Vec::new();
        for (conn, link) in self.links.iter_mut() {
            let awaits = self.scheduler.awaits(ParentKey(conn.0)) || link.awaits_list();
            if let Some((why, complaint)) = link.look(common, now_ms, awaits, self.local_stall_ms) {
                stalled.push((conn, why, complaint));
            }
        }
        stalled
    }

    /// What there is to complain of in the stripe, if it is time to.
    pub(super) fn slowness(
        &mut self,
        stripe: usize,
        owed_ms: u64,
        now_ms: u64,
    ) -> Option<Complaint> {
        if !self.scheduler.lags(stripe) && owed_ms < OWED_MS {
            self.lags[stripe] = None;
            return None;
        }
        if self.lags[stripe].as_ref().is_some_and(|lag| now_ms < lag.since_ms + SLOW_MS) {
            return None;
        }
        let link = self.links.values().find(|link| Some(link.source) == self.feeders[stripe]);
        let busy_ms = link.map_or(0, |link| link.busy_ms(now_ms));
        let missing = (0..self.lags.len()).map(|s| self.scheduler.missing_of(s)).collect();
        let lag = self.lags[stripe].replace(Lag { since_ms: now_ms, missing, busy_ms })?;
        let came = |s: usize| lag.missing[s].saturating_sub(self.scheduler.missing_of(s));
        let others = (0..self.lags.len()).filter(|&s| s != stripe).map(came);
        let others = others.collect::<BinaryHeap<u32>>().into_sorted_vec();
        // Not the mean: who gets one stripe in no time gets the others slowly.
        let usual = others.get((others.len().max(1) - 1) / 2).copied().unwrap_or(0);
        let came = came(stripe);
        let is_busy = 2 * (busy_ms - lag.busy_ms) >= now_ms - lag.since_ms;
        if is_busy && NARROW * came < usual {
            return Some(Complaint::SlowUplink);
        }
        (owed_ms >= OWED_MS && came == 0).then_some(Complaint::Slow)
    }

    /// A stripe whose parent lives but stays behind is complained of. What
    /// follows is the master's: it hears of all, and knows where it began. The
    /// parent goes on feeding until the master names another.
    pub(super) fn look_for_slow(&mut self, common: &mut Common, now_ms: u64) {
        for stripe in 0..self.feeders.len() {
            let owed_ms = self.scheduler.owed_ms(stripe, now_ms);
            let complaint = self.slowness(stripe, owed_ms, now_ms);
            let Some(source) = self.feeders[stripe] else { continue };
            if owed_ms >= STARVED_MS && source != ParentAddr::Master && self.master_link.is_up() {
                // It lives, and gives nothing, and nobody else was named.
                self.set_feeder(common, now_ms, stripe as u8, ParentAddr::Master);
            } else if let Some(complaint) = complaint {
                self.master_link.ask(
                    common,
                    &ClientMessage::Replace { stripe: stripe as u8, source, complaint },
                );
            }
        }
    }
}
