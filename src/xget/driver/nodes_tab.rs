//! `nodes.tab` of the served directory: read when it changed.
//!
//! Knows which file was read last. Refuses to know what its lines mean.

use nodes::{TAB_BYTES_MAX, Table};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// By which a file is another, or has other contents: inode, size, mtime, ctime.
type Stamp = [i64; 6];

const NAME: &str = "nodes.tab";

pub(super) struct NodesTab {
    path: PathBuf,
    /// Of what was read last; none where there was nothing.
    seen: Option<Stamp>,
    /// Why it could not be looked at or read, the last time.
    unread: Option<io::ErrorKind>,
}

impl NodesTab {
    /// That of a served directory; a file that is served has none.
    pub fn of(served: &Path) -> NodesTab {
        NodesTab { path: served.join(NAME), seen: None, unread: None }
    }

    /// What is there now, if it is other than at the last look: the table, none, or what is
    /// wrong with it.
    pub fn look(&mut self) -> Option<Result<Option<Table>, String>> {
        let found = match std::fs::metadata(&self.path) {
            Ok(found) => Some(found),
            Err(error) if is_absence(error.kind()) => None,
            // It may be there: what it said holds, and it is looked at again.
            Err(error) => return self.unread(error),
        };
        let stamp = found.as_ref().map(|at| {
            let (ino, size) = (at.ino() as i64, at.size() as i64);
            [ino, size, at.mtime(), at.mtime_nsec(), at.ctime(), at.ctime_nsec()]
        });
        if stamp == self.seen && self.unread.is_none() {
            return None;
        }
        let bytes = match &found {
            Some(found) if found.is_file() => match read(&self.path) {
                Ok(bytes) => Some(Ok(bytes)),
                Err(error) => return self.unread(error),
            },
            Some(_) => Some(Err("is no file".into())),
            None => None,
        };
        (self.seen, self.unread) = (stamp, None);
        let parse = |bytes: Vec<u8>| Table::parse(&bytes).map_err(|fault| fault.to_string());
        Some(bytes.map(|bytes| bytes.and_then(parse)).transpose())
    }

    /// The same reason is said once.
    fn unread(&mut self, error: io::Error) -> Option<Result<Option<Table>, String>> {
        let is_news = self.unread.replace(error.kind()) != Some(error.kind());
        is_news.then(|| Err(format!("cannot read it: {error}")))
    }
}

fn is_absence(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// As much of it as shows that it is too much.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(TAB_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::scratch::Dir;

    fn said(tab: &mut NodesTab) -> Option<Result<Option<usize>, String>> {
        Some(tab.look()?.map(|table| table.map(|table| table.nodes_count())))
    }

    #[test]
    fn what_cannot_be_looked_at_is_no_absence_and_is_looked_at_again() {
        let dir = Dir::new();
        let path = dir.write("nodes.tab", b"n1");
        let mut tab = NodesTab::of(dir.path());
        assert_eq!(said(&mut tab), Some(Ok(Some(1))));
        let aside = dir.join("aside");
        std::fs::rename(&path, &aside).unwrap();
        std::os::unix::fs::symlink("nodes.tab", &path).unwrap();
        assert!(matches!(said(&mut tab), Some(Err(why)) if why.starts_with("cannot read it: ")));
        assert_eq!(said(&mut tab), None, "said once");
        std::fs::rename(&aside, &path).unwrap();
        assert_eq!(said(&mut tab), Some(Ok(Some(1))));
        assert_eq!(said(&mut NodesTab::of(&path)), None, "a file that is served has none");
    }

    #[test]
    fn it_is_read_when_it_changed_and_not_else() {
        let dir = Dir::new();
        let mut tab = NodesTab::of(dir.path());
        assert_eq!(said(&mut tab), None, "there is none");
        let path = dir.write("nodes.tab", b"n[1-3]");
        assert_eq!((said(&mut tab), said(&mut tab)), (Some(Ok(Some(3))), None));
        dir.write("other", b"n1\nn1\n");
        std::fs::rename(dir.join("other"), &path).unwrap();
        let fault = "line 2, column 1: \"n1\": has a line already (line 1)";
        assert_eq!((said(&mut tab), said(&mut tab)), (Some(Err(fault.into())), None));
        std::fs::remove_file(&path).unwrap();
        assert_eq!((said(&mut tab), said(&mut tab)), (Some(Ok(None)), None));
        std::fs::create_dir(&path).unwrap();
        assert_eq!(said(&mut tab), Some(Err("is no file".into())));
    }

    #[test]
    fn one_that_is_too_large_is_not_read_whole() {
        let dir = Dir::new();
        File::create(dir.join("nodes.tab")).unwrap().set_len(1 << 40).unwrap();
        let fault = said(&mut NodesTab::of(dir.path())).unwrap().unwrap_err();
        assert!(fault.ends_with("the file is larger than 1 MiB"), "{fault}");
    }
}
