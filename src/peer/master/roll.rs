//! The nodes that the master heard of: who is who, and who has a place.
//!
//! Knows a bounded number of them, of each IP address and net too, and who makes room for
//! others, so that no stranger takes their places for good. Refuses to know what a node is
//! told. All of it is what nodes say of themselves: for people, and nothing follows from it.

use super::heard::{Heard, kept};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};
use nodes::{Key, Kind};
use sorted::SortedMap;

/// Nodes that are known at a time, those of one IP address, and those of one IPv6 net of 64
/// bits, of which one machine can have all addresses.
const HEARD_MAX: usize = 65_536;
const HEARD_PER_IP_MAX: u32 = 1_024;
const HEARD_PER_NET_MAX: u32 = 16_384;
/// Who was not heard for so long makes room when there is none: without a name, and with one.
const NAMELESS_MS: u64 = 3_600_000;
const NAMED_MS: u64 = 24 * 3_600_000;
/// So do, for who comes from another address, those of an address that has more than this.
const CROWD: u32 = 64;
/// How often it is looked for some, and how many make room then. The last places, as many,
/// are for who comes from an address with fewer than a crowd.
const LOOK_MS: u64 = 1_000;
const ROOM: usize = 1_024;

#[derive(Default)]
pub(super) struct Roll {
    list: Vec<Heard>,
    /// Places of the list in which nobody is.
    free: Vec<u32>,
    /// Which has the key or the name. Of an IP address and a net also how many there are.
    by_key: SortedMap<Key, (u32, u32)>,
    /// When it is looked again for some to forget.
    look_ms: u64,
}

fn of_ip(ip: IpAddr) -> Key {
    Key { kind: Kind::Address, text: ip.to_string() }
}

/// The net of 64 bits that an IPv6 address is of.
fn of_net(ip: IpAddr) -> Option<Key> {
    let IpAddr::V6(ip) = ip else { return None };
    let net = Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX));
    Some(Key { kind: Kind::Address, text: format!("{net}/64") })
}

fn of_name(name: &str) -> Key {
    Key { kind: Kind::Name, text: name.into() }
}

impl Roll {
    /// A node speaks: what is known of it, if there is a place for it.
    pub fn hear(&mut self, now_ms: u64, keys: &[Key], ip: IpAddr) -> Option<&mut Heard> {
        let at = self.place_of(now_ms, keys, ip)?;
        Some(&mut self.list[at as usize])
    }

