//! The nodes that the master heard of: who they are, and how far.
//!
//! Knows a bounded number of them, of each IP address too, so that no stranger takes the
//! places of others. Refuses to know what a node is told. All of it is what nodes say of
//! themselves: for people, and nothing follows from it.

use crate::control::{NodeStage, add_word};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;
use nodes::{Key, Kind};
use sorted::SortedMap;

/// Nodes that are known at a time, and those of one IP address.
const HEARD_MAX: usize = 65_536;
const HEARD_PER_IP_MAX: u32 = 1_024;
/// Who has no name, and was not heard for so long, makes room when there is none.
const FORGOTTEN_MS: u64 = 3_600_000;
/// How often it is looked for one.
const LOOK_MS: u64 = 1_000;
/// Who fetches or starts and is not heard for so long is lost.
const LOST_MS: u64 = 600_000;
/// Of what a node says of itself: keys by which it is told from others, others that are kept,
/// bytes of one, and of its words.
const IDENTITIES_MAX: usize = 2;
const OTHERS_MAX: usize = 4;
const KEY_LEN_MAX: usize = 64;
const SAID_LEN_MAX: usize = 256;

/// How it stands with a node that asked: there is something for it, or not.
pub(super) const ASKED: &str = "asked";
pub(super) const UNKNOWN: &str = "unknown";
pub(super) const MISSING: &str = "missing";
const LOST: &str = "lost";

/// A node.
pub(super) struct Heard {
    keys: Vec<Key>,
    ip: IpAddr,
    pub name: String,
    pub image: String,
    state: &'static str,
    said: String,
    /// It is so since then, and was heard last.
    since_ms: u64,
    heard_ms: u64,
}

impl Heard {
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
    pub fn said(&mut self, now_ms: u64, stage: NodeStage, mut words: String) {
        self.set(now_ms, stage.word());
        words.truncate(words.floor_char_boundary(SAID_LEN_MAX));
        self.said = words;
    }

    /// What became of its question. What it said since then goes before that.
    pub fn answered(&mut self, now_ms: u64, state: &'static str) {
        if self.is_waiting() {
            self.set(now_ms, state);
        }
    }

    fn line(&self, now_ms: u64, text: &mut String) {
        let (since_ms, silent_ms) = (now_ms - self.since_ms, now_ms - self.heard_ms);
        let is_on_its_way =
            [NodeStage::Fetching, NodeStage::Starting].map(NodeStage::word).contains(&self.state);
        let is_lost = is_on_its_way && silent_ms >= LOST_MS;
        let (mut line, seconds, ip) =
            (String::new(), (since_ms / 1000).to_string(), self.ip.to_string());
        for (name, value) in [
            ("state", if is_lost { LOST } else { self.state }),
            ("seconds", &seconds),
            ("address", &ip),
            ("name", &self.name),
            ("image", &self.image),
            ("said", &self.said),
        ] {
            if !value.is_empty() {
                add_word(&mut line, name, value);
            }
        }
        for key in &self.keys {
            add_word(&mut line, key.word().unwrap_or_default(), &key.text);
        }
        text.push_str(&line);
        text.push('\n');
    }
}

#[derive(Default)]
pub(super) struct Roll {
    list: Vec<Heard>,
    /// Which has the key. Of an IP address also how many there are.
    by_key: SortedMap<Key, (u32, u32)>,
    /// When it is looked again for one to forget.
    look_ms: u64,
}

fn of_ip(ip: IpAddr) -> Key {
    Key { kind: Kind::Address, text: ip.to_string() }
}

/// What is kept of a node's keys, and how many of these, the first, tell it from others: its
/// first interfaces, and where it has none those of all that it is known by.
fn kept(keys: &[Key]) -> (Vec<Key>, usize) {
    let has_mac = keys.iter().any(|key| key.kind == Kind::Mac);
    let (mut identities, mut others) = (Vec::new(), Vec::new());
    for key in keys.iter().filter(|key| key.text.len() <= KEY_LEN_MAX) {
        let is_identity = (key.kind == Kind::Mac) == has_mac;
        if is_identity && identities.len() < IDENTITIES_MAX {
            identities.push(key.clone());
        } else if key.kind != Kind::Mac && others.len() < OTHERS_MAX {
            others.push(key.clone());
        }
    }
    let count = identities.len();
    identities.append(&mut others);
    (identities, count)
}

impl Roll {
    /// A node asks: what is known of it, if there is a place for it.
    pub fn hear(&mut self, now_ms: u64, keys: &[Key], ip: IpAddr) -> Option<&mut Heard> {
        let (keys, identities) = kept(keys);
        let known = keys[..identities].iter().find_map(|key| self.by_key.get(key)).map(|k| k.1);
        if known.is_none_or(|at| self.list[at as usize].ip != ip) && !self.has_place_at(ip) {
            return None;
        }
        let at = match known {
            Some(at) => at,
            None => self.add(now_ms, keys, identities, ip)?,
        };
        self.move_to(at, ip);
        let heard = &mut self.list[at as usize];
        heard.heard_ms = now_ms;
        Some(heard)
    }

