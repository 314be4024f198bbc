//! A kernel file: whether the agent can boot it, and which version it is.
//!
//! The header is that of the kernel's Documentation/arch/x86/boot.rst. The agent
//! checks more of it on the node; this is what can be said at the head.

use crate::failure::{Doing, Outcome};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The setup header ends before this.
const HEADER_LEN: usize = 0x300;
const BOOT_FLAG: (usize, [u8; 2]) = (0x1fe, [0x55, 0xaa]);
const MAGIC: (usize, [u8; 4]) = (0x202, *b"HdrS");
const PROTOCOL_AT: usize = 0x206;
const VERSION_AT: usize = 0x20e;
/// 2.12: what `kexec_file_load` takes.
const PROTOCOL_MIN: u16 = 0x020c;
/// `kernel_version` counts from the end of the first sector.
const SECTOR: u64 = 0x200;
const VERSION_LEN_MAX: usize = 128;

/// The version of a bzImage (`6.1.0-28-amd64`), or why it is none that boots.
pub fn version(path: &Path) -> Outcome<Result<String, String>> {
    let file = File::open(path).doing("open", path)?;
    let mut header = [0; HEADER_LEN];
    if file.read_exact_at(&mut header, 0).is_err() {
        return Ok(Err("is too short for a kernel".into()));
    }
    Ok(header_version(&header).map(|at| read_version(&file, at)))
}

/// Where the version is.
fn header_version(header: &[u8; HEADER_LEN]) -> Result<u64, String> {
    if header[..2] == [0x1f, 0x8b] || header[..4] == [0x28, 0xb5, 0x2f, 0xfd] {
        return Err("is compressed once more: unpack it".into());
    }
    if header[..4] == *b"\x7fELF" {
        return Err("is a vmlinux: the agent boots a bzImage (arch/x86/boot/bzImage)".into());
    }
    let has = |(at, bytes): (usize, &[u8])| header[at..].starts_with(bytes);
    if !has((BOOT_FLAG.0, &BOOT_FLAG.1)) || !has((MAGIC.0, &MAGIC.1)) {
        return Err("is no bzImage".into());
    }
    let number = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    if number(PROTOCOL_AT) < PROTOCOL_MIN {
        let (major, minor) = (header[PROTOCOL_AT + 1], header[PROTOCOL_AT]);
        return Err(format!(
            "has boot protocol {major}.{minor:02}, and 2.12 is the oldest that \
                            can be started by kexec"
        ));
    }
    Ok(u64::from(number(VERSION_AT)) + SECTOR)
}

/// The first word there; empty where the kernel says none.
fn read_version(file: &File, at: u64) -> String {
    let mut bytes = [0; VERSION_LEN_MAX];
    let count = if at == SECTOR { 0 } else { file.read_at(&mut bytes, at).unwrap_or(0) };
    let text = bytes[..count].split(|b| *b == 0 || b.is_ascii_whitespace()).next();
    String::from_utf8_lossy(text.unwrap_or_default()).into_owned()
}

/// The shortest file that is a kernel by its header, for tests.
#[cfg(test)]
pub fn specimen(version: &str) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_LEN];
    bytes[BOOT_FLAG.0..][..2].copy_from_slice(&BOOT_FLAG.1);
    bytes[MAGIC.0..][..4].copy_from_slice(&MAGIC.1);
    bytes[PROTOCOL_AT..][..2].copy_from_slice(&0x020f_u16.to_le_bytes());
    bytes[VERSION_AT..][..2].copy_from_slice(&0x100_u16.to_le_bytes());
    bytes.extend_from_slice(format!("{version} (builder) #1 SMP\0").as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use std::fs;

    fn version_of(bytes: &[u8]) -> Result<String, String> {
        let dir = Scratch::new();
        fs::write(dir.join("kernel"), bytes).unwrap();
        version(&dir.join("kernel")).unwrap()
    }

    #[test]
    fn a_kernel_says_its_version() {
        assert_eq!(version_of(&specimen("6.1.0-28-amd64")).unwrap(), "6.1.0-28-amd64");
    }

    #[test]
    fn what_is_no_kernel_is_told_from_one() {
        let old = [&specimen("5")[..PROTOCOL_AT], &[0x0b, 0x02], &specimen("5")[PROTOCOL_AT + 2..]];
        for (bytes, words) in [
            (b"text".to_vec(), "too short"),
            (vec![0; 4096], "no bzImage"),
            ([&b"\x7fELF"[..], &[0; 4096]].concat(), "vmlinux"),
            ([&b"\x1f\x8b"[..], &[0; 4096]].concat(), "compressed"),
            (old.concat(), "boot protocol 2.11"),
        ] {
            let why = version_of(&bytes).unwrap_err();
            assert!(why.contains(words), "{why:?} has no {words:?}");
        }
    }
}
