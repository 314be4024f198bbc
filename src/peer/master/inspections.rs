//! Calls that a master makes itself, so that it need not believe anybody:
//! whether a client serves on the port that it announced (*greeting*), whether
//! it answers reads, and whether a piece that it sends is what the digest says.
//!
//! Knows whom to call when, and what came of it. Refuses to know what follows
//! for the forest (`Members`). Whom it calls is bounded: so many at a time, so
//! many of one IP, each for so long, none more often than once a second; and it
//! calls nobody but the address that a client itself came from.

use crate::caller::Caller;
use crate::conn::ConnEvent;
use crate::content::digest::Digest;
use crate::namespace::GenerationId;
use crate::server::{MSIZE, Server};
use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::ops::Range;
use ninep::RREAD_HEADER_LEN;
use ninep::client::{Event, Frame, OpenMode, Token};
use ninep::server::ConnId;

/// Calls at a time, and of those to one IP address.
const CALLS_MAX: usize = 64;
const CALLS_OF_IP_MAX: usize = 16;
/// Calls that are to be made yet: as many as a forest has nodes.
const WANTED_MAX: usize = 65_536;
/// Who has not answered to the connection by then is called once more: a SYN
/// may be lost. The first call is not given up for it: a busy uplink may hold up
/// the answer.
const RECONNECT_MS: u64 = 100;
/// Who is accused and has not answered by then is late: all his children have
/// waited as long for the answer to a probe.
const LATE_MS: u64 = 250;
/// Who has not answered by then is silent; who is asked for bytes is given longer.
const ANSWER_MS: u64 = 1_000;
const READ_MS: u64 = 2_000;
/// The pause before who was called is called again; who is silent is after twice
/// as long each time.
const PAUSE_MS: u64 = 1_000;
const PAUSE_MS_MAX: u64 = 32_000;
/// Calls to who stays silent.
const TRIES_MAX: u32 = 8;

const NO_ANSWER: &str = "no answer";

const PROBE: Token = Token(1);
const OPEN: Token = Token(2);
const PIECE: Token = Token(3);

/// Why somebody is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// He joined, or did not answer before.
    Greeting,
    /// He is said to be out of reach: does he answer a read? Who answers all else
    /// is as good as gone.
    Accused,
    /// He is said to give nothing: does he answer a read?
    Unfed,
    /// He is said to send wrong bytes.
    Doubted {
        /// Of this very piece: if it is right, the accusation is false.
        is_said: bool,
    },
}

/// What he is asked for, through `held`: a piece of what he fetches himself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub generation: GenerationId,
    pub digest: Digest,
    pub piece: u32,
    /// From one piece to the next, in bytes.
    pub stride: u32,
}

/// Who is to be called, and why.
pub(super) type Inspection = (SocketAddr, Reason, Sample);

/// What a call came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// It answers.
    Well {
        /// ... and was said not to.
        is_refuted: bool,
    },
    /// It has not yet: to be held against one that is accused by all.
    Late,
    /// It does not: why, and whether it did not on the calls before.
    Silent { is_news: bool, why: String },
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
    /// Calls that it did not answer, and whether that was found.
    silent: u32,
    is_found: bool,
    reason: Reason,
    sample: Sample,
}

struct Call {
    conn: ConnId,
    /// The call that was made once more, as long as neither is up.
    again: Option<ConnId>,
    wanted: Wanted,
    caller: Caller,
    /// It knows what it is asked for a piece of.
    is_open: bool,
    /// Until when the connection is waited for, the first time.
    reconnect_ms: Option<u64>,
    late_ms: Option<u64>,
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
    pub sample: Sample,
    pub range: Range<usize>,
}

impl Inspections {
    /// Whether we made this connection.
    pub fn has(&self, conn: ConnId) -> bool {
        self.calls.iter().any(|call| call.is(conn))
    }

    /// Somebody is to be called then, if he is not to be called already.
    pub fn want(&mut self, (addr, reason, sample): Inspection, at_ms: u64) {
        let called = self.recent.iter().rev().find(|(known, _)| *known == addr);
        let at_ms = called.map_or(at_ms, |(_, called_ms)| at_ms.max(called_ms + PAUSE_MS));
        if let Some(wanted) = self.wanted.iter_mut().find(|wanted| wanted.addr == addr) {
            wanted.at_ms = wanted.at_ms.min(at_ms);
            if !matches!(wanted.reason, Reason::Doubted { .. }) {
                (wanted.reason, wanted.sample) = (reason, sample);
            }
        } else if self.wanted.len() < WANTED_MAX {
            let (silent, is_found) = (0, false);
            self.wanted.push_back(Wanted { addr, at_ms, silent, is_found, reason, sample });
        }
    }

