//! Calls that a master makes itself, so that it need not believe anybody:
//! whether a client answers on the port that it announced (*greeting*), and
//! whether a piece that it sends is what the digest says.
//!
//! Knows whom to call when, and what came of it. Refuses to know what follows
//! for the forest (`Members`). Whom it calls is bounded: so many at a time, so
//! many of one IP, each for so long, none more often than once a second; and it
//! calls nobody but the address that a client itself came from.

use crate::conn::{ConnEvent, Outbox};
use crate::content::digest::Digest;
use crate::namespace::GenerationId;
use crate::server::MSIZE;
use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::ops::Range;
use ninep::RREAD_HEADER_LEN;
use ninep::client::{Client, Event, Frame, OpenMode, Token};
use ninep::server::ConnId;

/// Calls at a time, and of those to one IP address.
const CALLS_MAX: usize = 64;
const CALLS_OF_IP_MAX: usize = 16;
/// Calls that are to be made yet: as many as a forest has nodes.
const WANTED_MAX: usize = 65_536;
/// Who has not answered to the connection by then is called once more: a SYN
/// may be lost.
const RECONNECT_MS: u64 = 100;
/// Who has not answered by then is silent. Who is accused is waited for as long as
/// children wait for a probe's answer, since they suffer meanwhile; who is asked
/// for a piece longer, since his uplink may be busy.
const ANSWER_MS: u64 = 500;
const ACCUSED_ANSWER_MS: u64 = 250;
const PIECE_MS: u64 = 2_000;
/// The pause before who was called is called again; who is silent is after twice
/// as long each time.
const PAUSE_MS: u64 = 1_000;
const PAUSE_MS_MAX: u64 = 32_000;
/// Calls to who stays silent.
const TRIES_MAX: u32 = 8;

const PROBE: Token = Token(1);
const OPEN: Token = Token(2);
const PIECE: Token = Token(3);

/// Why somebody is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// He joined, or did not answer before.
    Greeting,
    /// He is said to be out of reach.
    Accused,
    /// He is said to send wrong bytes.
    Doubted(Doubt),
}

/// A piece that somebody was sent wrong bytes of, as he says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Doubt {
    pub generation: GenerationId,
    pub digest: Digest,
    pub piece: u32,
    /// From one piece to the next in `held`, in bytes.
    pub stride: u32,
    /// It is the very piece: if it is right, the accusation is false.
    pub is_said: bool,
}

/// What a call came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// It answers.
    Well,
    /// It does not, on so many calls so far: why.
    Silent { calls: u32, why: String },
    /// It sends what it was said to have corrupted.
    Right,
    /// It sent corrupt bytes to us, too.
    Corrupt { piece: u32 },
}

/// Who is to be called.
#[derive(Debug)]
struct Wanted {
    addr: SocketAddr,
    at_ms: u64,
    /// Calls that it did not answer.
    silent: u32,
    reason: Reason,
}

struct Call {
    conn: ConnId,
    wanted: Wanted,
    client: Client,
    /// It has answered something.
    has_answered: bool,
    /// Until when the connection is waited for, the first time.
    reconnect_ms: Option<u64>,
    deadline_ms: u64,
}

#[derive(Default)]
pub(super) struct Inspections {
    calls: Vec<Call>,
    wanted: VecDeque<Wanted>,
    /// Who was called in the last second, and when; the latest at the end.
    recent: VecDeque<(SocketAddr, u64)>,
    findings: VecDeque<(SocketAddr, Finding)>,
    /// When it was last looked for who is to be called.
    looked_ms: u64,
}

/// What is to be verified: a piece, and where in the frame at hand it lies.
pub(super) struct Evidence {
    pub conn: ConnId,
    pub doubt: Doubt,
    pub range: Range<usize>,
}

impl Inspections {
    /// Whether we made this connection.
    pub fn has(&self, conn: ConnId) -> bool {
        self.calls.iter().any(|call| call.conn == conn)
    }

