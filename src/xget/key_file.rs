//! The file with a key: read with care, and what is wrong with it in words that show none of it.
//!
//! Refuses to know what a key is for.

use crate::console::report;
use crate::os::{file, privileges, random};
use peer::auth::{self, Key, KeyKind};
pub use peer::auth::{KEY_FILE as DEFAULT, NODE_KEY_FILE as OF_NODE, of_cluster};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Once;
use zeroize::Zeroizing;

/// Behind its name, where it is another user's.
const NOT_OURS: &str = " is not for this user, and who is asked is shown no key (XGET_KEY names another file, or none where it is empty)";

/// The key of the cluster that a file has, or that follows from what it has; with no path that
/// of the usual place, if there is one that this user may read; with an empty one none.
///
/// # Errors
/// What is wrong with the file.
pub fn read(path: Option<&Path>) -> Result<Option<Key>, String> {
    let key = find(path, |why| {
        if why == ErrorKind::PermissionDenied {
            // A master that wants it says so; others can be asked.
            static SAID: Once = Once::new();
            SAID.call_once(|| report(&[DEFAULT, NOT_OURS].concat()));
        }
        matches!(why, ErrorKind::NotFound | ErrorKind::PermissionDenied)
    })?;
    Ok(key.and_then(|key| key.cluster()))
}

/// The same for a master, which keeps a root: the nodes' follow from it. One that cannot read what
/// is there does not serve everybody instead.
///
/// # Errors
/// What is wrong with the file.
pub fn read_of_master(path: Option<&Path>) -> Result<Option<Key>, String> {
    find(path, |why| why == ErrorKind::NotFound)
}

/// What is in the file that is meant; where none is named, an error in opening that of the usual
/// place may be as good as none.
fn find(path: Option<&Path>, is_none: impl Fn(ErrorKind) -> bool) -> Result<Option<Key>, String> {
    let variable = std::env::var_os(auth::KEY_VARIABLE);
    let named = path.or(variable.as_deref().map(Path::new));
    let path = named.unwrap_or(Path::new(DEFAULT));
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    let opened = open(path);
    if named.is_none() && opened.as_ref().is_err_and(|error| is_none(error.kind())) {
        return Ok(None);
    }
    let key = read_from(opened, path)?;
    of_cluster(&key).map_err(|why| format!("{}: {why}", path.display()))?;
    Ok(Some(key))
}

/// The key of one node alone, where there is a file with one.
///
/// # Errors
/// What is wrong with the file.
pub fn read_of_node() -> Result<Option<Key>, String> {
    of_node_at(Path::new(OF_NODE))
}

/// Only where there is no such name there is none: a node that has one does not go on without.
fn of_node_at(path: &Path) -> Result<Option<Key>, String> {
    let opened = open(path);
    let is_absent = |error: &io::Error| error.kind() == ErrorKind::NotFound && !path.is_symlink();
    if opened.as_ref().is_err_and(is_absent) {
        return Ok(None);
    }
    let key = read_from(opened, path)?;
    of_node(&key).map(Some).map_err(|why| format!("{}: {why}", path.display()))
}

/// That of one node, of itself alone.
///
/// # Errors
/// It is another.
pub fn of_node(key: &Key) -> Result<Key, String> {
    match key.kind() {
        KeyKind::Node(_) => Ok(key.clone()),
        _ => Err("it is no key of one node alone (xgetctl key node)".into()),
    }
}

fn read_from(opened: io::Result<File>, named: &Path) -> Result<Key, String> {
    auth::check_key_name(&named.to_string_lossy())?;
    let text = opened.and_then(text_in).map_err(|error| error.to_string());
    let key = text.and_then(|text| Key::parse(&text).map_err(|why| why.to_string()));
    key.map_err(|why| format!("{}: {why}", named.display()))
}

/// What is in a file that only its owner, who is root or this process, can read: also of other
/// secrets than keys of a cluster.
///
/// # Errors
/// It cannot be read, or is no such file.
pub fn text_of(path: &Path) -> io::Result<Zeroizing<String>> {
    open(path).and_then(text_in)
}

