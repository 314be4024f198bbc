//! A client's part: join, take the index, move the pieces, finish, linger.
//!
//! Knows the phases and what ends them; links to parents are `link`, the
//! conversation with the master is `desk`. What to ask of whom next is
//! `spread::transfer`'s. Bytes are verified and stored by the driver.

mod desk;
mod link;

use super::{Common, Effect, Failure, Input, Status, StoreResult, piece_name, printable};
use crate::serve::ConnId;
use crate::spread::digest::Digest;
use crate::spread::index::{Index, Kind, PIECE_LEN_MAX, PIECE_LEN_MIN};
use crate::spread::pieces::{IndexPieces, PieceMap};
use crate::spread::talk::{Ask, Complaint, LINE_LEN_MAX, Source, Tally, Tell, VERSION};
use crate::spread::transfer::{Key, Transfer};
use crate::table::Table;
use crate::tree::{Content, Generation, Notice, Slot};
use desk::Desk;
use link::{Got, Link};
use std::net::SocketAddr;
use std::rc::Rc;

/// How often stalls are looked for and windows refilled.
const TICK_MS: u64 = 200;
/// What a delay of our own loses of its weight in every tick.
const HELD_UP_FADES: u64 = 64;
/// How often the master hears how far we are.
const PROGRESS_MS: u64 = 2_000;
/// A stripe that lags this long, and brings less than half of what others
/// bring, is complained of; and so, as often, is one with a piece owed that long.
const SLOW_MS: u64 = 1_000;
const OWED_MS: u64 = 5_000;
/// A piece that a living parent owes for this long is asked of the master: it
/// may never come, and whoever gives nothing must not hold up the others.
const STARVED_MS: u64 = 15_000;
/// Nothing at all arrived for this long, from nobody: it will not any more.
const DROUGHT_MS: u64 = 60_000;
/// After that many parents of one stripe failed, the master is asked itself,
/// whatever it answers: the original's last resort.
const REPLACED_MAX: u32 = 4;
/// How long `done` may take to reach the master before we go on.
const REPORT_MS: u64 = 2_000;
/// How long children have to move when we leave before they are through.
const LEAVE_MS: u64 = 3_000;
/// Largest index that is believed: 16 million entries and their lists.
const INDEX_LEN_MAX: u64 = 4 << 30;

/// What the fetched bytes must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pin {
    /// The digest of the index, or of the only file.
    Blake3(Digest),
    /// The SHA-256 of the only file; checked where it is stored.
    Sha256([u8; 32]),
}

/// How long to serve others after one's own fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linger {
    /// Until nobody is connected, at most until twice the time of the fetch
    /// has passed since the start (the paper, section 3.2).
    Twice,
    /// Until nobody is connected, at most this long.
    Millis(u64),
}

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
    pub tally: Tally,
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
            tally: Tally::default(),
            files: 0,
            phase: "",
            hashing: None,
            generation: None,
            master: SocketAddr::from(([0, 0, 0, 0], 0)),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Joining,
    /// The pieces of the index move.
    Index,
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

/// Since when a stripe lags, and how much was missing then: of it, of all.
#[derive(Clone, Copy, Debug)]
struct Lag {
    since_ms: u64,
    missing: u32,
    missing_all: u32,
}

pub(super) struct Fetch {
    options: FetchOptions,
    phase: Phase,
    started_ms: u64,
    finished_ms: u64,
    tick_ms: u64,
    /// How long we were lately held up ourselves, by a slow disk or a crowded
    /// processor: as long as that, others may be, and not be frozen.
    held_up_ms: u64,
    progress_ms: u64,
    /// When a piece, or a part of one, last came from anybody.
    fed_ms: u64,
    desk: Desk,
    links: Table<ConnId, Link>,
    /// For each stripe, whom the master named.
    feeders: Vec<Option<Source>>,
    replaced: Vec<u32>,
    lags: Vec<Option<Lag>>,
    banned: Vec<SocketAddr>,
    transfer: Transfer,
    slot: Option<Slot>,
    content: Option<Rc<Content>>,
    tally: Tally,
    failures: Vec<Failure>,
    /// The master was told to give our children to others.
    is_withdrawn: bool,
}

