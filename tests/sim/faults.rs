//! Runs in which nodes, links and the master fail.

use crate::event::Fault;
use crate::host::Lie;
use crate::report::Report;
use crate::world::{Setup, World};

fn world(nodes: u32, seed: u64) -> World {
    World::new(Setup { nodes, seed, ..Setup::default() })
}

/// The n-th of a hundred nodes and so on fail at random moments.
fn with_faults(nodes: u32, seed: u64, percent: u32, fault: Fault) -> Report {
    let mut world = world(nodes, seed);
    world.start_all_within(10);
    let wire_ms = world.wire_ms();
    for _ in 0..nodes * percent / 100 {
        let host = 1 + world.random(u64::from(nodes)) as u32;
        let at_ms = 20 + world.random(wire_ms);
        world.fault_at(host, at_ms, fault);
    }
    let report = world.run_until(200_000);
    println!("{percent} % {fault:?}: {}", report.summary());
    report.assert_sound();
    report
}

#[test]
fn some_crash() {
    for (percent, times) in [(5, 2.0), (20, 2.5)] {
        for seed in 1..4 {
            with_faults(60, seed, percent, Fault::Crash).assert_within(times, 2.5);
        }
    }
}

#[test]
fn some_lose_power() {
    for (percent, times) in [(5, 1.8), (20, 2.5)] {
        for seed in 1..4 {
            with_faults(60, seed, percent, Fault::PowerLoss).assert_within(times, 4.0);
        }
    }
}

#[test]
fn some_crash_and_begin_again_with_what_they_have() {
    let mut world = world(30, 5);
    world.start_all_within(10);
    for host in [3, 9, 17] {
        world.fault_at(host, 500, Fault::Crash);
        world.start_at(host, 700);
    }
    let report = world.run_until(60_000);
    report.assert_sound().assert_within(2.0, 2.0);
    assert!(report.received < 1.1, "{}", report.summary());
}

#[test]
fn some_freeze_for_good() {
    for seed in 1..4 {
        let mut world = world(40, seed);
        world.start_all_within(10);
        for host in [5, 23] {
            world.fault_at(host, 300 + world.setup.seed * 50, Fault::Freeze);
            // So that the run comes to an end.
            world.fault_at(host, 40_000, Fault::Crash);
        }
        let report = world.run_until(100_000);
        println!("{}", report.summary());
        report.assert_sound().assert_within(1.8, 1.5);
    }
}

#[test]
fn some_freeze_and_thaw() {
    for thaw_ms in [900, 4_000, 30_000] {
        let mut world = world(30, thaw_ms);
        world.start_all_within(10);
        for host in [4, 11, 19] {
            world.fault_at(host, 400, Fault::Freeze);
            world.fault_at(host, thaw_ms, Fault::Thaw);
        }
        let report = world.run_until(100_000);
        println!("{}", report.summary());
        report.assert_sound();
    }
}

#[test]
fn a_slow_node_slows_nobody_else() {
    // The first stands at the root of a stripe, so that all wait for it until
    // it is found out, and the link that it takes then carries all they missed.
    for slow in [1, 7, 20] {
        let (seed, files) = (slow, vec![800 * 128 * 1024]);
        let mut world = World::new(Setup { nodes: 30, seed, files, ..Setup::default() });
        world.link_mut(slow as u32).up_bytes_s /= 10;
        world.link_mut(slow as u32).down_bytes_s /= 10;
        world.start_all_within(10);
        let report = world.run_until(600_000);
        let others = (1..=30).filter(|&host| u64::from(host) != slow);
        let worst = others.map(|host| report.multiple_of(host)).fold(0.0, f64::max);
        println!("slow {slow}: others {worst:.3} {}", report.summary());
        report.assert_sound();
        let bound = 1.12;
        assert!(worst < bound, "others took {worst} times the wire: {}", report.summary());
        // The slow one has nobody but the master in the end.
        assert!(report.copies < 2.0, "{}", report.summary());
    }
}

