//! What a node is told: its line of `nodes.tab`, and what of it is served. It waits for a
//! look at both where the last one was too long ago.
//!
//! Knows in what order. Refuses to know how the tree is looked at, and what a node does with
//! the answer.

use super::heard::{ASKED, MISSING, UNKNOWN};
use super::nodes::LOOK_MS;
use super::{Master, MasterEffect};
use crate::control::{NODE_ANSWER_LEN_MAX, NodeMessage, NodeQuestion, add_path, add_words};
use crate::image::{self, Image};
use alloc::format;
use alloc::string::{String, ToString};
use core::net::IpAddr;
use ninep::server::OpenId;
use nodes::{Found, IMAGES, Layers, Table, directory};

/// The image of who asks for none, where there is no nodes.tab.
const DEFAULT_IMAGE: &str = "default";
impl Master {
    pub(super) fn node_said(&mut self, now_ms: u64, open_id: OpenId, message: NodeMessage) {
        let Some(ip) = self.server.space.peer_ip(open_id.conn) else { return };
        let question = match message {
            NodeMessage::Question(question) => question,
            NodeMessage::State(stage, words) => {
                if let Some(heard) = self.nodes.roll.at(now_ms, ip) {
                    heard.said(now_ms, stage, &words);
                }
                return;
            }
        };
        if let Some(heard) = self.nodes.roll.hear(now_ms, &question.keys, ip) {
            heard.asks(now_ms);
        }
        if !self.nodes.wait(now_ms, open_id, ip, question) {
            return self.refuse_node(open_id, "too many nodes ask at once");
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
        (self.nodes.looked_ms, self.nodes.is_changing) = (Some(now_ms), false);
        match news {
            Some(Ok(Some(table))) => {
                let text = format!("nodes.tab: {} nodes", table.nodes_count());
                (self.nodes.table, self.nodes.fault) = (Some(table), None);
                self.announce(MasterEffect::Say, text);
                // What came before the table (layers that were rendered for it) is seen with it.
                self.look_again(now_ms);
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

    /// The file is being changed: what it said before stays in force until it is not.
    pub(super) fn nodes_change(&mut self, now_ms: u64) {
        (self.nodes.looked_ms, self.nodes.is_changing) = (Some(now_ms), true);
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
            let Some(ip) = self.server.space.peer_ip(pending.open_id.conn) else { continue };
            let told = self.compose(&pending.question, ip);
            // What is missing may have come since the last look.
            if has_looked || told.state != MISSING {
                let heard = (told.state, &*told.name, &*told.image);
                self.nodes.roll.answer(now_ms, &pending.question.keys, ip, heard);
                self.server.answer_node(pending.open_id, &told.text);
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
            self.refuse_node(pending.open_id, &reason);
        }
    }

    /// What it wants is not to be had now.
    fn refuse_node(&mut self, open_id: OpenId, reason: &str) {
        let mut text = String::new();
        add_words(&mut text, MISSING, reason);
        self.server.answer_node(open_id, &text);
    }

    fn compose(&self, question: &NodeQuestion, ip: IpAddr) -> Told {
        let mut told = Told { state: ASKED, ..Told::default() };
        // What is wrong was said to it.
        let _ = self.compose_in(&mut told, question, ip);
        told
    }

    /// Nothing where it was told why there is nothing for it now.
    fn compose_in(&self, told: &mut Told, question: &NodeQuestion, ip: IpAddr) -> Option<()> {
        let content = self.whole.and_then(|id| self.server.space.generation(id)?.content.as_ref());
        let Some(content) = content else { return told.refuse(MISSING, "nothing is hashed yet") };
        let tree = &*content.manifest;
        let found = self.nodes.table.as_ref().map(|table| table.find(&question.keys, ip));
        let line = match found {
            Some(Some(line)) => line,
            Some(None) => {
                let reason = "no line of nodes.tab is this node's, and none is for all";
                return told.refuse(UNKNOWN, reason);
            }
            None if self.nodes.fault.is_some() => {
                let reason = "something is wrong with nodes.tab: see the master's log";
                return told.refuse(UNKNOWN, reason);
            }
            // As agents that know no nodes have it.
            None => Found { image: Some(DEFAULT_IMAGE), ..Found::default() },
        };
        if let Some(name) = line.name {
            told.name = name.to_string();
            add_path(&mut told.text, "name", name);
        }
        let Some(image) = question.image.as_deref().or(line.image) else {
            return told.refuse(MISSING, "neither nodes.tab nor xget.image= names an image");
        };
        let is_there = |path: &str| image::is_dir(tree, path);
        let Some(image) = directory(IMAGES, image, &is_there) else {
            return told.lack("image", image);
        };
        let layers = match Layers::of(&line.layers, line.name, &is_there) {
            Ok(layers) => layers.plain.into_iter().chain(layers.rendered),
            Err(layer) => return told.lack("layer", layer),
        };
        add_path(&mut told.text, "image", &image);
        let files = Image::of(tree, &image);
        if let Some(digest) = files.kernel {
            add_words(&mut told.text, "kernel", &format!("blake3:{digest}"));
        }
        files.parts.iter().for_each(|part| add_path(&mut told.text, "part", part));
        if let Some((_, word, _)) = files.root {
            add_words(&mut told.text, "root", word);
        }
        layers.for_each(|layer| add_path(&mut told.text, "layer", &layer));
        if !line.words.is_empty() {
            add_words(&mut told.text, "words", &line.words.join(" "));
        }
        if told.text.len() > NODE_ANSWER_LEN_MAX {
            told.text.clear();
            let reason = format!(
                "of image {image} there is more to say than an answer holds: it has too many initrds"
            );
            return told.refuse(MISSING, &reason);
        }
        told.image = image;
        Some(())
    }
}

/// What a node is told.
#[derive(Default)]
struct Told {
    text: String,
    /// How it stands with it then: [`ASKED`], [`UNKNOWN`] or [`MISSING`].
    state: &'static str,
    name: String,
    image: String,
}

impl Told {
    /// There is nothing for it now.
    fn refuse<T>(&mut self, state: &'static str, reason: &str) -> Option<T> {
        self.state = state;
        add_words(&mut self.text, state, reason);
        None
    }

    /// What is not there may come.
    fn lack<T>(&mut self, what: &str, name: &str) -> Option<T> {
        self.refuse(MISSING, &format!("{what} {} is not served", name.trim_matches('/')))
    }
}
