//! One simulated machine: its node, its disk, its address, what it did.
//!
//! Knows which state machine runs there and what outlives it. Refuses to know
//! links (`network`) and who is at the other end of a connection (`connections`).

use ninep::server::ConnId;
use peer::conn::{ConnEffect, ConnEvent};
use peer::failure::Failure;
use peer::fetch::{FetchInput, FetchOptions, Fetcher};
use peer::master::{Master, MasterInput, MasterOptions};
use peer::namespace::NameSpace;
use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::network::Item;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostState {
    /// Not begun, or crashed and not begun again.
    Down,
    Up,
    Frozen,
    /// The machine is gone without a word.
    Dark,
    /// The process has ended; what it had queued leaves still.
    Over,
}

/// What a host does wrong to those who fetch from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Answers everything but reads.
    Mute,
    /// Fetches nothing, so that it truly has nothing to give.
    Idle,
    /// Sends a byte less of each piece.
    Short,
    /// Sends wrong bytes.
    Wrong,
}

impl Lie {
    pub const ALL: [Lie; 4] = [Lie::Mute, Lie::Idle, Lie::Short, Lie::Wrong];

    /// It takes no part: what it says is made up.
    pub fn is_idle(self) -> bool {
        matches!(self, Lie::Mute | Lie::Idle)
    }
}

pub enum Role {
    Master(MasterOptions),
    Client(Box<FetchOptions>),
}

/// The state machine of a host.
pub enum Node {
    Master(Box<Master>),
    Client(Box<Fetcher>),
}

impl Node {
    fn new(role: &Role, life: u32, now_ms: u64) -> Node {
        match role {
            Role::Master(options) => Node::Master(Box::new(Master::new(*options, "a tree".into()))),
            Role::Client(options) => {
                let options = FetchOptions { port: port(life), ..(**options).clone() };
                Node::Client(Box::new(Fetcher::new(options, now_ms)))
            }
        }
    }

    pub fn handle(&mut self, now_ms: u64, event: ConnEvent) {
        match self {
            Node::Master(master) => master.handle(now_ms, MasterInput::Conn(event)),
            Node::Client(fetcher) => fetcher.handle(now_ms, FetchInput::Conn(event)),
        }
    }

    pub fn timeout(&mut self, now_ms: u64) {
        match self {
            Node::Master(master) => master.handle(now_ms, MasterInput::Timeout),
            Node::Client(fetcher) => fetcher.handle(now_ms, FetchInput::Timeout),
        }
    }

    pub fn poll_timeout(&self) -> Option<u64> {
        match self {
            Node::Master(master) => master.poll_timeout(),
            Node::Client(fetcher) => fetcher.poll_timeout(),
        }
    }

    pub fn poll_conn_effect(&mut self) -> Option<ConnEffect> {
        match self {
            Node::Master(master) => master.poll_conn_effect(),
            Node::Client(fetcher) => fetcher.poll_conn_effect(),
        }
    }

    pub fn poll_reply(&mut self, conn: ConnId) -> Option<ConnEffect> {
        match self {
            Node::Master(master) => master.poll_reply(conn),
            Node::Client(fetcher) => fetcher.poll_reply(conn),
        }
    }

    /// Whether it answers requests on this connection, and does not send them.
    pub fn serves(&self, conn: ConnId) -> bool {
        match self {
            Node::Master(_) => true,
            Node::Client(fetcher) => fetcher.serves(conn),
        }
    }

    pub fn next_conn(&mut self) -> ConnId {
        match self {
            Node::Master(master) => master.next_conn(),
            Node::Client(fetcher) => fetcher.next_conn(),
        }
    }

    pub fn space(&self) -> &NameSpace {
        match self {
            Node::Master(master) => master.space(),
            Node::Client(fetcher) => fetcher.space(),
        }
    }
}

/// Takes the pieces of a stream in order, at its own pace.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    pub bytes_s: u64,
    /// Pieces below this number it has.
    pub next: u32,
    /// It is taking that one.
    pub is_busy: bool,
    /// No more is to come.
    pub is_last: bool,
}

