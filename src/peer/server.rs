//! What a master and a client have in common: both serve 9P.
//!
//! Knows the sessions of those who connected, the name space that they see,
//! and which parked reads can be asked again. Refuses to know what follows
//! from what is written there: a master and a client take the notices.

use crate::conn::{ConnEffect, ConnEvent, Outbox};
use crate::content::manifest::{PIECE_LEN_MAX, stride};
use crate::control::MasterMessage;
use crate::namespace::{GenerationId, NameSpace, Notice};
use crate::sorted::SortedMap;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use ninep::server::{ConnId, OpenId, Output, Session, Ticket};

/// Longest frame, in bytes: a piece of the greatest length, and its header.
pub const MSIZE: u32 = stride(PIECE_LEN_MAX) + ninep::IO_HEADER_LEN;

pub(crate) struct Server {
    pub space: NameSpace,
    pub outbox: Outbox,
    sessions: SortedMap<ConnId, Box<Session<NameSpace>>>,
    /// Parked reads that can be asked again.
    wakes: Vec<Ticket>,
}

impl Server {
    pub fn new(space: NameSpace) -> Server {
        let (outbox, sessions, wakes) = (Outbox::default(), SortedMap::new(), Vec::new());
        Server { space, outbox, sessions, wakes }
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
        self.sessions.get(&conn).map_or(MSIZE, |session| session.frame_len_max())
    }

    /// Takes what happened on a connection that we serve; a warning for the
    /// operator may follow from it.
    pub fn handle(&mut self, event: ConnEvent) -> Option<String> {
        match event {
            ConnEvent::Accepted { conn, peer } => {
                self.space.add_peer(conn, peer);
                self.sessions.insert(conn, Box::new(Session::new(conn, MSIZE)));
            }
            ConnEvent::Frame { conn, frame } => return self.handle_frame(conn, frame.prefix),
            ConnEvent::Closed { conn, .. } => self.end_session(conn),
            // Those whom we serve connected to us; and part of a request cannot
            // be answered.
            ConnEvent::Connected { .. } | ConnEvent::Partial { .. } => {}
        }
        None
    }

    fn handle_frame(&mut self, conn: ConnId, frame: &[u8]) -> Option<String> {
        let session = self.sessions.get_mut(&conn)?;
        let handled = session.handle_frame(&mut self.space, frame);
        self.flush_session(conn);
        let fatal = handled.err()?;
        let peer = self.space.peer(conn).map_or(String::new(), |addr| addr.to_string());
        self.end_session(conn);
        self.outbox.close(conn);
        Some(format!("{peer}: closing the connection: {fatal}"))
    }

    fn end_session(&mut self, conn: ConnId) {
        if let Some(mut session) = self.sessions.remove(&conn) {
            session.close(&mut self.space);
        }
        self.space.drop_peer(conn);
    }

    fn flush_session(&mut self, conn: ConnId) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        while let Some(output) = session.poll_output() {
            self.outbox.push(match output {
                Output::Frame(bytes) => ConnEffect::Send { conn, bytes },
                Output::Bulk { header, what, len, failure } => {
                    ConnEffect::SendBulk { conn, header, what, len, failure }
                }
            });
        }
    }

    /// Parked reads can be asked again.
    pub fn wake(&mut self, mut tickets: Vec<Ticket>) {
        self.wakes.append(&mut tickets);
        self.space.recycle(tickets);
    }

    /// Sends a message on a conversation, unless it has ended.
    pub fn answer(&mut self, open_id: OpenId, message: &MasterMessage) {
        let tickets = self.space.answer(open_id, &message.line());
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

    /// What happened in the name space; when nothing did, parked reads that can
    /// be are answered, which may bring more.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        loop {
            if let Some(notice) = self.space.poll_notice() {
                return Some(notice);
            }
            if self.wakes.is_empty() {
                return None;
            }
            self.answer_parked();
        }
    }

    fn answer_parked(&mut self) {
        let mut wakes = core::mem::take(&mut self.wakes);
        for ticket in wakes.drain(..) {
            if let Some(session) = self.sessions.get_mut(&ticket.conn) {
                session.resume(&mut self.space, ticket);
            }
            self.flush_session(ticket.conn);
        }
        // The memory is used again.
        wakes.append(&mut self.wakes);
        self.wakes = wakes;
    }
}