impl Fetch {
    pub fn new(options: FetchOptions, now_ms: u64) -> Fetch {
        Fetch {
            desk: Desk::new(options.masters.clone(), options.retries),
            options,
            phase: Phase::Joining,
            started_ms: now_ms,
            finished_ms: now_ms,
            tick_ms: now_ms + TICK_MS,
            held_up_ms: 0,
            progress_ms: now_ms + PROGRESS_MS,
            fed_ms: now_ms,
            links: Table::new(),
            feeders: Vec::new(),
            replaced: Vec::new(),
            lags: Vec::new(),
            banned: Vec::new(),
            transfer: Transfer::new(1),
            slot: None,
            content: None,
            tally: Tally::default(),
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
        self.desk.connect(common, now_ms);
    }

    pub fn poll_timeout(&self) -> Option<u64> {
        let links = self.links.values().filter_map(Link::again_ms).min();
        let at_ms = links.map_or(self.tick_ms, |again_ms| again_ms.min(self.tick_ms));
        (self.phase != Phase::Over).then_some(at_ms)
    }

    pub fn progress(&self) -> Progress {
        let phase = match self.phase {
            Phase::Joining if self.desk.hashing.is_some() => "waiting for the master to hash",
            Phase::Joining => "joining",
            Phase::Index => "fetching the index",
            Phase::Preparing => "checking what is there",
            Phase::Moving => "fetching",
            Phase::Finishing => "finishing",
            Phase::Reporting { .. } | Phase::Lingering { .. } | Phase::Leaving { .. } => "serving",
            Phase::Over => "done",
        };
        let head = self.content.as_ref().map(|c| c.map.head().generation);
        let files = self.content.as_ref().map_or(0, |c| c.index.files_count());
        Progress {
            tally: self.tally,
            files,
            phase,
            hashing: self.desk.hashing,
            generation: head,
            master: self.desk.addr(),
        }
    }

    pub fn is_in_place(&self) -> bool {
        let told = matches!(self.phase, Phase::Lingering { .. } | Phase::Leaving { .. });
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
            Input::Connected { conn } if self.desk.is(conn) => self.join(common, now_ms),
            Input::Connected { conn } => {
                if let Some(link) = self.links.get_mut(&conn) {
                    link.connected(common, now_ms);
                }
            }
            Input::Frame { conn, frame } if self.desk.is(conn) => {
                match self.desk.frame(now_ms, frame) {
                    Ok(tells) => tells.into_iter().for_each(|tell| self.told(common, now_ms, tell)),
                    Err(why) => self.lost_master(common, now_ms, why),
                }
                self.desk.flush(common);
            }
            Input::Frame { conn, frame } => self.link_frame(common, now_ms, conn, frame),
            Input::Heard { conn } => self.heard(conn, now_ms),
            Input::Gone { conn, why } if self.desk.is(conn) => {
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
            Input::Log { text } => self.desk.log(common, &text),
            Input::Interrupted => self.interrupted(common, now_ms),
            Input::Fatal { failure } => self.fail(common, failure),
            Input::Tick => self.tick(common, now_ms),
            _ => {}
        }
    }

    fn join_ask(&self) -> Ask {
        let (port, sources) = (self.options.port, self.options.sources.clone());
        Ask::Join { version: VERSION, port, sources }
    }

    fn join(&mut self, common: &mut Common, now_ms: u64) {
        let ask = self.join_ask();
        self.desk.connected(common, now_ms, &ask);
        if let Some(greeting) = self.options.greeting.take() {
            self.desk.log(common, &greeting);
        }
    }

    /// What the master says.
    fn told(&mut self, common: &mut Common, now_ms: u64, tell: Tell) {
        log::debug!(target: "client", "the master says: {}", tell.line().trim_end());
        match tell {
            Tell::Wait { .. } => {}
            // It came back when all was in place already: it only has to know.
            Tell::Generation { .. } if self.is_settled() => self.report(common),
            _ if self.is_settled() => {}
            Tell::Error { errno, text } => {
                let status = if errno == 2 { Status::Source } else { Status::Connection };
                self.fail(common, Failure { status, what: String::new(), why: text, fatal: true });
            }
            Tell::Generation { digest, index_len, piece_len, stripes } => {
                let known = self.slot.and_then(|slot| common.space.generation(slot));
                match known.map(Generation::digest) {
                    None => self.begin_index(common, digest, index_len, piece_len, stripes),
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
            Tell::Parent { stripe, source } => self.set_feeder(common, now_ms, stripe, source),
        }
    }

    fn begin_index(
        &mut self,
        common: &mut Common,
        generation: Digest,
        index_len: u64,
        piece_len: u32,
        stripes: u8,
    ) {
        let sound = (1..=INDEX_LEN_MAX).contains(&index_len)
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
        let head = IndexPieces { generation, index_len, piece_len, list: Vec::new() };
        let count = head.count();
        let slot = common.space.add_generation(Generation::empty(head));
        let info = format!("generation blake3:{generation}\nindex_bytes {index_len}\n");
        let tickets = common.space.show(slot, info);
        common.wakes.extend(tickets);
        self.slot = Some(slot);
        self.transfer = Transfer::new(stripes);
        self.feeders = vec![None; usize::from(stripes)];
        self.replaced = vec![0; usize::from(stripes)];
        self.lags = vec![None; usize::from(stripes)];
        self.phase = Phase::Index;
        if count == 1 {
            self.transfer.extend(1);
        }
    }

    fn set_feeder(&mut self, common: &mut Common, now_ms: u64, stripe: u8, source: Source) {
        let Some(slot) = self.slot else { return };
        if usize::from(stripe) >= self.feeders.len() || self.is_settled() {
            return;
        }
        let banned = matches!(source, Source::Node(addr) if self.banned.contains(&addr));
        if banned {
            return self
                .desk
                .ask(common, &Ask::Replace { stripe, source, complaint: Complaint::Wrong });
        }
        self.feeders[usize::from(stripe)] = Some(source);
        let found = self.links.iter().find(|(_, link)| link.source == source);
        let conn = match found.map(|(conn, _)| conn) {
            Some(conn) => conn,
            None => {
                let addr = match source {
                    Source::Node(addr) => addr,
                    Source::Master => self.desk.addr(),
                };
                let conn = common.next_conn();
                let digest = common.space.generation(slot).map(Generation::digest);
                let link = Link::new(conn, source, digest.unwrap_or_default(), now_ms);
                self.links.insert(conn, link);
                self.transfer.add_parent(Key(conn.0), source == Source::Master);
                common.effects.push_back(Effect::Connect { conn, addr });
                conn
            }
        };
        self.transfer.set_feeder(stripe, Some(Key(conn.0)));
        self.drop_idle_links(common);
        self.fill(common, now_ms, conn);
    }

    /// Links that feed no stripe any more are closed.
    fn drop_idle_links(&mut self, common: &mut Common) {
        let feeds = |source: Source| self.feeders.contains(&Some(source));
        let idle = self.links.iter().filter(|(_, link)| !feeds(link.source));
        for conn in idle.map(|(conn, _)| conn).collect::<Vec<_>>() {
            self.close_link(common, conn);
        }
    }

    fn close_link(&mut self, common: &mut Common, conn: ConnId) {
        if self.links.remove(&conn).is_some() {
            self.transfer.drop_parent(Key(conn.0));
            common.effects.push_back(Effect::Close { conn });
        }
    }

    /// A parent does not do: say so, and ask for another.
    fn lose_link(
        &mut self,
        common: &mut Common,
        conn: ConnId,
        complaint: Complaint,
        why: &str,
        now_ms: u64,
    ) {
        let Some(link) = self.links.get(&conn) else { return };
        let source = link.source;
        if !self.is_settled() {
            common.effects.push_back(Effect::Warn(format!("{}: {why}", self.source_name(source))));
        }
        if let (Complaint::Wrong, Source::Node(addr)) = (complaint, source) {
            self.banned.push(addr);
        }
        self.close_link(common, conn);
        for stripe in 0..self.feeders.len() {
            if self.feeders[stripe] == Some(source) {
                self.replace(common, now_ms, stripe, source, complaint);
            }
        }
        for conn in self.links.keys().collect::<Vec<_>>() {
            self.fill(common, now_ms, conn);
        }
    }

    fn replace(
        &mut self,
        common: &mut Common,
        now_ms: u64,
        stripe: usize,
        source: Source,
        complaint: Complaint,
    ) {
        self.feeders[stripe] = None;
        self.transfer.set_feeder(stripe as u8, None);
        self.replaced[stripe] += 1;
        self.lags[stripe] = None;
        if self.is_settled() {
            return;
        }
        self.desk.ask(common, &Ask::Replace { stripe: stripe as u8, source, complaint });
        if self.replaced[stripe] > REPLACED_MAX && source != Source::Master {
            self.replaced[stripe] = 0;
            self.set_feeder(common, now_ms, stripe as u8, Source::Master);
        }
    }

    fn source_name(&self, source: Source) -> String {
        match source {
            Source::Master => format!("the master {}", self.desk.addr()),
            Source::Node(addr) => format!("peer {addr}"),
        }
    }

    fn heard(&mut self, conn: ConnId, now_ms: u64) {
        if self.desk.is(conn) {
            self.desk.heard(now_ms);
        } else if let Some(link) = self.links.get_mut(&conn) {
            link.heard(now_ms);
            self.fed_ms = now_ms;
        }
    }

    fn link_frame(
        &mut self,
        common: &mut Common,
        now_ms: u64,
        conn: ConnId,
        frame: crate::client::Frame,
    ) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        match link.frame(now_ms, frame) {
            Ok(Got::Nothing) => {}
            Ok(Got::List(bytes)) => self.list_arrived(common, now_ms, conn, &bytes),
            Ok(Got::Piece { piece, len, data }) => {
                self.fed_ms = now_ms;
                self.piece_arrived(common, now_ms, conn, piece, len, data);
            }
            Ok(Got::Absent { piece }) => self.transfer.absent(Key(conn.0), piece, now_ms),
            Ok(Got::Refused { piece, why }) => self.refused(common, now_ms, conn, piece, &why),
            Err(why) => self.lose_link(common, conn, Complaint::Refused, &why, now_ms),
        }
        self.fill(common, now_ms, conn);
    }

    fn head<'c>(&self, common: &'c Common) -> Option<&'c Generation> {
        common.space.generation(self.slot?)
    }

