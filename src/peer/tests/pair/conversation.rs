//! docs/protocol.md, "The conversation on `/.xget/route`": every line, and what
//! the master answers.

use crate::content::Tree;
use crate::pair::*;
use crate::scripted_client::Answered;
use crate::scripted_server::Asked;
use ninep::client::OpenMode;
use peer::content::digest::Digest;
use peer::control::{ClientMessage, JoinOptions, MasterMessage, ParentAddr, TransferStats};
use peer::failure::Status;
use peer::fetch::FetchInput;
use peer::master::MasterInput;
use peer::request::{FetchRequest, Linger};
use std::rc::Rc;

fn tree() -> Rc<Tree> {
    Tree::of(&[("a", 3), ("d/x", 5_000), ("z", 10_000)])
}

/// A master of `tree` with one stripe, so that each feeds one other.
fn chained() -> (Pair, usize) {
    let mut pair = Pair::default();
    let master = pair.add_master(&tree(), 1);
    (pair, master)
}

/// Somebody who joined for everything, serving on port 7000.
fn joined(pair: &mut Pair, master: usize) -> usize {
    let caller = pair.add_caller(master);
    say(pair, caller, "join 2 7000 .");
    caller
}

fn say(pair: &mut Pair, caller: usize, line: &str) {
    pair.let_caller(caller, |c| c.say(&format!("{line}\n")));
}

fn name(caller: usize) -> String {
    format!("{}!7000", addr(caller).ip())
}

fn last(pair: &Pair, caller: usize) -> String {
    pair.lines(caller).pop().expect("the master said something")
}

fn generation(digest: Digest, manifest_len: usize, stripes: u8) -> String {
    format!("generation {digest} {manifest_len} 4096 {stripes}")
}

#[test]
fn a_join_is_answered_by_the_generation_and_a_parent_for_each_stripe() {
    let (mut pair, tree) = (Pair::default(), tree());
    let master = pair.add_master(&tree, 4);
    let caller = joined(&mut pair, master);
    let mut lines = pair.lines(caller);
    assert_eq!(lines.remove(0), generation(tree.digest(), tree.encoded.len(), 4));
    lines.sort();
    assert_eq!(lines, ["parent 0 me", "parent 1 me", "parent 2 me", "parent 3 me"]);
}

#[test]
fn a_parents_ip_is_that_of_its_connection_and_its_port_what_it_said() {
    let (mut pair, master) = chained();
    let first = pair.add_caller(master);
    say(&mut pair, first, "join 2 4711 .");
    let second = joined(&mut pair, master);
    assert_eq!(last(&pair, second), format!("parent 0 {}!4711", addr(first).ip()));
}

#[test]
fn who_joins_a_master_that_hashes_hears_wait_every_second() {
    let (mut pair, tree) = (Pair::default(), tree());
    let master = pair.add_hashing_master(1);
    pair.input_master(master, MasterInput::Hashing { done_bytes: 5, total_bytes: 20 });
    pair.run_to(300);
    let caller = joined(&mut pair, master);
    pair.run_to(1_500);
    pair.input_master(master, MasterInput::Hashing { done_bytes: 15, total_bytes: 20 });
    pair.run_to(2_500);
    let manifest = tree.manifest.clone();
    pair.input_master(master, MasterInput::Scanned { manifest, scan: 1 });
    pair.drive_bounded();
    let expected = [
        (1_300, "wait 5 20".to_string()),
        (2_300, "wait 15 20".to_string()),
        (2_500, generation(tree.digest(), tree.encoded.len(), 1)),
        (2_500, "parent 0 me".to_string()),
    ];
    assert_eq!(pair.caller(caller).lines, expected);
}

