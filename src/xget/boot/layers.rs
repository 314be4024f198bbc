//! Whether a layer can go over a root: what may not take whose place.
//!
//! Pure: a manifest, and what stands where, in; words out. A layer that turns a symlink
//! of the root into a directory breaks it (lib64 is where programs find their
//! loader), and one that turns a directory into a file hides all that is in it.

use peer::content::manifest::{EntryKind, Manifest};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    Nothing,
    Dir,
    Symlink(PathBuf),
    Other,
}

/// As lstat(2) has it.
pub fn standing(path: &Path) -> Standing {
    match fs::symlink_metadata(path).map(|status| status.file_type()) {
        Err(_) => Standing::Nothing,
        Ok(kind) if kind.is_dir() => Standing::Dir,
        Ok(kind) if kind.is_symlink() => Standing::Symlink(fs::read_link(path).unwrap_or_default()),
        Ok(_) => Standing::Other,
    }
}

/// Why it cannot.
pub fn conflict(layer: &Manifest, look: &mut dyn FnMut(&Path) -> Standing) -> Option<String> {
    (1..layer.entries.len() as u32).find_map(|number| {
        let path = layer.path(number);
        let path = Path::new(std::ffi::OsStr::from_bytes(&path));
        let shown = path.display();
        let is_dir = layer.entries[number as usize].kind == EntryKind::Dir;
        match (is_dir, look(path)) {
            (true, Standing::Symlink(target)) => Some(format!(
                "{shown} is a directory in it, and in the image a symlink to {}: put the files there, or the whole image is without it",
                target.display()
            )),
            (true, Standing::Other) => Some(format!("{shown} is a directory in it, and a file in the image")),
            (false, Standing::Dir) => Some(format!("{shown} is no directory in it, and one in the image")),
            _ => None,
        }
    })
}

/// The files of a layer as patterns of `--keep`: an update of the image alone leaves them.
pub fn patterns(layer: &Manifest) -> Vec<u8> {
    let mut text = Vec::new();
    let numbers = 1..layer.entries.len() as u32;
    for number in numbers.filter(|&n| layer.entries[n as usize].kind != EntryKind::Dir) {
        text.push(b'/');
        for byte in layer.path(number) {
            match byte {
                // A line ends with it.
                b'\n' | b'\r' => text.push(b'?'),
                // A space counts at the end of a line only so.
                b' ' | b'*' | b'?' | b'[' | b'\\' => text.extend([b'\\', byte]),
                byte => text.push(byte),
            }
        }
        text.push(b'\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::scratch::Dir;
    use peer::content::manifest::PIECE_LEN;
    use peer::testing::entry;
    use std::os::unix::fs::symlink;

    fn layer(kind: EntryKind) -> Manifest {
        let entries = vec![
            entry(0, "", EntryKind::Dir),
            entry(0, "etc", EntryKind::Dir),
            entry(0, "lib64", kind),
            entry(1, "motd", EntryKind::File),
        ];
        Manifest::of_entries(PIECE_LEN, entries)
    }

    #[test]
    fn the_files_of_a_layer_are_patterns() {
        let mut layer = layer(EntryKind::File);
        layer.entries[2].name = b"odd*\nname".as_slice().into();
        let text = patterns(&layer);
        assert_eq!(text, b"/odd\\*?name\n/etc/motd\n");
        let mut keep = peer::content::patterns::Patterns::default();
        keep.add(&text).unwrap();
        assert!(keep.fit(b"odd*\nname", false) && keep.fit(b"etc/motd", false));
        assert!(!keep.fit(b"etc", true) && !keep.fit(b"odd\nname", false));
    }

    #[test]
    fn a_layer_breaks_no_symlink_and_hides_no_directory() {
        let dir = Dir::new();
        let mut look = |path: &Path| standing(&dir.path().join(path));
        let (as_dir, as_file) = (layer(EntryKind::Dir), layer(EntryKind::File));
        assert_eq!(conflict(&as_dir, &mut look), None, "nothing is there");
        fs::create_dir(dir.join("etc")).unwrap();
        fs::write(dir.join("etc/motd"), "x").unwrap();
        symlink("usr/lib64", dir.join("lib64")).unwrap();
        let words = conflict(&as_dir, &mut look).unwrap();
        assert!(words.contains("lib64") && words.contains("usr/lib64"), "{words}");
        assert_eq!(conflict(&as_file, &mut look), None, "a file may take a symlink's place");
        fs::remove_file(dir.join("lib64")).unwrap();
        fs::create_dir(dir.join("lib64")).unwrap();
        assert_eq!(conflict(&as_dir, &mut look), None);
        assert!(conflict(&as_file, &mut look).unwrap().contains("lib64 is no directory"));
        fs::remove_dir(dir.join("lib64")).unwrap();
        fs::write(dir.join("lib64"), "x").unwrap();
        assert!(conflict(&as_dir, &mut look).unwrap().contains("a file in the image"));
    }
}
