//! All there is in a run: the hosts, what connects them, the time, and what is
//! going to happen to them.
//!
//! Knows how a world is made and what is planned in it. Refuses to know what
//! follows from an event (`run`) and from an effect (`effects`). Host 0 is the
//! master. The same setup gives the same events, to the last.

use crate::clock::Clock;
use crate::connections::Connections;
use crate::content;
use crate::event::{Event, Fault};
use crate::host::{Host, HostState, Reader, Role, addr_of, port};
use crate::network::{Link, Network};
use crate::random::Random;
use peer::content::manifest::Manifest;
use peer::content::pieces::{ManifestPieces, PieceMap};
use peer::fetch::FetchOptions;
use peer::master::MasterOptions;
use peer::request::{FetchRequest, Linger};
use std::rc::Rc;

#[derive(Clone, Debug)]
pub struct Setup {
    pub seed: u64,
    pub nodes: u32,
    pub files: Vec<u64>,
    pub piece_len: u32,
    pub bytes_s: u64,
    /// From one node to another, one way.
    pub latency_us: u64,
    pub segment_len: u32,
    pub fan_out: u8,
    pub head_copies: u16,
    pub linger: Linger,
    /// Of so many SYNs one is lost; 0: none.
    pub lost_syn: u32,
    /// All stream, and keep so many bytes.
    pub window_bytes: Option<u64>,
}

impl Default for Setup {
    /// A hundred pieces over 100 Mbit/s.
    fn default() -> Setup {
        Setup {
            seed: 1,
            nodes: 1,
            files: vec![100 * 128 * 1024],
            piece_len: 128 * 1024,
            bytes_s: 12_500_000,
            latency_us: 200,
            segment_len: 16 * 1024,
            fan_out: 4,
            head_copies: 1,
            linger: Linger::Twice,
            lost_syn: 0,
            window_bytes: None,
        }
    }
}

pub struct World {
    pub setup: Setup,
    pub clock: Clock,
    pub connections: Connections,
    pub hosts: Vec<Host>,
    pub manifest: Rc<Manifest>,
    pub map: PieceMap,
    random: Random,
    /// Clients that begin yet or have not come to an end.
    pub unfinished: u32,
    /// ... of which so many stand still.
    pub frozen: u32,
    /// A digest of all that happened, to compare two runs.
    pub trace: u64,
    /// Parents that somebody accused of being frozen.
    pub said_frozen: u32,
    talks: bool,
}

impl World {
    pub fn new(setup: Setup) -> World {
        // Shown by the test harness when the test fails.
        println!("{setup:?}");
        let manifest = content::manifest(&setup.files, setup.piece_len);
        let map = PieceMap::new(ManifestPieces::of(&manifest.encode(), setup.piece_len), &manifest);
        let mut world = World {
            random: Random(setup.seed),
            clock: Clock::default(),
            connections: Connections::new(Network::new(setup.segment_len), setup.lost_syn),
            hosts: Vec::new(),
            manifest,
            map,
            unfinished: 0,
            frozen: 0,
            trace: 0,
            said_frozen: 0,
            talks: std::env::var_os("XGET_SIM_LOG").is_some(),
            setup,
        };
        let Setup { fan_out, head_copies, .. } = world.setup;
        world.add(Role::Master(MasterOptions { fan_out, head_copies, selection_bytes: 64 << 20 }));
        world.clock.at(0, Event::Start { host: 0 });
        for _ in 0..world.setup.nodes {
            world.add_client();
        }
        world
    }

    fn add(&mut self, role: Role) {
        self.hosts.push(Host::new(role));
        let link = Link::new(self.setup.bytes_s, self.setup.latency_us * 1000 / 2);
        self.connections.network.links.push(link);
    }

