//! A client as a state machine: join, take the manifest, move the pieces, finish, linger.
//!
//! Inputs and the time go in by [`Fetcher::handle`]; [`Fetcher::poll_conn_effect`],
//! [`Fetcher::poll_effect`] and [`Fetcher::poll_timeout`] say what is to be done and when to call
//! again. This file knows the phases and what ends them. It refuses to know what a piece completes
//! (`Download`), what is asked of which parent (`Transfer`) and how the master is reached
//! (`MasterLink`). The driver verifies and stores bytes.

mod callable;
mod candidates;
mod common;
mod conversation;
mod corrupt;
mod download;
mod io;
mod liveness;
mod manifest;
mod master_link;
mod options;
mod parent_link;
mod parents;
mod phase;
mod report;
mod scheduler;
mod signs;
mod spare;
mod transfer;
mod window;

pub use io::{FetchEffect, FetchInput, StoreResult};
pub use manifest::{MANIFEST_LEN_MAX, MEMORY_FACTOR};
pub use options::{FetchOptions, Progress};
#[cfg(feature = "testing")]
pub use scheduler::bench::SchedulerBench;

use crate::auth::Key;
use crate::conn::{ConnEffect, ConnEvent};
use crate::content::pieces::ManifestPieces;
use crate::control::{
    ClientMessage, JOIN_LEN_MAX, MasterMessage, TransferStats, VERSION, VERSION_MIN, VERSION_PLAIN,
};
use crate::failure::{Failure, Status};
use crate::namespace::{NameSpace, Notice};
use crate::request::Linger;
use crate::server::{Server, Standing};
use crate::timers::{Timer, Timers};
use alloc::collections::VecDeque;
use alloc::format;
use alloc::vec::Vec;
use common::Common;
use download::Download;
use liveness::DROUGHT_MS;
use master_link::MasterLink;
use ninep::server::ConnId;
use phase::FetchPhase;
use report::{FetchReport, LEAVE_MS};
use window::Pace;

/// How often the master hears how far we are, and how long `done` may take to reach it before we go on.
const PROGRESS_MS: u64 = 2_000;
const REPORT_MS: u64 = 2_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FetchTimer {
    /// Tell the master how far we are.
    Progress,
    /// Reporting, lingering or leaving ends.
    Phase,
}

impl Timer for FetchTimer {
    const ALL: &'static [FetchTimer] = &[FetchTimer::Progress, FetchTimer::Phase];
    fn index(self) -> usize {
        self as usize
    }
}

/// A client.
pub struct Fetcher {
    options: FetchOptions,
    common: Common,
    phase: FetchPhase,
    timers: Timers<2>,
    /// What came before a generation was announced.
    signed: Vec<u8>,
    /// Once the master has announced a generation.
    download: Option<Download>,
}

impl Fetcher {
    /// A client that calls its master at once.
    pub fn new(options: FetchOptions, now_ms: u64) -> Fetcher {
        let common = Common {
            now_ms,
            server: Server::new(NameSpace::new(false, 0)),
            master_link: MasterLink::new(options.masters.clone(), options.request.retries),
            version: options.version(),
            version_newest: options.version(),
            effects: VecDeque::new(),
            report: FetchReport::new(now_ms),
        };
        let (phase, timers, signed) = (FetchPhase::Joining, Timers::new(), Vec::new());
        let mut fetcher = Fetcher { options, common, phase, timers, signed, download: None };
        fetcher.start();
        fetcher
    }

    /// From now on this key is shown to whom we call, and wanted of who calls us
    /// ([`auth`](crate::auth)). To be said before the first connection is there.
    pub fn lock(&mut self, key: &Key, seed: [u8; 32]) {
        self.common.server.lock(key, seed, false);
    }

    fn start(&mut self) {
        let len = self.join_message().line().len();
        if len > JOIN_LEN_MAX {
            let why = format!(
                "the sources, and what is excluded, take {len} bytes, allowed are {JOIN_LEN_MAX}; name a directory above them"
            );
            return self.fail(Failure::fatal(Status::Source, "", why));
        }
        let Common { now_ms, server, master_link, .. } = &mut self.common;
        self.timers.set(FetchTimer::Progress, *now_ms + PROGRESS_MS);
        master_link.connect(&mut server.outbox, *now_ms);
    }

    fn join_message(&self) -> ClientMessage {
        // The tree may have changed meanwhile, and what we fetch be served yet.
        self.options.join_message(self.common.version, self.download.as_ref().map(Download::digest))
    }