    fn list_arrived(&mut self, common: &mut Common, now_ms: u64, conn: ConnId, bytes: &[u8]) {
        let (Some(generation), Some(slot)) = (self.head(common), self.slot) else { return };
        if generation.list_known {
            return;
        }
        let head = &generation.head;
        let made = IndexPieces::from_list(head.generation, head.index_len, head.piece_len, bytes);
        match made {
            Ok(head) => {
                self.transfer.extend(head.count());
                let tickets = common.space.set_list(slot, head.list);
                common.wakes.extend(tickets);
                for conn in self.links.keys().collect::<Vec<_>>() {
                    self.fill(common, now_ms, conn);
                }
            }
            Err(_) => {
                let why = "sent a list of the index that is not what its digest says";
                let from_master =
                    self.links.get(&conn).is_some_and(|link| link.source == Source::Master);
                self.lose_link(common, conn, Complaint::Wrong, why, now_ms);
                if from_master {
                    self.give_up(common, 0, Status::Verification, why);
                }
            }
        }
    }

    fn piece_arrived(
        &mut self,
        common: &mut Common,
        now_ms: u64,
        conn: ConnId,
        piece: u32,
        len: u32,
        data: Option<&[u8]>,
    ) {
        if !self.transfer.is_open(piece) {
            self.transfer.arrived(Key(conn.0), piece, now_ms);
            return;
        }
        let Some(generation) = self.head(common) else { return };
        if generation.piece_len(piece) != Some(len) {
            let result = StoreResult::Wrong;
            return self.stored(common, now_ms, conn, piece, result);
        }
        if piece >= generation.head.count() {
            common.effects.push_back(Effect::Store { conn, piece });
            return;
        }
        // A piece of the index: it stays in memory.
        let right = data.is_some_and(|bytes| generation.head.verify(piece, bytes).is_ok());
        let (Some(slot), Some(bytes), true) = (self.slot, data, right) else {
            return self.stored(common, now_ms, conn, piece, StoreResult::Wrong);
        };
        let tickets = common.space.hold_index(slot, piece, bytes);
        common.wakes.extend(tickets);
        self.transfer.arrived(Key(conn.0), piece, now_ms);
        self.settle_piece(common, conn, piece, len);
        if self.transfer.is_complete() && self.phase == Phase::Index {
            self.index_complete(common);
        }
    }