#[test]
fn another_version_is_error_93() {
    let (mut pair, master) = chained();
    let caller = pair.add_caller(master);
    say(&mut pair, caller, "join 1 7000 .");
    let words = "this%20master%20speaks%20version%204%20of%20the%20protocol";
    assert_eq!(pair.lines(caller), [format!("error 93 {words}")]);
    say(&mut pair, caller, "join 5 7000 colour=red .");
    assert_eq!(last(&pair, caller), format!("error 93 {words}"));
    say(&mut pair, caller, "join 2 7000 .");
    assert_eq!(last(&pair, caller), "parent 0 me", "another try is welcome");
}

#[test]
fn what_is_not_understood_is_error_22() {
    let (mut pair, master) = chained();
    for line in ["hello", "replace 0 me sad", "join 2 7000 %4", "\nleave", "leave\n\n"] {
        let caller = pair.add_caller(master);
        say(&mut pair, caller, line);
        assert!(last(&pair, caller).starts_with("error 22 not%20understood"), "{line}");
    }
}

/// What a stranger can have looked at in one write ends with the first nonsense.
#[test]
fn the_first_line_that_is_not_understood_ends_the_conversation() {
    let (mut pair, master) = chained();
    let caller = joined(&mut pair, master);
    let known = pair.lines(caller).len();
    let nonsense = "\n".repeat(20_000) + "leave\n";
    let written = pair.let_caller(caller, |c| c.say(&nonsense));
    let answer = pair.caller(caller).answer(written);
    assert!(matches!(answer, Some((_, Answered::Written(20_006)))), "{answer:?}");
    assert_eq!(pair.lines(caller).len(), known + 1, "one error");
    let late = pair.let_caller(caller, |c| c.say("leave\n"));
    let refused = Answered::Failed(22, "Invalid argument".into());
    assert_eq!(pair.caller(caller).answer(late).map(|(_, answered)| answered), Some(&refused));
    let other = joined(&mut pair, master);
    assert_eq!(last(&pair, other), "parent 0 me", "the member is gone");
}

#[test]
fn one_write_has_at_most_64_lines() {
    let (mut pair, master) = chained();
    for (lines, understood) in [(64, true), (65, false)] {
        let caller = joined(&mut pair, master);
        say(&mut pair, caller, "progress 1 2 1 0 5\n".repeat(lines).trim_end());
        let refused = last(&pair, caller).starts_with("error 22 ");
        assert_eq!(refused, !understood, "{lines} lines");
    }
}

#[test]
fn to_join_twice_is_error_22_also_while_waiting() {
    let (mut pair, tree) = (Pair::default(), tree());
    let master = pair.add_hashing_master(1);
    let caller = joined(&mut pair, master);
    say(&mut pair, caller, "join 2 7000 a");
    assert_eq!(pair.lines(caller), ["error 22 joined%20already"]);
    let manifest = tree.manifest.clone();
    pair.input_master(master, MasterInput::Scanned { manifest, scan: 1 });
    assert_eq!(last(&pair, caller), "parent 0 me", "the first counts");
    say(&mut pair, caller, "join 2 7000 a");
    assert_eq!(last(&pair, caller), "error 22 joined%20already");
}

/// It may have come since the last look, so the tree is looked at first.
#[test]
fn a_source_that_is_not_there_is_error_2_after_another_look() {
    let (mut pair, master) = chained();
    pair.master(master).is_looked_at_once = false;
    let caller = pair.add_caller(master);
    say(&mut pair, caller, "join 2 7000 nothing");
    assert_eq!((pair.lines(caller).len(), pair.master(master).rescans.clone()), (0, vec![0]));
    pair.input_master(master, MasterInput::Unchanged);
    let line = last(&pair, caller);
    assert!(line.starts_with("error 2 ") && line.contains("nothing"), "{line}");
}

#[test]
fn sources_are_percent_encoded() {
    let (mut pair, tree) = (Pair::default(), Tree::of(&[("a b%", 5_000)]));
    let master = pair.add_master(&tree, 1);
    let caller = pair.add_caller(master);
    say(&mut pair, caller, "join 2 7000 a%20b%25");
    assert_eq!(last(&pair, caller), "parent 0 me");
}

