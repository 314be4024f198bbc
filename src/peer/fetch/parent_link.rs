//! A link to one parent: its 9P session, its requests, signs of life.
//!
//! Knows one connection. A parent that brings nothing is probed by a read that may not
//! wait: one that answers only waits itself, one that does not is frozen, or answers
//! all but reads. So complaints name the node that is at fault, and not all those
//! below it. Who sends a frame byte by byte is found out as well. Refuses to know
//! which stripes it is the parent of and which pieces to ask for.

use super::scheduler::PieceRequest;
use super::signs::{Busy, Sample, Signs};
use crate::caller::{Caller, Credentials};
use crate::conn::Outbox;
use crate::content::digest::Digest;
use crate::control::{Complaint, ParentAddr};
use crate::server::MSIZE;
use crate::timers::{Timer, Timers};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use ninep::client::{Client, Event, Fid, Frame, OpenMode, Token};
use ninep::server::ConnId;
use ninep::{ESTALE, Error};

/// A parent that has not answered by then is connected to anew: TCP repeats a
/// SYN that was lost only after a second (RFC 6298, section 2.1).
const RECONNECT_MS: u64 = 250;
/// And this long after that it is given up.
const CONNECT_MS: u64 = 500;
/// The master is given so many times as long as a peer: nobody can replace it.
const MASTER_PATIENCE: u64 = 6;
/// A parent that owes us something and is silent this long is probed.
pub(super) const PROBE_AFTER_MS: u64 = 150;
/// ... and is frozen when it does not answer within that.
const PROBE_WAIT_MS: u64 = 250;
/// An open is answered within that: nobody may park it.
const OPEN_MS: u64 = 500;
/// Of a frame that has begun, at least so many bytes come in so much time: a tenth
/// of what an uplink of 1 Mbit/s gives one of four.
const FRAME_LOOK_MS: u64 = 1_000;
const FRAME_LEN_MIN: u32 = 4_096;
/// So many probes are answered by that there is nothing before that is believed to
/// last: a parent may just have begun.
const DENIALS: u32 = 3;
/// A parent that just joined may not know its generation yet. Mostly it does
/// within milliseconds, so the wait begins with `MIN` and doubles up to `MAX`.
const REOPEN_MS_MIN: u64 = 5;
const REOPEN_MS_MAX: u64 = 160;
const OPEN_TRIES_MAX: u32 = 24;

/// A request's token is the number of the piece that it asks for, or one of these.
const PIECES: Token = Token(1 << 40);
const LIST: Token = Token(2 << 40);
const LIST_READ: Token = Token(3 << 40);
const PROBE: Token = Token(4 << 40);
const HELD: Token = Token(5 << 40);
const REST_FILE: Token = Token(6 << 40);
/// A probe that asks for another piece than the manifest's first.
const PROBE_KNOWN: Token = Token(7 << 40);
const LATE: Token = Token(8 << 40);
/// Added to the number of a piece that the parent is not to wait for.
const UNAWAITED: u64 = 1 << 32;
/// Added to the number of a piece of which what did not change is wanted.
const REST: u64 = 1 << 33;

/// What a frame brought.
pub(super) enum Arrived<'a> {
    Nothing,
    List(Vec<u8>),
    Piece {
        piece: u32,
        len: u32,
        data: Option<&'a [u8]>,
    },
    /// The parent does not hold it, or not yet.
    Absent {
        piece: u32,
    },
    /// What is left of a piece: files in it may have changed.
    Rest {
        piece: u32,
        len: u32,
    },
    Refused {
        piece: u32,
        why: String,
        /// There may be a rest of it.
        is_whole: bool,
    },
}