    /// The whole index is here and verified.
    fn index_complete(&mut self, common: &mut Common) {
        let (Some(generation), Some(slot)) = (self.head(common), self.slot) else { return };
        let decoded = Index::decode(&generation.index_bytes);
        let index = match decoded {
            Ok(index) if index.piece_len != generation.head.piece_len => {
                let why = "its pieces have not the length that was announced";
                return self.fail(
                    common,
                    Failure {
                        status: Status::Verification,
                        what: "the index".into(),
                        why: why.into(),
                        fatal: true,
                    },
                );
            }
            Ok(index) => index,
            Err(malformed) => {
                return self.fail(
                    common,
                    Failure {
                        status: Status::Verification,
                        what: "the index".into(),
                        why: format!("the master published a malformed one: {}", malformed.0),
                        fatal: true,
                    },
                );
            }
        };
        if let Err(failure) = self.check_pin(generation.digest(), &index) {
            return self.fail(common, failure);
        }
        let map = PieceMap::new(generation.head.clone(), &index);
        self.transfer.extend(map.count());
        self.tally.total_bytes = index.bytes_total();
        self.name_the_absent(common, &index);
        let content = Rc::new(Content { index: Rc::new(index), map: Rc::new(map) });
        common.space.set_content(slot, content.clone());
        self.content = Some(content.clone());
        self.phase = Phase::Preparing;
        common.effects.push_back(Effect::Prepare { content });
    }

