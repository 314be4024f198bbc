//! How a client that asks to join is taken in: at once, once the served tree was
//! looked at, or when it is its turn to have a selection made. Who joins again is given
//! the generation that it was in, as long as that is served.
//!
//! Who wants to know who signed it is told so before.
//!
//! Knows in what order. Refuses to know what its place is (`Members`) and what its
//! sources are (`Selections`).

use super::joins::Join;
use super::selections::{Selected, Turn};
use super::{Master, MasterEffect};
use crate::auth::Key;
use crate::content::manifest::Selector;
use crate::control::MasterMessage;
use crate::namespace::GenerationId;
use crate::signature::Statement;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use ninep::server::OpenId;

impl Master {
    /// From now on this key is wanted of who calls ([`auth`](crate::auth)), but for who attaches
    /// the plain tree where that is free.
    pub fn lock(&mut self, key: &Key, seed: [u8; 32], is_plain_free: bool) {
        self.server.lock(key, seed, is_plain_free);
        self.server.space.serve_alone(key);
    }

    pub(super) fn join(&mut self, now_ms: u64, join: Join) {
        if self.members.has(join.open_id) || self.joins.has(join.open_id) {
            return self.refuse(join.open_id, 22, "joined already");
        }
        if let Some(heard) = self.nodes.roll.at(now_ms, join.ip) {
            heard.joined(now_ms);
        }
        let space = &self.server.space;
        if let Some(id) = join.was_in.and_then(|digest| space.generation_of(digest)) {
            return self.admit_to(now_ms, join, id);
        }
        let is_recent = self.whole.is_some() && self.rescan.is_recent(now_ms);
        // A source that is not there may have come since the last look.
        if is_recent {
            match self.select_for(now_ms, &join) {
                Ok(_) => return self.admit(now_ms, join),
                Err(text) if self.selections.has_refused_for_good(&join.selector) => {
                    return self.refuse(join.open_id, 2, &text);
                }
                Err(_) => {}
            }
        }
        if self.wait(now_ms, join) {
            self.look_again(now_ms);
        }
    }

    /// Whether there is a place for who waits.
    fn wait(&mut self, now_ms: u64, join: Join) -> bool {
        let open_id = join.open_id;
        let is_waiting = self.joins.wait(now_ms, join).is_ok();
        if !is_waiting {
            self.refuse(open_id, 11, "too many clients wait already");
        }
        is_waiting
    }

    pub(super) fn admit_all(&mut self, now_ms: u64) {
        for join in self.joins.take_all() {
            self.admit(now_ms, Join { is_next: false, ..join });
        }
        self.answer_nodes(now_ms, true);
        self.answer_questions(now_ms);
    }

    /// Whose turn it is has a selection made.
    pub(super) fn admit_next(&mut self, now_ms: u64) {
        if self.selections.is_ready(now_ms)
            && let Some(join) = self.joins.take_next()
        {
            self.admit(now_ms, join);
        }
    }

    fn admit(&mut self, now_ms: u64, join: Join) {
        match self.select_for(now_ms, &join) {
            Ok(Some(id)) => self.admit_to(now_ms, join, id),
            Ok(None) => {
                self.wait(now_ms, Join { is_next: true, ..join });
            }
            Err(text) => self.refuse(join.open_id, 2, &text),
        }
    }

    /// It is theirs; to who wants it signed that is said first.
    fn admit_to(&mut self, now_ms: u64, join: Join, id: GenerationId) {
        if !join.is_signed {
            return self.announce_to(now_ms, &join, id);
        }
        let (open_id, place) = (join.open_id, Statement::place(&join.selector));
        self.joins.wait_for_signature(join, id);
        self.effects.push_back(MasterEffect::ReadSignature { open_id, place });
    }

    /// What somebody signed is here, or there is nothing.
    pub(super) fn signed(&mut self, now_ms: u64, open_id: OpenId, signed: Vec<u8>) {
        let Some((join, id)) = self.joins.take_signing(open_id) else { return };
        self.server.answer(open_id, &MasterMessage::Signature(signed));
        self.announce_to(now_ms, &join, id);
    }

    fn announce_to(&mut self, now_ms: u64, join: &Join, id: GenerationId) {
        let &Join { open_id, ip, port, window_bytes, .. } = join;
        let Some(generation) = self.server.space.generation(id) else { return };
        let message = MasterMessage::Generation {
            digest: generation.digest(),
            manifest_len: generation.manifest_pieces.manifest_len,
            piece_len: generation.manifest_pieces.piece_len,
            stripes: self.options.fan_out,
        };
        self.server.answer(open_id, &message);
        let addr = SocketAddr::new(ip, port);
        match self.members.join(&mut self.server, now_ms, open_id, addr, (id, window_bytes)) {
            Ok(()) => {
                self.members.set_sources(open_id, &join.selector.sources);
                self.call(now_ms, self.members.greeting(&self.server, open_id));
            }
            Err(why) => self.refuse(open_id, 11, why),
        }
    }

    fn select_for(&mut self, now_ms: u64, join: &Join) -> Result<Option<GenerationId>, String> {
        self.select(now_ms, join.ip, &join.selector, join.is_next)
    }

    /// The generation of what is wanted, made when first asked for: in its turn.
    pub(super) fn select(
        &mut self,
        now_ms: u64,
        ip: IpAddr,
        selector: &Selector,
        is_next: bool,
    ) -> Result<Option<GenerationId>, String> {
        let whole = self.whole.ok_or("nothing is served yet")?;
        let members = &self.members;
        let is_used = |id| members.has_any_of(id);
        // Nobody goes before those who wait for a turn.
        let is_turn = is_next || !self.joins.is_anybody_next();
        let space = &mut self.server.space;
        let turn =
            Turn { now_ms: if is_turn { now_ms } else { 0 }, of_ip: members.count_groups(ip) };
        let selected = self.selections.select(space, whole, selector, turn, is_used)?;
        let Some(Selected { id, dropped }) = selected else { return Ok(None) };
        for dropped in dropped {
            self.selections.returns.forget(dropped);
            self.drop_unused(dropped);
        }
        Ok(Some(id))
    }
}
