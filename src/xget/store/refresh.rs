//! A directory brought up to date from another one on this machine: a cache.
//!
//! Every piece is verified on its way. What is not right in the other one is left out,
//! what the manifest does not have is removed. Where the old is in the way, or takes
//! the room of the new, all of it goes; what fails for another reason is left out. Blocks
//! until it is through.

use super::dest::Dest;
use super::destination::{CheckStep, FinishStep};
use super::error::DestError;
use super::writer::{DestOptions, Policy, Purpose};
use crate::os::file;
use nix::errno::Errno;
use peer::content::manifest::{Entry, Manifest};
use peer::content::pieces::{ManifestPieces, PieceMap};
use std::path::Path;
use std::rc::Rc;

/// Read at a time.
const SLICE_BYTES: u64 = 8 << 20;

/// All that it needs is open: it can be run where no path leads there any more.
pub struct Refresh {
    dest: Dest,
    manifest: Rc<Manifest>,
    map: Rc<PieceMap>,
}

impl Refresh {
    /// Opens both directories, and makes the one to be filled.
    #[inline(never)]
    pub fn begin(
        (manifest, map): (Rc<Manifest>, Rc<PieceMap>),
        from: &Path,
        to: &Path,
    ) -> Result<Refresh, DestError> {
        let policy =
            Policy { purpose: Purpose::Copy, copies: Some(from.into()), ..Policy::default() };
        let mut dest = Dest::open(to, DestOptions { policy, ..DestOptions::default() })?;
        dest.begin(manifest.clone(), map.clone())?;
        Ok(Refresh { dest, manifest, map })
    }

    #[inline(never)]
    pub fn run(mut self) -> Result<(), DestError> {
        let (manifest, map) = (self.manifest.clone(), self.map.clone());
        let brought = self.bring(&manifest, &map);
        if brought.as_ref().is_err_and(is_of_the_old) {
            let nothing = vec![Entry::bare_root()];
            let nothing = Rc::new(Manifest::of_entries(manifest.piece_len, nothing));
            let pieces = ManifestPieces::of(&nothing.encode(), nothing.piece_len);
            let empty = Rc::new(PieceMap::new(pieces, &nothing));
            self.bring(&nothing, &empty)?;
            return self.bring(&manifest, &map);
        }
        brought
    }

    fn bring(&mut self, manifest: &Rc<Manifest>, map: &Rc<PieceMap>) -> Result<(), DestError> {
        let mut writer = self.dest.begin(manifest.clone(), map.clone())?;
        while writer.check_step(SLICE_BYTES)? == CheckStep::Checking {}
        while writer.finish_step(SLICE_BYTES) != FinishStep::Done {}
        // What has come is of use, whatever has not.
        for dir in writer.file_systems() {
            file::sync_all(&dir).map_err(|cause: Errno| writer.failed("sync", cause))?;
        }
        let failures = || writer.failures().iter().map(|failed| &failed.error);
        let worst = failures().find(|error| is_of_the_old(error)).or(failures().next());
        worst.map_or(Ok(()), |error| Err(error.clone()))
    }
}

/// Whether it may succeed when nothing old is there.
fn is_of_the_old(error: &DestError) -> bool {
    match error {
        DestError::NoSpace { .. }
        | DestError::NoFilesLeft { .. }
        | DestError::DirInTheWay(_)
        | DestError::NotDirInTheWay(_) => true,
        DestError::Io { cause, .. } => matches!(cause, Errno::ENOSPC | Errno::EDQUOT),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::scan::{Scan, ScanOptions};
    use super::super::testing::{bytes, on_file_system};
    use super::*;
    use crate::os::scratch::Dir;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    fn refresh(from: &Path, to: &Path, changed: &Path) -> Result<(), DestError> {
        let tree = Scan::new(from, ScanOptions::default()).unwrap().finish().unwrap();
        let pieces = ManifestPieces::of(&tree.manifest.encode(), tree.manifest.piece_len);
        let map = Rc::new(PieceMap::new(pieces, &tree.manifest));
        Refresh::begin((tree.manifest.clone(), map), changed, to)?.run()
    }

    fn names(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir).unwrap().map(|name| name.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn what_is_right_comes_and_the_rest_goes() {
        let (image, root, cache) = (Dir::new(), Dir::new(), Dir::new());
        for dir in [&image, &root] {
            dir.write("bin/a", &bytes(1, 300_000));
            dir.write("bin/b", b"b");
            dir.write("bin/c", b"c");
        }
        // The system that runs has changed it.
        root.write("bin/b", b"B");
        cache.write("cache/old/x", b"x");
        cache.write("cache/bin/a", &bytes(2, 300_000));
        refresh(image.path(), &cache.join("cache"), root.path()).unwrap();
        assert_eq!(names(&cache.join("cache")), ["bin"]);
        assert_eq!(names(&cache.join("cache/bin")), ["a", "c"]);
        assert!(fs::read(cache.join("cache/bin/a")).unwrap() == bytes(1, 300_000));
        refresh(image.path(), &cache.join("new/one"), image.path()).unwrap();
        assert_eq!(names(&cache.join("new/one/bin")), ["a", "b", "c"]);
    }

    /// A cache that is filled anew with each boot would write itself to death.
    #[test]
    fn what_cannot_be_brought_does_not_cost_the_rest() {
        let (image, root, cache) = (Dir::new(), Dir::new(), Dir::new());
        for dir in [&image, &root] {
            dir.write("bin/kept", &bytes(1, 300_000));
            dir.write("bin/linked", b"l");
        }
        fs::hard_link(image.join("bin/linked"), image.join("bin/other")).unwrap();
        root.write("bin/linked", b"L");
        let to = cache.join("cache");
        refresh(image.path(), &to, root.path()).unwrap();
        assert_eq!(names(&to.join("bin")), ["kept"]);
        let inode = || fs::metadata(to.join("bin/kept")).unwrap().ino();
        let before = inode();
        refresh(image.path(), &to, root.path()).unwrap();
        assert_eq!(inode(), before, "it was not emptied");
    }

    #[test]
    fn only_what_the_old_is_the_cause_of_empties_it() {
        let io = |cause| DestError::Io { doing: "write", path: "f".into(), cause };
        for (error, empties) in [
            (io(Errno::ENOSPC), true),
            (DestError::NotDirInTheWay("d".into()), true),
            (io(Errno::ENAMETOOLONG), false),
            (io(Errno::EIO), false),
            (DestError::ReservedName("f".into()), false),
        ] {
            assert_eq!(is_of_the_old(&error), empties, "{error}");
        }
    }

    #[test]
    fn what_is_in_the_way_or_takes_the_room_goes() {
        on_file_system("tmpfs", "size=2m", |cache| {
            let image = Dir::new();
            image.write("bin/a", &bytes(1, 1_300_000));
            symlink("elsewhere", cache.join("bin")).unwrap();
            fs::write(cache.join("old"), bytes(2, 1_500_000)).unwrap();
            refresh(image.path(), cache, image.path()).unwrap();
            assert_eq!(names(cache), ["bin"]);
            image.write("bin/b", &bytes(3, 1_300_000));
            let full = refresh(image.path(), cache, image.path());
            assert!(matches!(full, Err(DestError::NoSpace { .. })), "{full:?}");
        });
    }
}
