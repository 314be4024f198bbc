//! `<file>/data`: a served file's bytes (XGet paper, section 3.2). Reads wait
//! until what they ask for is here and verified.

use crate::namespace::bulk::Bulk;
use crate::namespace::control_file::{ControlFile, ReadRequest};
use crate::namespace::file_id::{Directory, EntryId};
use crate::namespace::space::NameSpace;
use ninep::Error;
use ninep::server::Answer;

/// `<file>/data`
pub(super) struct Data;

impl ControlFile for Data {
    fn name(&self) -> &'static str {
        "data"
    }

    fn directory(&self) -> Directory {
        Directory::File
    }

    fn mode(&self, space: &NameSpace, id: EntryId) -> u32 {
        space.generations.entry(id).map_or(0o444, |entry| entry.mode)
    }

    fn len(&self, space: &NameSpace, id: EntryId) -> u64 {
        space.generations.file_len(id)
    }

    /// What belongs to a generation never changes.
    fn version(&self) -> u32 {
        1
    }

    fn read(
        &self,
        space: &mut NameSpace,
        id: EntryId,
        request: ReadRequest,
    ) -> Result<Answer<Bulk>, Error> {
        let stored = space.generations.file(id, request.offset, request.count)?;
        space.answer_stored(stored, request.ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::testing::*;
    use ninep::ESTALE;
    use ninep::server::Tree;

    #[test]
    fn a_master_has_the_files_bytes_under_its_attributes() {
        let (mut space, generation) = master();
        let looks = look(&mut space, "b/data");
        assert_eq!(looks, Look { mode: 0o100644, version: 1, ..read_only(&space, 3) });
        let data = file(&mut space, "b/data");
        let what = |offset| Bulk::File { generation, entry: 2, offset };
        assert_eq!(read(&mut space, &data, 0, 1), Ok(Answer::Bulk { what: what(0), len: 3 }));
        assert_eq!(read(&mut space, &data, 2, 1), Ok(Answer::Bulk { what: what(2), len: 1 }));
        assert_eq!(text(read(&mut space, &data, 3, 1)), "");
        assert_eq!(text(read(&mut space, &data, u64::MAX, 1)), "");
        assert_not_writable(&mut space, &data);
        space.drop_generation(generation);
        assert_eq!(read(&mut space, &data, 0, 1), Err(ESTALE));
    }

    #[test]
    fn another_name_has_the_files_bytes() {
        let (mut space, generation) = master();
        assert_eq!(look(&mut space, "a/z/data").len, 2);
        let data = file(&mut space, "a/z/data");
        let what = Bulk::File { generation, entry: 5, offset: 1 };
        assert_eq!(read(&mut space, &data, 1, 1), Ok(Answer::Bulk { what, len: 1 }));
    }

    #[test]
    fn a_client_waits_for_the_bytes() {
        let (mut space, generation) = client();
        let looks = look(&mut space, "b/data");
        assert_eq!(looks, Look { mode: 0o100644, version: 1, ..read_only(&space, 3) });
        let data = file(&mut space, "b/data");
        assert_eq!(read(&mut space, &data, 1, 1), Ok(Answer::Park));
        assert_eq!(text(read(&mut space, &data, 3, 2)), "", "the end is known");
        assert_eq!(space.hold(generation, 1), [ticket(1)]);
        let what = Bulk::File { generation, entry: 2, offset: 1 };
        assert_eq!(read(&mut space, &data, 1, 1), Ok(Answer::Bulk { what, len: 2 }));
        space.close(opener(1), &data);
        assert_eq!(notices(&mut space), []);
    }

    #[test]
    fn what_is_lost_is_an_error() {
        let (mut space, generation) = client();
        let data = file(&mut space, "b/data");
        assert_eq!(read(&mut space, &data, 0, 1), Ok(Answer::Park));
        assert_eq!(space.lose(generation, 1), [ticket(1)]);
        assert_eq!(read(&mut space, &data, 0, 1).map_err(|error| error.errno), Err(5));
    }
}
