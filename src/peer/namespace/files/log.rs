//! `/log`: a line that is written is for the operator; reading gives the last
//! ones back (XGet paper, section 3.2). Only the master's takes lines.

use crate::namespace::bulk::Bulk;
use crate::namespace::control_file::{ControlFile, ReadRequest};
use crate::namespace::file_id::{Directory, EntryId};
use crate::namespace::log_lines::LINES_MAX;
use crate::namespace::space::{NameSpace, Notice};
use ninep::server::{Answer, OpenId};
use ninep::{EACCES, Error};

/// Bytes of a line that are kept; the rest of a longer one is dropped.
const LINE_LEN_MAX: usize = 1000;

/// `/log`
pub(super) struct Log<const OF_MASTER: bool>;

impl<const OF_MASTER: bool> ControlFile for Log<OF_MASTER> {
    fn name(&self) -> &'static str {
        "log"
    }

    fn directory(&self) -> Directory {
        Directory::Root
    }

    fn takes_writes(&self) -> bool {
        true
    }

    fn len(&self, space: &NameSpace, _: EntryId) -> u64 {
        space.log.bytes_len()
    }

    fn read(
        &self,
        space: &mut NameSpace,
        _: EntryId,
        request: ReadRequest,
    ) -> Result<Answer<Bulk>, Error> {
        Ok(Answer::Bytes(space.log.part(request.offset, request.count)))
    }

    /// The original sends its string with the terminating NUL.
    fn write(
        &self,
        space: &mut NameSpace,
        _: EntryId,
        opener: OpenId,
        data: &[u8],
    ) -> Result<(), Error> {
        if !OF_MASTER {
            return Err(EACCES);
        }
        let lines = data.split(|&byte| byte == b'\n' || byte == 0).filter(|line| !line.is_empty());
        for line in lines.take(LINES_MAX) {
            let line = line[..line.len().min(LINE_LEN_MAX)].to_vec();
            space.notify(Notice::LogLine(opener.conn, line));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::testing::*;
    use ninep::EACCES;
    use ninep::server::Tree;

    #[test]
    fn lines_that_are_written_are_for_the_operator() {
        let (mut space, _) = master();
        let looks = look(&mut space, "log");
        assert_eq!(looks, Look { mode: 0o100666, write: Ok(()), ..read_only(&space, 0) });
        let log = file(&mut space, "log");
        space.open(opener(1), &log, WRITE).unwrap();
        assert_eq!(space.write(opener(1), &log, 0, b"hello\n\nmore\0"), Ok(12));
        let line = |text: &[u8]| Notice::LogLine(CONN, text.to_vec());
        assert_eq!(notices(&mut space), [line(b"hello"), line(b"more")]);
        assert_eq!(read_all(&mut space, &log), "", "the node decides what is shown");
        space.close(opener(1), &log);
        assert_eq!(notices(&mut space), []);
    }

    #[test]
    fn long_lines_and_many_are_cut() {
        let (mut space, _) = master();
        let log = file(&mut space, "log");
        let long = [b'x'; LINE_LEN_MAX + 1];
        assert_eq!(space.write(opener(1), &log, 0, &long), Ok(long.len() as u32));
        assert_eq!(notices(&mut space), [Notice::LogLine(CONN, long[1..].to_vec())]);
        let many = "x\n".repeat(LINES_MAX + 1);
        assert_eq!(space.write(opener(1), &log, 0, many.as_bytes()), Ok(many.len() as u32));
        assert_eq!(notices(&mut space).len(), LINES_MAX);
    }

    #[test]
    fn what_the_node_logged_can_be_read() {
        for (mut space, _) in [master(), client()] {
            space.add_log(b"one".to_vec());
            space.add_log(b"and two".to_vec());
            assert_eq!(look(&mut space, "log").len, 12);
            let log = file(&mut space, "log");
            assert_eq!(read_all(&mut space, &log), "one\nand two\n");
        }
    }

    #[test]
    fn a_client_takes_no_lines() {
        let (mut space, _) = client();
        let looks = look(&mut space, "log");
        assert_eq!(looks, Look { mode: 0o100666, write: Err(EACCES), ..read_only(&space, 0) });
    }
}