    /// Takes what happened; effects and another timeout follow from it.
    pub fn handle(&mut self, now_ms: u64, input: FetchInput) {
        self.common.now_ms = now_ms;
        // Who looks on may end it for reasons of its own.
        let is_ended = matches!(input, FetchInput::Fatal { .. } | FetchInput::Interrupted);
        let taken = self.take(input);
        let taken = if is_ended { taken } else { taken.or_else(|why| self.turn_to_spare(why)) };
        if let Err(failure) = taken {
            self.fail(failure);
        }
        if let Some(download) = &mut self.download {
            download.transfer.fill_freed(&mut self.common);
        }
        self.take_notices();
        self.advance();
    }

    /// Takes an input; an error ends the fetch.
    fn take(&mut self, input: FetchInput) -> Result<(), Failure> {
        match input {
            FetchInput::Conn(event) => return self.handle_conn(event),
            // The driver had these in hand when it ended.
            FetchInput::Prepared { .. }
            | FetchInput::Compared { .. }
            | FetchInput::Finished { .. }
            | FetchInput::Timeout
                if self.phase == FetchPhase::Over => {}
            FetchInput::Stored { conn, piece, result } => {
                if let Some(download) = &mut self.download {
                    return download.stored(&mut self.common, conn, piece, result);
                }
            }
            FetchInput::Lost { generation, piece } => {
                let tickets = self.common.server.space.lose(generation, piece);
                self.common.wake(tickets);
                // Our own copy was whole; who takes it from us hears of the piece what is so.
                self.common.leave_once();
            }
            FetchInput::Prepared { found } => {
                if let Some(download) = &mut self.download {
                    download.prepared(&mut self.common, &found);
                    self.phase = FetchPhase::Fetching;
                }
            }
            FetchInput::Written { below } => {
                if let Some(download) = &mut self.download {
                    download.written(&mut self.common, below);
                }
            }
            FetchInput::Compared { failures } => self.compared(failures),
            FetchInput::Finished { failures } => self.finished(failures),
            FetchInput::Checksum { generation, entry, sum } => {
                self.common.server.set_checksum(generation, entry, sum);
            }
            FetchInput::Log { text } => self.common.log(&text),
            FetchInput::Interrupted => return self.interrupted(),
            FetchInput::Fatal { failure } => return Err(failure),
            FetchInput::Timeout => return self.timeout(),
        }
        Ok(())
    }

    /// What to do next with a connection, in this order.
    pub fn poll_conn_effect(&mut self) -> Option<ConnEffect> {
        self.common.server.outbox.pop()
    }

    /// The next reply on a connection of which [`ConnEffect::Replies`] spoke, and
    /// which has room for it; other effects may follow from it.
    pub fn poll_reply(&mut self, conn: ConnId) -> Option<ConnEffect> {
        let reply = self.common.server.poll_reply(conn);
        self.take_notices();
        reply
    }

    /// Whether somebody who says no more is still owed an answer.
    pub fn owes(&self, conn: ConnId) -> bool {
        self.common.server.owes(conn)
    }

    /// Bytes of memory that the other end of a connection makes us hold, about, and
    /// how far it has come.
    pub fn held(&self, conn: ConnId) -> (usize, Standing) {
        self.common.server.held(conn)
    }

    fn take_notices(&mut self) {
        while let Some(notice) = self.common.server.poll_notice() {
            self.notice(notice);
        }
    }

    /// What else to do next.
    pub fn poll_effect(&mut self) -> Option<FetchEffect> {
        self.common.effects.pop_front()
    }

    /// When [`FetchInput::Timeout`] is due, in milliseconds on the caller's
    /// clock. Stays in the past until it is handed in.
    pub fn poll_timeout(&self) -> Option<u64> {
        if self.phase == FetchPhase::Over {
            return None;
        }
        let download = self.download.as_ref();
        let transfer = download.and_then(|d| d.transfer.deadline_ms(&self.common));
        let unsaid = self.common.server.deadline_ms();
        let link = self.common.master_link.deadline_ms();
        let times = [transfer, link, self.timers.next_ms(), unsaid];
        times.into_iter().flatten().min()
    }

    /// The name for a connection that was accepted.
    pub fn next_conn(&mut self) -> ConnId {
        self.common.server.outbox.next_conn()
    }

