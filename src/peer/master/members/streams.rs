//! Clients that stream: they keep a window of what they fetch, and are as fast as who
//! reads from them.
//!
//! Who is slow says so, and then nobody who is faster has it for a parent. Whoever has
//! fallen out of the windows of those ahead is put into a forest of their own. It is all a
//! client's own word: it moves its own edges, and those of who fetches from it, who are
//! put elsewhere as if it left. Refuses to know pieces.

use super::{Member, Members, voice};
use crate::control::{Complaint, MasterMessage};
use crate::overlay::{Newcomer, Parent};
use crate::server::Server;
use ninep::server::OpenId;

/// Who says that it is full is parted from its children that did not say so by then: where
/// all are slow all say it at much the same time, and stay together.
const HEARING_MS: u64 = 250;
/// However often somebody says how far it is, others are put right no more often.
const RELIEVE_MS: u64 = 1_000;
/// Who was full stays so for as long, whatever it says: all its children were put elsewhere
/// for it. Honest clients wait longer.
const FULL_MS: u64 = 3_000;

impl Member {
    /// As it comes into a forest.
    pub(super) fn newcomer(&self, is_reached: bool) -> Newcomer {
        let (node, voice) = (self.node, voice(self.addr));
        let is_partial = self.stream.window_bytes.is_some();
        Newcomer { node, rack: None, voice, is_partial, is_reached }
    }
}

impl Members {
    /// Whether a newcomer streams, and comes when those who do have the start of it no more.
    pub(super) fn is_late(&self, newcomer: &Member) -> bool {
        let Some(group) = self.groups.get(&newcomer.generation) else { return false };
        let has_start = |open_id: &OpenId| {
            self.list.get(open_id).is_some_and(|member| {
                let kept = member.stream.window_bytes.unwrap_or(u64::MAX) / 2;
                member.stats.have_bytes <= kept && !group.is_behind(member.node)
            })
        };
        let mut others = group.by_node.iter().filter(|(node, _)| **node != newcomer.node);
        newcomer.stream.window_bytes.is_some()
            && group.by_node.len() > 1
            && !others.any(|(_, open_id)| has_start(open_id))
    }

    /// A member says whether its reader is slower than what comes.
    pub fn full(&mut self, now_ms: u64, open_id: OpenId, is_full: bool) {
        let Some(member) = self.list.get_mut(&open_id) else { return };
        if member.stream.window_bytes.is_some() {
            member.stream.says_full = is_full;
            self.take_full(now_ms, open_id);
        }
    }

    /// What it said is so, unless it is too soon.
    fn take_full(&mut self, now_ms: u64, open_id: OpenId) {
        let Some(member) = self.list.get_mut(&open_id) else { return };
        let Some(group) = self.groups.get_mut(&member.generation) else { return };
        let stream = &mut member.stream;
        let is_full = stream.says_full;
        if is_full == stream.is_full || !is_full && now_ms < stream.full_ms + FULL_MS {
            return;
        }
        stream.is_full = is_full;
        if is_full {
            stream.full_ms = now_ms;
        }
        group.forest_of(member.node).set_full(member.node, is_full);
        if !core::mem::replace(&mut member.stream.is_noted, true) {
            self.streams.0.push_back((now_ms + HEARING_MS, open_id));
        }
    }

    /// Those who said so long ago that they are full, or are no more, have parents and
    /// children of their kind.
    pub(super) fn part_full(&mut self, server: &mut Server, now_ms: u64) {
        while let Some(&(_, open_id)) = self.streams.0.front().filter(|(at_ms, _)| *at_ms <= now_ms)
        {
            self.streams.0.pop_front();
            let Some(member) = self.list.get_mut(&open_id) else { continue };
            member.stream.is_noted = false;
            let (node, generation) = (member.node, member.generation);
            if let Some(group) = self.groups.get_mut(&generation) {
                group.forest_of(node).part(node);
            }
            self.announce_changes(server, generation);
        }
    }

    /// A member that streams has said how far it is: time to put right what could not be
    /// when others were parted.
    pub fn relieve(&mut self, server: &mut Server, now_ms: u64, open_id: OpenId) {
        self.take_full(now_ms, open_id);
        let Some(member) = self.list.get_mut(&open_id) else { return };
        let generation = member.generation;
        let is_recent = now_ms < member.stream.relieved_ms + RELIEVE_MS;
        if member.stream.window_bytes.is_none() || is_recent {
            return;
        }
        member.stream.relieved_ms = now_ms;
        let node = member.node;
        if let Some(group) = self.groups.get_mut(&generation) {
            if member.stream.is_full {
                group.forest_of(node).part(node);
            } else {
                group.forest_of(node).relieve();
            }
        }
        self.announce_changes(server, generation);
    }

    /// What it is that a member says of a parent: of others than those who stream, and by
    /// others, it is no honest word that they have passed it.
    pub(super) fn taken_as(
        &self,
        (open_id, accused): (OpenId, Parent),
        complaint: Complaint,
    ) -> Complaint {
        if complaint != Complaint::Passed {
            return complaint;
        }
        let has_window = |open_id: &OpenId| {
            self.list.get(open_id).is_some_and(|m| m.stream.window_bytes.is_some())
        };
        let group = self.list.get(&open_id).and_then(|m| self.groups.get(&m.generation));
        let parent = match accused {
            Parent::Master => None,
            Parent::Node(node) => group.and_then(|group| group.by_node.get(&node)),
        };
        let is_sound = has_window(&open_id) && parent.is_some_and(has_window);
        if is_sound { complaint } else { Complaint::Refused }
    }

    /// A parent keeps no more what a member wants.
    pub(super) fn passed(
        &mut self,
        server: &mut Server,
        now_ms: u64,
        (open_id, parent): (OpenId, Parent),
    ) {
        let Some(member) = self.list.get_mut(&open_id) else { return };
        let Some(group) = self.groups.get_mut(&member.generation) else { return };
        let Parent::Node(parent) = parent else { return };
        if !member.stream.passed.is_second(now_ms, parent) || group.is_behind(member.node) {
            return;
        }
        let (node, newcomer) = (member.node, member.newcomer(member.is_reached));
        group.forest_of(node).leave(node);
        group.behind().join(newcomer, now_ms);
        group.behind().set_full(node, member.stream.is_full);
        let generation = member.generation;
        server.answer(open_id, &MasterMessage::Behind);
        self.announce_changes(server, generation);
    }
}