    /// What was asked for and cannot come: a line for each. What the master
    /// could not read is a failure; fifos, sockets and devices are not.
    fn name_the_absent(&mut self, common: &mut Common, index: &Index) {
        let mut unread = 0u64;
        for (number, entry) in index.entries.iter().enumerate() {
            let why = match entry.kind {
                Kind::Special => "left out: neither file, directory nor symlink",
                Kind::Unreadable => {
                    unread += 1;
                    "the master cannot read it"
                }
                _ => continue,
            };
            let path = printable(&index.path(number as u32));
            let was_named = entry.parent == 0 && !index.root_described;
            if entry.kind == Kind::Special && was_named {
                let (status, why) = (Status::Source, why.to_string());
                self.failures.push(Failure { status, what: path, why, fatal: false });
                continue;
            }
            common.effects.push_back(Effect::Warn(format!("{path}: {why}")));
        }
        if unread > 0 {
            self.failures.push(Failure {
                status: Status::Source,
                what: String::new(),
                why: format!("{unread} of what was asked for cannot be read by the master"),
                fatal: false,
            });
        }
    }

    fn check_pin(&self, generation: Digest, index: &Index) -> Result<(), Failure> {
        let wrong = |why: String| Failure {
            status: Status::Verification,
            what: "--digest".into(),
            why,
            fatal: true,
        };
        let only_file = match &index.entries[1..] {
            [only] if only.kind == Kind::File => Some(only.digest),
            _ => None,
        };
        match self.options.pin {
            None => Ok(()),
            Some(Pin::Blake3(pin)) if pin == generation || Some(pin) == only_file => Ok(()),
            Some(Pin::Blake3(pin)) => Err(wrong(format!(
                "the master serves blake3:{generation}, not blake3:{pin}; nothing was written"
            ))),
            Some(Pin::Sha256(_)) if only_file.is_some() => Ok(()),
            Some(Pin::Sha256(_)) => {
                Err(wrong("sha256: pins a single file; use blake3: for a tree".into()))
            }
        }
    }

    fn found(&mut self, common: &mut Common, pieces: &[u32]) {
        let (Some(slot), Some(content)) = (self.slot, self.content.clone()) else { return };
        for &piece in pieces {
            if self.transfer.is_open(piece) {
                self.tally.have_bytes += u64::from(content.map.len(&content.index, piece));
            }
            self.transfer.hold(piece);
            let tickets = common.space.hold(slot, piece);
            common.wakes.extend(tickets);
        }
    }

