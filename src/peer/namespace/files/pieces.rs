//! `/.xget/<generation>/pieces`: all pieces, piece n at n times the stride
//! (docs/protocol.md). A read gives bytes of one piece and waits for it.

use crate::namespace::bulk::Bulk;
use crate::namespace::control_file::{ControlFile, ReadRequest};
use crate::namespace::file_id::{Directory, EntryId};
use crate::namespace::space::NameSpace;
use ninep::Error;
use ninep::server::Answer;

/// `/.xget/<generation>/pieces`
pub(super) struct Pieces;

impl ControlFile for Pieces {
    fn name(&self) -> &'static str {
        "pieces"
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
        let stored = space.generations.piece(id.generation, offset, count, false)?;
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
}
