//! A link to one parent: its 9P session, its requests, signs of life.
//!
//! Knows one connection. A parent that says nothing is probed: one that
//! answers is only waiting itself, one that does not is frozen. So the blame
//! falls on the node that is dead, not on all below it.

use crate::content::digest::Digest;
use crate::control::{Complaint, ParentAddr};
use crate::fetch::scheduler::PieceRequest;
use crate::node::{Common, MSIZE};
use alloc::format;
use alloc::string::String;
use alloc::string::ToString;
use alloc::vec::Vec;
use ninep::client::{Client, Event, Fid, Frame, OpenMode, Token};
use ninep::server::ConnId;

/// A parent that has not answered by then is called once more: TCP repeats a
/// SYN that was lost only after a second.
const CALL_MS: u64 = 250;
/// And this long after that it is given up.
const CONNECT_MS: u64 = 500;
/// The master is given so many times as long as a peer: nobody stands in for it.
const MASTER_PATIENCE: u64 = 6;
/// A parent that owes us something and is silent this long is probed.
const PROBE_AFTER_MS: u64 = 150;
/// ... and is frozen when it does not answer within that.
const PROBE_WAIT_MS: u64 = 250;
/// A parent that just joined may not know its generation yet: mostly it is
/// a matter of milliseconds, so the wait doubles from the first to the second.
const OPEN_AGAIN_MS_MIN: u64 = 5;
const OPEN_AGAIN_MS_MAX: u64 = 160;
const OPEN_TRIES_MAX: u32 = 24;

/// Tokens: the number of a piece, or one of these.
const PIECES: Token = Token(1 << 40);
const LIST: Token = Token(2 << 40);
const LIST_READ: Token = Token(3 << 40);
const PROBE: Token = Token(4 << 40);
const HELD: Token = Token(5 << 40);
/// ... or this and the number of a piece that we do not wait for.
const UNAWAITED: u64 = 1 << 32;

/// What a frame brought.
pub(super) enum Got<'a> {
    Nothing,
    List(Vec<u8>),
    Piece {
        piece: u32,
        len: u32,
        data: Option<&'a [u8]>,
    },
    /// It is not there, or not yet.
    Absent {
        piece: u32,
    },
    Refused {
        piece: u32,
        why: String,
    },
}

enum LinkState {
    Connecting {
        is_second: bool,
    },
    /// The pieces are being opened; `again_ms` when that has to be repeated.
    Opening {
        tries: u32,
        again_ms: Option<u64>,
    },
    Open,
}

pub(super) struct ParentLink {
    conn: ConnId,
    pub source: ParentAddr,
    generation: Digest,
    client: Client,
    state: LinkState,
    since_ms: u64,
    heard_ms: u64,
    probed_ms: Option<u64>,
    /// See `take_answer_ms`.
    answer_ms: u64,
    /// When the first part of the frame that is under way came.
    part_since_ms: Option<u64>,
    busy_ms: u64,
    pieces: Fid,
    /// Opened when help is first wanted.
    held: Option<Fid>,
    list: Option<Fid>,
    list_bytes: Vec<u8>,
    list_len: u32,
}

impl ParentLink {
    pub fn new(conn: ConnId, source: ParentAddr, generation: Digest, now_ms: u64) -> ParentLink {
        let mut client = Client::new(MSIZE);
        let pieces = open(&mut client, generation, b"pieces", PIECES);
        ParentLink {
            conn,
            source,
            generation,
            client,
            state: LinkState::Connecting { is_second: false },
            since_ms: now_ms,
            heard_ms: now_ms,
            probed_ms: None,
            answer_ms: 0,
            part_since_ms: None,
            busy_ms: 0,
            pieces,
            held: None,
            list: None,
            list_bytes: Vec::new(),
            list_len: 0,
        }
    }

