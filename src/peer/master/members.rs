//! The clients that joined: what they fetch, their parents, how far they are.
//!
//! Knows one forest for each generation and announces its changes to the clients
//! whose parents change. Refuses to know the policy of the forest (the overlay)
//! and what a generation holds.

use crate::control::{Complaint, MasterMessage, ParentAddr, TransferStats, format_addr};
use crate::namespace::GenerationId;
use crate::overlay::{Change, Forest, Limits, NodeId, Parent, Verdict};
use crate::server::Server;
use crate::sorted::SortedMap;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write;
use core::net::SocketAddr;
use ninep::server::OpenId;

/// Members that left and are kept for `status`.
const DEPARTED_MAX: usize = 16_384;

struct Member {
    node: NodeId,
    generation: GenerationId,
    addr: SocketAddr,
    stats: TransferStats,
    done: bool,
    /// Its parents when it left the forest, for `status`.
    last_parents: String,
}

/// The clients of one generation: they make one forest.
struct Group {
    forest: Forest,
    by_node: SortedMap<NodeId, OpenId>,
    /// The last to join of each address: one that lost its connection may
    /// join again before the loss is seen here.
    by_addr: SortedMap<SocketAddr, NodeId>,
}

impl Group {
    fn new(limits: Limits) -> Group {
        let (by_node, by_addr) = (SortedMap::new(), SortedMap::new());
        Group { forest: Forest::new(limits), by_node, by_addr }
    }

    fn forget(&mut self, member: &Member) {
        self.by_node.remove(&member.node);
        if self.by_addr.get(&member.addr) == Some(&member.node) {
            self.by_addr.remove(&member.addr);
        }
        self.forest.leave(member.node);
    }
}

/// The forest is full.
#[derive(Debug)]
pub(super) struct ForestFull;

/// What is to be said of a member that left, and what it fetched.
pub(super) struct Left {
    pub warning: Option<String>,
    pub generation: GenerationId,
}

pub(super) struct Members {
    limits: Limits,
    /// By their conversation on `route`.
    list: SortedMap<OpenId, Box<Member>>,
    groups: SortedMap<GenerationId, Group>,
    nodes_used: u32,
    departed: VecDeque<String>,
}

