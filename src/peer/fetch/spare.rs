//! What a master announces, and when another takes its place.
//!
//! Knows which failures are a master's own, and what is kept of a fetch when the next is
//! asked: until the manifest is here nothing, from then on all. Refuses to know in which
//! order masters are tried (`MasterLink`).

use super::common::Common;
use super::download::Download;
use super::io::FetchEffect;
use super::master_link::GaveUp;
use super::phase::FetchPhase;
use super::{Fetcher, manifest};
use crate::content::digest::Digest;
use crate::content::pieces::ManifestPieces;
use crate::failure::{Failure, Status};
use crate::request::FetchRequest;
use crate::signature;
use alloc::format;
use alloc::string::ToString;
use core::mem::take;
use core::net::SocketAddr;

/// Clocks that differ by less are right.
const EARLY_S: u64 = 86_400;

impl Fetcher {
    #[inline(never)]
    pub(super) fn announced(&mut self, pieces: ManifestPieces, stripes: u8) -> Result<(), Failure> {
        let digest = pieces.generation;
        let master = self.common.master_link.addr();
        match &mut self.download {
            None if !manifest::is_sound(pieces.manifest_len, pieces.piece_len, stripes) => {
                let why = "announced a generation out of all bounds";
                self.refuse_present(Failure::fatal(Status::Connection, "the master", why))
            }
            None => {
                let signed = take(&mut self.signed);
                let checked =
                    self.check_wanted(digest).and_then(|()| self.check_signed(&signed, digest));
                if let Err(why) = checked {
                    return self.refuse_present(why);
                }
                manifest::check_memory(pieces.manifest_len, self.options.memory_bytes)?;
                let options = &self.options;
                self.download = Some(Download::new(&mut self.common, pieces, stripes, options));
                self.phase = FetchPhase::Manifest;
                Ok(())
            }
            // Joined again: the same tree, and maybe new parents.
            Some(download) if download.digest() == digest => {
                download.joined_again();
                download.set_master(&mut self.common, master);
                Ok(())
            }
            Some(download) => {
                let why = "changed on the master during the fetch; fetch again";
                // What a spare has instead is no answer: it is as one that is not there.
                let is_its_own = self.common.master_link.candidates.is_present(download.master());
                let status = if is_its_own { Status::Changed } else { Status::Connection };
                self.refuse_present(Failure::fatal(status, "the served tree", why))
            }
        }
    }

    /// The master hashes: another may be ready.
    pub(super) fn wait_or_pass(&mut self) {
        let Common { now_ms, server, master_link, .. } = &mut self.common;
        if let Some(warning) = master_link.pass_hashing(&mut server.outbox, *now_ms) {
            self.common.version = self.common.version_newest;
            self.common.warn(warning);
        }
    }

    /// The connection to the master is lost: it is tried again, or another.
    ///
    /// # Errors
    /// Nobody is reached.
    pub(super) fn lost_master(&mut self, why: &str) -> Result<(), Failure> {
        let Common { now_ms, server, master_link, .. } = &mut self.common;
        if self.phase.is_settled() {
            master_link.abandon(&mut server.outbox);
            return Ok(());
        }
        let flows = |download: &Download| download.transfer.is_flowing(*now_ms);
        let data_flow =
            self.phase == FetchPhase::Fetching && self.download.as_ref().is_some_and(flows);
        match master_link.lost(&mut server.outbox, *now_ms, why, data_flow) {
            Ok(warning) => {
                if master_link.candidates.has_other() {
                    // The next may be newer.
                    self.common.version = self.common.version_newest;
                }
                self.common.effects.extend(warning.map(FetchEffect::Warn));
                Ok(())
            }
            Err(GaveUp(why)) => {
                let what = master_link.name();
                let unreached = Failure::fatal(Status::Connection, what, why);
                Err(master_link.candidates.give_up(unreached))
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
                let what = self.common.master_link.name();
                Err(Failure::fatal(Status::Verification, what, why))
            }
            _ => Ok(()),
        }
    }

    /// Whether somebody who is trusted has signed that it is what was asked for.
    #[inline(never)]
    fn check_signed(&mut self, signed: &[u8], announced: Digest) -> Result<(), Failure> {
        let FetchRequest { trust, .. } = &self.options.request;
        if trust.keys.is_empty() {
            return Ok(());
        }
        let checked = match signed {
            [] => {
                let names = signature::names(&self.options.request.selector().plain());
                Err([
                    "what it serves is not signed as ",
                    &names,
                    " (xget --sign KEY DIR SRC... there, with just these)",
                ]
                .concat())
            }
            signed => signature::open(signed, &trust.keys)
                .map_err(|refusal| refusal.to_string())
                .and_then(|(statement, number)| {
                    let wanted = self.options.request.selector();
                    statement.check(&wanted, announced, trust.not_before_s)?;
                    trust
                        .started
                        .as_ref()
                        .map_or(Ok(()), |digits| statement.check_beside(digits))?;
                    Ok((number, statement.date_s))
                }),
        };
        match checked {
            Ok((number, date_s)) => {
                log::info!(target: "client", "blake3:{announced} is signed by key {number} at {date_s}");
                let now_s = trust.now_s.unwrap_or(u64::MAX);
                let early_s = date_s.saturating_sub(now_s);
                if early_s > EARLY_S {
                    let addr = self.common.master_link.addr();
                    self.common.warn(format!(
                        "what the master {addr} serves was signed {early_s} s from now: the clock here or that of who signed is wrong; --not-before lets it through until then"
                    ));
                }
                Ok(())
            }
            Err(why) => {
                let what = format!("the master {}", self.common.master_link.addr());
                let why = format!("{why}; nothing was written");
                Err(Failure::fatal(Status::Verification, what, why))
            }
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
            // Who sends may be another than who is called.
            let present = self.common.master_link.addr();
            let addr = self.download.as_ref().map_or(present, Download::master);
            return self.refuse_master(addr, failure);
        }
        Err(failure)
    }

    /// The master that is conversed with is asked no more.
    ///
    /// # Errors
    /// There is no other.
    pub(super) fn refuse_present(&mut self, failure: Failure) -> Result<(), Failure> {
        self.refuse_master(self.common.master_link.addr(), failure)
    }

    fn refuse_master(&mut self, addr: SocketAddr, failure: Failure) -> Result<(), Failure> {
        let Common { now_ms, server, master_link, .. } = &mut self.common;
        let warning = master_link.refuse(&mut server.outbox, *now_ms, (addr, failure))?;
        self.common.warn(warning);
        self.common.version = self.common.version_newest;
        match (&mut self.download, self.phase) {
            (Some(download), FetchPhase::Checking | FetchPhase::Fetching) => {
                download.leave_master(&mut self.common, addr);
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