/// What a timer of a link came to.
pub(super) enum LinkTimeout {
    /// It is to be connected to anew.
    Unanswered,
    /// It is of no more use.
    Lost(String, Complaint),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LinkTimer {
    /// The first connection is not answered: make another.
    Reconnect,
    /// The second is not answered either.
    GiveUp,
    /// Open the pieces again.
    Reopen,
    /// The open is not answered.
    Unopened,
    /// Look how much has come of a frame.
    Frame,
    /// It is silent: probe it.
    Probe,
    /// The probe is not answered.
    Frozen,
}

impl Timer for LinkTimer {
    const ALL: &'static [LinkTimer] = &[
        LinkTimer::Reconnect,
        LinkTimer::GiveUp,
        LinkTimer::Reopen,
        LinkTimer::Unopened,
        LinkTimer::Frame,
        LinkTimer::Probe,
        LinkTimer::Frozen,
    ];
    fn index(self) -> usize {
        self as usize
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LinkState {
    Connecting,
    /// The file of the pieces is being opened; counts the tries.
    Opening {
        tries: u32,
    },
    Open,
}

/// The digests of the manifest's pieces, on their way.
#[derive(Debug, Default)]
struct ListRead {
    fid: Option<Fid>,
    bytes: Vec<u8>,
    /// 0 when nothing is awaited.
    len: u32,
}

pub(super) struct ParentLink {
    conn: ConnId,
    pub parent: ParentAddr,
    generation: Digest,
    caller: Caller,
    state: LinkState,
    timers: Timers<7>,
    signs: Signs,
    busy: Busy,
    files: Files,
    list: ListRead,
}

/// What is open of the generation, the list aside.
struct Files {
    pieces: Fid,
    /// Pieces that are held now; opened when help is first wanted.
    held: Option<Fid>,
    /// Pieces without what changed of them; opened when that is first wanted.
    rest: Option<Fid>,
    /// Pieces for who is not to keep others waiting; opened when we are that.
    late: Option<Fid>,
}

impl ParentLink {
    /// A link whose connection is being made.
    pub fn new(
        conn: ConnId,
        parent: ParentAddr,
        generation: Digest,
        now_ms: u64,
        credentials: Option<&mut Credentials>,
    ) -> ParentLink {
        let mut caller = Caller::new(MSIZE, credentials);
        let pieces = open(&mut caller.client, generation, b"pieces", PIECES);
        let mut link = ParentLink {
            conn,
            parent,
            generation,
            caller,
            state: LinkState::Connecting,
            timers: Timers::new(),
            signs: Signs::new(now_ms),
            busy: Busy::default(),
            files: Files { pieces, held: None, rest: None, late: None },
            list: ListRead::default(),
        };
        link.timers.set(LinkTimer::Reconnect, now_ms + link.patience() * RECONNECT_MS);
        link
    }

    fn patience(&self) -> u64 {
        if self.parent == ParentAddr::Master { MASTER_PATIENCE } else { 1 }
    }

    pub fn connected(&mut self, outbox: &mut Outbox, now_ms: u64) {
        self.timers.stop(LinkTimer::Reconnect);
        self.timers.stop(LinkTimer::GiveUp);
        self.state = LinkState::Opening { tries: 1 };
        self.timers.set(LinkTimer::Unopened, now_ms + self.patience() * OPEN_MS);
        self.heard(now_ms);
        self.flush(outbox);
    }

    /// It is connected to anew, by this connection.
    pub fn reconnect(&mut self, conn: ConnId, now_ms: u64) {
        self.conn = conn;
        self.timers.stop(LinkTimer::Reconnect);
        self.timers.set(LinkTimer::GiveUp, now_ms + self.patience() * CONNECT_MS);
    }

    /// Nothing leaves before the connection is up.
    pub fn flush(&mut self, outbox: &mut Outbox) {
        if self.state != LinkState::Connecting {
            outbox.send_queued(self.conn, self.caller.client.output());
        }
    }

    /// A sign of life.
    fn heard(&mut self, now_ms: u64) {
        let wait_ms = self.patience() * PROBE_WAIT_MS;
        if let Some(at_ms) = self.timers.get(LinkTimer::Frozen) {
            let answer_ms = (now_ms + wait_ms).saturating_sub(at_ms);
            // Bounded: else late answers would let us wait longer and longer.
            self.signs.answer_ms = self.signs.answer_ms.max(answer_ms.min(2 * PROBE_WAIT_MS));
            self.timers.stop(LinkTimer::Frozen);
        }
        self.signs.heard_ms = now_ms;
        self.timers.set(LinkTimer::Probe, now_ms + PROBE_AFTER_MS);
    }

    /// A part of a frame came: so many bytes of it are here.
    pub fn heard_part(&mut self, now_ms: u64, len: u32) {
        self.heard(now_ms);
        if self.busy.part(now_ms, len) {
            self.timers.set(LinkTimer::Frame, now_ms + self.patience() * FRAME_LOOK_MS);
        }
    }

    pub fn busy_ms(&self, now_ms: u64) -> u64 {
        self.busy.total_ms(now_ms)
    }

    /// The longest that a probe took to be answered since this was last asked.
    pub fn take_answer_ms(&mut self) -> u64 {
        core::mem::take(&mut self.signs.answer_ms)
    }

    /// It owes an answer: to an open, or the list, or a piece.
    fn is_awaited(&self, awaits_pieces: bool) -> bool {
        let is_opening = matches!(self.state, LinkState::Opening { .. })
            && self.timers.get(LinkTimer::Reopen).is_none();
        awaits_pieces || self.list.len > 0 || is_opening
    }

    /// When a timer passes: later by our own stall, as what holds us up may hold
    /// up the parent as well.
    fn due_ms(&self, timer: LinkTimer, is_awaited: bool, local_stall_ms: u64) -> Option<u64> {
        let at_ms = self.timers.get(timer)?;
        match timer {
            LinkTimer::Reconnect => Some(at_ms + local_stall_ms),
            LinkTimer::GiveUp | LinkTimer::Unopened | LinkTimer::Frame | LinkTimer::Frozen => {
                Some(at_ms + 2 * local_stall_ms)
            }
            LinkTimer::Reopen => Some(at_ms),
            // One that owes nothing may be silent.
            LinkTimer::Probe => is_awaited.then_some(at_ms),
        }
    }

    /// When to call `timeout`.
    pub fn deadline_ms(&self, awaits_pieces: bool, local_stall_ms: u64) -> Option<u64> {
        let is_awaited = self.is_awaited(awaits_pieces);
        let due = |timer: &LinkTimer| self.due_ms(*timer, is_awaited, local_stall_ms);
        LinkTimer::ALL.iter().filter_map(due).min()
    }

    /// Does what is due: opens again, or looks for silence.
    #[inline(never)]
    pub fn timeout(
        &mut self,
        outbox: &mut Outbox,
        now_ms: u64,
        awaits_pieces: bool,
        local_stall_ms: u64,
        sample: Sample,
    ) -> Option<LinkTimeout> {
        let is_awaited = self.is_awaited(awaits_pieces);
        for &timer in LinkTimer::ALL {
            let due_ms = self.due_ms(timer, is_awaited, local_stall_ms);
            if due_ms.is_none_or(|due_ms| due_ms > now_ms) {
                continue;
            }
            match timer {
                LinkTimer::Reconnect => return Some(LinkTimeout::Unanswered),
                LinkTimer::GiveUp => return Some(lost("no answer to the connection".into())),
                LinkTimer::Reopen => self.reopen(outbox, now_ms),
                LinkTimer::Unopened => return Some(unhelpful("does not answer an open".into())),
                LinkTimer::Frame => {
                    let came = self.busy.look();
                    if came < FRAME_LEN_MIN {
                        return Some(unhelpful(format!(
                            "sends {came} bytes of a frame in {} ms",
                            self.patience() * FRAME_LOOK_MS
                        )));
                    }
                    self.timers.set(LinkTimer::Frame, now_ms + self.patience() * FRAME_LOOK_MS);
                }
                LinkTimer::Probe => self.probe(outbox, now_ms, sample),
                LinkTimer::Frozen => {
                    let silent_ms = now_ms - self.signs.heard_ms;
                    if self.signs.answers_others {
                        return Some(unhelpful(format!(
                            "answers, and not what is read of it, for {silent_ms} ms"
                        )));
                    }
                    return Some(lost(format!(
                        "frozen: silent for {silent_ms} ms, and does not answer a probe"
                    )));
                }
            }
        }
        None
    }

    fn reopen(&mut self, outbox: &mut Outbox, now_ms: u64) {
        self.timers.stop(LinkTimer::Reopen);
        self.timers.set(LinkTimer::Unopened, now_ms + self.patience() * OPEN_MS);
        if let LinkState::Opening { tries } = self.state {
            self.files.pieces = open(&mut self.caller.client, self.generation, b"pieces", PIECES);
            self.state = LinkState::Opening { tries: tries + 1 };
            self.flush(outbox);
        }
    }

    fn probe(&mut self, outbox: &mut Outbox, now_ms: u64, sample: Sample) {
        self.timers.stop(LinkTimer::Probe);
        self.timers.set(LinkTimer::Frozen, now_ms + self.patience() * PROBE_WAIT_MS);
        self.signs.answers_others = false;
        if self.state == LinkState::Open {
            // One byte, or that it is not here: whoever reads can say either at once.
            let held = self.held();
            let token = if sample.piece > 0 { PROBE_KNOWN } else { PROBE };
            let offset = u64::from(sample.piece) * u64::from(sample.stride);
            self.caller.client.read(held, offset, 1, token);
        } else {
            self.caller.client.ping(PROBE);
        }
        self.flush(outbox);
    }

    /// The file of pieces for who is behind.
    fn late(&mut self) -> Fid {
        let (client, generation) = (&mut self.caller.client, self.generation);
        *self.files.late.get_or_insert_with(|| open(client, generation, b"late", LATE))
    }

    /// The file of pieces that are held now.
    fn held(&mut self) -> Fid {
        let (client, generation) = (&mut self.caller.client, self.generation);
        *self.files.held.get_or_insert_with(|| open(client, generation, b"held", HELD))
    }

    /// Asks for the digests of the manifest's pieces, once.
    pub fn ask_list(&mut self, len: u32) {
        if self.list.fid.is_none() && self.state == LinkState::Open {
            let fid = open(&mut self.caller.client, self.generation, b"list", LIST);
            self.caller.client.read(fid, 0, len, LIST_READ);
            self.list = ListRead { fid: Some(fid), bytes: Vec::new(), len };
        }
    }

    /// Asks for a piece, which is at most a `stride` long. While the open is under
    /// way the request waits with it.
    pub fn ask_piece(&mut self, now_ms: u64, request: PieceRequest, stride: u32, is_behind: bool) {
        if self.caller.client.outstanding() == 0 {
            // Silence counts from when something is asked for.
            self.heard(now_ms);
        }
        let piece = u64::from(request.piece);
        let offset = piece * u64::from(stride);
        let is_late = is_behind && self.parent == ParentAddr::Master;
        if request.waits || is_late {
            let file = if is_late { self.late() } else { self.files.pieces };
            return self.caller.client.read(file, offset, stride, Token(piece));
        }
        let held = self.held();
        self.caller.client.read(held, offset, stride, Token(UNAWAITED | piece));
    }

    /// Asks for what did not change of a piece.
    pub fn ask_rest(&mut self, outbox: &mut Outbox, piece: u32, stride: u32) {
        let fid = match self.files.rest {
            Some(fid) => fid,
            None => open(&mut self.caller.client, self.generation, b"rest", REST_FILE),
        };
        self.files.rest = Some(fid);
        let piece = u64::from(piece);
        self.caller.client.read(fid, piece * u64::from(stride), stride, Token(REST | piece));
        self.flush(outbox);
    }

    pub fn forget(&mut self, outbox: &mut Outbox, piece: u32) {
        self.caller.client.flush(Token(u64::from(piece)));
        self.caller.client.flush(Token(UNAWAITED | u64::from(piece)));
        self.caller.client.flush(Token(REST | u64::from(piece)));
        self.flush(outbox);
    }

    /// It says that it has not what it must have, `DENIALS` times in a row: not even the
    /// manifest; or none of what we have had for long.
    pub fn denies(&self) -> [bool; 2] {
        self.signs.denials.map(|count| count >= DENIALS)
    }

    /// What it owes beside pieces, and since when.
    pub fn owes(&self) -> Option<(&'static str, u64)> {
        match self.state {
            LinkState::Connecting => Some(("an answer to the call", self.signs.began_ms)),
            LinkState::Opening { .. } => Some(("an open", self.signs.began_ms)),
            LinkState::Open => {
                (self.list.len > 0).then_some(("the list of the manifest", self.signs.began_ms))
            }
        }
    }

    /// Whether pieces can be asked for.
    pub fn is_open(&self) -> bool {
        self.state == LinkState::Open
    }

    /// Takes a frame: what it brought. An error is why the link is of no more use.
    #[inline(never)]
    pub fn frame<'a>(&mut self, now_ms: u64, frame: Frame<'a>) -> Result<Arrived<'a>, String> {
        self.frame_ended(now_ms);
        let event = self.caller.handle_frame(frame)?;
        // Who answers all but reads is of no use, and lives only as long as nothing is
        // to be read.
        match event {
            None | Some(Event::Opened { .. }) if self.state == LinkState::Open => {
                self.signs.answers_others = true;
            }
            _ => self.heard(now_ms),
        }
        match event {
            Some(Event::Opened { token: PIECES, .. }) => self.opened(),
            Some(Event::Read { token: token @ (PROBE | PROBE_KNOWN), len, .. }) => {
                let denials = &mut self.signs.denials[usize::from(token == PROBE_KNOWN)];
                *denials = if len == 0 { *denials + 1 } else { 0 };
            }
            Some(Event::Read { token: LIST_READ, data, .. }) => return Ok(self.list_part(data)),
            Some(Event::Read { token, len: 0, .. }) if token.0 & UNAWAITED != 0 => {
                return Ok(Arrived::Absent { piece: token.0 as u32 });
            }
            Some(Event::Read { token, len, .. }) if token.0 & REST != 0 => {
                return Ok(Arrived::Rest { piece: token.0 as u32, len });
            }
            Some(Event::Read { token, len, data }) => {
                self.signs.denials = [0; 2];
                return Ok(Arrived::Piece { piece: token.0 as u32, len, data });
            }
            Some(Event::Failed { token: PIECES, error }) => {
                return self.open_failed(now_ms, &error.text);
            }
            Some(Event::Failed { token: LIST | LIST_READ, error }) => {
                return Err(format!("has no list of the manifest: {}", error.text));
            }
            Some(Event::Failed { token, error }) if token.0 < 2 * REST => {
                return self.failed(token, error);
            }
            _ => {}
        }
        Ok(Arrived::Nothing)
    }