#[test]
fn a_join_later_than_a_second_after_the_last_look_has_the_tree_looked_at() {
    let (mut pair, master) = chained();
    pair.master(master).is_looked_at_once = false;
    pair.run_to(999);
    let early = joined(&mut pair, master);
    assert_eq!(last(&pair, early), "parent 0 me");
    pair.run_to(1_000);
    let late = [joined(&mut pair, master), joined(&mut pair, master)];
    assert_eq!(pair.master(master).rescans, [1_000], "one look for both");
    pair.run_to(1_200);
    assert!(late.iter().all(|caller| pair.lines(*caller).is_empty()));
    pair.input_master(master, MasterInput::Unchanged);
    assert!(late.iter().all(|caller| last(&pair, *caller).starts_with("parent 0 ")));
    // A look took 200 ms: the next is due after ten times as long.
    pair.run_to(3_199);
    joined(&mut pair, master);
    assert_eq!(pair.master(master).rescans.len(), 1);
    pair.run_to(3_200);
    joined(&mut pair, master);
    assert_eq!(pair.master(master).rescans, [1_000, 3_200]);
}

#[test]
fn a_changed_tree_is_another_generation_and_the_old_one_stays_for_its_members() {
    let (mut pair, master) = chained();
    let (old, new) = (tree(), Tree::of(&[("a", 4)]));
    let before = joined(&mut pair, master);
    pair.input_master(master, MasterInput::Scanned { manifest: new.manifest.clone(), scan: 2 });
    let after = joined(&mut pair, master);
    let expected = generation(new.digest(), new.encoded.len(), 1);
    assert_eq!(pair.lines(after), [expected, "parent 0 me".into()], "a tree of its own");
    let old_list = format!(".xget/{}/list", old.digest());
    assert_eq!(pair.text(after, &old_list), "");
    pair.cut(before);
    pair.run_for(29_999);
    assert_eq!(pair.text(after, &old_list), "", "for half a minute it may come back");
    pair.run_for(1);
    let (_, token) = pair.let_caller(after, |c| c.open(&old_list, OpenMode::Read));
    let answer = pair.caller(after).answer(token);
    assert!(matches!(answer, Some((_, Answered::Failed(2, _)))), "{answer:?}");
}

#[test]
fn who_joins_again_gets_the_generation_that_it_was_in_as_long_as_that_is_served() {
    let (mut pair, master) = chained();
    let (old, new) = (tree(), Tree::of(&[("a", 4)]));
    let before = joined(&mut pair, master);
    pair.cut(before);
    let manifest = new.manifest.clone();
    pair.input_master(master, MasterInput::Scanned { manifest, scan: 2 });
    let is = |tree: &Tree| generation(tree.digest(), tree.encoded.len(), 1);
    let name = format!(".xget/{}", old.digest());
    // Also when the tree was not looked at for long.
    pair.run_for(20_000);
    let again = pair.add_caller(master);
    say(&mut pair, again, &format!("join 3 7000 {name} ."));
    assert_eq!(pair.lines(again), [is(&old), "parent 0 me".into()]);
    assert_eq!(pair.master(master).rescans, []);
    pair.cut(again);
    pair.run_for(30_000);
    let late = pair.add_caller(master);
    say(&mut pair, late, &format!("join 3 7000 {name} ."));
    pair.input_master(master, MasterInput::Unchanged);
    pair.drive_bounded();
    assert_eq!(pair.lines(late), [is(&new), "parent 0 me".into()], "what is there now");
    let alone = pair.add_caller(master);
    say(&mut pair, alone, &format!("join 3 7000 {name}"));
    pair.input_master(master, MasterInput::Unchanged);
    pair.drive_bounded();
    assert!(last(&pair, alone).starts_with("error 2 "), "it is no source");
}

