//! `<file>/redir`: who is to be read from, `me` or `ip!port` without a newline
//! (XGet paper, section 3.2). A client answers for itself only.

use crate::namespace::bulk::Bulk;
use crate::namespace::control_file::{ControlFile, ReadRequest};
use crate::namespace::file_id::{Directory, EntryId, FileId};
use crate::namespace::space::NameSpace;
use alloc::vec::Vec;
use ninep::Error;
use ninep::server::Answer;

/// `<file>/redir`
pub(super) struct Redir<const OF_MASTER: bool>;

impl<const OF_MASTER: bool> ControlFile for Redir<OF_MASTER> {
    fn name(&self) -> &'static str {
        "redir"
    }

    fn directory(&self) -> Directory {
        Directory::File
    }

    /// What the original reported; a reader that stops at the length still
    /// gets all of "me" or an IPv4 address.
    fn len(&self, _: &NameSpace, _: EntryId) -> u64 {
        32
    }

    fn read(
        &self,
        space: &mut NameSpace,
        id: EntryId,
        request: ReadRequest,
    ) -> Result<Answer<Bulk>, Error> {
        // Asking is what routes: a second read at an offset is the end.
        if request.offset > 0 {
            return Ok(Answer::Bytes(Vec::new()));
        }
        if !OF_MASTER {
            return Ok(request.part_of(b"me"));
        }
        let addr = space.workers.redir(request.opener.conn, FileId::FileDir(id).qid_path());
        Ok(request.part_of(addr.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use crate::namespace::testing::*;
    use ninep::server::{ConnId, OpenId, Tree};

    #[test]
    fn a_master_names_itself_or_a_worker() {
        let (mut space, _) = master();
        assert_eq!(look(&mut space, "b/redir"), read_only(&space, 32));
        let redir = file(&mut space, "b/redir");
        assert_eq!(text(read(&mut space, &redir, 0, 1)), "me");
        assert_eq!(text(read(&mut space, &redir, 2, 1)), "");
        let avail = file(&mut space, "b/avail");
        space.open(opener(2), &avail, WRITE).unwrap();
        space.write(opener(2), &avail, 0, b"4000 me").unwrap();
        assert_eq!(text(read(&mut space, &redir, 0, 1)), "me", "nobody is sent to itself");
        let other = OpenId { conn: ConnId(8), serial: 1 };
        let answer = space.read(other, &redir, 0, 99, ticket(1));
        assert_eq!(text(answer), "10.0.0.9!4000");
        assert_eq!(text(space.read(other, &redir, 0, 4, ticket(1))), "10.0");
        assert_not_writable(&mut space, &redir);
    }

    #[test]
    fn a_client_names_itself() {
        let (mut space, _) = client();
        assert_eq!(look(&mut space, "b/redir"), read_only(&space, 32));
        let redir = file(&mut space, "b/redir");
        assert_eq!(text(read(&mut space, &redir, 0, 1)), "me");
        assert_eq!(text(read(&mut space, &redir, 1, 1)), "");
        assert_not_writable(&mut space, &redir);
    }
}