    /// Who spoke last from this address.
    pub fn at(&mut self, now_ms: u64, ip: IpAddr) -> Option<&mut Heard> {
        let (_, at) = self.by_key.get(&of_ip(ip))?;
        let heard = &mut self.list[*at as usize];
        heard.heard_ms = now_ms;
        Some(heard)
    }

    fn has_place_at(&self, ip: IpAddr) -> bool {
        self.by_key.get(&of_ip(ip)).is_none_or(|(count, _)| *count < HEARD_PER_IP_MAX)
    }

    /// Another node, in the place of one that is forgotten where there is no other.
    fn add(&mut self, now_ms: u64, keys: Vec<Key>, identities: usize, ip: IpAddr) -> Option<u32> {
        keys.first()?;
        let at = if self.list.len() < HEARD_MAX { self.list.len() } else { self.forget(now_ms)? };
        for key in &keys[..identities] {
            self.by_key.insert(key.clone(), (1, at as u32));
        }
        self.enter(at as u32, ip, 1);
        let heard = Heard {
            keys,
            ip,
            name: String::new(),
            image: String::new(),
            state: ASKED,
            said: String::new(),
            since_ms: now_ms,
            heard_ms: now_ms,
        };
        match self.list.get_mut(at) {
            Some(place) => *place = heard,
            None => self.list.push(heard),
        }
        Some(at as u32)
    }

    /// Makes room in the place of the one that is given.
    fn forget(&mut self, now_ms: u64) -> Option<usize> {
        if now_ms < self.look_ms {
            return None;
        }
        self.look_ms = now_ms + LOOK_MS;
        let is_past = |h: &Heard| h.name.is_empty() && now_ms >= h.heard_ms + FORGOTTEN_MS;
        let at = self.list.iter().position(is_past)?;
        let Heard { keys, ip, .. } = &self.list[at];
        let (keys, ip) = (keys.clone(), *ip);
        for key in keys {
            if self.by_key.get(&key).is_some_and(|(_, owner)| *owner as usize == at) {
                self.by_key.remove(&key);
            }
        }
        self.leave(ip);
        Some(at)
    }

    /// It speaks from there now.
    fn move_to(&mut self, at: u32, ip: IpAddr) {
        let before = core::mem::replace(&mut self.list[at as usize].ip, ip);
        if before != ip {
            self.leave(before);
        }
        self.enter(at, ip, u32::from(before != ip));
    }

    /// So many more are at this address, and this is who spoke from there last.
    fn enter(&mut self, at: u32, ip: IpAddr, more: u32) {
        let count = self.by_key.get(&of_ip(ip)).map_or(0, |(count, _)| *count);
        self.by_key.insert(of_ip(ip), (count + more, at));
    }

