//! What the loop asks of a state machine with its files, and who looks after one.
//!
//! Knows no sockets and no files: the loop has the ones, each machine its own of
//! the others.

use super::conn::Part;
use crate::os::link_socket::LinkSocket;
use ninep::server::ConnId;
use peer::conn::{ConnEffect, ConnEvent};
use peer::failure::Failure;
use peer::fetch::Progress;
use peer::namespace::Bulk;
use peer::server::Standing;
use std::os::fd::BorrowedFd;

/// A state machine with its files and its observer.
pub(super) trait Machine {
    /// Called at the start of every turn: the observer has its say.
    fn begin_turn(&mut self, now_ms: u64);
    /// Takes what happened on a connection; all but connections that follows
    /// from it is done when this returns.
    fn handle(&mut self, now_ms: u64, event: ConnEvent);
    /// The time of `poll_timeout` has come.
    fn timeout(&mut self, now_ms: u64);
    /// When to call `timeout`, in milliseconds on the loop's clock.
    fn poll_timeout(&self) -> Option<u64>;
    /// What to do next with a connection.
    fn poll_conn_effect(&mut self) -> Option<ConnEffect>;
    /// The next reply on a connection that has room for it, and of which there was
    /// said that there are some.
    fn poll_reply(&mut self, conn: ConnId) -> Option<ConnEffect>;
    /// Whether somebody who says no more is still owed an answer.
    fn owes(&self, conn: ConnId) -> bool;
    /// Bytes of memory that the other end of a connection makes the machine hold,
    /// about, and how far it has come.
    fn held(&self, conn: ConnId) -> (usize, Standing);
    /// The name for a connection that was accepted.
    fn next_conn(&mut self) -> ConnId;
    /// Takes the memory of a message that has left back.
    fn recycle(&mut self, spent: Vec<u8>);
    /// Longest frame that this connection may send now, in bytes.
    fn frame_len_max(&self, conn: ConnId) -> u32;
    /// Whether we answer requests on this connection, and do not send them.
    fn serves(&self, conn: ConnId) -> bool;
    /// The stored bytes that a bulk reply consists of; what is wrong with them
    /// was said if there are none.
    fn part(&mut self, what: Bulk, len: u32) -> Result<Part, ()>;
    /// What is waited for beside connections: to be written to, or only to be there.
    fn outlet(&self) -> Option<(BorrowedFd<'_>, bool)> {
        None
    }
    /// It takes something, or nobody is there any more.
    fn outlet_ready(&mut self, _is_broken: bool) {}
    /// Whether `work` has something to do.
    fn has_work(&self) -> bool;
    /// Does a bounded slice of it: hashing, checking, finishing.
    fn work(&mut self, now_ms: u64);
    /// Something odd that does not stop us.
    fn warn(&mut self, text: &str);
    /// Whether something that was said waits for who reads it: a turn soon, then.
    fn is_behind(&self) -> bool;
    /// Sockets that are no connections, and are listened to.
    fn ears(&self) -> &[LinkSocket] {
        &[]
    }
    /// Something came to one of them.
    fn hear(&mut self, _now_ms: u64, _ear: usize) {}
    /// What failed, once all is over.
    fn take_result(&mut self) -> Option<Vec<Failure>>;
}

/// Who hears what a machine has to say.
pub trait Observer {
    /// Something to know.
    fn say(&mut self, text: &str);
    /// Something odd.
    fn warn(&mut self, text: &str);
    /// Whether something that was said waits for who reads it.
    fn is_behind(&self) -> bool {
        false
    }
}

/// Who looks after a fetch: the command line, PID 1, a test.
pub trait FetchObserver: Observer {
    /// Called in every turn; true asks the fetch to come to an end in good order.
    fn turn(&mut self, progress: &Progress) -> bool;
    /// What was changed in the destination, or would be, since this was called last: lines,
    /// where they are wanted.
    fn changed(&mut self, _lines: &str) {}
}

/// What a master is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MasterState {
    /// It hashes before it can serve.
    Hashing {
        done_bytes: u64,
        total_bytes: u64,
    },
    Serving,
}

/// Who looks after a master.
pub trait MasterObserver: Observer {
    /// Called in every turn; true asks for another look at the served tree.
    fn turn(&mut self, state: MasterState) -> bool;
}

impl<O: Observer + ?Sized> Observer for &mut O {
    fn say(&mut self, text: &str) {
        (**self).say(text);
    }
    fn warn(&mut self, text: &str) {
        (**self).warn(text);
    }
    fn is_behind(&self) -> bool {
        (**self).is_behind()
    }
}

impl<O: FetchObserver + ?Sized> FetchObserver for &mut O {
    fn turn(&mut self, progress: &Progress) -> bool {
        (**self).turn(progress)
    }
    fn changed(&mut self, lines: &str) {
        (**self).changed(lines);
    }
}
