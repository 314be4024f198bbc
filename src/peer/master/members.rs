//! The clients that joined: what they fetch, their parents, how far they are.
//!
//! Knows one forest for each generation and announces its changes to the clients
//! whose parents change. A client that joined is given its place when the master
//! has reached it (`Inspections`), or some time later as one who serves nobody.
//! Refuses to know the policy of the forest (the overlay) and what a generation
//! holds.

use super::bans::Bans;
use super::inspections::{Finding, Inspection, Reason, Sample};
use crate::control::{Complaint, MasterMessage, ParentAddr, TransferStats, format_addr, printable};
use crate::namespace::GenerationId;
use crate::overlay::{Change, Limits, NODES_MAX, NodeId, Parent, Verdict, Voice};
use crate::recent::Recent;
use crate::server::Server;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use group::Group;
use ninep::server::OpenId;
use sorted::SortedMap;
use stream::{Stream, Streams};
use texts::{accusation_text, disbelief_text};

/// Members that left and are kept for `status`.
const DEPARTED_MAX: usize = 16_384;
/// One client of an IP address is believed to serve on its port until the master
/// finds that it does not. Others are told their parents when their port has
/// answered, or that much later: they serve nobody then until it answers.
const GREETING_MS: u64 = 200;
/// Members of one IP address whose ports do not answer.
const UNREACHED_MAX: u32 = 1_024;
/// Characters that are said of why somebody cannot be reached.
const WHY_LEN_MAX: usize = 200;
/// IP addresses that are not believed any more; the oldest is forgotten.
const DOUBTED_MAX: usize = 256;

struct Member {
    node: NodeId,
    generation: GenerationId,
    addr: SocketAddr,
    stats: TransferStats,
    done: bool,
    /// It has a place in the forest.
    is_placed: bool,
    /// Its port answered the master when it was last called.
    is_reached: bool,
    /// Its parents when it left the forest, and what it asked for: for `status`.
    last_parents: String,
    sources: Box<str>,
    stream: Stream,
}

/// Why a client cannot be taken in: words for it.
pub(super) type Refused = &'static str;

/// What is to be said of a member that left, and what it fetched.
pub(super) struct Left {
    pub warning: Option<String>,
    pub generation: GenerationId,
    pub addr: SocketAddr,
}

/// A stripe, its parent, what is wrong with it, and with which piece.
pub(super) type Accusation = (u8, ParentAddr, Complaint, Option<u32>);

pub(super) struct Members {
    limits: Limits,
    /// By their conversation on `route`.
    list: SortedMap<OpenId, Box<Member>>,
    groups: SortedMap<GenerationId, Group>,
    nodes_used: u32,
    departed: VecDeque<String>,
    /// Who has no place yet, and until when it is waited for an answer.
    unplaced: VecDeque<(u64, OpenId)>,
    /// How many members of each IP address are not reached.
    unreached: Vec<(IpAddr, u32)>,
    /// Where somebody did not answer on the port that it announced.
    doubted: Recent<IpAddr, DOUBTED_MAX>,
    bans: Bans,
    streams: Streams,
}

impl Members {
    pub fn new(limits: Limits) -> Members {
        Members {
            limits,
            list: SortedMap::new(),
            groups: SortedMap::new(),
            nodes_used: 0,
            departed: VecDeque::new(),
            unplaced: VecDeque::new(),
            unreached: Vec::new(),
            doubted: Recent::default(),
            bans: Bans::default(),
            streams: Streams::default(),
        }
    }

    pub fn has(&self, open_id: OpenId) -> bool {
        self.list.contains_key(&open_id)
    }

    /// Whether somebody fetches this generation.
    pub fn has_any_of(&self, id: GenerationId) -> bool {
        self.groups.get(&id).is_some_and(|group| !group.by_node.is_empty())
    }

    pub fn forget_generation(&mut self, id: GenerationId) {
        self.groups.remove(&id);
    }

