//! `/.xget/manifest`: the encoded manifest of what the root shows. Reads wait
//! until it is whole, verified and decoded. One ends with a piece of the manifest,
//! so that it names stored bytes and copies none.

use crate::namespace::bulk::Bulk;
use crate::namespace::control_file::{ControlFile, ReadRequest};
use crate::namespace::file_id::{Directory, EntryId};
use crate::namespace::space::{NameSpace, Wait};
use ninep::Error;
use ninep::server::Answer;

/// `/.xget/manifest`
pub(super) struct ManifestBytes;

impl ControlFile for ManifestBytes {
    fn name(&self) -> &'static str {
        "manifest"
    }

    fn directory(&self) -> Directory {
        Directory::Control
    }

    fn len(&self, space: &NameSpace, _: EntryId) -> u64 {
        let encoded = space.generations.shown().and_then(|generation| generation.encoded());
        encoded.map_or(0, |bytes| bytes.len() as u64)
    }

    fn read(
        &self,
        space: &mut NameSpace,
        _: EntryId,
        request: ReadRequest,
    ) -> Result<Answer<Bulk>, Error> {
        let shown = space.generations.shown_root().filter(|root| {
            space.generations.get(root.generation).is_some_and(|known| known.encoded().is_some())
        });
        let Some(root) = shown else { return Ok(space.park(Wait::Shown, request.ticket)) };
        let stored = space.generations.manifest(root.generation, request.offset, request.count)?;
        space.answer_stored(stored, request.ticket)
    }
}

#[cfg(test)]
mod tests {
    use crate::content::pieces::ManifestPieces;
    use crate::namespace::bulk::Bulk;
    use crate::namespace::testing::*;
    use crate::testing::small;
    use ninep::server::{Answer, Tree};

    #[test]
    fn it_is_the_encoded_manifest() {
        let len = small().encode().len() as u64;
        for (mut space, generation) in [master(), client()] {
            assert_eq!(look(&mut space, ".xget/manifest"), read_only(&space, len));
            let manifest = file(&mut space, ".xget/manifest");
            let whole = space.read(opener(1), &manifest, 0, u32::MAX, ticket(1));
            let what = |skip| Bulk::Piece { generation, piece: 0, skip };
            assert_eq!(whole, Ok(Answer::Bulk { what: what(0), len: len as u32 }));
            let part = read(&mut space, &manifest, len - 3, 1);
            let wanted = Answer::Bulk { what: what(len as u32 - 3), len: 3 };
            assert_eq!(part, Ok(wanted));
            assert_eq!(text(read(&mut space, &manifest, len, 1)), "");
            assert_not_writable(&mut space, &manifest);
        }
    }

    #[test]
    fn of_one_that_is_not_whole_nothing_is_shown() {
        let (mut space, id) = newcomer();
        let manifest = file(&mut space, ".xget/manifest");
        assert_eq!(read(&mut space, &manifest, 0, 1), Ok(Answer::Park));
        let bytes = [7; 4097];
        space.set_list(id, ManifestPieces::of(&bytes, 4096).list);
        for piece in [bytes[4096..].to_vec(), bytes[..4096].to_vec()] {
            let number = u32::from(piece.len() == 1);
            assert_eq!(space.hold_manifest(id, number, &piece), Ok(vec![]));
            // Whoever shows it too early shows nothing.
            assert_eq!(space.show(id, String::new()), [ticket(1)]);
            assert_eq!(space.attr(&manifest).size, 0);
            assert_eq!(read(&mut space, &manifest, 0, 1), Ok(Answer::Park));
        }
    }
}
