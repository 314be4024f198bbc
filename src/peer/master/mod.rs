//! A master as a state machine: what is served, who joins, who fetches from whom.
//!
//! Inputs and the time go in by [`Master::handle`]; [`Master::poll_conn_effect`],
//! [`Master::poll_effect`] and [`Master::poll_timeout`] say what is to be done and
//! when to call again. Knows conversations on `route`. Refuses to know who becomes
//! whose parent (the `overlay`), sockets, files and clocks.

mod admission;
mod alone;
mod bans;
mod discovery;
mod handovers;
mod heard;
mod inspections;
mod joins;
mod looks;
mod members;
mod node_answers;
mod nodes;
mod questions;
mod rescan;
mod returns;
mod roll;
mod said;
mod selections;

use crate::conn::{ConnEffect, ConnEvent};
use crate::content::digest::Digest;
use crate::content::manifest::{Manifest, Selector};
use crate::control::{self, ClientMessage, JoinOptions, MasterMessage, printable};
use crate::failure::Failure;
use crate::namespace::{Generation, GenerationId, NameSpace, Notice, Origin, Report};
use crate::overlay::Limits;
use crate::server::{Server, Standing};
use ::nodes::Table;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::ops::Range;
use handovers::Alone;
pub use handovers::Packed;
use inspections::{Evidence, Inspection, Inspections, Sample};
use joins::{Join, Joins};
use members::Members;
use ninep::server::{ConnId, OpenId};
use nodes::Nodes;
use questions::Questions;
use rescan::Rescan;
use selections::Selections;

/// Most lines in one write of a conversation. A client of ours writes one.
const ROUTE_LINES_MAX: usize = 64;

/// So many records of `status` or `nodes` are worth a millisecond's age: with 10,000 clients it
/// is composed once in 1.2 s at most, with 100 whenever it is opened.
const REPORT_RECORDS_PER_MS: u64 = 8;

/// How a master routes.
#[derive(Clone, Copy, Debug)]
pub struct MasterOptions {
    /// `-m`: number of stripes, and most children of a node.
    pub fan_out: u8,
    /// `--head`: copies that the head node's uplink carries in the time of one.
    pub head_copies: u16,
    /// Memory for parts of the tree that are served as generations of their own.
    pub selection_bytes: usize,
}

/// What happened outside.
#[derive(Debug)]
pub enum MasterInput<'a> {
    /// On a connection.
    Conn(ConnEvent<'a>),
    /// The served tree is being hashed.
    Hashing {
        /// Bytes hashed so far.
        done_bytes: u64,
        /// Bytes in all.
        total_bytes: u64,
    },
    /// The served tree is hashed: a generation begins.
    Scanned {
        /// What is served from now on.
        manifest: Rc<Manifest>,
        /// Names the scan for [`Origin`].
        scan: u32,
    },
    /// The served tree was looked at again and is as it was.
    Unchanged,
    /// The served tree is to be looked at again: the operator wants it, or a checksum.
    LookAgain,
    /// A file of the latest scan is not as it was, though its bytes are: with each reply.
    Touched,
    /// The served tree cannot be read any more; what is hashed stays.
    ScanFailed {
        /// The reason.
        why: String,
    },
    /// A served file is not what was hashed.
    Changed {
        /// Whose manifest has the entry.
        generation: GenerationId,
        /// The file.
        entry: u32,
        /// Which, for the operator.
        path: String,
    },
    /// What became of [`MasterEffect::Checksum`].
    Checksum {
        /// As it was asked.
        generation: GenerationId,
        /// As it was asked.
        entry: u32,
        /// The SHA-256, if it could be had.
        sum: Result<[u8; 32], ()>,
    },
    /// What became of [`MasterEffect::Verify`].
    Verified {
        /// As it was asked.
        conn: ConnId,
        /// The bytes are what the digest says.
        is_right: bool,
    },
    /// What became of [`MasterEffect::ReadSignature`].
    Signature {
        /// As it was asked.
        open_id: OpenId,
        /// Nothing where there is none.
        signed: Vec<u8>,
    },
    /// What became of [`MasterEffect::PackAlone`].
    Alone(Packed),
    /// What became of [`MasterEffect::LookAtNodes`]: nothing new, or the table that is there
    /// now, or none, or what is wrong with it.
    NodesTab(Option<Result<Option<Table>, String>>),
    /// Of the same: it is being changed. It is to be looked at again, and what it said before
    /// holds until then.
    NodesTabChanging,
    /// Somebody on a link of ours asks all who are there.
    Question {
        /// Who.
        from: SocketAddr,
        /// What came.
        datagram: &'a [u8],
    },
    /// The time of [`Master::poll_timeout`] has come.
    Timeout,
}

