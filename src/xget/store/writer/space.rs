//! Whether what is to be written fits, decided before its first byte.
//!
//! Numbers in, a verdict out: which files are counted is the check's.

use super::super::error::DestError;
use crate::os::file::FreeSpace;
use std::path::Path;

/// What is still to be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    pub all_bytes: u64,
    /// Of the largest file.
    pub largest_bytes: u64,
    pub new_files: u64,
    /// What old versions take now, and will not when they are replaced.
    pub replaced_bytes: u64,
}

impl Needs {
    pub fn add_file(&mut self, bytes: u64, block_bytes: u64) {
        let bytes = bytes.next_multiple_of(block_bytes);
        self.all_bytes = self.all_bytes.saturating_add(bytes);
        self.largest_bytes = self.largest_bytes.max(bytes);
    }

    /// Refuses only what cannot succeed: replaced files give their space back
    /// one by one, so what must fit is the difference, and the largest file.
    pub fn fit(&self, free: &FreeSpace, path: &Path) -> Result<(), DestError> {
        let needed_bytes =
            self.all_bytes.saturating_sub(self.replaced_bytes).max(self.largest_bytes);
        let path = path.to_path_buf();
        match (free.bytes, free.files) {
            (Some(free_bytes), _) if free_bytes < needed_bytes => {
                Err(DestError::NoSpace { path, needed_bytes, free_bytes })
            }
            (_, Some(free)) if free < self.new_files && self.replaced_bytes == 0 => {
                Err(DestError::NoFilesLeft { path, needed: self.new_files, free })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(bytes: Option<u64>, files: Option<u64>) -> FreeSpace {
        FreeSpace { bytes, files, block_bytes: 512 }
    }

    fn verdict(needs: &Needs, free: FreeSpace) -> Option<DestError> {
        needs.fit(&free, Path::new("/dest")).err()
    }

    #[test]
    fn files_take_whole_blocks() {
        let mut needs = Needs::default();
        [1, 512, 513].into_iter().for_each(|bytes| needs.add_file(bytes, 512));
        assert_eq!((needs.all_bytes, needs.largest_bytes), (2048, 1024));
        assert_eq!(verdict(&needs, free(Some(2048), None)), None);
        let path = "/dest".into();
        let error = DestError::NoSpace { path, needed_bytes: 2048, free_bytes: 2047 };
        assert_eq!(verdict(&needs, free(Some(2047), None)), Some(error));
        assert_eq!(verdict(&needs, free(None, None)), None, "no limit");
    }

    #[test]
    fn what_is_replaced_makes_way_but_not_for_the_first() {
        let needs = |replaced_bytes| Needs {
            all_bytes: 3000,
            largest_bytes: 1000,
            new_files: 0,
            replaced_bytes,
        };
        assert_eq!(verdict(&needs(1900), free(Some(1100), None)), None);
        assert!(verdict(&needs(1899), free(Some(1100), None)).is_some());
        assert_eq!(verdict(&needs(3000), free(Some(1000), None)), None);
        assert!(verdict(&needs(3000), free(Some(999), None)).is_some());
    }

    #[test]
    fn files_are_counted_unless_some_are_replaced() {
        let mut needs = Needs { new_files: 3, ..Needs::default() };
        let error = DestError::NoFilesLeft { path: "/dest".into(), needed: 3, free: 2 };
        assert_eq!(verdict(&needs, free(None, Some(2))), Some(error));
        assert_eq!(verdict(&needs, free(None, Some(3))), None);
        needs.replaced_bytes = 1;
        assert_eq!(verdict(&needs, free(None, Some(2))), None);
    }
}
