//! Connections as a state machine sees them: what happens on them, and what is
//! to be done with them.
//!
//! Knows connections by number. Refuses to know sockets: a driver carries out
//! each [`ConnEffect`].

use crate::namespace::Bulk;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use ninep::client::Frame;
use ninep::server::{BulkLost, ConnId};

/// Most buffers kept for reuse: as many messages as mostly are queued at a time.
const SPARE_MAX: usize = 16;

/// What happened on a connection.
#[derive(Debug)]
pub enum ConnEvent<'a> {
    /// Somebody connected to us, on a connection that `next_conn` named.
    Accepted {
        /// The new connection.
        conn: ConnId,
        /// Where it comes from.
        peer: SocketAddr,
    },
    /// A connection that we asked for is up.
    Connected {
        /// As [`ConnEffect::Connect`] named it.
        conn: ConnId,
    },
    /// A whole 9P frame. Its bulk data may be absent (see [`Frame`]).
    Frame {
        /// Where it arrived.
        conn: ConnId,
        /// The frame.
        frame: Frame<'a>,
    },
    /// Bytes of a frame that is not whole yet: a sign of life.
    Partial {
        /// Where they arrived.
        conn: ConnId,
        /// How many of it are here.
        len: u32,
    },
    /// Refused, broken, closed by the other side, or timed out.
    Closed {
        /// Which; its number is not used again.
        conn: ConnId,
        /// The reason, for messages.
        reason: String,
    },
}

impl ConnEvent<'_> {
    /// The connection that it is about.
    pub(crate) fn conn(&self) -> ConnId {
        match *self {
            ConnEvent::Accepted { conn, .. }
            | ConnEvent::Connected { conn }
            | ConnEvent::Frame { conn, .. }
            | ConnEvent::Partial { conn, .. }
            | ConnEvent::Closed { conn, .. } => conn,
        }
    }
}

/// What is to be done with a connection, in the order given.
#[derive(Debug)]
pub enum ConnEffect {
    /// Connect; [`ConnEvent::Connected`] or [`ConnEvent::Closed`] follows.
    Connect {
        /// The name of the connection from now on.
        conn: ConnId,
        /// Where to.
        addr: SocketAddr,
    },
    /// Close it, after what was sent before has left. No event follows.
    Close {
        /// The connection.
        conn: ConnId,
    },
    /// Send these bytes, one or more whole frames.
    Send {
        /// The connection.
        conn: ConnId,
        /// The bytes; their memory comes back by `recycle`.
        bytes: Vec<u8>,
    },
    /// There are replies for who is at the other end: to be taken, one by one
    /// (`poll_reply`), as long as there is room for what is queued there. After that
    /// the machine says so again when there are more.
    Replies {
        /// The connection.
        conn: ConnId,
    },
    /// Send `header`, then `len` stored bytes; or `failure` when they are not
    /// there any more.
    SendBulk {
        /// The connection.
        conn: ConnId,
        /// Of the Rread.
        header: [u8; 11],
        /// Which stored bytes.
        what: Bulk,
        /// How many bytes.
        len: u32,
        /// What to send instead when they cannot be read.
        failure: BulkLost,
    },
}

/// What a state machine wants done with its connections, and names for new ones.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    effects: VecDeque<ConnEffect>,
    /// Memory of messages that have left.
    spare: Vec<Vec<u8>>,
    conns_used: u32,
}

impl Outbox {
    /// A name for a new connection; never one that was used before.
    pub fn next_conn(&mut self) -> ConnId {
        self.conns_used += 1;
        ConnId(self.conns_used)
    }

    pub fn push(&mut self, effect: ConnEffect) {
        self.effects.push_back(effect);
    }

    pub fn pop(&mut self) -> Option<ConnEffect> {
        self.effects.pop_front()
    }

    /// Connects to `addr`, and gives the name of the connection.
    pub fn connect(&mut self, addr: SocketAddr) -> ConnId {
        let conn = self.next_conn();
        self.push(ConnEffect::Connect { conn, addr });
        conn
    }

    pub fn close(&mut self, conn: ConnId) {
        self.push(ConnEffect::Close { conn });
    }

    pub fn send(&mut self, conn: ConnId, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.push(ConnEffect::Send { conn, bytes });
        }
    }

    /// Sends what is queued there, and leaves memory for what comes next.
    pub fn send_queued(&mut self, conn: ConnId, queue: &mut Vec<u8>) {
        if !queue.is_empty() {
            let spare = self.spare.pop().unwrap_or_default();
            self.send(conn, core::mem::replace(queue, spare));
        }
    }

    /// Takes the memory of a message that has left back, for the next one.
    pub fn recycle(&mut self, mut spent: Vec<u8>) {
        if self.spare.len() < SPARE_MAX {
            spent.clear();
            self.spare.push(spent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_queued_leaves_once_and_its_memory_is_used_again() {
        let mut outbox = Outbox::default();
        let mut queue = vec![1, 2, 3];
        let memory = queue.as_ptr();
        outbox.send_queued(ConnId(1), &mut queue);
        outbox.send_queued(ConnId(1), &mut queue);
        let Some(ConnEffect::Send { conn: ConnId(1), bytes }) = outbox.pop() else { panic!() };
        assert_eq!(bytes, [1, 2, 3]);
        assert!(outbox.pop().is_none(), "nothing was queued the second time");
        outbox.recycle(bytes);
        let mut other = vec![4];
        outbox.send_queued(ConnId(2), &mut other);
        assert_eq!((other.as_ptr(), other.len()), (memory, 0));
    }

    #[test]
    fn no_name_is_given_twice() {
        let mut outbox = Outbox::default();
        let called = outbox.connect(SocketAddr::from(([10, 0, 0, 1], 5)));
        assert_ne!(called, outbox.next_conn());
    }
}