/// What is to be done outside, connections aside.
#[derive(Debug)]
pub enum MasterEffect {
    /// Compute the SHA-256 of a served file; [`MasterInput::Checksum`] follows.
    Checksum {
        /// Whose manifest has the entry.
        generation: GenerationId,
        /// The file.
        entry: u32,
    },
    /// Verify a piece of the frame at hand; [`MasterInput::Verified`] follows.
    Verify {
        /// Where the frame arrived.
        conn: ConnId,
        /// Whose manifest has the digest.
        generation: GenerationId,
        /// The piece.
        piece: u32,
        /// Where in the frame its bytes are.
        range: Range<usize>,
    },
    /// Look whether the served tree has changed: [`MasterInput::Scanned`],
    /// [`MasterInput::Unchanged`] or [`MasterInput::ScanFailed`] follows.
    Rescan,
    /// Look at `nodes.tab`, before anything else is handed in; [`MasterInput::NodesTab`]
    /// follows.
    LookAtNodes,
    /// Read what was signed of a selection, before anything else is handed in;
    /// [`MasterInput::Signature`] follows.
    ReadSignature {
        /// Who asks.
        open_id: OpenId,
        /// [`Statement::place`](crate::signature::Statement::place)
        place: Digest,
    },
    /// Look for what is for this node alone; [`MasterInput::Alone`] follows, also while others
    /// are answered.
    PackAlone {
        /// Its name, which it has proved.
        node: String,
    },
    /// Say this to who asked.
    Answer {
        /// Who: on a link of ours.
        to: SocketAddr,
        /// Of the question.
        id: u64,
        /// What it hears.
        answer: control::Answer,
    },
    /// A line for the operator.
    Say(String),
    /// A warning for the operator: one line.
    Warn(String),
    /// Nothing can be served; the process may end.
    Exit {
        /// Why.
        failure: Failure,
    },
}

/// A master.
// fields: one for each part, and what they share
pub struct Master {
    options: MasterOptions,
    /// When something happened last.
    now_ms: u64,
    /// When `status` and `nodes` are composed anew for who opens them.
    reports_due_ms: [u64; 2],
    /// What is served and where, for the line that says so.
    label: String,
    server: Server,
    effects: VecDeque<MasterEffect>,
    /// The whole tree, once hashed.
    whole: Option<GenerationId>,
    rescan: Rescan,
    selections: Selections,
    joins: Joins,
    members: Members,
    inspections: Inspections,
    nodes: Nodes,
    questions: Questions,
    alone: Alone,
}

impl Master {
    /// `label` says what is served and where, for the operator.
    pub fn new(options: MasterOptions, label: String) -> Master {
        let stripes = options.fan_out;
        let limits =
            Limits { stripes, slots: u16::from(stripes), head_copies: options.head_copies };
        Master {
            options,
            now_ms: 0,
            reports_due_ms: [0; 2],
            label,
            server: Server::new(NameSpace::new(true, u32::from(stripes))),
            effects: VecDeque::new(),
            whole: None,
            rescan: Rescan::default(),
            selections: Selections::new(options.selection_bytes),
            joins: Joins::default(),
            members: Members::new(limits),
            inspections: Inspections::default(),
            nodes: Nodes::default(),
            questions: Questions::default(),
            alone: Alone::default(),
        }
    }

