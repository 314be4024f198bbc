//! One run as it is described by a line of words, and what came of it as one
//! line: `nodes=1000 pieces=400 crash=10`.
//!
//! Knows what each word does to a world; refuses to judge the outcome, which
//! is up to `calm`, `faults` and `table`.

use crate::event::Fault;
use crate::host::{HostState, Reader};
use crate::report::Report;
use crate::world::{Setup, World};
use std::fmt;

/// What can be said of a run; shares are in percent.
#[derive(Clone, Debug, PartialEq)]
// fields: one for each word
pub struct Scenario {
    pub seed: u64,
    pub nodes: u32,
    pub pieces: u32,
    pub piece_kib: u32,
    /// Each node's link.
    pub mbit: u32,
    /// The head node's uplink as a share of the nodes' links: 1000 is ten times.
    pub head_rate: u32,
    /// `--head`: how many copies the routing means to send.
    pub head_copies: u32,
    /// From the first start to the last, as a share of the wire time.
    pub spread: u32,
    /// This share of the nodes has links of `slow_rate` percent.
    pub slow: u32,
    pub slow_rate: u32,
    /// So many nodes have a tenth of the link.
    pub tenth: u32,
    /// So many nodes freeze for good after a third of the wire time.
    pub stalled: u32,
    /// Shares that die, vanish and freeze for good at moments of chance.
    pub crash: u32,
    pub dark: u32,
    pub freeze: u32,
    /// The grain of sharing of links.
    pub segment_kib: u32,
    pub latency_us: u32,
    /// `-m`: children of a node, and stripes.
    pub fan_out: u32,
    /// Of so many SYNs one is lost.
    pub lost_syn: u32,
    /// All stream, with a window of so many MiB; 0: none does.
    pub window_mib: u32,
    /// This share of them has readers that take so many percent of the link.
    pub slow_readers: u32,
    pub reader_rate: u32,
}

impl Default for Scenario {
    fn default() -> Scenario {
        Scenario {
            seed: 1,
            nodes: 31,
            pieces: 400,
            piece_kib: 128,
            mbit: 100,
            head_rate: 100,
            head_copies: 1,
            spread: 0,
            slow: 0,
            slow_rate: 50,
            tenth: 0,
            stalled: 0,
            crash: 0,
            dark: 0,
            freeze: 0,
            segment_kib: 16,
            latency_us: 200,
            fan_out: 4,
            lost_syn: 0,
            window_mib: 0,
            slow_readers: 0,
            reader_rate: 50,
        }
    }
}

impl Scenario {
    /// Reads `key=value` words; what is not said is as usual.
    pub fn parse(words: &str) -> Result<Scenario, String> {
        let mut scenario = Scenario::default();
        for word in words.split_whitespace() {
            let (key, value) = word.split_once('=').ok_or(format!("{word}: not key=value"))?;
            let number: u64 = value.parse().map_err(|_| format!("{word}: not a number"))?;
            if key == "seed" {
                scenario.seed = number;
                continue;
            }
            let field = scenario.field(key).ok_or(format!("{key}: no such word"))?;
            *field = u32::try_from(number).map_err(|_| format!("{word}: too large"))?;
        }
        Ok(scenario)
    }

    fn field(&mut self, key: &str) -> Option<&mut u32> {
        self.fields().into_iter().find(|(name, _)| *name == key).map(|(_, field)| field)
    }

