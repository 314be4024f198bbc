//! Writing around holes: blocks of zeros are left out where a file has no data.
//!
//! Knows an open file and bytes. Which file is to have holes is not known here.

use crate::os::file;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Holes are made of whole blocks of this size, at their own multiples: what
/// file systems have, and what divides every piece length.
const HOLE_BYTES: usize = 4096;

/// Writes what is no hole. A file that `is_new` is nothing but a hole yet; of
/// another one it is asked, for what should be zeros and is not must be
/// written.
pub fn write_around_holes(file: &File, offset: u64, bytes: &[u8], is_new: bool) -> io::Result<()> {
    let mut at = 0;
    for (is_zero, len) in runs(bytes) {
        let (from, to) = (offset + at as u64, offset + (at + len) as u64);
        let is_hole = || is_new || file::next_data(file, from).is_none_or(|data| data >= to);
        if !(is_zero && is_hole()) {
            file.write_all_at(&bytes[at..at + len], from)?;
        }
        at += len;
    }
    Ok(())
}

/// Stretches of whole blocks that are all zeros, or that all are not; the last
/// block may be shorter.
fn runs(bytes: &[u8]) -> impl Iterator<Item = (bool, usize)> {
    let is_zero = |block: &[u8]| block.iter().fold(0, |all, byte| all | byte) == 0;
    let mut blocks = bytes.chunks(HOLE_BYTES).map(move |b| (is_zero(b), b.len())).peekable();
    std::iter::from_fn(move || {
        let (zero, mut len) = blocks.next()?;
        while let Some((_, more)) = blocks.next_if(|(next, _)| *next == zero) {
            len += more;
        }
        Some((zero, len))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::scratch::Dir;
    use proptest::prelude::*;
    use std::fs;

    #[test]
    fn runs_are_of_whole_blocks() {
        let mut bytes = vec![0; 3 * HOLE_BYTES + 5];
        bytes[HOLE_BYTES + 17] = 1;
        let found: Vec<_> = runs(&bytes).collect();
        assert_eq!(found, [(true, HOLE_BYTES), (false, HOLE_BYTES), (true, HOLE_BYTES + 5)]);
        assert_eq!(runs(&[]).count(), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever stood in the file where it was written to.
        #[test]
        fn what_is_written_is_read(
            was in proptest::collection::vec(any::<bool>(), 6),
            is in proptest::collection::vec(any::<bool>(), 0..6),
            cut in 0..HOLE_BYTES,
        ) {
            let dir = Dir::new();
            let file = fs::File::options()
                .create_new(true)
                .read(true)
                .write(true)
                .open(dir.join("f"))
                .unwrap();
            let len = 6 * HOLE_BYTES as u64;
            file.set_len(len).unwrap();
            for (at, _) in was.iter().enumerate().filter(|(_, data)| **data) {
                file.write_all_at(&[7; HOLE_BYTES], (at * HOLE_BYTES) as u64).unwrap();
            }
            let mut bytes: Vec<u8> =
                is.iter().flat_map(|data| [if *data { 9 } else { 0 }; HOLE_BYTES]).collect();
            bytes.truncate(bytes.len().saturating_sub(cut));
            write_around_holes(&file, 0, &bytes, false).unwrap();
            let mut read = vec![0; bytes.len()];
            file.read_exact_at(&mut read, 0).unwrap();
            prop_assert_eq!(read, bytes);
        }
    }
}
