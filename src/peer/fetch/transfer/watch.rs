//! Watches the parents of a transfer: who gives too little, which stripe has nobody,
//! who owes what.
//!
//! Knows when a stripe goes to another parent though its link lives. Refuses to know
//! how a link that does not live is found out (`ParentLink`).

use super::super::common::Common;
use super::super::liveness::Observed;
use super::super::parent_link::{PROBE_AFTER_MS, ParentLink};
use super::super::signs::Sample;
use super::super::window::Pace;
use super::{Transfer, view};
use crate::control::{Complaint, ParentAddr};
use alloc::format;
use alloc::string::String;
use ninep::server::ConnId;

/// A parent that answers and owes a piece for this long is replaced by the master
/// in that stripe: the piece may never come, and must not hold up the rest.
const STARVED_MS: u64 = 15_000;
/// A parent that owes a piece for this long and says that it has not even the manifest
/// is left: whoever serves has that.
const DENIED_MS: u64 = 500;
/// A stripe without a parent is asked of the master when it has named nobody for so
/// long: mostly that takes a round trip.
const ORPHAN_MS: u64 = 1_000;
/// The manifest is asked of the master as well when nothing of it came for so long.
const MANIFEST_MS: u64 = 1_000;

impl Transfer {
    /// Complains of parents that answer and whose stripe lags. The master decides
    /// what follows: it hears all children, and so knows where a delay begins. The
    /// parent goes on sending until the master names another.
    #[inline(never)]
    pub(super) fn look_for_slow(&mut self, common: &mut Common) {
        let generation = common.generation(self.generation);
        let is_barren = self.liveness.barren_ms(common.now_ms) >= MANIFEST_MS;
        let is_known = generation.is_some_and(|known| known.content.is_some());
        self.scheduler.is_stuck = !is_known && (self.scheduler.is_stuck || is_barren);
        if let Some(view) = view(&self.parents, common, self.generation) {
            self.scheduler.note_orphans(view, common.now_ms);
        }
        for stripe in 0..self.parents.by_stripe().len() {
            let Some(view) = view(&self.parents, common, self.generation) else { return };
            let owed_ms = self.scheduler.owed_ms(view, stripe, common.now_ms);
            let link = self.parents.link_of_stripe(stripe);
            let busy_ms = link.map_or(0, |link| link.busy_ms(common.now_ms));
            let parent = link.map(|link| link.parent);
            let denies = link.map_or([false; 2], ParentLink::denies);
            let denied_ms = DENIED_MS + self.liveness.local_stall_ms();
            let has_nothing = is_known && denies[0] && owed_ms >= denied_ms;
            let observed = Observed { owed_ms, busy_ms, denies: denies[1] };
            let complaint = self.liveness.complaint(view, stripe, observed, common.now_ms);
            let Some(parent) = parent else {
                self.adopt_orphan(common, stripe);
                continue;
            };
            // Who is behind waits long for its turn, and the master has the less for each the
            // more ask it.
            let is_fed =
                self.pace == Pace::Behind && self.liveness.barren_ms(common.now_ms) < STARVED_MS;
            let is_starved = owed_ms >= STARVED_MS && !is_fed;
            if is_starved && parent != ParentAddr::Master && common.master_link.is_up() {
                // It answers and brings nothing, and no other was named.
                self.set_parent(common, stripe, ParentAddr::Master);
            } else if has_nothing || complaint == Some(Complaint::Refused) {
                self.leave(common, stripe, parent, owed_ms);
            } else if let Some(complaint) = complaint {
                self.complain(common, stripe as u8, parent, complaint);
            }
        }
    }

    /// Leaves a parent that gives nothing in a stripe. The master is nobody to leave.
    fn leave(&mut self, common: &mut Common, stripe: usize, parent: ParentAddr, owed_ms: u64) {
        if parent != ParentAddr::Master {
            let why = format!("gives nothing of what it owes for {owed_ms} ms");
            self.warn(common, parent, &why);
            self.replace(common, stripe, parent, Complaint::Refused);
        }
    }

    /// What to probe a parent with: the manifest's first piece and, in turn with it, one
    /// that we have had for long.
    pub(super) fn sample(&self, common: &Common, conn: ConnId) -> Sample {
        let generation = common.generation(self.generation);
        let stride = generation.map_or(0, |known| known.manifest_pieces.stride());
        let turn = common.now_ms / PROBE_AFTER_MS;
        // Who streams has passed what we have had for long.
        let view = view(&self.parents, common, self.generation);
        let view = view.filter(|_| turn % 2 == 1 && self.pace == Pace::Any);
        let known = view.and_then(|view| self.scheduler.known(view, conn, turn / 2));
        Sample { piece: known.unwrap_or(0), stride }
    }

    /// The master names no other parent: it is asked itself.
    fn adopt_orphan(&mut self, common: &mut Common, stripe: usize) {
        let Some(generation) = common.generation(self.generation) else { return };
        let is_wanted = !generation.list_known() || generation.holdings.missing_of(stripe) > 0;
        let orphan_ms = self.scheduler.orphan_ms(stripe, common.now_ms);
        if is_wanted && orphan_ms >= ORPHAN_MS && common.master_link.is_up() {
            self.set_parent(common, stripe, ParentAddr::Master);
        }
    }

    /// Who owes what, and for how long: for the last message.
    #[inline(never)]
    pub fn owed(&self, common: &Common) -> String {
        let mut said = String::new();
        for (conn, link) in self.parents.links() {
            let seconds = |since_ms: u64| common.now_ms.saturating_sub(since_ms) / 1_000;
            let (piece, owes) = (self.scheduler.oldest(conn), link.owes());
            let who = self.name(link.parent);
            said += &match (piece, owes) {
                (Some((piece, since_ms)), _) => {
                    format!("; {who} owes piece {piece} for {} s", seconds(since_ms))
                }
                (None, Some((what, since_ms))) => {
                    format!("; {who} owes {what} for {} s", seconds(since_ms))
                }
                (None, None) => continue,
            };
        }
        if said.is_empty() { "; nobody was asked".into() } else { said }
    }
}
