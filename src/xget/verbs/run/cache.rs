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
/// Of a directory: who does not own a name in it cannot change that.
const STICKY: u32 = 0o1000;
/// What the kernel says of an owner who has no number here (/proc/sys/kernel/overflowuid).
const UNKNOWN: u32 = 65534;
const SIGN: Duration = Duration::from_secs(1);
/// Who does not for so long is not waited for.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// What an entry is called while it is removed: its name is free at once.
const GONE: &str = ".gone-";
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
            return refused_comma(&dir);
        }
        if let Some(above) = dir.parent() {
            // Before something of ours is made there.
            let there = above.ancestors().find_map(|above| fs::canonicalize(above).ok());
            check_way(&dir, there.as_deref().unwrap_or(above))?;
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
        // As it is now, without links that may lead elsewhere tomorrow.
        let dir = fs::canonicalize(&dir).map_err(|error| failed("use", &dir, error))?;
        if dir.as_os_str().as_bytes().contains(&b',') {
            return refused_comma(&dir);
        }
        check_way(&dir, dir.parent().unwrap_or(&dir))?;
        Ok(Cache { dir })
    }

    /// The place of a generation, made where it is not there, and in use from now on; with a number
    /// another one of the same.
    pub fn entry(&self, generation: Digest, number: u32) -> Result<Entry, Failed> {
        let mut name = generation.to_string();
        name.truncate(NAME_LEN);
        if number > 0 {
            name.push_str(&format!(".{number}"));
        }
        let path = self.dir.join(name);
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
            let name = found.file_name();
            if name.as_bytes().starts_with(GONE.as_bytes()) {
                sweep(&path);
            }
            if !is_entry_name(name.as_bytes()) {
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
            if file::lock(&lock) && is_still(&path, &lock) && !has_mounts(&path) {
                set_aside(&path)
                    .and_then(|gone| remove(&gone))
                    .map_err(|error| failed("remove", &path, error))?;
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

fn refused_comma<T>(dir: &Path) -> Result<T, Failed> {
    let why = "a path with a comma would be two words of a list; --cache-dir DIR";
    Err(failed("use the cache", dir, why))
}

/// That nobody but root and this user can put another directory in the place of one on the way
/// there: as sshd(8) has it (StrictModes), but that a group may be the owner's own.
fn check_way(dir: &Path, above: &Path) -> Result<(), Failed> {
    let user = file::user();
    let is_foreign = |uid| uid != 0 && uid != user && !(uid == UNKNOWN && has_unknown_owners());
    for above in above.ancestors() {
        let status = file::stat_path(above).map_err(|errno| failed("use", above, errno.desc()))?;
        let mode = status.permissions();
        let group_writes = mode & 0o020 != 0 && ![0, status.uid].contains(&status.gid);
        let why = if is_foreign(status.uid) {
            "another user's"
        } else if mode & STICKY == 0 && (mode & 0o002 != 0 || group_writes) {
            "writable by others"
        } else {
            continue;
        };
        let why =
            format!("{} is {why}, who could change what you run; --cache-dir DIR", above.display());
        return Err(failed("use the cache", dir, why));
    }
    Ok(())
}

/// Whether the kernel says [`UNKNOWN`] of real users, root among them, since this process is in a user
/// namespace without them (user_namespaces(7)).
fn has_unknown_owners() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    !map.is_empty() && map.split_whitespace().ne(["0", "0", "4294967295"])
}

/// An entry with its number, or without one.
fn is_entry_name(name: &[u8]) -> bool {
    let (digits, rest) = name.split_at(name.len().min(NAME_LEN));
    let is_number = match rest {
        [] => true,
        [b'.', number @ ..] => !number.is_empty() && number.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    digits.len() == NAME_LEN
        && digits.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        && is_number
}

/// Gives an entry another name, so that who wants the same does not have to wait until all of it is
/// removed.
fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let gone = path.with_file_name(format!("{GONE}{name}-{}", std::process::id()));
    // Another process had the number, and was killed.
    if gone.exists() {
        remove(&gone)?;
    }
    fs::rename(path, &gone)?;
    Ok(gone)
}

/// Removes what somebody has set aside who was killed. Who still removes it has its lock.
fn sweep(gone: &Path) {
    if let Ok(lock) = file::open_dir(gone)
        && file::lock(&lock)
        && !has_mounts(gone)
    {
        let _ = remove(gone);
    }
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

/// Whether something is mounted there or below: what it has is not ours, and it is in use.
pub fn has_mounts(dir: &Path) -> bool {
    let mut at = Vec::new();
    // As the table has them (proc_pid_mountinfo(5)): the mount point is the fifth word.
    for byte in dir.as_os_str().as_bytes() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => at.extend(format!("\\{byte:03o}").into_bytes()),
            byte => at.push(*byte),
        }
    }
    let table = fs::read("/proc/thread-self/mountinfo").unwrap_or_default();
    let mut points =
        table.split(|b| *b == b'\n').filter_map(|line| line.split(|b| *b == b' ').nth(4));
    points.any(|point| point.strip_prefix(&*at).is_some_and(|rest| matches!(rest, [] | [b'/', ..])))
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

    /// Whether no other process has it in use.
    pub fn is_alone(&self) -> bool {
        let is_alone = file::lock(&self.lock);
        // Neither way is without a gap (flock(2)), in which somebody may remove it.
        file::lock_shared(&self.lock) && is_still(&self.path, &self.lock) && is_alone
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::scratch::{Dir, skip};

    fn cache(dir: &Dir) -> Cache {
        Cache::open(Some(dir.join("cache"))).ok().unwrap()
    }

    #[test]
    fn a_name_is_free_while_what_had_it_is_removed() {
        let dir = Dir::new();
        let cache = cache(&dir);
        let generation = Digest::of(b"x");
        let entry = cache.entry(generation, 0).ok().unwrap();
        let path = entry.path.clone();
        drop(entry);
        let lock = file::open_dir(&path).unwrap();
        assert!(file::lock(&lock));
        let gone = set_aside(&path).unwrap();
        let again = cache.entry(generation, 0).ok().unwrap();
        assert!(gone.exists() && again.path == path);
        // Whoever removes it may be at it still.
        cache.shrink(u64::MAX).ok().unwrap();
        assert!(gone.exists());
        drop(lock);
        cache.shrink(u64::MAX).ok().unwrap();
        assert!(!gone.exists() && path.exists());
    }

    #[test]
    fn an_entry_with_a_number_is_one_as_well() {
        let dir = Dir::new();
        let cache = cache(&dir);
        let paths = [0, 1, 12].map(|number| {
            let entry = cache.entry(Digest::of(b"x"), number).ok().unwrap();
            assert!(is_entry_name(entry.path.file_name().unwrap().as_bytes()));
            entry.path
        });
        assert_ne!(paths[0], paths[1]);
        fs::write(paths[1].join(FILES).join("f"), b"contents").unwrap();
        cache.shrink(0).ok().unwrap();
        assert!(!paths[1].exists());
        for name in
            ["", "x", "0.1", &format!("{}.", "0".repeat(32)), &format!("{}x", "0".repeat(32))]
        {
            assert!(!is_entry_name(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn what_is_mounted_in_an_entry_is_not_removed() {
        let dir = Dir::new();
        if !file::is_root() || !file::private_mounts_of_this_thread() {
            skip("a mount of one's own");
            return;
        }
        let cache = Cache::open(Some(dir.join("a cache"))).ok().unwrap();
        let entry = cache.entry(Digest::of(b"x"), 0).ok().unwrap();
        let (path, foreign) = (entry.path.clone(), dir.write("foreign/file", b"dear"));
        drop(entry);
        let at = path.join(FILES);
        assert!(!has_mounts(&path));
        let (none, bind) = (None::<&str>, nix::mount::MsFlags::MS_BIND);
        nix::mount::mount(foreign.parent(), &at, none, bind, none).unwrap();
        assert!(has_mounts(&path) && has_mounts(&at) && !has_mounts(&path.join("file")));
        cache.shrink(0).ok().unwrap();
        assert!(foreign.exists() && at.join("file").exists());
        nix::mount::umount(&at).unwrap();
        cache.shrink(0).ok().unwrap();
        assert!(foreign.exists() && !path.exists());
    }

    #[test]
    fn who_has_an_entry_alone_knows_it() {
        let dir = Dir::new();
        let cache = cache(&dir);
        let one = cache.entry(Digest::of(b"x"), 0).ok().unwrap();
        assert!(one.is_alone() && one.is_alone());
        let other = cache.entry(Digest::of(b"x"), 0).ok().unwrap();
        assert!(!one.is_alone() && !other.is_alone());
        drop(one);
        assert!(other.is_alone());
        // It is in use as before.
        cache.shrink(0).ok().unwrap();
        assert!(other.path.exists());
    }

    #[test]
    fn a_way_that_others_could_change_is_refused() {
        let dir = Dir::new();
        let above = dir.join("above");
        let typed = above.join("in/cache");
        fs::create_dir(&above).unwrap();
        let why = |mode: u32| {
            fs::set_permissions(&above, fs::Permissions::from_mode(mode)).unwrap();
            Cache::open(Some(typed.clone())).err().map(|failed| failed.reasons.concat())
        };
        let of_others = why(0o777).unwrap();
        assert!(of_others.contains("above is writable by others"), "{of_others}");
        assert!(!above.join("in").exists(), "something was made there");
        assert_eq!(why(0o755), None);
        assert!(why(0o777).is_some(), "what was made before is used");
        assert_eq!(why(0o1777), None);
        // Through a link of somebody else's it is the same.
        symlink(&above, dir.join("link")).unwrap();
        let linked = Cache::open(Some(dir.join("link/in/cache"))).ok().unwrap();
        assert_eq!(linked.dir, typed);
        if !file::is_root() {
            return;
        }
        let own = |uid, gid| std::os::unix::fs::chown(&above, Some(uid), Some(gid)).unwrap();
        own(12345, 12345);
        assert!(why(0o755).unwrap().contains("above is another user's"));
        own(0, 12345);
        assert!(why(0o775).unwrap().contains("writable by others"));
        own(0, 0);
        assert_eq!(why(0o775), None);
    }
}