#[test]
fn generations_are_kept_for_those_who_left_them_and_no_more_than_four() {
    let (mut pair, master) = chained();
    let trees: Vec<Rc<Tree>> = (1..=6).map(|len| Tree::of(&[("a", len)])).collect();
    for (scan, tree) in trees.iter().enumerate() {
        let manifest = tree.manifest.clone();
        pair.input_master(master, MasterInput::Scanned { manifest, scan: 2 + scan as u32 });
        let caller = joined(&mut pair, master);
        pair.cut(caller);
    }
    let reader = pair.add_caller(master);
    for (number, tree) in trees.iter().enumerate() {
        let list = format!(".xget/{}/list", tree.digest());
        let (_, token) = pair.let_caller(reader, |c| c.open(&list, OpenMode::Read));
        let answer = pair.caller(reader).answer(token);
        let is_gone = matches!(answer, Some((_, Answered::Failed(2, _))));
        assert_eq!(is_gone, number < 2, "{number}: {answer:?}");
    }
}

#[test]
fn a_part_of_the_tree_is_a_generation_of_its_own() {
    let (mut pair, tree) = (Pair::default(), tree());
    let master = pair.add_master(&tree, 1);
    let whole = joined(&mut pair, master);
    let part = tree.manifest.select(&[b"d", b"a"]).expect("both are there").manifest;
    let encoded = part.encode();
    let expected = generation(Digest::of(&encoded), encoded.len(), 1);
    let first = pair.add_caller(master);
    say(&mut pair, first, "join 2 7000 d a");
    assert_eq!(pair.lines(first), [expected.clone(), "parent 0 me".into()]);
    let second = pair.add_caller(master);
    say(&mut pair, second, "join 2 7000 ./d/ a");
    assert_eq!(pair.lines(second), [expected, format!("parent 0 {}", name(first))]);
    assert_ne!(pair.lines(whole)[0], pair.lines(first)[0]);
    let sources = vec![b"d".to_vec()];
    let client = pair.add_client(master, FetchRequest::of(sources));
    pair.drive_bounded();
    assert_eq!(pair.client(client).file("d/x"), tree.file("d/x"), "as it lands");
}

#[test]
fn replace_brings_another_parent() {
    for complaint in ["lost", "frozen", "wrong", "refused"] {
        let (mut pair, master) = chained();
        let parent = joined(&mut pair, master);
        // Whoever moved within the last second is starved, and not believed of frozen ones.
        pair.run_to(5_000);
        let child = joined(&mut pair, master);
        assert_eq!(last(&pair, child), format!("parent 0 {}", name(parent)));
        pair.run_to(10_000);
        say(&mut pair, child, &format!("replace 0 {} {complaint}", name(parent)));
        assert_eq!(last(&pair, child), "parent 0 me", "{complaint}");
        let said = format!("{} says that {} is {complaint}", name(child), name(parent));
        assert_eq!(pair.master(master).warned, [said]);
        let asker = pair.add_caller(master);
        assert!(pair.text(asker, "log").contains(complaint));
    }
}

#[test]
fn who_cannot_have_another_parent_is_told_the_same_again() {
    let (mut pair, master) = chained();
    let caller = joined(&mut pair, master);
    say(&mut pair, caller, "replace 0 me lost");
    assert_eq!(pair.lines(caller)[1..], ["parent 0 me", "parent 0 me"]);
}

#[test]
fn progress_tells_the_bytes_and_done_the_operator() {
    let (mut pair, master) = chained();
    let caller = joined(&mut pair, master);
    say(&mut pair, caller, "progress 1 15003 1 0 9");
    let asker = pair.add_caller(master);
    let stats = format!("{} fetching 1 15003 1 0 9 me .\n", name(caller));
    assert!(pair.text(asker, ".xget/status").ends_with(&stats));
    say(&mut pair, caller, "done 15003 15003 10000 5003 1234");
    let said = format!(
        "{} done: 15003 bytes in 1.234 s, 10000 from the master, 5003 from peers",
        name(caller)
    );
    assert_eq!(pair.master(master).said.last(), Some(&said));
    pair.cut(caller);
    assert!(pair.master(master).warned.is_empty(), "it went when all was done");
}

