//! `/.xget/status`: one record for each client, live; on a client it is empty.
//!
//! The text is the node's (docs/protocol.md, "status"): each opening asks for a
//! new one, and reads show what it was at the last.

use crate::namespace::bulk::Bulk;
use crate::namespace::control_file::{ControlFile, ReadRequest};
use crate::namespace::file_id::{Directory, EntryId};
use crate::namespace::space::{NameSpace, Notice};
use ninep::Error;
use ninep::server::{Answer, OpenId};

/// `/.xget/status`
pub(super) struct Status;

impl ControlFile for Status {
    fn name(&self) -> &'static str {
        "status"
    }

    fn directory(&self) -> Directory {
        Directory::Control
    }

    fn len(&self, space: &NameSpace, _: EntryId) -> u64 {
        space.status.len() as u64
    }

    fn open(&self, space: &mut NameSpace, _: EntryId, _: OpenId) -> Result<(), Error> {
        space.notify(Notice::StatusWanted);
        Ok(())
    }

    fn read(
        &self,
        space: &mut NameSpace,
        _: EntryId,
        request: ReadRequest,
    ) -> Result<Answer<Bulk>, Error> {
        Ok(request.part_of(space.status.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::testing::*;
    use ninep::server::Tree;

    #[test]
    fn each_opening_asks_for_it_and_reads_show_the_last() {
        for (mut space, _) in [master(), client()] {
            assert_eq!(look(&mut space, ".xget/status"), read_only(&space, 0));
            let status = file(&mut space, ".xget/status");
            assert_eq!(read_all(&mut space, &status), "");
            assert_eq!(notices(&mut space), []);
            assert_eq!(space.open(opener(1), &status, READ), Ok(()));
            assert_eq!(notices(&mut space), [Notice::StatusWanted]);
            space.set_status("address state\nme done\n".into());
            assert_eq!(look(&mut space, ".xget/status"), read_only(&space, 22));
            assert_eq!(read_all(&mut space, &status), "address state\nme done\n");
            space.close(opener(1), &status);
            assert_eq!(notices(&mut space), []);
            assert_not_writable(&mut space, &status);
        }
    }
}