    /// Somebody is to be called then, if he is not to be called already.
    pub fn want(&mut self, addr: SocketAddr, at_ms: u64, reason: Reason) {
        let called = self.recent.iter().rev().find(|(known, _)| *known == addr);
        let at_ms = called.map_or(at_ms, |(_, called_ms)| at_ms.max(called_ms + PAUSE_MS));
        if let Some(wanted) = self.wanted.iter_mut().find(|wanted| wanted.addr == addr) {
            wanted.at_ms = wanted.at_ms.min(at_ms);
            if !matches!(wanted.reason, Reason::Doubted(_)) {
                wanted.reason = reason;
            }
        } else if self.wanted.len() < WANTED_MAX {
            self.wanted.push_back(Wanted { addr, at_ms, silent: 0, reason });
        }
    }

    /// He is called within a while, if nobody means to call him.
    pub fn want_some_time(&mut self, addr: SocketAddr, now_ms: u64) {
        if !self.wanted.iter().any(|wanted| wanted.addr == addr) {
            self.want(addr, now_ms + PAUSE_MS_MAX, Reason::Greeting);
        }
    }

    /// Nobody is there any more.
    pub fn forget(&mut self, addr: SocketAddr) {
        self.wanted.retain(|wanted| wanted.addr != addr);
    }

    pub fn poll_finding(&mut self) -> Option<(SocketAddr, Finding)> {
        self.findings.pop_front()
    }

    /// When to call `timeout`.
    pub fn deadline_ms(&self) -> Option<u64> {
        let calls = self.calls.iter().map(|call| call.reconnect_ms.unwrap_or(call.deadline_ms));
        // Those who were due then wait for a call to end, which is an event.
        let later = self.wanted.iter().map(|wanted| wanted.at_ms);
        calls.chain(later.filter(|&at_ms| at_ms > self.looked_ms)).min()
    }

    /// Ends calls that are over, and makes those that are due.
    pub fn timeout(&mut self, outbox: &mut Outbox, now_ms: u64) {
        let mut at = 0;
        while let Some(call) = self.calls.get_mut(at) {
            if call.reconnect_ms.is_some_and(|at_ms| at_ms <= now_ms) {
                call.reconnect_ms = None;
                outbox.close(call.conn);
                call.conn = outbox.connect(call.wanted.addr);
            } else if call.deadline_ms <= now_ms {
                let (conn, has_answered) = (call.conn, call.has_answered);
                let why = "no answer".into();
                let finding =
                    if has_answered { Finding::Well } else { Finding::Silent { calls: 0, why } };
                self.end(outbox, now_ms, conn, finding);
                continue;
            }
            at += 1;
        }
        self.call_due(outbox, now_ms);
    }

    /// Makes the calls that are due, as far as there may be more.
    pub fn call_due(&mut self, outbox: &mut Outbox, now_ms: u64) {
        self.looked_ms = now_ms;
        while self.recent.front().is_some_and(|(_, at_ms)| at_ms + PAUSE_MS <= now_ms) {
            self.recent.pop_front();
        }
        while self.calls.len() < CALLS_MAX
            && let Some(at) = self.wanted.iter().position(|wanted| self.may_call(wanted, now_ms))
            && let Some(wanted) = self.wanted.remove(at)
        {
            self.call(outbox, now_ms, wanted);
        }
    }

    fn may_call(&self, wanted: &Wanted, now_ms: u64) -> bool {
        let of_ip = |call: &&Call| call.wanted.addr.ip() == wanted.addr.ip();
        wanted.at_ms <= now_ms && self.calls.iter().filter(of_ip).count() < CALLS_OF_IP_MAX
    }

    fn call(&mut self, outbox: &mut Outbox, now_ms: u64, wanted: Wanted) {
        let mut client = Client::new(MSIZE);
        let wait_ms = match wanted.reason {
            Reason::Greeting => ANSWER_MS,
            Reason::Accused => ACCUSED_ANSWER_MS,
            Reason::Doubted(_) => PIECE_MS,
        };
        match wanted.reason {
            Reason::Greeting | Reason::Accused => client.ping(PROBE),
            Reason::Doubted(doubt) => {
                let generation = doubt.digest.to_string();
                let path: [&[u8]; 3] = [b".xget", generation.as_bytes(), b"held"];
                let held = client.open(&path, OpenMode::Read, OPEN);
                let offset = u64::from(doubt.piece) * u64::from(doubt.stride);
                client.read(held, offset, doubt.stride, PIECE);
            }
        }
        self.recent.push_back((wanted.addr, now_ms));
        self.calls.push(Call {
            conn: outbox.connect(wanted.addr),
            wanted,
            client,
            has_answered: false,
            reconnect_ms: Some(now_ms + RECONNECT_MS),
            deadline_ms: now_ms + wait_ms,
        });
    }