    pub fn connected(&mut self, common: &mut Common, now_ms: u64) {
        self.state = LinkState::Opening { tries: 1, again_ms: None };
        self.heard(now_ms);
        self.flush(common);
    }

    /// Nothing leaves before the connection is up.
    pub fn flush(&mut self, common: &mut Common) {
        if !matches!(self.state, LinkState::Connecting { .. }) && !self.client.output().is_empty() {
            let spare = common.spare.pop().unwrap_or_default();
            common.send(self.conn, core::mem::replace(self.client.output(), spare));
        }
    }

    pub fn heard(&mut self, now_ms: u64) {
        let answer_ms = self.probed_ms.map_or(0, |probed_ms| now_ms - probed_ms);
        // One that answers as late as it may does not teach us endless patience.
        self.answer_ms = self.answer_ms.max(answer_ms.min(2 * PROBE_WAIT_MS));
        (self.heard_ms, self.probed_ms) = (now_ms, None);
    }

    /// A part of a frame came.
    pub fn heard_part(&mut self, now_ms: u64) {
        self.heard(now_ms);
        self.part_since_ms.get_or_insert(now_ms);
    }

    /// How long frames were under way in all, from their first part to the
    /// last: who waits himself sends each in one go, and then nothing.
    pub fn busy_ms(&self, now_ms: u64) -> u64 {
        self.busy_ms + self.part_since_ms.map_or(0, |since_ms| now_ms - since_ms)
    }

    /// The longest that a probe took to be answered since this was last asked.
    pub fn take_answer_ms(&mut self) -> u64 {
        core::mem::take(&mut self.answer_ms)
    }

    pub fn awaits_list(&self) -> bool {
        self.list.is_some() && self.list_len > 0
    }

    /// Asks for the digests of the manifest's pieces, once.
    pub fn ask_list(&mut self, _common: &mut Common, len: u32) {
        if self.list.is_none() && matches!(self.state, LinkState::Open) {
            let fid = open(&mut self.client, self.generation, b"list", LIST);
            self.client.read(fid, 0, len, LIST_READ);
            (self.list, self.list_len) = (Some(fid), len);
        }
    }

    /// Asks for a piece, which is at most a `stride` long. While the open is under
    /// way the request waits with it.
    pub fn ask_piece(&mut self, now_ms: u64, ask: PieceRequest, stride: u32) {
        if self.client.outstanding() == 0 {
            // Silence before we asked for anything is no sign of death.
            self.heard(now_ms);
        }
        let piece = u64::from(ask.piece);
        let offset = piece * u64::from(stride);
        if ask.waits {
            return self.client.read(self.pieces, offset, stride, Token(piece));
        }
        let fid = match self.held {
            Some(fid) => fid,
            None => open(&mut self.client, self.generation, b"held", HELD),
        };
        self.held = Some(fid);
        self.client.read(fid, offset, stride, Token(UNAWAITED | piece));
    }

    pub fn forget(&mut self, common: &mut Common, piece: u32) {
        self.client.flush(Token(u64::from(piece)));
        self.client.flush(Token(UNAWAITED | u64::from(piece)));
        self.flush(common);
    }

