//! The master's part: who joins, what they want, who feeds whom.
//!
//! Knows conversations and members; the policy itself is `spread::route`.

use crate::content::manifest::{Manifest, plain_sources};
use crate::control::{
    self, ClientMessage, Complaint, MasterMessage, ParentAddr, TransferStats, format_addr,
    printable,
};
use crate::namespace::{Generation, GenerationId, Notice, Origin};
use crate::node::{Common, Effect, Failure, Input, Status};
use crate::overlay::{self, Forest, Limits, NodeId, Parent};
use crate::table::Table;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt::Write;
use core::net::SocketAddr;
use ninep::server::OpenId;

/// Selections kept ready, beside the whole tree.
const SELECTIONS_MAX: usize = 256;
/// Ended members kept for `status`.
const DEPARTED_MAX: usize = 16_384;
/// The tree is looked at again when somebody joins this long after the last
/// look, and longer where a look takes long: so an image that was replaced is
/// not served half old, half new.
const RECHECK_MS_MIN: u64 = 1_000;
const RECHECK_FACTOR: u64 = 10;
/// How often waiting clients hear of the hashing.
const WAIT_LINE_MS: u64 = 1_000;
/// Most clients that wait for the hashing.
const WAITING_MAX: usize = 100_000;

#[derive(Clone, Copy, Debug)]
pub struct MasterOptions {
    /// `-m`: most clients that a node feeds, and number of stripes.
    pub fan_out: u8,
    /// `--head`: copies that the head's link carries in the time of one.
    pub head: u16,
}

struct Waiting {
    opener: OpenId,
    port: u16,
    sources: Vec<Vec<u8>>,
}

struct Member {
    id: NodeId,
    slot: GenerationId,
    addr: SocketAddr,
    stats: TransferStats,
    done: bool,
    /// Its last parents, for `status` after it has left the forest.
    last_parents: String,
}

/// The clients of one selection: they make one forest.
struct Group {
    forest: Forest,
    openers: Table<u32, OpenId>,
    /// The last to join of each address: one that lost its connection may
    /// join again before the loss is seen here.
    addrs: Table<SocketAddr, NodeId>,
}

impl Group {
    fn new(limits: Limits) -> Group {
        Group { forest: Forest::new(limits), openers: Table::new(), addrs: Table::new() }
    }
}

pub(crate) struct Master {
    options: MasterOptions,
    /// For the line that says what is served.
    pub place: String,
    /// The whole tree, once hashed.
    whole: Option<GenerationId>,
    scan: u32,
    selections: Vec<(Vec<Vec<u8>>, GenerationId)>,
    groups: Table<GenerationId, Group>,
    members: Table<OpenId, Box<Member>>,
    waiting: Vec<Waiting>,
    ids_used: u32,
    departed: VecDeque<String>,
    /// A look at the tree is under way; joins wait for it.
    rechecking: bool,
    checked_ms: u64,
    look_began_ms: u64,
    look_took_ms: u64,
    hashing: (u64, u64),
    wait_line_ms: u64,
}

impl Master {
    pub fn new(options: MasterOptions) -> Master {
        Master {
            options,
            place: String::new(),
            whole: None,
            scan: 0,
            selections: Vec::new(),
            groups: Table::new(),
            members: Table::new(),
            waiting: Vec::new(),
            ids_used: 0,
            departed: VecDeque::new(),
            rechecking: false,
            checked_ms: 0,
            look_began_ms: 0,
            look_took_ms: 0,
            hashing: (0, 0),
            wait_line_ms: 0,
        }
    }

    pub fn poll_timeout(&self) -> Option<u64> {
        (!self.waiting.is_empty()).then_some(self.wait_line_ms + WAIT_LINE_MS)
    }

