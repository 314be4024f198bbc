//! docs/protocol.md, "Signs of life": whom the master believes, and what
//! becomes of a parent that several complain of.

use crate::content::Tree;
use crate::pair::*;
use crate::scripted_client::Mute;

/// Who joined at a master; they have had their parents for long.
struct Judged {
    pair: Pair,
    master: usize,
    members: Vec<usize>,
    stripes: u8,
}

fn name(caller: usize) -> String {
    format!("{}!7000", addr(caller).ip())
}

/// Eight, with two stripes.
fn judged() -> Judged {
    judged_of(8, 2)
}

fn judged_of(count: usize, stripes: u8) -> Judged {
    let mut pair = Pair::default();
    let master = pair.add_master(&Tree::of_pieces(2), stripes);
    let members: Vec<usize> = (0..count).map(|_| pair.add_caller(master)).collect();
    let mut judged = Judged { pair, master, members, stripes };
    for member in judged.members.clone() {
        judged.say(member, "join 2 7000 .");
    }
    judged.pair.run_to(20_000);
    judged
}

impl Judged {
    fn say(&mut self, member: usize, line: &str) {
        self.pair.let_caller(member, |c| c.say(&format!("{line}\n")));
    }

    /// Who the parent of a member is in a stripe, as it was told last.
    fn parent(&self, member: usize, stripe: u8) -> String {
        let start = format!("parent {stripe} ");
        let lines = self.pair.lines(member);
        let last = lines.iter().rev().find_map(|line| line.strip_prefix(&start));
        last.expect("it was told").into()
    }

    /// The children of a member, with their stripes.
    fn children(&self, parent: usize) -> Vec<(usize, u8)> {
        let edges = self.members.iter().flat_map(|m| (0..self.stripes).map(|s| (*m, s)));
        edges.filter(|(child, stripe)| self.parent(*child, *stripe) == name(parent)).collect()
    }

    /// Somebody who has so many children, each in one stripe.
    fn parent_of<const COUNT: usize>(&self) -> (usize, [(usize, u8); COUNT]) {
        let of_so_many = |parent: &usize| {
            let children: [(usize, u8); COUNT] = self.children(*parent).try_into().ok()?;
            children.windows(2).all(|two| two[0].0 != two[1].0).then_some((*parent, children))
        };
        self.members.iter().find_map(of_so_many).expect("there is one")
    }

    fn parent_of_two(&self) -> (usize, [(usize, u8); 2]) {
        self.parent_of()
    }

    fn complain(&mut self, (child, stripe): (usize, u8), parent: usize, word: &str) {
        self.say(child, &format!("replace {stripe} {} {word}", name(parent)));
    }

    fn is_unreached(&mut self, parent: usize) -> bool {
        let start = format!("{} cannot be reached from here (", name(parent));
        let warned = &self.pair.master(self.master).warned;
        warned.iter().any(|text| text.starts_with(&start))
    }

    fn is_found_slow(&mut self, parent: usize) -> bool {
        let text = format!("{} is too slow to feed others", name(parent));
        self.pair.master(self.master).warned.contains(&text)
    }
}

#[test]
fn whose_uplink_three_in_four_children_find_slow_has_none_any_more_at_once() {
    let mut judged = judged();
    let (parent, [one, two]) = judged.parent_of_two();
    judged.complain(one, parent, "narrow");
    assert!(!judged.is_found_slow(parent), "one of two");
    judged.complain(one, parent, "narrow");
    assert!(!judged.is_found_slow(parent), "who says it twice is one");
    judged.complain(two, parent, "narrow");
    assert!(judged.is_found_slow(parent));
    assert_eq!(judged.children(parent), []);
}

#[test]
fn of_four_children_three_have_to_find_it_slow() {
    let mut judged = judged_of(24, 4);
    let (parent, [one, two, three, _]) = judged.parent_of();
    judged.complain(one, parent, "narrow");
    judged.complain(two, parent, "narrow");
    assert!(!judged.is_found_slow(parent), "its link is well used");
    judged.complain(three, parent, "narrow");
    assert!(judged.is_found_slow(parent));
}

