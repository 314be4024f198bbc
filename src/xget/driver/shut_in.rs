//! What a master and a client can do no more once all is open that they need: docs/security.md,
//! "Shut in".
//!
//! Knows which files either opens later on, and which capabilities it has use for. Refuses to
//! know how the kernel is told that.

use crate::os::landlock::{Landlock, May, Opened, named};
use crate::os::privileges as of;
use crate::os::{clock, file, seccomp};
use nix::errno::Errno;
use std::path::{Path, PathBuf};

/// What may be opened, and for what.
pub type Rules = Vec<(PathBuf, May)>;

/// To read a tree as it is: what its modes keep from others, and attributes `trusted.*`, which
/// nobody sees without the second.
const READS: &[u32] = &[of::DAC_READ_SEARCH, of::SYS_ADMIN];
/// To make one as it was: owners, modes, devices, all attributes; and the blocks that are
/// reserved for root.
const MAKES: &[u32] = &[
    of::CHOWN,
    of::DAC_OVERRIDE,
    of::DAC_READ_SEARCH,
    of::FOWNER,
    of::FSETID,
    of::SYS_ADMIN,
    of::SYS_RESOURCE,
    of::MKNOD,
    of::SETFCAP,
    of::MAC_ADMIN,
];
/// Standard output and error of a daemon.
const NULL: &str = "/dev/null";
/// Where a client looks how much memory is free, which umask it has, what is mounted where.
const LOOKED_AT: [&str; 3] = ["/proc/self", "/proc/meminfo", "/sys/fs/cgroup"];

/// What to do about a file that was not there when who reads it shut itself in.
pub(super) const RESTART: &str =
    "; a master reads what was there when it started, and nothing else: start it again";

/// Whom a master becomes.
#[derive(Clone, Debug)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
}

/// Gives up what neither a root nor its files need, and says what the kernel did not do.
fn shut_in(capabilities: &[u32], changes: bool, opened: &[Opened]) -> Result<(), String> {
    let steps: [(&str, Result<(), Errno>); 4] = [
        ("capabilities", of::keep_capabilities(capabilities)),
        // Without it neither of the others is allowed.
        ("no_new_privs", of::gain_no_more()),
        ("Landlock", hold_back(opened)),
        ("seccomp", seccomp::refuse(changes)),
    ];
    let mut missing = String::new();
    for (what, done) in steps {
        if let Err(cause) = done {
            let sign = if missing.is_empty() { "" } else { "; " };
            missing += &format!("{sign}{what}: {}", std::io::Error::from(cause));
        }
    }
    match missing.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "this kernel does not shut xget in ({missing}): who takes it over may do what its user \
             may (`xget --no-sandbox` does without, and without this line)"
        )),
    }
}

fn hold_back(opened: &[Opened]) -> Result<(), Errno> {
    let landlock = Landlock::find()?;
    // Of a tree that is changed, links are a part: without Landlock there is more of it.
    if opened.iter().any(|(_, may)| *may == May::Change) && !landlock.lets_link() {
        return Err(Errno::EXDEV);
    }
    landlock.restrict(opened)
}

/// Of a child that a boot leaves behind, which has all else open: soon no path leads to these.
pub fn child(opened: &[Opened]) -> Result<(), String> {
    let changes = opened.iter().any(|(_, may)| *may == May::Change);
    shut_in(if changes { MAKES } else { &READS[..1] }, changes, opened)
}

/// Of a client that opens these from now on, and changes its destination or only looks at it.
pub(super) fn client(opens: &Rules, changes: bool) -> Result<(), String> {
    let capabilities = if changes { MAKES } else { READS };
    shut_in(capabilities, changes, for_good(opens, &LOOKED_AT))
}

/// It turned out that it opens less. What the kernel does not do was said before.
pub(super) fn client_further(opens: &Rules) {
    let _ = hold_back(for_good(opens, &LOOKED_AT));
}

