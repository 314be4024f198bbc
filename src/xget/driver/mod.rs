//! The loop: one thread, one poll(2), the node's effects carried out.
//!
//! Knows sockets and time, and moves bytes. What happens is decided in
//! `node`; files belong to a `Backend`. The interest set is rebuilt from state
//! in every turn; nothing is registered anywhere.

mod conn;
mod fetch;
mod host;
mod logline;
mod master;
mod parts;

pub use conn::Part;
pub use fetch::{FetchRequest, Fetching, Turn, fetch};
pub use host::{Host, parse_host, resolve};
pub use logline::write_log;
pub use master::{ServeRequest, print_digest, serve};

use crate::os::poll::{BROKEN, Poll, READABLE, WRITABLE};
use crate::os::socket;
use conn::{Arrival, Conn};
use ninep::client::Frame;
use ninep::server::ConnId;
use peer::namespace::{Bulk, NameSpace};
use peer::node::{Effect, Failure, Input, Node};
use peer::table::Table;
use std::collections::{HashSet, VecDeque};
use std::io;
use std::net::TcpListener;
use std::time::Instant;

/// Longest sleep, so that the caller's hook runs now and then.
const SLEEP_MS_MAX: u64 = 500;
/// Reads of one connection in one turn: nobody starves the others.
const READS_MAX: usize = 8;
/// Connections accepted in one turn.
const ACCEPTS_MAX: usize = 256;
/// When the process ends, replies under way get this long to leave.
const DRAIN_MS: u64 = 5_000;

/// Why stored bytes cannot be sent.
#[derive(Debug)]
pub enum PartsError {
    /// They are not what was hashed.
    Changed(String),
    Failed(String),
}

/// Where the files are.
pub trait Backend {
    /// The stored bytes that a bulk reply consists of.
    fn part(&mut self, space: &NameSpace, what: Bulk, len: u32) -> Result<Part, PartsError>;
    /// Carries out an effect that is about files; `frame` is the data of the
    /// frame at hand, for `Effect::Store`.
    fn carry_out(
        &mut self,
        space: &NameSpace,
        effect: Effect,
        frame: &[u8],
        inputs: &mut VecDeque<Input<'static>>,
    );
    /// Whether `work` has something to do.
    fn has_work(&self) -> bool;
    /// Does a bounded slice of it: hashing, checking, finishing.
    fn work(&mut self, space: &NameSpace, inputs: &mut VecDeque<Input<'static>>);
}

/// What a turn of the loop looks like to those who wait for its end.
pub trait Watch {
    /// Called in every turn. Inputs given here (a line for the log, the wish
    /// to leave, a request to look again) go to the node.
    fn turn(&mut self, node: &Node, inputs: &mut VecDeque<Input<'static>>);
    fn say(&mut self, text: &str);
    fn warn(&mut self, text: &str);
}

impl<W: Watch + ?Sized> Watch for &mut W {
    fn turn(&mut self, node: &Node, inputs: &mut VecDeque<Input<'static>>) {
        (**self).turn(node, inputs);
    }
    fn say(&mut self, text: &str) {
        (**self).say(text);
    }
    fn warn(&mut self, text: &str) {
        (**self).warn(text);
    }
}

/// Backend and watch are objects: there are three pairs of them, and the loop
/// is in the program once.
pub struct Loop<'w> {
    node: Node,
    backend: Box<dyn Backend>,
    watch: Box<dyn Watch + 'w>,
    listener: TcpListener,
    conns: Table<ConnId, Box<Conn>>,
    inputs: VecDeque<Input<'static>>,
    began: Instant,
    exit: Option<Vec<Failure>>,
    /// Connections with something queued since the last `flush`.
    unsent: VecDeque<ConnId>,
    poll: Poll,
    /// Whom the places of `poll` stand for, the listener not counted.
    polled: Vec<ConnId>,
    /// Accepting failed for want of descriptors: try again in a while.
    accept_again_ms: u64,
}

impl<'w> Loop<'w> {
    pub fn new(
        node: Node,
        backend: Box<dyn Backend>,
        watch: Box<dyn Watch + 'w>,
        listener: TcpListener,
        began: Instant,
    ) -> Loop<'w> {
        Loop {
            node,
            backend,
            watch,
            listener,
            conns: Table::new(),
            inputs: VecDeque::new(),
            began,
            exit: None,
            unsent: VecDeque::new(),
            poll: Poll::default(),
            polled: Vec::new(),
            accept_again_ms: 0,
        }
    }

    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Turns until the node says that it is over.
    pub fn run(mut self) -> io::Result<Vec<Failure>> {
        loop {
            if let Some(failures) = self.turn()? {
                return Ok(failures);
            }
        }
    }

