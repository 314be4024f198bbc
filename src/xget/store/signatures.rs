//! Signed statements beside a served tree, in `.xget/signatures` of its root, each by its
//! place ([`Statement::place`](peer::signature::Statement::place)).
//!
//! No name on the way is a symlink. Refuses to know what is signed, and whose word that is.

use super::name;
use crate::os::file;
use nix::errno::Errno;
use peer::content::digest::Digest;
use peer::signature::SIGNED_LEN_MAX;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const SIGNATURES: &[u8] = b"signatures";
/// Of both directories and of the files, whatever the umask says: nothing secret, and the master
/// may be another user.
const DIR_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;

/// Where one is, below the root.
pub fn path_of(place: Digest) -> PathBuf {
    let names = [name::RESERVED, SIGNATURES].map(OsStr::from_bytes);
    names.iter().collect::<PathBuf>().join(place.to_string())
}

/// What was signed of a selection; none where nobody did.
pub fn read(root: &OwnedFd, place: Digest) -> Result<Option<Vec<u8>>, Errno> {
    match open(root, place) {
        Err(Errno::ENOENT) => Ok(None),
        opened => {
            let mut bytes = Vec::new();
            let most = SIGNED_LEN_MAX as u64 + 1;
            opened?.take(most).read_to_end(&mut bytes).map_err(|error| file::errno(&error))?;
            if bytes.len() > SIGNED_LEN_MAX { Err(Errno::EFBIG) } else { Ok(Some(bytes)) }
        }
    }
}

fn open(root: &OwnedFd, place: Digest) -> Result<std::fs::File, Errno> {
    let own = file::open_dir_at(root, name::RESERVED)?;
    let dir = file::open_dir_at(&own, SIGNATURES)?;
    let opened = file::open_file_at(&dir, place.to_string().as_bytes())?;
    // A fifo would give nothing for ever.
    if file::stat_file(&opened)?.is_file() { Ok(opened) } else { Err(Errno::EINVAL) }
}

/// Where they go, made if need be. To be called before the tree is looked at: a name that comes
/// into its root changes the root.
pub fn prepare(root: &Path) -> Result<OwnedFd, Errno> {
    let mut dir = file::open_dir(root)?;
    for name in [name::RESERVED, SIGNATURES] {
        match file::make_dir_at(&dir, name, DIR_MODE) {
            Ok(()) => {
                dir = file::open_dir_at(&dir, name)?;
                file::set_mode(dir.as_fd(), DIR_MODE)?;
            }
            Err(Errno::EEXIST) => dir = file::open_dir_at(&dir, name)?,
            Err(errno) => return Err(errno),
        }
    }
    Ok(dir)
}

/// Puts one in its place as a whole, whatever was there; `dir` is of [`prepare`].
pub fn write(dir: &OwnedFd, place: Digest, signed: &[u8]) -> Result<(), Errno> {
    let name = place.to_string();
    let temporary = name::temporary_of(name.as_bytes());
    // Of a run that was cut off.
    let _ = file::unlink_at(dir, &temporary);
    let mut made = file::create_file_at(dir, &temporary, FILE_MODE)?;
    let written = file::set_mode(made.as_fd(), FILE_MODE)
        .and_then(|()| {
            let written = made.write_all(signed).and_then(|()| made.sync_all());
            written.map_err(|error| file::errno(&error))
        })
        .and_then(|()| file::rename_at(dir, &temporary, name.as_bytes()));
    written.inspect_err(|_| {
        let _ = file::unlink_at(dir, &temporary);
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::scratch::Dir;

    const OF: Digest = Digest([7; 32]);

    fn found(dir: &Dir) -> Result<Option<Vec<u8>>, Errno> {
        read(&file::open_dir(dir.path()).unwrap(), OF)
    }

    #[test]
    fn what_was_written_is_read_and_the_last_one_counts() {
        let dir = Dir::new();
        assert_eq!(found(&dir), Ok(None));
        let place = prepare(dir.path()).unwrap();
        write(&place, OF, b"one").unwrap();
        write(&prepare(dir.path()).unwrap(), OF, b"two").unwrap();
        assert_eq!(found(&dir), Ok(Some(b"two".to_vec())));
        let names = std::fs::read_dir(dir.join(".xget/signatures")).unwrap().count();
        assert_eq!(names, 1, "nothing temporary is left");
    }

    #[test]
    fn nothing_leads_elsewhere_and_nothing_is_read_without_end() {
        let (dir, other) = (Dir::new(), Dir::new());
        write(&prepare(other.path()).unwrap(), OF, b"a stranger's").unwrap();
        std::os::unix::fs::symlink(other.join(".xget"), dir.join(".xget")).unwrap();
        assert!(found(&dir).is_err() && prepare(dir.path()).is_err());
        std::fs::remove_file(dir.join(".xget")).unwrap();
        dir.write(&format!(".xget/signatures/{OF}"), &vec![b'a'; SIGNED_LEN_MAX + 1]);
        assert_eq!(found(&dir), Err(Errno::EFBIG));
        let path = dir.join(&format!(".xget/signatures/{OF}"));
        std::fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(found(&dir), Err(Errno::EINVAL));
    }
}