/// A piece on its way when the first corrupt one is noticed may be corrupt as well.
#[test]
fn who_sends_corrupt_pieces_is_banned() {
    for (every, corrupt_max) in [(1, 8), (7, 4), (50, 4)] {
        let mut corrupt_of_all = 0;
        for seed in 1..7 {
            let mut world = world(30, seed);
            world.hosts[6].corrupt_every = Some(every);
            world.start_all_within(10);
            let report = world.run_until(60_000);
            report.assert_sound().assert_within(1.6, 1.5);
            let corrupt: u32 = report.clients.iter().map(|client| client.corrupt).sum();
            let children = world.hosts.iter().filter(|host| host.parents.contains(&6)).count();
            println!("one in {every}: {corrupt} corrupt, {children} children {}", report.summary());
            assert!(corrupt <= corrupt_max, "{corrupt} pieces were corrupt: {}", report.summary());
            assert!(corrupt == 0 || children == 0, "it is a parent yet: {}", report.summary());
            corrupt_of_all += corrupt;
        }
        assert!(corrupt_of_all > 0, "nothing was corrupt");
    }
}

/// How long the last of the others takes, in wire times, where three in ten lie like
/// this and were there before; from its own start.
fn beside_liars(nodes: u32, seed: u64, lie: Option<Lie>) -> f64 {
    let files = vec![600 * 128 * 1024];
    let mut world = World::new(Setup { nodes, seed, files, ..Setup::default() });
    let liars = if lie.is_some() { nodes * 3 / 10 } else { 0 };
    for host in 1..=nodes {
        world.hosts[host as usize].lie = lie.filter(|_| host <= liars);
        let at_ms = if host <= liars { 0 } else { 20 + world.random(10) };
        world.start_at(host, at_ms);
        if host <= liars {
            // So that the run comes to an end.
            world.fault_at(host, 60_000, Fault::Crash);
        }
    }
    let report = world.run_until(90_000);
    let honest = liars + 1..=nodes;
    let worst = honest.clone().map(|host| report.multiple_of(host)).fold(0.0, f64::max);
    let failed = |&host: &u32| !report.clients[host as usize - 1].failures.is_empty();
    assert_eq!(honest.filter(failed).count(), 0, "{lie:?}: {}", report.summary());
    println!("{liars} of {nodes} {lie:?} seed {seed}: {worst:.3}, copies {:.2}", report.copies);
    worst
}

#[test]
fn three_liars_in_ten_cost_the_others_little() {
    for seed in 1..5 {
        let alone = beside_liars(10, seed, None);
        for lie in Lie::ALL {
            let times = beside_liars(10, seed, Some(lie)) / alone;
            // Those that take no part take no bytes either; the others do, and seven that
            // serve have no room for ten.
            let bound = if lie.is_idle() { 1.4 } else { 1.6 };
            assert!(times <= bound, "seed {seed}, {lie:?}: {times} times as long");
        }
    }
}

#[test]
fn the_master_begins_again() {
    for (down_ms, up_ms) in [(200, 700), (500, 5_000), (900, 2_000)] {
        let mut world = world(20, down_ms);
        world.start_all_within(10);
        world.fault_at(0, down_ms, Fault::Crash);
        world.start_at(0, up_ms);
        let report = world.run_until(120_000);
        println!("{}", report.summary());
        report.assert_sound();
        let last_ms = report.clients.iter().filter_map(|c| c.complete_ms).max();
        let limit_ms = up_ms + 3 * report.wire_ms;
        assert!(last_ms < Some(limit_ms), "{last_ms:?} {}", report.summary());
    }
}

#[test]
fn the_master_stands_still_for_a_while() {
    let mut world = world(20, 3);
    world.start_all_within(10);
    world.fault_at(0, 400, Fault::Freeze);
    world.fault_at(0, 12_000, Fault::Thaw);
    world.run_until(120_000).assert_sound();
}

#[test]
fn a_lost_syn_accuses_nobody() {
    for (lost_syn, seed) in [(30, 3), (50, 2), (100, 3)] {
        let mut world = World::new(Setup { nodes: 60, seed, lost_syn, ..Setup::default() });
        world.start_all_within(10);
        let report = world.run_until(60_000);
        println!("{}", report.summary());
        report.assert_sound();
        assert_eq!(world.said_frozen, 0, "one in {lost_syn} lost: {}", report.summary());
    }
}
