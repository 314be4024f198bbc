//! One connection's fids: which number stands for which file, and whether it is
//! open (intro(5)).
//!
//! Refuses to know requests and what a file is. A peer chooses the numbers, so
//! the table is one in which no choice makes a look-up slow.

use super::dirs::Position;
use super::limits::FIDS_MAX;
use super::tree::{Access, OpenId};
use crate::error::{BAD_FID, BAD_USE_OF_FID, Error, FID_IN_USE, TOO_MANY};
use crate::message::NOFID;
use sorted::SortedMap;

pub(super) struct Fid<F> {
    pub file: F,
    pub opened: Option<Opened>,
}

pub(super) struct Opened {
    pub open_id: OpenId,
    pub access: Access,
    /// How far a directory was read (9P2000 and .u).
    pub position: Position,
}

pub(super) struct Fids<F> {
    table: SortedMap<u32, Fid<F>>,
}

impl<F> Fids<F> {
    pub fn new() -> Fids<F> {
        Fids { table: SortedMap::new() }
    }

    /// Bytes of memory that it takes, about: numbers that grow leave the nodes of the
    /// map half full.
    pub fn held_bytes(&self) -> usize {
        self.table.len() * 2 * (size_of::<Fid<F>>() + size_of::<u64>())
    }

    pub fn get(&self, number: u32) -> Result<&Fid<F>, Error> {
        self.table.get(&number).ok_or(BAD_FID)
    }

    pub fn get_mut(&mut self, number: u32) -> Result<&mut Fid<F>, Error> {
        self.table.get_mut(&number).ok_or(BAD_FID)
    }

    /// Whether `number` could be given to a new fid.
    pub fn check_new(&self, number: u32) -> Result<(), Error> {
        if number == NOFID {
            return Err(BAD_FID);
        }
        if self.table.contains_key(&number) {
            return Err(FID_IN_USE);
        }
        if self.table.len() >= FIDS_MAX {
            return Err(TOO_MANY);
        }
        Ok(())
    }

    /// The fid `number` now stands for `file`, unopened.
    pub fn put(&mut self, number: u32, file: F) {
        self.table.insert(number, Fid { file, opened: None });
    }

    pub fn remove(&mut self, number: u32) -> Result<Fid<F>, Error> {
        self.table.remove(&number).ok_or(BAD_FID)
    }

    /// Takes all fids out, in order of their numbers.
    pub fn take_all(&mut self) -> impl Iterator<Item = Fid<F>> + use<F> {
        core::mem::take(&mut self.table).into_values()
    }
}

impl<F> Fid<F> {
    pub fn opened_to_read(&self) -> Result<&Opened, Error> {
        self.opened.as_ref().filter(|opened| opened.access.read).ok_or(BAD_USE_OF_FID)
    }

    pub fn opened_to_write(&self) -> Result<&Opened, Error> {
        self.opened.as_ref().filter(|opened| opened.access.write).ok_or(BAD_USE_OF_FID)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_refused_when_reserved_taken_or_too_many() {
        let mut fids = Fids::new();
        assert_eq!(fids.check_new(NOFID), Err(BAD_FID));
        for number in 0..FIDS_MAX as u32 {
            assert_eq!(fids.check_new(number), Ok(()));
            fids.put(number, ());
        }
        assert_eq!(fids.check_new(7), Err(FID_IN_USE));
        assert_eq!(fids.check_new(FIDS_MAX as u32), Err(TOO_MANY));
        assert!(fids.remove(7).is_ok());
        assert_eq!(fids.check_new(FIDS_MAX as u32), Ok(()));
        assert_eq!(fids.take_all().count(), FIDS_MAX - 1);
        assert_eq!(fids.get(8).err(), Some(BAD_FID));
    }
}