    fn begin_moving(&mut self, common: &mut Common, now_ms: u64) {
        self.phase = Phase::Moving;
        self.fed_ms = now_ms;
        for conn in self.links.keys().collect::<Vec<_>>() {
            self.fill(common, now_ms, conn);
        }
    }

    fn stored(
        &mut self,
        common: &mut Common,
        now_ms: u64,
        conn: ConnId,
        piece: u32,
        result: StoreResult,
    ) {
        self.transfer.arrived(Key(conn.0), piece, now_ms);
        match result {
            StoreResult::Stored => {
                let Some(content) = self.content.clone() else { return };
                let len = content.map.len(&content.index, piece);
                self.tally.have_bytes += u64::from(len);
                self.settle_piece(common, conn, piece, len);
                if let Some(slot) = self.slot {
                    let tickets = common.space.hold(slot, piece);
                    common.wakes.extend(tickets);
                }
                self.fill(common, now_ms, conn);
            }
            StoreResult::Wrong => {
                let name = match &self.content {
                    Some(content) => piece_name(&content.index, &content.map, piece),
                    None => "the index".into(),
                };
                let why = format!("sent bytes of {name} that are not what the digest says");
                let from_master =
                    self.links.get(&conn).is_some_and(|link| link.source == Source::Master);
                self.lose_link(common, conn, Complaint::Wrong, &why, now_ms);
                if from_master {
                    // Nobody stands above the master: this piece is not to be had.
                    self.give_up(common, piece, Status::Verification, &why);
                }
            }
            StoreResult::Failed(failure) => {
                let fatal = failure.fatal;
                self.forget(common, piece);
                if fatal {
                    return self.fail(common, failure);
                }
                // What failed is said when all is finished.
                self.withdraw(common);
                self.fill(common, now_ms, conn);
            }
        }
    }

    fn forget(&mut self, common: &mut Common, piece: u32) {
        for key in self.transfer.give_up(piece) {
            self.flush_ask(common, key, piece);
        }
        if let Some(slot) = self.slot {
            let tickets = common.space.lose(slot, piece);
            common.wakes.extend(tickets);
        }
    }

    /// What we cannot have, others cannot have from us.
    fn withdraw(&mut self, common: &mut Common) {
        if !std::mem::replace(&mut self.is_withdrawn, true) {
            self.desk.ask(common, &Ask::Leave);
        }
    }

    fn flush_ask(&mut self, common: &mut Common, key: Key, piece: u32) {
        if let Some(link) = self.links.get_mut(&ConnId(key.0)) {
            link.forget(common, piece);
        }
    }

    fn settle_piece(&mut self, common: &mut Common, conn: ConnId, piece: u32, len: u32) {
        match self.links.get(&conn).map(|link| link.source) {
            Some(Source::Master) => self.tally.from_master_bytes += u64::from(len),
            _ => self.tally.from_peers_bytes += u64::from(len),
        }
        for key in self.transfer.hold(piece) {
            self.flush_ask(common, key, piece);
        }
    }

    fn give_up(&mut self, common: &mut Common, piece: u32, status: Status, why: &str) {
        let what = match &self.content {
            Some(content) => piece_name(&content.index, &content.map, piece),
            None => {
                let failure =
                    Failure { status, what: "the index".into(), why: why.into(), fatal: true };
                return self.fail(common, failure);
            }
        };
        self.forget(common, piece);
        self.withdraw(common);
        if !self.failures.iter().any(|f| f.what == what) {
            self.failures.push(Failure { status, what, why: why.into(), fatal: false });
        }
    }

    /// A parent says that it has not got a piece.
    fn refused(&mut self, common: &mut Common, now_ms: u64, conn: ConnId, piece: u32, why: &str) {
        let Some(link) = self.links.get(&conn) else { return };
        let source = link.source;
        self.transfer.refused(Key(conn.0), piece);
        if source == Source::Master {
            return self.give_up(common, piece, Status::Changed, why);
        }
        let stripe = piece as usize % self.feeders.len();
        if self.feeders[stripe] == Some(source) {
            let text = format!("{}: has not got a piece: {why}", self.source_name(source));
            common.effects.push_back(Effect::Warn(text));
            self.replace(common, now_ms, stripe, source, Complaint::Refused);
        }
    }