impl Reader {
    pub fn new(bytes_s: u64) -> Reader {
        Reader { bytes_s, next: 0, is_busy: false, is_last: false }
    }
}

// fields: a node, what outlives it, and what it is to do wrong
pub struct Host {
    pub role: Role,
    pub node: Option<Node>,
    pub state: HostState,
    /// Counts starts: a process that starts again has another port.
    pub life: u32,
    /// The connection behind each `ConnId`.
    conns: Vec<Option<u32>>,
    /// The timeout of its node that is on the clock.
    pub timeout_ns: Option<u64>,
    /// What came while it was frozen.
    pub stash: VecDeque<(u32, usize, Item)>,
    pub lie: Option<Lie>,
    /// Of so many pieces one is corrupt, as it would be in its page cache.
    pub corrupt_every: Option<u32>,
    /// Pieces on its disk: they outlive a crash.
    pub disk: BTreeSet<u32>,
    /// Who reads the stream that it fetches, if it does so.
    pub reader: Option<Reader>,
    /// Whom the master named last, by stripe.
    pub parents: Vec<u32>,
    pub stats: HostStats,
}

/// What a host did and when, counted where it is carried out.
#[derive(Clone, Debug, Default)]
pub struct HostStats {
    pub began_ns: u64,
    /// All pieces were there.
    pub complete_ns: Option<u64>,
    pub failures: Vec<Failure>,
    /// Pieces stored, and the most that were there at a time.
    pub stored: u32,
    pub held_max: u32,
    /// Pieces stored although they were there already.
    pub stored_again: u32,
    /// Pieces that came with wrong bytes.
    pub corrupt: u32,
    /// Frames without bulk data, and their bytes.
    pub control_in: u64,
    pub control_in_bytes: u64,
    pub control_out: u64,
    pub control_out_bytes: u64,
}

impl Host {
    pub fn new(role: Role) -> Host {
        Host {
            role,
            node: None,
            state: HostState::Down,
            life: 0,
            conns: Vec::new(),
            timeout_ns: None,
            stash: VecDeque::new(),
            lie: None,
            corrupt_every: None,
            disk: BTreeSet::new(),
            reader: None,
            parents: Vec::new(),
            stats: HostStats::default(),
        }
    }

    pub fn begin(&mut self, now_ms: u64) {
        self.life += 1;
        self.state = HostState::Up;
        self.conns.clear();
        self.stash.clear();
        self.timeout_ns = None;
        self.node = Some(Node::new(&self.role, self.life, now_ms));
    }

    /// Whether somebody who connects to this port finds it.
    pub fn listens_on(&self, at: u16) -> bool {
        let own = match self.role {
            Role::Master(_) => port(1),
            Role::Client(_) => port(self.life),
        };
        matches!(self.state, HostState::Up | HostState::Frozen) && at == own
    }

    pub fn conn(&self, id: ConnId) -> Option<u32> {
        self.conns.get(id.0 as usize).copied().flatten()
    }

    pub fn set_conn(&mut self, id: ConnId, conn: u32) {
        let at = id.0 as usize;
        if at >= self.conns.len() {
            self.conns.resize(at + 1, None);
        }
        self.conns[at] = Some(conn);
    }

    pub fn conns(&self) -> impl Iterator<Item = u32> + '_ {
        self.conns.iter().flatten().copied()
    }

    pub fn is_client(&self) -> bool {
        matches!(self.role, Role::Client(_))
    }
}

/// The port of a host's n-th life.
pub fn port(life: u32) -> u16 {
    20_000 + life as u16
}

/// Hosts are numbered within 10.0.0.0/8.
pub fn addr_of(host: u32, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::from((10 << 24) + host + 1)), port)
}

pub fn host_of(addr: SocketAddr) -> u32 {
    match addr.ip() {
        IpAddr::V4(ip) => u32::from(ip) - (10 << 24) - 1,
        IpAddr::V6(_) => panic!("{addr}: nobody has one of these"),
    }
}