/// Opens them until the process ends, and where a daemon's output goes.
fn for_good(rules: &Rules, looks: &[&str]) -> &'static [Opened] {
    let mut opened = vec![named(NULL.as_ref(), May::Keep)];
    for (path, may) in rules {
        opened.push(named(path, *may));
    }
    for path in looks {
        opened.push(named(path.as_ref(), May::Read));
    }
    opened.leak()
}

/// What becomes of a master when all is open.
pub(super) struct MasterNeeds {
    rules: Option<Rules>,
    account: Option<Account>,
    cache: Option<PathBuf>,
}

impl MasterNeeds {
    pub fn of(served: &Path, cache: Option<&Path>, account: Option<Account>, shut: bool) -> Self {
        let rules = shut.then(|| master_rules(served, cache));
        MasterNeeds { rules, account, cache: cache.map(PathBuf::from) }
    }

    /// Gives up the rest. With what the operator is to know.
    ///
    /// # Errors
    /// It would go on with more than it was told to have.
    pub fn give_up_the_rest(self) -> Result<Vec<String>, String> {
        let MasterNeeds { rules, account, cache } = self;
        let mut said = Vec::new();
        // Its log has the time.
        clock::learn_zone();
        if let Some(Account { name, uid, gid }) = account {
            let done = of::become_user(uid, gid, &[of::DAC_READ_SEARCH]);
            done.map_err(|cause| {
                let why = std::io::Error::from(cause);
                format!("cannot become the user {name}: {why}")
            })?;
            said.extend(cache.and_then(|cache| unkept(&cache, &name)));
        }
        // Without rules all stays as it is.
        said.extend(rules.and_then(|rules| shut_in(READS, false, for_good(&rules, &[])).err()));
        Ok(said)
    }
}

/// Why this user does not keep digests there: a file of another name takes the place of this one.
fn unkept(cache: &Path, user: &str) -> Option<String> {
    let cause = file::can_write(cache.parent()?).err()?;
    Some(format!(
        "digests are not kept, all is hashed at each start: {user} cannot make a file beside {}: {} \
         (chown the directory, or leave --cache out)",
        cache.display(),
        std::io::Error::from(cause)
    ))
}

fn master_rules(served: &Path, cache: Option<&Path>) -> Rules {
    let mut rules: Rules = served_at(served).into_iter().map(|path| (path, May::Read)).collect();
    if let Some(dir) = cache.and_then(Path::parent) {
        rules.push((dir.into(), May::Keep));
    }
    rules
}

/// What is read of what is served. A file is replaced by another one of its name, and so is what
/// a link leads to by what lies beside it: then all beside it is read, unless that is everything.
/// The table of nodes may be a link, too.
fn served_at(served: &Path) -> Vec<PathBuf> {
    let Ok(real) = served.canonicalize() else { return Vec::new() };
    let table = served.join(nodes::TAB_NAME);
    let mut read = beside_links(table.clone());
    read.extend(if real.is_dir() { None } else { beside(&real) });
    read.push(real);
    if table.is_symlink() {
        read.extend(table.canonicalize().ok());
    }
    read
}

/// What lies beside that to which each link leads that this path goes through.
fn beside_links(path: PathBuf) -> Vec<PathBuf> {
    let (mut paths, mut links, mut found) = (vec![path], Vec::new(), Vec::new());
    while let Some(path) = paths.pop() {
        for at in path.ancestors() {
            let (Ok(target), Some(dir)) = (at.read_link(), at.parent()) else { continue };
            if links.iter().any(|link| link == at) {
                continue;
            }
            links.push(at.to_path_buf());
            // What the link says may go through others.
            paths.push(dir.join(target));
            found.extend(at.canonicalize().ok().and_then(|real| beside(&real)));
        }
    }
    found
}