    fn fields(&mut self) -> [(&'static str, &mut u32); 21] {
        [
            ("nodes", &mut self.nodes),
            ("pieces", &mut self.pieces),
            ("piece_kib", &mut self.piece_kib),
            ("mbit", &mut self.mbit),
            ("head", &mut self.head_rate),
            ("head_copies", &mut self.head_copies),
            ("spread", &mut self.spread),
            ("slow", &mut self.slow),
            ("slow_rate", &mut self.slow_rate),
            ("tenth", &mut self.tenth),
            ("stalled", &mut self.stalled),
            ("crash", &mut self.crash),
            ("dark", &mut self.dark),
            ("freeze", &mut self.freeze),
            ("segment_kib", &mut self.segment_kib),
            ("latency_us", &mut self.latency_us),
            ("fan_out", &mut self.fan_out),
            ("lost_syn", &mut self.lost_syn),
            ("window_mib", &mut self.window_mib),
            ("slow_readers", &mut self.slow_readers),
            ("reader_rate", &mut self.reader_rate),
        ]
    }

    fn setup(&self) -> Setup {
        let piece_len = self.piece_kib * 1024;
        Setup {
            seed: self.seed,
            nodes: self.nodes,
            files: vec![u64::from(self.pieces) * u64::from(piece_len)],
            piece_len,
            bytes_s: u64::from(self.mbit) * 125_000,
            latency_us: u64::from(self.latency_us),
            segment_len: self.segment_kib * 1024,
            head_copies: self.head_copies as u16,
            fan_out: self.fan_out as u8,
            lost_syn: self.lost_syn,
            window_bytes: (self.window_mib > 0).then_some(u64::from(self.window_mib) << 20),
            ..Setup::default()
        }
    }

    /// The world in which it is about to happen.
    fn world(&self) -> World {
        let mut world = World::new(self.setup());
        let wire_ms = world.wire_ms();
        let scale = |bytes_s: u64, percent: u32| bytes_s * u64::from(percent) / 100;
        let head_node = world.link_mut(0);
        head_node.up_bytes_s = scale(head_node.up_bytes_s, self.head_rate);
        let mut victims = world.shuffled();
        let mut take = |count: u32| victims.split_off(victims.len() - count as usize);
        let share = |percent: u32| self.nodes * percent / 100;
        for (hosts, percent) in [(take(share(self.slow)), self.slow_rate), (take(self.tenth), 10)] {
            for host in hosts {
                let link = world.link_mut(host);
                link.up_bytes_s = scale(link.up_bytes_s, percent);
                link.down_bytes_s = scale(link.down_bytes_s, percent);
            }
        }
        for host in take(share(self.slow_readers)) {
            let rate = scale(world.setup.bytes_s, self.reader_rate);
            world.hosts[host as usize].reader = Some(Reader::new(rate));
        }
        for host in take(self.stalled) {
            world.fault_at(host, wire_ms / 3, Fault::Freeze);
        }
        let spread_ms = wire_ms * u64::from(self.spread) / 100;
        world.start_all_within(spread_ms.max(10));
        for (percent, fault) in [
            (self.crash, Fault::Crash),
            (self.dark, Fault::PowerLoss),
            (self.freeze, Fault::Freeze),
        ] {
            for host in take(share(percent)) {
                let at_ms = 20 + world.random(wire_ms + spread_ms);
                world.fault_at(host, at_ms, fault);
            }
        }
        world
    }

    /// Lets it happen.
    pub fn run(&self) -> Outcome {
        let mut world = self.world();
        let wire_ms = world.wire_ms();
        let limit_ms = 20 * wire_ms + 120_000;
        let step_ms = (wire_ms / 50).max(1);
        let mut course = Vec::new();
        let mut depth = 0;
        for ms in (step_ms..limit_ms).step_by(step_ms as usize) {
            let goes_on = world.run_survivors(ms);
            course.push(Moment::of(&world, ms));
            depth = depth.max(deepest(&world));
            if !goes_on {
                break;
            }
        }
        Outcome::of(self, &world, depth, course)
    }
}

impl fmt::Display for Scenario {
    /// Whatever is not as usual.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (mut own, mut usual) = (self.clone(), Scenario::default());
        write!(f, "seed={}", self.seed)?;
        for ((name, value), (_, usual)) in own.fields().into_iter().zip(usual.fields()) {
            if name == "nodes" || name == "pieces" || value != usual {
                write!(f, " {name}={value}")?;
            }
        }
        Ok(())
    }
}

/// How far below the master the lowest stands whose parents all live.
fn deepest(world: &World) -> u32 {
    let lives = |host: &u32| world.hosts[*host as usize].state == HostState::Up;
    let stripes = usize::from(world.setup.fan_out);
    let hosts = (1..world.hosts.len() as u32).filter(lives);
    let levels = hosts.flat_map(|host| (0..stripes).map(move |stripe| (host, stripe)));
    levels
        .filter_map(|(host, stripe)| world.level_among_the_living(host, stripe))
        .max()
        .unwrap_or(0)
}

/// The pieces that are where at one time, as shares of all.
#[derive(Clone, Debug)]
pub struct Moment {
    pub ms: u64,
    pub least: f64,
    pub median: f64,
    pub most: f64,
    pub copies: f64,
}

impl Moment {
    fn of(world: &World, ms: u64) -> Moment {
        let lives = |state| matches!(state, HostState::Up | HostState::Over);
        let clients = world.hosts[1..].iter().filter(|host| lives(host.state));
        let mut held: Vec<u32> = clients.map(|host| host.disk.len() as u32).collect();
        held.sort_unstable();
        let count = f64::from(world.map.count() - world.map.manifest_pieces().count());
        let share = |at: Option<&u32>| at.map_or(0.0, |&held| f64::from(held) / count);
        Moment {
            ms,
            least: share(held.first()),
            median: share(held.get(held.len() / 2)),
            most: share(held.last()),
            copies: world.link(0).bulk_up as f64 / world.bytes_total() as f64,
        }
    }
}

