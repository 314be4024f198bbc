//! docs/protocol.md, "Signatures": what a client that trusts keys takes, and of whom.

use crate::content::Tree;
use crate::pair::*;
use crate::scripted_server::Asked;
use peer::content::digest::Digest;
use peer::content::manifest::Selector;
use peer::control::{ClientMessage, MasterMessage};
use peer::failure::{Failure, Status};
use peer::request::{FetchRequest, Linger, Masters, Trust};
use peer::signature::{SecretKey, Statement};
use std::rc::Rc;

const DATE_S: u64 = 1_795_000_000;

fn key(seed: u8) -> SecretKey {
    SecretKey::of([seed; 8], [seed; 32])
}

fn trusting(seed: u8) -> FetchRequest {
    let trust = Trust { keys: vec![key(seed).public()], not_before_s: DATE_S, ..Trust::default() };
    FetchRequest { linger: Linger::Millis(0), trust, ..all() }
}

fn statement(tree: &Rc<Tree>) -> Statement {
    let selector = Selector::of_paths(&["."]).plain();
    Statement { selector, generation: tree.digest(), beside: None, date_s: DATE_S }
}

/// Puts it where the master looks for what was signed of all.
fn publish(pair: &mut Pair, master: usize, signed: String) {
    let place = Statement::place(&Selector::of_paths(&["."]));
    pair.master(master).signatures.insert(place, signed.into_bytes());
}

fn fetched(pair: &mut Pair, masters: &[usize], request: FetchRequest) -> (usize, Vec<Failure>) {
    let mut list = Masters::default();
    masters.iter().for_each(|host| list.add([addr(*host)]));
    let client = pair.add_client_of(list, request);
    pair.until(|pair| pair.client(client).exit.is_some());
    let failures = pair.client(client).exit.clone().map(|(_, failures)| failures);
    (client, failures.expect("it has ended"))
}

/// What a fetch ends with of one master that has this.
fn end_of(tree: &Rc<Tree>, signed: Option<String>, request: FetchRequest) -> Result<(), String> {
    let mut pair = Pair::default();
    let master = pair.add_master(tree, 1);
    if let Some(signed) = signed {
        publish(&mut pair, master, signed);
    }
    let (client, failures) = fetched(&mut pair, &[master], request);
    let Some(failure) = failures.first() else { return Ok(()) };
    assert_eq!(failure.status, Status::Verification, "{}", failure.text());
    assert!(pair.client(client).stored.is_empty(), "nothing is written");
    assert!(pair.now_ms < 1_000, "it does not wait");
    Err(failure.text())
}

#[test]
fn what_a_trusted_key_signed_is_fetched() {
    let tree = Tree::of(&[("a", 90_000)]);
    let signed = key(1).sign(&statement(&tree));
    assert_eq!(end_of(&tree, Some(signed.clone()), trusting(1)), Ok(()));
    // One of several keys will do; who trusts nobody in particular takes all.
    let mut both = trusting(1);
    both.trust.keys.insert(0, key(2).public());
    assert_eq!(end_of(&tree, Some(signed), both), Ok(()));
    assert_eq!(
        end_of(&tree, None, FetchRequest { trust: Trust::default(), ..trusting(1) }),
        Ok(())
    );
}

#[test]
fn nothing_else_is_and_the_reason_is_said() {
    let tree = Tree::of(&[("a", 90_000)]);
    let good = statement(&tree);
    let old = Statement { date_s: DATE_S - 5, ..good.clone() };
    let other = Statement { generation: Digest([1; 32]), ..good.clone() };
    let rescue = Selector::of_paths(&["rescue"]);
    let elsewhere = Statement { selector: rescue, ..good.clone() };
    let forged = key(1).sign(&good).replace(&tree.digest().to_string(), &"0".repeat(64));
    for (signed, why) in [
        (None, "is not signed as . (xget --sign KEY DIR SRC... there, with just these)"),
        (Some(key(2).sign(&good)), "which is not trusted"),
        (Some(SecretKey::of([1; 8], [2; 32]).sign(&good)), "forged"),
        (Some(forged), "forged"),
        (Some(key(1).sign(&old)), "5 s before the oldest"),
        (Some(key(1).sign(&other)), "changed since"),
        (Some(key(1).sign(&elsewhere)), "rescue, which was not asked for"),
        (Some("nonsense".into()), "cannot be read"),
    ] {
        let text = end_of(&tree, signed, trusting(1)).unwrap_err();
        assert!(text.contains(why), "{text}");
    }
}