    /// Takes what happened; effects and another timeout follow from it.
    pub fn handle(&mut self, now_ms: u64, input: MasterInput) {
        match input {
            MasterInput::Conn(event) if self.inspections.has(event.conn()) => {
                self.inspect(now_ms, event);
            }
            MasterInput::Conn(event) => {
                let warning = self.server.handle(now_ms, event);
                self.effects.extend(warning.map(MasterEffect::Warn));
            }
            MasterInput::Hashing { done_bytes, total_bytes } => {
                self.joins.set_hashing(done_bytes, total_bytes);
            }
            MasterInput::Scanned { manifest, scan } => {
                self.begin_generation(now_ms, manifest, scan);
                self.admit_all(now_ms);
            }
            MasterInput::Unchanged => {
                self.rescan.ended_unchanged(now_ms);
                if let Some(whole) = self.whole {
                    // A file that was found changed is back.
                    self.selections.adopt_scan(&mut self.server.space, whole);
                }
                self.admit_all(now_ms);
            }
            MasterInput::LookAgain => {
                self.look_again(now_ms);
                self.effects.push_back(MasterEffect::LookAtNodes);
            }
            MasterInput::Touched if self.rescan.is_recent(now_ms) => {}
            MasterInput::Touched => self.look_again(now_ms),
            MasterInput::ScanFailed { why } => self.scan_failed(now_ms, &why),
            MasterInput::Changed { generation, entry, path } => {
                self.changed(now_ms, generation, entry, &path);
            }
            MasterInput::Checksum { generation, entry, sum } => {
                self.server.set_checksum(generation, entry, sum);
            }
            MasterInput::Verified { conn, is_right } => {
                self.inspections.verified(&mut self.server, now_ms, conn, is_right);
            }
            MasterInput::Signature { open_id, signed } => self.signed(now_ms, open_id, signed),
            MasterInput::Alone(packed) => self.packed(now_ms, packed),
            MasterInput::NodesTab(news) => self.looked_at_nodes(now_ms, news),
            MasterInput::NodesTabChanging => self.nodes_change(now_ms),
            MasterInput::Question { from, datagram } => self.asked(now_ms, from, datagram),
            MasterInput::Timeout => self.timeout(now_ms),
        }
        self.now_ms = now_ms;
        self.take_notices();
    }

    fn take_notices(&mut self) {
        let now_ms = self.now_ms;
        loop {
            while let Some((addr, finding)) = self.inspections.poll_finding() {
                let warnings = self.members.found(&mut self.server, now_ms, addr, &finding);
                warnings.into_iter().for_each(|text| self.announce(MasterEffect::Warn, text));
                if !self.members.has_any_at(addr) {
                    self.inspections.forget(addr);
                }
            }
            let Some(notice) = self.server.poll_notice() else { break };
            self.notice(now_ms, notice);
        }
        let late = self.server.space.poll_late();
        self.server.wake(late);
    }

    /// What to do next with a connection, in this order.
    pub fn poll_conn_effect(&mut self) -> Option<ConnEffect> {
        self.server.outbox.pop()
    }

    /// The next reply on a connection of which [`ConnEffect::Replies`] spoke, and
    /// which has room for it; other effects may follow from it.
    pub fn poll_reply(&mut self, conn: ConnId) -> Option<ConnEffect> {
        let reply = self.server.poll_reply(conn);
        self.take_notices();
        reply
    }

    /// Whether somebody who says no more is still owed an answer.
    pub fn owes(&self, conn: ConnId) -> bool {
        self.server.owes(conn)
    }

    /// Bytes of memory that the other end of a connection makes us hold, about, and
    /// how far it has come.
    pub fn held(&self, conn: ConnId) -> (usize, Standing) {
        self.server.held(conn)
    }

    /// What else to do next.
    pub fn poll_effect(&mut self) -> Option<MasterEffect> {
        self.effects.pop_front()
    }

    /// When [`MasterInput::Timeout`] is due, in milliseconds on the caller's clock.
    pub fn poll_timeout(&self) -> Option<u64> {
        let parts = [
            self.joins.deadline_ms(),
            self.joins.is_anybody_next().then_some(self.selections.ready_ms),
            self.members.deadline_ms(),
            self.inspections.deadline_ms(),
            self.server.deadline_ms(),
            self.selections.returns.deadline_ms(),
            self.nodes.deadline_ms(),
            self.nodes.look_ms(),
            self.alone.deadline_ms(),
            self.server.space.late_ms(),
        ];
        parts.into_iter().flatten().min()
    }

    /// Whether we answer requests on this connection, and do not send them.
    pub fn serves(&self, conn: ConnId) -> bool {
        !self.inspections.has(conn)
    }

    /// Somebody is called as soon as may be.
    fn call(&mut self, now_ms: u64, inspection: Option<Inspection>) {
        let Some(inspection) = inspection else { return };
        self.inspections.want(inspection, now_ms);
        self.inspections.call_due(&mut self.server, now_ms);
    }

    /// Something happened on a connection that we made.
    fn inspect(&mut self, now_ms: u64, event: ConnEvent) {
        let evidence = self.inspections.handle(&mut self.server, now_ms, event);
        let Some(Evidence { conn, sample, range }) = evidence else { return };
        let Sample { generation, piece, .. } = sample;
        self.effects.push_back(MasterEffect::Verify { conn, generation, piece, range });
    }