#[test]
fn whom_two_find_slow_has_no_children_any_more_a_second_after_the_first() {
    let mut judged = judged();
    let (parent, [one, two]) = judged.parent_of_two();
    judged.complain(one, parent, "slow");
    judged.complain(two, parent, "slow");
    judged.pair.run_to(20_999);
    judged.complain(two, parent, "slow");
    assert!(!judged.is_found_slow(parent), "others may have their say");
    judged.pair.run_to(21_000);
    judged.complain(one, parent, "slow");
    assert!(judged.is_found_slow(parent));
    assert_eq!(judged.children(parent), []);
    // Of those who are slow the operator hears when they are found out.
    assert_eq!(judged.pair.master(judged.master).warned.len(), 1);
}

#[test]
fn who_complains_himself_is_not_to_blame() {
    let mut judged = judged();
    let (parent, [one, two]) = judged.parent_of_two();
    let above = judged.parent(parent, one.1);
    judged.say(parent, &format!("replace {} {above} slow", one.1));
    judged.complain(one, parent, "slow");
    judged.complain(two, parent, "slow");
    judged.pair.run_to(21_000);
    judged.complain(one, parent, "slow");
    assert!(!judged.is_found_slow(parent));
}

#[test]
fn one_in_four_can_be_too_slow_to_have_children() {
    let mut judged = judged();
    for _ in 0..2 {
        let (parent, [one, two]) = judged.parent_of_two();
        judged.complain(one, parent, "narrow");
        judged.complain(two, parent, "narrow");
        assert!(judged.is_found_slow(parent));
    }
    let (third, [one, two]) = judged.parent_of_two();
    judged.complain(one, third, "narrow");
    judged.complain(two, third, "narrow");
    assert!(!judged.is_found_slow(third), "more of them carry the rest");
}

/// Newcomers, who take what place there is.
fn four_more(judged: &mut Judged) {
    for _ in 0..4 {
        let newcomer = judged.pair.add_caller(judged.master);
        judged.members.push(newcomer);
        judged.say(newcomer, "join 2 7000 .");
    }
}

#[test]
fn a_parent_that_most_lost_serves_nobody_until_the_master_reaches_it_again() {
    let mut judged = judged();
    let (parent, [one, two]) = judged.parent_of_two();
    judged.complain(one, parent, "lost");
    assert!(!judged.children(parent).contains(&one) && judged.children(parent).contains(&two));
    judged.complain(two, parent, "lost");
    assert_eq!(judged.children(parent), []);
    judged.pair.run_to(20_999);
    four_more(&mut judged);
    judged.say(parent, "progress 1 2 1 0 5");
    assert_eq!(judged.children(parent), [], "its own word does not help it");
    judged.pair.run_to(21_000);
    four_more(&mut judged);
    assert_ne!(judged.children(parent), [], "it answers");
}

#[test]
fn what_one_of_several_says_of_a_parent_that_answers_moves_that_one_alone() {
    for word in ["lost", "frozen", "refused", "wrong"] {
        let mut judged = judged();
        let (parent, [one, two]) = judged.parent_of_two();
        judged.complain(one, parent, word);
        judged.complain(one, parent, word);
        judged.pair.run_to(30_000);
        assert_eq!(judged.children(parent), [two], "{word}");
        assert_eq!(judged.pair.called_ms(judged.master, parent), [0, 20_000], "{word}");
    }
}

#[test]
fn a_parent_that_does_not_answer_the_master_loses_all_on_one_word() {
    let mut judged = judged();
    let (parent, [one, _]) = judged.parent_of_two();
    judged.pair.let_caller(parent, |c| c.mute = Mute::ToAll);
    judged.complain(one, parent, "frozen");
    judged.pair.run_to(20_999);
    assert_eq!(judged.children(parent).len(), 1);
    judged.pair.run_to(21_000);
    assert_eq!(judged.children(parent), []);
    let said = format!(
        "{} cannot be reached from here (no answer): it serves nobody until it can",
        name(parent)
    );
    assert!(judged.pair.master(judged.master).warned.contains(&said));
}

