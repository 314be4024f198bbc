//! Who asks the network whether somebody serves this, and what a master says to it.
//!
//! It says nothing but that it has it: silence is cheap, and the network full of others. A
//! question waits for a look at the tree as a join does. Refuses to know how datagrams come
//! and go, and that they come from the link they seem to (the driver).

use super::{Master, MasterEffect};
use crate::control::{Answer, Question, Wanted};
use core::net::SocketAddr;
use nodes::{IMAGES, directory};

impl Master {
    /// A datagram came from there.
    pub(super) fn asked(&mut self, now_ms: u64, from: SocketAddr, datagram: &[u8]) {
        if !self.questions.allows(now_ms, from.ip().to_canonical()) {
            return;
        }
        let Some(question) = Question::parse(datagram) else { return };
        if self.whole.is_none() {
            return self.say_to(from, question.id, Answer::Hashing);
        }
        if self.rescan.is_recent(now_ms) {
            return self.answer(now_ms, from, &question);
        }
        if self.rescan.is_long(now_ms) {
            self.say_to(from, question.id, Answer::Hashing);
        }
        // What is said now has to be true when it is fetched.
        self.questions.wait(from, question);
        self.look_again(now_ms);
    }

    /// The tree was looked at: who waited for that is answered.
    pub(super) fn answer_questions(&mut self, now_ms: u64) {
        for (from, question) in self.questions.take() {
            self.answer(now_ms, from, &question);
        }
    }

    fn answer(&mut self, now_ms: u64, from: SocketAddr, question: &Question) {
        let id = match &question.wanted {
            Wanted::Part(selector) => {
                let ip = from.ip().to_canonical();
                // Not its turn, or not here: it asks again, or somebody else has it.
                self.select(now_ms, ip, selector, false).ok().flatten()
            }
            Wanted::Node(image) => self.whole.filter(|_| self.boots(image)),
        };
        let generation = id.and_then(|id| self.server.space.generation(id));
        let Some(generation) = generation else { return };
        let Some(content) = &generation.content else { return };
        let bytes = content.manifest.bytes_total();
        let digest = generation.digest();
        self.say_to(from, question.id, Answer::Have { bytes, digest });
    }

    /// Whether a node that boots finds what it needs: its line, or the image.
    fn boots(&self, image: &str) -> bool {
        let content = self.whole.and_then(|id| self.server.space.generation(id)?.content.as_ref());
        let Some(content) = content else { return false };
        let is_dir = |path: &str| content.manifest.find(path.as_bytes(), true).is_some();
        self.nodes.table.is_some() || directory(IMAGES, image, &is_dir).is_some()
    }

    fn say_to(&mut self, to: SocketAddr, id: u64, answer: Answer) {
        self.effects.push_back(MasterEffect::Answer { to, id, answer });
    }
}

#[cfg(test)]
mod tests {
    use super::super::questions::{AT_ONCE, OF_ONE_AT_ONCE, WAITING_MAX};
    use super::*;
    use crate::content::manifest::{Entry, Manifest, Selector};
    use crate::master::{MasterInput, MasterOptions};
    use crate::testing::{entry, file};
    use core::net::IpAddr;
    use std::rc::Rc;
    use std::vec::Vec;

    const ID: u64 = 5;

    fn from(number: u32) -> SocketAddr {
        SocketAddr::new(IpAddr::from((0x0a00_0000 + number).to_be_bytes()), 40_000)
    }

    fn question(wanted: Wanted) -> Vec<u8> {
        Question { id: ID, wanted }.bytes().unwrap()
    }

    fn for_source(source: &str) -> Vec<u8> {
        question(Wanted::Part(Selector::of_paths(&[source])))
    }

    fn manifest() -> Rc<Manifest> {
        use crate::content::manifest::EntryKind::Dir;
        let entries = vec![Entry::bare_root(), file(0, "a", b"aa"), entry(0, "images", Dir)];
        let entries = [entries, vec![entry(2, "debian", Dir)]].concat();
        Rc::new(Manifest::of_entries(4096, entries))
    }

    fn hashing() -> Master {
        let options = MasterOptions { fan_out: 1, head_copies: 1, selection_bytes: 64 << 20 };
        Master::new(options, "a tree".into())
    }

    /// One that has just looked at its tree.
    fn master() -> Master {
        let mut master = hashing();
        master.handle(0, MasterInput::Scanned { manifest: manifest(), scan: 1 });
        effects(&mut master);
        master
    }

    fn asks(master: &mut Master, now_ms: u64, number: u32, datagram: &[u8]) {
        master.handle(now_ms, MasterInput::Question { from: from(number), datagram });
    }

