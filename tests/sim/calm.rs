//! Runs in which nothing fails.

use crate::host::{Host, HostState};
use crate::report::Report;
use crate::world::{Setup, World};
use peer::request::Linger;

/// All begin within ten milliseconds, as machines do that get power together.
pub fn at_once(setup: Setup) -> Report {
    let mut world = World::new(setup);
    world.start_all_within(10);
    let limit_ms = 10 * world.wire_ms() + 60_000;
    world.run_until(limit_ms)
}

#[test]
fn equal_links_at_once() {
    // The fill of the trees is a larger part of the few pieces here than of
    // anything real: see `table`.
    for (nodes, times) in [(1, 1.02), (2, 1.2), (5, 1.3), (31, 1.3), (100, 1.35)] {
        let report = at_once(Setup { nodes, seed: u64::from(nodes), ..Setup::default() });
        println!("{}", report.summary());
        report.assert_sound().assert_within(times, 1.2);
        assert!(report.received < 1.03, "pieces came twice: {}", report.summary());
    }
}

#[test]
fn several_files_of_odd_sizes() {
    let files = vec![3_000_001, 131_073, 9_999_999, 5_000_000];
    let report = at_once(Setup { nodes: 20, seed: 3, files, ..Setup::default() });
    report.assert_sound().assert_within(1.4, 1.15);
}

#[test]
fn other_fan_outs() {
    for fan_out in [1, 2, 3, 8] {
        let report = at_once(Setup { nodes: 20, fan_out, seed: 9, ..Setup::default() });
        println!("fan-out {fan_out}: {}", report.summary());
        report.assert_sound().assert_within(2.5, 1.5);
    }
}

#[test]
fn a_manifest_of_many_pieces_comes_through_the_trees() {
    let (files, piece_len) = (vec![20 * 1024 * 1024; 2], 4096);
    let setup = Setup { nodes: 12, seed: 4, files, piece_len, ..Setup::default() };
    let mut world = World::new(setup);
    let manifest_len = f64::from(world.map.manifest_pieces().count()) * f64::from(piece_len);
    // If all came from the master they would take a tenth of the time besides.
    assert!(12.0 * manifest_len > 0.09 * world.bytes_total() as f64);
    world.start_all_within(10);
    world.run_until(60_000).assert_sound().assert_within(1.09, 1.15);
}

#[test]
fn arrivals_spread_over_the_whole_transfer() {
    for seed in 1..4 {
        let mut world = World::new(Setup { nodes: 40, seed, ..Setup::default() });
        let wire_ms = world.wire_ms();
        world.start_all_within(3 * wire_ms);
        let report = world.run_until(60_000);
        println!("{}", report.summary());
        report.assert_sound();
        // The master's link is never used for more than others leave free.
        assert!(report.copies < report.multiple(), "{}", report.summary());
        let worst = (1..=40).map(|host| report.multiple_of(host)).fold(0.0, f64::max);
        assert!(worst < 3.0, "one took {worst} times the wire: {}", report.summary());
    }
}

#[test]
fn who_comes_when_all_have_left_is_served_by_the_master() {
    let mut world = World::new(Setup { nodes: 5, seed: 6, ..Setup::default() });
    for host in 1..5 {
        world.start_at(host, 0);
    }
    world.start_at(5, 120_000);
    world.run_until(100_000);
    let over = |host: &Host| host.state == HostState::Over;
    assert!(world.hosts[1..5].iter().all(over), "somebody is there yet");
    let before = Report::of(&world).copies;
    let report = world.run_until(300_000);
    report.assert_sound();
    assert!(report.multiple_of(5) < 1.1, "{report:?}");
    let own = report.copies - before;
    assert!((0.99..1.05).contains(&own), "{own} copies for it left the master");
}

#[test]
fn who_comes_while_others_linger_is_not_cut_off() {
    for ms in [1_100, 1_500, 2_000] {
        let linger = Linger::Millis(20_000);
        let mut world = World::new(Setup { nodes: 6, seed: 7, linger, ..Setup::default() });
        for host in 1..6 {
            world.start_at(host, 0);
        }
        world.start_at(6, ms);
        let report = world.run_until(120_000);
        report.assert_sound();
        assert!(report.multiple_of(6) < 1.6, "at {ms} ms: {report:?}");
    }
}

#[test]
fn who_is_slow_is_not_cut_off_by_those_who_leave() {
    // Each leaves twice its own time after its start at the latest.
    let mut world = World::new(Setup { nodes: 6, seed: 8, ..Setup::default() });
    world.link_mut(6).down_bytes_s /= 8;
    world.start_all_within(10);
    world.run_until(120_000).assert_sound();
}

#[test]
fn the_same_seed_gives_the_same_events() {
    let trace = |seed| {
        let mut world = World::new(Setup { nodes: 25, seed, ..Setup::default() });
        world.start_all_within(500);
        for _ in 0..4 {
            world.befall_one(1_500);
        }
        world.run_until(120_000).trace
    };
    assert_eq!(trace(1), trace(1));
    assert_ne!(trace(1), trace(2));
}

/// One has the first half of the stripe that the other feeds it, and both have
/// the other stripe: each then asks the other for the rest.
#[test]
fn two_who_feed_each_other_soon_ask_the_master() {
    for start_ms in [1, 2, 5] {
        let mut world = World::new(Setup { nodes: 2, fan_out: 2, ..Setup::default() });
        let first = world.map.manifest_pieces().count();
        for piece in (first..world.map.count()).filter(|piece| piece % 2 == 1) {
            world.hosts[1].disk.insert(piece);
            world.hosts[2].disk.insert(piece);
        }
        for piece in first..world.map.count() / 2 {
            world.hosts[2].disk.insert(piece);
        }
        world.start_at(1, 0);
        world.start_at(2, start_ms);
        let report = world.run_until(60_000);
        println!("{}", report.summary());
        report.assert_sound().assert_within(0.59, 0.5);
    }
}
