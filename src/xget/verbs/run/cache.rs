//! Where what was fetched for commands lies: a directory for each generation, named by its digest.
//!
//! So a file that changed at the head lands beside what others still use, and heads that serve
//! different things under one name are not in each other's way. Knows places and locks on disk;
//! refuses to know what is fetched, and how.
//!
//! An entry is used under a shared lock that the command inherits, and that ends with it and with
//! who serves the files on: nobody takes away what is in use.

use crate::failed::{Failed, exit_code};
use crate::os::file;
use nix::errno::Errno;
use peer::content::digest::Digest;
use peer::failure::Status;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// Digits of the digest in a name: as many as nothing else will have by chance.
const NAME_LEN: usize = 32;
/// In an entry: what was fetched, other names without commas, links to files that stand on each other.
const FILES: &str = "files";
const ALIASES: &str = "named";
const TOGETHER: &str = "together";
/// Its time is when the entry was used last.
const USED: &str = "used";
/// Who makes something in the entry writes this each second: his process.
const MAKER: &str = "maker";
const SIGN: Duration = Duration::from_secs(1);
/// Who does not for so long is not waited for.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How often an entry that is being removed is made anew.
const TRIES_MAX: u32 = 20;

/// A failure of this machine's disk.
pub fn failed(doing: &str, path: &Path, why: impl std::fmt::Display) -> Failed {
    let why = format!("cannot {doing} {}: {why}", path.display());
    Failed::new(why, exit_code(Status::LocalIo))
}

pub struct Cache {
    dir: PathBuf,
}

impl Cache {
    /// Makes the directory, and sees to it that nobody else can change what is in it.
    pub fn open(typed: Option<PathBuf>) -> Result<Cache, Failed> {
        let dir = match typed {
            Some(dir) => dir,
            None => default_dir().ok_or_else(|| {
                let why = "neither XDG_CACHE_HOME nor HOME says where a cache is: --cache-dir DIR";
                Failed::new(why.into(), exit_code(Status::LocalIo))
            })?,
        };
        let dir = std::path::absolute(&dir).map_err(|error| failed("use", &dir, error))?;
        let refused = |why: &str| Err(failed("use the cache", &dir, why));
        if dir.as_os_str().as_bytes().contains(&b',') {
            return refused("a path with a comma would be two words of a list; --cache-dir DIR");
        }
        if let Some(above) = dir.parent() {
            file::make_dirs(above).map_err(|error| failed("make", above, error))?;
        }
        if let Err(errno) = file::make_dir(&dir, 0o700)
            && errno != Errno::EEXIST
        {
            return Err(failed("make", &dir, errno.desc()));
        }
        let status = file::stat_path(&dir).map_err(|errno| failed("use", &dir, errno.desc()))?;
        if !status.is_dir() {
            return refused("is no directory");
        }
        if status.uid != file::user() {
            return refused("it is another user's, who could change what you run");
        }
        if status.permissions() & 0o022 != 0 {
            return refused("others may write to it, and so change what you run; chmod go-w");
        }
        Ok(Cache { dir })
    }

    /// The place of a generation, made where it is not there, and in use from now on.
    pub fn entry(&self, generation: Digest) -> Result<Entry, Failed> {
        let path = self.dir.join(&generation.to_string()[..NAME_LEN]);
        for _ in 0..TRIES_MAX {
            make_dir(&path)?;
            let Ok(lock) = file::open_dir(&path) else { continue };
            // Who removes it has the lock alone, and it is another directory then.
            if file::lock_shared(&lock) && is_still(&path, &lock) {
                make_dir(&path.join(FILES))?;
                let used = path.join(USED);
                fs::write(&used, b"").map_err(|error| failed("write", &used, error))?;
                return Ok(Entry { path, lock });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(failed("use", &path, "somebody removes it again and again"))
    }

    /// Makes room for what is to come to an entry, in the same way.
    pub fn make_room(&self, entry: &Entry, bytes: u64, bytes_max: u64) -> Result<(), Failed> {
        let more = bytes.saturating_sub(bytes_below(&entry.path));
        self.shrink(bytes_max.saturating_sub(more))
    }

    /// Removes entries that nobody uses, who was not used for longest first, until no more than
    /// so much is left, or none.
    pub fn shrink(&self, bytes_max: u64) -> Result<(), Failed> {
        let unreadable = |error: io::Error| failed("read", &self.dir, error);
        let mut entries: Vec<(SystemTime, PathBuf, u64)> = Vec::new();
        for found in fs::read_dir(&self.dir).map_err(unreadable)?.flatten() {
            let path = found.path();
            if !is_entry_name(found.file_name().as_bytes()) {
                continue;
            }
            let used = fs::metadata(path.join(USED)).and_then(|used| used.modified());
            entries.push((
                used.unwrap_or(SystemTime::UNIX_EPOCH),
                path.clone(),
                bytes_below(&path),
            ));
        }
        entries.sort();
        let mut bytes: u64 = entries.iter().map(|(_, _, bytes)| bytes).sum();
        for (_, path, entry_bytes) in entries {
            if bytes <= bytes_max {
                break;
            }
            let Ok(lock) = file::open_dir(&path) else { continue };
            if file::lock(&lock) && is_still(&path, &lock) {
                remove(&path).map_err(|error| failed("remove", &path, error))?;
                bytes -= entry_bytes;
            }
        }
        Ok(())
    }
}

/// XDG Base Directory Specification: what is not absolute there is to be ignored.
fn default_dir() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(base.join("xget").join("files"))
}

fn is_entry_name(name: &[u8]) -> bool {
    name.len() == NAME_LEN && name.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// What is below a directory takes on disk. What cannot be looked at counts as nothing.
fn bytes_below(dir: &Path) -> u64 {
    let (mut bytes, mut dirs) = (0, vec![dir.to_path_buf()]);
    while let Some(dir) = dirs.pop() {
        for found in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = found.path();
            let Ok(status) = fs::symlink_metadata(&path) else { continue };
            bytes += status.blocks() * 512;
            if status.is_dir() {
                dirs.push(path);
            }
        }
    }
    bytes
}

/// One that is there is as good.
pub fn make_dir(path: &Path) -> Result<(), Failed> {
    match file::make_dir(path, 0o755) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(failed("make", path, errno.desc())),
    }
}