    /// He is called within a while, if nobody means to call him.
    pub fn want_some_time(&mut self, inspection: Inspection, now_ms: u64) {
        if !self.wanted.iter().any(|wanted| wanted.addr == inspection.0) {
            self.want(inspection, now_ms + PAUSE_MS_MAX);
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
        let steps = |call: &Call| [call.reconnect_ms, call.late_ms, Some(call.deadline_ms)];
        let calls = self.calls.iter().flat_map(steps).flatten();
        // Those who were due then wait for a call to end, which is an event.
        let later = self.wanted.iter().map(|wanted| wanted.at_ms);
        calls.chain(later.filter(|&at_ms| at_ms > self.looked_ms)).min()
    }

    /// Ends calls that are over, and makes those that are due.
    pub fn timeout(&mut self, server: &mut Server, now_ms: u64) {
        let mut at = 0;
        while let Some(call) = self.calls.get_mut(at) {
            if call.reconnect_ms.take_if(|at_ms| *at_ms <= now_ms).is_some() {
                call.again = Some(server.outbox.connect(call.wanted.addr));
            }
            if call.late_ms.take_if(|at_ms| *at_ms <= now_ms).is_some() {
                self.findings.push_back((call.wanted.addr, Finding::Late));
            }
            if call.deadline_ms <= now_ms {
                // A piece may be long on its way, and that proves nothing.
                let is_doubted = matches!(call.wanted.reason, Reason::Doubted { .. });
                let finding = match call.is_open {
                    true if is_doubted => Ok(Finding::Well { is_refuted: false }),
                    true => Err("it does not answer a read".into()),
                    false => Err(NO_ANSWER.into()),
                };
                let conn = call.conn;
                self.end(server, now_ms, conn, finding);
                continue;
            }
            at += 1;
        }
        self.call_due(server, now_ms);
    }

    /// Makes the calls that are due, as far as there may be more.
    pub fn call_due(&mut self, server: &mut Server, now_ms: u64) {
        self.looked_ms = now_ms;
        while self.recent.front().is_some_and(|(_, at_ms)| at_ms + PAUSE_MS <= now_ms) {
            self.recent.pop_front();
        }
        while self.calls.len() < CALLS_MAX
            && let Some(at) = self.next_due(now_ms)
            && let Some(wanted) = self.wanted.remove(at)
        {
            self.call(server, now_ms, wanted);
        }
    }

    /// Who is to be called next: of an address that nobody is called at before
    /// others, so that no address keeps the rest waiting.
    fn next_due(&self, now_ms: u64) -> Option<usize> {
        let is_below = |wanted: &Wanted, calls_max: usize| {
            let of_ip = |call: &&Call| call.wanted.addr.ip() == wanted.addr.ip();
            wanted.at_ms <= now_ms && self.calls.iter().filter(of_ip).count() < calls_max
        };
        let first = |calls_max| self.wanted.iter().position(|wanted| is_below(wanted, calls_max));
        first(1).or_else(|| first(CALLS_OF_IP_MAX))
    }

    fn call(&mut self, server: &mut Server, now_ms: u64, wanted: Wanted) {
        let Sample { digest, piece, stride, .. } = wanted.sample;
        let (wait_ms, read_len) = match wanted.reason {
            // He need not know yet what he is about to fetch.
            Reason::Greeting => (ANSWER_MS, 0),
            Reason::Accused => (ANSWER_MS, 1),
            Reason::Unfed => (READ_MS, 1),
            Reason::Doubted { .. } => (READ_MS, stride),
        };
        let is_accused = wanted.reason == Reason::Accused;
        let mut caller = Caller::new(MSIZE, server.credentials.as_mut());
        let client = &mut caller.client;
        if read_len == 0 {
            client.ping(PROBE);
        } else {
            let generation = digest.to_string();
            let path: [&[u8]; 3] = [b".xget", generation.as_bytes(), b"held"];
            let held = client.open(&path, OpenMode::Read, OPEN);
            client.read(held, u64::from(piece) * u64::from(stride), read_len, PIECE);
        }
        self.recent.push_back((wanted.addr, now_ms));
        self.calls.push(Call {
            conn: server.outbox.connect(wanted.addr),
            wanted,
            caller,
            is_open: false,
            again: None,
            reconnect_ms: Some(now_ms + RECONNECT_MS),
            late_ms: is_accused.then_some(now_ms + LATE_MS),
            deadline_ms: now_ms + wait_ms,
        });
    }

    /// Takes what happened on a connection that we made. What is to be verified
    /// is; `verified` says what became of it.
    pub fn handle(
        &mut self,
        server: &mut Server,
        now_ms: u64,
        event: ConnEvent,
    ) -> Option<Evidence> {
        let conn = event.conn();
        let call = self.calls.iter_mut().find(|call| call.is(conn))?;
        match event {
            ConnEvent::Connected { .. } => {
                call.reconnect_ms = None;
                if let Some(again) = call.again.take() {
                    let other = core::mem::replace(&mut call.conn, conn);
                    server.outbox.close(if other == conn { again } else { other });
                }
                server.outbox.send(conn, call.caller.client.take_output());
            }
            ConnEvent::Frame { frame, .. } => match call.frame(frame) {
                Some(Answer::Over(ending)) => self.end(server, now_ms, conn, ending),
                Some(Answer::Piece(len)) => {
                    let (sample, begin) = (call.wanted.sample, RREAD_HEADER_LEN);
                    return Some(Evidence { conn, sample, range: begin..begin + len as usize });
                }
                // What was held back until it had shown that it is of the cluster.
                None => server.outbox.send_queued(conn, call.caller.client.output()),
            },
            ConnEvent::Closed { .. } if call.again == Some(conn) => call.again = None,
            ConnEvent::Closed { reason: why, .. } => {
                self.end(server, now_ms, conn, Err(why));
            }
            ConnEvent::Accepted { .. } | ConnEvent::Partial { .. } => {}
        }
        self.call_due(server, now_ms);
        None
    }

    /// What became of the evidence.
    pub fn verified(&mut self, server: &mut Server, now_ms: u64, conn: ConnId, is_right: bool) {
        let call = self.calls.iter().find(|call| call.conn == conn);
        let Some(Wanted { reason, sample, .. }) = call.map(|call| &call.wanted) else { return };
        let finding = match is_right {
            true if *reason == (Reason::Doubted { is_said: true }) => Finding::Right,
            true => Finding::Well { is_refuted: false },
            false => Finding::Corrupt { piece: sample.piece },
        };
        self.end(server, now_ms, conn, Ok(finding));
        self.call_due(server, now_ms);
    }

    /// A call is over.
    fn end(&mut self, server: &mut Server, now_ms: u64, conn: ConnId, ending: Ending) {
        let Some(at) = self.calls.iter().position(|call| call.conn == conn) else { return };
        let Call { again, wanted, .. } = self.calls.remove(at);
        let Wanted { addr, silent, is_found, reason, sample, .. } = wanted;
        again.into_iter().chain([conn]).for_each(|conn| server.outbox.close(conn));
        let why = match ending {
            Ok(finding) => return self.findings.push_back((addr, finding)),
            Err(why) => why,
        };
        let calls = silent + 1;
        // The uplink of either of us may be busy: that is found only the second time.
        let is_late = silent == 0 && reason == Reason::Greeting && why == NO_ANSWER;
        let is_wanted = self.wanted.iter().any(|wanted| wanted.addr == addr);
        if calls < TRIES_MAX && !is_wanted {
            let at_ms = now_ms + (PAUSE_MS << silent).min(PAUSE_MS_MAX);
            // Who answers all but reads is asked for one again.
            let was_read = matches!(reason, Reason::Accused | Reason::Unfed);
            let reason = if was_read { Reason::Unfed } else { Reason::Greeting };
            let is_found = is_found || !is_late;
            self.wanted.push_back(Wanted { addr, at_ms, silent: calls, is_found, reason, sample });
        }
        let silent = Finding::Silent { is_news: !is_found, why };
        self.findings.push_back((addr, if is_late { Finding::Late } else { silent }));
    }
}

enum Answer {
    Over(Ending),
    /// The piece, of so many bytes.
    Piece(u32),
}

/// What a call came to, or why there is no answer.
type Ending = Result<Finding, String>;

impl Call {
    fn is(&self, conn: ConnId) -> bool {
        self.conn == conn || self.again == Some(conn)
    }

