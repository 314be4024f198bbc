//! What is for one node alone: who gets it when. So much is in memory at a time, for so long; who
//! comes beyond that waits, and then is told to come again.
//!
//! Knows the nodes by the names that they have proved. Refuses to know what there is for them.

use super::handovers::{Packed, READ_MS, WAITING_MAX};
use super::{Master, MasterEffect};
use crate::alone::{BYTES_MAX, Head};
use alloc::format;
use alloc::string::String;
use ninep::server::OpenId;
use zeroize::Zeroizing;

/// Bytes that are kept for all nodes at a time.
const KEPT_BYTES_MAX: usize = 4 * BYTES_MAX;

impl Master {
    /// It has proved that it is this node.
    pub(super) fn alone_wanted(&mut self, now_ms: u64, open_id: OpenId, node: String) {
        if !self.alone.may(now_ms, &node) || self.alone.waiting.len() >= WAITING_MAX {
            return self.give_head(open_id, Head::Busy);
        }
        self.alone.waiting.push_back((open_id, node, now_ms));
        self.pack_next();
    }

    /// The next who waits, if there is room for the most that there may be for it.
    fn pack_next(&mut self) {
        let has_room = self.server.space.bytes_alone(None) + BYTES_MAX <= KEPT_BYTES_MAX;
        if self.alone.packing.is_some() || !has_room {
            return;
        }
        let Some((open_id, node, _)) = self.alone.waiting.pop_front() else { return };
        self.effects.push_back(MasterEffect::PackAlone { node: node.clone() });
        self.alone.packing = Some((Some(open_id), node));
    }

    /// It was looked for.
    pub(super) fn packed(&mut self, now_ms: u64, packed: Packed) {
        let Some((open_id, node)) = self.alone.packing.take() else { return };
        // It did not wait.
        let Some(open_id) = open_id else { return self.pack_next() };
        let text = match &packed {
            Packed::None => format!("{node}: there is no layer for it alone"),
            Packed::Wrong => format!("{node}: the layer for it alone cannot be given, see above"),
            Packed::Layer(_, files) => format!("{node}: a layer for it alone, {files} files"),
        };
        match packed {
            Packed::None => self.give_head(open_id, Head::None),
            Packed::Wrong => self.give_head(open_id, Head::Wrong),
            Packed::Layer(bytes, _) => {
                self.server.give_alone(open_id, bytes);
                self.alone.given.push((open_id, now_ms));
            }
        }
        self.announce(MasterEffect::Say, text);
        self.pack_next();
    }

    fn give_head(&mut self, open_id: OpenId, head: Head) {
        self.server.give_alone(open_id, Zeroizing::new(head.encode().to_vec()));
    }

    /// An opening ended.
    pub(super) fn alone_closed(&mut self, open_id: OpenId) {
        self.alone.waiting.retain(|(known, _, _)| *known != open_id);
        if let Some((known, _)) = &mut self.alone.packing {
            known.take_if(|known| *known == open_id);
        }
        self.alone.given.retain(|(known, _)| *known != open_id);
        // Who reads there still hears that it is at its end.
        self.server.end_alone(open_id);
        self.pack_next();
    }

    /// Who has waited or read for too long is sent away.
    pub(super) fn end_alone(&mut self, now_ms: u64) {
        while self.alone.deadline_ms().is_some_and(|at_ms| now_ms >= at_ms) {
            let is_late = |(_, since_ms): &(OpenId, u64)| now_ms >= since_ms + READ_MS;
            match self.alone.given.first() {
                Some(first) if is_late(first) => {
                    let (open_id, _) = self.alone.given.remove(0);
                    self.server.end_alone(open_id);
                }
                _ => {
                    let Some((open_id, _, _)) = self.alone.waiting.pop_front() else { break };
                    self.give_head(open_id, Head::Busy);
                }
            }
        }
        self.pack_next();
    }
}
