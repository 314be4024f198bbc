//! A client's part: join, take the manifest, move the pieces, finish, linger.
//!
//! Knows the phases and what ends them; links to parents are `link`, the
//! conversation with the master is `master_link`. What to ask of whom next is
//! `spread::transfer`'s. Bytes are verified and stored by the driver.

mod arrival;
mod master_link;
mod parent_link;
mod parents;
pub mod scheduler;

use crate::content::digest::Digest;
use crate::content::manifest::{EntryKind, Manifest, PIECE_LEN_MAX, PIECE_LEN_MIN};
use crate::content::pieces::{ManifestPieces, PieceMap};
use crate::control::{
    ClientMessage, Complaint, LINE_LEN_MAX, MasterMessage, ParentAddr, TransferStats, VERSION,
    printable,
};
use crate::fetch::scheduler::{ParentKey, Scheduler};
use crate::namespace::{Content, Generation, GenerationId, Notice};
use crate::node::{Common, Effect, Failure, Input, Status, StoreResult, piece_name};
use crate::request::{Linger, Pin};
use crate::table::Table;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;
use master_link::MasterLink;
use ninep::server::ConnId;
use parent_link::{Got, ParentLink};

/// How often stalls are looked for and windows refilled.
const TICK_MS: u64 = 100;
/// What a delay of our own loses of its weight in every tick.
const LOCAL_STALL_FADES: u64 = 64;
/// How often the master hears how far we are.
const PROGRESS_MS: u64 = 2_000;
const OWED_MS: u64 = 5_000;
/// Pieces that may have come wrong from the master and not yet right again.
const CORRUPT_MAX: usize = 64;
/// Nothing at all arrived for this long, from nobody: it will not any more.
const DROUGHT_MS: u64 = 60_000;
/// How long `done` may take to reach the master before we go on.
const REPORT_MS: u64 = 2_000;
/// How long children have to move when we leave before they are through.
const LEAVE_MS: u64 = 3_000;
/// Largest manifest that is believed: 16 million entries and their lists.
const MANIFEST_LEN_MAX: u64 = 4 << 30;

#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// The master's addresses, tried in turn.
    pub masters: Vec<SocketAddr>,
    pub sources: Vec<Vec<u8>>,
    /// The port on which we serve.
    pub port: u16,
    pub pin: Option<Pin>,
    /// `-r`: how often to try the master again.
    pub retries: u32,
    pub linger: Linger,
    /// A line for the master's log when we first join.
    pub greeting: Option<String>,
}

/// How far a fetch is, for people.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    pub stats: TransferStats,
    pub files: u64,
    /// What is going on, in a word or two.
    pub phase: &'static str,
    /// The master's hashing, while it is waited for.
    pub hashing: Option<(u64, u64)>,
    /// The digest of the generation, once known.
    pub generation: Option<Digest>,
    /// The address of the master that is spoken to.
    pub master: SocketAddr,
}

