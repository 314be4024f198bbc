//! `/.xget/info`: what the root shows, for people and scripts: generation,
//! manifest and piece size, files, bytes. Reads wait until something is shown.

use crate::namespace::bulk::Bulk;
use crate::namespace::control_file::{ControlFile, ReadRequest};
use crate::namespace::file_id::{Directory, EntryId};
use crate::namespace::space::{NameSpace, Wait};
use ninep::Error;
use ninep::server::Answer;

/// `/.xget/info`
pub(super) struct Info;

impl ControlFile for Info {
    fn name(&self) -> &'static str {
        "info"
    }

    fn directory(&self) -> Directory {
        Directory::Control
    }

    fn len(&self, space: &NameSpace, _: EntryId) -> u64 {
        space.info.as_ref().map_or(0, |text| text.len() as u64)
    }

    fn read(
        &self,
        space: &mut NameSpace,
        _: EntryId,
        request: ReadRequest,
    ) -> Result<Answer<Bulk>, Error> {
        match &space.info {
            Some(text) => Ok(request.part_of(text.as_bytes())),
            None => Ok(space.park(Wait::Shown, request.ticket)),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::namespace::testing::*;
    use ninep::server::Answer;

    #[test]
    fn it_says_what_is_shown() {
        for (mut space, _) in [master(), client()] {
            assert_eq!(look(&mut space, ".xget/info"), read_only(&space, 5));
            let info = file(&mut space, ".xget/info");
            assert_eq!(read_all(&mut space, &info), "info\n");
            assert_not_writable(&mut space, &info);
        }
    }

    #[test]
    fn it_waits_until_something_is_shown() {
        let (mut space, id) = newcomer();
        assert_eq!(look(&mut space, ".xget/info"), read_only(&space, 0));
        let info = file(&mut space, ".xget/info");
        assert_eq!(read(&mut space, &info, 0, 1), Ok(Answer::Park));
        assert_eq!(space.show(id, "now\n".into()), [ticket(1)]);
        assert_eq!(text(read(&mut space, &info, 1, 1)), "ow\n");
    }
}
