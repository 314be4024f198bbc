//! An initrd: which kernels it has modules of. Names are looked for in the unpacked archive
//! as they stand there; nothing of it is unpacked to disk.

use crate::failure::{Doing, Failure, Outcome};
use crate::import::decompressed;
use crate::interrupt;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// What stands before a version in a name.
const MODULES: &[u8] = b"lib/modules/";
/// The length of an initrd as it is unpacked, at most.
const LEN_MAX: u64 = 4 << 30;
const CHUNK_LEN: usize = 1 << 20;
/// A version, with what stands before it.
const NAME_LEN_MAX: usize = 256;

/// The versions of kernels of which there are modules.
pub fn kernels(path: &Path) -> Outcome<BTreeSet<String>> {
    let file = File::open(path).doing("open", path)?;
    let mut from = decompressed(file).doing("read", path)?.take(LEN_MAX);
    let (mut found, mut buffer) = (BTreeSet::new(), Vec::new());
    loop {
        interrupt::check()?;
        let keep = buffer.len().min(NAME_LEN_MAX);
        buffer.drain(..buffer.len() - keep);
        let read = from.by_ref().take(CHUNK_LEN as u64).read_to_end(&mut buffer);
        let count = read
            .map_err(|error| Failure::wrong(format!("{} is damaged: {error}", path.display())))?;
        collect(&buffer, &mut found);
        if count == 0 {
            return Ok(found);
        }
    }
}

fn collect(bytes: &[u8], found: &mut BTreeSet<String>) {
    let mut at = 0;
    while let Some(next) = bytes[at..].windows(MODULES.len()).position(|part| part == MODULES) {
        at += next + MODULES.len();
        let name = &bytes[at..bytes.len().min(at + NAME_LEN_MAX)];
        let end = name.iter().position(|b| matches!(b, b'/' | 0));
        let is_sound = |b: &u8| b.is_ascii_alphanumeric() || b"._+-~".contains(b);
        if let Some(name) = end.map(|end| &name[..end])
            && name.first().is_some_and(u8::is_ascii_digit)
            && name.iter().all(is_sound)
        {
            found.insert(String::from_utf8_lossy(name).into_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_names_of_directories() {
        let mut found = BTreeSet::new();
        collect(
            b"070701lib/modules/6.1.0-1-amd64/modules.dep\0lib/modules/%s/\0lib/modules/6.9",
            &mut found,
        );
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["6.1.0-1-amd64"]);
    }
}
