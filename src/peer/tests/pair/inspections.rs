//! docs/protocol.md, "Whom the master believes": what it finds out itself.

use crate::content::Tree;
use crate::host::Fault;
use crate::pair::*;
use crate::scripted_client::Mute;
use std::rc::Rc;

fn name(host: usize) -> String {
    format!("{}!7000", addr(host).ip())
}

/// A master of one stripe, so that who joins is put below the one before.
fn chained() -> (Pair, usize) {
    let mut pair = Pair::default();
    let master = pair.add_master(&Tree::of_pieces(6), 1);
    (pair, master)
}

fn say(pair: &mut Pair, caller: usize, line: &str) {
    pair.let_caller(caller, |c| c.say(&format!("{line}\n")));
}

fn join(pair: &mut Pair, caller: usize) {
    say(pair, caller, "join 3 7000 .");
}

fn joined(pair: &mut Pair, master: usize) -> usize {
    let caller = pair.add_caller(master);
    join(pair, caller);
    caller
}

/// Who its parent is, as it was told last.
fn parent(pair: &Pair, caller: usize) -> Option<String> {
    let lines = pair.lines(caller);
    lines.iter().rev().find_map(|line| line.strip_prefix("parent 0 ")).map(Into::into)
}

#[test]
fn who_answers_on_its_port_is_placed_at_once_and_is_a_parent() {
    let (mut pair, master) = chained();
    let one = joined(&mut pair, master);
    assert_eq!(pair.called_ms(master, one), [0]);
    assert_eq!(parent(&pair, one).as_deref(), Some("me"));
    let two = joined(&mut pair, master);
    assert_eq!(parent(&pair, two), Some(name(one)));
}

/// One of an address is believed until it is found silent: at once, or on the second call.
#[test]
fn who_does_not_answer_is_a_parent_only_until_that_is_found() {
    type Befall = fn(&mut Pair, usize);
    let faults: [(Befall, u64, &str); 3] = [
        (|pair, host| pair.befall(host, Fault::Refuses), 0, "cut"),
        (|pair, host| pair.hosts[host].syns_lost = 99, 3_000, "no answer"),
        (|pair, host| pair.let_caller(host, |c| c.mute = Mute::ToAll), 3_000, "no answer"),
    ];
    for (befall, found_ms, why) in faults {
        let (mut pair, master) = chained();
        let silent = pair.add_caller(master);
        befall(&mut pair, silent);
        join(&mut pair, silent);
        assert_eq!(parent(&pair, silent).as_deref(), Some("me"));
        let child = joined(&mut pair, master);
        if found_ms > 0 {
            pair.run_to(found_ms - 1);
            assert_eq!(parent(&pair, child), Some(name(silent)));
            assert!(pair.master(master).warned.is_empty());
        }
        pair.run_to(found_ms);
        let others = [0; 3].map(|_| joined(&mut pair, master));
        let mut fed = others.iter().chain([&child]);
        assert!(fed.all(|other| parent(&pair, *other) != Some(name(silent))));
        pair.run_to(3_200);
        let said = format!(
            "{} cannot be reached from here ({why}): it serves nobody until it can",
            name(silent)
        );
        assert_eq!(pair.master(master).warned, [said]);
    }
}

/// A crowd is more than are called at a time: nobody waits for that.
#[test]
fn a_crowd_has_its_places_at_once() {
    let (mut pair, master) = chained();
    let crowd: Vec<usize> = (0..100).map(|_| pair.add_caller(master)).collect();
    for &caller in &crowd {
        pair.let_caller(caller, |c| c.mute = Mute::ToAll);
        join(&mut pair, caller);
    }
    let is_fed = |caller: &&usize| parent(&pair, **caller).is_some_and(|name| name != "me");
    assert_eq!(crowd.iter().filter(is_fed).count(), 99);
}

/// ... and of an address with one that has not answered, or with one that did not, no
/// other is.
#[test]
fn who_is_not_believed_is_placed_within_200_ms_and_is_nobodys_parent() {
    let (mut pair, master) = chained();
    let silent = pair.add_caller(master);
    pair.let_caller(silent, |c| c.mute = Mute::ToAll);
    join(&mut pair, silent);
    let wait = |pair: &mut Pair, line: &str| {
        let beside = pair.add_caller_beside(master, silent);
        say(pair, beside, line);
        assert_eq!((parent(pair, beside), pair.lines(beside).len()), (None, 1));
        pair.run_for(199);
        assert_eq!(parent(pair, beside), None);
        pair.run_for(1);
        assert!(parent(pair, beside).is_some());
        beside
    };
    let other = wait(&mut pair, "join 3 7001 .");
    pair.run_to(3_000);
    for caller in [silent, other] {
        say(&mut pair, caller, "leave");
    }
    wait(&mut pair, "join 3 7002 .");
}

