//! Keys, and how they are written (docs/security.md, "A key of the cluster").
//!
//! From the one that is made (*root*, at the head alone) follow that of the cluster, which every
//! node has, and one for each node: neither gives away another. Knows no file, and shows none.

use crate::content::hex;
use alloc::string::{String, ToString};
use core::fmt;
use zeroize::Zeroize;

const KEY_LEN: usize = 32;
/// Of the checksum, by which a key that was cut off or mistyped is told from another.
const SUM_LEN: usize = 4;
/// What keys are derived with (BLAKE3 paper, section 2.3: one context for each use, for good).
const CLUSTER_CONTEXT: &str = "xget 2026-11-22 cluster key";
const NODE_CONTEXT: &str = "xget 2026-11-22 node key";
const SUM_CONTEXT: &str = "xget 2026-11-22 checksum of a key";
/// Bytes of the longest name of a node.
pub const NAME_LEN_MAX: usize = 255;

/// Bytes of the longest text.
const TEXT_LEN_MAX: usize = NODE.len() + 2 + NAME_LEN_MAX + 2 * (KEY_LEN + SUM_LEN);

const ROOT: &str = "xget-root-1";
const CLUSTER: &str = "xget-cluster-1";
const NODE: &str = "xget-node-1";

/// Whose key it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// The one that the others follow from.
    Root,
    /// Of all nodes.
    Cluster,
    /// Of the node with this name.
    Node(String),
}

/// A secret. It is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    kind: KeyKind,
    secret: [u8; KEY_LEN],
}

impl Drop for Key {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

impl fmt::Debug for Key {
    /// Not the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?})", self.kind)
    }
}

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoKey {
    /// It does not begin as one, or is of a newer xget.
    Unknown,
    /// It begins as one, and is cut off, or has more than one.
    Length,
    /// It is as long as one, and some of it is not what it was.
    Damaged,
}

impl fmt::Display for NoKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NoKey::Unknown => "it is no key of xget (xget-cluster-1:…), or one of a newer xget",
            NoKey::Length => "it is cut off, or has something behind its end",
            NoKey::Damaged => "it is damaged: its checksum is not that of its digits",
        })
    }
}

impl Key {
    /// A new one of these random bytes, from which all others follow.
    pub fn root(mut random: [u8; KEY_LEN]) -> Key {
        let key = Key { kind: KeyKind::Root, secret: random };
        random.zeroize();
        key
    }

    /// Whose it is.
    pub fn kind(&self) -> &KeyKind {
        &self.kind
    }

    /// The cluster's, of a root; itself, of a cluster.
    pub fn cluster(&self) -> Option<Key> {
        match self.kind {
            KeyKind::Root => {
                let secret = blake3::derive_key(CLUSTER_CONTEXT, &self.secret);
                Some(Key { kind: KeyKind::Cluster, secret })
            }
            KeyKind::Cluster => Some(self.clone()),
            KeyKind::Node(_) => None,
        }
    }

    /// That of a node, of a root alone.
    pub fn node(&self, name: &str) -> Option<Key> {
        if self.kind != KeyKind::Root || !is_name(name) {
            return None;
        }
        let secret = derived(NODE_CONTEXT, &self.secret, name);
        Some(Key { kind: KeyKind::Node(name.to_string()), secret })
    }

    /// As it is written, without an end of line. A secret: whoever gets it wipes it.
    pub fn text(&self) -> String {
        let (kind, name) = match &self.kind {
            KeyKind::Root => (ROOT, ""),
            KeyKind::Cluster => (CLUSTER, ""),
            KeyKind::Node(name) => (NODE, &**name),
        };
        // All at once: where it grew, the secret would stay.
        let mut text = String::with_capacity(TEXT_LEN_MAX);
        text.push_str(kind);
        if !name.is_empty() {
            text.push(':');
            text.push_str(name);
        }
        let sum = sum(&text, &self.secret);
        text.push(':');
        text.extend(self.secret.into_iter().chain(sum).flat_map(hex::digits));
        text
    }

    /// The key that a text is, with white space behind it or without.
    ///
    /// # Errors
    /// Why it is none; nothing of it is in there.
    pub fn parse(text: &str) -> Result<Key, NoKey> {
        let text = text.trim_ascii_end();
        let (kind, digits) = text.rsplit_once(':').ok_or(match text {
            ROOT | CLUSTER | NODE => NoKey::Length,
            _ => NoKey::Unknown,
        })?;
        let named = match kind {
            ROOT => KeyKind::Root,
            CLUSTER => KeyKind::Cluster,
            // Its name is what is left.
            NODE => return Err(NoKey::Length),
            _ => {
                let name = kind.strip_prefix(NODE).and_then(|rest| rest.strip_prefix(':'));
                let name = name.filter(|name| is_name(name)).ok_or(NoKey::Unknown)?;
                KeyKind::Node(name.to_string())
            }
        };
        if digits.len() != 2 * (KEY_LEN + SUM_LEN) {
            return Err(NoKey::Length);
        }
        let (secret, check) = digits.split_at_checked(2 * KEY_LEN).ok_or(NoKey::Damaged)?;
        let secret: [u8; KEY_LEN] = hex::parse(secret).ok_or(NoKey::Damaged)?;
        let key = Key { kind: named, secret };
        if hex::parse(check) != Some(sum(kind, &key.secret)) {
            return Err(NoKey::Damaged);
        }
        Ok(key)
    }