    /// The name for a connection that was accepted.
    pub fn next_conn(&mut self) -> ConnId {
        self.server.outbox.next_conn()
    }

    /// Takes the memory of a [`ConnEffect::Send`] back, for the next one.
    pub fn recycle(&mut self, spent: Vec<u8>) {
        self.server.outbox.recycle(spent);
    }

    /// Longest frame that this connection may send now, in bytes.
    pub fn frame_len_max(&self, conn: ConnId) -> u32 {
        self.server.frame_len_max(conn)
    }

    /// What [`ConnEffect::SendBulk`] names.
    pub fn space(&self) -> &NameSpace {
        &self.server.space
    }

    /// There is a generation to serve.
    pub fn is_serving(&self) -> bool {
        self.whole.is_some()
    }

    /// Bytes hashed and bytes in all, before the first generation.
    pub fn first_hashing(&self) -> Option<(u64, u64)> {
        self.whole.is_none().then(|| self.joins.hashing())
    }

    /// A generation begins; the one before stays for those who fetch it.
    fn begin_generation(&mut self, now_ms: u64, manifest: Rc<Manifest>, scan: u32) {
        let (files, bytes) = (manifest.files_count(), manifest.bytes_total());
        let generation = Generation::whole(manifest, Some(Origin { scan, entries: None }));
        let (label, digest) = (&self.label, generation.digest());
        let text = format!("serving {label}: {files} files, {bytes} bytes, blake3:{digest}");
        self.effects.push_back(MasterEffect::Say(text));
        self.effects.push_back(MasterEffect::LookAtNodes);
        self.rescan.ended(now_ms);
        self.selections.set_scan(scan);
        let space = &mut self.server.space;
        let is_same =
            |id: &GenerationId| space.generation(*id).is_some_and(|known| known.digest() == digest);
        if let Some(whole) = self.whole.filter(is_same) {
            // Hashed again, and nothing differs: who fetches it goes on.
            return self.selections.adopt_scan(space, whole);
        }
        let info = info_text(&generation, self.options.fan_out, files, bytes);
        let id = space.add_generation(generation);
        // Before the old one goes: what is open of it is found in this one.
        let tickets = space.show(id, info);
        let old = self.whole.replace(id);
        for stale in self.selections.take_all().into_iter().chain(old) {
            self.drop_unused(stale);
        }
        self.server.wake(tickets);
    }

    fn notice(&mut self, now_ms: u64, notice: Notice) {
        match notice {
            Notice::RouteText(open_id, text) => self.route_text(now_ms, open_id, &text),
            Notice::RouteClosed(open_id) => self.route_closed(open_id),
            Notice::LogLine(conn, line) => self.log_line(now_ms, conn, &line),
            Notice::ChecksumWanted(generation, entry) => {
                self.effects.push_back(MasterEffect::Checksum { generation, entry });
            }
            Notice::NodeSaid(open_id, message) => self.node_said(now_ms, open_id, message),
            Notice::NodeClosed(open_id) => self.nodes.forget(open_id),
            Notice::AloneWanted(open_id, node) => self.alone_wanted(now_ms, open_id, node),
            Notice::AloneClosed(open_id) => self.alone_closed(open_id),
            Notice::ReportWanted(report) if now_ms >= self.reports_due_ms[report as usize] => {
                let denied_count = self.server.space.guard.denied_count();
                let (text, records) = match report {
                    Report::Clients => self.members.status_text(),
                    Report::Nodes => self.nodes.text(now_ms, denied_count),
                };
                self.server.space.set_report(report, text);
                // Of many it takes milliseconds, and anybody may ask.
                self.reports_due_ms[report as usize] = now_ms + records / REPORT_RECORDS_PER_MS;
            }
            Notice::ReportWanted(_) => {}
        }
    }

    fn timeout(&mut self, now_ms: u64) {
        self.joins.announce_hashing(now_ms, &mut self.server);
        self.admit_next(now_ms);
        self.inspections.timeout(&mut self.server, now_ms);
        self.server.space.look_at_late(now_ms);
        self.drop_returns(now_ms);
        self.answer_late_nodes(now_ms);
        self.end_alone(now_ms);
        if self.nodes.look_ms().is_some_and(|at_ms| now_ms >= at_ms) {
            self.nodes.is_changing = false;
            self.effects.push_back(MasterEffect::LookAtNodes);
        }
        for open_id in self.members.timeout(&mut self.server, now_ms) {
            self.call(now_ms, self.members.greeting(&self.server, open_id));
        }
        while let Some(text) = self.server.poll_unsaid(now_ms) {
            self.announce(MasterEffect::Warn, text);
        }
    }

