//! Whether somebody has written to what was fetched for all: seen from names, sizes and times.
//!
//! What is hashed is the fetch's business; this is to know, before anything is put right, what it
//! would take from a command that works there.

use crate::os::file;
use crate::store::name;
use peer::content::manifest::{EntryKind, Manifest};
use std::path::Path;

/// The coarsest time that a file system has of a file (vfat).
const TIME_STEP_S: u64 = 2;

/// Something is there that the manifest does not have, or not so. What is not there is on its way.
pub fn are_there(files: &Path, manifest: &Manifest) -> bool {
    let Ok(root) = file::open_dir(files) else { return false };
    let mut dirs = vec![(0, root)];
    while let Some((number, dir)) = dirs.pop() {
        for found in file::list(&dir).into_iter().flatten().flatten() {
            if name::is_temporary(&found) {
                continue;
            }
            let Some(child) = manifest.child(number, &found) else { return true };
            let Ok(status) = file::stat_at(&dir, &found) else { continue };
            let wanted = &manifest.entries[child as usize];
            let is_so = match wanted.kind {
                EntryKind::Dir => status.is_dir(),
                EntryKind::File => {
                    status.is_file()
                        && status.size == wanted.size
                        && status.mtime_s.abs_diff(wanted.mtime_s) <= TIME_STEP_S
                }
                _ => true,
            };
            if !is_so {
                return true;
            }
            if let (EntryKind::Dir, Ok(below)) = (wanted.kind, file::open_dir_at(&dir, &found)) {
                dirs.push((child, below));
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::scratch::Dir;
    use crate::store::scan::{Scan, ScanOptions};
    use std::fs;
    use std::time::SystemTime;

    #[test]
    fn what_was_written_is_seen_and_what_is_missing_is_not() {
        let dir = Dir::new();
        let file = dir.write("dir/sub/file", b"contents");
        let other = dir.write("dir/other", b"other");
        let scan = Scan::new(dir.path(), ScanOptions::default()).unwrap();
        let manifest = scan.finish().unwrap().manifest;
        let changed = || are_there(dir.path(), &manifest);
        assert!(!changed());
        fs::remove_file(&other).unwrap();
        dir.write("dir/sub/.xget-0123456789abcdef.part", b"on its way");
        assert!(!changed());
        let new = dir.write("dir/sub/new", b"");
        assert!(changed());
        fs::remove_file(new).unwrap();
        assert!(!changed());
        let time = fs::metadata(&file).unwrap().modified().unwrap();
        let touch = |time| fs::File::options().write(true).open(&file).unwrap().set_modified(time);
        touch(SystemTime::UNIX_EPOCH).unwrap();
        assert!(changed());
        touch(time).unwrap();
        assert!(!changed());
        fs::write(&file, b"more contents").unwrap();
        touch(time).unwrap();
        assert!(changed());
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert!(changed());
    }
}