/// Of a root it is signed which kernel goes with it: nobody can leave that out, or put an older one
/// before it.
#[test]
fn a_root_is_taken_by_what_it_is_signed_to_be_started_by() {
    let tree = Tree::of(&[("etc/hostname", 9)]);
    let digest = Digest([0xcd; 32]);
    let [of_kernel, alone] =
        [Some(digest), None].map(|beside| key(1).sign(&Statement { beside, ..statement(&tree) }));
    let end = |signed: &String, started: Option<&str>| {
        let mut request = trusting(1);
        request.trust.started = started.map(String::from);
        end_of(&tree, Some(signed.clone()), request)
    };
    let digits = digest.to_string();
    for (signed, started) in [
        (&of_kernel, Some(&digits[..16])),
        (&of_kernel, Some(&digits)),
        (&alone, Some("")),
        // Who does not boot it has it as it is.
        (&of_kernel, None),
    ] {
        assert_eq!(end(signed, started), Ok(()), "{started:?}");
    }
    for (signed, started, why) in [
        (&of_kernel, "", "by nothing"),
        (&of_kernel, "0123456789abcdef", "by 0123456789abcdef"),
        (&alone, &digits[..16], "as a root that is started by nothing"),
    ] {
        let text = end(signed, Some(started)).unwrap_err();
        assert!(text.contains(why) && text.contains("nothing was written"), "{text}");
    }
}

#[test]
fn who_serves_what_is_not_signed_is_left_for_the_next() {
    let (evil, good) = (Tree::of(&[("a", 90_000)]), Tree::of(&[("a", 90_001)]));
    let mut pair = Pair::default();
    let masters = [&evil, &good, &good].map(|tree| pair.add_master(tree, 1));
    // What was signed of another tree helps nobody.
    publish(&mut pair, masters[0], key(1).sign(&statement(&good)));
    publish(&mut pair, masters[2], key(1).sign(&statement(&good)));
    let (client, failures) = fetched(&mut pair, &masters, trusting(1));
    assert_eq!(failures, []);
    assert_eq!(pair.client(client).file("a").len(), 90_001);
    let warned = pair.client(client).warned.len();
    assert_eq!(warned, 2, "one for each that was left");
}

#[test]
fn it_is_asked_for_in_words_that_old_masters_refuse() {
    let tree = Tree::of(&[("a", 9_000)]);
    let mut pair = Pair::default();
    let server = pair.add_server(&tree, 1);
    pair.add_client(server, trusting(1));
    pair.run_to(100);
    let asked = pair.server(server).asked.iter();
    let joins: Vec<bool> = asked
        .filter_map(|(_, asked)| match asked {
            Asked::Said(ClientMessage::Join { options, .. }) => Some(options.is_signed),
            _ => None,
        })
        .collect();
    assert_eq!(joins, [true]);
}

#[test]
fn who_says_a_signature_and_nothing_more_is_not_waited_for_without_end() {
    let tree = Tree::of(&[("a", 9_000)]);
    let mut pair = Pair::default();
    let server = pair.add_server(&tree, 1);
    let signed = MasterMessage::Signature(key(1).sign(&statement(&tree)).into());
    pair.let_server(server, |server| {
        server.faults.is_mute = true;
        server.tell(&signed);
    });
    let client = pair.add_client(server, FetchRequest { retries: 0, ..trusting(1) });
    pair.until(|pair| pair.client(client).exit.is_some());
    assert!(pair.now_ms < 120_000, "{}", pair.now_ms);
    let (_, failures) = pair.client(client).exit.clone().unwrap();
    assert_eq!(failures[0].status, Status::Connection);
}

#[test]
fn what_is_signed_for_a_day_to_come_is_taken_with_a_warning() {
    let tree = Tree::of(&[("a", 9_000)]);
    let day_s = 86_400;
    for (now_s, warned) in [
        (None, false),
        (Some(DATE_S - day_s), false),
        (Some(DATE_S + 1), false),
        (Some(DATE_S - day_s - 1), true),
        (Some(0), true),
    ] {
        let mut pair = Pair::default();
        let master = pair.add_master(&tree, 1);
        publish(&mut pair, master, key(1).sign(&statement(&tree)));
        let mut request = trusting(1);
        request.trust.now_s = now_s;
        let (client, failures) = fetched(&mut pair, &[master], request);
        assert_eq!(failures, []);
        let found = &pair.client(client).warned;
        let is_said = found.iter().any(|(_, text)| text.contains("s from now: the clock here"));
        assert_eq!((is_said, found.is_empty()), (warned, !warned), "{now_s:?} {found:?}");
    }
}