    /// Takes the memory of a [`ConnEffect::Send`] back, for the next one.
    pub fn recycle(&mut self, spent: Vec<u8>) {
        self.common.server.outbox.recycle(spent);
    }

    /// Longest frame that this connection may send now, in bytes.
    pub fn frame_len_max(&self, conn: ConnId) -> u32 {
        self.common.server.frame_len_max(conn)
    }

    /// Whether we answer requests on this connection, and do not send them.
    pub fn serves(&self, conn: ConnId) -> bool {
        self.common.server.serves(conn)
    }

    /// What [`ConnEffect::SendBulk`] names.
    pub fn space(&self) -> &NameSpace {
        &self.common.server.space
    }

    /// Connections that fetch from us.
    pub fn child_count(&self) -> usize {
        self.common.server.session_count()
    }

    /// All files are verified and in place, and the master knows.
    pub fn is_in_place(&self) -> bool {
        self.phase.is_reported() && self.common.report.failures.is_empty()
    }

    /// How far the fetch is.
    pub fn progress(&self) -> Progress {
        let Common { master_link, report, .. } = &self.common;
        let hashing = master_link.hashing();
        let is_waiting = self.phase == FetchPhase::Joining && hashing.is_some();
        let content = self.download.as_ref().and_then(|d| d.content(&self.common));
        Progress {
            stats: report.stats,
            files: report.files,
            phase: if is_waiting { "waiting for the master to hash" } else { self.phase.words() },
            hashing,
            is_answered: hashing.is_some()
                || !matches!(self.phase, FetchPhase::Joining | FetchPhase::Over),
            generation: content.map(|content| content.map.manifest_pieces().generation),
            master: master_link.addr(),
        }
    }

    fn notice(&mut self, notice: Notice) {
        // Reads of our own `checksum` are answered by the driver, as a master's. Only a master
        // has what else there is.
        if let Notice::ChecksumWanted(generation, entry) = notice {
            self.common.effects.push_back(FetchEffect::Checksum { generation, entry });
        }
    }

    fn handle_conn(&mut self, event: ConnEvent) -> Result<(), Failure> {
        let (conn, common) = (event.conn(), &mut self.common);
        if matches!(event, ConnEvent::Accepted { .. }) || common.server.serves(conn) {
            if let Some(warning) = common.server.handle(common.now_ms, event) {
                common.warn(warning);
            }
        } else if common.master_link.is(conn) {
            return self.handle_master(event);
        } else if let Some(download) = &mut self.download {
            download.handle(common, event)?;
            if self.phase == FetchPhase::Manifest && download.content(common).is_some() {
                self.phase = FetchPhase::Checking;
            }
        }
        Ok(())
    }

    #[inline(never)]
    fn handle_master(&mut self, event: ConnEvent) -> Result<(), Failure> {
        match event {
            ConnEvent::Connected { .. } => self.join(),
            ConnEvent::Partial { .. } => self.common.master_link.heard(self.common.now_ms),
            ConnEvent::Closed { reason, .. } => return self.lost_master(&reason),
            ConnEvent::Frame { conn, frame } => {
                match self.common.master_link.frame(self.common.now_ms, frame) {
                    Ok(messages) => {
                        for message in messages {
                            // One may be the last that it is asked for.
                            if self.common.master_link.is(conn) {
                                self.handle_message(message)?;
                            }
                        }
                    }
                    Err(why) => self.lost_master(&why)?,
                }
                let Common { server, master_link, .. } = &mut self.common;
                master_link.flush(&mut server.outbox);
            }
            // We connect to the master; it never connects to us.
            ConnEvent::Accepted { .. } => {}
        }
        Ok(())
    }

    fn join(&mut self) {
        let join = self.join_message();
        let Common { now_ms, server, master_link, .. } = &mut self.common;
        master_link.connected(server, *now_ms, &join);
        if let Some(greeting) = self.options.request.greeting.take() {
            self.common.log(&greeting);
        }
    }

    /// In words that an older master knows.
    fn join_again(&mut self, version: u32) {
        self.common.version = version;
        let join = self.join_message();
        self.common.tell(&join);
    }