/// Removes a directory with all in it, also where something in it was made unwritable for its owner.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            make_writable(path)?;
            fs::remove_dir_all(path)
        }
        removed => removed,
    }
}

/// The directories in it; what they lead to elsewhere is not touched.
fn make_writable(dir: &Path) -> io::Result<()> {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    for found in fs::read_dir(dir)? {
        let found = found?;
        if found.file_type()?.is_dir() {
            make_writable(&found.path())?;
        }
    }
    Ok(())
}

/// Whether a path still leads to what was opened there.
fn is_still(path: &Path, dir: &OwnedFd) -> bool {
    let place = |status: file::Status| (status.dev, status.ino);
    match (file::stat_path(path), file::stat_dir(dir)) {
        (Ok(there), Ok(opened)) => place(there) == place(opened),
        _ => false,
    }
}

/// The place of one generation.
pub struct Entry {
    path: PathBuf,
    /// Shared, as long as something of it is used.
    lock: OwnedFd,
}

impl Entry {
    /// What was fetched.
    pub fn files(&self) -> PathBuf {
        self.path.join(FILES)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn into_lock(self) -> OwnedFd {
        self.lock
    }

    /// A path without commas to the same: in a list they would part it.
    pub fn without_commas(&self, path: PathBuf) -> Result<PathBuf, Failed> {
        let name = path.file_name().unwrap_or_default();
        if !name.as_bytes().contains(&b',') {
            return Ok(path);
        }
        let dir = self.path.join(ALIASES);
        make_dir(&dir)?;
        let plain = name.as_bytes().iter().map(|b| if *b == b',' { b'_' } else { *b }).collect();
        let alias = dir.join(std::ffi::OsString::from_vec(plain));
        point(&alias, &path)?;
        Ok(alias)
    }
}

impl Entry {
    /// Files that have to lie to each other as at the head: links to them, and the path of the first.
    pub fn together(&self, files: &[(Vec<u8>, PathBuf)]) -> Result<PathBuf, Failed> {
        let text: Vec<&[u8]> =
            files.iter().flat_map(|(at, to)| [at.as_slice(), to.as_os_str().as_bytes()]).collect();
        let name = Digest::of(&text.join(&0)).to_string();
        let dir = self.path.join(TOGETHER).join(&name[..NAME_LEN]);
        let place = |at: &[u8]| dir.join(std::ffi::OsStr::from_bytes(at));
        for (at, to) in files {
            let link = place(at);
            if link.as_os_str().as_bytes().contains(&b',') {
                let why = "it stands on another file, and its path has a comma";
                return Err(failed("make the link", &link, why));
            }
            let above = link.parent().unwrap_or(&dir);
            fs::create_dir_all(above).map_err(|error| failed("make", above, error))?;
            point(&link, to)?;
        }
        Ok(files.first().map_or(dir.clone(), |(at, _)| place(at)))
    }
}

/// Makes a link in one step, beside others who do the same.
fn point(link: &Path, to: &Path) -> Result<(), Failed> {
    if fs::read_link(link).is_ok_and(|target| target == to) {
        return Ok(());
    }
    let made = link.with_file_name(format!(".{}", std::process::id()));
    let _ = fs::remove_file(&made);
    symlink(to, &made)
        .and_then(|()| fs::rename(&made, link))
        .map_err(|error| failed("make the link", link, error))
}

/// Who makes something shows that he lives, and who waits for him looks whether he does.
pub struct Sign {
    file: PathBuf,
    next: Instant,
}

impl Sign {
    pub fn of(entry: &Entry) -> Sign {
        Sign { file: entry.path.join(MAKER), next: Instant::now() }
    }

    /// Best effort: it hurts nobody but who waits.
    pub fn give(&mut self) {
        if Instant::now() >= self.next {
            self.next = Instant::now() + SIGN;
            let _ = fs::write(&self.file, format!("{}\n", std::process::id()));
        }
    }
}

/// One who waits until another process has made something in an entry.
pub struct Patience {
    file: PathBuf,
    /// What the file was, and since when it is that.
    seen: Option<SystemTime>,
    since: Instant,
}

impl Patience {
    pub fn with(entry: &Entry) -> Patience {
        Patience { file: entry.path.join(MAKER), seen: None, since: Instant::now() }
    }

    /// Who it is that is waited for.
    pub fn maker(&self) -> String {
        let text = fs::read_to_string(&self.file).unwrap_or_default();
        match text.trim() {
            "" => "another process".into(),
            number => format!("process {number}"),
        }
    }

    /// # Errors
    /// He has shown nothing for too long.
    pub fn check(&mut self) -> Result<(), Failed> {
        let seen = fs::metadata(&self.file).and_then(|status| status.modified()).ok();
        if seen != self.seen {
            (self.seen, self.since) = (seen, Instant::now());
        }
        if self.since.elapsed() < SILENCE_MAX {
            return Ok(());
        }
        let dir = self.file.parent().unwrap_or(&self.file);
        let why = format!(
            "{} has it and does nothing for {} s; end it, or use another --cache-dir",
            self.maker(),
            SILENCE_MAX.as_secs()
        );
        Err(failed("wait for", dir, why))
    }
}
