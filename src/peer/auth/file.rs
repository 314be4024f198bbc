//! What a file with a key has to be, for all who read one.
//!
//! Pure: who reads it opens it, and says of which file it speaks. Nothing of the key is in an error.

use super::{Key, KeyKind, has_key};
use alloc::format;
use alloc::string::String;

/// Taken where no other is named, if it is there: of a head, a node, an initramfs.
pub const KEY_FILE: &str = "/etc/xget/key";
/// That of one node alone, of an initramfs.
pub const NODE_KEY_FILE: &str = "/etc/xget/node-key";
/// Names another, for who runs commands.
pub const KEY_VARIABLE: &str = "XGET_KEY";
/// More is no key.
pub const KEY_FILE_LEN_MAX: u64 = 1024;
/// Nobody but the owner may read a secret.
const OTHERS: u32 = 0o077;

/// Whether what was typed may name a file with a key: a key itself would be shown with what is wrong
/// with that file.
///
/// # Errors
/// Why not, and what to do.
pub fn check_key_name(typed: &str) -> Result<(), &'static str> {
    match has_key(typed) {
        true => Err("a key is not typed, where others see it: name a file of mode 600 that has it"),
        false => Ok(()),
    }
}

/// Whether an open file with this mode, of this owner, may have the key of who reads it.
///
/// # Errors
/// Why not, and what to do.
pub fn check_key_file(
    is_file: bool,
    mode: u32,
    owner: u32,
    reader: u32,
) -> Result<(), &'static str> {
    if !is_file {
        return Err("a key is in a file of mode 600, and no pipe or directory");
    }
    if mode & OTHERS != 0 {
        return Err("others can read this key: chmod 600 it, and make another if they did");
    }
    if ![0, reader].contains(&owner) {
        return Err("it belongs to somebody else, who knows this key");
    }
    Ok(())
}

/// The one that all nodes have, of it or of a root.
///
/// # Errors
/// It is one that it does not follow from.
pub fn of_cluster(key: &Key) -> Result<Key, String> {
    key.cluster().ok_or_else(|| match key.kind() {
        KeyKind::Node(name) => format!("it is the key of {name} alone, and not of the cluster"),
        KeyKind::Root | KeyKind::Cluster => "it is no key of a cluster".into(),
    })
}
