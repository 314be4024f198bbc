//! Numbers to look at, by hand:
//! `cargo test --release --test sim -- --ignored --nocapture table`

use crate::calm::at_once;
use crate::world::{Setup, World};

fn counts(usual: &[u32]) -> Vec<u32> {
    match std::env::var("XGET_SIM_NODES") {
        Ok(list) => list.split(',').map(|n| n.parse().expect("a number")).collect(),
        Err(_) => usual.to_vec(),
    }
}

#[test]
#[ignore = "a table to look at"]
fn table_of_equal_links() {
    for nodes in counts(&[1, 4, 15, 31, 91, 100, 300, 1000]) {
        let files = vec![400 * 128 * 1024];
        let report = at_once(Setup { nodes, files, ..Setup::default() });
        println!("{}", report.summary());
        report.assert_sound();
    }
}

#[test]
#[ignore = "a course to look at"]
fn course_of_one_run() {
    for nodes in counts(&[31]) {
        let number =
            |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let files = vec![number("XGET_SIM_PIECES").unwrap_or(400) * 128 * 1024];
        let seed = number("XGET_SIM_SEED").unwrap_or(1);
        let mut world = World::new(Setup { nodes, files, seed, ..Setup::default() });
        world.start_all_within(10);
        let mut before = 0;
        for ms in (0..20 * world.wire_ms()).step_by(100) {
            let report = world.run_until(ms);
            let up: u64 = world.network.links.iter().map(|link| link.bulk_up).sum();
            let used = (up - before) as f64 * 10.0 / world.setup.bytes_s as f64;
            let held = || report.clients.iter().map(|client| client.stored);
            println!(
                "{ms:6} ms: uplinks used {:.2}, held {:?} to {:?}",
                used / f64::from(nodes),
                held().min(),
                held().max()
            );
            before = up;
            if report.clients.iter().all(|client| client.complete_ms.is_some()) {
                break;
            }
        }
        for host in 1..=nodes {
            let levels: Vec<u32> = (0..4).map(|stripe| world.level(host, stripe)).collect();
            let up = world.network.links[host as usize].bulk_up as f64;
            let sent = up / world.bytes_total() as f64;
            println!("{host}: levels {levels:?}, {sent:.3} copies sent");
        }
    }
}
