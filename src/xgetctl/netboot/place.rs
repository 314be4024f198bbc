//! The files of a network boot in their directory: made beside their places, and put there.
//!
//! What is not ours stays. A kernel and its initramfs have one digest in their names, and what
//! names them is put in place behind them: a machine gets a pair that belongs together, or
//! none. Knows no boot loader's ways of writing.

use crate::failure::{Doing, Failure, Outcome};
use crate::out;
use crate::staging::Staging;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

pub const CONF: &str = "dnsmasq.conf";
pub const IPXE: &str = "boot.ipxe";
pub const HOSTS: &str = "dhcp-hosts";
pub const NAMES: &str = "hosts";
const MENUS: &str = "pxelinux.cfg";
pub const MENU: &str = "pxelinux.cfg/default";
/// Where GRUB looks, of its own making (programs.rs) or of Debian's.
pub const GRUB_DIR: &str = "grub";
pub const GRUB_CFG: &str = "grub/grub.cfg";
/// A line that every text has, by which it is known again.
pub const HEADER: &str = "# made by `xgetctl netboot`, which makes it anew each time";
/// What is written anew each time, and only over what was written here.
const TEXTS: [&str; 6] = [CONF, IPXE, HOSTS, NAMES, MENU, GRUB_CFG];
const KERNEL: &str = "vmlinuz-";
const INITRAMFS: (&str, &str) = ("initramfs-", ".img");
/// Hexadecimal digits of the digest of a pair.
const DIGEST_LEN: usize = 16;
const BUFFER_LEN: usize = 1 << 20;
/// A text that is looked at for the names of a pair.
const TEXT_LEN_MAX: u64 = 1 << 20;

/// A file that was made, and the name that it gets.
pub type Made = (PathBuf, String);

/// The names of a kernel and its initramfs.
#[derive(Debug)]
pub struct Pair {
    pub kernel: String,
    pub initramfs: String,
}

impl Pair {
    pub fn new(digest: &str) -> Pair {
        let (before, behind) = INITRAMFS;
        Pair { kernel: format!("{KERNEL}{digest}"), initramfs: format!("{before}{digest}{behind}") }
    }
}

/// The digest that a name of a pair has.
fn digest_in(name: &str) -> Option<&str> {
    let (before, behind) = INITRAMFS;
    let initramfs = || name.strip_prefix(before)?.strip_suffix(behind);
    let digest = name.strip_prefix(KERNEL).or_else(initramfs)?;
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (digest.len() == DIGEST_LEN && digest.bytes().all(is_hex)).then_some(digest)
}

/// Whether this is what machines fetch for themselves by HTTP: a script, or of a pair.
pub fn is_fetched(name: &str) -> bool {
    name == IPXE || digest_in(name).is_some()
}

/// Kernel and initramfs, copied under names of their own.
pub fn pair(staging: &Staging, kernel: &Path, initramfs: &Path) -> Outcome<(Pair, [Made; 2])> {
    let (first, second) = (staging.join("kernel"), staging.join("initramfs"));
    let mut hash = Sha256::new();
    hash_and_copy(kernel, &first, &mut hash)?;
    hash_and_copy(initramfs, &second, &mut hash)?;
    let pair = Pair::new(&out::hex(&hash.finalize()[..DIGEST_LEN / 2]));
    let made = [(first, pair.kernel.clone()), (second, pair.initramfs.clone())];
    Ok((pair, made))
}

fn hash_and_copy(from: &Path, to: &Path, hash: &mut Sha256) -> Outcome {
    let mut source = File::open(from).doing("open", from)?;
    let mut copy = File::create(to).doing("make", to)?;
    let mut buffer = vec![0; BUFFER_LEN];
    loop {
        let len = match source.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read.doing("read", from)?,
        };
        if len == 0 {
            return open_up(to, 0o644);
        }
        hash.update(&buffer[..len]);
        copy.write_all(&buffer[..len]).doing("write", to)?;
    }
}

pub fn copy(staging: &Staging, from: &Path, name: &str) -> Outcome<Made> {
    let to = staging.join(name);
    fs::copy(from, &to).doing("copy", from)?;
    open_up(&to, 0o644)?;
    Ok((to, name.into()))
}