    #[inline(never)]
    fn handle_message(&mut self, message: MasterMessage) -> Result<(), Failure> {
        log::debug!(target: "client", "the master says: {}", message.line().trim_end());
        match message {
            MasterMessage::Wait { .. } => self.wait_or_pass(),
            MasterMessage::Generation { .. } if self.phase == FetchPhase::Finishing => {}
            // EPROTONOSUPPORT: it is older than we are.
            MasterMessage::Error { errno: 93, .. } if self.common.version == VERSION_PLAIN => {
                self.join_again(VERSION_MIN);
            }
            // The master came back when all was in place: it needs the report alone.
            MasterMessage::Generation { .. } if self.phase.is_settled() => self.report_end(),
            _ if self.phase.is_settled() => {}
            // Where it has files of just these names they are what is wanted.
            MasterMessage::Error { errno: 93, .. }
                if self.common.version == VERSION && self.options.request.may_be_paths() =>
            {
                self.join_again(VERSION_PLAIN);
            }
            MasterMessage::Error { errno, .. }
                if errno == 93 && self.common.version == VERSION
                    || errno == 2
                        && self.common.version < VERSION
                        && self.options.request.needs_options() =>
            {
                let what = self.common.master_link.name();
                let failure = Failure::fatal(Status::Connection, what, options::TOO_OLD);
                return self.refuse_present(failure);
            }
            MasterMessage::Error { errno, text } => {
                let status = if errno == 2 { Status::Source } else { Status::Connection };
                return self.refuse_present(Failure::fatal(status, "", text));
            }
            MasterMessage::Signature(signed) => self.signed = signed,
            MasterMessage::Generation { digest, manifest_len, piece_len, stripes } => {
                let list = Vec::new();
                let pieces = ManifestPieces { generation: digest, manifest_len, piece_len, list };
                return self.announced(pieces, stripes);
            }
            MasterMessage::Behind => {
                if let Some(download) = &mut self.download {
                    download.transfer.pace = Pace::Behind;
                }
            }
            MasterMessage::Parent { stripe, parent } => {
                if let Some(download) = &mut self.download {
                    download.transfer.handle_parent(&mut self.common, stripe, parent);
                }
            }
        }
        Ok(())
    }

    #[inline(never)]
    fn timeout(&mut self) -> Result<(), Failure> {
        while let Some(text) = self.common.server.poll_unsaid(self.common.now_ms) {
            self.common.warn(text);
        }
        let Common { now_ms, server, master_link, .. } = &mut self.common;
        let now_ms = *now_ms;
        if let Some(why) = master_link.timeout(&mut server.outbox, now_ms) {
            self.lost_master(&why)?;
        }
        while let Some(timer) = self.timers.take_passed(now_ms) {
            match timer {
                FetchTimer::Progress => self.report_progress(),
                // `advance` looks at the time itself.
                FetchTimer::Phase => {}
            }
        }
        let Some(download) = &mut self.download else { return Ok(()) };
        if download.transfer.timeout(&mut self.common) {
            let owed = download.transfer.owed(&self.common);
            let why = format!("no data from anybody for {} s{owed}", DROUGHT_MS / 1000);
            let what = self.common.master_link.name();
            return Err(Failure::fatal(Status::Connection, what, why));
        }
        Ok(())
    }

    fn report_progress(&mut self) {
        // Finishing may take long: a disk is waited for.
        if !self.phase.is_settled() || self.phase == FetchPhase::Finishing {
            self.timers.set(FetchTimer::Progress, self.common.now_ms + PROGRESS_MS);
            self.common.report.note_time(self.common.now_ms);
            self.common.tell(&ClientMessage::Progress(self.common.report.stats));
        }
    }

    /// Goes on to the next phase when it is time; called after every input.
    #[inline(never)]
    fn advance(&mut self) {
        let Common { now_ms, server, master_link, report, .. } = &self.common;
        let (now_ms, is_alone) = (*now_ms, server.session_count() == 0);
        let stays = self.stays();
        match self.phase {
            FetchPhase::Fetching => self.finish_if_complete(),
            FetchPhase::Reporting { until_ms } if master_link.is_quiet() || now_ms >= until_ms => {
                let until_ms = match self.options.request.linger {
                    Linger::Twice => report.twice_ms(),
                    Linger::Millis(ms) | Linger::Stay(ms) => report.after_finish_ms(ms),
                };
                let notice_at_ms = until_ms - report.notice_ms(until_ms);
                self.enter(FetchPhase::Lingering { until_ms }, notice_at_ms);
                self.advance();
            }
            FetchPhase::Lingering { .. } if is_alone && !stays => self.exit(),
            FetchPhase::Leaving { .. } if is_alone => self.exit(),
            // Children get their notice within the time that was promised.
            FetchPhase::Lingering { until_ms }
                if now_ms >= until_ms - report.notice_ms(until_ms) =>
            {
                self.leave(until_ms);
            }
            FetchPhase::Lingering { .. } if stays && master_link.is_gone() => {
                self.leave(now_ms + LEAVE_MS);
            }
            FetchPhase::Leaving { until_ms } if now_ms >= until_ms => self.exit(),
            _ => {}
        }
    }

