//! What came of a run, and what every run has to come to.

use crate::host::HostState;
use crate::world::World;
use peer::failure::Failure;

#[derive(Clone, Debug)]
pub struct ClientOutcome {
    pub host: u32,
    pub state: HostState,
    pub began_ms: u64,
    pub complete_ms: Option<u64>,
    pub failures: Vec<Failure>,
    pub stored: u32,
    pub stored_again: u32,
    pub corrupt: u32,
}

/// Of one run.
#[derive(Clone, Debug)]
pub struct Report {
    pub seed: u64,
    pub pieces: u32,
    pub wire_ms: u64,
    pub clients: Vec<ClientOutcome>,
    /// Bulk bytes that left the master, in copies of the whole.
    pub copies: f64,
    /// Bulk bytes that arrived anywhere, in copies per client.
    pub received: f64,
    pub control_messages: u64,
    pub control_bytes: u64,
    pub events: u64,
    pub trace: u64,
}

impl Report {
    pub fn of(world: &World) -> Report {
        let total = world.bytes_total() as f64;
        let clients: Vec<ClientOutcome> =
            (1..world.hosts.len()).map(|n| outcome(world, n)).collect();
        let down: u64 = world.connections.network.links.iter().map(|link| link.bulk_down).sum();
        let master = &world.hosts[0].stats;
        Report {
            seed: world.setup.seed,
            pieces: world.map.count() - world.map.manifest_pieces().count(),
            wire_ms: world.wire_ms(),
            copies: world.link(0).bulk_up as f64 / total,
            received: down as f64 / total / clients.len() as f64,
            control_messages: master.control_in + master.control_out,
            control_bytes: master.control_in_bytes + master.control_out_bytes,
            events: world.clock.count(),
            trace: world.trace,
            clients,
        }
    }

    /// From the first start to the last that has everything, in wire times.
    pub fn multiple(&self) -> f64 {
        let first = self.clients.iter().map(|c| c.began_ms).min().unwrap_or(0);
        let last = self.clients.iter().filter_map(|c| c.complete_ms).max().unwrap_or(0);
        (last - first) as f64 / self.wire_ms as f64
    }

    /// One client's time from its own start.
    pub fn multiple_of(&self, host: u32) -> f64 {
        let client = &self.clients[host as usize - 1];
        let complete_ms = client.complete_ms.expect("it is complete");
        (complete_ms - client.began_ms) as f64 / self.wire_ms as f64
    }

    /// Every client but those that crashed has everything, each piece stored
    /// once, and has ended without a complaint.
    pub fn assert_sound(&self) -> &Report {
        for client in &self.clients {
            if matches!(client.state, HostState::Down | HostState::Dark) {
                continue;
            }
            let what = format!("seed {}, host {}: {client:?}", self.seed, client.host);
            assert!(client.complete_ms.is_some(), "incomplete: {what}");
            assert_eq!(client.failures, [], "{what}");
            assert_eq!(client.state, HostState::Over, "{what}");
            assert_eq!(client.stored, self.pieces, "{what}");
            assert_eq!(client.stored_again, 0, "{what}");
        }
        self
    }

    pub fn assert_within(&self, multiple: f64, copies: f64) -> &Report {
        let summary = self.summary();
        assert!(self.multiple() <= multiple, "above {multiple} wire times: {summary}");
        assert!(self.copies <= copies, "above {copies} copies: {summary}");
        self
    }

    pub fn summary(&self) -> String {
        format!(
            "n {:5}  times {:6.3}  copies {:5.2}  received {:5.3}  control {:7} messages {:9} bytes  events {:9}  seed {}",
            self.clients.len(),
            self.multiple(),
            self.copies,
            self.received,
            self.control_messages,
            self.control_bytes,
            self.events,
            self.seed
        )
    }
}

impl World {
    /// Until every client that lives has come to its end, or until that time.
    pub fn run_until(&mut self, limit_ms: u64) -> Report {
        self.run(limit_ms);
        Report::of(self)
    }
}

fn outcome(world: &World, host: usize) -> ClientOutcome {
    let at = &world.hosts[host];
    ClientOutcome {
        host: host as u32,
        state: at.state,
        began_ms: at.stats.began_ns / 1_000_000,
        complete_ms: at.stats.complete_ns.map(|ns| ns / 1_000_000),
        failures: at.stats.failures.clone(),
        // Who streams keeps a part of it; all others what they had before, too.
        stored: if at.reader.is_some() { at.stats.stored } else { at.disk.len() as u32 },
        stored_again: at.stats.stored_again,
        corrupt: at.stats.corrupt,
    }
}
