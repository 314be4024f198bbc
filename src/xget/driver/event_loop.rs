//! The loop: one thread, one poll(2), what a machine wants done
//! with its connections carried out.
//!
//! Knows sockets and time, and moves bytes. What happens is decided by the
//! [`Machine`], whose files are its own. The interest set is rebuilt from state in
//! every turn; nothing is registered anywhere.

use super::budget::{Account, Budget, Limits, Why};
use super::conn::{Arrival, Conn};
use super::machine::Machine;
use super::trace;
use crate::os::poll::{BROKEN, Poll, READABLE, WRITABLE};
use crate::os::socket;
use ninep::client::Frame;
use ninep::server::ConnId;
use peer::conn::{ConnEffect, ConnEvent};
use peer::failure::Failure;
use sorted::SortedMap;
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, TcpListener};
use std::time::Instant;

mod held;
use held::Held;

/// Longest sleep, so that the observer's turn comes now and then.
const SLEEP_MS_MAX: u64 = 500;
/// The same while something that was said waits for who reads it.
const BEHIND_MS: u64 = 20;
/// Reads of one connection in one turn, and frames that are handled: nobody starves
/// the others. Frames that are left are gone on with soon.
const READS_MAX: usize = 8;
const FRAMES_MAX: usize = 64;
/// Who shuts its sending side down gets so long for what it is owed.
const HALF_CLOSED_MS: u64 = 5_000;
/// How often it is looked whether that is over.
const HALF_CLOSED_LOOK_MS: u64 = 250;
/// Connections accepted in one turn.
const ACCEPTS_MAX: usize = 256;
/// When the process ends, replies under way get this long to leave.
const DRAIN_MS: u64 = 5_000;

/// Those of connections that others made, the oldest first.
fn accounts(
    conns: &SortedMap<ConnId, Box<Conn>>,
) -> impl Iterator<Item = (ConnId, Account)> + Clone {
    let accepted = conns.iter().filter(|(_, c)| c.asker.accepted);
    accepted.map(|(conn, c)| (*conn, c.asker.account))
}

/// The machine comes with each call, as an object: there are two kinds of it, and
/// the loop is in the program once.
pub(super) struct Loop {
    listener: TcpListener,
    conns: SortedMap<ConnId, Box<Conn>>,
    /// What happened on connections and is not handed over yet.
    events: VecDeque<ConnEvent<'static>>,
    began: Instant,
    /// Connections with something queued since the last `flush`.
    unsent: VecDeque<ConnId>,
    held: Held,
    /// Connections whose other end says no more.
    half_closed: Vec<ConnId>,
    /// When to look at those next.
    look_ms: u64,
    poll: Poll,
    /// Whom the places of `poll` stand for, the listener and the machine's ears not counted.
    polled: Vec<ConnId>,
    budget: Budget,
    /// Accepting failed for want of descriptors: try again in a while.
    accept_again_ms: u64,
}

impl Loop {
    pub fn new(listener: TcpListener, began: Instant, limits: Limits) -> Loop {
        Loop {
            listener,
            conns: SortedMap::new(),
            events: VecDeque::new(),
            began,
            unsent: VecDeque::new(),
            held: Held::default(),
            half_closed: Vec::new(),
            look_ms: 0,
            poll: Poll::default(),
            polled: Vec::new(),
            budget: Budget::new(limits),
            accept_again_ms: 0,
        }
    }

    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    /// Turns until the machine is through.
    pub fn run(mut self, machine: &mut dyn Machine) -> io::Result<Vec<Failure>> {
        loop {
            if let Some(failures) = self.turn(machine)? {
                return Ok(failures);
            }
        }
    }