    fn finish_if_complete(&mut self) {
        let Some(download) = &mut self.download else { return };
        if download.is_complete(&self.common) {
            self.phase = FetchPhase::Finishing;
            download.transfer.end(&mut self.common);
            self.common.effects.push_back(FetchEffect::Finish);
        }
    }

    fn enter(&mut self, phase: FetchPhase, until_ms: u64) {
        self.phase = phase;
        self.timers.set(FetchTimer::Phase, until_ms);
    }

    fn finished(&mut self, failures: Vec<Failure>) {
        let now_ms = self.common.now_ms;
        self.common.report.failures.extend(failures);
        self.common.report.finish(now_ms);
        self.report_end();
        let until_ms = now_ms + REPORT_MS;
        self.enter(FetchPhase::Reporting { until_ms }, until_ms);
    }

    /// Nothing was to be fetched: who is given to us has nobody.
    fn compared(&mut self, failures: Vec<Failure>) {
        let now_ms = self.common.now_ms;
        self.common.report.failures.extend(failures);
        self.common.report.finish(now_ms);
        if let Some(download) = &mut self.download {
            download.transfer.end(&mut self.common);
        }
        self.common.log("compared what it has with this, and fetches nothing");
        // Of nothing it has all, and who is done gets no children.
        let TransferStats { elapsed_ms, .. } = self.common.report.stats;
        let stats = TransferStats { elapsed_ms, ..TransferStats::default() };
        self.common.tell(&ClientMessage::Done(stats));
        let until_ms = now_ms + REPORT_MS;
        self.enter(FetchPhase::Reporting { until_ms }, until_ms);
    }

    /// Tells the master how the fetch ended.
    fn report_end(&mut self) {
        match self.common.report.failures.first().map(Failure::text) {
            // Who is done gets no more children, and who stays is there for them.
            None if self.stays() => {
                self.common.tell(&ClientMessage::Progress(self.common.report.stats));
            }
            None => self.common.tell(&ClientMessage::Done(self.common.report.stats)),
            Some(first) => {
                self.common.tell(&ClientMessage::Progress(self.common.report.stats));
                self.common.log(&format!("failed: {first}"));
            }
        }
    }

    /// What is here stays for the next run; children are given to others.
    fn interrupted(&mut self) -> Result<(), Failure> {
        match self.phase {
            FetchPhase::Lingering { .. } => self.leave(self.common.now_ms + LEAVE_MS),
            FetchPhase::Reporting { .. } | FetchPhase::Leaving { .. } | FetchPhase::Over => {
                self.exit();
            }
            FetchPhase::Joining
            | FetchPhase::Manifest
            | FetchPhase::Checking
            | FetchPhase::Fetching
            | FetchPhase::Finishing => {
                let why = match self.options.is_resumed {
                    true => "interrupted; the same command goes on from here",
                    false => "interrupted; the same command, and what reads it, begin anew",
                };
                return Err(Failure::fatal(Status::Interrupted, "", why));
            }
        }
        Ok(())
    }

    fn stays(&self) -> bool {
        matches!(self.options.request.linger, Linger::Stay(_))
    }

    fn leave(&mut self, until_ms: u64) {
        if self.stays() && self.common.report.failures.is_empty() {
            self.common.tell(&ClientMessage::Done(self.common.report.stats));
        }
        self.common.tell(&ClientMessage::Leave);
        self.enter(FetchPhase::Leaving { until_ms }, until_ms);
    }

    fn exit(&mut self) {
        if self.phase != FetchPhase::Over {
            self.phase = FetchPhase::Over;
            if let Some(download) = &mut self.download {
                download.transfer.end(&mut self.common);
            }
            let failures = core::mem::take(&mut self.common.report.failures);
            self.common.effects.push_back(FetchEffect::Exit { failures });
        }
    }

    fn fail(&mut self, failure: Failure) {
        if self.phase == FetchPhase::Over {
            return;
        }
        // What the master says of us last is to be true.
        self.report_progress();
        self.common.log(&format!("failed: {}", failure.text()));
        self.common.report.failures.push(failure);
        self.exit();
    }
}
