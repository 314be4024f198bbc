//! Many real nodes over a virtual network and a virtual clock.

#![allow(clippy::print_stdout)] // what a run looked like

mod clock;
mod content;
mod host;
mod network;
mod report;
mod world;

use report::Report;
use world::{Setup, World};

fn at_once(setup: Setup) -> Report {
    let mut world = World::new(setup);
    world.start_all_within(10);
    let limit_ms = 20 * world.wire_ms() + 60_000;
    world.run_until(limit_ms)
}

#[test]
fn equal_links_at_once() {
    for nodes in [1, 2, 5, 31, 100] {
        let report = at_once(Setup { nodes, seed: u64::from(nodes), ..Setup::default() });
        println!("{}", report.summary());
        if std::env::var_os("XGET_SIM_LAX").is_none() {
            report.assert_sound();
        }
    }
}

/// `cargo test --release --test sim -- --ignored --nocapture table`
#[test]
#[ignore = "a table to look at"]
fn table() {
    let only = std::env::var("XGET_SIM_NODES").ok();
    let counts = match &only {
        Some(list) => list.split(',').map(|n| n.parse().unwrap()).collect(),
        None => vec![1, 4, 15, 31, 91, 100, 300, 1000],
    };
    for nodes in counts {
        let files = vec![400 * 128 * 1024];
        let report = at_once(Setup { nodes, files, ..Setup::default() });
        println!("{}", report.summary());
        if std::env::var_os("XGET_SIM_LAX").is_none() {
            report.assert_sound();
        }
    }
}
