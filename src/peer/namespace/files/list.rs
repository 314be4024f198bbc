//! `/.xget/<generation>/list`: the digests of the manifest's pieces, 32 bytes
//! each. Empty for a manifest of one piece. Reads wait until the list is here.

use crate::namespace::bulk::Bulk;
use crate::namespace::control_file::{ControlFile, ReadRequest};
use crate::namespace::file_id::{Directory, EntryId};
use crate::namespace::space::{NameSpace, Wait};
use ninep::server::Answer;
use ninep::{ESTALE, Error};

/// `/.xget/<generation>/list`
pub(super) struct List;

impl ControlFile for List {
    fn name(&self) -> &'static str {
        "list"
    }

    fn directory(&self) -> Directory {
        Directory::Generation
    }

    fn len(&self, space: &NameSpace, id: EntryId) -> u64 {
        let generation = space.generations.get(id.generation);
        generation.map_or(0, |known| known.manifest_pieces.list.len() as u64 * 32)
    }

    fn read(
        &self,
        space: &mut NameSpace,
        id: EntryId,
        request: ReadRequest,
    ) -> Result<Answer<Bulk>, Error> {
        let generation = space.generations.get(id.generation).ok_or(ESTALE)?;
        if !generation.list_known() {
            return Ok(space.park(Wait::List(id.generation), request.ticket));
        }
        let list = &generation.manifest_pieces.list;
        // Of the bytes, only those that are asked for are looked at.
        let first = usize::try_from(request.offset / 32).unwrap_or(usize::MAX);
        let bytes = list.iter().skip(first).flat_map(|digest| digest.0);
        let wanted = bytes.skip((request.offset % 32) as usize).take(request.count as usize);
        Ok(Answer::Bytes(wanted.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::pieces::ManifestPieces;
    use crate::namespace::testing::*;

    #[test]
    fn a_manifest_of_one_piece_has_an_empty_one() {
        for (mut space, id) in [master(), client()] {
            let path = of_generation(&space, id, "list");
            assert_eq!(look(&mut space, &path), read_only(&space, 0));
            let list = file(&mut space, &path);
            assert_eq!(read_all(&mut space, &list), "");
            assert_not_writable(&mut space, &list);
            space.drop_generation(id);
            assert_eq!(read(&mut space, &list, 0, 1), Err(ESTALE));
        }
    }

    #[test]
    fn reads_wait_until_it_is_here() {
        let (mut space, id) = newcomer();
        let path = of_generation(&space, id, "list");
        let list = file(&mut space, &path);
        assert_eq!(look(&mut space, &path), read_only(&space, 0));
        assert_eq!(read(&mut space, &list, 0, 1), Ok(Answer::Park));
        let digests = ManifestPieces::of(&[7; 4097], 4096).list;
        assert_eq!(space.set_list(id, digests.clone()), [ticket(1)]);
        assert_eq!(look(&mut space, &path), read_only(&space, 64));
        let across = [&digests[0].0[30..], &digests[1].0].concat();
        assert_eq!(read(&mut space, &list, 30, 1), Ok(Answer::Bytes(across)));
        assert_eq!(text(read(&mut space, &list, 64, 1)), "");
    }
}
