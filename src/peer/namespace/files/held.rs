//! `/.xget/<generation>/held`: what `pieces` is, for those who do not wait: a
//! piece that is not here reads as empty.

use crate::namespace::bulk::{Bulk, Stored};
use crate::namespace::control_file::{ControlFile, ReadRequest};
use crate::namespace::file_id::{Directory, EntryId};
use crate::namespace::space::NameSpace;
use ninep::Error;
use ninep::server::Answer;

/// `/.xget/<generation>/held`
pub(super) struct Held;

impl ControlFile for Held {
    fn name(&self) -> &'static str {
        "held"
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
        let stored = match space.generations.piece(id.generation, offset, count, false)? {
            Stored::Missing(..) => Stored::End,
            stored => stored,
        };
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

    fn stride_len() -> u64 {
        u64::from(stride(small().piece_len))
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
    fn what_is_lost_is_an_error() {
        let (mut space, id) = client();
        let path = of_generation(&space, id, "held");
        let held = file(&mut space, &path);
        space.lose(id, 1);
        let lost = read(&mut space, &held, stride_len(), 1);
        assert_eq!(lost.map_err(|error| error.errno), Err(5));
    }
}