#[test]
fn who_is_late_for_the_master_and_has_no_content_child_serves_nobody() {
    let (mut pair, tree) = (Pair::default(), Tree::of_pieces(2));
    let master = pair.add_master(&tree, 1);
    let members = [0; 2].map(|_| {
        let caller = pair.add_caller(master);
        pair.let_caller(caller, |c| c.say("join 3 7000 .\n"));
        caller
    });
    pair.run_to(20_000);
    let mut judged = Judged { pair, master, members: members.into(), stripes: 1 };
    let [parent, child] = members;
    judged.pair.let_caller(parent, |c| c.mute = Mute::ToAll);
    judged.complain((child, 0), parent, "frozen");
    let newcomer = |judged: &mut Judged| {
        let newcomer = judged.pair.add_caller(judged.master);
        judged.say(newcomer, "join 3 7000 .");
        judged.parent(newcomer, 0)
    };
    judged.pair.run_to(20_250);
    assert_ne!(newcomer(&mut judged), name(parent));
    judged.pair.let_caller(parent, |c| c.mute = Mute::No);
    judged.pair.run_to(22_000);
    let others = [0; 3].map(|_| newcomer(&mut judged));
    assert!(others.contains(&name(parent)), "{others:?}: it answers again");
}

/// Of three children two are content, or only patient.
#[test]
fn who_answers_all_but_reads_loses_all_on_one_word() {
    for (word, wait_ms) in [("slow", 2_000), ("refused", 2_000), ("frozen", 1_000), ("lost", 1_000)]
    {
        let mut judged = judged();
        let (parent, [one, _]) = judged.parent_of_two();
        judged.complain(one, parent, word);
        judged.pair.run_to(22_000);
        assert_ne!(judged.children(parent), [], "{word}: it answers");
        judged.pair.let_caller(parent, |c| c.mute = Mute::ToReads);
        judged.complain(one, parent, word);
        let (child, stripe) = judged.children(parent)[0];
        judged.complain((child, stripe), parent, word);
        judged.pair.run_to(22_000 + wait_ms - 1);
        assert!(!judged.is_unreached(parent), "{word}");
        judged.pair.run_to(22_000 + wait_ms);
        assert!(judged.is_unreached(parent) && judged.children(parent).is_empty(), "{word}");
        judged.pair.run_to(60_000);
        let warned = &judged.pair.master(judged.master).warned;
        assert!(!warned.iter().any(|text| text.contains("accused several")), "{warned:?}");
    }
}

#[test]
fn who_has_not_even_the_manifest_loses_all_on_one_word() {
    let mut judged = judged();
    let (parent, [one, _]) = judged.parent_of_two();
    judged.pair.let_caller(parent, |c| c.mute = Mute::HasNothing);
    judged.complain(one, parent, "slow");
    judged.pair.run_to(22_000);
    assert!(!judged.is_unreached(parent), "of other pieces it need have none");
    let (child, stripe) = judged.children(parent)[0];
    judged.complain((child, stripe), parent, "refused");
    judged.pair.run_to(22_100);
    assert!(judged.is_unreached(parent) && judged.children(parent).is_empty());
}

#[test]
fn who_accuses_three_falsely_is_named_once_and_not_believed() {
    let mut judged = judged_of(24, 4);
    let accuser = judged.members[20];
    let mut accused = Vec::new();
    while accused.len() < 4 {
        let stripes = (0..4).map(|stripe| (stripe, judged.parent(accuser, stripe)));
        let next = stripes.into_iter().find(|(_, p)| p != "me" && !accused.contains(p));
        let Some((stripe, parent)) = next else { break };
        judged.say(accuser, &format!("replace {stripe} {parent} lost"));
        accused.push(parent);
    }
    assert!(accused.len() >= 3, "{accused:?}");
    let start = addr(accuser).ip().to_string() + " accused several";
    let warned = &judged.pair.master(judged.master).warned;
    assert_eq!(warned.iter().filter(|text| text.starts_with(&start)).count(), 1, "{warned:?}");
    let calls = judged.pair.calls.len();
    judged.pair.run_for(5_000);
    for stripe in 0..4 {
        let parent = judged.parent(accuser, stripe);
        judged.say(accuser, &format!("replace {stripe} {parent} lost"));
    }
    judged.pair.run_for(5_000);
    assert_eq!(judged.pair.calls.len(), calls, "nobody is called for its word any more");
}
