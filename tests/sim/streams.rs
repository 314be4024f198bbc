//! Nodes that stream: they keep a window of what they fetch, and hand it to readers.

use crate::host::Reader;
use crate::report::Report;
use crate::scenario::Scenario;
use crate::world::{Setup, World};

const MIB: u64 = 1 << 20;

fn stream(words: &str) -> crate::scenario::Outcome {
    let outcome = Scenario::parse(words).expect("good words").run();
    println!("{}", outcome.line());
    assert_eq!(outcome.failed, 0, "{}", outcome.line());
    outcome
}

#[test]
fn those_who_stream_are_as_fast_as_those_who_keep_all() {
    for words in ["nodes=31 pieces=512 window_mib=8", "nodes=100 pieces=512 window_mib=16 seed=2"] {
        let outcome = stream(words);
        assert!(outcome.last < 1.2 && outcome.report.copies < 1.3, "{}", outcome.line());
        assert!(outcome.report.received < 1.05, "pieces came twice: {}", outcome.line());
    }
}

#[test]
fn nobody_keeps_more_than_its_window() {
    let setup =
        Setup { nodes: 20, files: vec![64 * MIB], window_bytes: Some(8 * MIB), ..Setup::default() };
    let mut world = World::new(setup);
    world.hosts[7].reader = Some(Reader::new(3_000_000));
    world.start_all_within(10);
    world.run_until(120_000).assert_sound();
    let pieces = (8 * MIB) as u32 / world.setup.piece_len;
    for host in &world.hosts[1..] {
        // In steps, and one that is being written.
        assert!(host.stats.held_max <= pieces + pieces / 16 + 1, "{}", host.stats.held_max);
    }
}

#[test]
fn where_all_read_slowly_all_keep_their_pace_and_the_master_sends_one_copy() {
    let outcome = stream("nodes=31 pieces=512 window_mib=8 slow_readers=100");
    assert!(outcome.slow_worst < 2.2 && outcome.report.copies < 1.2, "{}", outcome.line());
}

#[test]
fn a_third_that_reads_at_half_the_rate_holds_up_nobody_else() {
    for seed in 1..4 {
        let outcome =
            stream(&format!("nodes=31 pieces=2048 window_mib=32 slow_readers=33 seed={seed}"));
        // Alone they take 1.01; those who have fallen behind have a sixteenth of the uplink.
        assert!(outcome.last < 1.1, "{}", outcome.line());
        assert!(outcome.slow_worst < 2.9 && outcome.report.copies < 2.1, "{}", outcome.line());
    }
}

#[test]
fn those_who_fall_behind_one_after_the_other_stay_together() {
    for seed in [2, 12] {
        let words = "nodes=31 pieces=4096 window_mib=32 slow_readers=33 reader_rate=80";
        let outcome = stream(&format!("{words} seed={seed}"));
        assert!(outcome.last < 1.1, "{}", outcome.line());
        assert!(outcome.slow_worst < 2.1 && outcome.report.copies < 2.1, "{}", outcome.line());
    }
}

#[test]
fn a_reader_that_stands_still_holds_up_nobody_else() {
    let outcome = stream("nodes=20 pieces=512 window_mib=8 slow_readers=5 reader_rate=5 seed=3");
    assert!(outcome.last < 1.2, "{}", outcome.line());
}

fn late(own_window: Option<u64>) -> Report {
    let setup =
        Setup { nodes: 12, files: vec![64 * MIB], window_bytes: Some(8 * MIB), ..Setup::default() };
    let mut world = World::new(setup);
    world.set_window(12, own_window);
    (1..12).for_each(|host| world.start_at(host, 0));
    world.start_at(12, 3_000);
    let report = world.run_until(120_000);
    println!("{}", report.summary());
    report.assert_sound();
    report
}

#[test]
fn who_comes_when_all_have_passed_the_start_gets_it_of_the_master() {
    let report = late(Some(8 * MIB));
    assert!(report.copies < 2.3, "{}", report.summary());
    assert!(report.multiple_of(12) < 2.0, "{}", report.multiple_of(12));
    let others = (1..12).map(|host| report.multiple_of(host)).fold(0.0, f64::max);
    assert!(others < 1.2, "{others}: held up by who came late");
}

#[test]
fn who_keeps_all_gets_all_beside_those_who_stream() {
    let report = late(None);
    assert!(report.multiple_of(12) < 2.5, "{}", report.multiple_of(12));
}

#[test]
fn those_who_stream_outlive_crashes() {
    for seed in 1..4 {
        let outcome = stream(&format!("nodes=40 pieces=256 window_mib=8 crash=20 seed={seed}"));
        assert!(outcome.last < 1.6, "{}", outcome.line());
    }
}
