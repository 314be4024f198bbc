//! Reads that wait for their bytes: found by tag (a client flushes) and by
//! ticket (the bytes arrived).
//!
//! Knows which tags are in use, because only a parked request keeps its tag
//! beyond the call that brought it.

use super::limits::PARKED_MAX;
use super::tree::Ticket;
use alloc::vec::Vec;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ParkedRead {
    pub ticket: Ticket,
    pub tag: u16,
    pub fid: u32,
    pub offset: u64,
    pub count: u32,
}

/// In the order in which they came. Few wait at a time: a look at each is
/// cheaper than two indexes, and bounded.
#[derive(Default)]
pub(super) struct ParkedReads {
    reads: Vec<ParkedRead>,
}

impl ParkedReads {
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.reads.len()
    }

    pub fn is_full(&self) -> bool {
        self.reads.len() >= PARKED_MAX
    }

    pub fn holds_tag(&self, tag: u16) -> bool {
        self.reads.iter().any(|read| read.tag == tag)
    }

    pub fn get(&self, ticket: Ticket) -> Option<ParkedRead> {
        self.reads.iter().find(|read| read.ticket == ticket).copied()
    }

    pub fn put(&mut self, read: ParkedRead) {
        self.reads.push(read);
    }

    pub fn remove(&mut self, ticket: Ticket) {
        self.reads.retain(|read| read.ticket != ticket);
    }

    pub fn remove_tag(&mut self, tag: u16) -> Option<ParkedRead> {
        let at = self.reads.iter().position(|read| read.tag == tag)?;
        Some(self.reads.remove(at))
    }

    /// Takes out the reads of one fid, in the order in which they came.
    pub fn take_fid(&mut self, fid: u32) -> Vec<ParkedRead> {
        let (of_fid, others) = self.take_all().into_iter().partition(|read| read.fid == fid);
        self.reads = others;
        of_fid
    }

    pub fn take_all(&mut self) -> Vec<ParkedRead> {
        core::mem::take(&mut self.reads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::ConnId;

    fn ticket(serial: u64) -> Ticket {
        Ticket { conn: ConnId(1), serial }
    }

    fn read(serial: u64, tag: u16, fid: u32) -> ParkedRead {
        ParkedRead { ticket: ticket(serial), tag, fid, offset: 0, count: 1 }
    }

    #[test]
    fn a_read_is_found_by_tag_ticket_and_fid() {
        let mut parked = ParkedReads::default();
        parked.put(read(1, 10, 5));
        parked.put(read(2, 11, 6));
        parked.put(read(3, 9, 5));
        parked.put(read(4, 8, 5));
        assert_eq!(parked.remove_tag(11), Some(read(2, 11, 6)));
        assert_eq!(parked.get(ticket(2)), None);
        assert!(!parked.holds_tag(11));
        parked.remove(ticket(4));
        assert_eq!(parked.take_fid(5), [read(1, 10, 5), read(3, 9, 5)]);
        assert!(!parked.holds_tag(9));
        assert_eq!(parked.take_all(), []);
    }

    #[test]
    fn the_table_knows_when_it_is_full() {
        let mut parked = ParkedReads::default();
        for tag in 0..PARKED_MAX as u16 {
            assert!(!parked.is_full());
            parked.put(read(u64::from(tag), tag, 0));
        }
        assert!(parked.is_full());
        assert_eq!(parked.take_all().len(), PARKED_MAX);
        assert!(!parked.is_full() && !parked.holds_tag(0));
    }
}