/// What came of it. Times are in wire times: what the bytes need over the
/// slower of a node's downlink and the head node's uplink.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub scenario: String,
    pub report: Report,
    pub course: Vec<Moment>,
    pub depth: u32,
    /// From the last start to the last completion among the nodes with full
    /// links.
    pub last: f64,
    /// Each from its own start.
    pub own_median: f64,
    pub own_worst: f64,
    /// The same of the nodes with slow links, in wire times of their own.
    pub slow_worst: f64,
    /// Survivors that did not come to a good end.
    pub failed: usize,
    pub survivors: usize,
}

impl Outcome {
    fn of(scenario: &Scenario, world: &World, depth: u32, course: Vec<Moment>) -> Outcome {
        let report = Report::of(world);
        let usual = world.setup.bytes_s;
        let head_bytes_s = world.link(0).up_bytes_s;
        let wire =
            |bytes_s: u64| world.bytes_total() as f64 * 1000.0 / bytes_s.min(head_bytes_s) as f64;
        let began = report.clients.iter().map(|c| c.began_ms).max().unwrap_or(0);
        let (mut own, mut slow, mut last, mut failed) = (Vec::new(), 0.0_f64, 0.0_f64, 0);
        let lives = |state| !matches!(state, HostState::Down | HostState::Dark | HostState::Frozen);
        for client in report.clients.iter().filter(|client| lives(client.state)) {
            let Some(complete_ms) = client.complete_ms else {
                failed += 1;
                continue;
            };
            failed += usize::from(!client.failures.is_empty());
            let rate = world.connections.network.links[client.host as usize].down_bytes_s;
            let multiple = (complete_ms - client.began_ms) as f64 / wire(rate);
            let at = &world.hosts[client.host as usize];
            let reads = at.reader.map_or(u64::MAX, |reader| reader.bytes_s);
            if rate.min(reads) < usual {
                slow = slow.max(multiple);
            } else {
                own.push(multiple);
                last = last.max((complete_ms as f64 - began as f64) / wire(rate));
            }
        }
        own.sort_by(f64::total_cmp);
        let survivors = report.clients.iter().filter(|client| lives(client.state)).count();
        Outcome {
            scenario: scenario.to_string(),
            depth,
            last,
            own_median: own.get(own.len() / 2).copied().unwrap_or(0.0),
            own_worst: own.last().copied().unwrap_or(0.0),
            slow_worst: slow,
            failed,
            survivors,
            course,
            report,
        }
    }

    pub fn messages_per_node(&self) -> f64 {
        self.report.control_messages as f64 / self.report.clients.len() as f64
    }

    /// One line for those who look at many.
    pub fn line(&self) -> String {
        let nodes = self.report.clients.len() as f64;
        format!(
            "last {:6.3}  own median {:6.3} worst {:6.3}  slow {:6.3}  depth {:2}  copies {:5.2}  received {:5.3}  messages {:6.1} bytes {:8.0} per node  failed {}/{}  {}",
            self.last,
            self.own_median,
            self.own_worst,
            self.slow_worst,
            self.depth,
            self.report.copies,
            self.report.received,
            self.messages_per_node(),
            self.report.control_bytes as f64 / nodes,
            self.failed,
            self.survivors,
            self.scenario
        )
    }
}

#[test]
#[ignore = "one run, described by XGET_SIM"]
fn one_run() {
    let words = std::env::var("XGET_SIM").unwrap_or_default();
    let scenario = Scenario::parse(&words).expect("XGET_SIM is made of key=value words");
    let began = std::time::Instant::now();
    let outcome = scenario.run();
    if std::env::var_os("XGET_SIM_COURSE").is_some() {
        for at in &outcome.course {
            println!(
                "{:7} ms: held {:5.3} {:5.3} {:5.3}, copies {:5.2}",
                at.ms, at.least, at.median, at.most, at.copies
            );
        }
    }
    println!("{}", outcome.line());
    let elapsed = began.elapsed().as_secs_f64();
    let Report { events, trace, .. } = outcome.report;
    println!("{elapsed:.1} s, {events} events, trace {trace:016x}");
}

#[test]
fn words_are_read_and_written() {
    let scenario = Scenario::parse("nodes=7 crash=10 seed=3").expect("good words");
    assert_eq!((scenario.nodes, scenario.crash, scenario.seed), (7, 10, 3));
    assert_eq!(scenario.to_string(), "seed=3 nodes=7 pieces=400 crash=10");
    assert_eq!(Scenario::parse(&scenario.to_string()), Ok(scenario));
    assert!(Scenario::parse("nodes").is_err() && Scenario::parse("fog=1").is_err());
}
