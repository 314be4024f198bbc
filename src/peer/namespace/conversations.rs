//! The conversations on `route`, and those on `node`: what the master has said and a client
//! has not read yet, for each opening of the file.
//!
//! Knows bytes in order and their limit. Refuses to know what is said, who
//! waits for it, and what a client does about a conversation that was cut off.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use ninep::server::{ConnId, OpenId};
use sorted::SortedMap;

/// Bytes that may queue on one conversation; a client that does not read them
/// is cut off.
pub(super) const QUEUE_LEN_MAX: usize = 1 << 20;

/// What became of a line that was to be queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queued {
    /// It can be read.
    Yes,
    /// Too much is unread: the conversation was ended.
    CutOff,
    /// There is no such conversation.
    Unknown,
}

/// All conversations. In order of openings, so that those of one connection
/// stand together.
#[derive(Debug, Default)]
pub(super) struct Conversations {
    list: SortedMap<OpenId, Conversation>,
}

#[derive(Debug, Default)]
struct Conversation {
    unread: VecDeque<u8>,
    /// Nothing is said on it any more; what was can be read.
    is_over: bool,
    /// It was asked something, and has not answered.
    is_owed: bool,
}

impl Conversations {
    /// Begins one; `false` when the connection has one already.
    pub fn begin(&mut self, opener: OpenId) -> bool {
        let is_first = self.of(opener.conn).is_none();
        if is_first {
            self.list.insert(opener, Conversation::default());
        }
        is_first
    }

    /// Bytes of memory for what is unread on a connection, where there is a
    /// conversation.
    pub fn of(&self, conn: ConnId) -> Option<usize> {
        let of_conn = OpenId { conn, serial: 0 }..=OpenId { conn, serial: u64::MAX };
        let found = self.list.range(of_conn).next();
        found.map(|(_, conversation)| conversation.unread.capacity())
    }

    /// Ends one, with what was not read.
    pub fn end(&mut self, opener: OpenId) {
        self.list.remove(&opener);
    }

    /// Neither side says anything from now on; what is unread can be read.
    pub fn finish(&mut self, opener: OpenId) {
        if let Some(conversation) = self.list.get_mut(&opener) {
            conversation.is_over = true;
        }
    }

    /// It is asked something: what was not read is of no use any more.
    pub fn owe(&mut self, opener: OpenId) {
        if let Some(conversation) = self.list.get_mut(&opener) {
            conversation.unread.clear();
            conversation.is_owed = true;
        }
    }

    /// Whether it was asked something, and nothing was queued since.
    pub fn is_owed(&self, opener: OpenId) -> bool {
        self.list.get(&opener).is_some_and(|conversation| conversation.is_owed)
    }

    /// Whether something can be said on it.
    pub fn is_open(&self, opener: OpenId) -> bool {
        self.list.get(&opener).is_some_and(|conversation| !conversation.is_over)
    }

    /// Queues a line. One that does not fit ends the conversation: half of it
    /// would mislead.
    pub fn queue(&mut self, opener: OpenId, line: &[u8]) -> Queued {
        let conversation = self.list.get_mut(&opener).filter(|known| !known.is_over);
        let Some(Conversation { unread, is_owed, .. }) = conversation else {
            return Queued::Unknown;
        };
        if unread.len() + line.len() > QUEUE_LEN_MAX {
            self.list.remove(&opener);
            return Queued::CutOff;
        }
        unread.extend(line);
        *is_owed = false;
        Queued::Yes
    }

    /// Bytes that can be read; `None` where there is no conversation, or one that
    /// is over and read.
    pub fn unread_len(&self, opener: OpenId) -> Option<usize> {
        let Conversation { unread, is_over, .. } = self.list.get(&opener)?;
        (!is_over || !unread.is_empty()).then_some(unread.len())
    }

    /// Takes out at most `count` bytes.
    pub fn take(&mut self, opener: OpenId, count: u32) -> Vec<u8> {
        let Some(Conversation { unread, .. }) = self.list.get_mut(&opener) else {
            return Vec::new();
        };
        let len = unread.len().min(count as usize);
        unread.drain(..len).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opener(conn: u32, serial: u64) -> OpenId {
        OpenId { conn: ConnId(conn), serial }
    }

    #[test]
    fn a_connection_has_one_conversation_at_a_time() {
        let mut conversations = Conversations::default();
        assert!(conversations.begin(opener(2, 5)));
        assert!(!conversations.begin(opener(2, 4)) && !conversations.begin(opener(2, 6)));
        assert!(conversations.begin(opener(1, 5)) && conversations.begin(opener(3, 0)));
        conversations.end(opener(2, 5));
        assert!(conversations.begin(opener(2, 6)));
    }

    #[test]
    fn what_is_said_is_read_once_and_in_order() {
        let mut conversations = Conversations::default();
        let id = opener(1, 1);
        assert_eq!(conversations.queue(id, b"early"), Queued::Unknown);
        assert_eq!((conversations.unread_len(id), conversations.take(id, 99)), (None, vec![]));
        conversations.begin(id);
        assert_eq!(conversations.queue(id, b"one\n"), Queued::Yes);
        assert_eq!(conversations.queue(id, b"two\n"), Queued::Yes);
        assert_eq!(conversations.take(id, 5), b"one\nt");
        assert_eq!(conversations.unread_len(id), Some(3));
        assert_eq!(conversations.take(id, 99), b"wo\n");
        assert_eq!((conversations.unread_len(id), conversations.take(id, 99)), (Some(0), vec![]));
        conversations.end(id);
        assert_eq!(conversations.queue(id, b"late"), Queued::Unknown);
    }

    #[test]
    fn of_one_that_is_over_the_last_words_can_be_read() {
        let mut conversations = Conversations::default();
        let id = opener(1, 1);
        conversations.begin(id);
        conversations.queue(id, b"error\n");
        assert!(conversations.is_open(id));
        conversations.finish(id);
        assert!(!conversations.is_open(id) && !conversations.begin(opener(1, 2)));
        assert_eq!(conversations.queue(id, b"more"), Queued::Unknown);
        assert_eq!(conversations.unread_len(id), Some(6));
        assert_eq!(conversations.take(id, 99), b"error\n");
        assert_eq!(conversations.unread_len(id), None);
    }

    #[test]
    fn a_client_that_does_not_read_is_cut_off() {
        let mut conversations = Conversations::default();
        let (id, line) = (opener(1, 1), "x".repeat(QUEUE_LEN_MAX));
        conversations.begin(id);
        assert_eq!(conversations.queue(id, line.as_bytes()), Queued::Yes);
        assert_eq!(conversations.queue(id, b""), Queued::Yes);
        assert_eq!(conversations.queue(id, b"x"), Queued::CutOff);
        assert_eq!(conversations.unread_len(id), None);
        assert!(conversations.begin(id), "it may begin again");
    }
}