    /// One less is at this address.
    fn leave(&mut self, ip: IpAddr) {
        let key = of_ip(ip);
        if let Some((count, _)) = self.by_key.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.by_key.remove(&key);
            }
        }
    }

    /// A line for each, in the order in which they came, and how many they are.
    pub fn text(&self, now_ms: u64, text: &mut String) -> u64 {
        self.list.iter().for_each(|heard| heard.line(now_ms, text));
        self.list.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    fn mac(number: u32) -> Key {
        let [a, b, c, d] = number.to_be_bytes();
        Key::new(Kind::Mac, &alloc::format!("52:54:{a:02x}:{b:02x}:{c:02x}:{d:02x}")).unwrap()
    }

    fn lines(roll: &Roll, now_ms: u64) -> String {
        let mut text = String::new();
        roll.text(now_ms, &mut text);
        text
    }

    #[test]
    fn a_node_is_who_has_one_of_its_interfaces_wherever_it_is() {
        let mut roll = Roll::default();
        let host = Key::new(Kind::Host, "n1").unwrap();
        roll.hear(1_000, &[mac(1), mac(2), mac(3), host], ip(1)).unwrap().name = "n001".into();
        roll.hear(5_000, &[mac(2)], ip(2)).unwrap().answered(5_000, UNKNOWN);
        let line = "state=unknown seconds=4 address=0.0.0.2 name=n001 \
                    mac=52:54:00:00:00:01 mac=52:54:00:00:00:02 host=n1\n";
        assert_eq!(lines(&roll, 9_000), line);
        assert!(roll.at(9_000, ip(1)).is_none() && roll.at(9_000, ip(2)).is_some());
        roll.hear(9_000, &[mac(3)], ip(2)).unwrap();
        assert_eq!(lines(&roll, 9_000).lines().count(), 2, "of more interfaces the first count");
        assert!(roll.hear(9_000, &[], ip(3)).is_none(), "nobody");
    }

    #[test]
    fn who_has_no_interface_is_known_by_what_it_has() {
        let mut roll = Roll::default();
        let uuid = Key::new(Kind::Uuid, "4c4c4544-0050-3610-8058-b4c04f4e4b31").unwrap();
        roll.hear(0, core::slice::from_ref(&uuid), ip(1)).unwrap();
        roll.hear(0, &[uuid], ip(1)).unwrap();
        assert_eq!(lines(&roll, 0).lines().count(), 1);
    }

    #[test]
    fn states_follow_what_is_said_and_who_is_silent_on_its_way_is_lost() {
        let mut roll = Roll::default();
        let state = |roll: &Roll, now_ms| lines(roll, now_ms).split(' ').next().map(str::to_string);
        roll.hear(0, &[mac(1)], ip(1)).unwrap();
        roll.at(0, ip(1)).unwrap().joined(0);
        assert_eq!(state(&roll, LOST_MS - 1).unwrap(), "state=fetching");
        assert_eq!(state(&roll, LOST_MS).unwrap(), "state=lost");
        roll.at(LOST_MS, ip(1)).unwrap();
        assert_eq!(state(&roll, LOST_MS).unwrap(), "state=fetching", "it was heard");
        let heard = roll.at(LOST_MS, ip(1)).unwrap();
        heard.said(LOST_MS, NodeStage::Starting, "a kernel".into());
        assert_eq!(state(&roll, 2 * LOST_MS).unwrap(), "state=lost");
        let heard = roll.hear(3 * LOST_MS, &[mac(1)], ip(1)).unwrap();
        heard.said(3 * LOST_MS, NodeStage::Up, "kernel=6.1 image=a".into());
        heard.answered(3 * LOST_MS, ASKED);
        heard.joined(3 * LOST_MS);
        let line = lines(&roll, 9 * LOST_MS);
        assert!(line.starts_with("state=up seconds=3600 "), "{line}");
        assert!(line.contains(" said=kernel=6.1%20image=a "), "{line}");
        // It boots again.
        roll.hear(9 * LOST_MS, &[mac(1)], ip(1)).unwrap().asks(9 * LOST_MS);
        assert_eq!(state(&roll, 9 * LOST_MS).unwrap(), "state=asked");
    }

    #[test]
    fn an_address_has_so_many_and_who_moves_makes_room() {
        let mut roll = Roll::default();
        assert!((0..HEARD_PER_IP_MAX).all(|n| roll.hear(0, &[mac(n)], ip(1)).is_some()));
        assert!(roll.hear(0, &[mac(9_999)], ip(1)).is_none());
        assert!(roll.hear(0, &[mac(3)], ip(1)).is_some(), "who is known is heard");
        assert!(roll.hear(0, &[mac(3)], ip(2)).is_some());
        assert!(roll.hear(0, &[mac(9_999)], ip(1)).is_some());
        assert!(roll.hear(0, &[mac(3)], ip(1)).is_none(), "nor does anybody move there");
    }

    #[test]
    fn when_all_places_are_taken_the_nameless_are_forgotten_after_an_hour() {
        let mut roll = Roll::default();
        for n in 0..HEARD_MAX as u32 {
            roll.hear(0, &[mac(n)], ip(n / 1_000)).unwrap().name = "n".into();
        }
        assert!(roll.hear(FORGOTTEN_MS, &[mac(1 << 20)], ip(99)).is_none(), "all have names");
        for n in [700, 800] {
            roll.hear(0, &[mac(n)], ip(0)).unwrap().name.clear();
        }
        assert!(roll.hear(FORGOTTEN_MS + LOOK_MS - 1, &[mac(1 << 20)], ip(99)).is_none());
        let now_ms = FORGOTTEN_MS + LOOK_MS;
        assert!(roll.hear(now_ms, &[mac(1 << 20)], ip(99)).is_some());
        assert!(roll.hear(now_ms, &[mac(1 << 21)], ip(99)).is_none(), "one in a second");
        assert_eq!((roll.list.len(), roll.at(now_ms, ip(99)).unwrap().ip), (HEARD_MAX, ip(99)));
        assert!(roll.by_key.get(&mac(700)).is_none() && roll.by_key.get(&mac(800)).is_some());
        assert_eq!(roll.by_key.len(), HEARD_MAX + 66 + 1);
    }

    #[test]
    fn what_a_node_says_of_itself_is_cut() {
        let mut roll = Roll::default();
        let key = |value: &str| Key::new(Kind::Serial, value).unwrap();
        let keys: Vec<Key> = (0..9).map(|n| key(&n.to_string())).collect();
        let long = key(&"x".repeat(KEY_LEN_MAX + 1));
        let heard = roll.hear(0, &[&[mac(1), mac(2), mac(3), long], &keys[..]].concat(), ip(1));
        let heard = heard.unwrap();
        assert_eq!(heard.keys.len(), IDENTITIES_MAX + OTHERS_MAX);
        heard.said(0, NodeStage::Failed, "\u{fc}".repeat(SAID_LEN_MAX));
        assert!(heard.said.len() <= SAID_LEN_MAX);
    }
}