fn text_in(opened: File) -> io::Result<Zeroizing<String>> {
    let status = opened.metadata()?;
    auth::check_key_file(status.is_file(), status.mode(), status.uid(), file::user())
        .map_err(io::Error::other)?;
    privileges::hide_memory();
    // All at once: where it grew, the key would stay.
    let room = auth::KEY_FILE_LEN_MAX as usize + 1;
    let mut text = Zeroizing::new(String::with_capacity(room));
    opened.take(auth::KEY_FILE_LEN_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// Of a fifo nobody waits for who writes, and no terminal becomes ours.
fn open(path: &Path) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Bytes that nobody can guess, for one process; waits until the kernel has such.
pub fn seed() -> Result<[u8; 32], String> {
    random::secret().map_err(|error| format!("no random bytes for a key: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::scratch::Dir;
    use std::fs::{Permissions, set_permissions, write};
    use std::os::unix::fs::PermissionsExt;

    fn file_of(dir: &Dir, text: &str, mode: u32) -> std::path::PathBuf {
        let path = dir.join("key");
        let _ = std::fs::remove_file(&path);
        write(&path, text).unwrap();
        set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_root_gives_the_clusters_key_and_so_does_that_itself() {
        let dir = Dir::new();
        let root = Key::root([7; 32]);
        let cluster = root.cluster().unwrap().text();
        for text in [root.text(), cluster.clone(), cluster.clone() + "\n"] {
            let path = file_of(&dir, &text, 0o600);
            assert_eq!(read(Some(&path)).unwrap().unwrap().text(), cluster);
        }
        assert!(privileges::is_memory_hidden());
    }

    #[test]
    fn a_master_keeps_a_root_and_has_use_for_no_nodes_key() {
        let (dir, root) = (Dir::new(), Key::root([7; 32]));
        for key in [&root, &root.cluster().unwrap()] {
            let path = file_of(&dir, &key.text(), 0o600);
            assert_eq!(read_of_master(Some(&path)).unwrap().as_ref(), Some(key));
        }
        let node = root.node("n001").unwrap();
        let path = file_of(&dir, &node.text(), 0o600);
        assert!(read_of_master(Some(&path)).unwrap_err().contains("the key of n001 alone"));
        assert_eq!(of_node(&node).as_ref(), Ok(&node));
        assert!(of_node(&root).is_err() && of_node(&root.cluster().unwrap()).is_err());
    }

    #[test]
    fn a_node_has_no_key_of_its_own_only_where_no_such_name_is() {
        let (dir, node) = (Dir::new(), Key::root([7; 32]).node("n001").unwrap());
        assert_eq!(of_node_at(&dir.join("key")), Ok(None));
        assert_eq!(of_node_at(&file_of(&dir, &node.text(), 0o600)), Ok(Some(node)));
        assert!(of_node_at(&dir.join("key/below")).unwrap_err().contains("Not a directory"));
        std::os::unix::fs::symlink("nowhere", dir.join("link")).unwrap();
        assert!(of_node_at(&dir.join("link")).unwrap_err().contains("No such file"));
        std::os::unix::fs::symlink("loop", dir.join("loop")).unwrap();
        assert!(of_node_at(&dir.join("loop")).is_err());
    }

    #[test]
    fn what_is_wrong_is_said_and_nothing_of_the_key() {
        let dir = Dir::new();
        let root = Key::root([7; 32]);
        let text = root.text();
        let node = root.node("n001").unwrap().text();
        for (text, mode, why) in [
            (&text[..], 0o640, "others can read"),
            (&text, 0o604, "others can read"),
            (&text[..40], 0o600, "cut off"),
            (&node, 0o600, "the key of n001 alone"),
            ("", 0o600, "no key of xget"),
            (&text.replace("07", "08"), 0o600, "damaged"),
        ] {
            let path = file_of(&dir, text, mode);
            let said = read(Some(&path)).unwrap_err();
            assert!(said.contains(why) && said.contains("key: "), "{said}");
            // Shorter, it could be of the number of this process, in the name of the file.
            assert!(!said.contains("07070707") && !said.contains("08080808"), "{said}");
        }
        for typed in [&text[..], &node, "xget-cluster-1:01"] {
            let said = read(Some(Path::new(typed))).unwrap_err();
            assert!(said.contains("name a file") && !said.contains("01"), "{said}");
        }
        assert!(read(Some(&dir.join("none"))).unwrap_err().contains("No such file"));
        assert!(read(Some(dir.path())).unwrap_err().contains("in a file"));
        nix::unistd::mkfifo(&dir.join("fifo"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert!(read(Some(&dir.join("fifo"))).unwrap_err().contains("in a file"));
    }

    #[test]
    fn no_two_seeds_are_the_same() {
        assert_ne!(seed().unwrap(), seed().unwrap());
    }
}
