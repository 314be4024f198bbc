//! What is on its way to one node alone: whose it is, and what of it was not read yet. Sealed as it
//! is read, a record at a time.
//!
//! Shows none of it. Refuses to know how it is sealed, how long somebody may take, and who may
//! open it.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use ninep::Error;
use ninep::server::{ConnId, OpenId};
use sorted::SortedMap;
use zeroize::Zeroizing;

/// Bytes that are sealed together: a record has at most 65,535, and one read takes most of one.
const RECORD_LEN_MAX: usize = 32 << 10;
const _: () = assert!(RECORD_LEN_MAX <= crate::auth::RECORD_LEN_MAX);
/// EBUSY.
const ONE_EACH: Error = Error::new(16, "it is open already on this connection");
/// EAGAIN.
const ENDED: Error = Error::new(11, "it took too long, or was opened again on another connection");

/// Seals what is said on a connection.
pub(super) type Seal<'a> = &'a mut dyn FnMut(ConnId, &[u8]) -> Vec<u8>;

/// What hands over to nodes what is for them alone: only a master with a root key has one, and
/// only there is its code.
pub(super) trait Desk: fmt::Debug {
    /// A node opened what is for it. Gives its opening of before, which is at its end: nobody
    /// may be left there.
    fn open(&mut self, opener: OpenId, node: &str) -> Result<Option<OpenId>, Error>;
    /// It ends; whether it was open.
    fn close(&mut self, opener: OpenId) -> bool;
    /// At most so much of what is next; nothing where it was not looked for yet. What is read is
    /// gone, and then it is at its end.
    fn read(&mut self, opener: OpenId, count: u32, seal: Seal) -> Result<Option<Vec<u8>>, Error>;
    /// It was found.
    fn give(&mut self, opener: OpenId, plain: Zeroizing<Vec<u8>>);
    /// Bytes that are kept for the node at the other end, or for all.
    fn bytes(&self, conn: Option<ConnId>) -> usize;
}

/// All that are on their way.
#[derive(Debug, Default)]
pub(super) struct Handovers {
    list: SortedMap<OpenId, Handover>,
}

/// One of them.
struct Handover {
    node: String,
    /// Nothing until it was looked for.
    plain: Option<Zeroizing<Vec<u8>>>,
    /// Bytes of that which were sealed.
    sealed_len: usize,
    /// What was sealed and not read.
    unread: Vec<u8>,
}

impl fmt::Debug for Handover {
    /// No secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handover({:?}, {})", self.node, self.plain.is_some())
    }
}

impl Desk for Handovers {
    fn open(&mut self, opener: OpenId, node: &str) -> Result<Option<OpenId>, Error> {
        let mut others = self.list.iter().filter(|(_, known)| known.node == node);
        let before = others.next().map(|(open_id, _)| *open_id);
        if before.is_some_and(|before| before.conn == opener.conn) {
            return Err(ONE_EACH);
        }
        if let Some(before) = before {
            self.list.remove(&before);
        }
        let (plain, unread) = (None, Vec::new());
        self.list.insert(opener, Handover { node: node.into(), plain, sealed_len: 0, unread });
        Ok(before)
    }

    fn close(&mut self, opener: OpenId) -> bool {
        self.list.remove(&opener).is_some()
    }

    fn read(&mut self, opener: OpenId, count: u32, seal: Seal) -> Result<Option<Vec<u8>>, Error> {
        let handover = self.list.get_mut(&opener).ok_or(ENDED)?;
        let Some(plain) = &handover.plain else { return Ok(None) };
        if handover.unread.is_empty() {
            let rest = &plain[handover.sealed_len..];
            let record = &rest[..rest.len().min(RECORD_LEN_MAX)];
            handover.sealed_len += record.len();
            if !record.is_empty() {
                handover.unread = seal(opener.conn, record);
            }
        }
        if handover.sealed_len == plain.len() {
            // It is not needed any more, and there may be who waits for the room.
            (handover.plain, handover.sealed_len) = (Some(Zeroizing::default()), 0);
        }
        let len = handover.unread.len().min(count as usize);
        Ok(Some(handover.unread.drain(..len).collect()))
    }

    fn give(&mut self, opener: OpenId, plain: Zeroizing<Vec<u8>>) {
        if let Some(handover) = self.list.get_mut(&opener) {
            handover.plain = Some(plain);
        }
    }

    fn bytes(&self, conn: Option<ConnId>) -> usize {
        let of =
            self.list.iter().filter(|(open_id, _)| conn.is_none_or(|conn| conn == open_id.conn));
        of.map(|(_, handover)| {
            handover.plain.as_ref().map_or(0, |plain| plain.len()) + handover.unread.len()
        })
        .sum()
    }
}
