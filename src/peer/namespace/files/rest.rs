//! `/.xget/<generation>/rest`: what `pieces` is, for pieces of several files of which
//! some changed on this master: of those the bytes are zeros.

use crate::namespace::bulk::Bulk;
use crate::namespace::control_file::{ControlFile, ReadRequest};
use crate::namespace::file_id::{Directory, EntryId};
use crate::namespace::space::NameSpace;
use ninep::Error;
use ninep::server::Answer;

/// `/.xget/<generation>/rest`
pub(super) struct Rest;

impl ControlFile for Rest {
    fn name(&self) -> &'static str {
        "rest"
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
        let stored = space.generations.piece(id.generation, offset, count, true)?;
        space.answer_stored(stored, request.ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::manifest::stride;
    use crate::namespace::testing::*;
    use crate::testing::small;

    fn stride_len() -> u64 {
        u64::from(stride(small().piece_len))
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
