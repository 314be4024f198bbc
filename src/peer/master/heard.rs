//! One node that the master heard of: its words, its state, its line in `/.xget/nodes`.
//!
//! Knows how much of what it says of itself is kept. Refuses to know the others.

use crate::control::{NodeStage, add_word, add_word_within};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;
use nodes::{Key, Kind};

/// Who waits, fetches or starts and is not heard for so long is lost.
pub(super) const LOST_MS: u64 = 600_000;
/// Who is lost and has no name is shown no more after so long.
const PAST_MS: u64 = 24 * 3_600_000;
/// Interfaces, or where it has none other keys, by which a node is told from others.
const IDENTITIES_MAX: usize = 2;
/// Bytes of a key of it, of its image, and of its words.
const KEY_LEN_MAX: usize = 64;
const IMAGE_LEN_MAX: usize = 256;
const SAID_LEN_MAX: usize = 256;
/// Bytes of the longest line, whatever it says.
#[cfg(test)]
pub(super) const LINE_LEN_MAX: usize = 2_000;

/// How it stands with a node that asked: there is something for it, or not.
pub(super) const ASKED: &str = "asked";
pub(super) const UNKNOWN: &str = "unknown";
pub(super) const MISSING: &str = "missing";
const LOST: &str = "lost";

/// A node.
pub(super) struct Heard {
    /// Those by which it is told from others are the first; none in a place that is free.
    pub keys: Vec<Key>,
    pub ip: IpAddr,
    pub name: String,
    image: String,
    state: &'static str,
    said: String,
    /// It is so since then, and was heard last.
    since_ms: u64,
    pub heard_ms: u64,
}

/// What is kept of a node's keys, and how many of these, the first, tell it from others: its
/// first interfaces, and where it has none those of all that it is known by. Addresses that
/// no maker has given come last: of a service processor all machines of a kind have the same.
pub(super) fn kept(keys: &[Key]) -> (Vec<Key>, usize) {
    let (mut macs, mut others): (Vec<Key>, Vec<Key>) = (Vec::new(), Vec::new());
    for key in keys.iter().filter(|key| key.text.len() <= KEY_LEN_MAX) {
        match key.kind {
            Kind::Mac if !macs.contains(key) => macs.push(key.clone()),
            Kind::Mac => {}
            // Of each kind the first.
            kind if others.iter().any(|known| known.kind == kind) => {}
            _ => others.push(key.clone()),
        }
    }
    let (mut identities, mut local): (Vec<Key>, Vec<Key>) =
        macs.into_iter().partition(|mac| !is_locally_administered(mac));
    identities.append(&mut local);
    identities.truncate(IDENTITIES_MAX);
    let count = if identities.is_empty() { others.len() } else { identities.len() };
    identities.append(&mut others);
    (identities, count.min(IDENTITIES_MAX))
}

/// The second bit of its first byte.
fn is_locally_administered(mac: &Key) -> bool {
    mac.text.as_bytes().get(1).is_some_and(|digit| b"2367abef".contains(digit))
}

/// No more than that, in memory too.
fn cut(text: &str, len_max: usize) -> String {
    text[..text.floor_char_boundary(len_max)].into()
}

impl Heard {
    pub fn new(now_ms: u64, keys: Vec<Key>, ip: IpAddr) -> Heard {
        Heard {
            keys,
            ip,
            name: String::new(),
            image: String::new(),
            state: ASKED,
            said: String::new(),
            since_ms: now_ms,
            heard_ms: now_ms,
        }
    }

    fn is_waiting(&self) -> bool {
        [ASKED, UNKNOWN, MISSING].contains(&self.state)
    }

    fn set(&mut self, now_ms: u64, state: &'static str) {
        if self.state != state {
            (self.state, self.since_ms) = (state, now_ms);
        }
    }

    /// It boots, and asks.
    pub fn asks(&mut self, now_ms: u64) {
        if !self.is_waiting() {
            self.set(now_ms, ASKED);
        }
    }

    /// It fetches.
    pub fn joined(&mut self, now_ms: u64) {
        if self.state == ASKED {
            self.set(now_ms, NodeStage::Fetching.word());
        }
    }

    /// It says how far it is.
    pub fn said(&mut self, now_ms: u64, stage: NodeStage, words: &str) {
        self.set(now_ms, stage.word());
        self.said = cut(words, SAID_LEN_MAX);
    }

    /// What became of its question. What it said since then goes before that.
    pub fn answered(&mut self, now_ms: u64, state: &'static str, image: &str) {
        if self.is_waiting() {
            self.set(now_ms, state);
        }
        self.image = cut(image, IMAGE_LEN_MAX);
    }

    /// On its way, or waiting, and silent: it asks every 20 s.
    fn is_lost(&self, now_ms: u64) -> bool {
        let is_at_its_end = [NodeStage::Up, NodeStage::Failed].map(NodeStage::word);
        !is_at_its_end.contains(&self.state) && now_ms >= self.heard_ms + LOST_MS
    }