    /// Why the link is of no more use, else what came.
    pub fn frame<'a>(&mut self, now_ms: u64, frame: Frame<'a>) -> Result<Got<'a>, String> {
        self.heard(now_ms);
        self.busy_ms = self.busy_ms(now_ms);
        self.part_since_ms = None;
        let event = self.client.handle_frame(frame).map_err(|broken| broken.to_string())?;
        match event {
            Some(Event::Opened { token: PIECES, .. }) => self.state = LinkState::Open,
            Some(Event::Read { token: LIST_READ, data, .. }) => return Ok(self.list_part(data)),
            Some(Event::Read { token, len: 0, .. }) if token.0 & UNAWAITED != 0 => {
                return Ok(Got::Absent { piece: token.0 as u32 });
            }
            Some(Event::Read { token, len, data }) => {
                return Ok(Got::Piece { piece: token.0 as u32, len, data });
            }
            Some(Event::Failed { token: PIECES, error }) => {
                return self.open_failed(now_ms, &error.text);
            }
            Some(Event::Failed { token: LIST | LIST_READ, error }) => {
                return Err(format!("has no list of the manifest: {}", error.text));
            }
            // It has no such file, for one.
            Some(Event::Failed { token, .. }) if token.0 < HELD.0 && token.0 & UNAWAITED != 0 => {
                return Ok(Got::Absent { piece: token.0 as u32 });
            }
            Some(Event::Failed { token, error }) if token.0 <= u64::from(u32::MAX) => {
                return Ok(Got::Refused { piece: token.0 as u32, why: error.text.into_owned() });
            }
            _ => {}
        }
        Ok(Got::Nothing)
    }

    fn list_part<'a>(&mut self, data: Option<&[u8]>) -> Got<'a> {
        let data = data.unwrap_or_default();
        self.list_bytes.extend_from_slice(data);
        let have = self.list_bytes.len() as u32;
        if data.is_empty() || have >= self.list_len {
            self.list_len = 0;
            return Got::List(core::mem::take(&mut self.list_bytes));
        }
        if let Some(fid) = self.list {
            self.client.read(fid, u64::from(have), self.list_len - have, LIST_READ);
        }
        Got::Nothing
    }

    fn open_failed<'a>(&mut self, now_ms: u64, why: &str) -> Result<Got<'a>, String> {
        match self.state {
            LinkState::Opening { tries, .. } if tries < OPEN_TRIES_MAX => {
                let wait_ms = (OPEN_AGAIN_MS_MIN << tries.min(8)).min(OPEN_AGAIN_MS_MAX);
                self.state = LinkState::Opening { tries, again_ms: Some(now_ms + wait_ms) };
                Ok(Got::Nothing)
            }
            _ => Err(format!("does not serve this generation: {why}")),
        }
    }

    /// When to `look` before it is time for all links.
    pub fn again_ms(&self) -> Option<u64> {
        match self.state {
            LinkState::Opening { again_ms, .. } => again_ms,
            _ => None,
        }
    }

    /// Whether the call went unanswered for so long that it is to be repeated.
    pub fn is_unanswered(&self, now_ms: u64, local_stall_ms: u64) -> bool {
        let wait_ms = self.patience() * CALL_MS + local_stall_ms;
        let is_first = matches!(self.state, LinkState::Connecting { is_second: false });
        is_first && now_ms >= self.since_ms + wait_ms
    }

    /// It is called once more, by this connection.
    pub fn reconnect(&mut self, conn: ConnId, now_ms: u64) {
        (self.conn, self.since_ms) = (conn, now_ms);
        self.state = LinkState::Connecting { is_second: true };
    }

    fn patience(&self) -> u64 {
        if self.source == ParentAddr::Master { MASTER_PATIENCE } else { 1 }
    }

    /// Opens again where that is due, and looks for silence. Patience grows
    /// with what holds ourselves up.
    pub fn look(
        &mut self,
        common: &mut Common,
        now_ms: u64,
        awaits: bool,
        local_stall_ms: u64,
    ) -> Option<(String, Complaint)> {
        let patience = self.patience();
        match self.state {
            LinkState::Connecting { .. }
                if now_ms >= self.since_ms + patience * CONNECT_MS + 2 * local_stall_ms =>
            {
                return Some(("no answer to the connection".into(), Complaint::Frozen));
            }
            LinkState::Connecting { .. } => return None,
            LinkState::Opening { tries, again_ms: Some(at) } if now_ms >= at => {
                self.pieces = open(&mut self.client, self.generation, b"pieces", PIECES);
                self.state = LinkState::Opening { tries: tries + 1, again_ms: None };
                self.flush(common);
            }
            _ => {}
        }
        let opening = matches!(self.state, LinkState::Opening { again_ms: None, .. });
        match self.probed_ms {
            Some(probed) if now_ms >= probed + patience * PROBE_WAIT_MS + 2 * local_stall_ms => {
                let silent_ms = now_ms - self.heard_ms;
                let why = format!("frozen: silent for {silent_ms} ms, and does not answer a probe");
                Some((why, Complaint::Frozen))
            }
            None if (awaits || opening) && now_ms >= self.heard_ms + PROBE_AFTER_MS => {
                self.client.ping(PROBE);
                self.probed_ms = Some(now_ms);
                self.flush(common);
                None
            }
            _ => None,
        }
    }

    /// Whether pieces can be asked for.
    pub fn is_open(&self) -> bool {
        matches!(self.state, LinkState::Open)
    }
}

