//! `/.xget/node`: a node says who it is, and reads what it is to have; it says how far it
//! is. Only the master's can be opened.
//!
//! Knows whose words are whose, and which read waits. Refuses to know what is answered.

use crate::control::{NODE_LINE_LEN_MAX, NodeMessage};
use crate::namespace::bulk::Bulk;
use crate::namespace::control_file::{ControlFile, ReadRequest};
use crate::namespace::file_id::{Directory, EntryId};
use crate::namespace::space::{NameSpace, Notice, Wait};
use ninep::server::{Answer, OpenId};
use ninep::{EINVAL, Error};

/// EACCES.
const ONLY_THE_MASTER: Error = Error::new(13, "only the master knows the nodes");
/// EBUSY.
const ONE_EACH: Error = Error::new(16, "one node for each connection");

/// `/.xget/node`
pub(super) struct Node<const OF_MASTER: bool>;

impl<const OF_MASTER: bool> ControlFile for Node<OF_MASTER> {
    fn name(&self) -> &'static str {
        "node"
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
        let is_alone = !space.guard.is_locked() || space.conversations.of(opener.conn).is_none();
        if is_alone && space.askers.begin(opener) { Ok(()) } else { Err(ONE_EACH) }
    }

    /// No offsets: what is read is gone, and then it is at its end.
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
        if space.askers.is_owed(opener) {
            return Ok(space.park(Wait::Answer(opener), ticket));
        }
        Ok(Answer::Bytes(space.askers.take(opener, count)))
    }

    /// Who it is, how far it is, or a line of each.
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
        if data.len() > NODE_LINE_LEN_MAX {
            return Err(EINVAL);
        }
        let line_len = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
        let (first, second) = data.split_at(line_len);
        let second = second.strip_suffix(b"\n").unwrap_or(second);
        if second.iter().filter(|byte| **byte == b'\n').count() > 1 {
            return Err(EINVAL);
        }
        let said = NodeMessage::parse(first).ok_or(EINVAL)?;
        let second = match second {
            b"" => None,
            line => Some(NodeMessage::parse(&line[1..]).ok_or(EINVAL)?),
        };
        for message in [Some(said), second].into_iter().flatten() {
            if let NodeMessage::Question(_) = message {
                space.askers.owe(opener);
            }
            space.notify(Notice::NodeSaid(opener, message));
        }
        Ok(())
    }

    fn close(&self, space: &mut NameSpace, _: EntryId, opener: OpenId) {
        if !OF_MASTER {
            return;
        }
        space.askers.end(opener);
        space.forget_answers(opener);
        space.notify(Notice::NodeClosed(opener));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{NodeQuestion, NodeStage};
    use crate::namespace::testing::*;
    use alloc::vec;
    use ninep::server::Tree;

    #[test]
    fn a_question_is_answered_once_and_then_there_is_nothing() {
        let (mut space, _) = master();
        let looks = look(&mut space, ".xget/node");
        assert_eq!(looks, Look { mode: 0o100666, write: Ok(()), ..read_only(&space, 0) });
        let node = file(&mut space, ".xget/node");
        space.open(opener(1), &node, READ_WRITE).unwrap();
        assert_eq!(text(read(&mut space, &node, 0, 1)), "", "nothing was asked");
        let line = b"host=n1\nstate fetching a\n";
        assert_eq!(space.write(opener(1), &node, 0, line), Ok(line.len() as u32));
        let keys = vec![nodes::Key::new(nodes::Kind::Host, "n1").unwrap()];
        let question = NodeMessage::Question(NodeQuestion { keys, image: None });
        let state = NodeMessage::State(NodeStage::Fetching, "a".into());
        let said = [question, state].map(|message| Notice::NodeSaid(opener(1), message));
        assert_eq!(notices(&mut space), said);
        assert_eq!(read(&mut space, &node, 24, 1), Ok(Answer::Park));
        assert_eq!(space.answer_node(opener(1), "image a\n"), [ticket(1)]);
        assert_eq!(text(space.read(opener(1), &node, 24, 6, ticket(1))), "image ");
        assert_eq!(text(read(&mut space, &node, 0, 1)), "a\n", "whatever the offset");
        assert_eq!(text(read(&mut space, &node, 0, 1)), "");
        space.close(opener(1), &node);
        assert_eq!(notices(&mut space), [Notice::NodeClosed(opener(1))]);
        assert_eq!(space.answer_node(opener(1), "late\n"), []);
    }

    #[test]
    fn another_question_takes_the_place_of_what_was_not_read() {
        let (mut space, _) = master();
        let node = file(&mut space, ".xget/node");
        space.open(opener(1), &node, READ_WRITE).unwrap();
        space.write(opener(1), &node, 0, b"host=a").unwrap();
        space.answer_node(opener(1), "image a\n");
        space.write(opener(1), &node, 0, b"host=b").unwrap();
        assert_eq!(read(&mut space, &node, 0, 1), Ok(Answer::Park));
        space.answer_node(opener(1), "image b\n");
        assert_eq!(text(read(&mut space, &node, 0, 1)), "image b\n");
    }

    #[test]
    fn what_is_not_understood_is_refused_and_says_nothing() {
        let (mut space, _) = master();
        let node = file(&mut space, ".xget/node");
        space.open(opener(1), &node, READ_WRITE).unwrap();
        assert_eq!(space.open(opener(2), &node, READ), Err(ONE_EACH));
        let long = [&b"host="[..], &[b'x'; NODE_LINE_LEN_MAX]].concat();
        for line in [&b""[..], b"\n", b"host", b"state on", b"host=a\nx", b"host=a\n\n", &long] {
            assert_eq!(space.write(opener(1), &node, 0, line), Err(EINVAL));
        }
        assert_eq!(space.write(opener(1), &node, 0, b"host=a\nhost=b\nhost=c"), Err(EINVAL));
        assert_eq!(notices(&mut space), []);
        assert_eq!(text(read(&mut space, &node, 0, 1)), "");
    }

    #[test]
    fn a_client_has_it_and_does_not_open_it() {
        let (mut space, _) = client();
        let refused = Look { read: Err(ONLY_THE_MASTER), ..read_only(&space, 0) };
        assert_eq!(look(&mut space, ".xget/node"), Look { mode: 0o100666, ..refused });
    }
}