    /// One turn: waits for something to happen, for half a second at most,
    /// and does what follows from it. Gives what failed when all is over.
    pub fn turn(&mut self) -> io::Result<Option<Vec<Failure>>> {
        self.watch.turn(&self.node, &mut self.inputs);
        self.settle(&[]);
        if self.exit.is_some() {
            // What came of it counts, whether or not all replies left.
            let _ = self.drain();
            return Ok(self.exit.take());
        }
        self.flush();
        self.wait()?;
        if self.node.poll_timeout().is_some_and(|at| at <= self.now_ms()) {
            self.inputs.push_back(Input::Tick);
        }
        if self.backend.has_work() {
            self.backend.work(self.node.space(), &mut self.inputs);
        }
        Ok(None)
    }

    /// Something for the node from outside the loop.
    pub fn input(&mut self, input: Input<'static>) {
        self.inputs.push_back(input);
    }

    /// Gives queued inputs to the node and carries out its effects, until
    /// there is neither. `frame` is the data that `Effect::Store` is about.
    fn settle(&mut self, frame: &[u8]) {
        loop {
            while let Some(effect) = self.node.poll_effect() {
                self.carry_out(effect, frame);
            }
            let Some(input) = self.inputs.pop_front() else { break };
            let now_ms = self.now_ms();
            self.node.handle(now_ms, input);
        }
    }

    fn carry_out(&mut self, effect: Effect, frame: &[u8]) {
        if log::max_level() != log::LevelFilter::Off {
            trace_effect(&self.node, &effect);
        }
        match effect {
            Effect::Connect { conn, addr } => match socket::connect(addr) {
                Ok(stream) => {
                    self.conns.insert(conn, Box::new(Conn::new(stream, true)));
                }
                Err(error) => {
                    self.inputs.push_back(Input::Gone { conn, why: error.to_string() });
                }
            },
            Effect::Close { conn } => {
                if let Some(c) = self.conns.get_mut(&conn) {
                    c.closing = true;
                    self.write(conn);
                }
            }
            Effect::Send { conn, bytes } => {
                if let Some(c) = self.conns.get_mut(&conn) {
                    if let Some(spent) = c.queue(bytes) {
                        self.node.recycle(spent);
                    }
                    self.unsent.push_back(conn);
                }
            }
            Effect::SendBulk { conn, header, what, len, failure } => {
                if let Some(c) = self.conns.get_mut(&conn) {
                    c.queue_bulk(header, what, len, failure);
                    self.unsent.push_back(conn);
                }
            }
            Effect::Say(text) => self.watch.say(&text),
            Effect::Warn(text) => self.watch.warn(&text),
            Effect::Exit { failures } => self.exit = Some(each_once(failures)),
            effect => {
                self.backend.carry_out(self.node.space(), effect, frame, &mut self.inputs);
            }
        }
    }

    /// Sends what was queued. Not with each message: those that follow from
    /// one turn of a connection, such as the next requests, leave together.
    fn flush(&mut self) {
        while let Some(conn) = self.unsent.pop_front() {
            let Some(c) = self.conns.get(&conn) else { continue };
            if c.blocked || c.connecting || !c.has_output() {
                continue;
            }
            let was_backlogged = c.is_backlogged();
            self.write(conn);
            if was_backlogged {
                self.take_held_frames(conn);
            }
            self.settle(&[]);
        }
    }

    fn write(&mut self, conn: ConnId) {
        let Some(c) = self.conns.get_mut(&conn) else { return };
        let (backend, space, inputs) = (&mut self.backend, self.node.space(), &mut self.inputs);
        let result = if c.connecting {
            Ok(())
        } else {
            c.write(|what, len| {
                backend.part(space, what, len).map_err(|error| match error {
                    PartsError::Changed(path) => inputs.push_back(Input::Changed { path }),
                    PartsError::Failed(text) => self.watch.warn(&text),
                })
            })
        };
        match result {
            Err(error) => self.drop_conn(conn, error.to_string()),
            // A connection that is not up has nothing of ours to deliver.
            Ok(()) if c.closing && (c.connecting || !c.has_output()) => {
                self.conns.remove(&conn);
            }
            Ok(()) => {}
        }
    }