#[test]
fn who_is_silent_is_called_eight_times_after_1_2_4_and_up_to_32_s() {
    let (mut pair, master) = chained();
    let silent = pair.add_caller(master);
    pair.let_caller(silent, |c| c.mute = Mute::ToAll);
    join(&mut pair, silent);
    pair.run_to(1_000_000);
    let (mut at_ms, mut expected) = (0, vec![0]);
    for pause_s in [1, 2, 4, 8, 16, 32, 32] {
        at_ms += 1_000 + pause_s * 1_000;
        expected.push(at_ms);
    }
    assert_eq!(pair.called_ms(master, silent), expected);
    assert_eq!(pair.master(master).warned.len(), 1, "once");
    // Then only now and then, while it says that it is there.
    pair.let_caller(silent, |c| c.mute = Mute::No);
    say(&mut pair, silent, "progress 1 2 1 0 5");
    pair.run_to(1_031_999);
    assert_eq!(pair.called_ms(master, silent).len(), 8);
    pair.run_to(1_032_000);
    assert_eq!(pair.called_ms(master, silent).len(), 9);
    let one = joined(&mut pair, master);
    assert_eq!(parent(&pair, one), Some(name(silent)), "it may serve now");
}

#[test]
fn a_syn_that_was_lost_is_sent_again_after_100_ms() {
    let (mut pair, master) = chained();
    let one = pair.add_caller(master);
    pair.hosts[one].syns_lost = 1;
    join(&mut pair, one);
    pair.run_to(5_000);
    assert_eq!(pair.called_ms(master, one), [0, 100]);
    let two = joined(&mut pair, master);
    assert_eq!(parent(&pair, two), Some(name(one)));
    assert!(pair.master(master).warned.is_empty());
}

#[test]
fn who_joins_again_from_the_same_address_is_the_one_server_there() {
    let (mut pair, master) = chained();
    let one = joined(&mut pair, master);
    let child = joined(&mut pair, master);
    assert_eq!(parent(&pair, child), Some(name(one)));
    for _ in 0..5 {
        pair.run_for(10);
        let again = pair.add_caller_beside(master, one);
        join(&mut pair, again);
    }
    assert_eq!(parent(&pair, child).as_deref(), Some("me"), "the one before gave it up");
    assert_eq!(pair.called_ms(master, one).len(), 1, "not more than once a second");
    pair.run_to(1_100);
    assert_eq!(pair.called_ms(master, one).len(), 2);
}

/// A client that has some pieces, and one below it that says what it likes.
struct Doubted {
    pair: Pair,
    master: usize,
    accused: usize,
    child: usize,
}

fn doubted() -> Doubted {
    let mut pair = Pair::default();
    let tree: Rc<Tree> = Tree::of_pieces(6);
    let master = pair.add_master(&tree, 1);
    // It has a piece more each second, and goes on fetching.
    pair.hosts[master].piece_ms = 1_000;
    let accused = pair.add_client(master, all());
    pair.settle();
    let child = joined(&mut pair, master);
    pair.run_to(4_500);
    assert_eq!(parent(&pair, child), Some(client_name(accused)));
    Doubted { pair, master, accused, child }
}

fn client_name(host: usize) -> String {
    format!("{}!20004", addr(host).ip())
}

impl Doubted {
    fn accuse(&mut self, piece: &str) {
        let line = format!("replace 0 {} wrong{piece}", client_name(self.accused));
        say(&mut self.pair, self.child, &line);
    }

    /// Whether anybody who joins now is put below the accused.
    fn is_named(&mut self) -> bool {
        let joined = [0; 3].map(|_| joined(&mut self.pair, self.master));
        joined.iter().any(|at| parent(&self.pair, *at) == Some(client_name(self.accused)))
    }
}

#[test]
fn wrong_bytes_that_the_master_gets_too_are_proof() {
    let mut doubted = doubted();
    let accused = doubted.accused;
    doubted.pair.hosts[accused].wrong.insert(2, 100);
    doubted.accuse(" 2");
    doubted.pair.run_for(1_000);
    let said = format!(
        "{} sends corrupt bytes for piece 2, as this machine has seen itself: it serves nobody for 10 min",
        client_name(accused)
    );
    assert!(doubted.pair.master(doubted.master).warned.contains(&said));
    assert!(!doubted.is_named());
}

#[test]
fn wrong_bytes_are_found_without_the_number_of_the_piece_where_all_are_wrong() {
    let mut doubted = doubted();
    let accused = doubted.accused;
    doubted.pair.hosts[accused].wrong.extend((0..7).map(|piece| (piece, 100)));
    doubted.accuse("");
    doubted.pair.run_for(1_000);
    assert!(!doubted.is_named());
}

#[test]
fn who_sends_the_master_the_right_bytes_stays_who_it_is() {
    for piece in [" 2", ""] {
        let mut doubted = doubted();
        doubted.accuse(piece);
        doubted.pair.run_for(1_000);
        assert_eq!(doubted.pair.called_ms(doubted.master, doubted.accused).len(), 2);
        assert!(doubted.is_named(), "{piece:?}");
    }
}

#[test]
fn a_piece_out_of_range_is_only_a_greeting() {
    let mut doubted = doubted();
    doubted.accuse(" 4000000000");
    doubted.pair.run_for(1_000);
    assert!(doubted.is_named());
}