    /// Keeps a link's window of requests full.
    fn fill(&mut self, common: &mut Common, now_ms: u64, conn: ConnId) {
        let Some(generation) = self.head(common) else { return };
        let (head_count, piece_len) = (generation.head.count(), generation.head.piece_len);
        let list_len = if generation.list_known { 0 } else { head_count * 32 };
        let Some(link) = self.links.get_mut(&conn) else { return };
        if list_len > 0 {
            link.ask_list(common, list_len);
        }
        let moves = matches!(self.phase, Phase::Index | Phase::Moving);
        while moves
            && link.is_open()
            && let Some(ask) = self.transfer.next_ask(Key(conn.0), now_ms)
        {
            link.ask_piece(now_ms, ask, piece_len);
        }
        link.flush(common);
    }

    fn lost_master(&mut self, common: &mut Common, now_ms: u64, why: String) {
        let feeding = now_ms < self.fed_ms + DROUGHT_MS / 6 && self.phase == Phase::Moving;
        if self.is_settled() {
            return self.desk.abandon(common);
        }
        match self.desk.lost(common, now_ms, &why, feeding) {
            Ok(()) => {}
            Err(why) => {
                let what = format!("the master {}", self.desk.addr());
                self.fail(common, Failure { status: Status::Connection, what, why, fatal: true });
            }
        }
    }

    /// Nothing is asked of anybody any more.
    fn is_settled(&self) -> bool {
        !matches!(self.phase, Phase::Joining | Phase::Index | Phase::Preparing | Phase::Moving)
    }

    fn tick(&mut self, common: &mut Common, now_ms: u64) {
        let late_ms = now_ms.saturating_sub(self.tick_ms);
        self.held_up_ms = late_ms.max(self.held_up_ms - self.held_up_ms / HELD_UP_FADES);
        self.tick_ms = now_ms + TICK_MS;
        if let Some(why) = self.desk.tick(common, now_ms) {
            self.lost_master(common, now_ms, why);
        }
        if now_ms >= self.progress_ms && !self.is_settled() {
            self.progress_ms = now_ms + PROGRESS_MS;
            self.tally.elapsed_ms = now_ms - self.started_ms;
            self.desk.ask(common, &Ask::Progress(self.tally));
        }
        if self.is_settled() {
            return;
        }
        for (conn, why, complaint) in self.stalled(common, now_ms) {
            self.lose_link(common, conn, complaint, &why, now_ms);
        }
        if self.phase == Phase::Moving || self.phase == Phase::Index {
            self.look_for_slow(common, now_ms);
            for conn in self.links.keys().collect::<Vec<_>>() {
                self.fill(common, now_ms, conn);
            }
            if now_ms > self.fed_ms + DROUGHT_MS {
                let why = format!("no data from anybody for {} s", DROUGHT_MS / 1000);
                let what = format!("the master {}", self.desk.addr());
                self.fail(common, Failure { status: Status::Connection, what, why, fatal: true });
            }
        } else {
            self.fed_ms = now_ms;
        }
    }

    fn stalled(&mut self, common: &mut Common, now_ms: u64) -> Vec<(ConnId, String, Complaint)> {
        let mut stalled = Vec::new();
        for (conn, link) in self.links.iter_mut() {
            let awaits = self.transfer.awaits(Key(conn.0)) || link.awaits_list();
            if let Some((why, complaint)) = link.look(common, now_ms, awaits, self.held_up_ms) {
                stalled.push((conn, why, complaint));
            }
        }
        stalled
    }

    /// Whether it is time to complain of the stripe.
    fn is_slow(&mut self, stripe: usize, owed_ms: u64, now_ms: u64) -> bool {
        let missing_all = self.transfer.missing_count();
        let missing = self.transfer.missing_of(stripe);
        if !self.transfer.lags(stripe) && owed_ms < OWED_MS {
            self.lags[stripe] = None;
            return false;
        }
        let now = Lag { since_ms: now_ms, missing, missing_all };
        let lag = *self.lags[stripe].get_or_insert(now);
        if now_ms < lag.since_ms + SLOW_MS {
            return false;
        }
        self.lags[stripe] = Some(now);
        let came = lag.missing.saturating_sub(missing);
        let came_elsewhere = lag.missing_all.saturating_sub(missing_all).saturating_sub(came);
        let others = self.feeders.len() as u32 - 1;
        let has_stopped = owed_ms >= OWED_MS && came == 0;
        has_stopped || 2 * others * came < came_elsewhere
    }