    /// Lost for so long, and nobody's: who looks has no use for it.
    pub fn is_of_the_past(&self, now_ms: u64) -> bool {
        self.name.is_empty() && self.is_lost(now_ms) && now_ms >= self.heard_ms + PAST_MS
    }

    pub fn line(&self, now_ms: u64, text: &mut String) {
        let seconds = |since_ms: u64| (now_ms.saturating_sub(since_ms) / 1000).to_string();
        let (since, heard, ip) =
            (seconds(self.since_ms), seconds(self.heard_ms), self.ip.to_string());
        let mut line = String::new();
        for (name, value) in [
            ("state", if self.is_lost(now_ms) { LOST } else { self.state }),
            ("seconds", &since),
            ("heard", &heard),
            ("address", &ip),
            ("name", &self.name),
        ] {
            if !value.is_empty() {
                add_word(&mut line, name, value);
            }
        }
        if !self.image.is_empty() {
            add_word_within(&mut line, "image", &self.image, IMAGE_LEN_MAX);
        }
        if !self.said.is_empty() {
            add_word(&mut line, "said", &self.said);
        }
        for key in &self.keys {
            add_word(&mut line, key.word().unwrap_or_default(), &key.text);
        }
        text.push_str(&line);
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    fn key(kind: Kind, value: &str) -> Key {
        Key::new(kind, value).unwrap()
    }

    fn texts(keys: &[Key]) -> (String, usize) {
        let (kept, identities) = kept(keys);
        (kept.iter().map(|key| &*key.text).collect::<Vec<_>>().join(" "), identities)
    }

    #[test]
    fn addresses_of_a_maker_tell_a_node_from_others_before_those_of_nobody() {
        let mac = |text: &str| key(Kind::Mac, text);
        let (bmc, one, two) =
            (mac("be:3a:f2:b6:05:9f"), mac("0c:42:a1:00:00:01"), mac("0c:42:a1:00:00:02"));
        let name = key(Kind::Host, "n1");
        let all = [bmc.clone(), name.clone(), one.clone(), two.clone()];
        assert_eq!(texts(&all), ("0c:42:a1:00:00:01 0c:42:a1:00:00:02 n1".into(), 2));
        assert_eq!(texts(&all[..3]), ("0c:42:a1:00:00:01 be:3a:f2:b6:05:9f n1".into(), 2));
        assert_eq!(texts(&all[..2]), ("be:3a:f2:b6:05:9f n1".into(), 1));
        let virtual_ones = [mac("52:54:00:00:00:02"), mac("52:54:00:00:00:01")];
        assert_eq!(texts(&virtual_ones).0, "52:54:00:00:00:02 52:54:00:00:00:01", "as they came");
        assert_eq!(texts(&[one.clone(), one]), ("0c:42:a1:00:00:01".into(), 1));
    }

    #[test]
    fn of_other_keys_one_of_each_kind_is_kept() {
        let serials: Vec<Key> = (0..9).map(|n| key(Kind::Serial, &n.to_string())).collect();
        let uuid = "4c4c4544-0050-3610-8058-b4c04f4e4b31";
        let others =
            [key(Kind::Asset, &"x".repeat(65)), key(Kind::Asset, "a"), key(Kind::Uuid, uuid)];
        let said = [&serials[..], &others].concat();
        assert_eq!(texts(&said), (format!("0 a {uuid}"), 2), "without an interface");
        let with_mac = [&said[..], &[key(Kind::Mac, "0c:42:a1:00:00:01")]].concat();
        assert_eq!(texts(&with_mac), (format!("0c:42:a1:00:00:01 0 a {uuid}"), 1));
    }

    #[test]
    fn the_longest_line_has_its_limit() {
        let odd = "\u{fc}".repeat(KEY_LEN_MAX / 2);
        let keys = [
            key(Kind::Mac, "0c:42:a1:00:00:01"),
            key(Kind::Mac, "0c:42:a1:00:00:02"),
            key(Kind::Uuid, "4c4c4544-0050-3610-8058-b4c04f4e4b31"),
            key(Kind::Serial, &odd),
            key(Kind::Asset, &odd),
            key(Kind::Host, &"h".repeat(KEY_LEN_MAX)),
        ];
        let ip = "1111:1111:1111:1111:1111:1111:1111:1111".parse().unwrap();
        let (keys, _) = kept(&keys);
        assert_eq!(keys.len(), 6);
        let mut heard = Heard::new(0, keys, ip);
        heard.name = "n".repeat(nodes::VALUE_LEN_MAX);
        heard.answered(0, ASKED, &"\u{fc}".repeat(4_096));
        heard.said(0, NodeStage::Starting, &"\u{fc}".repeat(4_096));
        let mut line = String::new();
        heard.line(u64::MAX, &mut line);
        assert!(line.len() <= LINE_LEN_MAX, "{}", line.len());
        let kept = heard.image.capacity() + heard.said.capacity();
        assert!(kept <= IMAGE_LEN_MAX + SAID_LEN_MAX, "{kept}");
    }
}