    fn drop_conn(&mut self, conn: ConnId, why: String) {
        if let Some(c) = self.conns.remove(&conn)
            && !c.closing
        {
            log::debug!(target: "general", "{conn:?}: gone: {why}");
            self.inputs.push_back(Input::Gone { conn, why });
        }
    }

    fn timeout_ms(&self) -> u64 {
        if self.backend.has_work() || !self.inputs.is_empty() {
            return 0;
        }
        let now_ms = self.now_ms();
        let until = self.node.poll_timeout().map_or(SLEEP_MS_MAX, |at| at.saturating_sub(now_ms));
        until.min(SLEEP_MS_MAX)
    }

    fn wait(&mut self) -> io::Result<()> {
        let accepts = self.now_ms() >= self.accept_again_ms;
        self.poll.clear();
        self.polled.clear();
        self.poll.add(&self.listener, if accepts { READABLE } else { 0 });
        for (id, c) in self.conns.iter() {
            let reads =
                !c.connecting && !c.closing && !c.is_backlogged() && self.node.wants_input(id);
            let writes = c.connecting || c.has_output();
            let events = if reads { READABLE } else { 0 } | if writes { WRITABLE } else { 0 };
            self.poll.add(&c.stream, events);
            self.polled.push(id);
        }
        if !self.poll.wait(self.timeout_ms())? {
            return Ok(());
        }
        if self.poll.ready(0) != 0 {
            self.accept();
        }
        for place in 0..self.polled.len() {
            let ready = self.poll.ready(place + 1);
            if ready != 0 {
                self.ready(self.polled[place], ready);
            }
        }
        Ok(())
    }

    fn accept(&mut self) {
        for _ in 0..ACCEPTS_MAX {
            match self.listener.accept() {
                Ok((stream, peer)) => {
                    let conn = self.node.next_conn();
                    log::debug!(target: "general", "{conn:?}: accepted from {peer}");
                    self.conns.insert(conn, Box::new(Conn::new(stream, false)));
                    let now_ms = self.now_ms();
                    self.node.handle(now_ms, Input::Accepted { conn, peer });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // ECONNABORTED and its like are the peer's; EMFILE is ours.
                Err(error) => {
                    if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) {
                        self.accept_again_ms = self.now_ms() + 1000;
                        self.watch.warn(&format!(
                            "cannot take more connections: {error}; raise the limit of open files (ulimit -n)"
                        ));
                    }
                    break;
                }
            }
        }
    }

    fn ready(&mut self, conn: ConnId, ready: i16) {
        let Some(c) = self.conns.get_mut(&conn) else { return };
        if c.connecting {
            return self.connect_ended(conn);
        }
        if ready & (WRITABLE | BROKEN) != 0 && c.has_output() {
            self.write(conn);
            self.take_held_frames(conn);
        }
        if ready & (READABLE | BROKEN) != 0 {
            self.read(conn);
        }
        self.settle(&[]);
        self.flush();
    }

    fn connect_ended(&mut self, conn: ConnId) {
        let Some(c) = self.conns.get_mut(&conn) else { return };
        c.connecting = false;
        let failed = match c.stream.take_error() {
            Ok(None) => None,
            Ok(Some(error)) | Err(error) => Some(error.to_string()),
        };
        match failed {
            Some(why) => self.drop_conn(conn, why),
            None => self.inputs.push_back(Input::Connected { conn }),
        }
        self.settle(&[]);
    }

    fn read(&mut self, conn: ConnId) {
        for _ in 0..READS_MAX {
            let len_max = self.node.frame_len_max(conn);
            let Some(c) = self.conns.get_mut(&conn) else { return };
            if c.closing || c.is_backlogged() {
                return;
            }
            match c.read(len_max) {
                Ok(Arrival::Some) => {}
                Ok(Arrival::Nothing) => return,
                Ok(Arrival::Closed) => {
                    let why =
                        if c.filled() > 0 { "closed in the middle of a message" } else { "closed" };
                    return self.drop_conn(conn, why.into());
                }
                Err(error) => return self.drop_conn(conn, error.to_string()),
            }
            self.take_frames_or_drop(conn);
        }
    }

    fn take_frames_or_drop(&mut self, conn: ConnId) {
        if let Err(error) = self.take_frames(conn) {
            self.watch.warn(&format!("{conn:?}: {error}"));
            self.drop_conn(conn, error.to_string());
        }
    }