    pub fn handle(&mut self, common: &mut Common, now_ms: u64, input: Input) {
        match input {
            Input::Hashing { done_bytes, total_bytes } => self.hashing = (done_bytes, total_bytes),
            Input::Scanned { manifest, scan } => {
                self.begin(common, now_ms, manifest, scan);
            }
            Input::Unchanged => {
                (self.checked_ms, self.rechecking) = (now_ms, false);
                self.look_took_ms = now_ms.saturating_sub(self.look_began_ms);
                self.admit_waiting(common, now_ms);
            }
            Input::Changed { path } => {
                // Every read of it that is refused says so; once is enough.
                if !self.rechecking {
                    let text =
                        format!("{path} changed since it was hashed: looking at the tree again");
                    common.effects.push_back(Effect::Warn(text));
                }
                self.recheck(common, now_ms);
            }
            Input::LookAgain => self.recheck(common, now_ms),
            Input::ScanFailed { why } if self.whole.is_none() => {
                let (status, what) = (Status::Source, String::new());
                let failure = Failure { status, what, why, fatal: true };
                common.effects.push_back(Effect::Exit { failures: vec![failure] });
            }
            Input::ScanFailed { why } => {
                let text = format!("cannot look at the served tree again: {why}");
                common.effects.push_back(Effect::Warn(text));
                (self.checked_ms, self.rechecking) = (now_ms, false);
                self.admit_waiting(common, now_ms);
            }
            Input::Tick => self.tell_waiting(common, now_ms),
            _ => {}
        }
    }

    pub fn is_serving(&self) -> bool {
        self.whole.is_some()
    }

    pub fn first_hashing(&self) -> Option<(u64, u64)> {
        self.whole.is_none().then_some(self.hashing)
    }

    fn recheck_ms(&self) -> u64 {
        RECHECK_MS_MIN.max(RECHECK_FACTOR * self.look_took_ms)
    }

    fn recheck(&mut self, common: &mut Common, now_ms: u64) {
        if !self.rechecking && self.whole.is_some() {
            (self.rechecking, self.look_began_ms) = (true, now_ms);
            common.effects.push_back(Effect::Rescan);
        }
    }

    /// A generation begins; the one before stays for those who fetch it.
    fn begin(&mut self, common: &mut Common, now_ms: u64, manifest: Rc<Manifest>, scan: u32) {
        let origin = Some(Origin { scan, entries: None });
        let (files, bytes) = (manifest.files_count(), manifest.bytes_total());
        let generation = Generation::whole(manifest, origin);
        common.effects.push_back(Effect::Say(format!(
            "serving {}: {files} files, {bytes} bytes, blake3:{}",
            self.place,
            generation.digest()
        )));
        self.scan = scan;
        (self.checked_ms, self.rechecking) = (now_ms, false);
        let same = |slot: &GenerationId| {
            common.space.generation(*slot).is_some_and(|g| g.digest() == generation.digest())
        };
        if let Some(slot) = self.whole.filter(same) {
            // Hashed again, and nothing differs: who fetches it goes on.
            self.adopt_scan(common, slot);
            return self.admit_waiting(common, now_ms);
        }
        let info = info_text(&generation, self.options.fan_out, files, bytes);
        let old = self.whole.take();
        let slot = common.space.add_generation(generation);
        self.whole = Some(slot);
        let stale = core::mem::take(&mut self.selections);
        for slot in stale.into_iter().map(|(_, slot)| slot).chain(old) {
            self.drop_unused(common, slot);
        }
        let tickets = common.space.show(slot, info);
        common.wake(tickets);
        self.admit_waiting(common, now_ms);
    }

    /// The files of the whole tree and its selections are those of the last scan.
    fn adopt_scan(&self, common: &mut Common, whole: GenerationId) {
        for slot in self.selections.iter().map(|(_, slot)| *slot).chain([whole]) {
            let origin = common.space.generation(slot).and_then(|g| g.origin.clone());
            if let Some(origin) = origin {
                common.space.set_origin(slot, Origin { scan: self.scan, ..origin });
            }
        }
    }

