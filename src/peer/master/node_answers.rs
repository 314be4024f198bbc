//! What a node is told: its line of `nodes.tab`, and what of it is served. It waits for a
//! look at both where the last one was too long ago.
//!
//! Knows in what order. Refuses to know how the tree is looked at, and what a node does with
//! the answer.

use super::nodes::LOOK_MS;
use super::{Master, MasterEffect};
use crate::content::manifest::{EntryKind, Manifest};
use crate::control::{NodeAnswer, NodeMessage, NodeQuestion, NodeRefusal, ROOTS, RootKind};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;
use ninep::server::OpenId;
use nodes::Table;

/// Directories of images and of layers; a path that is in none of them is one of the root.
const IMAGES: &str = "images";
const LAYERS: &str = "layers";
/// The image of who asks for none, where there is no nodes.tab.
const DEFAULT_IMAGE: &str = "default";
/// What of an image is started, as the agent knows it too: one kernel, one file of words, and
/// initrds of names that begin so. More than that is no image.
const KERNEL: &str = "kernel";
const CMDLINE: &[u8] = b"cmdline";
const INITRD: &[u8] = b"initrd";
const PARTS_MAX: usize = 66;

impl Master {
    pub(super) fn node_said(&mut self, now_ms: u64, open_id: OpenId, message: NodeMessage) {
        let NodeMessage::Question(question) = message else { return };
        if !self.nodes.wait(now_ms, open_id, question) {
            let reason = "too many nodes ask at once".to_string();
            return self.tell(open_id, refused(NodeRefusal::Missing(reason)));
        }
        if self.nodes.looked_ms.is_none_or(|looked_ms| now_ms >= looked_ms + LOOK_MS) {
            return self.effects.push_back(MasterEffect::LookAtNodes);
        }
        self.answer_nodes(now_ms, false);
    }

    /// The file was looked at. What is wrong with it is said once, and what it said before
    /// stays in force.
    pub(super) fn looked_at_nodes(
        &mut self,
        now_ms: u64,
        news: Option<Result<Option<Table>, String>>,
    ) {
        self.nodes.looked_ms = Some(now_ms);
        match news {
            Some(Ok(Some(table))) => {
                let text = format!("nodes.tab: {} nodes", table.nodes_count());
                (self.nodes.table, self.nodes.fault) = (Some(table), None);
                self.announce(MasterEffect::Say, text);
            }
            Some(Ok(None)) => {
                let text = "nodes.tab is gone: nodes get what they ask for".to_string();
                (self.nodes.table, self.nodes.fault) = (None, None);
                self.announce(MasterEffect::Warn, text);
            }
            Some(Err(why)) => {
                let in_force = match self.nodes.table {
                    Some(_) => "what it said before stays in force",
                    None => "nodes wait until it is right",
                };
                self.announce(MasterEffect::Warn, format!("nodes.tab: {why}; {in_force}"));
                self.nodes.fault = Some(why);
            }
            None => {}
        }
        self.answer_nodes(now_ms, false);
    }

    /// Answers who waits, as far as there is an answer without another look at the tree;
    /// who `has_looked` gets one whatever was found.
    pub(super) fn answer_nodes(&mut self, now_ms: u64, has_looked: bool) {
        let is_recent = self.whole.is_some() && self.rescan.is_recent(now_ms);
        if !(has_looked || is_recent) {
            return self.look_again(now_ms);
        }
        for pending in core::mem::take(&mut self.nodes.pending) {
            let ip = self.server.space.peer_ip(pending.open_id.conn);
            let answer = ip.map(|ip| self.answer_to(&pending.question, ip));
            let Some(answer) = answer else { continue };
            // What is missing may have come since the last look.
            let is_missing = matches!(answer.refusal, Some(NodeRefusal::Missing(_)));
            if has_looked || !is_missing {
                self.tell(pending.open_id, answer);
            } else {
                self.nodes.pending.push(pending);
            }
        }
        if !self.nodes.pending.is_empty() {
            self.look_again(now_ms);
        }
    }

    /// Who has waited too long is told how far the hashing is, and asks again.
    pub(super) fn answer_late_nodes(&mut self, now_ms: u64) {
        while self.nodes.deadline_ms().is_some_and(|at_ms| now_ms >= at_ms) {
            let pending = self.nodes.pending.remove(0);
            let (done, total) = self.joins.hashing();
            let reason = format!("the master still hashes: {} of {} MiB", done >> 20, total >> 20);
            self.tell(pending.open_id, refused(NodeRefusal::Missing(reason)));
        }
    }

    fn tell(&mut self, open_id: OpenId, answer: NodeAnswer) {
        self.server.answer_node(open_id, &answer.text());
    }