    fn log_line(&mut self, now_ms: u64, conn: ConnId, line: &[u8]) {
        let Some(ip) = self.server.space.peer_ip(conn) else { return };
        if self.server.voices.may_say(now_ms, ip) {
            self.announce(MasterEffect::Say, format!("{ip} {}", printable(line)));
        }
    }

    /// A line for the operator and for the log that clients can read.
    fn announce(&mut self, effect: fn(String) -> MasterEffect, text: String) {
        self.server.space.add_log(text.clone().into_bytes());
        self.effects.push_back(effect(text));
    }

    fn refuse(&mut self, open_id: OpenId, errno: u16, text: &str) {
        self.server.answer(open_id, &MasterMessage::Error { errno, text: text.into() });
    }

    /// What one write brought. The first line that is not understood is the last
    /// that is looked at.
    fn route_text(&mut self, now_ms: u64, open_id: OpenId, text: &[u8]) {
        let lines = text.strip_suffix(b"\n").unwrap_or(text).split(|&byte| byte == b'\n');
        for (number, line) in lines.enumerate() {
            let message = ClientMessage::parse(line).filter(|_| number < ROUTE_LINES_MAX);
            let Some(message) = message else {
                self.refuse(open_id, 22, "not understood: different versions of xget?");
                self.server.space.finish_conversation(open_id);
                return self.route_closed(open_id);
            };
            self.route_line(now_ms, open_id, message);
        }
    }

    fn route_line(&mut self, now_ms: u64, open_id: OpenId, message: ClientMessage) {
        log::debug!(target: "server", "{:?} asks: {}", open_id.conn, message.line().trim_end());
        match message {
            ClientMessage::Join { version, .. }
                if !(control::VERSION_MIN..=control::VERSION).contains(&version) =>
            {
                let own = control::VERSION;
                let text = format!("this master speaks version {own} of the protocol");
                self.refuse(open_id, 93, &text);
            }
            ClientMessage::Join { version, port, sources, options } => {
                let Some(ip) = self.server.space.peer_ip(open_id.conn) else { return };
                let JoinOptions { generation: was_in, excludes, window_bytes, is_signed } = options;
                let are_patterns = version > control::VERSION_PLAIN;
                let selector = Selector { sources, are_patterns, excludes };
                let is_next = false;
                let join =
                    Join { open_id, ip, is_next, port, selector, was_in, window_bytes, is_signed };
                self.join(now_ms, join);
            }
            ClientMessage::Replace { stripe, parent, complaint, piece } => {
                self.replace(now_ms, open_id, (stripe, parent, complaint, piece));
            }
            ClientMessage::Progress(stats) => {
                self.note(now_ms, open_id, stats, false);
                self.members.relieve(&mut self.server, now_ms, open_id);
            }
            ClientMessage::Done(stats) => self.done(now_ms, open_id, stats),
            ClientMessage::Full(is_full) => self.members.full(now_ms, open_id, is_full),
            ClientMessage::Leave => self.members.withdraw(&mut self.server, open_id),
        }
    }

    fn route_closed(&mut self, open_id: OpenId) {
        self.joins.take(open_id);
        self.joins.take_signing(open_id);
        let Some(left) = self.members.leave(&mut self.server, open_id) else { return };
        if left.warning.is_some() {
            self.keep_for_return(left.generation);
        }
        if let Some(text) = left.warning
            && self.server.voices.may_say(self.now_ms, left.addr.ip())
        {
            self.announce(MasterEffect::Warn, text);
        }
        if !self.members.has_any_at(left.addr) {
            self.inspections.forget(left.addr);
        }
        self.drop_unused(left.generation);
    }
}

fn info_text(generation: &Generation, stripes: u8, files: u64, bytes: u64) -> String {
    let (version, digest) = (control::VERSION, generation.digest());
    let (manifest_len, piece_len) =
        (generation.manifest_pieces.manifest_len, generation.manifest_pieces.piece_len);
    format!(
        "protocol {version}\ngeneration blake3:{digest}\nindex_bytes {manifest_len}\npiece_bytes {piece_len}\nstripes {stripes}\nfiles {files}\nbytes {bytes}\n"
    )
}