#[test]
fn children_are_given_to_others_when_their_parent_leaves_clunks_or_is_lost() {
    for how in 0..3 {
        let (mut pair, master) = chained();
        let parent = joined(&mut pair, master);
        let child = joined(&mut pair, master);
        pair.run_to(250);
        match how {
            0 => say(&mut pair, parent, "leave"),
            1 => pair.let_caller(parent, |c| {
                let route = c.route.expect("it converses");
                c.clunk(route);
            }),
            _ => pair.cut(parent),
        }
        assert_eq!(pair.caller(child).lines.last(), Some(&(250, "parent 0 me".into())), "{how}");
        let left = format!("{} left before its first report, not done", name(parent));
        let warned = if how == 0 { vec![] } else { vec![left] };
        assert_eq!(pair.master(master).warned, warned);
    }
}

/// A client with a scripted master.
fn fetching(master_says: &str) -> (Pair, usize, usize) {
    let (mut pair, tree) = (Pair::default(), Tree::of_pieces(2));
    let master = pair.add_server(&tree, 1);
    pair.let_server(master, |server| {
        server.faults.is_mute = true;
        server.tell_line(master_says);
    });
    let client = pair.add_client(master, all());
    pair.settle();
    (pair, master, client)
}

fn join(version: u32, sources: &[&str], options: JoinOptions) -> ClientMessage {
    let sources = sources.iter().map(|source| source.as_bytes().to_vec()).collect();
    ClientMessage::Join { version, port: 20_004, sources, options }
}

#[test]
fn a_client_says_what_it_wants_and_then_how_far_it_is() {
    let (mut pair, tree) = (Pair::default(), Tree::of_pieces(2));
    let master = pair.add_server(&tree, 1);
    let request = FetchRequest { linger: Linger::Millis(0), ..all() };
    let client = pair.add_client(master, request);
    pair.run_to(100);
    let join = join(3, &["."], JoinOptions::default());
    assert_eq!(pair.asked_ms(master, &Asked::Said(join)), [0]);
    pair.let_server(master, |s| {
        s.tell(&MasterMessage::Parent { stripe: 0, parent: ParentAddr::Master })
    });
    pair.let_server(master, |s| s.give(0..2));
    pair.run_to(4_100);
    pair.let_server(master, |s| s.give(2..3));
    pair.drive_bounded();
    let stats = |have_bytes, elapsed_ms| {
        let (total_bytes, from_peers_bytes) = (8_192, 0);
        let from_master_bytes = have_bytes + tree.encoded.len() as u64;
        TransferStats { have_bytes, total_bytes, from_master_bytes, from_peers_bytes, elapsed_ms }
    };
    let said = &pair.client(client).said;
    let said: Vec<&(u64, ClientMessage)> =
        said.iter().filter(|(_, said)| !matches!(said, ClientMessage::Replace { .. })).collect();
    let expected = [
        (2_000, ClientMessage::Progress(stats(4_096, 2_000))),
        (4_000, ClientMessage::Progress(stats(4_096, 4_000))),
        (4_100, ClientMessage::Done(stats(8_192, 4_100))),
    ];
    assert_eq!(said[1..], expected.iter().collect::<Vec<_>>());
    assert_eq!(pair.client(client).exit, Some((4_100, Vec::new())));
}

#[test]
fn who_is_ended_says_how_far_it_is_first() {
    let (mut pair, tree) = (Pair::default(), Tree::of_pieces(2));
    let master = pair.add_server(&tree, 1);
    let client = pair.add_client(master, all());
    pair.run_to(100);
    pair.let_server(master, |s| {
        s.tell(&MasterMessage::Parent { stripe: 0, parent: ParentAddr::Master })
    });
    pair.let_server(master, |s| s.give(0..2));
    pair.run_to(200);
    pair.input_client(client, FetchInput::Interrupted);
    let Some((at_ms, ClientMessage::Progress(stats))) = pair.client(client).said.last() else {
        panic!("{:?}", pair.client(client).said)
    };
    assert_eq!((*at_ms, stats.have_bytes, stats.total_bytes), (200, 4_096, 8_192));
    assert_eq!(stats.elapsed_ms, 200);
}

