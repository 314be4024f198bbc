//! The file `nodes.tab`: read within bounds, and replaced as a whole.
//!
//! A change is made under a lock of the served directory, from what the file says then, is
//! written beside it and put in its place in one step. A table that the master would refuse
//! is never written. Knows no lines.

use crate::failure::{Doing, Failure, Outcome};
use crate::head::Head;
use crate::interrupt;
use nodes::{Fault, TAB_BYTES_MAX, Table};
use rustix::fs::{Gid, Uid, fchown};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long another change may take: that of a thousand nodes' layers.
const LOCK_PATIENCE: Duration = Duration::from_secs(60);
const LOCK_RETRY: Duration = Duration::from_millis(50);
/// Where it is written first: a name of the kind that a master leaves out. Who has the lock
/// has it, and what a killed one left is written over.
const BESIDE: &str = ".xget-nodes-tab.part";

/// Its bytes; `None` where there is none.
pub fn read_bytes(path: &Path) -> Outcome<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.doing("open", path)?,
    };
    let mut bytes = Vec::new();
    let most = TAB_BYTES_MAX as u64 + 1;
    file.take(most).read_to_end(&mut bytes).doing("read", path)?;
    Ok(Some(bytes))
}

fn wrong(path: &Path, fault: &Fault) -> Failure {
    Failure::wrong(format!("{}: {fault}", path.display()))
}

/// Reads it; an empty one where there is none.
pub fn read(head: &Head) -> Outcome<Table> {
    read_with_text(head).map(|(table, _)| table)
}

/// And the text that it is of.
pub fn read_with_text(head: &Head) -> Outcome<(Table, String)> {
    let path = head.nodes_tab();
    let bytes = read_bytes(&path)?.unwrap_or_default();
    let table = Table::parse(&bytes).map_err(|fault| wrong(&path, &fault))?;
    // A table is of UTF-8.
    Ok((table, String::from_utf8_lossy(&bytes).into_owned()))
}

/// The addresses that are keys of single lines, of a file that is wrong as a whole.
pub fn addresses_of_lines(head: &Head) -> Vec<(IpAddr, IpAddr)> {
    // What cannot be read was said by who read it first.
    let bytes = read_bytes(&head.nodes_tab()).ok().flatten().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let keys = text.lines().filter_map(|line| line.split_whitespace().next());
    let tables = keys.flat_map(|keys| keys.split(',')).map(|key| Table::parse(key.as_bytes()));
    tables.flatten().flat_map(|table| table.ranges().collect::<Vec<_>>()).collect()
}

/// The file while nobody else with this program changes it.
pub struct Locked {
    path: PathBuf,
    _lock: File,
    before: Option<Vec<u8>>,
}