    /// A stripe whose parent lives but stays far behind is complained of. What
    /// follows is the master's: it hears of all, and knows where it began. The
    /// parent goes on feeding until the master names another.
    fn look_for_slow(&mut self, common: &mut Common, now_ms: u64) {
        for stripe in 0..self.feeders.len() {
            let owed_ms = self.transfer.owed_ms(stripe, now_ms);
            let is_slow = self.is_slow(stripe, owed_ms, now_ms);
            let Some(source) = self.feeders[stripe] else { continue };
            if owed_ms >= STARVED_MS && source != Source::Master && self.desk.is_up() {
                // It lives, and gives nothing, and nobody else was named.
                self.set_feeder(common, now_ms, stripe as u8, Source::Master);
            } else if is_slow {
                let complaint = Complaint::Slow;
                self.desk.ask(common, &Ask::Replace { stripe: stripe as u8, source, complaint });
            }
        }
    }

    /// Called after every input: moves on to the next phase when it is time.
    pub fn settle(&mut self, common: &mut Common, now_ms: u64, served: usize) {
        match self.phase {
            Phase::Moving if self.transfer.is_complete() => {
                self.phase = Phase::Finishing;
                for conn in self.links.keys().collect::<Vec<_>>() {
                    self.close_link(common, conn);
                }
                common.effects.push_back(Effect::Finish);
            }
            Phase::Reporting { until_ms } if self.desk.is_quiet() || now_ms >= until_ms => {
                let until_ms = match self.options.linger {
                    Linger::Twice => 2 * self.finished_ms - self.started_ms,
                    Linger::Millis(ms) => self.finished_ms.saturating_add(ms),
                };
                self.phase = Phase::Lingering { until_ms };
                self.settle(common, now_ms, served);
            }
            Phase::Lingering { .. } | Phase::Leaving { .. } if served == 0 => self.exit(common),
            Phase::Lingering { until_ms } if now_ms >= until_ms => self.leave(common, now_ms),
            Phase::Leaving { until_ms } if now_ms >= until_ms => self.exit(common),
            _ => {}
        }
    }

    fn finished(&mut self, common: &mut Common, now_ms: u64, failures: Vec<Failure>) {
        self.failures.extend(failures);
        self.finished_ms = now_ms;
        self.tally.elapsed_ms = now_ms - self.started_ms;
        self.report(common);
        self.phase = Phase::Reporting { until_ms: now_ms + REPORT_MS };
    }

    /// How it ended, for the master.
    fn report(&mut self, common: &mut Common) {
        match self.failures.first().map(Failure::text) {
            None => self.desk.ask(common, &Ask::Done(self.tally)),
            Some(first) => {
                self.withdraw(common);
                self.desk.log(common, &format!("failed: {first}"));
            }
        }
    }

    /// What is here stays for the next run; children are given to others.
    fn interrupted(&mut self, common: &mut Common, now_ms: u64) {
        match self.phase {
            Phase::Lingering { .. } => self.leave(common, now_ms),
            Phase::Reporting { .. } | Phase::Leaving { .. } | Phase::Over => self.exit(common),
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

    fn leave(&mut self, common: &mut Common, now_ms: u64) {
        if let Phase::Lingering { .. } = self.phase {
            self.desk.ask(common, &Ask::Leave);
            let grace_ms = match self.options.linger {
                Linger::Millis(0) => 0,
                _ => LEAVE_MS,
            };
            self.phase = Phase::Leaving { until_ms: now_ms + grace_ms };
        }
    }

    fn exit(&mut self, common: &mut Common) {
        if self.phase != Phase::Over {
            self.phase = Phase::Over;
            let failures = std::mem::take(&mut self.failures);
            common.effects.push_back(Effect::Exit { failures });
        }
    }

    fn fail(&mut self, common: &mut Common, failure: Failure) {
        if self.phase == Phase::Over {
            return;
        }
        self.desk.log(common, &format!("failed: {}", failure.text()));
        self.failures.push(failure);
        self.exit(common);
    }
}
