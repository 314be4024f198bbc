//! What a master announces, and when another takes its place.
//!
//! Knows which failures are a master's own, and what is kept of a fetch when the next is
//! asked: until the manifest is here nothing, from then on all. Refuses to know in which
//! order masters are tried (`MasterLink`).

use super::download::Download;
use super::phase::FetchPhase;
use super::{Fetcher, manifest};
use crate::content::digest::Digest;
use crate::content::pieces::ManifestPieces;
use crate::failure::{Failure, Status};
use alloc::format;

impl Fetcher {
    pub(super) fn announced(&mut self, pieces: ManifestPieces, stripes: u8) -> Result<(), Failure> {
        let digest = pieces.generation;
        let master = self.common.master_link.addr();
        match &mut self.download {
            None if !manifest::is_sound(pieces.manifest_len, pieces.piece_len, stripes) => {
                let why = "announced a generation out of all bounds";
                self.refuse_master(Failure::fatal(Status::Connection, "the master", why))
            }
            None => {
                self.check_wanted(digest)?;
                manifest::check_memory(pieces.manifest_len, self.options.memory_bytes)?;
                let options = &self.options;
                self.download = Some(Download::new(&mut self.common, pieces, stripes, options));
                self.phase = FetchPhase::Manifest;
                Ok(())
            }
            // Joined again: the same tree, and maybe new parents.
            Some(download) if download.digest() == digest => {
                download.joined_again();
                download.transfer.set_master(&mut self.common, master);
                Ok(())
            }
            Some(_) => {
                let why = "changed on the master during the fetch; fetch again";
                Err(Failure::fatal(Status::Changed, "the served tree", why))
            }
        }
    }

    /// Whether it is what was announced before, where something was.
    fn check_wanted(&self, digest: Digest) -> Result<(), Failure> {
        match self.options.masters.generation {
            Some(wanted) if wanted != digest => {
                let why = format!(
                    "serves blake3:{digest}, and said before that it serves blake3:{wanted}; nothing was written. It has changed, or it lies: ask again"
                );
                let what = format!("the master {}", self.common.master_link.addr());
                Err(Failure::fatal(Status::Verification, what, why))
            }
            _ => Ok(()),
        }
    }

    /// What would end the fetch ends it not where the fault is the master's and there is
    /// another.
    ///
    /// # Errors
    /// There is none, or the fault is not the master's.
    pub(super) fn turn_to_spare(&mut self, failure: Failure) -> Result<(), Failure> {
        let is_masters =
            matches!(failure.status, Status::Source | Status::Changed | Status::Verification);
        if is_masters && !self.phase.is_settled() {
            return self.refuse_master(failure);
        }
        Err(failure)
    }

    /// The master that is connected to is asked no more.
    ///
    /// # Errors
    /// There is no other.
    pub(super) fn refuse_master(&mut self, failure: Failure) -> Result<(), Failure> {
        let (outbox, now_ms) = (&mut self.common.server.outbox, self.common.now_ms);
        let warning = self.common.master_link.refuse(outbox, now_ms, failure)?;
        self.common.warn(warning);
        self.common.version = self.options.version();
        match (&mut self.download, self.phase) {
            (Some(download), FetchPhase::Checking | FetchPhase::Fetching) => {
                download.leave_master(&mut self.common);
            }
            // Nothing was shown and nothing written: the next may have another.
            (download, _) => {
                if let Some(mut begun) = download.take() {
                    begun.transfer.end(&mut self.common);
                    self.common.server.space.drop_generation(begun.transfer.generation);
                }
                self.phase = FetchPhase::Joining;
            }
        }
        Ok(())
    }
}