    /// Takes a client in. It gets its place at once if it is believed; else when it
    /// is found that its port answers, or by `timeout`.
    pub fn join(
        &mut self,
        server: &mut Server,
        now_ms: u64,
        open_id: OpenId,
        addr: SocketAddr,
        (generation, window_bytes): (GenerationId, Option<u64>),
    ) -> Result<(), Refused> {
        let unreached = self.count_unreached(addr.ip());
        if unreached >= UNREACHED_MAX {
            return Err("too many clients of your address cannot be reached on their ports");
        }
        let limits = self.limits;
        let group = self.groups.get_or_insert_with(generation, || Group::new(limits));
        if group.by_node.len() >= NODES_MAX {
            return Err("the master has too many clients; try later");
        }
        self.nodes_used += 1;
        let node = NodeId(self.nodes_used);
        group.by_node.insert(node, open_id);
        let before = group.by_addr.insert(addr, node);
        let (stats, last_parents) = (TransferStats::default(), String::new());
        let (done, is_placed, is_reached) = (false, false, false);
        let stream = Stream::of(window_bytes);
        let member = Member {
            node,
            generation,
            addr,
            stats,
            done,
            is_placed,
            is_reached,
            last_parents,
            sources: Box::default(),
            stream,
        };
        self.list.insert(open_id, Box::new(member));
        self.change_unreached(addr.ip(), true);
        // One address and port is one server: the last to join from there.
        if let Some(before) = before {
            self.set_reached(generation, before, false, now_ms);
            self.announce_changes(server, generation);
        }
        if unreached == 0 && before.is_none() && !self.is_doubted(addr.ip()) {
            self.place(server, now_ms, open_id, true);
        } else {
            self.unplaced.push_back((now_ms + GREETING_MS, open_id));
        }
        Ok(())
    }

    fn count_unreached(&self, ip: IpAddr) -> u32 {
        self.unreached.iter().find(|(known, _)| *known == ip).map_or(0, |(_, count)| *count)
    }

    fn change_unreached(&mut self, ip: IpAddr, is_more: bool) {
        match self.unreached.iter().position(|(known, _)| *known == ip) {
            Some(at) if is_more => self.unreached[at].1 += 1,
            Some(at) if self.unreached[at].1 > 1 => self.unreached[at].1 -= 1,
            Some(at) => drop(self.unreached.swap_remove(at)),
            None => self.unreached.extend(is_more.then_some((ip, 1))),
        }
    }