    fn frame(&mut self, frame: Frame) -> Option<Answer> {
        let is_doubted = matches!(self.wanted.reason, Reason::Doubted { .. });
        match self.caller.handle_frame(frame) {
            Err(why) => return Some(Answer::Over(Err(why))),
            Ok(Some(Event::Opened { .. })) => self.is_open = true,
            Ok(Some(Event::Read { len, .. })) if is_doubted && len > 0 => {
                return Some(Answer::Piece(len));
            }
            Ok(Some(Event::Read { len: 0, .. }))
                if self.wanted.reason == Reason::Unfed && self.wanted.sample.piece == 0 =>
            {
                return Some(Answer::Over(Err("it has not even the manifest".into())));
            }
            // That it does not hold another piece proves nothing.
            Ok(Some(Event::Pong { .. } | Event::Read { .. })) => {
                let is_refuted = self.wanted.reason == Reason::Accused;
                return Some(Answer::Over(Ok(Finding::Well { is_refuted })));
            }
            // He may not know yet what he is to fetch, and that is an answer.
            Ok(Some(Event::Failed { .. })) if self.wanted.reason == Reason::Accused => {
                return Some(Answer::Over(Ok(Finding::Well { is_refuted: false })));
            }
            Ok(Some(Event::Failed { error, .. })) => {
                return Some(Answer::Over(Err(error.text.into())));
            }
            Ok(_) => {}
        }
        None
    }
}