fn open(client: &mut Client, generation: Digest, name: &[u8], token: Token) -> Fid {
    let generation = generation.to_string();
    client.open(&[b".xget", generation.as_bytes(), name], OpenMode::Read, token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::NameSpace;
    use crate::node::Effect;
    use alloc::collections::VecDeque;
    use core::net::SocketAddr;

    fn common() -> Common {
        let space = NameSpace::new(false, 0);
        let (effects, wakes, spare) = (VecDeque::new(), Vec::new(), Vec::new());
        Common { space, effects, wakes, spare, conns_used: 0 }
    }

    #[test]
    fn who_does_not_answer_is_called_twice() {
        let peer = ParentAddr::Peer(SocketAddr::from(([10, 0, 0, 2], 5)));
        for (source, patience) in [(peer, 1), (ParentAddr::Master, MASTER_PATIENCE)] {
            for local_stall_ms in [0, 300] {
                let mut link = ParentLink::new(ConnId(1), source, Digest::default(), 0);
                let (mut called_ms, mut given_up_ms) = (Vec::new(), None);
                for now_ms in (0..10_000).step_by(10) {
                    if link.is_unanswered(now_ms, local_stall_ms) {
                        called_ms.push(now_ms);
                        link.reconnect(ConnId(2), now_ms);
                    }
                    if link.look(&mut common(), now_ms, true, local_stall_ms).is_some() {
                        given_up_ms = Some(now_ms);
                        break;
                    }
                }
                let again_ms = patience * CALL_MS + local_stall_ms;
                let end_ms = again_ms + patience * CONNECT_MS + 2 * local_stall_ms;
                assert_eq!((called_ms, given_up_ms), (vec![again_ms], Some(end_ms)));
            }
        }
    }

    /// When a parent that says nothing counts as frozen.
    fn frozen_at_ms(source: ParentAddr, local_stall_ms: u64) -> u64 {
        let mut common = common();
        let mut link = ParentLink::new(ConnId(1), source, Digest::default(), 0);
        link.connected(&mut common, 0);
        let mut looks = (0..60_000).step_by(50);
        let found = looks.find(|&now_ms| {
            link.look(&mut common, now_ms, true, local_stall_ms)
                .is_some_and(|(_, complaint)| complaint == Complaint::Frozen)
        });
        assert!(matches!(common.effects.back(), Some(Effect::Send { .. })), "a probe left");
        found.expect("it is found out")
    }

    #[test]
    fn silence_is_believed_after_a_probe_and_later_where_we_are_slow_ourselves() {
        let peer = ParentAddr::Peer(SocketAddr::from(([10, 0, 0, 2], 5)));
        let usual_ms = PROBE_AFTER_MS + PROBE_WAIT_MS;
        assert_eq!(frozen_at_ms(peer, 0), usual_ms);
        assert_eq!(frozen_at_ms(peer, 2_000), usual_ms + 4_000);
        let master_ms = PROBE_AFTER_MS + MASTER_PATIENCE * PROBE_WAIT_MS;
        assert_eq!(frozen_at_ms(ParentAddr::Master, 0), master_ms);
    }
}
