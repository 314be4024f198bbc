//! What those who fetch say of it: how far they are, and what is wrong with a parent.
//!
//! Knows whom that concerns. Refuses to know what follows for the forest (`members`).

use super::members::Accusation;
use super::{Master, MasterEffect};
use crate::control::TransferStats;
use ninep::server::OpenId;

impl Master {
    pub(super) fn replace(&mut self, now_ms: u64, open_id: OpenId, accusation: Accusation) {
        let (warnings, inspection) =
            self.members.replace(&mut self.server, now_ms, open_id, accusation);
        warnings.into_iter().for_each(|text| self.announce(MasterEffect::Warn, text));
        self.call(now_ms, inspection);
    }

    pub(super) fn note(&mut self, now_ms: u64, open_id: OpenId, stats: TransferStats, done: bool) {
        let ip = self.server.space.peer_ip(open_id.conn);
        let _ = ip.and_then(|ip| self.nodes.roll.at(now_ms, ip));
        if !self.members.note(open_id, stats, done)
            && let Some(greeting) = self.members.greeting(&self.server, open_id)
        {
            self.inspections.want_some_time(greeting, now_ms);
        }
    }

    pub(super) fn done(&mut self, now_ms: u64, open_id: OpenId, stats: TransferStats) {
        self.note(now_ms, open_id, stats, true);
        let ip = self.server.space.peer_ip(open_id.conn);
        if let Some(text) = self.members.done(&mut self.server, open_id)
            && ip.is_some_and(|ip| self.server.voices.may_say(now_ms, ip))
        {
            self.announce(MasterEffect::Say, text);
        }
    }
}
