//! `<file>/checksum`: `sha256:<64 hex>` and a newline (XGet paper, section 3.2,
//! with a better sum). Computed when first asked, once all of the file is here.

use crate::content::hex::Hex;
use crate::namespace::bulk::Bulk;
use crate::namespace::control_file::{ControlFile, ReadRequest};
use crate::namespace::file_id::{Directory, EntryId};
use crate::namespace::space::{NameSpace, Notice, Wait};
use alloc::format;
use ninep::server::{Answer, Ticket};
use ninep::{EIO, ESTALE, Error};

/// `sha256:` and 64 digits and a newline.
const LEN: u64 = 7 + 64 + 1;

/// `<file>/checksum`
pub(super) struct Checksum;

impl ControlFile for Checksum {
    fn name(&self) -> &'static str {
        "checksum"
    }

    fn directory(&self) -> Directory {
        Directory::File
    }

    fn len(&self, _: &NameSpace, _: EntryId) -> u64 {
        LEN
    }

    fn read(
        &self,
        space: &mut NameSpace,
        id: EntryId,
        request: ReadRequest,
    ) -> Result<Answer<Bulk>, Error> {
        // Of what is not whole there is no sum.
        let file = space.generations.file_of(id)?;
        if let Some(gap) = space.generations.gap(file, 0, u64::MAX) {
            return space.answer_stored(gap, request.ticket);
        }
        let generation = space.generations.get_mut(file.generation).ok_or(ESTALE)?;
        match generation.checksums.get(&file.entry) {
            None => Ok(ask(space, file, request.ticket)),
            Some(Err(())) => {
                // The next who asks tries again.
                generation.checksums.remove(&file.entry);
                Err(EIO)
            }
            Some(Ok(sum)) => Ok(request.part_of(format!("sha256:{}\n", Hex(sum)).as_bytes())),
        }
    }
}

/// Waits for the sum of a file; the first who waits has it computed.
fn ask(space: &mut NameSpace, file: EntryId, ticket: Ticket) -> Answer<Bulk> {
    let wait = Wait::Checksum(file.generation, file.entry);
    if !space.parked.is_awaited(wait) {
        space.notify(Notice::ChecksumWanted(file.generation, file.entry));
    }
    space.park(wait, ticket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::testing::*;

    #[test]
    fn the_first_who_asks_has_it_computed_and_all_get_it() {
        let (mut space, id) = master();
        assert_eq!(look(&mut space, "b/checksum"), read_only(&space, 72));
        let checksum = file(&mut space, "b/checksum");
        assert_eq!(read(&mut space, &checksum, 0, 1), Ok(Answer::Park));
        assert_eq!(read(&mut space, &checksum, 0, 2), Ok(Answer::Park));
        assert_eq!(notices(&mut space), [Notice::ChecksumWanted(id, 2)]);
        assert_eq!(space.set_checksum(id, 2, Ok([0xab; 32])), [ticket(1), ticket(2)]);
        let wanted = format!("sha256:{}\n", "ab".repeat(32));
        assert_eq!(wanted.len() as u64, LEN);
        assert_eq!(read_all(&mut space, &checksum), wanted);
        assert_eq!(notices(&mut space), []);
        assert_not_writable(&mut space, &checksum);
        space.drop_generation(id);
        assert_eq!(read(&mut space, &checksum, 0, 1), Err(ESTALE));
        assert_eq!(space.set_checksum(id, 2, Ok([0xab; 32])), [], "it came too late");
    }

    #[test]
    fn one_that_cannot_be_had_is_tried_again() {
        let (mut space, id) = master();
        let checksum = file(&mut space, "b/checksum");
        assert_eq!(read(&mut space, &checksum, 0, 1), Ok(Answer::Park));
        assert_eq!(space.set_checksum(id, 2, Err(())), [ticket(1)]);
        assert_eq!(read(&mut space, &checksum, 0, 1), Err(EIO));
        assert_eq!(notices(&mut space).len(), 1);
        assert_eq!(read(&mut space, &checksum, 0, 1), Ok(Answer::Park));
        assert_eq!(notices(&mut space), [Notice::ChecksumWanted(id, 2)]);
    }

    #[test]
    fn one_that_nobody_waits_for_any_more_is_asked_for_again() {
        let (mut space, id) = master();
        let checksum = file(&mut space, "b/checksum");
        for serial in [1, 2] {
            assert_eq!(read(&mut space, &checksum, 0, serial), Ok(Answer::Park));
            assert_eq!(notices(&mut space), [Notice::ChecksumWanted(id, 2)]);
            ninep::server::Tree::forget(&mut space, ticket(serial));
        }
    }

    #[test]
    fn two_names_of_a_file_have_one_sum() {
        let (mut space, id) = master();
        let checksum = file(&mut space, "a/z/checksum");
        assert_eq!(read(&mut space, &checksum, 0, 1), Ok(Answer::Park));
        assert_eq!(notices(&mut space), [Notice::ChecksumWanted(id, 5)]);
        space.set_checksum(id, 5, Ok([0; 32]));
        let checksum = file(&mut space, "a/x/checksum");
        assert!(read_all(&mut space, &checksum).starts_with("sha256:00"));
    }

    #[test]
    fn a_client_waits_for_the_file_first() {
        let (mut space, id) = client();
        assert_eq!(look(&mut space, "b/checksum"), read_only(&space, 72));
        let checksum = file(&mut space, "b/checksum");
        assert_eq!(read(&mut space, &checksum, 0, 1), Ok(Answer::Park));
        assert_eq!(notices(&mut space), [], "there is nothing to hash");
        assert_eq!(space.hold(id, 1), [ticket(1)]);
        assert_eq!(read(&mut space, &checksum, 0, 1), Ok(Answer::Park));
        assert_eq!(notices(&mut space), [Notice::ChecksumWanted(id, 2)]);
    }

    #[test]
    fn of_a_file_that_is_lost_there_is_none() {
        let (mut space, id) = client();
        let checksum = file(&mut space, "b/checksum");
        space.lose(id, 1);
        assert_eq!(read(&mut space, &checksum, 0, 1).map_err(|error| error.errno), Err(5));
        assert_eq!(notices(&mut space), []);
    }
}