impl Members {
    pub fn new(limits: Limits) -> Members {
        Members {
            limits,
            list: SortedMap::new(),
            groups: SortedMap::new(),
            nodes_used: 0,
            departed: VecDeque::new(),
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

    /// Takes a client into the forest and announces its parents to it.
    pub fn join(
        &mut self,
        server: &mut Server,
        now_ms: u64,
        open_id: OpenId,
        addr: SocketAddr,
        generation: GenerationId,
    ) -> Result<(), ForestFull> {
        self.nodes_used += 1;
        let node = NodeId(self.nodes_used);
        let limits = self.limits;
        let group = self.groups.get_or_insert_with(generation, || Group::new(limits));
        if !group.forest.join(node, None, now_ms) {
            return Err(ForestFull);
        }
        group.by_node.insert(node, open_id);
        group.by_addr.insert(addr, node);
        let (stats, last_parents) = (TransferStats::default(), String::new());
        let member = Member { node, generation, addr, stats, done: false, last_parents };
        self.list.insert(open_id, Box::new(member));
        self.announce_changes(server, generation);
        Ok(())
    }

    /// Announces to each member the parents that the forest changed.
    fn announce_changes(&mut self, server: &mut Server, id: GenerationId) {
        while let Some(change) = self.groups.get_mut(&id).and_then(|g| g.forest.poll_change()) {
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

    /// What a member says of its own fetch.
    pub fn note(&mut self, open_id: OpenId, stats: TransferStats, done: bool) {
        let Some(member) = self.list.get_mut(&open_id) else { return };
        member.stats = stats;
        member.done |= done;
        if let Some(group) = self.groups.get_mut(&member.generation) {
            group.forest.trust(member.node);
        }
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
            group.forest.retire(node);
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
            group.forest.withdraw(node);
        }
        self.announce_changes(server, generation);
    }

    /// A member complains of its parent in a stripe. Gives warnings for the
    /// operator.
    pub fn replace(
        &mut self,
        server: &mut Server,
        now_ms: u64,
        open_id: OpenId,
        (stripe, parent, complaint): (u8, ParentAddr, Complaint),
    ) -> Vec<String> {
        let mut warnings = Vec::new();
        let Some(member) = self.list.get(&open_id) else { return warnings };
        let (generation, node, child) = (member.generation, member.node, member.addr);
        let Some(group) = self.groups.get_mut(&generation) else { return warnings };
        let accused = match parent {
            ParentAddr::Master => Parent::Master,
            ParentAddr::Peer(addr) => match group.by_addr.get(&addr) {
                Some(&node) => Parent::Node(node),
                // It left already: its children have been told.
                None => return warnings,
            },
        };
        warnings.extend(accusation_text(child, parent, complaint));
        let verdict = group.forest.replace(node, stripe, accused, complaint, now_ms);
        if let (Verdict::SlowUplink, ParentAddr::Peer(addr)) = (verdict, parent) {
            warnings.push(format!("{} is too slow to feed others", format_addr(addr)));
        }
        let stays = matches!(verdict, Verdict::Dismissed | Verdict::Waits);
        if stays && let Some(parent) = group.forest.parent(node, stripe) {
            // The client has dropped that parent already, and needs one.
            self.announce_parent(server, generation, Change { node, stripe, parent });
        }
        self.announce_changes(server, generation);
        warnings
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
        self.departed.push_back(status_line(&member, state, &self.parents_text(&member)));
        if let Some(group) = self.groups.get_mut(&generation) {
            group.forget(&member);
        }
        self.announce_changes(server, generation);
        Some(Left { warning, generation })
    }

    /// One record a line: address, state, bytes held and in all, from the
    /// master, from peers, milliseconds, parents by stripe.
    pub fn status_text(&self) -> String {
        let mut text = String::from(
            "# address state have_bytes total_bytes from_master_bytes from_peers_bytes elapsed_ms parents\n",
        );
        for member in self.list.values() {
            let state = if member.done { "serving" } else { "fetching" };
            text.push_str(&status_line(member, state, &self.parents_text(member)));
        }
        text.extend(self.departed.iter().map(String::as_str));
        text
    }

    /// The parents of a member, by stripe.
    fn parents_text(&self, member: &Member) -> String {
        let Some(group) = self.groups.get(&member.generation) else {
            return member.last_parents.clone();
        };
        let mut text = String::new();
        for parent in group.forest.parents(member.node) {
            let name = match parent {
                Parent::Master => "me".to_string(),
                Parent::Node(node) => {
                    self.member_of(group, node).map_or("-".into(), |m| format_addr(m.addr))
                }
            };
            let comma = if text.is_empty() { "" } else { "," };
            let _ = write!(text, "{comma}{name}");
        }
        if text.is_empty() { member.last_parents.clone() } else { text }
    }
}

/// A complaint in words, for the operator. Complaints of speed are said only when
/// they are believed.
fn accusation_text(child: SocketAddr, parent: ParentAddr, complaint: Complaint) -> Option<String> {
    let ParentAddr::Peer(addr) = parent else { return None };
    let (child, addr, word) = (format_addr(child), format_addr(addr), complaint.word());
    (!complaint.is_about_speed()).then(|| format!("{child} says that {addr} is {word}"))
}

fn status_line(member: &Member, state: &str, parents: &str) -> String {
    let stats = &member.stats;
    format!(
        "{} {state} {} {} {} {} {} {}\n",
        format_addr(member.addr),
        stats.have_bytes,
        stats.total_bytes,
        stats.from_master_bytes,
        stats.from_peers_bytes,
        stats.elapsed_ms,
        if parents.is_empty() { "-" } else { parents }
    )
}

#[cfg(test)]
mod tests;
