//! `<file>/avail`: `<port> <what redir said>` makes the writer a worker for the
//! file, for as long as the file stays open (XGet paper, section 3.2). Only the
//! master's can be written; it reads as empty.

use crate::namespace::bulk::Bulk;
use crate::namespace::control_file::{ControlFile, ReadRequest};
use crate::namespace::file_id::{Directory, EntryId, FileId};
use crate::namespace::space::NameSpace;
use alloc::format;
use alloc::vec::Vec;
use ninep::server::{Answer, OpenId};
use ninep::{EACCES, EINVAL, EIO, Error};

/// `<file>/avail`
pub(super) struct Avail<const OF_MASTER: bool>;

impl<const OF_MASTER: bool> ControlFile for Avail<OF_MASTER> {
    fn name(&self) -> &'static str {
        "avail"
    }

    fn directory(&self) -> Directory {
        Directory::File
    }

    fn takes_writes(&self) -> bool {
        true
    }

    fn read(&self, _: &mut NameSpace, _: EntryId, _: ReadRequest) -> Result<Answer<Bulk>, Error> {
        Ok(Answer::Bytes(Vec::new()))
    }

    fn write(
        &self,
        space: &mut NameSpace,
        id: EntryId,
        opener: OpenId,
        data: &[u8],
    ) -> Result<(), Error> {
        if !OF_MASTER {
            return Err(EACCES);
        }
        if data.is_empty() {
            return Ok(());
        }
        let ip = space.peer_ip(opener.conn).ok_or(EIO)?;
        let noted = space.workers.avail(opener, FileId::FileDir(id).qid_path(), ip, data);
        noted.map_err(|why| Error::with(EINVAL.errno, format!("avail: {why:?}")))
    }

    /// The lease ends.
    fn close(&self, space: &mut NameSpace, id: EntryId, opener: OpenId) {
        if OF_MASTER {
            space.workers.close(opener, FileId::FileDir(id).qid_path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::testing::*;
    use ninep::EACCES;
    use ninep::server::{ConnId, Tree};

    #[test]
    fn an_opening_is_a_lease() {
        let (mut space, _) = master();
        let looks = look(&mut space, "b/avail");
        assert_eq!(looks, Look { mode: 0o100666, write: Ok(()), ..read_only(&space, 0) });
        let (avail, redir) = (file(&mut space, "b/avail"), file(&mut space, "b/redir"));
        let other = OpenId { conn: ConnId(8), serial: 1 };
        let routed = |space: &mut NameSpace| text(space.read(other, &redir, 0, 99, ticket(1)));
        space.open(opener(2), &avail, WRITE).unwrap();
        assert_eq!(space.write(opener(2), &avail, 0, b""), Ok(0));
        assert_eq!(routed(&mut space), "me");
        assert_eq!(space.write(opener(2), &avail, 0, b"4000 me\0"), Ok(8));
        assert_eq!(routed(&mut space), "10.0.0.9!4000");
        assert_eq!(read_all(&mut space, &avail), "");
        space.close(opener(2), &avail);
        assert_eq!(routed(&mut space), "me");
        assert_eq!(notices(&mut space), []);
    }

    #[test]
    fn nonsense_is_refused_with_its_reason() {
        let (mut space, _) = master();
        let avail = file(&mut space, "b/avail");
        let refused = space.write(opener(1), &avail, 0, b"nonsense");
        assert_eq!(refused, Err(Error::new(22, "avail: Malformed")));
        let stranger = OpenId { conn: ConnId(9), serial: 1 };
        assert_eq!(space.write(stranger, &avail, 0, b"4000 me"), Err(EIO));
    }

    #[test]
    fn a_client_takes_no_workers() {
        let (mut space, _) = client();
        let looks = look(&mut space, "b/avail");
        assert_eq!(looks, Look { mode: 0o100666, write: Err(EACCES), ..read_only(&space, 0) });
        let avail = file(&mut space, "b/avail");
        assert_eq!(read_all(&mut space, &avail), "");
    }
}
