//! Looks at the served tree: what makes one necessary, and what becomes of one that failed.
//!
//! Refuses to know how often there may be one (`Rescan`), and how it is done.

use super::{Master, MasterEffect};
use crate::failure::{Failure, Status};
use crate::namespace::GenerationId;
use alloc::format;

impl Master {
    pub(super) fn look_again(&mut self, now_ms: u64) {
        if self.whole.is_some() && self.rescan.begin(now_ms) {
            self.effects.push_back(MasterEffect::Rescan);
        }
    }

    /// The file cannot be had in this generation any more: said once.
    pub(super) fn changed(
        &mut self,
        now_ms: u64,
        generation: GenerationId,
        entry: u32,
        path: &str,
    ) {
        if !self.server.space.lose_file(generation, entry) {
            return;
        }
        let text = format!("{path} changed since it was hashed: who fetches it gets the others");
        self.effects.push_back(MasterEffect::Warn(text));
        // Of a generation that is not served to newcomers any more it is no news.
        if self.whole == Some(generation) || self.selections.has(generation) {
            self.look_again(now_ms);
        }
    }

    pub(super) fn scan_failed(&mut self, now_ms: u64, why: &str) {
        if self.whole.is_none() {
            let failure = Failure::fatal(Status::Source, "", why);
            return self.effects.push_back(MasterEffect::Exit { failure });
        }
        if self.rescan.failed(now_ms, why) {
            let text = format!("cannot look at the served tree again: {why}");
            self.effects.push_back(MasterEffect::Warn(text));
        }
        self.admit_all(now_ms);
    }
}