    /// One turn: waits for something to happen, for half a second at most,
    /// and does what follows from it. Gives what failed when all is over.
    pub fn turn(&mut self, machine: &mut dyn Machine) -> io::Result<Option<Vec<Failure>>> {
        let now_ms = self.now_ms();
        machine.begin_turn(now_ms);
        self.settle(machine);
        if let Some(failures) = machine.take_result() {
            // What came of it counts, whether or not all replies left.
            let _ = self.drain(machine);
            return Ok(Some(failures));
        }
        self.flush(machine);
        self.look_at_half_closed(machine);
        self.look_at_budget(machine);
        let deadline_ms = machine.poll_timeout();
        self.wait(machine, deadline_ms)?;
        let now_ms = self.now_ms();
        if deadline_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            machine.timeout(now_ms);
        }
        if machine.has_work() {
            machine.work(now_ms);
        }
        Ok(None)
    }

    /// Carries out what the machine wants done with its connections, and hands it
    /// what follows, until there is neither.
    fn settle(&mut self, machine: &mut dyn Machine) {
        loop {
            while let Some(effect) = machine.poll_conn_effect() {
                self.carry_out(machine, effect);
            }
            let Some(event) = self.events.pop_front() else { break };
            let now_ms = self.now_ms();
            machine.handle(now_ms, event);
        }
    }

    fn carry_out(&mut self, machine: &mut dyn Machine, effect: ConnEffect) {
        trace::effect(&effect, |conn| machine.serves(conn));
        match effect {
            ConnEffect::Connect { conn, addr } => match socket::connect(addr) {
                Ok(stream) => {
                    self.conns.insert(conn, Box::new(Conn::new(stream, true)));
                }
                Err(error) => {
                    let reason = error.to_string();
                    self.events.push_back(ConnEvent::Closed { conn, reason });
                }
            },
            ConnEffect::Close { conn } => {
                if let Some(c) = self.conns.get_mut(&conn) {
                    c.closing = true;
                    self.write(machine, conn);
                }
            }
            ConnEffect::Send { conn, bytes } => {
                if let Some(c) = self.conns.get_mut(&conn) {
                    if let Some(spent) = c.queue(bytes) {
                        machine.recycle(spent);
                    }
                    self.unsent.push_back(conn);
                }
            }
            ConnEffect::Replies { conn } => {
                if let Some(c) = self.conns.get_mut(&conn) {
                    c.asker.has_replies = true;
                    self.take_replies(machine, conn);
                }
            }
            ConnEffect::SendBulk { conn, header, what, len, failure } => {
                if let Some(c) = self.conns.get_mut(&conn) {
                    c.queue_bulk(header, what, len, failure);
                    self.unsent.push_back(conn);
                }
            }
        }
    }

    /// Takes replies as long as there is room for them.
    fn take_replies(&mut self, machine: &mut dyn Machine, conn: ConnId) {
        while let Some(c) = self.conns.get_mut(&conn) {
            if !c.asker.has_replies || c.is_backlogged() {
                return;
            }
            match machine.poll_reply(conn) {
                Some(reply) => self.carry_out(machine, reply),
                None => c.asker.has_replies = false,
            }
        }
    }

    /// Sends what was queued. Not with each message: those that follow from
    /// one turn of a connection, such as the next requests, leave together.
    fn flush(&mut self, machine: &mut dyn Machine) {
        while let Some(conn) = self.unsent.pop_front() {
            let Some(c) = self.conns.get(&conn) else { continue };
            if c.blocked || c.connecting || !c.has_output() {
                continue;
            }
            self.write(machine, conn);
            self.settle(machine);
        }
    }

    fn write(&mut self, machine: &mut dyn Machine, conn: ConnId) {
        let Some(c) = self.conns.get_mut(&conn) else { return };
        let result =
            if c.connecting { Ok(()) } else { c.write(|what, len| machine.part(what, len)) };
        match result {
            Err(error) => self.drop_conn(conn, error.to_string()),
            // A connection that is not up has nothing of ours to deliver.
            Ok(()) if c.closing && (c.connecting || !c.has_output()) => {
                self.remove(conn);
            }
            Ok(()) => {
                // There may be room again: for replies, and for more requests.
                self.take_replies(machine, conn);
                self.hold_frames(machine, conn);
                self.end_half_closed(machine, conn);
            }
        }
    }

    /// Notes a connection with a whole frame that can be handled for the next turn:
    /// no further input has to announce it.
    fn hold_frames(&mut self, machine: &mut dyn Machine, conn: ConnId) {
        let len_max = machine.frame_len_max(conn);
        let Some(c) = self.conns.get_mut(&conn) else { return };
        if !c.asker.held
            && !c.closing
            && !c.is_backlogged()
            && !matches!(c.frame(len_max), Ok(None))
        {
            c.asker.held = true;
            self.held.conns.push(conn);
        }
    }

    /// The other end says no more. Who asks us gets what it is owed first.
    fn half_close(&mut self, machine: &mut dyn Machine, conn: ConnId) {
        let now_ms = self.now_ms();
        if let Some(c) = self.conns.get_mut(&conn).filter(|c| c.asker.ended_ms.is_none()) {
            c.asker.ended_ms = Some(now_ms);
            self.half_closed.push(conn);
        }
        self.end_half_closed(machine, conn);
    }

    /// Drops a connection whose other end says no more and is owed nothing, or was
    /// for too long.
    fn end_half_closed(&mut self, machine: &mut dyn Machine, conn: ConnId) {
        let now_ms = self.now_ms();
        let Some(c) = self.conns.get(&conn) else { return };
        let Some(ended_ms) = c.asker.ended_ms else { return };
        let waits = c.asker.held || c.has_output() || c.asker.has_replies || machine.owes(conn);
        if !waits || now_ms >= ended_ms + HALF_CLOSED_MS {
            let broken_off = c.filled() > 0 && !c.asker.held;
            let why = if broken_off { "closed in the middle of a message" } else { "closed" };
            self.drop_conn(conn, why.into());
        }
    }

    /// Looks now and then at those whose other end says no more.
    fn look_at_half_closed(&mut self, machine: &mut dyn Machine) {
        let now_ms = self.now_ms();
        if self.half_closed.is_empty() || now_ms < self.look_ms {
            return;
        }
        self.look_ms = now_ms + HALF_CLOSED_LOOK_MS;
        for conn in std::mem::take(&mut self.half_closed) {
            self.end_half_closed(machine, conn);
            if self.conns.contains_key(&conn) {
                self.half_closed.push(conn);
            }
        }
    }

    fn remove(&mut self, conn: ConnId) -> Option<Box<Conn>> {
        let c = self.conns.remove(&conn)?;
        if c.asker.accepted {
            self.budget.leave(&c.asker.account);
        }
        Some(c)
    }

    /// Notes what a connection costs now; who costs most goes when it is too much.
    fn account(&mut self, machine: &mut dyn Machine, conn: ConnId) {
        let Some(c) = self.conns.get_mut(&conn).filter(|c| c.asker.accepted) else { return };
        let buffers = c.held_bytes();
        self.budget.note(&mut c.asker.account, buffers, machine.held(conn));
        while self.budget.is_exceeded() {
            let costly = self.budget.costly(accounts(&self.conns));
            if costly.is_empty() {
                return;
            }
            for conn in costly {
                self.end(conn, Why::Memory);
            }
        }
    }

    /// Ends a connection that is too much.
    fn end(&mut self, conn: ConnId, why: Why) {
        self.budget.count(why);
        self.drop_conn(conn, "it is too much here".into());
    }

    /// Once a second: what each connection costs and moved, and what the operator is
    /// to know of those that were ended.
    #[inline(never)]
    fn look_at_budget(&mut self, machine: &mut dyn Machine) {
        let now_ms = self.now_ms();
        if !self.budget.is_look_due(now_ms) {
            return;
        }
        let conns: Vec<ConnId> = self.conns.keys().copied().collect();
        for conn in conns {
            if let Some(c) = self.conns.get_mut(&conn) {
                c.asker.account.look();
            }
            self.account(machine, conn);
        }
        while let Some(line) = self.budget.poll_line(now_ms) {
            machine.warn(&line);
        }
    }

    fn drop_conn(&mut self, conn: ConnId, why: String) {
        if let Some(c) = self.remove(conn)
            && !c.closing
        {
            log::debug!(target: "general", "{conn:?}: gone: {why}");
            self.events.push_back(ConnEvent::Closed { conn, reason: why });
        }
    }

    /// How long to sleep at the longest.
    fn sleep_ms(&self, machine: &dyn Machine, deadline_ms: Option<u64>) -> u64 {
        if machine.has_work() || !self.events.is_empty() {
            return 0;
        }
        let now_ms = self.now_ms();
        let deadline_ms = deadline_ms.into_iter().chain(self.held.deadline_ms()).min();
        let until_ms = deadline_ms.map_or(SLEEP_MS_MAX, |at_ms| at_ms.saturating_sub(now_ms));
        until_ms.min(if machine.is_behind() { BEHIND_MS } else { SLEEP_MS_MAX })
    }

    #[inline(never)]
    fn wait(&mut self, machine: &mut dyn Machine, deadline_ms: Option<u64>) -> io::Result<()> {
        let accepts = self.now_ms() >= self.accept_again_ms;
        self.poll.clear();
        self.polled.clear();
        self.poll.add(&self.listener, if accepts { READABLE } else { 0 });
        machine.ears().iter().for_each(|ear| self.poll.add(ear, READABLE));
        let first = 1 + machine.ears().len();
        for (&id, c) in self.conns.iter() {
            let reads = !c.connecting && !c.closing && c.asker.ended_ms.is_none();
            let reads = reads && !c.asker.held && !c.is_backlogged();
            let writes = c.connecting || c.has_output();
            let events = if reads { READABLE } else { 0 } | if writes { WRITABLE } else { 0 };
            self.poll.add(&c.stream, events);
            self.polled.push(id);
        }
        if let Some((fd, writes)) = machine.outlet() {
            self.poll.add(&fd, if writes { WRITABLE } else { 0 });
        }
        let is_any_ready = self.poll.wait(self.sleep_ms(machine, deadline_ms))?;
        // In the order in which they were left, each as much as in any turn.
        for conn in self.held.take_due(self.now_ms()) {
            self.go_on(machine, conn);
        }
        if !is_any_ready {
            return Ok(());
        }
        let outlet = self.poll.ready(first + self.polled.len());
        if outlet != 0 {
            machine.outlet_ready(outlet & BROKEN != 0);
        }
        if self.poll.ready(0) != 0 {
            self.accept(machine);
        }
        for ear in (1..first).filter(|place| self.poll.ready(*place) != 0) {
            machine.hear(self.now_ms(), ear - 1);
        }
        for place in 0..self.polled.len() {
            let ready = self.poll.ready(first + place);
            if ready != 0 {
                self.ready(machine, self.polled[place], ready);
            }
        }
        Ok(())
    }

    #[inline(never)]
    fn accept(&mut self, machine: &mut dyn Machine) {
        for _ in 0..ACCEPTS_MAX {
            match self.listener.accept() {
                Ok((_, peer)) if !self.has_place(peer.ip().to_canonical()) => {
                    self.budget.count(Why::Refused);
                }
                Ok((stream, peer)) => {
                    let conn = machine.next_conn();
                    log::debug!(target: "general", "{conn:?}: accepted from {peer}");
                    let mut c = Box::new(Conn::new(stream, false));
                    c.asker.account.ip = Some(peer.ip().to_canonical());
                    self.budget.enter(&mut c.asker.account);
                    self.conns.insert(conn, c);
                    let now_ms = self.now_ms();
                    machine.handle(now_ms, ConnEvent::Accepted { conn, peer });
                    self.account(machine, conn);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // ECONNABORTED and its like are the peer's; EMFILE is ours.
                Err(error) => {
                    if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) {
                        self.accept_again_ms = self.now_ms() + 1000;
                        machine.warn(&format!(
                            "cannot take more connections: {error}; raise the limit of open files (ulimit -n)"
                        ));
                    }
                    break;
                }
            }
        }
    }

    /// Whether one more can connect from there, once others have gone for it.
    #[inline(never)]
    fn has_place(&mut self, ip: IpAddr) -> bool {
        if self.budget.has_place() {
            return true;
        }
        let (why, found) = self.budget.dispensable(accounts(&self.conns));
        if found.is_empty() {
            self.budget.note_busy();
            let crowded = self.budget.crowded(ip, accounts(&self.conns));
            crowded.into_iter().for_each(|conn| self.end(conn, Why::Crowd));
        }
        found.into_iter().for_each(|conn| self.end(conn, why));
        self.budget.has_place()
    }

    fn ready(&mut self, machine: &mut dyn Machine, conn: ConnId, ready: i16) {
        let Some(c) = self.conns.get_mut(&conn) else { return };
        if c.connecting {
            return self.connect_ended(machine, conn);
        }
        if ready & (WRITABLE | BROKEN) != 0 && c.has_output() {
            self.write(machine, conn);
        }
        if ready & (READABLE | BROKEN) != 0 {
            self.read(machine, conn);
        }
        self.settle(machine);
        self.flush(machine);
        self.account(machine, conn);
    }

    /// Goes on with the frames that a turn left.
    fn go_on(&mut self, machine: &mut dyn Machine, conn: ConnId) {
        let Some(c) = self.conns.get_mut(&conn) else { return };
        c.asker.held = false;
        if !c.closing {
            self.take_frames_or_drop(machine, conn, &mut { FRAMES_MAX });
        }
        self.settle(machine);
        self.flush(machine);
        self.end_half_closed(machine, conn);
        self.account(machine, conn);
    }

    fn connect_ended(&mut self, machine: &mut dyn Machine, conn: ConnId) {
        let Some(c) = self.conns.get_mut(&conn) else { return };
        c.connecting = false;
        let failed = match c.stream.take_error() {
            Ok(None) => None,
            Ok(Some(error)) | Err(error) => Some(error.to_string()),
        };
        match failed {
            Some(why) => self.drop_conn(conn, why),
            None => self.events.push_back(ConnEvent::Connected { conn }),
        }
        self.settle(machine);
    }

    #[inline(never)]
    fn read(&mut self, machine: &mut dyn Machine, conn: ConnId) {
        let mut frames_left = FRAMES_MAX;
        for _ in 0..READS_MAX {
            let len_max = machine.frame_len_max(conn);
            let Some(c) = self.conns.get_mut(&conn) else { return };
            if c.closing || c.asker.held || c.is_backlogged() {
                return;
            }
            match c.read(len_max) {
                Ok(Arrival::Some) => {}
                Ok(Arrival::Nothing) => return,
                Ok(Arrival::Closed) if machine.serves(conn) => {
                    return self.half_close(machine, conn);
                }
                Ok(Arrival::Closed) => {
                    let why =
                        if c.filled() > 0 { "closed in the middle of a message" } else { "closed" };
                    return self.drop_conn(conn, why.into());
                }
                Err(error) => return self.drop_conn(conn, error.to_string()),
            }
            self.take_frames_or_drop(machine, conn, &mut frames_left);
        }
    }

    fn take_frames_or_drop(
        &mut self,
        machine: &mut dyn Machine,
        conn: ConnId,
        frames_left: &mut usize,
    ) {
        if let Err(error) = self.take_frames(machine, conn, frames_left) {
            log::debug!(target: "general", "{conn:?}: {error}");
            self.budget.count(Why::Nonsense);
            self.drop_conn(conn, error.to_string());
        }
    }

    /// Hands whole frames to the machine, without copying them, until the turn is
    /// over or too many replies wait to be read by the peer.
    fn take_frames(
        &mut self,
        machine: &mut dyn Machine,
        conn: ConnId,
        frames_left: &mut usize,
    ) -> io::Result<()> {
        loop {
            let len_max = machine.frame_len_max(conn);
            let Some(c) = self.conns.get_mut(&conn) else { return Ok(()) };
            if c.is_backlogged() {
                return Ok(());
            }
            let Some(len) = c.frame(len_max)? else {
                let len = c.filled() as u32;
                if len > 0 {
                    let now_ms = self.now_ms();
                    machine.handle(now_ms, ConnEvent::Partial { conn, len });
                    self.settle(machine);
                }
                return Ok(());
            };
            if *frames_left == 0 {
                self.hold_frames(machine, conn);
                return Ok(());
            }
            *frames_left -= 1;
            let input = c.take_input();
            let frame = &input[..len];
            trace::frame(conn, |conn| machine.serves(conn), frame, len as u32);
            let now_ms = self.now_ms();
            let frame = Frame { prefix: frame, len: len as u32 };
            machine.handle(now_ms, ConnEvent::Frame { conn, frame });
            self.settle(machine);
            let Some(c) = self.conns.get_mut(&conn) else { return Ok(()) };
            c.give_input(input, len);
        }
    }

    /// Lets replies that are under way leave, for a bounded time.
    fn drain(&mut self, machine: &mut dyn Machine) -> io::Result<()> {
        let until_ms = self.now_ms() + DRAIN_MS;
        loop {
            self.poll.clear();
            self.polled.clear();
            for (&id, c) in self.conns.iter().filter(|(_, c)| !c.connecting && c.has_output()) {
                self.poll.add(&c.stream, WRITABLE);
                self.polled.push(id);
            }
            let now_ms = self.now_ms();
            if self.polled.is_empty() || now_ms >= until_ms {
                return Ok(());
            }
            self.poll.wait((until_ms - now_ms).min(SLEEP_MS_MAX))?;
            for place in 0..self.polled.len() {
                self.write(machine, self.polled[place]);
            }
        }
    }
}

#[cfg(test)]
mod tests;
