//! A small tree of everything a session has to tell apart: directories, plain
//! files, a control file, one whose bytes have not arrived, a link.
//!
//! It checks its caller too: what is opened is closed once, only what is open
//! is read, a ticket is not used twice at the same time.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;

use crate::server::{Access, Answer, ConnId, DirEntry, OpenId, Ticket, Totals, Tree};
use crate::{Attr, EACCES, EINVAL, EIO, ENOENT, EROFS, Error, QTDIR, QTFILE, QTSYMLINK, Qid};

pub(super) const FILE_LEN: usize = 10_000;
pub(super) const MANY: usize = 60;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Dir,
    File,
    /// Takes writes, gives back the last one.
    Ctl,
    /// Parks until `Garden::arrived`.
    Parked,
    /// Stored bytes, named by their offset.
    Bulk,
    Link,
    /// Nobody may open it.
    Secret,
    /// Opens, but every read fails.
    Broken,
}

struct Node {
    name: Vec<u8>,
    kind: Kind,
    parent: usize,
    /// Stands in its directory; a removed one still exists for who holds it.
    listed: bool,
}

pub(super) struct Garden {
    nodes: Vec<Node>,
    pub open: BTreeSet<OpenId>,
    pub closed: BTreeSet<OpenId>,
    pub waiting: BTreeSet<Ticket>,
    pub forgotten: Vec<Ticket>,
    pub arrived: bool,
    pub written: Vec<u8>,
    pub truncated: bool,
}

pub(super) fn file_bytes(offset: usize, count: usize) -> Vec<u8> {
    (offset..FILE_LEN.min(offset.saturating_add(count))).map(|at| (at % 251) as u8).collect()
}

impl Garden {
    pub fn planted() -> Garden {
        let mut garden = Garden {
            nodes: Vec::new(),
            open: BTreeSet::new(),
            closed: BTreeSet::new(),
            waiting: BTreeSet::new(),
            forgotten: Vec::new(),
            arrived: false,
            written: Vec::new(),
            truncated: false,
        };
        let root = garden.plant(0, "/", Kind::Dir);
        garden.plant(root, "file", Kind::File);
        let dir = garden.plant(root, "dir", Kind::Dir);
        garden.plant(dir, "inner", Kind::File);
        garden.plant(root, "ctl", Kind::Ctl);
        garden.plant(root, "parked", Kind::Parked);
        garden.plant(root, "bulk", Kind::Bulk);
        garden.plant(root, "link", Kind::Link);
        garden.plant(root, "secret", Kind::Secret);
        garden.plant(root, "broken", Kind::Broken);
        garden.plant(root, "empty", Kind::Dir);
        let many = garden.plant(root, "many", Kind::Dir);
        for number in 0..MANY {
            garden.plant(many, &format!("entry-{number:03}"), Kind::File);
        }
        let named = garden.plant(root, "names", Kind::Dir);
        garden.plant(named, &"n".repeat(255), Kind::File);
        garden
    }

    fn plant(&mut self, parent: usize, name: &str, kind: Kind) -> usize {
        self.nodes.push(Node { name: name.into(), kind, parent, listed: true });
        self.nodes.len() - 1
    }

    /// Names come and go while a directory is listed.
    pub fn unlist(&mut self, name: &str) {
        let node = self.nodes.iter_mut().find(|node| node.name == name.as_bytes());
        node.expect("a planted name").listed = false;
    }

    /// The file `name` is from now on what `like` is.
    pub fn turn(&mut self, name: &str, like: &str) {
        let at = |name: &str| self.child(0, name.as_bytes()).expect("a planted name");
        let (at, like) = (at(name), at(like));
        self.nodes[at].kind = self.nodes[like].kind;
    }

    fn child(&self, dir: usize, name: &[u8]) -> Option<usize> {
        (1..self.nodes.len()).find(|at| {
            let node = &self.nodes[*at];
            node.parent == dir && node.listed && node.name == name
        })
    }

    pub fn the_ticket(&self) -> Ticket {
        assert_eq!(self.waiting.len(), 1);
        *self.waiting.first().expect("counted")
    }
}

impl Tree for Garden {
    type File = usize;
    type Bulk = u64;

    fn attach(&mut self, _conn: ConnId, aname: &[u8]) -> Result<usize, Error> {
        match aname {
            b"" | b"/" => Ok(0),
            b"dir" => Ok(2),
            _ => Err(ENOENT),
        }
    }