    /// Whether the master reached a node, just now.
    fn set_reached(&mut self, id: GenerationId, node: NodeId, is_reached: bool, now_ms: u64) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        let Some(&open_id) = group.by_node.get(&node) else { return };
        if !is_reached {
            group.forest_of(node).find_silent(node, now_ms);
        }
        let Some(member) = self.list.get_mut(&open_id) else { return };
        if core::mem::replace(&mut member.is_reached, is_reached) != is_reached {
            let ip = member.addr.ip();
            self.change_unreached(ip, !is_reached);
        }
    }

    /// Gives a client its place in the forest and announces its parents to it.
    fn place(&mut self, server: &mut Server, now_ms: u64, open_id: OpenId, is_believed: bool) {
        let Some(member) = self.list.get_mut(&open_id).filter(|m| !m.is_placed) else { return };
        member.is_placed = true;
        let Some(member) = self.list.get(&open_id) else { return };
        let is_late = self.is_late(member);
        let Some(group) = self.groups.get_mut(&member.generation) else { return };
        let (node, generation, done) = (member.node, member.generation, member.done);
        let is_banned = self.bans.is_banned(member.addr);
        let is_reached = (member.is_reached || is_believed) && !is_banned;
        let newcomer = member.newcomer(is_reached);
        if is_late {
            group.behind().join(newcomer, now_ms);
            server.answer(open_id, &MasterMessage::Behind);
        } else {
            group.forest_of(node).join(newcomer, now_ms);
        }
        if is_banned {
            group.forest_of(node).find_corrupt(node, now_ms);
        }
        if done {
            group.forest_of(node).retire(node);
        }
        self.announce_changes(server, generation);
    }

    /// When to call `timeout`.
    pub fn deadline_ms(&self) -> Option<u64> {
        let unplaced = self.unplaced.front().map(|(at_ms, _)| *at_ms);
        let full = self.streams.deadline_ms();
        self.bans.deadline_ms().into_iter().chain(unplaced).chain(full).min()
    }

    /// Who was waited for long enough has its place, and bans end. Gives who is
    /// to be called.
    pub fn timeout(&mut self, server: &mut Server, now_ms: u64) -> Vec<OpenId> {
        while let Some(&(_, open_id)) = self.unplaced.front().filter(|(at_ms, _)| *at_ms <= now_ms)
        {
            self.unplaced.pop_front();
            self.place(server, now_ms, open_id, false);
        }
        self.part_full(server, now_ms);
        let mut calls = Vec::new();
        while let Some(addr) = self.bans.poll_over(now_ms) {
            self.each_of(addr, |members, generation, node| {
                if let Some(group) = members.groups.get_mut(&generation) {
                    group.forest_of(node).forgive(node);
                    calls.extend(group.by_node.get(&node));
                }
                members.announce_changes(server, generation);
            });
        }
        calls
    }

    /// Does something for each generation that somebody at this address fetches.
    fn each_of(
        &mut self,
        addr: SocketAddr,
        mut each: impl FnMut(&mut Members, GenerationId, NodeId),
    ) {
        let of_group =
            |(id, group): (&GenerationId, &Group)| Some((*id, *group.by_addr.get(&addr)?));
        let found: Vec<(GenerationId, NodeId)> = self.groups.iter().filter_map(of_group).collect();
        found.into_iter().for_each(|(generation, node)| each(self, generation, node));
    }

    /// Whether a client is at this address.
    pub fn has_any_at(&self, addr: SocketAddr) -> bool {
        self.groups.values().any(|group| group.by_addr.contains_key(&addr))
    }

    /// How many generations are fetched from this IP address.
    pub fn count_groups(&self, ip: IpAddr) -> usize {
        let ports = SocketAddr::new(ip, 0)..=SocketAddr::new(ip, u16::MAX);
        let is_its = |group: &&Group| group.by_addr.range(ports.clone()).next().is_some();
        self.groups.values().filter(is_its).count()
    }

    /// The master has called who is at this address. Gives warnings for the
    /// operator.
    pub fn found(
        &mut self,
        server: &mut Server,
        now_ms: u64,
        addr: SocketAddr,
        finding: &Finding,
    ) -> Vec<String> {
        let mut warnings = Vec::new();
        let name = format_addr(addr);
        if let Finding::Corrupt { piece } = finding {
            let minutes = self.bans.ban(addr, now_ms);
            warnings.push(format!("{name} sends corrupt bytes for piece {piece}, as this machine has seen itself: it serves nobody for {minutes} min"));
        }
        self.each_of(addr, |members, generation, node| {
            let Some(group) = members.groups.get_mut(&generation) else { return };
            let open_id = group.by_node.get(&node).copied();
            match finding {
                Finding::Well { .. } | Finding::Right => {
                    let refuted = match finding {
                        Finding::Right => Some(Complaint::Corrupt),
                        Finding::Well { is_refuted: true } => Some(Complaint::Lost),
                        _ => None,
                    };
                    let liars = group.forest_of(node).find_well(node, refuted, now_ms);
                    warnings.extend(liars.into_iter().map(disbelief_text));
                    members.set_reached(generation, node, true, now_ms);
                }
                Finding::Silent { is_news, why } => {
                    members.set_reached(generation, node, false, now_ms);
                    members.doubt(addr.ip());
                    if *is_news && server.voices.may_say(now_ms, addr.ip()) {
                        // Its own words, maybe.
                        let why = printable(why.chars().take(WHY_LEN_MAX).collect::<String>());
                        warnings.push(format!("{name} cannot be reached from here ({why}): it serves nobody until it can"));
                    }
                }
                Finding::Late => group.forest_of(node).find_late(node, now_ms),
                Finding::Corrupt { .. } => group.forest_of(node).find_corrupt(node, now_ms),
            }
            if let Some(open_id) = open_id.filter(|_| *finding != Finding::Late) {
                members.place(server, now_ms, open_id, false);
            }
            members.announce_changes(server, generation);
        });
        warnings
    }

    fn doubt(&mut self, ip: IpAddr) {
        if !self.is_doubted(ip) {
            self.doubted.push(ip, |_| false);
        }
    }

    fn is_doubted(&self, ip: IpAddr) -> bool {
        self.doubted.iter().any(|known| *known == ip)
    }

    /// Announces to each member the parents that the forest changed.
    fn announce_changes(&mut self, server: &mut Server, id: GenerationId) {
        while let Some(change) = self.groups.get_mut(&id).and_then(Group::poll_change) {
            self.announce_parent(server, id, change);
        }
    }

    fn announce_parent(&self, server: &mut Server, id: GenerationId, change: Change) {
        let Some(group) = self.groups.get(&id) else { return };
        let Some(&open_id) = group.by_node.get(&change.node) else { return };
        let parent = match change.parent {
            Parent::Master => Some(ParentAddr::Master),
            Parent::Node(node) => self.member_of(group, node).map(|m| ParentAddr::Peer(m.addr)),
        };
        // Always announced: the client may wait for nothing else.
        let parent = parent.unwrap_or(ParentAddr::Master);
        let message = MasterMessage::Parent { stripe: change.stripe, parent };
        log::debug!(target: "server", "{:?} is told: {}", change.node, message.line().trim_end());
        server.answer(open_id, &message);
    }

    fn member_of(&self, group: &Group, node: NodeId) -> Option<&Member> {
        let open_id = group.by_node.get(&node)?;
        self.list.get(open_id).map(Box::as_ref)
    }

    /// What a member says of its own fetch, which is its word alone. Whether it
    /// was reached when it was last called.
    pub fn note(&mut self, open_id: OpenId, stats: TransferStats, done: bool) -> bool {
        let Some(member) = self.list.get_mut(&open_id) else { return true };
        member.stats = stats;
        member.done |= done;
        member.is_reached
    }

    /// A member has everything: it needs no parents any more. Gives the line
    /// for the operator.
    pub fn done(&mut self, server: &mut Server, open_id: OpenId) -> Option<String> {
        let member = self.list.get(&open_id)?;
        let (node, generation, stats) = (member.node, member.generation, &member.stats);
        let text = format!(
            "{} done: {} bytes in {}.{:03} s, {} from the master, {} from peers",
            format_addr(member.addr),
            stats.total_bytes,
            stats.elapsed_ms / 1000,
            stats.elapsed_ms % 1000,
            stats.from_master_bytes,
            stats.from_peers_bytes
        );
        if let Some(group) = self.groups.get_mut(&generation) {
            group.forest_of(node).retire(node);
        }
        self.announce_changes(server, generation);
        Some(text)
    }

    /// A member leaves soon: its children are given to others.
    pub fn withdraw(&mut self, server: &mut Server, open_id: OpenId) {
        let Some(member) = self.list.get(&open_id) else { return };
        let (node, generation) = (member.node, member.generation);
        let last_parents = self.parents_text(member);
        if let Some(member) = self.list.get_mut(&open_id) {
            member.last_parents = last_parents;
        }
        if let Some(group) = self.groups.get_mut(&generation) {
            group.forest_of(node).withdraw(node);
        }
        self.announce_changes(server, generation);
    }

    /// A member complains of its parent in a stripe. Gives warnings for the
    /// operator, and who is to be called for it.
    pub fn replace(
        &mut self,
        server: &mut Server,
        now_ms: u64,
        open_id: OpenId,
        (stripe, parent, complaint, piece): Accusation,
    ) -> (Vec<String>, Option<Inspection>) {
        let mut warnings = Vec::new();
        let Some(member) = self.list.get(&open_id) else { return (warnings, None) };
        let (generation, node, child) = (member.generation, member.node, member.addr);
        let Some(group) = self.groups.get(&generation) else { return (warnings, None) };
        let accused = match parent {
            ParentAddr::Master => Parent::Master,
            ParentAddr::Peer(addr) => match group.by_addr.get(&addr) {
                Some(&node) => Parent::Node(node),
                // It left already: its children have been told.
                None => return (warnings, None),
            },
        };
        let complaint = self.taken_as((open_id, accused), complaint);
        let Some(group) = self.groups.get_mut(&generation) else { return (warnings, None) };
        if complaint.is_about_speed() && group.is_behind(node) && !server.space.is_late_free() {
            // All there are as slow as others leave them.
            return (warnings, None);
        }
        let forest = group.forest_of(node);
        let verdict = forest.replace(node, stripe, accused, complaint, now_ms);
        if complaint == Complaint::Passed && verdict != Verdict::Dismissed {
            self.passed(server, now_ms, (open_id, accused));
        }
        let mut inspection = None;
        if let (ParentAddr::Peer(addr), true) = (parent, verdict != Verdict::Dismissed) {
            warnings.extend(accusation_text(child, parent, complaint));
            // A stranger can cause as many as it likes.
            if !warnings.is_empty() && !server.voices.may_say(now_ms, child.ip()) {
                warnings.clear();
            }
            let name = format_addr(addr);
            match verdict {
                Verdict::SlowUplink => {
                    warnings.push(format!("{name} is too slow to feed others"));
                }
                Verdict::Banned => {
                    let minutes = self.bans.ban(addr, now_ms);
                    warnings.push(format!(
                        "{name} is wrong to most whom it feeds: it serves nobody for {minutes} min"
                    ));
                }
                _ => {}
            }
            let reason = match complaint {
                Complaint::Lost | Complaint::Frozen => Some(Reason::Accused),
                Complaint::Slow | Complaint::Refused => Some(Reason::Unfed),
                Complaint::Corrupt => Some(Reason::Doubted { is_said: piece.is_some() }),
                Complaint::SlowUplink | Complaint::Passed => None,
            };
            // Who gives nothing at all may lack even the manifest, which whoever serves has.
            let piece = if complaint == Complaint::Refused { Some(0) } else { piece };
            let sample = self.sample(server, generation, stripe, piece);
            let is_believed = self.believes(generation, node, now_ms);
            let inspected = reason.filter(|_| is_believed).zip(sample);
            inspection = inspected.map(|(reason, sample)| (addr, reason, sample));
        }
        let parent = self.groups.get(&generation).and_then(|g| g.forest(node).parent(node, stripe));
        if matches!(verdict, Verdict::Dismissed | Verdict::Waits)
            && let Some(parent) = parent
        {
            // The client has dropped that parent already, and needs one.
            self.announce_parent(server, generation, Change { node, stripe, parent });
        }
        self.announce_changes(server, generation);
        (warnings, inspection)
    }

    fn believes(&self, id: GenerationId, node: NodeId, now_ms: u64) -> bool {
        self.groups.get(&id).is_some_and(|group| group.forest(node).believes(node, now_ms))
    }

    /// The piece that somebody complains of, or one of the stripe if that is not
    /// said.
    fn sample(
        &self,
        server: &Server,
        id: GenerationId,
        stripe: u8,
        said: Option<u32>,
    ) -> Option<Sample> {
        let generation = server.space.generation(id)?;
        let stripes = u32::from(self.limits.stripes);
        let first = generation.manifest_pieces.count();
        let usual = first + (u32::from(stripe) + stripes - first % stripes) % stripes;
        Some(Sample {
            generation: id,
            digest: generation.digest(),
            piece: said.unwrap_or(usual).min(generation.content.as_ref()?.map.count() - 1),
            stride: generation.manifest_pieces.stride(),
        })
    }

    /// To call a member as one that joined is called.
    pub fn greeting(&self, server: &Server, open_id: OpenId) -> Option<Inspection> {
        let &Member { addr, generation, .. } = self.list.get(&open_id)?.as_ref();
        Some((addr, Reason::Greeting, self.sample(server, generation, 0, None)?))
    }

    /// A member's conversation ended.
    pub fn leave(&mut self, server: &mut Server, open_id: OpenId) -> Option<Left> {
        let member = self.list.remove(&open_id)?;
        let generation = member.generation;
        let warning = (!member.done).then(|| {
            let addr = format_addr(member.addr);
            let percent = member.stats.have_bytes.saturating_mul(100);
            match percent.checked_div(member.stats.total_bytes) {
                Some(percent) => format!("{addr} left at {percent} %, not done"),
                None => format!("{addr} left before its first report, not done"),
            }
        });
        if self.departed.len() == DEPARTED_MAX {
            self.departed.pop_front();
        }
        let state = if member.done { "done" } else { "lost" };
        self.departed.push_back(status::line(&member, state, &self.parents_text(&member)));
        if let Some(group) = self.groups.get_mut(&generation) {
            group.forget(member.node, member.addr);
        }
        if !member.is_reached {
            self.change_unreached(member.addr.ip(), false);
        }
        self.announce_changes(server, generation);
        Some(Left { warning, generation, addr: member.addr })
    }
}

/// All who come from one IP address speak with one voice.
fn voice(addr: SocketAddr) -> Voice {
    Voice(match addr.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    })
}

mod group;
mod status;
mod stream;
mod streams;
#[cfg(test)]
mod tests;
mod texts;
