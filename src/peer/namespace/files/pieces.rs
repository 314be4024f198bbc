//! The pieces of a generation, piece n at n times the stride (docs/protocol.md), in
//! four files of `/.xget/<generation>/` that differ in what is not here:
//!
//! | file | a piece that is not here yet | a pack of which files changed on this master |
//! |---|---|---|
//! | `pieces` | is waited for | is an error |
//! | `held` | reads as empty | is an error |
//! | `rest` | is waited for | has zeros for those |
//! | `late` | is waited for | is an error |
//!
//! A master gives who reads `late` no more than those who read `pieces` leave. A piece that
//! was here, and has fallen out of the window of a stream, reads as empty in all of them.

use crate::namespace::bulk::{Bulk, Stored};
use crate::namespace::control_file::{ControlFile, ReadRequest};
use crate::namespace::file_id::{Directory, EntryId};
use crate::namespace::space::{NameSpace, Wait};
use ninep::Error;
use ninep::server::Answer;

/// Each of them. A read gives bytes of one piece.
#[derive(PartialEq)]
pub(super) enum Pieces {
    /// `pieces`
    Whole,
    /// `held`
    Held,
    /// `rest`
    Rest,
    /// `late`
    Late,
}

impl ControlFile for Pieces {
    fn name(&self) -> &'static str {
        match self {
            Pieces::Whole => "pieces",
            Pieces::Held => "held",
            Pieces::Rest => "rest",
            Pieces::Late => "late",
        }
    }

    fn directory(&self) -> Directory {
        Directory::Generation
    }

    fn len(&self, space: &NameSpace, id: EntryId) -> u64 {
        space.generations.get(id.generation).map_or(0, |known| known.stream_len())
    }

    fn read(
        &self,
        space: &mut NameSpace,
        id: EntryId,
        request: ReadRequest,
    ) -> Result<Answer<Bulk>, Error> {
        let ReadRequest { offset, count, .. } = request;
        let takes_rest = *self == Pieces::Rest;
        let stored = match space.generations.piece(id.generation, offset, count, takes_rest)? {
            Stored::Missing(..) if *self == Pieces::Held => Stored::End,
            stored => stored,
        };
        let is_counted = matches!(self, Pieces::Whole | Pieces::Late);
        if is_counted && !space.may_take(&stored, *self == Pieces::Late) {
            return Ok(space.park(Wait::Late, request.ticket));
        }
        space.answer_stored(stored, request.ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::manifest::stride;
    use crate::namespace::testing::*;
    use crate::testing::small;
    use ninep::ESTALE;
    use ninep::server::Tree;

    fn stride_len() -> u64 {
        u64::from(stride(small().piece_len))
    }

    #[test]
    fn a_master_has_all_of_them() {
        let (mut space, id) = master();
        let path = of_generation(&space, id, "pieces");
        assert_eq!(look(&mut space, &path), read_only(&space, 2 * stride_len()));
        let pieces = file(&mut space, &path);
        let what = |piece, skip| Bulk::Piece { generation: id, piece, skip };
        let first = read(&mut space, &pieces, 9, 1);
        assert_eq!(first, Ok(Answer::Bulk { what: what(0, 9), len: 99 }));
        let second = read(&mut space, &pieces, stride_len() + 2, 1);
        let second_len = 3;
        let wanted = Ok(Answer::Bulk { what: what(1, 2), len: second_len });
        assert_eq!(second, wanted, "b and a/x, 5 bytes, from the third");
        assert_eq!(text(read(&mut space, &pieces, stride_len() + 5, 1)), "", "its end");
        assert_eq!(text(read(&mut space, &pieces, 2 * stride_len(), 1)), "", "the end");
        assert_eq!(text(read(&mut space, &pieces, u64::MAX, 1)), "");
        assert_not_writable(&mut space, &pieces);
        space.drop_generation(id);
        assert_eq!(read(&mut space, &pieces, 0, 1), Err(ESTALE));
        assert_eq!(space.attr(&pieces).size, 0);
    }

    #[test]
    fn a_client_waits_for_what_is_not_here() {
        let (mut space, id) = client();
        let path = of_generation(&space, id, "pieces");
        assert_eq!(look(&mut space, &path), read_only(&space, 2 * stride_len()));
        let pieces = file(&mut space, &path);
        assert_eq!(read(&mut space, &pieces, stride_len(), 1), Ok(Answer::Park));
        assert_eq!(read(&mut space, &pieces, stride_len() + 1, 2), Ok(Answer::Park));
        assert_eq!(text(read(&mut space, &pieces, 9 * stride_len(), 3)), "", "there is no such");
        space.forget(ticket(2));
        assert_eq!(space.hold(id, 1), [ticket(1)]);
        assert_eq!(space.hold(id, 1), [], "held already");
        let answer = read(&mut space, &pieces, stride_len(), 1);
        let what = Bulk::Piece { generation: id, piece: 1, skip: 0 };
        assert_eq!(answer, Ok(Answer::Bulk { what, len: 5 }));
    }

    #[test]
    fn what_is_lost_is_an_error_for_those_who_wait_too() {
        let (mut space, id) = client();
        let path = of_generation(&space, id, "pieces");
        let pieces = file(&mut space, &path);
        assert_eq!(read(&mut space, &pieces, stride_len(), 1), Ok(Answer::Park));
        assert_eq!(space.lose(id, 1), [ticket(1)]);
        let lost = read(&mut space, &pieces, stride_len(), 1);
        assert_eq!(lost.map_err(|error| error.errno), Err(5));
    }

    #[test]
    fn while_the_manifest_is_unknown_any_piece_may_come() {
        let (mut space, id) = newcomer();
        let path = of_generation(&space, id, "pieces");
        assert_eq!(look(&mut space, &path).len, 2 * stride_len(), "what is known of");
        let pieces = file(&mut space, &path);
        assert_eq!(read(&mut space, &pieces, 9 * stride_len(), 1), Ok(Answer::Park));
    }

    #[test]
    fn a_master_holds_all() {
        let (mut space, id) = master();
        let path = of_generation(&space, id, "held");
        assert_eq!(look(&mut space, &path), read_only(&space, 2 * stride_len()));
        let held = file(&mut space, &path);
        let what = Bulk::Piece { generation: id, piece: 1, skip: 4 };
        let answer = read(&mut space, &held, stride_len() + 4, 1);
        assert_eq!(answer, Ok(Answer::Bulk { what, len: 1 }));
        assert_eq!(text(read(&mut space, &held, 2 * stride_len(), 1)), "");
        assert_not_writable(&mut space, &held);
        space.drop_generation(id);
        assert_eq!(read(&mut space, &held, 0, 1), Err(ESTALE));
    }

    #[test]
    fn what_is_not_here_reads_as_empty_at_once() {
        let (mut space, id) = client();
        let path = of_generation(&space, id, "held");
        assert_eq!(look(&mut space, &path), read_only(&space, 2 * stride_len()));
        let held = file(&mut space, &path);
        assert_eq!(text(read(&mut space, &held, stride_len(), 1)), "");
        assert_eq!(space.hold(id, 1), [], "nobody waits");
        let what = Bulk::Piece { generation: id, piece: 1, skip: 0 };
        let answer = read(&mut space, &held, stride_len(), 1);
        assert_eq!(answer, Ok(Answer::Bulk { what, len: 5 }));
    }

    #[test]
    fn what_is_lost_is_an_error_for_who_does_not_wait() {
        let (mut space, id) = client();
        let path = of_generation(&space, id, "held");
        let held = file(&mut space, &path);
        space.lose(id, 1);
        let lost = read(&mut space, &held, stride_len(), 1);
        assert_eq!(lost.map_err(|error| error.errno), Err(5));
    }

    #[test]
    fn a_master_gives_of_a_pack_what_did_not_change() {
        let (mut space, id) = master();
        let path = of_generation(&space, id, "rest");
        assert_eq!(look(&mut space, &path), read_only(&space, 2 * stride_len()));
        let rest = file(&mut space, &path);
        let whole = Bulk::Piece { generation: id, piece: 1, skip: 0 };
        let answer = read(&mut space, &rest, stride_len(), 1);
        assert_eq!(answer, Ok(Answer::Bulk { what: whole, len: 5 }));
        assert!(space.lose_file(id, 2) && !space.lose_file(id, 2), "b");
        let what = Bulk::Rest { generation: id, piece: 1, skip: 0 };
        let answer = read(&mut space, &rest, stride_len(), 1);
        assert_eq!(answer, Ok(Answer::Bulk { what, len: 5 }));
        let path = of_generation(&space, id, "pieces");
        let pieces = file(&mut space, &path);
        let lost = read(&mut space, &pieces, stride_len(), 1);
        assert_eq!(lost.map_err(|error| error.errno), Err(5));
        assert_not_writable(&mut space, &rest);
    }

    #[test]
    fn a_client_has_no_more_there_than_in_pieces() {
        let (mut space, id) = client();
        let path = of_generation(&space, id, "rest");
        let rest = file(&mut space, &path);
        assert_eq!(read(&mut space, &rest, stride_len(), 1), Ok(Answer::Park));
        assert_eq!(space.lose(id, 1), [ticket(1)]);
        let lost = read(&mut space, &rest, stride_len(), 1);
        assert_eq!(lost.map_err(|error| error.errno), Err(5));
    }
}
