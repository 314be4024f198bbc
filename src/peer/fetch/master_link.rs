//! The conversation with the master: connect, join, ask, and try again.
//!
//! Knows the two files that a client holds open there, `.xget/route` and
//! `log`; refuses to know what the answers mean.

use crate::control::{ClientMessage, LINE_LEN_MAX, MasterMessage};
use crate::node::{Common, Effect, MSIZE};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::net::SocketAddr;
use ninep::client::{Client, Event, Fid, Frame, OpenMode, Token};
use ninep::server::ConnId;

/// A connection that is not up by then is given up.
const CONNECT_MS: u64 = 3_000;
/// A silent master is probed after this long, and lost after that much more.
const PROBE_AFTER_MS: u64 = 3_000;
const PROBE_WAIT_MS: u64 = 5_000;
/// A master that is silent costs as much time as this share of all tries.
const SILENT_SHARE: u32 = 6;
/// A master that lives says at least that it is hashing, and that every second.
const JOIN_MS: u64 = 15_000;
/// Between two tries: doubles from the first to the second.
const RETRY_MS_MIN: u64 = 250;
const RETRY_MS_MAX: u64 = 1_000;
/// Most bytes asked of the conversation at once.
const ANSWER_LEN_MAX: u32 = 8_192;

const ROUTE: Token = Token(1);
const ROUTE_READ: Token = Token(2);
const ROUTE_WRITE: Token = Token(3);
const LOG: Token = Token(4);
const LOG_WRITE: Token = Token(5);
const PROBE: Token = Token(6);

enum MasterState {
    Idle { retry_ms: Option<u64> },
    Connecting { since_ms: u64 },
    Up(Box<Up>),
}

struct Up {
    client: Client,
    route: Fid,
    log: Fid,
    /// Until when it has to answer the join.
    answer_by_ms: Option<u64>,
    heard_ms: u64,
    probed_ms: Option<u64>,
    /// The start of a line whose end has not come yet.
    partial: Vec<u8>,
    /// Writes that the master has not acknowledged.
    unwritten: usize,
}

pub(super) struct MasterLink {
    addrs: Vec<SocketAddr>,
    at: usize,
    conn: Option<ConnId>,
    state: MasterState,
    retries_max: u32,
    /// Tries that count against `retries_max`, and all of them.
    tries: u32,
    attempts: u32,
    pub hashing: Option<(u64, u64)>,
}

impl MasterLink {
    pub fn new(addrs: Vec<SocketAddr>, retries_max: u32) -> MasterLink {
        let state = MasterState::Idle { retry_ms: None };
        MasterLink {
            addrs,
            at: 0,
            conn: None,
            state,
            retries_max,
            tries: 0,
            attempts: 0,
            hashing: None,
        }
    }

    pub fn is(&self, conn: ConnId) -> bool {
        self.conn == Some(conn)
    }

    pub fn addr(&self) -> SocketAddr {
        self.addrs[self.at % self.addrs.len()]
    }

    pub fn connect(&mut self, common: &mut Common, now_ms: u64) {
        let conn = common.next_conn();
        self.conn = Some(conn);
        self.state = MasterState::Connecting { since_ms: now_ms };
        common.effects.push_back(Effect::Connect { conn, addr: self.addr() });
    }

    /// Opens the conversation and joins, all in one flight.
    pub fn connected(&mut self, common: &mut Common, now_ms: u64, join: &ClientMessage) {
        let mut client = Client::new(MSIZE);
        let route = client.open(&[b".xget", b"route"], OpenMode::ReadWrite, ROUTE);
        client.write(route, 0, join.line().as_bytes(), ROUTE_WRITE);
        client.read(route, 0, ANSWER_LEN_MAX, ROUTE_READ);
        let log = client.open(&[b"log"], OpenMode::Write, LOG);
        self.state = MasterState::Up(Box::new(Up {
            client,
            route,
            log,
            answer_by_ms: Some(now_ms + JOIN_MS),
            heard_ms: now_ms,
            probed_ms: None,
            partial: Vec::new(),
            unwritten: 1,
        }));
        self.flush(common);
    }

    pub fn flush(&mut self, common: &mut Common) {
        if let (MasterState::Up(up), Some(conn)) = (&mut self.state, self.conn) {
            common.send(conn, up.client.take_output());
        }
    }

    pub fn heard(&mut self, now_ms: u64) {
        if let MasterState::Up(up) = &mut self.state {
            (up.heard_ms, up.probed_ms) = (now_ms, None);
        }
    }

    /// What the master said, or why the connection is of no more use.
    pub fn frame(&mut self, now_ms: u64, frame: Frame) -> Result<Vec<MasterMessage>, String> {
        self.heard(now_ms);
        let MasterState::Up(up) = &mut self.state else { return Ok(Vec::new()) };
        let event = up.client.handle_frame(frame).map_err(|broken| broken.to_string())?;
        match event {
            // A conversation has no end: reading again would be told so again.
            Some(Event::Read { token: ROUTE_READ, len: 0, .. }) => {
                return Err("it ended the conversation".into());
            }
            Some(Event::Read { token: ROUTE_READ, data, .. }) => {
                up.partial.extend_from_slice(data.unwrap_or_default());
                up.client.read(up.route, 0, ANSWER_LEN_MAX, ROUTE_READ);
            }
            Some(Event::Written { .. }) => {
                up.unwritten = up.unwritten.saturating_sub(1);
                return Ok(Vec::new());
            }
            // The log is a courtesy: without it the fetch goes on.
            Some(Event::Failed { token: LOG, .. }) => return Ok(Vec::new()),
            Some(Event::Failed { token: LOG_WRITE, .. }) => {
                up.unwritten = up.unwritten.saturating_sub(1);
                return Ok(Vec::new());
            }
            Some(Event::Failed { error, .. }) => return Err(format!("it says: {}", error.text)),
            _ => return Ok(Vec::new()),
        }
        self.take_lines()
    }