fn beside(real: &Path) -> Option<PathBuf> {
    real.parent().filter(|dir| dir.parent().is_some()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::scratch::Dir;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_the_kernel_lacks_is_said_in_one_line() {
        let thread = std::thread::spawn(|| {
            let rules = vec![(PathBuf::from("/"), May::Change)];
            of::gain_no_more().unwrap();
            // Nobody is held back more than sixteen times over.
            for _ in 0..16 {
                hold_back(for_good(&rules, &[])).unwrap();
            }
            let missing = shut_in(&[], true, for_good(&rules, &[])).unwrap_err();
            assert!(
                missing.contains("shut xget in (Landlock: Argument list too long"),
                "{missing}"
            );
            assert!(!missing.contains("seccomp"), "{missing}");
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            assert!(status.contains("\nSeccomp:\t2\n"), "the rest is done nevertheless");
        });
        thread.join().unwrap();
    }

    #[test]
    fn a_child_of_a_boot_has_what_was_opened_for_it_and_no_path_takes_it_elsewhere() {
        let dir = Dir::new();
        dir.write("root/f", b"f");
        dir.write("secret", b"s");
        let opened = [named(&dir.join("root"), May::Read)];
        // Over to the root, and what was there is emptied.
        fs::rename(dir.join("root"), dir.join("moved")).unwrap();
        let path = dir.path().to_path_buf();
        let thread = std::thread::spawn(move || {
            child(&opened).unwrap();
            assert_eq!(fs::read(path.join("moved/f")).unwrap(), b"f");
            assert!(fs::write(path.join("moved/f"), b"g").is_err());
            assert!(fs::read(path.join("secret")).is_err());
            let status = fs::read_to_string("/proc/thread-self/status");
            assert!(status.is_err(), "nothing else is opened");
        });
        thread.join().unwrap();
    }

    #[test]
    fn a_master_reads_what_it_serves_and_beside_it_only_what_may_take_its_place() {
        let dir = Dir::new();
        fs::create_dir_all(dir.join("releases/5")).unwrap();
        fs::create_dir_all(dir.join("tables")).unwrap();
        let (release, releases) = (dir.join("releases/5"), dir.join("releases"));
        let file = dir.write("releases/a.img", b"a");
        symlink("releases/5", dir.join("current")).unwrap();
        assert_eq!(served_at(&release), std::slice::from_ref(&release));
        assert_eq!(served_at(&dir.join("current")), [releases.clone(), release.clone()]);
        assert_eq!(served_at(&file), [releases.clone(), file]);
        assert_eq!(served_at(Path::new("/etc")), [PathBuf::from("/etc")]);
        assert!(served_at(&dir.join("none")).is_empty());
        // A link above what is served, and one that leads through another.
        fs::create_dir_all(dir.join("releases/5/images")).unwrap();
        let images = release.join("images");
        assert_eq!(served_at(&dir.join("current/images")), [releases.clone(), images.clone()]);
        fs::create_dir_all(dir.join("served")).unwrap();
        symlink("../current/images", dir.join("served/now")).unwrap();
        let now = [release.clone(), releases.clone(), images];
        assert_eq!(served_at(&dir.join("served/now")), now);
        dir.write("tables/nodes.tab", b"");
        symlink("../../tables/nodes.tab", release.join("nodes.tab")).unwrap();
        let rules = master_rules(&release, Some(&dir.join("cache/1234")));
        let read = [dir.join("tables"), release, dir.join("tables/nodes.tab")];
        let mut wanted = read.map(|path| (path, May::Read)).to_vec();
        wanted.push((dir.join("cache"), May::Keep));
        assert_eq!(rules, wanted);
        // One of the root directory, of which nothing else is read.
        let dir = Dir::new();
        symlink("/etc/passwd", dir.join("nodes.tab")).unwrap();
        symlink("/", dir.join("root")).unwrap();
        let root = dir.join("root");
        assert_eq!(served_at(&root.join("etc")), [PathBuf::from("/etc")]);
        assert_eq!(served_at(dir.path())[2], PathBuf::from("/etc/passwd"));
    }
}