    /// A generation that nobody can ask for any more goes with its last member.
    fn drop_unused(&mut self, common: &mut Common, slot: GenerationId) {
        let current = self.whole == Some(slot) || self.selections.iter().any(|(_, s)| *s == slot);
        let used = self.groups.get(&slot).is_some_and(|group| !group.openers.is_empty());
        if !current && !used {
            self.groups.remove(&slot);
            common.space.drop_generation(slot);
        }
    }

    pub fn notice(&mut self, common: &mut Common, now_ms: u64, notice: Notice) {
        match notice {
            Notice::RouteLine(opener, line) => match ClientMessage::parse(&line) {
                Some(ask) => self.asked(common, now_ms, opener, ask),
                None => {
                    self.refuse(common, opener, 22, "not understood: different versions of xget?")
                }
            },
            Notice::RouteClosed(opener) => self.route_closed(common, opener),
            Notice::LogLine(conn, line) => {
                let peer = common.space.peer(conn);
                let who = peer.map_or(String::new(), |p| p.ip().to_canonical().to_string());
                let text = printable(&line);
                announce(common, Effect::Say, format!("{who} {text}"));
            }
            Notice::ChecksumWanted(slot, entry) => {
                common.effects.push_back(Effect::Checksum { slot, entry });
            }
            Notice::StatusWanted => {
                let text = self.status();
                common.space.set_status(text);
            }
        }
    }

    fn refuse(&mut self, common: &mut Common, opener: OpenId, errno: u16, text: &str) {
        let line = MasterMessage::Error { errno, text: text.into() }.line();
        let tickets = common.space.answer(opener, &line);
        common.wake(tickets);
    }

    fn asked(&mut self, common: &mut Common, now_ms: u64, opener: OpenId, ask: ClientMessage) {
        log::debug!(target: "server", "{:?} asks: {}", opener.conn, ask.line().trim_end());
        match ask {
            ClientMessage::Join { version, .. } if version != control::VERSION => {
                let text =
                    format!("this master speaks version {} of the protocol", control::VERSION);
                self.refuse(common, opener, 93, &text);
            }
            ClientMessage::Join { port, sources, .. } => {
                self.join(common, now_ms, Waiting { opener, port, sources });
            }
            ClientMessage::Replace { stripe, source, complaint } => {
                self.replace(common, now_ms, opener, (stripe, source, complaint));
            }
            ClientMessage::Progress(stats) => self.note(opener, stats, false),
            ClientMessage::Done(stats) => {
                self.note(opener, stats, true);
                self.finished(common, opener);
            }
            ClientMessage::Leave => self.withdraw(common, opener),
        }
    }

    fn join(&mut self, common: &mut Common, now_ms: u64, waiting: Waiting) {
        let waits = |w: &Waiting| w.opener == waiting.opener;
        if self.members.contains_key(&waiting.opener) || self.waiting.iter().any(waits) {
            return self.refuse(common, waiting.opener, 22, "joined already");
        }
        let is_fresh = !self.rechecking && now_ms < self.checked_ms + self.recheck_ms();
        // What is not there may have been put there just now.
        if is_fresh && self.select(common, &waiting.sources).is_ok() {
            return self.admit(common, now_ms, waiting);
        }
        if self.waiting.len() >= WAITING_MAX {
            return self.refuse(common, waiting.opener, 11, "too many clients wait already");
        }
        if self.waiting.is_empty() {
            self.wait_line_ms = now_ms;
        }
        self.waiting.push(waiting);
        self.recheck(common, now_ms);
    }

    fn admit_waiting(&mut self, common: &mut Common, now_ms: u64) {
        for waiting in core::mem::take(&mut self.waiting) {
            self.admit(common, now_ms, waiting);
        }
    }

    fn tell_waiting(&mut self, common: &mut Common, now_ms: u64) {
        if now_ms < self.wait_line_ms + WAIT_LINE_MS {
            return;
        }
        self.wait_line_ms = now_ms;
        let (done_bytes, total_bytes) = self.hashing;
        let line = MasterMessage::Wait { done_bytes, total_bytes }.line();
        for waiting in &self.waiting {
            let tickets = common.space.answer(waiting.opener, &line);
            common.wake(tickets);
        }
    }