    /// It is told that it has this name, or none, and that image. Of two with one name it is
    /// the one that was told so last.
    pub fn answer(
        &mut self,
        now_ms: u64,
        keys: &[Key],
        ip: IpAddr,
        (state, name, image): (&'static str, &str, &str),
    ) {
        let Some(at) = self.place_of(now_ms, keys, ip) else { return };
        self.list[at as usize].answered(now_ms, state, image);
        if self.list[at as usize].name == name {
            return;
        }
        self.drop_name(at);
        if !name.is_empty() {
            if let Some((_, other)) = self.by_key.insert(of_name(name), (1, at)) {
                self.list[other as usize].name.clear();
            }
            self.list[at as usize].name = name.into();
        }
    }

    /// Who spoke last from this address.
    pub fn at(&mut self, now_ms: u64, ip: IpAddr) -> Option<&mut Heard> {
        let (_, at) = self.by_key.get(&of_ip(ip))?;
        // It may be elsewhere by now, or gone.
        let heard = self.list.get_mut(*at as usize).filter(|h| h.ip == ip && !h.keys.is_empty())?;
        heard.heard_ms = now_ms;
        Some(heard)
    }

    fn place_of(&mut self, now_ms: u64, keys: &[Key], ip: IpAddr) -> Option<u32> {
        let (keys, identities) = kept(keys);
        let known = self.find(&keys[..identities]);
        let before = known.map(|at| self.list[at as usize].ip);
        if before != Some(ip) && !self.has_place_at(ip, before) {
            return None;
        }
        let at = match known {
            Some(at) => at,
            None => self.add(now_ms, keys, identities, ip)?,
        };
        self.move_to(at, ip);
        self.list[at as usize].heard_ms = now_ms;
        Some(at)
    }

    /// Who has one of these: by the first of either side. What two have in common beside
    /// them is something that all machines of a kind have.
    fn find(&self, identities: &[Key]) -> Option<u32> {
        let is_same = |at: u32, key: &Key| {
            let first = self.list[at as usize].keys.first();
            identities.first() == Some(key) || identities.iter().any(|own| Some(own) == first)
        };
        let found = |key: &Key| self.by_key.get(key).map(|(_, at)| *at);
        identities.iter().find_map(|key| found(key).filter(|at| is_same(*at, key)))
    }

    fn count(&self, key: &Key) -> u32 {
        self.by_key.get(key).map_or(0, |(count, _)| *count)
    }

    /// For another one there, who may come from an address of the same net.
    fn has_place_at(&self, ip: IpAddr, before: Option<IpAddr>) -> bool {
        let before = before.and_then(of_net);
        let has_net = |net| before.as_ref() == Some(&net) || self.count(&net) < HEARD_PER_NET_MAX;
        self.count(&of_ip(ip)) < HEARD_PER_IP_MAX && of_net(ip).is_none_or(has_net)
    }

    /// Places in which nobody is.
    fn places(&self) -> usize {
        HEARD_MAX - self.list.len() + self.free.len()
    }

    /// Another node, in a place where nobody is.
    fn add(&mut self, now_ms: u64, keys: Vec<Key>, identities: usize, ip: IpAddr) -> Option<u32> {
        keys.first()?;
        if self.places() < ROOM && self.count(&of_ip(ip)) >= CROWD {
            return None;
        }
        if self.places() == 0 {
            self.make_room(now_ms);
        }
        let at = match self.free.pop() {
            Some(at) => at,
            None if self.places() == 0 => return None,
            None => self.list.len() as u32,
        };
        for key in &keys[..identities] {
            self.by_key.insert(key.clone(), (1, at));
        }
        self.enter(at, ip, 1);
        let heard = Heard::new(now_ms, keys, ip);
        match self.list.get_mut(at as usize) {
            Some(place) => *place = heard,
            None => self.list.push(heard),
        }
        Some(at)
    }

    /// Some make room for others.
    fn make_room(&mut self, now_ms: u64) {
        if now_ms < self.look_ms {
            return;
        }
        self.look_ms = now_ms + LOOK_MS;
        for at in 0..self.list.len() {
            let heard = &self.list[at];
            let silent_ms = if heard.name.is_empty() { NAMELESS_MS } else { NAMED_MS };
            let is_past = now_ms >= heard.heard_ms + silent_ms;
            if is_past || self.count(&of_ip(heard.ip)) > CROWD {
                self.remove(at as u32);
            }
            if self.free.len() == ROOM {
                return;
            }
        }
    }

    fn remove(&mut self, at: u32) {
        self.drop_name(at);
        let heard = &mut self.list[at as usize];
        let (keys, ip) = (core::mem::take(&mut heard.keys), heard.ip);
        for key in keys {
            self.drop_key(&key, at);
        }
        self.leave(ip);
        self.list[at as usize] = Heard::new(0, Vec::new(), ip);
        self.free.push(at);
    }

    /// The name is nobody's, if it is of who is there.
    fn drop_name(&mut self, at: u32) {
        let name = core::mem::take(&mut self.list[at as usize].name);
        self.drop_key(&of_name(&name), at);
    }

    fn drop_key(&mut self, key: &Key, at: u32) {
        if self.by_key.get(key).is_some_and(|(_, owner)| *owner == at) {
            self.by_key.remove(key);
        }
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
        for key in [Some(of_ip(ip)), of_net(ip)].into_iter().flatten() {
            let count = self.count(&key);
            self.by_key.insert(key, (count + more, at));
        }
    }

    /// One less is at this address.
    fn leave(&mut self, ip: IpAddr) {
        for key in [Some(of_ip(ip)), of_net(ip)].into_iter().flatten() {
            if let Some((count, _)) = self.by_key.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    self.by_key.remove(&key);
                }
            }
        }
    }

    /// A line for each, in the order in which they came, and how many they are.
    pub fn text(&self, now_ms: u64, text: &mut String) -> u64 {
        let is_shown = |h: &&Heard| !h.keys.is_empty() && !h.is_of_the_past(now_ms);
        self.list.iter().filter(is_shown).for_each(|heard| heard.line(now_ms, text));
        (self.list.len() - self.free.len()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::super::heard::{ASKED, LINE_LEN_MAX, LOST_MS, UNKNOWN};
    use super::*;
    use crate::control::NodeStage;

    /// What `xgetctl` takes.
    const _: () = assert!(HEARD_MAX * LINE_LEN_MAX < 128 << 20);

    fn ip(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    fn mac(number: u32) -> Key {
        let [a, b, c, d] = number.to_be_bytes();
        Key::new(Kind::Mac, &format!("0c:42:{a:02x}:{b:02x}:{c:02x}:{d:02x}")).unwrap()
    }

    fn lines(roll: &Roll, now_ms: u64) -> String {
        let mut text = String::new();
        roll.text(now_ms, &mut text);
        text
    }

    fn count(roll: &Roll) -> u64 {
        roll.text(0, &mut String::new())
    }

    /// What the maps have is what the list has.
    fn check(roll: &Roll) {
        let there = |at: &u32| !roll.list[*at as usize].keys.is_empty();
        let mut counts: SortedMap<Key, u32> = SortedMap::default();
        for heard in roll.list.iter().filter(|heard| !heard.keys.is_empty()) {
            for key in [Some(of_ip(heard.ip)), of_net(heard.ip)].into_iter().flatten() {
                let count = counts.get(&key).map_or(0, |count| *count);
                counts.insert(key, count + 1);
            }
        }
        for (key, (count, at)) in roll.by_key.iter() {
            match key.kind {
                Kind::Address => assert_eq!(counts.remove(key), Some(*count)),
                Kind::Name => assert_eq!(roll.list[*at as usize].name, key.text),
                _ => assert!(there(at) && roll.list[*at as usize].keys.contains(key)),
            }
        }
        assert!(counts.is_empty());
        assert!(!roll.free.iter().any(there));
    }

    #[test]
    fn a_node_is_who_has_one_of_its_interfaces_wherever_it_is() {
        let mut roll = Roll::default();
        let host = Key::new(Kind::Host, "n1").unwrap();
        let keys = [mac(1), mac(2), mac(3), host];
        roll.answer(1_000, &keys, ip(1), (ASKED, "n001", ""));
        roll.hear(5_000, &[mac(2)], ip(2)).unwrap().answered(5_000, UNKNOWN, "");
        let line = "state=unknown seconds=4 heard=4 address=0.0.0.2 name=n001 \
                    mac=0c:42:00:00:00:01 mac=0c:42:00:00:00:02 host=n1\n";
        assert_eq!(lines(&roll, 9_000), line);
        assert!(roll.at(9_000, ip(1)).is_none() && roll.at(9_000, ip(2)).is_some());
        roll.hear(9_000, &[mac(3)], ip(2)).unwrap();
        assert_eq!(count(&roll), 2, "of more interfaces the first count");
        assert!(roll.hear(9_000, &[], ip(3)).is_none(), "nobody");
        check(&roll);
    }

    #[test]
    fn what_all_machines_of_a_kind_have_makes_them_not_one() {
        let mut roll = Roll::default();
        let shared = mac(99);
        for n in 1..=3 {
            roll.answer(0, &[mac(n), shared.clone()], ip(n), (ASKED, &format!("n{n}"), ""));
        }
        for n in [2, 1, 3] {
            let heard = roll.hear(0, &[mac(n), shared.clone()], ip(n)).unwrap();
            assert_eq!(heard.name, format!("n{n}"));
        }
        // The other way round, and with a card more.
        assert_eq!(roll.hear(0, &[shared, mac(2)], ip(2)).unwrap().name, "n3", "who had it last");
        assert_eq!(roll.hear(0, &[mac(50), mac(2)], ip(2)).unwrap().name, "n2");
        assert_eq!(count(&roll), 3);
        check(&roll);
    }

    #[test]
    fn who_has_no_interface_is_known_by_what_it_has() {
        let mut roll = Roll::default();
        let uuid = Key::new(Kind::Uuid, "4c4c4544-0050-3610-8058-b4c04f4e4b31").unwrap();
        roll.hear(0, core::slice::from_ref(&uuid), ip(1)).unwrap();
        roll.hear(0, &[uuid], ip(1)).unwrap();
        assert_eq!(count(&roll), 1);
    }

    #[test]
    fn a_name_is_of_one_the_last_that_was_told_so() {
        let mut roll = Roll::default();
        for n in 1..=2 {
            roll.answer(0, &[mac(n)], ip(n), (ASKED, "n1", ""));
        }
        let named = |roll: &Roll| -> Vec<bool> {
            lines(roll, 0).lines().map(|line| line.contains("name=n1")).collect()
        };
        assert_eq!(named(&roll), [false, true]);
        roll.answer(0, &[mac(1)], ip(1), (ASKED, "n1", ""));
        assert_eq!(named(&roll), [true, false]);
        roll.answer(0, &[mac(1)], ip(1), (UNKNOWN, "", ""));
        assert_eq!(named(&roll), [false, false]);
        check(&roll);
    }

    #[test]
    fn states_follow_what_is_said_and_who_is_silent_on_its_way_is_lost() {
        let mut roll = Roll::default();
        let state = |roll: &Roll, now_ms| lines(roll, now_ms).split(' ').next().map(str::to_string);
        for waits in [ASKED, UNKNOWN] {
            roll.answer(0, &[mac(1)], ip(1), (waits, "", ""));
            assert_eq!(state(&roll, LOST_MS - 1).unwrap(), format!("state={waits}"));
            assert_eq!(state(&roll, LOST_MS).unwrap(), "state=lost", "it was switched off");
        }
        roll.answer(0, &[mac(1)], ip(1), (ASKED, "", ""));
        roll.at(0, ip(1)).unwrap().joined(0);
        assert_eq!(state(&roll, LOST_MS - 1).unwrap(), "state=fetching");
        assert_eq!(state(&roll, LOST_MS).unwrap(), "state=lost");
        roll.at(LOST_MS, ip(1)).unwrap();
        assert_eq!(state(&roll, LOST_MS).unwrap(), "state=fetching", "it was heard");
        let heard = roll.at(LOST_MS, ip(1)).unwrap();
        heard.said(LOST_MS, NodeStage::Starting, "a kernel");
        assert_eq!(state(&roll, 2 * LOST_MS).unwrap(), "state=lost");
        let heard = roll.hear(3 * LOST_MS, &[mac(1)], ip(1)).unwrap();
        heard.said(3 * LOST_MS, NodeStage::Up, "kernel=6.1 image=a");
        heard.answered(3 * LOST_MS, ASKED, "");
        heard.joined(3 * LOST_MS);
        let line = lines(&roll, 9 * LOST_MS);
        assert!(line.starts_with("state=up seconds=3600 heard=3600 "), "{line}");
        assert!(line.contains(" said=kernel=6.1%20image=a "), "{line}");
        // Of who is up and silent for days it is known yet.
        assert!(lines(&roll, 1_000 * LOST_MS).starts_with("state=up "));
        // It boots again.
        roll.hear(9 * LOST_MS, &[mac(1)], ip(1)).unwrap().asks(9 * LOST_MS);
        assert_eq!(state(&roll, 9 * LOST_MS).unwrap(), "state=asked");
    }

    #[test]
    fn who_is_lost_for_a_day_is_shown_no_more_unless_it_has_a_name() {
        let mut roll = Roll::default();
        roll.answer(0, &[mac(1)], ip(1), (UNKNOWN, "", ""));
        roll.answer(0, &[mac(2)], ip(2), (ASKED, "n2", ""));
        let day = 144 * LOST_MS;
        assert_eq!(lines(&roll, day - 1).lines().count(), 2);
        assert!(
            lines(&roll, day).starts_with("state=lost ") && !lines(&roll, day).contains("01\n")
        );
        roll.hear(day, &[mac(1)], ip(1)).unwrap();
        assert_eq!(lines(&roll, day).lines().count(), 2);
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
        assert!(roll.at(0, ip(1)).is_some_and(|last| last.keys == [mac(9_999)]));
        check(&roll);
    }

    #[test]
    fn an_ipv6_net_has_so_many_whatever_addresses_they_have() {
        let mut roll = Roll::default();
        let at = |net: u128, n: u32| IpAddr::from((net << 64 | u128::from(n)).to_be_bytes());
        assert!((0..HEARD_PER_NET_MAX).all(|n| roll.hear(0, &[mac(n)], at(1, n)).is_some()));
        assert!(roll.hear(0, &[mac(1 << 20)], at(1, 1 << 20)).is_none());
        assert!(roll.hear(0, &[mac(1 << 20)], at(2, 1 << 20)).is_some());
        assert!(roll.hear(0, &[mac(2)], at(1, 1 << 21)).is_some(), "it moves within");
        assert!(roll.hear(0, &[mac(1)], at(2, 1)).is_some(), "it moves");
        assert!(roll.hear(0, &[mac(1 << 21)], at(1, 1 << 20)).is_some());
        assert!(roll.hear(0, &[mac(1 << 22)], ip(1)).is_some());
        check(&roll);
    }

    /// So many of each address but the last ones, all with names, and all places taken.
    fn full(per_ip: u32) -> Roll {
        let mut roll = Roll::default();
        for n in 0..HEARD_MAX as u32 {
            let is_last = n >= (HEARD_MAX - ROOM) as u32;
            let ip = ip(if is_last { 1 << 16 | n } else { n / per_ip });
            roll.answer(0, &[mac(n)], ip, (ASKED, &format!("n{n}"), ""));
        }
        assert_eq!(roll.list.len(), HEARD_MAX);
        roll
    }

    #[test]
    fn when_all_places_are_taken_the_silent_make_room_sooner_without_a_name() {
        let mut roll = full(CROWD);
        let stranger = |n: u32| ([mac((1 << 20) + n)], ip((1 << 20) + n / CROWD));
        let hears = |roll: &mut Roll, now_ms, n| {
            let (keys, ip) = stranger(n);
            roll.hear(now_ms, &keys, ip).is_some()
        };
        assert!(!hears(&mut roll, NAMELESS_MS, 0), "all have names");
        for n in [700, 800] {
            let at = roll.find(&[mac(n)]).unwrap();
            roll.drop_name(at);
        }
        assert!(!hears(&mut roll, NAMELESS_MS + LOOK_MS - 1, 0), "it is looked once a second");
        let now_ms = NAMELESS_MS + LOOK_MS;
        assert!((0..2).all(|n| hears(&mut roll, now_ms, n)) && !hears(&mut roll, now_ms, 2));
        assert!(roll.find(&[mac(700)]).is_none() && roll.find(&[mac(801)]).is_some());
        check(&roll);
        for n in 0..2 {
            let (keys, ip) = stranger(n);
            roll.answer(now_ms, &keys, ip, (ASKED, &format!("s{n}"), ""));
        }
        assert!(!hears(&mut roll, NAMED_MS - 1, 2));
        assert!((2..1_000).all(|n| hears(&mut roll, NAMED_MS + LOOK_MS, n)));
        check(&roll);
    }

    #[test]
    fn addresses_that_have_many_places_make_room_for_who_comes_from_others() {
        let mut roll = full(HEARD_PER_IP_MAX);
        let newcomer = |n: u32| ([mac((1 << 20) + n)], ip((1 << 20) + n));
        let hears = |roll: &mut Roll, now_ms, (keys, ip): ([Key; 1], IpAddr)| {
            roll.hear(now_ms, &keys, ip).is_some()
        };
        assert!(!hears(&mut roll, 0, ([mac(1 << 20)], ip(0))), "for none of their own");
        assert_eq!(roll.look_ms, 0, "who has many does not keep others from looking");
        assert!(hears(&mut roll, 0, newcomer(0)));
        assert_eq!(count(&roll), (HEARD_MAX - ROOM + 1) as u64);
        assert!(!hears(&mut roll, 0, ([mac(1 << 21)], ip(60))), "nor has it the room");
        check(&roll);
        for second in 0..70 {
            for n in 0..ROOM as u32 {
                hears(&mut roll, second * LOOK_MS, newcomer((second as u32) << 10 | n));
            }
        }
        assert!((0..63).all(|n| roll.count(&of_ip(ip(n))) == CROWD), "so many it keeps");
        check(&roll);
    }
}
