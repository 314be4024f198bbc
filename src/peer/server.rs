//! What a master and a client have in common: both serve 9P.
//!
//! Knows the sessions of those who connected, the name space that they see,
//! and which parked reads can be asked again. Refuses to know what follows
//! from what is written there: a master and a client take the notices. Replies
//! wait in their session until the driver has room for them: a parked read that
//! can be answered is asked again only then, so that its bytes are nowhere before.

use crate::auth::{Key, Random};
use crate::caller::Credentials;
use crate::conn::{ConnEffect, ConnEvent, Outbox};
use crate::content::manifest::{PIECE_LEN_MAX, stride};
use crate::control::MasterMessage;
use crate::namespace::{Bulk, GenerationId, NameSpace, Notice};
use crate::voices::Voices;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use ninep::server::{ConnId, OpenId, Output, Session, Ticket};
use sorted::SortedMap;
use zeroize::Zeroizing;

/// Longest frame of who was not let in yet, as before its Tversion: what a key is proved with is
/// shorter.
const STRANGER_FRAME_LEN_MAX: u32 = 8 << 10;

/// Longest frame, in bytes: a piece of the greatest length, and its header.
pub const MSIZE: u32 = stride(PIECE_LEN_MAX) + ninep::IO_HEADER_LEN;

/// How far who connected to us has come: who is in the way goes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It has not shown the key that it needs.
    Stranger,
    /// It may ask.
    #[default]
    Guest,
    /// It has opened `route`.
    Converses,
}

pub(crate) struct Server {
    pub space: NameSpace,
    pub outbox: Outbox,
    /// Whose lines the operator hears.
    pub voices: Voices,
    /// What we show to whom we call.
    pub credentials: Option<Credentials>,
    sessions: SortedMap<ConnId, Box<Served>>,
}

/// A session, and what of it waits until there is room for replies.
struct Served {
    session: Session<NameSpace>,
    /// Parked reads that can be asked again, in the order in which they were woken.
    woken: VecDeque<Ticket>,
    /// The driver was told that there are replies, and has not taken all yet.
    is_announced: bool,
}

impl Served {
    /// Whether there is something to be told of that was not.
    fn is_news(&self) -> bool {
        !self.is_announced && (self.session.has_output() || !self.woken.is_empty())
    }
}

fn effect(conn: ConnId, output: Output<Bulk>) -> ConnEffect {
    match output {
        Output::Frame(bytes) => ConnEffect::Send { conn, bytes },
        Output::Bulk { header, what, len, failure } => {
            ConnEffect::SendBulk { conn, header, what, len, failure }
        }
    }
}

impl Server {
    pub fn new(space: NameSpace) -> Server {
        Server {
            space,
            outbox: Outbox::default(),
            voices: Voices::default(),
            credentials: None,
            sessions: SortedMap::new(),
        }
    }

    /// From now on the cluster's key, of this one or itself, is wanted of who calls us, and shown
    /// to whom we call; with a root those of nodes open what is for them alone. With
    /// `is_plain_free` it is not wanted of who attaches the plain tree. The seed is of bytes that
    /// nobody can guess.
    pub fn lock(&mut self, key: &Key, seed: [u8; 32], is_plain_free: bool) {
        let mut random = Random::new(seed);
        let cluster = key.cluster();
        self.credentials = cluster.map(|key| Credentials::new(key, random.split()));
        self.space.lock(key, random, is_plain_free);
    }

    /// Whether we answer requests on this connection, and do not send them.
    pub fn serves(&self, conn: ConnId) -> bool {
        self.sessions.contains_key(&conn)
    }

    /// Connections that fetch from us.
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// Longest frame that this connection may send now.
    pub fn frame_len_max(&self, conn: ConnId) -> u32 {
        let Some(served) = self.sessions.get(&conn) else { return MSIZE };
        let is_admitted = self.space.guard.is_admitted(conn);
        let most = if is_admitted { MSIZE } else { STRANGER_FRAME_LEN_MAX };
        served.session.frame_len_max().min(most)
    }

    /// Whether somebody is owed an answer who has said all that it will: one that
    /// converses is not, for its conversation ends with what it says.
    pub fn owes(&self, conn: ConnId) -> bool {
        self.sessions.get(&conn).is_some_and(|served| {
            let session = &served.session;
            session.has_output() || session.parked_count() > 0 && !self.space.has_conversation(conn)
        })
    }

    /// Bytes of memory that the other end makes us hold, about, and how far
    /// it has come.
    pub fn held(&self, conn: ConnId) -> (usize, Standing) {
        let session = self.sessions.get(&conn).map_or(0, |served| {
            served.session.held_bytes() + served.woken.capacity() * size_of::<Ticket>()
        });
        let unread = self.space.unread_bytes(conn);
        let answers = self.space.unread_by_node(conn);
        let alone = self.space.bytes_alone(Some(conn));
        let standing = match unread {
            Some(_) => Standing::Converses,
            None if self.space.guard.is_admitted(conn) => Standing::Guest,
            None => Standing::Stranger,
        };
        (session + answers + alone + unread.unwrap_or(0), standing)
    }