    pub(super) fn secret(&self) -> &[u8; KEY_LEN] {
        &self.secret
    }

    /// What both sides have to mean by it, and what is asked for by it: `cluster`, or `node NAME`.
    pub fn label(&self) -> String {
        match &self.kind {
            KeyKind::Root => "root".to_string(),
            KeyKind::Cluster => "cluster".to_string(),
            KeyKind::Node(name) => ["node ", name].concat(),
        }
    }
}

/// Whether there is a key in a text, or the beginning of one.
pub fn has_key(text: &str) -> bool {
    let is_key = |kind: &&str| text.split(*kind).skip(1).any(|rest| rest.starts_with(':'));
    [ROOT, CLUSTER, NODE].iter().any(is_key)
}

/// It ends at a colon in a key, and it is that of a directory.
fn is_name(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_graphic() && !b":/".contains(&byte);
    let is_as_long = (1..=NAME_LEN_MAX).contains(&name.len());
    is_as_long && name.bytes().all(is_part) && ![".", ".."].contains(&name)
}

/// What follows from a secret for a name. Secrets are all of the same length, so that where the
/// name begins is known.
fn derived(context: &str, secret: &[u8; KEY_LEN], name: &str) -> [u8; KEY_LEN] {
    // In one piece: what takes several is another kilobyte of the agent.
    let mut whole = [&secret[..], name.as_bytes()].concat();
    let derived = blake3::derive_key(context, &whole);
    whole.zeroize();
    derived
}

fn sum(kind: &str, secret: &[u8; KEY_LEN]) -> [u8; SUM_LEN] {
    let mut sum = [0; SUM_LEN];
    sum.copy_from_slice(&derived(SUM_CONTEXT, secret, kind)[..SUM_LEN]);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    fn root() -> Key {
        Key::root([7; 32])
    }

    #[test]
    fn a_key_comes_back_from_its_text_and_shows_nothing() {
        let keys = [root(), root().cluster().unwrap(), root().node("n001.rack-1").unwrap()];
        for key in &keys {
            let text = key.text();
            // Of an editor that ends lines otherwise, and a hand that slipped.
            for end in ["", "\n", "\r\n", " \n\n"] {
                let again = Key::parse(&format!("{text}{end}")).unwrap();
                assert_eq!((again.kind(), again.secret()), (key.kind(), key.secret()));
            }
            let shown = format!("{key:?}");
            assert!(!shown.contains("07") && shown.contains("Key("), "{shown}");
            let digits = text.rsplit(':').next().unwrap();
            for at in 0..text.len() {
                assert!(Key::parse(&text[..at]).is_err(), "cut at {at}");
                let mut other = text.clone().into_bytes();
                other[at] = if other[at] == b'0' { b'1' } else { b'0' };
                let other = String::from_utf8(other).unwrap();
                assert!(other == text || Key::parse(&other).is_err(), "{at}");
            }
            assert_eq!(Key::parse(&text[..text.len() - 1]).unwrap_err(), NoKey::Length);
            assert_eq!(Key::parse(&format!("{text}0")).unwrap_err(), NoKey::Length);
            assert_eq!(Key::parse(digits).unwrap_err(), NoKey::Unknown);
        }
        for name in ["", ".", "..", "a/b", "a:b", "a b", &"x".repeat(NAME_LEN_MAX + 1)] {
            assert!(root().node(name).is_none(), "{name}");
        }
        for text in ["", "\n", "a:b", "xget-root-2:00", "xget-node-1:00"] {
            assert!(Key::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_key_is_found_wherever_it_begins() {
        for text in ["xget-root-1:", "a=\"xget-cluster-1:00 b\"", "xget-node-1xget-node-1:n:0"] {
            assert!(has_key(text), "{text}");
        }
        for text in ["", "xget-root-1", "xget-root-2:00", "xget-cluster:1", "xget.key="] {
            assert!(!has_key(text), "{text}");
        }
    }

    #[test]
    fn which_key_follows_from_which() {
        let cluster = root().cluster().unwrap();
        assert_eq!(cluster.cluster().unwrap().secret(), cluster.secret());
        assert!(cluster.node("n1").is_none(), "who has that of the cluster makes no node's");
        let node = root().node("n1").unwrap();
        assert!(node.cluster().is_none() && node.node("n2").is_none());
        let secrets =
            [root(), cluster, node, root().node("n2").unwrap(), root().node("n").unwrap()];
        for (number, one) in secrets.iter().enumerate() {
            assert!(secrets[..number].iter().all(|other| other.secret() != one.secret()));
        }
        for name in ["", "a b", "a:b", "a\n", "\u{e9}", &"n".repeat(256)] {
            assert!(root().node(name).is_none(), "{name:?}");
        }
    }

    #[test]
    fn what_follows_from_a_key_is_the_same_for_ever() {
        // Keys on boot media outlive versions.
        let texts = [root().cluster().unwrap().text(), root().node("n1").unwrap().text()];
        assert_eq!(texts, GOLDEN);
    }

    const GOLDEN: [&str; 2] = [
        "xget-cluster-1:be3a2edf318241c7c3e355c9c4276160e24cd5361ad24bf85f00e68444c9fe88690d3df3",
        "xget-node-1:n1:b2d4e325a77079440dff7ee4273fb4d1e8e4a7f883a496d7644021e6d2742e65a50b113d",
    ];
}