    fn take_lines(&mut self) -> Result<Vec<MasterMessage>, String> {
        let MasterState::Up(up) = &mut self.state else { return Ok(Vec::new()) };
        let mut tells = Vec::new();
        while let Some(end) = up.partial.iter().position(|&b| b == b'\n') {
            let line: Vec<u8> = up.partial.drain(..=end).collect();
            let tell = MasterMessage::parse(&line)
                .ok_or("it said what this version does not understand")?;
            let waits = matches!(tell, MasterMessage::Wait { .. });
            up.answer_by_ms = waits.then_some(up.heard_ms + JOIN_MS);
            match tell {
                MasterMessage::Wait { done_bytes, total_bytes } => {
                    self.hashing = Some((done_bytes, total_bytes));
                }
                MasterMessage::Generation { .. } => {
                    // It works: the next trouble is a new one.
                    (self.hashing, self.tries, self.attempts) = (None, 0, 0);
                }
                _ => {}
            }
            tells.push(tell);
        }
        if up.partial.len() > LINE_LEN_MAX {
            return Err("it sent a line without an end".into());
        }
        Ok(tells)
    }

    pub fn ask(&mut self, common: &mut Common, ask: &ClientMessage) {
        if let MasterState::Up(up) = &mut self.state {
            up.client.write(up.route, 0, ask.line().as_bytes(), ROUTE_WRITE);
            up.unwritten += 1;
        }
        self.flush(common);
    }

    pub fn log(&mut self, common: &mut Common, text: &str) {
        if let MasterState::Up(up) = &mut self.state {
            up.client.write(up.log, 0, text.as_bytes(), LOG_WRITE);
            up.unwritten += 1;
        }
        self.flush(common);
    }

    /// The master has acknowledged all that was written, or cannot be told.
    pub fn is_quiet(&self) -> bool {
        match &self.state {
            MasterState::Up(up) => up.unwritten == 0,
            MasterState::Connecting { .. } => false,
            MasterState::Idle { retry_ms } => retry_ms.is_none(),
        }
    }

    /// Looks for silence; gives the reason when the master is lost.
    pub fn tick(&mut self, common: &mut Common, now_ms: u64) -> Option<String> {
        match &mut self.state {
            MasterState::Idle { retry_ms: Some(at) } if now_ms >= *at => {
                self.at += 1;
                self.connect(common, now_ms);
            }
            MasterState::Connecting { since_ms } if now_ms >= *since_ms + CONNECT_MS => {
                return Some("no answer to the connection".into());
            }
            MasterState::Up(up) if up.answer_by_ms.is_some_and(|by| now_ms >= by) => {
                return Some(format!("it did not answer for {} s", JOIN_MS / 1000));
            }
            MasterState::Up(up) => match up.probed_ms {
                Some(probed) if now_ms >= probed + PROBE_WAIT_MS => {
                    let silent_s = (now_ms - up.heard_ms) / 1000;
                    return Some(format!("silent for {silent_s} s, and does not answer a probe"));
                }
                None if now_ms >= up.heard_ms + PROBE_AFTER_MS => {
                    up.client.ping(PROBE);
                    up.probed_ms = Some(now_ms);
                    self.flush(common);
                }
                _ => {}
            },
            _ => {}
        }
        None
    }

    /// The connection is lost: when to try again, or why not any more.
    pub fn lost(
        &mut self,
        common: &mut Common,
        now_ms: u64,
        why: &str,
        feeding: bool,
    ) -> Result<(), String> {
        let was_silent = matches!(&self.state, MasterState::Up(up) if up.probed_ms.is_some());
        self.abandon(common);
        self.attempts += 1;
        // While peers go on feeding, the master is not needed: keep trying.
        if !feeding {
            // One silence costs as much time as several refusals.
            let silence = 1 + self.retries_max / SILENT_SHARE;
            self.tries += if was_silent { silence } else { 1 };
        }
        if self.tries > self.retries_max {
            let tries = self.attempts;
            return Err(format!("{why}; gave up after {tries} tries"));
        }
        let delay_ms = (RETRY_MS_MIN << self.attempts.min(8)).min(RETRY_MS_MAX);
        self.state = MasterState::Idle { retry_ms: Some(now_ms + delay_ms) };
        let (tries, max) = (self.tries, self.retries_max);
        let addr = self.addr();
        if !feeding {
            let text = format!("the master {addr}: {why}; trying again ({tries} of {max})");
            common.effects.push_back(Effect::Warn(text));
        } else if self.attempts == 1 {
            let text = format!("the master {addr}: {why}; going on with the peers");
            common.effects.push_back(Effect::Warn(text));
        }
        Ok(())
    }

    /// There is a conversation.
    pub fn is_up(&self) -> bool {
        matches!(&self.state, MasterState::Up(up) if up.probed_ms.is_none())
    }

    /// Closes the connection for good.
    pub fn abandon(&mut self, common: &mut Common) {
        if let Some(conn) = self.conn.take() {
            common.effects.push_back(Effect::Close { conn });
        }
        self.state = MasterState::Idle { retry_ms: None };
    }
}