#[test]
fn an_error_ends_the_fetch_and_errno_2_is_one_of_the_parent_addr() {
    for (said, status) in [
        ("error 2 so%20it%20is\n", Status::Source),
        ("error 11 so%20it%20is\n", Status::Connection),
        ("error 93 new\nerror 93 so%20it%20is\n", Status::Connection),
    ] {
        let (pair, _, client) = fetching(said);
        let (at_ms, failures) = pair.client(client).exit.clone().expect("it is over");
        assert_eq!((at_ms, failures[0].status, failures[0].why.as_str()), (0, status, "so it is"));
    }
}

#[test]
fn with_an_older_master_its_version_is_spoken() {
    let (pair, master, client) = fetching("error 93 this%20master%20speaks%20version%202\n");
    for version in [3, 2] {
        let join = join(version, &["."], JoinOptions::default());
        assert_eq!(pair.asked_ms(master, &Asked::Said(join)), [0], "{version}");
    }
    assert!(pair.client(client).exit.is_none() && pair.client(client).warned.is_empty());
}

#[test]
fn who_joins_again_names_the_generation_that_it_has_a_part_of() {
    for (version, refusal) in [(3, ""), (2, "error 93 older\n")] {
        let (mut pair, tree) = (Pair::default(), Tree::of_pieces(2));
        let master = pair.add_server(&tree, 1);
        let client = pair.add_client(master, all());
        pair.settle();
        if !refusal.is_empty() {
            pair.let_server(master, |server| server.tell_line(refusal));
        }
        let asked = |pair: &Pair, generation| {
            let options = JoinOptions { generation, ..JoinOptions::default() };
            pair.asked_ms(master, &Asked::Said(join(version, &["."], options))).len()
        };
        let named = Some(tree.digest());
        let before = (asked(&pair, None), asked(&pair, named));
        pair.cut(client);
        pair.run_for(2_000);
        let after = (asked(&pair, None), asked(&pair, named));
        let (again, named) = (after.0 - before.0, after.1 - before.1);
        assert_eq!((again, named), if version == 3 { (0, 1) } else { (1, 0) });
    }
}

#[test]
fn a_line_may_come_in_parts_and_a_client_that_waits_says_so() {
    let (mut pair, master, client) = fetching("wait 3");
    pair.let_server(master, |server| server.tell_line("0 70\n"));
    let progress = pair.client(client).fetcher.progress();
    assert_eq!(progress.hashing, Some((30, 70)));
    assert_eq!(progress.phase, "waiting for the master to hash");
}

#[test]
fn a_line_without_an_end_or_a_meaning_is_not_the_protocol() {
    let (pair, _, client) = fetching("what?\n");
    let warned = &pair.client(client).warned;
    assert!(warned[0].1.contains("it said what this version does not understand"), "{warned:?}");
    let (mut pair, master, client) = fetching("");
    for _ in 0..8 {
        pair.let_server(master, |server| server.tell_line(&"x".repeat(8_000)));
    }
    let warned = &pair.client(client).warned;
    assert!(warned[0].1.contains("it sent a line without an end"), "{warned:?}");
}

#[test]
fn the_tree_that_changed_during_the_fetch_ends_it() {
    let (mut pair, tree) = (Pair::default(), Tree::of_pieces(2));
    let master = pair.add_server(&tree, 1);
    let client = pair.add_client(master, all());
    pair.settle();
    pair.let_server(master, |server| {
        server.tell(&MasterMessage::Generation {
            digest: Digest::of(b"another"),
            manifest_len: 100,
            piece_len: 4096,
            stripes: 1,
        });
    });
    let (_, failures) = pair.client(client).exit.clone().expect("it is over");
    assert_eq!(failures[0].status, Status::Changed);
}