    fn add_client(&mut self) {
        let Setup { linger, window_bytes, .. } = self.setup;
        let sources = vec![b".".to_vec()];
        let request = FetchRequest { linger, window_bytes, ..FetchRequest::of(sources) };
        let masters = vec![addr_of(0, port(1))];
        self.add(Role::Client(Box::new(FetchOptions {
            masters: masters.into(),
            port: 0,
            request,
            memory_bytes: u64::MAX,
            makes_specials: false,
            is_resumed: true,
        })));
        if let (Some(_), Some(host)) = (window_bytes, self.hosts.last_mut()) {
            host.reader = Some(Reader::new(u64::MAX));
        }
    }

    /// One that keeps so much, or all.
    pub fn set_window(&mut self, host: u32, window_bytes: Option<u64>) {
        let at = &mut self.hosts[host as usize];
        at.reader = window_bytes.map(|_| Reader::new(u64::MAX));
        if let Role::Client(options) = &mut at.role {
            options.request.window_bytes = window_bytes;
        }
    }

    pub fn link(&self, host: u32) -> &Link {
        &self.connections.network.links[host as usize]
    }

    pub fn link_mut(&mut self, host: u32) -> &mut Link {
        &mut self.connections.network.links[host as usize]
    }

    /// A number below `below`.
    pub fn random(&mut self, below: u64) -> u64 {
        self.random.next() % below
    }

    /// All clients in an order of chance.
    pub fn shuffled(&mut self) -> Vec<u32> {
        let mut hosts: Vec<u32> = (1..=self.setup.nodes).collect();
        for at in (1..hosts.len()).rev() {
            hosts.swap(at, self.random(at as u64 + 1) as usize);
        }
        hosts
    }

    pub fn start_at(&mut self, host: u32, ms: u64) {
        self.begin_at(host, ms * 1_000_000);
    }

    fn begin_at(&mut self, host: u32, at_ns: u64) {
        self.unfinished += u32::from(self.hosts[host as usize].is_client());
        self.clock.at(at_ns, Event::Start { host });
    }

    /// All clients begin within this time, in an order of chance.
    pub fn start_all_within(&mut self, ms: u64) {
        for host in 1..self.hosts.len() as u32 {
            let at_ns = self.random(ms.max(1) * 1_000_000);
            self.begin_at(host, at_ns);
        }
    }

    pub fn fault_at(&mut self, host: u32, ms: u64, fault: Fault) {
        self.clock.at(ms * 1_000_000, Event::Fault { host, fault });
    }

    /// Something befalls somebody within this time, or nothing that matters.
    pub fn befall_one(&mut self, within_ms: u64) {
        let faults = [Fault::Crash, Fault::PowerLoss, Fault::Freeze, Fault::Thaw];
        let fault = faults[self.random(faults.len() as u64) as usize];
        let host = 1 + self.random(u64::from(self.setup.nodes)) as u32;
        let at_ms = self.random(within_ms);
        self.fault_at(host, at_ms, fault);
    }

    pub fn bytes_total(&self) -> u64 {
        self.setup.files.iter().sum()
    }

    /// How long the contents take over one link.
    pub fn wire_ms(&self) -> u64 {
        self.bytes_total() * 1000 / self.setup.bytes_s
    }

    /// How far below the master a host stands in a stripe, unless one of those
    /// above it is no more.
    pub fn level_among_the_living(&self, host: u32, stripe: usize) -> Option<u32> {
        let (mut at, mut level) = (host, 0);
        while at != 0 {
            let host = &self.hosts[at as usize];
            let lives = host.state == HostState::Up && level < 1000;
            at = *host.parents.get(stripe).filter(|_| lives)?;
            level += 1;
        }
        Some(level)
    }

    pub fn say(&self, host: u32, text: &str) {
        if self.talks {
            println!("{:9.3} {host}: {text}", self.clock.now_ns() as f64 / 1e9);
        }
    }

    /// Mixes what happens into the trace.
    pub fn note(&mut self, host: u32, &(kind, number): &(u64, u32)) {
        for word in [self.clock.now_ns(), u64::from(host), kind, u64::from(number)] {
            self.trace = (self.trace ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        }
    }
}
