//! What a control file is: a name in one kind of directory, and what the
//! requests of 9P do to it.
//!
//! Knows the questions; each file of `files/` answers them for one name.

use super::bulk::Bulk;
use super::file_id::{Directory, EntryId};
use super::space::NameSpace;
use ninep::server::{Answer, OpenId, Ticket};
use ninep::{EROFS, Error};

/// A file that is not served from the manifest. It has no state of its own: what
/// it shows and changes is the [`NameSpace`]'s.
///
/// `id` is what the file is about: a served file for those of
/// [`Directory::File`], a generation's root for those of
/// [`Directory::Generation`], else [`EntryId::NONE`].
pub(super) trait ControlFile: Sync {
    /// Its name; no other file in its directory has it.
    fn name(&self) -> &'static str;

    /// Where it stands.
    fn directory(&self) -> Directory;

    /// Whether it can be opened for writing, on a master. On a client nothing
    /// can be.
    fn takes_writes(&self) -> bool {
        false
    }

    /// Permission bits.
    fn mode(&self, _space: &NameSpace, _id: EntryId) -> u32 {
        if self.takes_writes() { 0o666 } else { 0o444 }
    }

    /// Bytes that stat shows.
    fn len(&self, _space: &NameSpace, _id: EntryId) -> u64 {
        0
    }

    /// The version of its qid: 0 for what is live, which Linux' client never
    /// caches; 1 for bytes that never change.
    fn version(&self) -> u32 {
        0
    }

    /// Called when access was granted; may still refuse.
    fn open(&self, _space: &mut NameSpace, _id: EntryId, _opener: OpenId) -> Result<(), Error> {
        Ok(())
    }

    /// Answers or parks a read.
    fn read(
        &self,
        space: &mut NameSpace,
        id: EntryId,
        request: ReadRequest,
    ) -> Result<Answer<Bulk>, Error>;

    /// Takes all of what is written, or refuses it.
    fn write(
        &self,
        _space: &mut NameSpace,
        _id: EntryId,
        _opener: OpenId,
        _data: &[u8],
    ) -> Result<(), Error> {
        Err(EROFS)
    }

    /// The opening ends: clunk, reset or lost connection.
    fn close(&self, _space: &mut NameSpace, _id: EntryId, _opener: OpenId) {}
}

/// A read of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadRequest {
    pub opener: OpenId,
    pub offset: u64,
    pub count: u32,
    /// To park it under.
    pub ticket: Ticket,
}

impl ReadRequest {
    /// What the request asks for of a short text.
    pub fn part_of(&self, text: &[u8]) -> Answer<Bulk> {
        let start = usize::try_from(self.offset).map_or(text.len(), |at| at.min(text.len()));
        let end = start.saturating_add(self.count as usize).min(text.len());
        Answer::Bytes(text[start..end].to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ninep::server::ConnId;

    #[test]
    fn a_request_gets_what_lies_within_the_text() {
        let part = |offset, count| {
            let opener = OpenId { conn: ConnId(1), serial: 1 };
            let ticket = Ticket { conn: ConnId(1), serial: 1 };
            match (ReadRequest { opener, offset, count, ticket }).part_of(b"hello") {
                Answer::Bytes(bytes) => bytes,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(part(0, 99), b"hello");
        assert_eq!(part(1, 3), b"ell");
        assert_eq!(part(4, u32::MAX), b"o");
        assert_eq!(part(5, 1), b"");
        assert_eq!(part(u64::MAX, u32::MAX), b"");
    }
}