impl Locked {
    pub fn open(head: &Head) -> Outcome<Locked> {
        let named = head.nodes_tab();
        // What a link leads to is changed, and not the link.
        let path = match named.canonicalize() {
            Err(error) if error.kind() == ErrorKind::NotFound => named,
            found => found.doing("look at", &head.nodes_tab())?,
        };
        let dir = path.parent().unwrap_or(&head.dir);
        let lock = File::open(dir).doing("open", dir)?;
        let deadline = Instant::now() + LOCK_PATIENCE;
        loop {
            interrupt::check()?;
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(LOCK_RETRY);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(Failure::machine(format!(
                        "{} is being changed by another xgetctl (a lock of {}): try again when \
                         that is done",
                        path.display(),
                        dir.display()
                    )));
                }
                Err(TryLockError::Error(error)) => Err(error).doing("lock", dir)?,
            }
        }
        let before = read_bytes(&path)?;
        Ok(Locked { path, _lock: lock, before })
    }

    /// What it says now, which is sound.
    pub fn text(&self) -> Outcome<&str> {
        let bytes = self.before.as_deref().unwrap_or_default();
        Table::parse(bytes).map_err(|fault| {
            Failure::wrong(format!("{}; mend that first", wrong(&self.path, &fault).text))
        })?;
        str::from_utf8(bytes).map_err(|error| Failure::wrong(error.to_string()))
    }

    /// Whether this text could take its place.
    pub fn check(&self, text: &str) -> Outcome<Table> {
        Table::parse(text.as_bytes()).map_err(|fault| {
            Failure::wrong(format!(
                "nothing is changed; {} would be wrong: {fault}",
                self.path.display()
            ))
        })
    }

    /// Whether it says this by now.
    pub fn is_now(&self, text: &str) -> bool {
        matches!(read_bytes(&self.path), Ok(Some(bytes)) if bytes == text.as_bytes())
    }

    /// Puts it in its place.
    pub fn replace(&self, text: &str) -> Outcome {
        self.check(text)?;
        let beside = self.path.with_file_name(BESIDE);
        let done = self.write(text, &beside).and_then(|()| {
            interrupt::check()?;
            if read_bytes(&self.path)? != self.before {
                return Err(Failure::machine(format!(
                    "{} was changed by something else meanwhile (an editor?); nothing is \
                     written: run this again",
                    self.path.display()
                )));
            }
            fs::rename(&beside, &self.path).doing("put in place", &self.path)
        });
        if done.is_err() {
            // It is in nobody's way, if it is there at all.
            let _ = fs::remove_file(&beside);
        }
        done?;
        match self.path.parent() {
            Some(dir) => File::open(dir).and_then(|dir| dir.sync_all()).doing("sync", dir),
            None => Ok(()),
        }
    }

    fn write(&self, text: &str, beside: &Path) -> Outcome {
        // A link that somebody laid there is not followed: it is removed.
        match fs::remove_file(beside) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
        .doing("remove", beside)?;
        let mut new = OpenOptions::new();
        let mut file =
            new.write(true).create_new(true).mode(0o644).open(beside).doing("make", beside)?;
        file.write_all(text.as_bytes()).doing("write", beside)?;
        if let Ok(old) = fs::metadata(&self.path) {
            let ours = file.metadata().doing("look at", beside)?;
            if (old.uid(), old.gid()) != (ours.uid(), ours.gid()) {
                let (uid, gid) = (Uid::from_raw(old.uid()), Gid::from_raw(old.gid()));
                fchown(&file, Some(uid), Some(gid)).doing("keep the owner of", &self.path)?;
            }
            let mode = fs::Permissions::from_mode(old.mode() & 0o7777);
            file.set_permissions(mode).doing("keep the mode of", &self.path)?;
        }
        file.sync_all().doing("write to the disk", beside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    fn head() -> (Scratch, Head) {
        let scratch = Scratch::new();
        let dir = scratch.to_path_buf();
        (scratch, Head { dir })
    }

    #[test]
    fn owner_mode_and_link_stay_and_nothing_else_is_left() {
        let (_scratch, head) = head();
        let real = head.dir.join("real");
        fs::write(&real, "n1\n").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("real", head.nodes_tab()).unwrap();
        let tab = Locked::open(&head).unwrap();
        assert_eq!(tab.text().unwrap(), "n1\n");
        tab.replace("n1\nn2\n").unwrap();
        assert!(head.nodes_tab().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "n1\nn2\n");
        assert_eq!(real.metadata().unwrap().mode() & 0o7777, 0o640);
        assert_eq!(fs::read_dir(&head.dir).unwrap().count(), 2);
    }

    #[test]
    fn what_an_editor_wrote_meanwhile_stays() {
        let (_scratch, head) = head();
        let tab = Locked::open(&head).unwrap();
        fs::write(head.nodes_tab(), "n9\n").unwrap();
        let refused = tab.replace("n1\n").unwrap_err();
        assert!(refused.text.contains("changed by something else meanwhile"), "{refused:?}");
        assert_eq!(fs::read_to_string(head.nodes_tab()).unwrap(), "n9\n");
        assert_eq!(fs::read_dir(&head.dir).unwrap().count(), 1);
    }

    #[test]
    fn what_a_master_would_refuse_is_not_written() {
        let (_scratch, head) = head();
        fs::write(head.nodes_tab(), "n1\n").unwrap();
        let tab = Locked::open(&head).unwrap();
        let refused = tab.replace("n1\nn1\n").unwrap_err();
        assert!(refused.text.ends_with("line 2, column 1: \"n1\": has a line already (line 1)"));
        assert_eq!(fs::read_to_string(head.nodes_tab()).unwrap(), "n1\n");
    }

    #[test]
    fn lines_have_their_addresses_where_another_is_wrong() {
        let (_scratch, head) = head();
        let text = "n1 n1 @none\n10.0.0.7,n[1-2] - debian\n# 10.0.0.8\n10.0.0.9-10.0.0.10\n";
        fs::write(head.nodes_tab(), text).unwrap();
        assert!(read(&head).is_err());
        let ip = |last: u8| IpAddr::from([10, 0, 0, last]);
        assert_eq!(addresses_of_lines(&head), [(ip(7), ip(7)), (ip(9), ip(10))]);
    }
}