impl Default for Progress {
    fn default() -> Progress {
        Progress {
            stats: TransferStats::default(),
            files: 0,
            phase: "",
            hashing: None,
            generation: None,
            master: SocketAddr::from(([0, 0, 0, 0], 0)),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FetchPhase {
    Joining,
    /// The pieces of the manifest move.
    Manifest,
    /// The destination is looked at.
    Preparing,
    Moving,
    Finishing,
    /// All is in place; the master is told.
    Reporting {
        until_ms: u64,
    },
    Lingering {
        until_ms: u64,
    },
    Leaving {
        until_ms: u64,
    },
    Over,
}

/// Since when a stripe lags; how much was missing of each then, and how long
/// its feeder's link had been busy.
#[derive(Clone, Debug)]
struct Lag {
    since_ms: u64,
    missing: Vec<u32>,
    busy_ms: u64,
}

pub(crate) struct Fetch {
    options: FetchOptions,
    phase: FetchPhase,
    started_ms: u64,
    finished_ms: u64,
    tick_ms: u64,
    /// How long we, or parents that answered a probe, were lately held up, by a
    /// slow disk or a crowded processor: others may be, and not be frozen.
    local_stall_ms: u64,
    progress_ms: u64,
    /// When a piece, or a part of one, last came from anybody.
    last_data_ms: u64,
    master_link: MasterLink,
    links: Table<ConnId, ParentLink>,
    /// For each stripe, whom the master named.
    feeders: Vec<Option<ParentAddr>>,
    replaced: Vec<u32>,
    lags: Vec<Option<Lag>>,
    banned: Vec<SocketAddr>,
    /// Who failed us in which stripe, the last of them.
    rejected: VecDeque<(u8, SocketAddr)>,
    /// Pieces that the master sent wrong once.
    corrupt: Vec<u32>,
    scheduler: Scheduler,
    slot: Option<GenerationId>,
    content: Option<Rc<Content>>,
    /// Counted once: progress is asked for in every turn.
    files: u64,
    stats: TransferStats,
    failures: Vec<Failure>,
    /// The master was told to give our children to others.
    is_withdrawn: bool,
}

impl Fetch {
    pub fn new(options: FetchOptions, now_ms: u64) -> Fetch {
        Fetch {
            master_link: MasterLink::new(options.masters.clone(), options.retries),
            options,
            phase: FetchPhase::Joining,
            started_ms: now_ms,
            finished_ms: now_ms,
            tick_ms: now_ms + TICK_MS,
            local_stall_ms: 0,
            progress_ms: now_ms + PROGRESS_MS,
            last_data_ms: now_ms,
            links: Table::new(),
            feeders: Vec::new(),
            replaced: Vec::new(),
            lags: Vec::new(),
            banned: Vec::new(),
            rejected: VecDeque::new(),
            corrupt: Vec::new(),
            scheduler: Scheduler::new(1),
            slot: None,
            content: None,
            files: 0,
            stats: TransferStats::default(),
            failures: Vec::new(),
            is_withdrawn: false,
        }
    }

    pub fn start(&mut self, common: &mut Common, now_ms: u64) {
        let len = self.join_ask().line().len();
        if len > LINE_LEN_MAX {
            return self.fail(
                common,
                Failure {
                    status: Status::Source,
                    what: String::new(),
                    why: format!("the sources take {len} bytes, allowed are {LINE_LEN_MAX}; name a directory above them"),
                    fatal: true,
                },
            );
        }
        self.master_link.connect(common, now_ms);
    }

    pub fn poll_timeout(&self) -> Option<u64> {
        let links = self.links.values().filter_map(ParentLink::again_ms).min();
        let at_ms = links.map_or(self.tick_ms, |again_ms| again_ms.min(self.tick_ms));
        (self.phase != FetchPhase::Over).then_some(at_ms)
    }

    pub fn progress(&self) -> Progress {
        let phase = match self.phase {
            FetchPhase::Joining if self.master_link.hashing.is_some() => {
                "waiting for the master to hash"
            }
            FetchPhase::Joining => "joining",
            FetchPhase::Manifest => "fetching the manifest",
            FetchPhase::Preparing => "checking what is there",
            FetchPhase::Moving => "fetching",
            FetchPhase::Finishing => "finishing",
            FetchPhase::Reporting { .. }
            | FetchPhase::Lingering { .. }
            | FetchPhase::Leaving { .. } => "serving",
            FetchPhase::Over => "done",
        };
        let generation = self.content.as_ref().map(|c| c.map.manifest_pieces().generation);
        Progress {
            stats: self.stats,
            files: self.files,
            phase,
            hashing: self.master_link.hashing,
            generation,
            master: self.master_link.addr(),
        }
    }

    pub fn is_in_place(&self) -> bool {
        let told = matches!(self.phase, FetchPhase::Lingering { .. } | FetchPhase::Leaving { .. });
        told && self.failures.is_empty()
    }

    /// Reads of our own `checksum` are answered by the driver, as a master's.
    pub fn notice(&mut self, common: &mut Common, notice: Notice) {
        if let Notice::ChecksumWanted(slot, entry) = notice {
            common.effects.push_back(Effect::Checksum { slot, entry });
        }
    }

    pub fn handle(&mut self, common: &mut Common, now_ms: u64, input: Input) {
        match input {
            Input::Connected { conn } if self.master_link.is(conn) => self.join(common, now_ms),
            Input::Connected { conn } => {
                if let Some(link) = self.links.get_mut(&conn) {
                    link.connected(common, now_ms);
                }
            }
            Input::Frame { conn, frame } if self.master_link.is(conn) => {
                match self.master_link.frame(now_ms, frame) {
                    Ok(tells) => tells.into_iter().for_each(|tell| self.told(common, now_ms, tell)),
                    Err(why) => self.lost_master(common, now_ms, why),
                }
                self.master_link.flush(common);
            }
            Input::Frame { conn, frame } => self.link_frame(common, now_ms, conn, frame),
            Input::Heard { conn } => self.heard(conn, now_ms),
            Input::Gone { conn, why } if self.master_link.is(conn) => {
                self.lost_master(common, now_ms, why);
            }
            Input::Gone { conn, why } => {
                let why = format!("lost: {why}");
                self.lose_link(common, conn, Complaint::Lost, &why, now_ms);
            }
            Input::Stored { conn, piece, result } => {
                self.stored(common, now_ms, conn, piece, result);
            }
            Input::Found { pieces } => self.found(common, &pieces),
            Input::Prepared => self.begin_moving(common, now_ms),
            Input::Finished { failures } => self.finished(common, now_ms, failures),
            Input::Log { text } => self.master_link.log(common, &text),
            Input::Interrupted => self.interrupted(common, now_ms),
            Input::Fatal { failure } => self.fail(common, failure),
            Input::Tick => self.tick(common, now_ms),
            _ => {}
        }
        if self.scheduler.take_freed() && !self.is_settled() {
            self.fill_all(common, now_ms);
        }
    }

    fn join_ask(&self) -> ClientMessage {
        let (port, sources) = (self.options.port, self.options.sources.clone());
        ClientMessage::Join { version: VERSION, port, sources }
    }

    fn join(&mut self, common: &mut Common, now_ms: u64) {
        let ask = self.join_ask();
        self.master_link.connected(common, now_ms, &ask);
        if let Some(greeting) = self.options.greeting.take() {
            self.master_link.log(common, &greeting);
        }
    }

    /// What the master says.
    fn told(&mut self, common: &mut Common, now_ms: u64, tell: MasterMessage) {
        log::debug!(target: "client", "the master says: {}", tell.line().trim_end());
        match tell {
            MasterMessage::Wait { .. } => {}
            // It came back when all was in place already: it only has to know.
            MasterMessage::Generation { .. } if self.is_settled() => self.report(common),
            _ if self.is_settled() => {}
            MasterMessage::Error { errno, text } => {
                let status = if errno == 2 { Status::Source } else { Status::Connection };
                self.fail(common, Failure { status, what: String::new(), why: text, fatal: true });
            }
            MasterMessage::Generation { digest, manifest_len, piece_len, stripes } => {
                let known = self.slot.and_then(|slot| common.space.generation(slot));
                match known.map(Generation::digest) {
                    None => self.begin_manifest(common, digest, manifest_len, piece_len, stripes),
                    // Joined again: the same tree, and maybe new parents.
                    Some(same) if same == digest => {}
                    Some(_) => self.fail(
                        common,
                        Failure {
                            status: Status::Changed,
                            what: "the served tree".into(),
                            why: "changed on the master during the fetch; fetch again".into(),
                            fatal: true,
                        },
                    ),
                }
            }
            MasterMessage::Parent { stripe, source } => self.named(common, now_ms, stripe, source),
        }
    }

    fn begin_manifest(
        &mut self,
        common: &mut Common,
        generation: Digest,
        manifest_len: u64,
        piece_len: u32,
        stripes: u8,
    ) {
        let sound = (1..=MANIFEST_LEN_MAX).contains(&manifest_len)
            && piece_len.is_power_of_two()
            && (PIECE_LEN_MIN..=PIECE_LEN_MAX).contains(&piece_len)
            && (1..=16).contains(&stripes);
        if !sound {
            return self.fail(
                common,
                Failure {
                    status: Status::Connection,
                    what: "the master".into(),
                    why: "announced a generation out of all bounds".into(),
                    fatal: true,
                },
            );
        }
        let manifest_pieces =
            ManifestPieces { generation, manifest_len, piece_len, list: Vec::new() };
        let count = manifest_pieces.count();
        let slot = common.space.add_generation(Generation::empty(manifest_pieces, stripes));
        let info = format!("generation blake3:{generation}\nindex_bytes {manifest_len}\n");
        let tickets = common.space.show(slot, info);
        common.wake(tickets);
        self.slot = Some(slot);
        self.scheduler = Scheduler::new(stripes);
        self.feeders = vec![None; usize::from(stripes)];
        self.replaced = vec![0; usize::from(stripes)];
        self.lags = vec![None; usize::from(stripes)];
        self.phase = FetchPhase::Manifest;
        if count == 1 {
            self.scheduler.extend(1);
        }
    }

    fn begin_moving(&mut self, common: &mut Common, now_ms: u64) {
        self.phase = FetchPhase::Moving;
        self.last_data_ms = now_ms;
        self.fill_all(common, now_ms);
    }

    fn lost_master(&mut self, common: &mut Common, now_ms: u64, why: String) {
        let feeding =
            now_ms < self.last_data_ms + DROUGHT_MS / 6 && self.phase == FetchPhase::Moving;
        if self.is_settled() {
            return self.master_link.abandon(common);
        }
        match self.master_link.lost(common, now_ms, &why, feeding) {
            Ok(()) => {}
            Err(why) => {
                let what = format!("the master {}", self.master_link.addr());
                self.fail(common, Failure { status: Status::Connection, what, why, fatal: true });
            }
        }
    }

    /// Nothing is asked of anybody any more.
    fn is_settled(&self) -> bool {
        !matches!(
            self.phase,
            FetchPhase::Joining | FetchPhase::Manifest | FetchPhase::Preparing | FetchPhase::Moving
        )
    }

    fn tick(&mut self, common: &mut Common, now_ms: u64) {
        let late_ms = now_ms.saturating_sub(self.tick_ms);
        let answers_ms = self.links.iter_mut().map(|(_, link)| link.take_answer_ms()).max();
        let late_ms = late_ms.max(answers_ms.unwrap_or(0));
        self.local_stall_ms =
            late_ms.max(self.local_stall_ms - self.local_stall_ms / LOCAL_STALL_FADES);
        self.tick_ms = now_ms + TICK_MS;
        if let Some(why) = self.master_link.tick(common, now_ms) {
            self.lost_master(common, now_ms, why);
        }
        if now_ms >= self.progress_ms && !self.is_settled() {
            self.progress_ms = now_ms + PROGRESS_MS;
            self.stats.elapsed_ms = now_ms - self.started_ms;
            self.master_link.ask(common, &ClientMessage::Progress(self.stats));
        }
        if self.is_settled() {
            return;
        }
        self.reconnect(common, now_ms);
        for (conn, why, complaint) in self.stalled(common, now_ms) {
            self.lose_link(common, conn, complaint, &why, now_ms);
        }
        if self.phase == FetchPhase::Moving || self.phase == FetchPhase::Manifest {
            self.look_for_slow(common, now_ms);
            self.fill_all(common, now_ms);
            if now_ms > self.last_data_ms + DROUGHT_MS {
                let why = format!("no data from anybody for {} s", DROUGHT_MS / 1000);
                let what = format!("the master {}", self.master_link.addr());
                self.fail(common, Failure { status: Status::Connection, what, why, fatal: true });
            }
        } else {
            self.last_data_ms = now_ms;
        }
    }

    /// Called after every input: moves on to the next phase when it is time.
    pub fn settle(&mut self, common: &mut Common, now_ms: u64, served: usize) {
        match self.phase {
            FetchPhase::Moving if self.scheduler.is_complete() => {
                self.phase = FetchPhase::Finishing;
                for conn in self.links.keys().collect::<Vec<_>>() {
                    self.close_link(common, conn);
                }
                common.effects.push_back(Effect::Finish);
            }
            FetchPhase::Reporting { until_ms }
                if self.master_link.is_quiet() || now_ms >= until_ms =>
            {
                let until_ms = match self.options.linger {
                    Linger::Twice => 2 * self.finished_ms - self.started_ms,
                    Linger::Millis(ms) => self.finished_ms.saturating_add(ms),
                };
                self.phase = FetchPhase::Lingering { until_ms };
                self.settle(common, now_ms, served);
            }
            FetchPhase::Lingering { .. } | FetchPhase::Leaving { .. } if served == 0 => {
                self.exit(common)
            }
            // Children get their notice within the time that was promised.
            FetchPhase::Lingering { until_ms }
                if now_ms.saturating_add(self.notice_ms(until_ms)) >= until_ms =>
            {
                self.leave(common, until_ms);
            }
            FetchPhase::Leaving { until_ms } if now_ms >= until_ms => self.exit(common),
            _ => {}
        }
    }

    fn finished(&mut self, common: &mut Common, now_ms: u64, failures: Vec<Failure>) {
        self.failures.extend(failures);
        self.finished_ms = now_ms;
        self.stats.elapsed_ms = now_ms - self.started_ms;
        self.report(common);
        self.phase = FetchPhase::Reporting { until_ms: now_ms + REPORT_MS };
    }

    /// How it ended, for the master.
    fn report(&mut self, common: &mut Common) {
        match self.failures.first().map(Failure::text) {
            None => self.master_link.ask(common, &ClientMessage::Done(self.stats)),
            Some(first) => {
                self.withdraw(common);
                self.master_link.log(common, &format!("failed: {first}"));
            }
        }
    }

    /// What is here stays for the next run; children are given to others.
    fn interrupted(&mut self, common: &mut Common, now_ms: u64) {
        match self.phase {
            FetchPhase::Lingering { .. } => self.leave(common, now_ms + LEAVE_MS),
            FetchPhase::Reporting { .. } | FetchPhase::Leaving { .. } | FetchPhase::Over => {
                self.exit(common)
            }
            _ => self.fail(
                common,
                Failure {
                    status: Status::Interrupted,
                    what: String::new(),
                    why: "interrupted; the same command goes on from here".into(),
                    fatal: true,
                },
            ),
        }
    }

    /// How long before the end of lingering the children are told.
    fn notice_ms(&self, until_ms: u64) -> u64 {
        LEAVE_MS.min(until_ms.saturating_sub(self.finished_ms) / 4)
    }

    fn leave(&mut self, common: &mut Common, until_ms: u64) {
        if let FetchPhase::Lingering { .. } = self.phase {
            self.master_link.ask(common, &ClientMessage::Leave);
            self.phase = FetchPhase::Leaving { until_ms };
        }
    }

    fn exit(&mut self, common: &mut Common) {
        if self.phase != FetchPhase::Over {
            self.phase = FetchPhase::Over;
            let failures = core::mem::take(&mut self.failures);
            common.effects.push_back(Effect::Exit { failures });
        }
    }

    fn fail(&mut self, common: &mut Common, failure: Failure) {
        if self.phase == FetchPhase::Over {
            return;
        }
        self.master_link.log(common, &format!("failed: {}", failure.text()));
        self.failures.push(failure);
        self.exit(common);
    }
}