    /// Whom it answers, what; and whether it wants to look at the tree.
    fn effects(master: &mut Master) -> (Vec<(SocketAddr, Answer)>, bool) {
        let (mut answers, mut looks) = (Vec::new(), false);
        while let Some(effect) = master.poll_effect() {
            match effect {
                MasterEffect::Answer { to, id: ID, answer } => answers.push((to, answer)),
                MasterEffect::Answer { id, .. } => panic!("{id} did not ask"),
                MasterEffect::Rescan => looks = true,
                _ => {}
            }
        }
        (answers, looks)
    }

    #[test]
    fn who_asks_for_what_is_here_hears_size_and_the_digest_that_a_join_gets() {
        let mut master = master();
        asks(&mut master, 10, 1, &for_source("a"));
        let selected = manifest().select(&[b"a"]).unwrap().manifest;
        let digest = crate::content::digest::Digest::of(&selected.encode());
        assert_eq!(effects(&mut master).0, [(from(1), Answer::Have { bytes: 2, digest })]);
        asks(&mut master, 20, 1, &for_source("."));
        let whole = crate::content::digest::Digest::of(&manifest().encode());
        assert!(
            matches!(effects(&mut master).0[..], [(_, Answer::Have { digest, .. })] if digest == whole)
        );
    }

    #[test]
    fn what_is_not_here_and_what_is_no_question_is_not_answered() {
        let mut master = master();
        for datagram in [for_source("b"), b"xget-find".to_vec(), vec![0xff; 300]] {
            asks(&mut master, 10, 1, &datagram);
            assert_eq!(effects(&mut master), (vec![], false));
        }
    }

    #[test]
    fn a_node_is_answered_where_its_image_is_or_nodes_are_known() {
        let mut master = master();
        for (image, is_here) in [("debian", true), ("images/debian", true), ("default", false)] {
            asks(&mut master, 10, 1, &question(Wanted::Node(image.into())));
            assert_eq!(effects(&mut master).0.len(), usize::from(is_here), "{image}");
        }
        let table = ::nodes::Table::parse(b"n1 - debian\n").unwrap();
        master.handle(20, MasterInput::NodesTab(Some(Ok(Some(table)))));
        master.handle(20, MasterInput::Unchanged);
        effects(&mut master);
        asks(&mut master, 30, 2, &question(Wanted::Node("default".into())));
        assert_eq!(effects(&mut master).0.len(), 1);
    }

    #[test]
    fn who_hashes_says_so() {
        let mut master = hashing();
        asks(&mut master, 10, 1, &for_source("a"));
        assert_eq!(effects(&mut master), (vec![(from(1), Answer::Hashing)], false));
    }

    #[test]
    fn a_question_long_after_the_last_look_waits_for_another_and_once_for_each_who_asks() {
        let mut master = master();
        for _ in 0..3 {
            asks(&mut master, 5_000, 1, &for_source("a"));
        }
        assert_eq!(effects(&mut master), (vec![], true));
        master.handle(5_010, MasterInput::Unchanged);
        assert_eq!(effects(&mut master).0.len(), 1);
    }

    #[test]
    fn who_asks_while_a_look_takes_long_hears_so_at_once_and_what_came_of_it_then() {
        let mut master = master();
        asks(&mut master, 5_000, 1, &for_source("a"));
        assert_eq!(effects(&mut master), (vec![], true), "it may be over at once");
        asks(&mut master, 6_000, 1, &for_source("a"));
        assert_eq!(effects(&mut master), (vec![(from(1), Answer::Hashing)], false));
        master.handle(9_000, MasterInput::Unchanged);
        assert!(matches!(effects(&mut master).0[..], [(_, Answer::Have { .. })]));
    }

    #[test]
    fn so_many_questions_of_one_address_and_of_all_are_looked_at() {
        let mut master = master();
        let mut answered = |now_ms, numbers: &mut dyn Iterator<Item = u32>| {
            numbers.for_each(|number| asks(&mut master, now_ms, number, &for_source("a")));
            effects(&mut master).0.len()
        };
        assert_eq!(answered(10, &mut [1; 50].into_iter()), OF_ONE_AT_ONCE as usize);
        assert_eq!(answered(510, &mut [1; 50].into_iter()), 2);
        let most = AT_ONCE as usize;
        assert!((most - 10..=most).contains(&answered(520, &mut (10..50_000))));
        assert_eq!(answered(521, &mut (60_000..70_000)), 1, "and one more each millisecond");
    }

    #[test]
    fn so_many_wait() {
        let mut master = master();
        for number in 0..1_500 {
            asks(&mut master, 5_000, number, &for_source("a"));
        }
        effects(&mut master);
        master.handle(5_010, MasterInput::Unchanged);
        assert_eq!(effects(&mut master).0.len(), WAITING_MAX);
    }
}
