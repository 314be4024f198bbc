//! A tree with one of everything that a server session tells apart.
//!
//! It checks its caller: what is opened is closed once, only what is open is
//! read, a ticket that is forgotten was waiting.

use ninep::server::{Access, Answer, ConnId, DirEntry, OpenId, Ticket, Tree};
use ninep::{Attr, EACCES, EINVAL, EIO, ENOENT, EROFS, Error, QTDIR, QTFILE, QTSYMLINK, Qid};
use std::collections::BTreeSet;

const FILE_LEN: u64 = 10_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Dir,
    /// Small replies, carried.
    File,
    /// Stored bytes, named.
    Bulk,
    /// Takes writes, gives back the last one.
    Control,
    /// Parks until `has_arrived`.
    Late,
    Link,
    /// Nobody may open it.
    Secret,
    /// Every read fails.
    Broken,
}

/// Name, what it is, and the directory that holds it; the root is its own.
const NODES: [(&[u8], Role, usize); 11] = [
    (b"/", Role::Dir, 0),
    (b"file", Role::File, 0),
    (b"dir", Role::Dir, 0),
    (b"inner", Role::File, 2),
    (b"ctl", Role::Control, 0),
    (b"late", Role::Late, 0),
    (b"bulk", Role::Bulk, 0),
    (b"link", Role::Link, 0),
    (b"secret", Role::Secret, 0),
    (b"broken", Role::Broken, 0),
    (b"empty", Role::Dir, 2),
];

/// What is open and what waits, as a server's tree sees it.
#[derive(Default)]
pub struct SmallTree {
    pub open: BTreeSet<OpenId>,
    pub waiting: BTreeSet<Ticket>,
    pub has_arrived: bool,
    closed: BTreeSet<OpenId>,
    written: Vec<u8>,
}

impl Tree for SmallTree {
    type File = usize;
    type Bulk = u64;

    fn attach(&mut self, _: ConnId, _: Option<OpenId>, aname: &[u8]) -> Result<usize, Error> {
        match aname {
            b"" | b"/" => Ok(0),
            b"dir" => Ok(2),
            _ => Err(ENOENT),
        }
    }

    fn walk(&mut self, from: &usize, name: &[u8]) -> Result<usize, Error> {
        assert!(NODES[*from].1 == Role::Dir, "walk from what is no directory");
        assert!(!name.is_empty() && name != b"." && !name.contains(&b'/'));
        if name == b".." {
            return Ok(NODES[*from].2);
        }
        (1..NODES.len()).find(|at| NODES[*at].2 == *from && NODES[*at].0 == name).ok_or(ENOENT)
    }

    fn qid(&self, file: &usize) -> Qid {
        let file_type = match NODES[*file].1 {
            Role::Dir => QTDIR,
            Role::Link => QTSYMLINK,
            _ => QTFILE,
        };
        Qid { file_type, version: 1, path: *file as u64 }
    }

    fn attr(&self, file: &usize) -> Attr {
        let (name, role, _) = NODES[*file];
        let (mode, link) = match role {
            Role::Dir => (0o040_555, Vec::new()),
            Role::Link => (0o120_777, b"file".to_vec()),
            Role::Control => (0o100_644, Vec::new()),
            _ => (0o100_444, Vec::new()),
        };
        let (name, qid) = (name.to_vec(), self.qid(file));
        Attr { qid, mode, name, link, size: FILE_LEN, ..Attr::default() }
    }

    fn entry(&self, dir: &usize, cursor: u64, links: bool) -> Option<DirEntry<usize>> {
        let from = usize::try_from(cursor).ok()?.max(1);
        let is_shown = |at: &usize| links || NODES[*at].1 != Role::Link;
        let file = (from..NODES.len()).find(|at| NODES[*at].2 == *dir && is_shown(at))?;
        Some(DirEntry { name: NODES[file].0.to_vec(), file, next: file as u64 + 1 })
    }

    fn open(&mut self, opener: OpenId, file: &usize, access: Access) -> Result<(), Error> {
        match NODES[*file].1 {
            Role::Secret => return Err(EACCES),
            Role::Control => {}
            _ if access.write => return Err(EROFS),
            _ => {}
        }
        assert!(!self.closed.contains(&opener), "an id of an opening comes back");
        assert!(self.open.insert(opener), "opened twice");
        Ok(())
    }

    fn close(&mut self, opener: OpenId, _file: &usize) {
        assert!(self.open.remove(&opener), "closed, but not open");
        self.closed.insert(opener);
    }

    fn read(
        &mut self,
        opener: OpenId,
        file: &usize,
        offset: u64,
        count: u32,
        ticket: Ticket,
    ) -> Result<Answer<u64>, Error> {
        assert!(self.open.contains(&opener), "read, but not open");
        assert!(offset.checked_add(count.into()).is_some(), "read beyond all files");
        let role = NODES[*file].1;
        if role == Role::Late && !self.has_arrived {
            self.waiting.insert(ticket);
            return Ok(Answer::Park);
        }
        self.waiting.remove(&ticket);
        let len = FILE_LEN.saturating_sub(offset).min(count.into()) as u32;
        match role {
            Role::Dir => panic!("read of a directory"),
            Role::Broken => Err(EIO),
            Role::Control => Ok(Answer::Bytes(self.written.clone())),
            Role::Bulk => Ok(Answer::Bulk { what: offset, len }),
            _ => Ok(Answer::Bytes(vec![7; len as usize])),
        }
    }

    fn write(
        &mut self,
        opener: OpenId,
        _file: &usize,
        offset: u64,
        data: &[u8],
    ) -> Result<u32, Error> {
        assert!(self.open.contains(&opener), "written, but not open");
        if offset != 0 {
            return Err(EINVAL);
        }
        self.written = data.to_vec();
        Ok(data.len() as u32)
    }

    fn forget(&mut self, ticket: Ticket) {
        assert!(self.waiting.remove(&ticket), "forgotten, but did not wait");
    }
}