pub fn write(staging: &Staging, text: &str, name: &str) -> Outcome<Made> {
    let to = staging.join(name);
    if let Some(above) = to.parent() {
        fs::create_dir_all(above).doing("make the directory", above)?;
    }
    fs::write(&to, text).doing("write", &to)?;
    open_up(&to, 0o644)?;
    Ok((to, name.into()))
}

pub fn open_up(path: &Path, mode: u32) -> Outcome {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).doing("open to all", path)
}

/// Puts all in place, in this order; nothing if one place is somebody else's.
pub fn put(staging: &Staging, dir: &Path, made: &[Made]) -> Outcome {
    for (_, name) in made {
        is_free_or_ours(dir, name)?;
    }
    let before = digests_named(dir);
    for below in [MENUS, GRUB_DIR] {
        make_directory(&dir.join(below))?;
    }
    for (path, name) in made {
        // One that is there already is the same.
        let is_there = digest_in(name).is_some() && dir.join(name).is_file();
        if !is_there {
            staging.put(path, &dir.join(name), true)?;
        }
    }
    remove_old(dir, &before, made)
}

/// A configuration that somebody else wrote is not replaced.
fn is_free_or_ours(dir: &Path, name: &str) -> Outcome {
    let place = dir.join(name);
    if !TEXTS.contains(&name) || place.symlink_metadata().is_err() {
        return Ok(());
    }
    let text = fs::read(&place).doing("read", &place)?;
    match text.windows(HEADER.len()).any(|bytes| bytes == HEADER.as_bytes()) {
        true => Ok(()),
        false => Err(Failure::usage(format!(
            "{} was not made by xgetctl and stays as it is: move it away, or take another --dir",
            place.display()
        ))),
    }
}

/// In these an administrator may have files of others.
fn make_directory(dir: &Path) -> Outcome {
    if dir.is_dir() {
        return Ok(());
    }
    fs::create_dir(dir).doing("make the directory", dir)?;
    open_up(dir, 0o755)
}

/// The pair that machines fetch at this moment, as far as a text says.
fn digests_named(dir: &Path) -> Vec<String> {
    let mut text = String::new();
    let read = File::open(dir.join(MENU))
        .and_then(|file| file.take(TEXT_LEN_MAX).read_to_string(&mut text));
    // Nobody fetches where there is none.
    if read.is_err() {
        return Vec::new();
    }
    text.split_whitespace().filter_map(digest_in).map(String::from).collect()
}

/// Removes pairs, but for the new one and the one before it, which machines may be fetching:
/// none when the new one is that which was there.
fn remove_old(dir: &Path, before: &[String], made: &[Made]) -> Outcome {
    let is_new =
        |(_, name): &Made| digest_in(name).is_some_and(|new| !before.iter().any(|old| old == new));
    if !made.iter().any(is_new) {
        return Ok(());
    }
    for entry in fs::read_dir(dir).doing("list", dir)? {
        let name = entry.doing("list", dir)?.file_name();
        let Some(name) = name.to_str() else { continue };
        let is_of = |digest: &str| {
            before.iter().any(|old| old == digest) || made.iter().any(|(_, new)| new == name)
        };
        if digest_in(name).is_some_and(|digest| !is_of(digest)) {
            let path = dir.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.doing("remove", &path)?,
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_has_names_that_are_known_again() {
        let pair = Pair::new("0123456789abcdef");
        for name in [&pair.kernel, &pair.initramfs] {
            assert_eq!(digest_in(name), Some("0123456789abcdef"));
            assert!(is_fetched(name));
        }
        for name in [
            "vmlinuz",
            "vmlinuz-",
            "vmlinuz-0123456789ABCDEF",
            "initramfs-0.img",
            "vmlinuz-0123456789abcdef.old",
            "initramfs-0123456789abcdef",
            "dnsmasq.conf",
            "",
            ".",
            "..",
            "vmlinuz-../../../etc/pas",
        ] {
            assert!(!is_fetched(name), "{name:?}");
        }
        assert!(is_fetched("boot.ipxe"));
    }
}