    /// Takes what happened on a connection that we serve; a warning for the
    /// operator may follow from it.
    #[inline(never)]
    pub fn handle(&mut self, now_ms: u64, event: ConnEvent) -> Option<String> {
        self.space.guard.set_now(now_ms);
        match event {
            ConnEvent::Accepted { conn, peer } => {
                self.space.add_peer(conn, peer);
                let session = Session::new(conn, MSIZE);
                let served = Served { session, woken: VecDeque::new(), is_announced: false };
                self.sessions.insert(conn, Box::new(served));
            }
            ConnEvent::Frame { conn, frame } => {
                return self.handle_frame(now_ms, conn, frame.prefix);
            }
            ConnEvent::Closed { conn, .. } => self.end_session(conn),
            // Those whom we serve connected to us; and part of a request cannot
            // be answered.
            ConnEvent::Connected { .. } | ConnEvent::Partial { .. } => {}
        }
        None
    }

    #[inline(never)]
    fn handle_frame(&mut self, now_ms: u64, conn: ConnId, frame: &[u8]) -> Option<String> {
        let served = self.sessions.get_mut(&conn)?;
        let Err(fatal) = served.session.handle_frame(&mut self.space, frame) else {
            self.announce(conn);
            let why = self.space.guard.take_denied()?;
            let ip = self.space.peer_ip(conn)?;
            let is_said = self.voices.may_say_anew(now_ms, ip, why);
            return is_said.then(|| format!("{ip} is not let in: {why}"));
        };
        while let Some(output) = served.session.poll_output() {
            self.outbox.push(effect(conn, output));
        }
        let peer = self.space.peer(conn)?;
        self.end_session(conn);
        self.outbox.close(conn);
        let is_said = self.voices.may_say(now_ms, peer.ip().to_canonical());
        is_said.then(|| format!("{peer}: closing the connection: {fatal}"))
    }

    fn end_session(&mut self, conn: ConnId) {
        if let Some(mut served) = self.sessions.remove(&conn) {
            served.session.close(&mut self.space);
        }
        self.space.drop_peer(conn);
    }

    /// Tells the driver of replies, once until it has taken all.
    fn announce(&mut self, conn: ConnId) {
        if let Some(served) = self.sessions.get_mut(&conn).filter(|served| served.is_news()) {
            served.is_announced = true;
            self.outbox.push(ConnEffect::Replies { conn });
        }
    }

    /// The next reply of a connection on which there is room for one. Notices may
    /// follow.
    pub fn poll_reply(&mut self, conn: ConnId) -> Option<ConnEffect> {
        let served = self.sessions.get_mut(&conn)?;
        loop {
            if let Some(output) = served.session.poll_output() {
                return Some(effect(conn, output));
            }
            let Some(ticket) = served.woken.pop_front() else {
                served.is_announced = false;
                return None;
            };
            served.session.resume(&mut self.space, ticket);
        }
    }

    /// Parked reads can be asked again.
    pub fn wake(&mut self, mut tickets: Vec<Ticket>) {
        for ticket in tickets.drain(..) {
            if let Some(served) = self.sessions.get_mut(&ticket.conn) {
                served.woken.push_back(ticket);
            }
            self.announce(ticket.conn);
        }
        self.space.recycle(tickets);
    }

    /// Sends a message on a conversation, unless it has ended.
    pub fn answer(&mut self, open_id: OpenId, message: &MasterMessage) {
        let tickets = self.space.answer(open_id, &message.line());
        self.wake(tickets);
    }

    /// Answers a question of a node, if it is still there.
    pub fn answer_node(&mut self, open_id: OpenId, text: &str) {
        let tickets = self.space.answer_node(open_id, text);
        self.wake(tickets);
    }

    /// Hands over what is for a node alone, if it is still there.
    pub fn give_alone(&mut self, open_id: OpenId, bytes: Zeroizing<Vec<u8>>) {
        let tickets = self.space.give_alone(open_id, bytes);
        self.wake(tickets);
    }

    /// It took too long, or another took its place.
    pub fn end_alone(&mut self, open_id: OpenId) {
        let tickets = self.space.end_alone(open_id);
        self.wake(tickets);
    }

    /// What became of a SHA-256 that was wanted.
    pub fn set_checksum(
        &mut self,
        generation: GenerationId,
        entry: u32,
        sum: Result<[u8; 32], ()>,
    ) {
        let tickets = self.space.set_checksum(generation, entry, sum);
        self.wake(tickets);
    }

    /// When to call `poll_unsaid`.
    pub fn deadline_ms(&self) -> Option<u64> {
        let times = [self.voices.deadline_ms(), self.space.guard.late_ms()];
        times.into_iter().flatten().min()
    }