    fn answer_to(&self, question: &NodeQuestion, ip: IpAddr) -> NodeAnswer {
        let content = self.whole.and_then(|id| self.server.space.generation(id)?.content.as_ref());
        let Some(content) = content else {
            return refused(NodeRefusal::Missing("nothing is hashed yet".into()));
        };
        let found = self.nodes.table.as_ref().map(|table| table.find(&question.keys, ip));
        let mut answer = NodeAnswer::default();
        let (mut image, mut layers) = (question.image.as_deref(), Vec::new());
        match found {
            Some(Some(found)) => {
                answer.name = found.name;
                image = image.or(found.image);
                layers = found.layers;
                answer.words = found.words.join(" ");
            }
            Some(None) => {
                let reason = "no line of nodes.tab is this node's, and none is for all".into();
                return refused(NodeRefusal::Unknown(reason));
            }
            None if self.nodes.fault.is_some() => {
                let reason = "something is wrong with nodes.tab: see the master's log".into();
                return refused(NodeRefusal::Unknown(reason));
            }
            // As agents that know no nodes have it.
            None => image = image.or(Some(DEFAULT_IMAGE)),
        }
        match complete(&mut answer, &content.manifest, image, &layers) {
            Ok(()) => answer,
            Err(reason) => {
                let refusal = Some(NodeRefusal::Missing(reason));
                NodeAnswer { name: answer.name, refusal, ..NodeAnswer::default() }
            }
        }
    }
}

fn refused(refusal: NodeRefusal) -> NodeAnswer {
    NodeAnswer { refusal: Some(refusal), ..NodeAnswer::default() }
}

/// Adds what is served of the image and the layers.
fn complete(
    answer: &mut NodeAnswer,
    tree: &Manifest,
    image: Option<&str>,
    layers: &[&str],
) -> Result<(), String> {
    let image = image.ok_or("neither nodes.tab nor xget.image= names an image")?;
    let is_missing = |name: &str| format!("{name} is not served");
    answer.image = directory(tree, IMAGES, image).ok_or_else(|| is_missing(image))?;
    let kernel = find(tree, &answer.image, KERNEL).map(|(_, entry)| entry);
    answer.kernel = kernel.map(|entry| tree.entries[entry as usize].digest);
    answer.parts = parts(tree, &answer.image);
    let root = ROOTS.iter().find(|(name, _, kind)| {
        let found = find(tree, &answer.image, name);
        found.is_some_and(|(is_dir, _)| is_dir == (*kind == RootKind::Dir))
    });
    answer.root = root.map(|(_, _, kind)| *kind);
    for layer in layers {
        let path = directory(tree, LAYERS, layer).ok_or_else(|| is_missing(layer))?;
        answer.layers.push(path);
    }
    // Its own comes last, over all others, and once.
    let own = answer.name.as_ref().map(|name| format!("{LAYERS}/{name}"));
    if let Some(own) = own.filter(|own| find(tree, own, "").is_some_and(|(is_dir, _)| is_dir)) {
        answer.layers.retain(|layer| *layer != own);
        answer.layers.push(own);
    }
    Ok(())
}

/// What of an image is started: its kernel, command line and initrds.
fn parts(tree: &Manifest, image: &str) -> Vec<String> {
    let Some(dir) = tree.find(image.trim_start_matches('/').as_bytes(), true) else {
        return Vec::new();
    };
    let names = tree.children(dir).map(|entry| &*tree.entries[entry as usize].name);
    let is_part =
        |name: &&[u8]| name.starts_with(INITRD) || [KERNEL.as_bytes(), CMDLINE].contains(name);
    let text = |name| String::from_utf8_lossy(name).into_owned();
    names.filter(is_part).take(PARTS_MAX).map(text).collect()
}

/// Whether what is there is a directory, and the entry that has its bytes.
fn find(tree: &Manifest, dir: &str, name: &str) -> Option<(bool, u32)> {
    let entry = tree.find(format!("{dir}/{name}").trim_start_matches('/').as_bytes(), true)?;
    match tree.entries[entry as usize].kind {
        EntryKind::Dir => Some((true, entry)),
        EntryKind::File => Some((false, entry)),
        EntryKind::Hardlink(entry) => Some((false, entry)),
        _ => None,
    }
}

/// The path of a served directory of this name: of those below `below`, if it is there.
fn directory(tree: &Manifest, below: &str, name: &str) -> Option<String> {
    let is_one = |dir: &str, name: &str| find(tree, dir, name).is_some_and(|(is_dir, _)| is_dir);
    let name = name.trim_matches('/');
    let is_plain = name.split('/').all(|name| !matches!(name, "" | "." | ".."));
    if is_plain && is_one(below, name) {
        return Some(format!("{below}/{name}"));
    }
    let name = if name.is_empty() { "." } else { name };
    is_one(name, "").then(|| name.to_string())
}