    fn admit(&mut self, common: &mut Common, now_ms: u64, waiting: Waiting) {
        let Waiting { opener, port, sources } = waiting;
        let Some(peer) = common.space.peer(opener.conn) else { return };
        let slot = match self.select(common, &sources) {
            Ok(slot) => slot,
            Err(text) => return self.refuse(common, opener, 2, &text),
        };
        let Some(generation) = common.space.generation(slot) else { return };
        let tell = MasterMessage::Generation {
            digest: generation.digest(),
            manifest_len: generation.manifest_pieces.manifest_len,
            piece_len: generation.manifest_pieces.piece_len,
            stripes: self.options.fan_out,
        };
        let tickets = common.space.answer(opener, &tell.line());
        common.wake(tickets);
        self.ids_used += 1;
        let id = NodeId(self.ids_used);
        let addr = SocketAddr::new(peer.ip().to_canonical(), port);
        let stats = TransferStats::default();
        let member = Member { id, slot, addr, stats, done: false, last_parents: String::new() };
        self.members.insert(opener, Box::new(member));
        let fan_out = self.options.fan_out;
        let limits =
            Limits { stripes: fan_out, slots: u16::from(fan_out), head: self.options.head };
        let group = self.groups.get_or_insert_with(slot, || Group::new(limits));
        group.openers.insert(id.0, opener);
        group.addrs.insert(addr, id);
        if !group.forest.join(id, 0, now_ms) {
            self.members.remove(&opener);
            group.openers.remove(&id.0);
            group.addrs.remove(&addr);
            return self.refuse(common, opener, 11, "the master has too many clients; try later");
        }
        self.tell_changes(common, slot);
    }

    /// The generation of these sources, made when first asked for.
    fn select(&mut self, common: &mut Common, sources: &[Vec<u8>]) -> Result<GenerationId, String> {
        let whole = self.whole.ok_or("nothing is served yet")?;
        let sources = plain_sources(sources);
        if sources.is_empty() || sources == [b".".to_vec()] {
            return Ok(whole);
        }
        if let Some((_, slot)) = self.selections.iter().find(|(known, _)| *known == sources) {
            return Ok(*slot);
        }
        if self.selections.len() >= SELECTIONS_MAX {
            self.drop_idle_selection(common)?;
        }
        let content = common.space.generation(whole).and_then(|g| g.content.clone());
        let content = content.ok_or("nothing is served yet")?;
        let refs: Vec<&[u8]> = sources.iter().map(Vec::as_slice).collect();
        let selection = content.manifest.select(&refs);
        let selection = selection.map_err(|error| printable(error.to_string()))?;
        let origin = Origin { scan: self.scan, entries: Some(selection.origin) };
        let generation = Generation::whole(Rc::new(selection.manifest), Some(origin.clone()));
        // Unchanged since an earlier scan: who fetches it already helps.
        let known = common.space.slot_of(generation.digest()).filter(|slot| *slot != whole);
        let slot = match known {
            Some(slot) => {
                common.space.set_origin(slot, origin);
                slot
            }
            None => common.space.add_generation(generation),
        };
        self.selections.push((sources, slot));
        Ok(slot)
    }

    fn drop_idle_selection(&mut self, common: &mut Common) -> Result<(), String> {
        let is_idle =
            |slot: &GenerationId| self.groups.get(slot).is_none_or(|g| g.openers.is_empty());
        let idle = self.selections.iter().position(|(_, slot)| is_idle(slot));
        let idle = idle
            .ok_or("the master serves too many different parts of the tree already; try later")?;
        let (_, slot) = self.selections.remove(idle);
        self.drop_unused(common, slot);
        Ok(())
    }

    /// Tells every member whose parents the forest changed.
    fn tell_changes(&mut self, common: &mut Common, slot: GenerationId) {
        while let Some(change) = self.groups.get_mut(&slot).and_then(|g| g.forest.poll_change()) {
            self.tell_parent(common, slot, change);
        }
    }

