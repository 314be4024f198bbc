//! How hosts end: their process dies, their power is gone, or all is done.
//!
//! Knows what becomes of a host's connections then. No node is told anything
//! here: the other ends learn it by events, in the time that it takes.

use crate::event::Event;
use crate::host::HostState;
use crate::world::World;

/// What a process that ends has to let its replies leave
/// (src/xget/driver/event_loop.rs).
const DRAIN_NS: u64 = 5_000_000_000;

impl World {
    pub fn die(&mut self, host: u32, state: HostState) {
        let at = &mut self.hosts[host as usize];
        self.frozen -= u32::from(at.state == HostState::Frozen && at.is_client());
        at.state = state;
        at.node = None;
        at.timeout_ns = None;
        if at.is_client() {
            self.unfinished -= 1;
        }
        let conns: Vec<u32> = at.conns().collect();
        let is_silent = state == HostState::Dark;
        self.link_mut(host).is_still = is_silent;
        for conn in conns {
            self.connections.abandon(&mut self.clock, conn, host, is_silent);
        }
    }

    /// The node has ended in good order.
    pub fn end(&mut self, host: u32) {
        let at = &mut self.hosts[host as usize];
        at.state = HostState::Over;
        at.timeout_ns = None;
        self.unfinished -= 1;
        let life = at.life;
        for conn in at.conns() {
            self.connections.finish(&mut self.clock, conn, host);
        }
        self.clock.after(DRAIN_NS, Event::Drained { host, life });
    }

    pub fn drained(&mut self, host: u32, life: u32) {
        let at = &self.hosts[host as usize];
        if at.life != life || at.state != HostState::Over {
            return;
        }
        for conn in at.conns() {
            let end = self.connections.side_of(conn, host);
            if !self.connections.is_idle(conn, end) {
                self.connections.abandon(&mut self.clock, conn, host, false);
            }
        }
    }
}