    fn walk(&mut self, from: &usize, name: &[u8]) -> Result<usize, Error> {
        assert_eq!(self.nodes[*from].kind, Kind::Dir, "walk from what is no directory");
        assert!(!name.is_empty() && name != b"." && !name.contains(&b'/'));
        match name {
            b".." => Ok(self.nodes[*from].parent),
            _ => self.child(*from, name).ok_or(ENOENT),
        }
    }

    fn qid(&self, place: &usize) -> Qid {
        let kind = match self.nodes[*place].kind {
            Kind::Dir => QTDIR,
            Kind::Link => QTSYMLINK,
            _ => QTFILE,
        };
        Qid { kind, version: 1, path: *place as u64 + 100 }
    }

    fn attr(&self, place: &usize) -> Attr {
        let node = &self.nodes[*place];
        let mode = match node.kind {
            Kind::Dir => 0o040_555,
            Kind::Link => 0o120_777,
            Kind::Ctl => 0o100_644,
            _ => 0o100_444,
        };
        let link = if node.kind == Kind::Link { b"file".to_vec() } else { Vec::new() };
        Attr {
            qid: self.qid(place),
            mode,
            nlink: 1,
            size: FILE_LEN as u64,
            mtime_s: 1_700_000_000,
            name: node.name.clone(),
            link,
            ..Attr::default()
        }
    }

    fn entry(&self, dir: &usize, cursor: u64) -> Option<DirEntry<usize>> {
        let from = usize::try_from(cursor).ok()?.max(1);
        let place = (from..self.nodes.len())
            .find(|at| self.nodes[*at].parent == *dir && self.nodes[*at].listed)?;
        let name = self.nodes[place].name.clone();
        Some(DirEntry { name, place, next: place as u64 + 1 })
    }

    fn open(&mut self, opener: OpenId, place: &usize, access: Access) -> Result<(), Error> {
        match self.nodes[*place].kind {
            Kind::Secret => return Err(EACCES),
            Kind::Ctl => self.truncated |= access.truncate,
            _ if access.write => return Err(EROFS),
            _ => (),
        }
        assert!(!self.closed.contains(&opener), "{opener:?} was closed before");
        assert!(self.open.insert(opener), "{opener:?} is open already");
        Ok(())
    }

    fn close(&mut self, opener: OpenId, _place: &usize) {
        assert!(self.open.remove(&opener), "{opener:?} is not open");
        assert!(self.closed.insert(opener));
    }

    fn read(
        &mut self,
        opener: OpenId,
        place: &usize,
        offset: u64,
        count: u32,
        ticket: Ticket,
    ) -> Result<Answer<u64>, Error> {
        assert!(self.open.contains(&opener), "read without open");
        assert!(offset.checked_add(u64::from(count)).is_some());
        let left = (FILE_LEN as u64).saturating_sub(offset).min(u64::from(count));
        let kind = self.nodes[*place].kind;
        if kind != Kind::Parked || self.arrived {
            self.waiting.remove(&ticket);
        }
        match kind {
            Kind::Dir => panic!("read of a directory"),
            Kind::Broken => Err(EIO),
            Kind::Ctl => Ok(Answer::Bytes(self.written.clone())),
            Kind::Bulk => Ok(Answer::Bulk { what: offset, len: left as u32 }),
            Kind::Parked if !self.arrived => {
                self.waiting.insert(ticket);
                Ok(Answer::Park)
            }
            _ => {
                let offset = usize::try_from(offset).unwrap_or(usize::MAX);
                Ok(Answer::Bytes(file_bytes(offset, left as usize)))
            }
        }
    }

    fn write(
        &mut self,
        opener: OpenId,
        _place: &usize,
        offset: u64,
        data: &[u8],
    ) -> Result<u32, Error> {
        assert!(self.open.contains(&opener), "write without open");
        if offset != 0 {
            return Err(EINVAL);
        }
        self.written = data.to_vec();
        Ok(data.len() as u32)
    }

    fn forget(&mut self, ticket: Ticket) {
        assert!(self.waiting.remove(&ticket), "{ticket:?} did not wait");
        self.forgotten.push(ticket);
    }

    fn totals(&self) -> Totals {
        Totals { files: self.nodes.len() as u64, bytes: FILE_LEN as u64 }
    }
}