    fn tell_parent(&self, common: &mut Common, slot: GenerationId, change: overlay::Change) {
        let Some(group) = self.groups.get(&slot) else { return };
        let Some(&opener) = group.openers.get(&change.node.0) else { return };
        let source = match change.parent {
            Parent::Master => Some(ParentAddr::Master),
            Parent::Node(id) => {
                let parent = group.openers.get(&id.0).and_then(|o| self.members.get(o));
                parent.map(|member| ParentAddr::Peer(member.addr))
            }
        };
        // A change is never kept from a client: it may wait for nothing else.
        let source = source.unwrap_or(ParentAddr::Master);
        let line = MasterMessage::Parent { stripe: change.stripe, source }.line();
        log::debug!(target: "server", "{:?} is told: {}", change.node, line.trim_end());
        let tickets = common.space.answer(opener, &line);
        common.wake(tickets);
    }

    fn note(&mut self, opener: OpenId, stats: TransferStats, done: bool) {
        if let Some(member) = self.members.get_mut(&opener) {
            member.stats = stats;
            member.done |= done;
            if let Some(group) = self.groups.get_mut(&member.slot) {
                group.forest.trust(member.id);
            }
        }
    }

    fn finished(&mut self, common: &mut Common, opener: OpenId) {
        let Some(member) = self.members.get(&opener) else { return };
        let t = &member.stats;
        let text = format!(
            "{} done: {} bytes in {}.{:03} s, {} from the master, {} from peers",
            format_addr(member.addr),
            t.total_bytes,
            t.elapsed_ms / 1000,
            t.elapsed_ms % 1000,
            t.from_master_bytes,
            t.from_peers_bytes
        );
        announce(common, Effect::Say, text);
        let (slot, id) = (member.slot, member.id);
        if let Some(group) = self.groups.get_mut(&slot) {
            group.forest.retire(id);
        }
        self.tell_changes(common, slot);
    }

    fn withdraw(&mut self, common: &mut Common, opener: OpenId) {
        let Some(member) = self.members.get(&opener) else { return };
        let (slot, id) = (member.slot, member.id);
        let last_parents = self.parents_text(member);
        if let Some(member) = self.members.get_mut(&opener) {
            member.last_parents = last_parents;
        }
        if let Some(group) = self.groups.get_mut(&slot) {
            group.forest.withdraw(id);
        }
        self.tell_changes(common, slot);
    }

    fn replace(
        &mut self,
        common: &mut Common,
        now_ms: u64,
        opener: OpenId,
        (stripe, source, complaint): (u8, ParentAddr, Complaint),
    ) {
        let Some(member) = self.members.get(&opener) else { return };
        let (slot, id, child) = (member.slot, member.id, member.addr);
        let accused = match source {
            ParentAddr::Master => Parent::Master,
            ParentAddr::Peer(addr) => match self.groups.get(&slot).and_then(|g| g.addrs.get(&addr))
            {
                Some(&id) => Parent::Node(id),
                // It left already: its children have been told.
                None => return,
            },
        };
        if !matches!(complaint, Complaint::Slow | Complaint::SlowUplink)
            && let ParentAddr::Peer(addr) = source
        {
            let text = format!(
                "{} says that {} is {}",
                format_addr(child),
                format_addr(addr),
                complaint.word()
            );
            announce(common, Effect::Warn, text);
        }
        if let Some(group) = self.groups.get_mut(&slot) {
            let why = match complaint {
                Complaint::Lost | Complaint::Refused => overlay::Complaint::Lost,
                Complaint::Frozen => overlay::Complaint::Frozen,
                Complaint::Slow => overlay::Complaint::Slow,
                Complaint::SlowUplink => overlay::Complaint::SlowUplink,
                Complaint::Corrupt => overlay::Complaint::Corrupt,
            };
            let verdict = group.forest.replace(id, stripe, accused, why, now_ms);
            if verdict == overlay::Verdict::SlowUplink
                && let ParentAddr::Peer(addr) = source
            {
                let text = format!("{} is too slow to feed others", format_addr(addr));
                announce(common, Effect::Warn, text);
            }
            let stays = matches!(verdict, overlay::Verdict::Dismissed | overlay::Verdict::Waits);
            if stays && let Some(parent) = group.forest.parent(id, stripe) {
                // It has dropped that parent already and must not stay without.
                self.tell_parent(common, slot, overlay::Change { node: id, stripe, parent });
            }
        }
        self.tell_changes(common, slot);
    }