    /// Ends connections that were not let in for too long. Who caused lines for the operator
    /// that were not said, in words, or work that was not done.
    #[inline(never)]
    pub fn poll_unsaid(&mut self, now_ms: u64) -> Option<String> {
        while let Some(conn) = self.space.poll_unadmitted(now_ms) {
            self.end_session(conn);
            self.outbox.close(conn);
        }
        let unsaid = self.voices.poll_unsaid(now_ms);
        let (what, (ip, count)) = match unsaid {
            Some(unsaid) => {
                ("lines of theirs were not shown: they are the same, or come too fast", unsaid)
            }
            None => {
                let unanswered = self.space.guard.poll_unanswered(now_ms)?;
                ("handshakes of theirs were not answered: they come too fast", unanswered)
            }
        };
        let who = ip.map_or("others".into(), |ip| ip.to_string());
        Some(format!("{who}: {count} {what}"))
    }

    /// What happened in the name space.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.space.poll_notice()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::Generation;
    use crate::testing::small;
    use alloc::rc::Rc;
    use core::net::SocketAddr;
    use ninep::client::Frame;
    use ninep::wire::request;

    const CONN: ConnId = ConnId(1);
    const PARKED: u16 = 4_000;

    /// A master that shows nothing yet, on which somebody opened the manifest.
    fn asked() -> Server {
        let mut server = Server::new(NameSpace::new(true, 1));
        let peer = SocketAddr::from(([10, 0, 0, 1], 5));
        server.handle(0, ConnEvent::Accepted { conn: CONN, peer });
        let mut frames = Vec::new();
        request::tversion(MSIZE, ninep::Dialect::Unix, &mut frames);
        request::tattach(1, 0, b"anybody", b"", &mut frames);
        request::twalk(1, 0, 1, &[b".xget", b"manifest"], &mut frames);
        request::topen(1, 1, 0, &mut frames);
        tell(&mut server, &frames);
        let got = replies(&mut server);
        assert_eq!(got.len(), 4, "{got:?}");
        server
    }

    fn tell(server: &mut Server, mut frames: &[u8]) {
        while let Some(len) = ninep::wire::frame_len(frames) {
            let (frame, rest) = frames.split_at(len as usize);
            server.handle(0, ConnEvent::Frame { conn: CONN, frame: Frame::whole(frame) });
            frames = rest;
        }
    }

    fn replies(server: &mut Server) -> Vec<ConnEffect> {
        core::iter::from_fn(|| server.poll_reply(CONN)).collect()
    }

    fn announced(server: &mut Server) -> usize {
        core::iter::from_fn(|| server.outbox.pop())
            .filter(|effect| matches!(effect, ConnEffect::Replies { conn: CONN }))
            .count()
    }

    #[test]
    fn reads_that_were_woken_are_answered_one_by_one_as_there_is_room() {
        let mut server = asked();
        announced(&mut server);
        let mut frames = Vec::new();
        (0..PARKED).for_each(|tag| request::tread(tag, 1, 0, MSIZE, &mut frames));
        tell(&mut server, &frames);
        assert!(server.owes(CONN) && replies(&mut server).is_empty());
        let (before, _) = server.held(CONN);
        let id = server.space.add_generation(Generation::whole(Rc::new(small()), None));
        let tickets = server.space.show(id, String::new());
        assert_eq!(tickets.len(), usize::from(PARKED));
        server.wake(tickets);
        assert_eq!(announced(&mut server), 1, "once, however many there are");
        let (after, _) = server.held(CONN);
        assert!(after < before + usize::from(PARKED) * 64, "{before} {after}: nothing is answered");
        for tag in 0..3 {
            let Some(ConnEffect::SendBulk { header, .. }) = server.poll_reply(CONN) else {
                panic!()
            };
            assert_eq!(header[5..7], u16::to_le_bytes(tag), "first come, first served");
        }
        // What is flushed meanwhile is not answered.
        let mut flush = Vec::new();
        request::tflush(PARKED, 5, &mut flush);
        tell(&mut server, &flush);
        assert_eq!(replies(&mut server).len(), usize::from(PARKED) - 3, "Rflush for one Rread");
        assert_eq!(announced(&mut server), 0);
        assert!(!server.owes(CONN));
    }

    #[test]
    fn who_converses_is_owed_nothing_once_it_says_no_more() {
        let mut server = asked();
        let mut frames = Vec::new();
        request::twalk(1, 0, 2, &[b".xget", b"route"], &mut frames);
        request::topen(1, 2, 2, &mut frames);
        request::tread(2, 2, 0, 99, &mut frames);
        tell(&mut server, &frames);
        assert_eq!((replies(&mut server).len(), server.owes(CONN)), (2, false));
        assert_eq!(server.held(CONN).1, Standing::Converses);
    }
}
