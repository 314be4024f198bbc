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

/// Files whose sums are wanted at a time: hashing one takes long, asking does not.
const SUMS_MAX: usize = 1_024;
/// EAGAIN.
const TOO_MANY_SUMS: Error = Error::new(11, "Resource temporarily unavailable");

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
            None => ask(space, file, request.ticket),
            Some(Err(())) => {
                // The next who asks tries again.
                generation.checksums.remove(&file.entry);
                Err(EIO)
            }
            Some(Ok(sum)) => Ok(request.part_of(format!("sha256:{}\n", Hex(sum)).as_bytes())),
        }
    }
}

/// Waits for the sum of a file; the first who waits has it computed, once.
#[inline(never)]
fn ask(space: &mut NameSpace, file: EntryId, ticket: Ticket) -> Result<Answer<Bulk>, Error> {
    let EntryId { generation, entry } = file;
    if !space.sums_wanted.contains(&(generation, entry)) {
        if space.sums_wanted.len() >= SUMS_MAX {
            return Err(TOO_MANY_SUMS);
        }
        space.sums_wanted.insert((generation, entry));
        space.notify(Notice::ChecksumWanted(generation, entry));
    }
    Ok(space.park(Wait::Checksum(generation, entry), ticket))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::generation::GenerationId;
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
    fn one_is_computed_once_however_often_it_is_asked_for_and_given_up() {
        let (mut space, id) = master();
        let checksum = file(&mut space, "b/checksum");
        for serial in 1..9 {
            assert_eq!(read(&mut space, &checksum, 0, serial), Ok(Answer::Park));
            ninep::server::Tree::forget(&mut space, ticket(serial));
        }
        assert_eq!(notices(&mut space), [Notice::ChecksumWanted(id, 2)]);
        space.set_checksum(id, 2, Err(()));
        assert_eq!(read(&mut space, &checksum, 0, 9), Err(EIO));
        assert_eq!(read(&mut space, &checksum, 0, 9), Ok(Answer::Park));
        assert_eq!(notices(&mut space).len(), 1, "the next who asks tries again");
    }

    #[test]
    fn so_many_sums_are_wanted_at_a_time() {
        let (mut space, _) = master();
        for entry in 0..SUMS_MAX as u32 {
            assert!(space.sums_wanted.insert((GenerationId(99), entry)));
        }
        let checksum = file(&mut space, "b/checksum");
        assert_eq!(read(&mut space, &checksum, 0, 1), Err(TOO_MANY_SUMS));
        space.set_checksum(GenerationId(99), 7, Err(()));
        assert_eq!(read(&mut space, &checksum, 0, 1), Ok(Answer::Park));
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