    fn route_closed(&mut self, common: &mut Common, opener: OpenId) {
        self.waiting.retain(|waiting| waiting.opener != opener);
        let Some(member) = self.members.remove(&opener) else { return };
        if !member.done {
            let percent = member.stats.have_bytes * 100 / member.stats.total_bytes.max(1);
            let text = format!("{} left at {percent} %, not done", format_addr(member.addr));
            announce(common, Effect::Warn, text);
        }
        if self.departed.len() == DEPARTED_MAX {
            self.departed.pop_front();
        }
        let state = if member.done { "done" } else { "lost" };
        self.departed.push_back(status_line(&member, state, &self.parents_text(&member)));
        if let Some(group) = self.groups.get_mut(&member.slot) {
            group.openers.remove(&member.id.0);
            if group.addrs.get(&member.addr) == Some(&member.id) {
                group.addrs.remove(&member.addr);
            }
            group.forest.leave(member.id);
        }
        self.tell_changes(common, member.slot);
        self.drop_unused(common, member.slot);
    }

    /// One record a line: address, state, bytes held and in all, from the
    /// master, from peers, milliseconds, parents by stripe.
    fn status(&self) -> String {
        let mut text = String::from(
            "# address state have_bytes total_bytes from_master_bytes from_peers_bytes elapsed_ms parents\n",
        );
        for member in self.members.values() {
            let state = if member.done { "serving" } else { "fetching" };
            text.push_str(&status_line(member, state, &self.parents_text(member)));
        }
        text.extend(self.departed.iter().map(String::as_str));
        text
    }

    /// Who feeds a member, by stripe, for `status`.
    fn parents_text(&self, member: &Member) -> String {
        let Some(group) = self.groups.get(&member.slot) else { return member.last_parents.clone() };
        let mut text = String::new();
        for parent in group.forest.parents(member.id) {
            let name = match parent {
                Parent::Master => "me".to_string(),
                Parent::Node(id) => group
                    .openers
                    .get(&id.0)
                    .and_then(|opener| self.members.get(opener))
                    .map_or("-".into(), |m| format_addr(m.addr)),
            };
            let comma = if text.is_empty() { "" } else { "," };
            let _ = write!(text, "{comma}{name}");
        }
        if text.is_empty() { member.last_parents.clone() } else { text }
    }
}

/// Into the log that clients can read, and to who looks after the master.
fn announce(common: &mut Common, effect: fn(String) -> Effect, text: String) {
    common.space.add_log(text.clone().into_bytes());
    common.effects.push_back(effect(text));
}

fn status_line(member: &Member, state: &str, parents: &str) -> String {
    let t = &member.stats;
    format!(
        "{} {state} {} {} {} {} {} {}\n",
        format_addr(member.addr),
        t.have_bytes,
        t.total_bytes,
        t.from_master_bytes,
        t.from_peers_bytes,
        t.elapsed_ms,
        if parents.is_empty() { "-" } else { parents }
    )
}

fn info_text(generation: &Generation, stripes: u8, files: u64, bytes: u64) -> String {
    format!(
        "protocol {}\ngeneration blake3:{}\nindex_bytes {}\npiece_bytes {}\nstripes {stripes}\nfiles {files}\nbytes {bytes}\n",
        control::VERSION,
        generation.digest(),
        generation.manifest_pieces.manifest_len,
        generation.manifest_pieces.piece_len,
    )
}