    /// Goes on with the frames that were left while too many replies waited.
    /// They are in our buffer: no further input has to announce them.
    fn take_held_frames(&mut self, conn: ConnId) {
        let len_max = self.node.frame_len_max(conn);
        let Some(c) = self.conns.get(&conn) else { return };
        if !c.closing && !matches!(c.frame(len_max), Ok(None)) {
            self.take_frames_or_drop(conn);
        }
    }

    /// Hands every whole frame to the node, without copying it, until too many
    /// replies wait to be read by the peer.
    fn take_frames(&mut self, conn: ConnId) -> io::Result<()> {
        loop {
            let len_max = self.node.frame_len_max(conn);
            let Some(c) = self.conns.get_mut(&conn) else { return Ok(()) };
            if c.is_backlogged() {
                return Ok(());
            }
            let Some(len) = c.frame(len_max)? else {
                if c.filled() > 0 {
                    let now_ms = self.now_ms();
                    self.node.handle(now_ms, Input::Heard { conn });
                    self.settle(&[]);
                }
                return Ok(());
            };
            let input = c.take_input();
            let frame = &input[..len];
            trace_frame(&self.node, conn, frame, len as u32);
            let now_ms = self.now_ms();
            let whole = Frame { prefix: frame, len: len as u32 };
            self.node.handle(now_ms, Input::Frame { conn, frame: whole });
            self.settle(frame.get(ninep::RREAD_HEADER_LEN..).unwrap_or_default());
            let Some(c) = self.conns.get_mut(&conn) else { return Ok(()) };
            c.give_input(input, len);
        }
    }

    /// Lets replies that are under way leave, for a bounded time.
    fn drain(&mut self) -> io::Result<()> {
        let until_ms = self.now_ms() + DRAIN_MS;
        loop {
            self.poll.clear();
            self.polled.clear();
            for (id, c) in self.conns.iter().filter(|(_, c)| !c.connecting && c.has_output()) {
                self.poll.add(&c.stream, WRITABLE);
                self.polled.push(id);
            }
            let now_ms = self.now_ms();
            if self.polled.is_empty() || now_ms >= until_ms {
                return Ok(());
            }
            self.poll.wait((until_ms - now_ms).min(SLEEP_MS_MAX))?;
            for place in 0..self.polled.len() {
                self.write(self.polled[place]);
            }
        }
    }
}

/// A file that failed is told of with each of its pieces, and at the end.
fn each_once(mut failures: Vec<Failure>) -> Vec<Failure> {
    let mut told = HashSet::new();
    failures.retain(|failure| told.insert(failure.text().into_bytes()));
    failures
}

/// A message that arrives or leaves, for `-D 8` and `-D 16`: of the requests
/// that we answer, or of those that we send.
fn trace_frame(node: &Node, conn: ConnId, prefix: &[u8], len: u32) {
    if log::max_level() == log::LevelFilter::Off {
        return;
    }
    let target = if node.serves(conn) { "9p-server" } else { "9p-client" };
    if let [_, _, _, _, number, low, high, ..] = *prefix {
        let (message, tag) = (ninep::MessageType(number), u16::from_le_bytes([low, high]));
        log::trace!(target: target, "{conn:?} {message} tag {tag}, {len} bytes");
    }
}

fn trace_effect(node: &Node, effect: &Effect) {
    match effect {
        Effect::Send { conn, bytes } => {
            let mut rest = bytes.as_slice();
            while let Some(len) = ninep::wire::frame_len(rest) {
                let (frame, after) = rest.split_at((len as usize).clamp(4, rest.len()));
                trace_frame(node, *conn, frame, len);
                rest = after;
            }
        }
        Effect::SendBulk { conn, header, len, .. } => {
            trace_frame(node, *conn, header, *len + header.len() as u32);
        }
        Effect::Connect { conn, addr } => {
            log::debug!(target: "general", "{conn:?}: connecting to {addr}");
        }
        Effect::Close { conn } => log::debug!(target: "general", "{conn:?}: closing"),
        Effect::Prepare { .. } => log::debug!(target: "client", "the manifest is here"),
        Effect::Store { conn, piece } => {
            log::trace!(target: "client", "piece {piece} from {conn:?}");
        }
        Effect::Finish => log::debug!(target: "client", "all pieces are here"),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
