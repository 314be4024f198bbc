//! Reads that wait for their bytes: found by tag (a client flushes), by ticket
//! (the bytes arrived) and by fid (a client clunks).
//!
//! Knows which tags are in use, because only a parked request keeps its tag
//! beyond the call that brought it. A peer chooses the tags, how many reads it
//! parks and in which order it gives them up: each step costs the
//! same however many are parked, but a clunk, which looks at all of them.

use super::limits::PARKED_MAX;
use super::tree::Ticket;
use alloc::boxed::Box;
use alloc::vec::Vec;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ParkedRead {
    pub ticket: Ticket,
    pub tag: u16,
    pub fid: u32,
    pub offset: u64,
    pub count: u32,
}

/// The tags of one page of the index.
const PAGE_LEN: usize = 256;
/// In the index: no read of this tag. No slot has this number.
const NONE: u16 = u16::MAX;
const _: () = assert!(PARKED_MAX < NONE as usize);

/// Reads by slot, and where each tag's is: pages of an index, made when a tag of
/// theirs is first used. A client that counts its tags up from 0 has one page.
#[derive(Default)]
pub(super) struct ParkedReads {
    slots: Vec<Option<ParkedRead>>,
    free: Vec<u16>,
    pages: Vec<Option<Box<[u16; PAGE_LEN]>>>,
}

impl ParkedReads {
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Bytes of memory that it takes, about.
    pub fn held_bytes(&self) -> usize {
        let pages = self.pages.iter().flatten().count();
        self.slots.capacity() * size_of::<Option<ParkedRead>>() + pages * PAGE_LEN * 2
    }

    pub fn is_full(&self) -> bool {
        self.len() >= PARKED_MAX
    }

    pub fn holds_tag(&self, tag: u16) -> bool {
        self.slot(tag).is_some()
    }

    fn slot(&self, tag: u16) -> Option<u16> {
        let page = self.pages.get(usize::from(tag) / PAGE_LEN)?.as_ref()?;
        let slot = page[usize::from(tag) % PAGE_LEN];
        (slot != NONE).then_some(slot)
    }

    fn set_slot(&mut self, tag: u16, slot: u16) {
        let (page, place) = (usize::from(tag) / PAGE_LEN, usize::from(tag) % PAGE_LEN);
        if self.pages.len() <= page {
            self.pages.resize_with(page + 1, || None);
        }
        self.pages[page].get_or_insert_with(|| Box::new([NONE; PAGE_LEN]))[place] = slot;
    }

    /// The read of a ticket, which carries its tag.
    pub fn get(&self, ticket: Ticket) -> Option<ParkedRead> {
        let read = self.slots[usize::from(self.slot(ticket.tag())?)];
        read.filter(|read| read.ticket == ticket)
    }

    /// Parks a read whose tag is in no other's use.
    pub fn put(&mut self, read: ParkedRead) {
        let slot = self.free.pop().unwrap_or(self.slots.len() as u16);
        match self.slots.get_mut(usize::from(slot)) {
            Some(free) => *free = Some(read),
            None => self.slots.push(Some(read)),
        }
        self.set_slot(read.tag, slot);
    }

    pub fn remove_tag(&mut self, tag: u16) -> Option<ParkedRead> {
        let slot = self.slot(tag)?;
        self.set_slot(tag, NONE);
        self.free.push(slot);
        self.slots[usize::from(slot)].take()
    }

    /// Takes out the reads of one fid. Looks at each slot: microseconds, where
    /// there are as many as can be.
    pub fn take_fid(&mut self, fid: u32) -> Vec<ParkedRead> {
        if self.len() == 0 {
            return Vec::new();
        }
        let reads = self.slots.iter().flatten().filter(|read| read.fid == fid);
        let of_fid: Vec<ParkedRead> = reads.copied().collect();
        for read in &of_fid {
            self.remove_tag(read.tag);
        }
        of_fid
    }

    pub fn take_all(&mut self) -> impl Iterator<Item = ParkedRead> + use<> {
        core::mem::take(self).slots.into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::ConnId;

    fn read(number: u64, tag: u16, fid: u32) -> ParkedRead {
        let ticket = Ticket::new(ConnId(1), number, tag);
        ParkedRead { ticket, tag, fid, offset: 0, count: 1 }
    }

    #[test]
    fn a_read_is_found_by_tag_ticket_and_fid() {
        let mut parked = ParkedReads::default();
        parked.put(read(1, 10, 5));
        parked.put(read(2, 11, 6));
        parked.put(read(3, 9, 5));
        parked.put(read(4, 8, 5));
        assert_eq!(parked.remove_tag(11), Some(read(2, 11, 6)));
        assert_eq!(parked.get(read(2, 11, 6).ticket), None);
        assert!(!parked.holds_tag(11));
        assert_eq!(parked.get(read(4, 8, 5).ticket), Some(read(4, 8, 5)));
        assert_eq!(parked.get(read(5, 8, 5).ticket), None, "another read had that tag");
        assert_eq!(parked.remove_tag(8), Some(read(4, 8, 5)));
        assert_eq!(parked.take_fid(5), [read(1, 10, 5), read(3, 9, 5)]);
        assert!(!parked.holds_tag(9));
        assert_eq!((parked.len(), parked.take_all().next()), (0, None));
    }

    #[test]
    fn a_slot_is_used_again_and_tags_lie_anywhere() {
        let mut parked = ParkedReads::default();
        for round in 0..3 {
            for tag in [0, 255, 256, 65_534, u16::MAX] {
                parked.put(read(round, tag, 7));
            }
            assert_eq!(parked.get(read(round, 65_534, 7).ticket), Some(read(round, 65_534, 7)));
            assert_eq!(parked.remove_tag(256), Some(read(round, 256, 7)));
            assert_eq!(parked.take_fid(7).len(), 4);
        }
        assert_eq!(parked.slots.len(), 5);
        assert!(parked.held_bytes() < 4_096, "three pages and five slots");
    }

    #[test]
    fn the_table_knows_when_it_is_full() {
        let mut parked = ParkedReads::default();
        for tag in 0..PARKED_MAX as u16 {
            assert!(!parked.is_full());
            parked.put(read(u64::from(tag), tag, 0));
        }
        assert!(parked.is_full());
        assert_eq!(parked.take_all().count(), PARKED_MAX);
        assert!(!parked.is_full() && !parked.holds_tag(0));
    }
}
