//! What is for one node alone: the root of a tree of its own, on a master with a root key.
//!
//! Refuses to know what it is, and who may attach it (`guard`).

use crate::namespace::bulk::Bulk;
use crate::namespace::control_file::{ControlFile, ReadRequest};
use crate::namespace::file_id::{Directory, EntryId};
use crate::namespace::space::NameSpace;
use ninep::Error;
use ninep::server::{Answer, OpenId};

/// It is in no directory, and has no name there.
pub(super) struct Alone;

impl ControlFile for Alone {
    fn name(&self) -> &'static str {
        ""
    }

    fn directory(&self) -> Directory {
        Directory::Root
    }

    fn open(&self, space: &mut NameSpace, _: EntryId, opener: OpenId) -> Result<(), Error> {
        space.open_alone(opener)
    }

    fn read(
        &self,
        space: &mut NameSpace,
        _: EntryId,
        request: ReadRequest,
    ) -> Result<Answer<Bulk>, Error> {
        space.read_alone(request.opener, request.count, request.ticket)
    }

    fn close(&self, space: &mut NameSpace, _: EntryId, opener: OpenId) {
        space.close_alone(opener);
    }
}
