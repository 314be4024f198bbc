//! `nodes.tab` of the served directory: read when it changed, and has ceased to change.
//!
//! Knows which file was read last. Refuses to know what its lines mean.

use super::shut_in::RESTART;
use nodes::{TAB_BYTES_MAX, TAB_NAME, Table};
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// By which a file is another, or has other contents: inode, size, mtime, ctime.
type Stamp = [i64; 6];

/// A file that is written where it lies, and the moment in which an editor has its name free,
/// look like a change. It is one when it is the same after so long.
const SETTLED: Duration = Duration::from_secs(1);

/// What a look found.
#[derive(Debug)]
pub(super) enum Look {
    Same,
    /// It is to be looked at again: what it said before holds until then.
    Changing,
    /// The table, none, or what is wrong with it.
    News(Result<Option<Table>, String>),
}

pub(super) struct NodesTab {
    path: PathBuf,
    begun: Instant,
    /// Of what was read last; none where there was nothing.
    seen: Option<Stamp>,
    is_first: bool,
    /// What is there instead, and since when it is known.
    other: Option<(Option<Stamp>, Duration)>,
    /// Why it could not be looked at or read, the last time.
    unread: Option<io::ErrorKind>,
}

fn stamp(of: &Metadata) -> Stamp {
    let (ino, size) = (of.ino() as i64, of.size() as i64);
    [ino, size, of.mtime(), of.mtime_nsec(), of.ctime(), of.ctime_nsec()]
}

impl NodesTab {
    /// That of a served directory; a file that is served has none.
    pub fn of(served: &Path) -> NodesTab {
        NodesTab {
            path: served.join(TAB_NAME),
            begun: Instant::now(),
            seen: None,
            is_first: true,
            other: None,
            unread: None,
        }
    }

    pub fn look(&mut self) -> Look {
        self.look_at(self.begun.elapsed())
    }

    fn look_at(&mut self, now: Duration) -> Look {
        let found = match std::fs::metadata(&self.path) {
            Ok(found) => Some(found),
            Err(error) if is_absence(error.kind()) => match self.is_blind() {
                Some(error) => return self.unread(error),
                None => None,
            },
            // It may be there: what it said holds, and it is looked at again.
            Err(error) => return self.unread(error),
        };
        let there = found.as_ref().map(stamp);
        if there == self.seen && self.unread.is_none() {
            (self.is_first, self.other) = (false, None);
            return Look::Same;
        }
        // What is there at the start nobody waits for.
        if !self.is_settled(found.as_ref(), now) && !self.is_first {
            return Look::Changing;
        }
        let bytes = match &found {
            Some(found) if found.is_file() => match read(&self.path) {
                Ok((bytes, read)) if Some(read) == there => Some(Ok(bytes)),
                Ok(_) if self.is_first => Some(Err("is being written".into())),
                Ok(_) => return Look::Changing,
                Err(error) => return self.unread(error),
            },
            Some(_) => Some(Err("is no file".into())),
            None => None,
        };
        (self.seen, self.is_first, self.other, self.unread) = (there, false, None, None);
        let parse = |bytes: Vec<u8>| Table::parse(&bytes).map_err(|fault| fault.to_string());
        Look::News(bytes.map(|bytes| bytes.and_then(parse)).transpose())
    }

    /// Whether it has been so for long enough: since it is known, or as it says itself.
    fn is_settled(&mut self, found: Option<&Metadata>, now: Duration) -> bool {
        let there = found.map(stamp);
        let since = match self.other {
            Some((other, since)) if other == there => since,
            _ => now,
        };
        self.other = Some((there, since));
        let age = |found: &Metadata| found.modified().ok()?.elapsed().ok();
        now >= since + SETTLED || found.and_then(age).is_some_and(|age| age >= 2 * SETTLED)
    }

    /// What keeps from knowing what is in the served directory: another one that has taken its
    /// place, for whoever reads what was there when he started.
    fn is_blind(&self) -> Option<io::Error> {
        self.seen?;
        File::open(self.path.parent()?).err()
    }