    fn frame_ended(&mut self, now_ms: u64) {
        self.busy.end(now_ms);
        self.timers.stop(LinkTimer::Frame);
    }

    fn opened(&mut self) {
        self.timers.stop(LinkTimer::Unopened);
        self.state = LinkState::Open;
    }

    /// A read of a piece failed.
    fn failed<'a>(&self, token: Token, error: Error) -> Result<Arrived<'a>, String> {
        let piece = token.0 as u32;
        if error.errno == ESTALE.errno {
            return Err("does not serve this generation any more".into());
        }
        // Also when a peer has no such file as `held`.
        if token.0 & UNAWAITED != 0 && self.parent != ParentAddr::Master {
            return Ok(Arrived::Absent { piece });
        }
        let is_whole = token.0 & REST == 0;
        Ok(Arrived::Refused { piece, why: error.text.into_owned(), is_whole })
    }

    fn list_part<'a>(&mut self, data: Option<&[u8]>) -> Arrived<'a> {
        let data = data.unwrap_or_default();
        self.list.bytes.extend_from_slice(data);
        let have = self.list.bytes.len() as u32;
        if data.is_empty() || have >= self.list.len {
            self.list.len = 0;
            return Arrived::List(core::mem::take(&mut self.list.bytes));
        }
        if let Some(fid) = self.list.fid {
            self.caller.client.read(fid, u64::from(have), self.list.len - have, LIST_READ);
        }
        Arrived::Nothing
    }

    fn open_failed<'a>(&mut self, now_ms: u64, why: &str) -> Result<Arrived<'a>, String> {
        self.timers.stop(LinkTimer::Unopened);
        match self.state {
            LinkState::Opening { tries } if tries < OPEN_TRIES_MAX => {
                let wait_ms = (REOPEN_MS_MIN << tries.min(8)).min(REOPEN_MS_MAX);
                self.timers.set(LinkTimer::Reopen, now_ms + wait_ms);
                Ok(Arrived::Nothing)
            }
            _ => Err(format!("does not serve this generation: {why}")),
        }
    }
}

fn lost(why: String) -> LinkTimeout {
    LinkTimeout::Lost(why, Complaint::Frozen)
}

/// It lives, and is not to be gone back to.
fn unhelpful(why: String) -> LinkTimeout {
    LinkTimeout::Lost(why, Complaint::Refused)
}

fn open(client: &mut Client, generation: Digest, name: &[u8], token: Token) -> Fid {
    let generation = generation.to_string();
    client.open(&[b".xget", generation.as_bytes(), name], OpenMode::Read, token)
}

#[cfg(test)]
mod tests;