#[test]
fn what_needs_version_4_is_said_in_it_and_an_older_master_is_told_of() {
    let patterns = FetchRequest { are_patterns: true, ..FetchRequest::of(vec![b"a*".to_vec()]) };
    let excludes = FetchRequest { excludes: vec![b"*.o".to_vec()], ..all() };
    let window =
        FetchRequest { window_bytes: Some(9), ..FetchRequest::of(vec![b"a[1].img".to_vec()]) };
    for (request, sources, options) in [
        (patterns, "a*", JoinOptions::default()),
        (excludes, ".", JoinOptions { excludes: vec![b"*.o".to_vec()], ..JoinOptions::default() }),
        (window, "a\\[1].img", JoinOptions { window_bytes: Some(9), ..JoinOptions::default() }),
    ] {
        let (mut pair, tree) = (Pair::default(), Tree::of_pieces(2));
        let master = pair.add_server(&tree, 1);
        pair.let_server(master, |server| {
            server.faults.is_mute = true;
            server.tell_line("error 93 this%20master%20speaks%20version%203\n");
            server.tell_line("error 2 a%2a:%20no%20such%20file\n");
        });
        let are_patterns = request.are_patterns;
        let client = pair.add_client(master, request);
        pair.settle();
        let as_paths = join(3, &[sources], JoinOptions::default());
        let asked = pair.asked_ms(master, &Asked::Said(as_paths));
        assert_eq!(asked.len(), usize::from(are_patterns), "there may be a file of this name");
        let asked = pair.asked_ms(master, &Asked::Said(join(4, &[sources], options)));
        assert_eq!(asked, [0], "{sources}");
        let (_, failures) = pair.client(client).exit.clone().expect("it is over");
        assert_eq!(failures[0].status, Status::Connection);
        assert!(failures[0].text().contains("is too old for patterns"), "{}", failures[0].text());
    }
}

#[test]
fn in_version_4_sources_are_patterns_and_some_is_left_out() {
    let (mut pair, tree) = (Pair::default(), tree());
    let master = pair.add_master(&tree, 1);
    let mut generation_of = |line: &str| {
        let caller = pair.add_caller(master);
        say(&mut pair, caller, line);
        pair.lines(caller)[0].clone()
    };
    let part = |sources: &[&[u8]]| {
        let part = tree.manifest.select(sources).unwrap().manifest.encode();
        generation(Digest::of(&part), part.len(), 1)
    };
    assert_eq!(generation_of("join 4 7000 ?"), part(&[b"a", b"d", b"z"]));
    assert_eq!(generation_of("join 4 7001 ."), part(&[b"."]));
    assert_eq!(generation_of("join 4 7002 [az]"), part(&[b"a", b"z"]));
    assert_eq!(generation_of("join 4 7003 exclude=d ?"), part(&[b"a", b"z"]));
    assert_eq!(generation_of("join 4 7004 exclude=/d exclude=nothing a d z"), part(&[b"a", b"z"]));
    assert_eq!(generation_of("join 4 7005 \\a z"), part(&[b"a", b"z"]));
    let lost = "error 2 b%2a:%20nothing%20in%20what%20is%20served%20fits%20this%20pattern";
    assert_eq!(generation_of("join 4 7006 b%2a a"), lost);
    let lost = "error 2 ?:%20no%20such%20file%20or%20directory%20in%20what%20is%20served";
    assert_eq!(generation_of("join 3 7007 ?"), lost.replace('?', "%3f"), "a path");
    for line in
        ["join 4 7008 colour=red a", "join 4 7009 exclude= a", "join 4 7010 generation=5a a"]
    {
        assert!(generation_of(line).starts_with("error 22 not%20understood"), "{line}");
    }
}