    /// The same reason is said once.
    fn unread(&mut self, error: io::Error) -> Look {
        self.is_first = false;
        match self.unread.replace(error.kind()) == Some(error.kind()) {
            true => Look::Same,
            false => {
                let advice = match error.kind() {
                    io::ErrorKind::PermissionDenied => RESTART,
                    _ => "",
                };
                Look::News(Err(format!("cannot read it: {error}{advice}")))
            }
        }
    }
}

fn is_absence(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// As much of it as shows that it is too much, and what it was if it was that all the time.
fn read(path: &Path) -> io::Result<(Vec<u8>, Stamp)> {
    let mut bytes = Vec::new();
    // A FIFO that took its place since it was looked at holds nobody: open(2).
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let before = stamp(&file.metadata()?);
    (&file).take(TAB_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    let after = stamp(&file.metadata()?);
    Ok((bytes, if before == after { after } else { Stamp::default() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::scratch::Dir;
    use std::time::SystemTime;

    const NEVER: Duration = Duration::from_secs(3_600);

    #[derive(Debug, PartialEq, Eq)]
    enum Said {
        Same,
        Changing,
        Nodes(usize),
        Gone,
        Wrong(String),
    }

    fn said(look: Look) -> Said {
        match look {
            Look::Same => Said::Same,
            Look::Changing => Said::Changing,
            Look::News(Ok(Some(table))) => Said::Nodes(table.nodes_count()),
            Look::News(Ok(None)) => Said::Gone,
            Look::News(Err(why)) => Said::Wrong(why),
        }
    }

    /// What is said at this second.
    fn at(tab: &mut NodesTab, second: u64) -> Said {
        said(tab.look_at(Duration::from_secs(second)))
    }

    #[test]
    fn what_cannot_be_looked_at_is_no_absence_and_is_looked_at_again() {
        let dir = Dir::new();
        let path = dir.write("nodes.tab", b"n1");
        let mut tab = NodesTab::of(dir.path());
        assert_eq!(at(&mut tab, 0), Said::Nodes(1), "at the start at once");
        let aside = dir.join("aside");
        std::fs::rename(&path, &aside).unwrap();
        std::os::unix::fs::symlink("nodes.tab", &path).unwrap();
        let Said::Wrong(why) = at(&mut tab, 1) else { panic!() };
        assert!(why.starts_with("cannot read it: "), "{why}");
        assert_eq!(at(&mut tab, 2), Said::Same, "said once");
        std::fs::rename(&aside, &path).unwrap();
        assert_eq!((at(&mut tab, 3), at(&mut tab, 4)), (Said::Changing, Said::Nodes(1)));
        assert_eq!(at(&mut NodesTab::of(&path), 0), Said::Same, "a file that is served has none");
    }

    #[test]
    fn where_the_directory_cannot_be_opened_nobody_knows_that_it_is_gone() {
        let dir = Dir::new();
        let served = dir.join("served");
        std::fs::create_dir(&served).unwrap();
        dir.write("served/nodes.tab", b"n1");
        let mut tab = NodesTab::of(&served);
        assert_eq!(at(&mut tab, 0), Said::Nodes(1));
        let aside = dir.join("aside");
        std::fs::rename(&served, &aside).unwrap();
        let Said::Wrong(why) = at(&mut tab, 1) else { panic!() };
        assert!(why.starts_with("cannot read it: No such file"), "{why}");
        assert_eq!(at(&mut tab, 9), Said::Same);
        std::fs::rename(&aside, &served).unwrap();
        std::fs::remove_file(served.join("nodes.tab")).unwrap();
        assert_eq!((at(&mut tab, 10), at(&mut tab, 12)), (Said::Changing, Said::Gone));
    }

    #[test]
    fn it_is_read_when_it_changed_and_not_else() {
        let dir = Dir::new();
        let mut tab = NodesTab::of(dir.path());
        assert_eq!(at(&mut tab, 0), Said::Same, "there is none");
        let path = dir.write("nodes.tab", b"n[1-3]");
        let seen = [1, 2, 3].map(|second| at(&mut tab, second));
        assert_eq!(seen, [Said::Changing, Said::Nodes(3), Said::Same]);
        dir.write("other", b"n1\nn1\n");
        std::fs::rename(dir.join("other"), &path).unwrap();
        let fault = "line 2, column 1: \"n1\": has a line already (line 1)";
        let seen = [4, 5, 6].map(|second| at(&mut tab, second));
        assert_eq!(seen, [Said::Changing, Said::Wrong(fault.into()), Said::Same]);
        std::fs::remove_file(&path).unwrap();
        assert_eq!((at(&mut tab, 7), at(&mut tab, 8)), (Said::Changing, Said::Gone));
        std::fs::create_dir(&path).unwrap();
        let wrong = Said::Wrong("is no file".into());
        assert_eq!((at(&mut tab, 9), at(&mut tab, 10)), (Said::Changing, wrong));
    }

    #[test]
    fn one_that_is_being_written_is_not_believed() {
        let dir = Dir::new();
        let path = dir.write("nodes.tab", b"n1 - debian all,gpu\n");
        let mut tab = NodesTab::of(dir.path());
        assert_eq!(at(&mut tab, 0), Said::Nodes(1));
        // An editor has it away, writes the half, and then the whole.
        std::fs::remove_file(&path).unwrap();
        assert_eq!(at(&mut tab, 1), Said::Changing);
        dir.write("nodes.tab", b"n[1-2] - debian all");
        assert_eq!(at(&mut tab, 2), Said::Changing);
        dir.write("nodes.tab", b"n[1-2] - debian all,gpu\n");
        assert_eq!(at(&mut tab, 3), Said::Changing);
        let Look::News(Ok(Some(table))) = tab.look_at(Duration::from_secs(4)) else { panic!() };
        let name = nodes::Key::new(nodes::Kind::Name, "n2").unwrap();
        assert_eq!(table.named(&name).unwrap().layers, ["all", "gpu"]);
        // It was away for a moment, and is what it was.
        std::fs::rename(&path, dir.join("aside")).unwrap();
        assert_eq!(at(&mut tab, 5), Said::Changing);
        dir.write("nodes.tab", b"n[1-2] - debian all,gpu\n");
        assert_eq!((at(&mut tab, 6), at(&mut tab, 7)), (Said::Changing, Said::Nodes(2)));
    }

    #[test]
    fn one_that_says_that_it_is_old_is_believed_at_once_and_one_of_the_future_after_a_second() {
        let dir = Dir::new();
        let mut tab = NodesTab::of(dir.path());
        assert_eq!(at(&mut tab, 0), Said::Same);
        let write = |text: &[u8], time: SystemTime| {
            let path = dir.write("nodes.tab", text);
            File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
        };
        write(b"n1", SystemTime::now() - NEVER);
        assert_eq!(at(&mut tab, 1), Said::Nodes(1));
        write(b"n[1-2]", SystemTime::now() + NEVER);
        assert_eq!((at(&mut tab, 2), at(&mut tab, 3)), (Said::Changing, Said::Nodes(2)));
    }

    #[test]
    fn a_fifo_in_its_place_holds_nobody() {
        let dir = Dir::new();
        let path = dir.join("nodes.tab");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(at(&mut NodesTab::of(dir.path()), 0), Said::Wrong("is no file".into()));
        // It was a file when it was looked at.
        let (done, is_done) = std::sync::mpsc::channel();
        std::thread::spawn(move || done.send(read(&path).map(|(bytes, _)| bytes)));
        let read = is_done.recv_timeout(Duration::from_secs(20)).expect("it waits for a writer");
        assert_eq!(read.unwrap(), b"");
    }

    #[test]
    fn one_that_is_too_large_is_not_read_whole() {
        let dir = Dir::new();
        File::create(dir.join("nodes.tab")).unwrap().set_len(1 << 40).unwrap();
        let Said::Wrong(fault) = at(&mut NodesTab::of(dir.path()), 0) else { panic!() };
        assert!(fault.ends_with("the file is larger than 1 MiB"), "{fault}");
    }
}