    /// Takes what happened on a connection that we made. What is to be verified
    /// is; `verified` says what became of it.
    pub fn handle(
        &mut self,
        outbox: &mut Outbox,
        now_ms: u64,
        event: ConnEvent,
    ) -> Option<Evidence> {
        let conn = event.conn();
        let call = self.calls.iter_mut().find(|call| call.conn == conn)?;
        match event {
            ConnEvent::Connected { .. } => {
                call.reconnect_ms = None;
                outbox.send(conn, call.client.take_output());
            }
            ConnEvent::Frame { frame, .. } => match call.frame(frame) {
                Some(Answer::Over(finding)) => self.end(outbox, now_ms, conn, finding),
                Some(Answer::Piece(doubt, len)) => {
                    let range = RREAD_HEADER_LEN..RREAD_HEADER_LEN + len as usize;
                    return Some(Evidence { conn, doubt, range });
                }
                None => {}
            },
            ConnEvent::Closed { reason: why, .. } => {
                self.end(outbox, now_ms, conn, Finding::Silent { calls: 0, why });
            }
            ConnEvent::Accepted { .. } | ConnEvent::Partial { .. } => {}
        }
        self.call_due(outbox, now_ms);
        None
    }

    /// What became of the evidence.
    pub fn verified(&mut self, outbox: &mut Outbox, now_ms: u64, conn: ConnId, is_right: bool) {
        let call = self.calls.iter().find(|call| call.conn == conn);
        let Some(Reason::Doubted(doubt)) = call.map(|call| call.wanted.reason) else { return };
        let finding = match is_right {
            true if doubt.is_said => Finding::Right,
            true => Finding::Well,
            false => Finding::Corrupt { piece: doubt.piece },
        };
        self.end(outbox, now_ms, conn, finding);
        self.call_due(outbox, now_ms);
    }

    fn end(&mut self, outbox: &mut Outbox, now_ms: u64, conn: ConnId, finding: Finding) {
        let Some(at) = self.calls.iter().position(|call| call.conn == conn) else { return };
        let Call { wanted: Wanted { addr, silent, .. }, .. } = self.calls.remove(at);
        outbox.close(conn);
        let Finding::Silent { why, .. } = finding else {
            return self.findings.push_back((addr, finding));
        };
        let calls = silent + 1;
        let is_wanted = self.wanted.iter().any(|wanted| wanted.addr == addr);
        if calls < TRIES_MAX && !is_wanted {
            let at_ms = now_ms + (PAUSE_MS << silent).min(PAUSE_MS_MAX);
            self.wanted.push_back(Wanted { addr, at_ms, silent: calls, reason: Reason::Greeting });
        }
        self.findings.push_back((addr, Finding::Silent { calls, why }));
    }
}

enum Answer {
    Over(Finding),
    /// The piece, of so many bytes.
    Piece(Doubt, u32),
}

impl Call {
    fn frame(&mut self, frame: Frame) -> Option<Answer> {
        match self.client.handle_frame(frame) {
            Err(broken) => {
                let why = broken.reason;
                return Some(Answer::Over(Finding::Silent { calls: 0, why }));
            }
            Ok(Some(Event::Pong { token: PROBE })) => return Some(Answer::Over(Finding::Well)),
            Ok(Some(Event::Read { len, .. }))
                if len > 0
                    && let Reason::Doubted(doubt) = self.wanted.reason =>
            {
                return Some(Answer::Piece(doubt, len));
            }
            // It does not hold it, or not that generation: that proves nothing.
            Ok(Some(Event::Read { .. } | Event::Failed { .. })) => {
                return Some(Answer::Over(Finding::Well));
            }
            Ok(_) => self.has_answered = true,
        }
        None
    }
}
