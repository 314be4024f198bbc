//! `/.xget/route`: the conversation between a client and the master
//! (docs/protocol.md). Only the master's can be opened.
//!
//! Knows what is written and whose it is. Refuses to know what it says
//! ([`crate::control`]). The opening is the client's lease as a worker.

use crate::control::LINE_LEN_MAX;
use crate::namespace::bulk::Bulk;
use crate::namespace::control_file::{ControlFile, ReadRequest};
use crate::namespace::file_id::{Directory, EntryId};
use crate::namespace::space::{NameSpace, Notice, Wait};
use ninep::server::{Answer, OpenId};
use ninep::{EINVAL, Error};

/// EACCES.
const ONLY_THE_MASTER: Error = Error::new(13, "only the master routes");
/// EBUSY.
const ONE_EACH: Error = Error::new(16, "one conversation for each connection");

/// `/.xget/route`
pub(super) struct Route<const OF_MASTER: bool>;

impl<const OF_MASTER: bool> ControlFile for Route<OF_MASTER> {
    fn name(&self) -> &'static str {
        "route"
    }

    fn directory(&self) -> Directory {
        Directory::Control
    }

    fn takes_writes(&self) -> bool {
        true
    }

    fn open(&self, space: &mut NameSpace, _: EntryId, opener: OpenId) -> Result<(), Error> {
        if !OF_MASTER {
            return Err(ONLY_THE_MASTER);
        }
        // What is sealed on a connection has one order.
        let is_alone = !space.guard.is_locked() || space.askers.of(opener.conn).is_none();
        if is_alone && space.conversations.begin(opener) { Ok(()) } else { Err(ONE_EACH) }
    }

    /// A conversation has no offsets: what is read is gone.
    fn read(
        &self,
        space: &mut NameSpace,
        _: EntryId,
        request: ReadRequest,
    ) -> Result<Answer<Bulk>, Error> {
        if !OF_MASTER {
            return Err(ONLY_THE_MASTER);
        }
        let ReadRequest { opener, count, ticket, .. } = request;
        match space.conversations.unread_len(opener).ok_or(EINVAL)? {
            0 => Ok(space.park(Wait::Answer(opener), ticket)),
            _ => Ok(Answer::Bytes(space.conversations.take(opener, count))),
        }
    }

    fn write(
        &self,
        space: &mut NameSpace,
        _: EntryId,
        opener: OpenId,
        data: &[u8],
    ) -> Result<(), Error> {
        if !OF_MASTER {
            return Err(ONLY_THE_MASTER);
        }
        if data.len() > LINE_LEN_MAX || !space.conversations.is_open(opener) {
            return Err(EINVAL);
        }
        if !data.is_empty() {
            space.notify(Notice::RouteText(opener, data.to_vec()));
        }
        Ok(())
    }

    fn close(&self, space: &mut NameSpace, _: EntryId, opener: OpenId) {
        if !OF_MASTER {
            return;
        }
        space.conversations.end(opener);
        space.forget_answers(opener);
        space.notify(Notice::RouteClosed(opener));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::conversations::QUEUE_LEN_MAX;
    use crate::namespace::testing::*;
    use ninep::server::{ConnId, Tree};

    #[test]
    fn lines_go_to_the_node_and_its_answers_come_back() {
        let (mut space, _) = master();
        let looks = look(&mut space, ".xget/route");
        assert_eq!(looks, Look { mode: 0o100666, write: Ok(()), ..read_only(&space, 0) });
        let route = file(&mut space, ".xget/route");
        space.open(opener(1), &route, READ_WRITE).unwrap();
        assert_eq!(space.write(opener(1), &route, 0, b"join 1 5 .\nleave\n"), Ok(17));
        assert_eq!(space.write(opener(1), &route, 0, b""), Ok(0));
        let said = Notice::RouteText(opener(1), b"join 1 5 .\nleave\n".to_vec());
        assert_eq!(notices(&mut space), [said]);
        assert_eq!(read(&mut space, &route, 0, 1), Ok(Answer::Park));
        assert_eq!(space.answer(opener(1), "parent 0 me\n"), [ticket(1)]);
        assert_eq!(text(space.read(opener(1), &route, 0, 0, ticket(1))), "");
        assert_eq!(text(space.read(opener(1), &route, 0, 6, ticket(1))), "parent");
        assert_eq!(text(read(&mut space, &route, 0, 1)), " 0 me\n", "whatever the offset");
        let long = [b'x'; LINE_LEN_MAX + 1];
        assert_eq!(space.write(opener(1), &route, 0, &long), Err(EINVAL));
    }

    #[test]
    fn its_end_is_the_clunk() {
        let (mut space, _) = master();
        let route = file(&mut space, ".xget/route");
        space.open(opener(1), &route, READ_WRITE).unwrap();
        assert_eq!(read(&mut space, &route, 0, 1), Ok(Answer::Park));
        space.close(opener(1), &route);
        assert_eq!(notices(&mut space), [Notice::RouteClosed(opener(1))]);
        assert_eq!(space.answer(opener(1), "late\n"), []);
        assert_eq!(read(&mut space, &route, 0, 1), Err(EINVAL));
    }

    #[test]
    fn a_connection_has_one() {
        let (mut space, _) = master();
        let route = file(&mut space, ".xget/route");
        space.open(opener(1), &route, READ_WRITE).unwrap();
        assert_eq!(space.open(opener(2), &route, READ), Err(ONE_EACH));
        let other = OpenId { conn: ConnId(8), serial: 1 };
        assert_eq!(space.open(other, &route, READ_WRITE), Ok(()));
        space.close(opener(1), &route);
        assert_eq!(space.open(opener(2), &route, READ), Ok(()));
    }

    #[test]
    fn one_that_nobody_reads_is_cut_off() {
        let (mut space, _) = master();
        let route = file(&mut space, ".xget/route");
        space.open(opener(1), &route, READ).unwrap();
        let line = "x".repeat(1000);
        for _ in 0..=QUEUE_LEN_MAX / 1000 {
            space.answer(opener(1), &line);
        }
        assert_eq!(notices(&mut space), [Notice::RouteClosed(opener(1))]);
        assert_eq!(read(&mut space, &route, 0, 1), Err(EINVAL));
    }

    #[test]
    fn one_that_is_over_takes_nothing_and_ends_with_what_was_said() {
        let (mut space, _) = master();
        let route = file(&mut space, ".xget/route");
        space.open(opener(1), &route, READ_WRITE).unwrap();
        space.answer(opener(1), "error 22 what\n");
        space.finish_conversation(opener(1));
        assert_eq!(space.write(opener(1), &route, 0, b"leave\n"), Err(EINVAL));
        assert_eq!(notices(&mut space), []);
        assert_eq!(text(read(&mut space, &route, 0, 1)), "error 22 what\n");
        assert_eq!(read(&mut space, &route, 0, 1), Err(EINVAL));
    }

    #[test]
    fn a_client_has_it_and_does_not_open_it() {
        let (mut space, _) = client();
        let looks = look(&mut space, ".xget/route");
        let refused = Look { read: Err(ONLY_THE_MASTER), ..read_only(&space, 0) };
        assert_eq!(looks, Look { mode: 0o100666, ..refused });
    }
}
