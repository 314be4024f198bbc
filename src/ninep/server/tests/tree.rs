//! A small tree of everything a session has to tell apart: directories, plain
//! files, a control file, one whose bytes have not arrived, a link.
//!
//! It checks its caller too: what is opened is closed once, only what is open
//! is read, a ticket is not used twice at the same time.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use crate::server::{Access, Answer, ConnId, DirEntry, OpenId, Ticket, Totals, Tree};
use crate::{
    Attr, EACCES, EINVAL, EIO, ENOENT, EROFS, Error, NO_AUTH, QTDIR, QTFILE, QTSYMLINK, Qid,
};

pub(super) const FILE_LEN: usize = 10_000;
pub(super) const MANY: usize = 60;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NodeKind {
    Dir,
    File,
    /// Takes writes, gives back the last one.
    Ctl,
    /// Parks until `TestTree::arrived`.
    Parked,
    /// Stored bytes, named by their offset.
    Bulk,
    Link,
    /// A link, and a file, of which all is as long as can be.
    LongLink,
    LongFile,
    /// Nobody may open it.
    Secret,
    /// Opens, but every read fails.
    Broken,
}

struct Node {
    name: Vec<u8>,
    kind: NodeKind,
    parent: usize,
    /// Stands in its directory; a removed one still exists for who holds it.
    listed: bool,
}

pub(super) struct TestTree {
    nodes: Vec<Node>,
    pub open: BTreeSet<OpenId>,
    pub closed: BTreeSet<OpenId>,
    pub waiting: BTreeSet<Ticket>,
    pub forgotten: Vec<Ticket>,
    pub arrived: bool,
    pub written: Vec<u8>,
    pub truncated: bool,
    pub gone: BTreeSet<usize>,
    /// Openings by which somebody authenticates himself.
    pub proofs: BTreeSet<OpenId>,
}

pub(super) fn file_bytes(offset: usize, count: usize) -> Vec<u8> {
    (offset..FILE_LEN.min(offset.saturating_add(count))).map(|at| (at % 251) as u8).collect()
}

impl TestTree {
    pub fn new() -> TestTree {
        let mut tree = TestTree {
            nodes: Vec::new(),
            open: BTreeSet::new(),
            closed: BTreeSet::new(),
            waiting: BTreeSet::new(),
            forgotten: Vec::new(),
            arrived: false,
            written: Vec::new(),
            truncated: false,
            gone: BTreeSet::new(),
            proofs: BTreeSet::new(),
        };
        let root = tree.add(0, "/", NodeKind::Dir);
        tree.add(root, "file", NodeKind::File);
        let dir = tree.add(root, "dir", NodeKind::Dir);
        tree.add(dir, "inner", NodeKind::File);
        tree.add(root, "ctl", NodeKind::Ctl);
        tree.add(root, "parked", NodeKind::Parked);
        tree.add(root, "bulk", NodeKind::Bulk);
        tree.add(root, "link", NodeKind::Link);
        tree.add(root, "secret", NodeKind::Secret);
        tree.add(root, "broken", NodeKind::Broken);
        tree.add(root, "empty", NodeKind::Dir);
        let many = tree.add(root, "many", NodeKind::Dir);
        for number in 0..MANY {
            tree.add(many, &format!("entry-{number:03}"), NodeKind::File);
        }
        let named = tree.add(root, "names", NodeKind::Dir);
        tree.add(named, &"n".repeat(255), NodeKind::File);
        let worst = tree.add(root, "worst", NodeKind::Dir);
        tree.add(worst, &"a".repeat(255), NodeKind::LongFile);
        tree.add(worst, &"b".repeat(255), NodeKind::LongLink);
        tree.add(worst, &"c".repeat(255), NodeKind::LongFile);
        tree
    }

    fn add(&mut self, parent: usize, name: &str, kind: NodeKind) -> usize {
        self.nodes.push(Node { name: name.into(), kind, parent, listed: true });
        self.nodes.len() - 1
    }

    /// Names come and go while a directory is listed.
    pub fn unlist(&mut self, name: &str) {
        let node = self.nodes.iter_mut().find(|node| node.name == name.as_bytes());
        node.expect("a known name").listed = false;
    }

    /// The file `name` is from now on what `like` is.
    pub fn turn(&mut self, name: &str, like: &str) {
        let at = |name: &str| self.child(0, name.as_bytes()).expect("a known name");
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

impl Tree for TestTree {
    type File = usize;
    type Bulk = u64;

    fn is_gone(&self, file: &usize) -> bool {
        self.gone.contains(file)
    }

    fn auth(&mut self, open_id: OpenId, aname: &[u8]) -> Result<usize, Error> {
        if aname != b"keyed" {
            return Err(NO_AUTH);
        }
        assert!(self.open.insert(open_id) && self.proofs.insert(open_id));
        Ok(self.nodes.iter().position(|node| matches!(node.kind, NodeKind::Ctl)).expect("there"))
    }

    fn attach(&mut self, _: ConnId, proof: Option<OpenId>, aname: &[u8]) -> Result<usize, Error> {
        let is_proved = proof.is_some_and(|proof| self.proofs.contains(&proof));
        match aname {
            b"keyed" if is_proved => Ok(0),
            b"keyed" => Err(EACCES),
            _ if proof.is_some() => Err(NO_AUTH),
            b"" | b"/" => Ok(0),
            b"dir" => Ok(2),
            _ => Err(ENOENT),
        }
    }

    fn walk(&mut self, from: &usize, name: &[u8]) -> Result<usize, Error> {
        assert_eq!(self.nodes[*from].kind, NodeKind::Dir, "walk from what is no directory");
        assert!(!name.is_empty() && name != b"." && !name.contains(&b'/'));
        match name {
            b".." => Ok(self.nodes[*from].parent),
            _ => self.child(*from, name).ok_or(ENOENT),
        }
    }

    fn qid(&self, file: &usize) -> Qid {
        let file_type = match self.nodes[*file].kind {
            NodeKind::Dir => QTDIR,
            NodeKind::Link | NodeKind::LongLink => QTSYMLINK,
            _ => QTFILE,
        };
        Qid { file_type, version: 1, path: *file as u64 + 100 }
    }

    fn attr(&self, file: &usize) -> Attr {
        let node = &self.nodes[*file];
        let mode = match node.kind {
            NodeKind::Dir => 0o040_555,
            NodeKind::Link | NodeKind::LongLink => 0o120_777,
            NodeKind::Ctl => 0o100_644,
            _ => 0o100_444,
        };
        let link = match node.kind {
            NodeKind::Link => b"file".to_vec(),
            NodeKind::LongLink => vec![b'l'; 4095],
            _ => Vec::new(),
        };
        let is_long = matches!(node.kind, NodeKind::LongFile | NodeKind::LongLink);
        let (owner, nlink) = if is_long { (u32::MAX, u32::MAX.into()) } else { (0, 1) };
        Attr {
            qid: self.qid(file),
            mode,
            uid: owner,
            gid: owner,
            nlink,
            size: FILE_LEN as u64,
            mtime_s: 1_700_000_000,
            name: node.name.clone(),
            link,
            ..Attr::default()
        }
    }

    fn entry(&self, dir: &usize, cursor: u64, links: bool) -> Option<DirEntry<usize>> {
        let from = usize::try_from(cursor).ok()?.max(1);
        let is_shown = |at: &usize| links || self.qid(at).file_type != QTSYMLINK;
        let file = (from..self.nodes.len())
            .filter(is_shown)
            .find(|at| self.nodes[*at].parent == *dir && self.nodes[*at].listed)?;
        let name = self.nodes[file].name.clone();
        Some(DirEntry { name, file, next: file as u64 + 1 })
    }

    fn open(&mut self, open_id: OpenId, file: &usize, access: Access) -> Result<(), Error> {
        match self.nodes[*file].kind {
            NodeKind::Secret => return Err(EACCES),
            NodeKind::Ctl => self.truncated |= access.truncate,
            _ if access.write => return Err(EROFS),
            _ => (),
        }
        assert!(!self.closed.contains(&open_id), "{open_id:?} was closed before");
        assert!(self.open.insert(open_id), "{open_id:?} is open already");
        Ok(())
    }

    fn close(&mut self, open_id: OpenId, _file: &usize) {
        assert!(self.open.remove(&open_id), "{open_id:?} is not open");
        assert!(self.closed.insert(open_id));
    }

    fn read(
        &mut self,
        open_id: OpenId,
        file: &usize,
        offset: u64,
        count: u32,
        ticket: Ticket,
    ) -> Result<Answer<u64>, Error> {
        assert!(self.open.contains(&open_id), "read without open");
        assert!(offset.checked_add(u64::from(count)).is_some());
        let left = (FILE_LEN as u64).saturating_sub(offset).min(u64::from(count));
        let kind = self.nodes[*file].kind;
        if kind != NodeKind::Parked || self.arrived {
            self.waiting.remove(&ticket);
        }
        match kind {
            NodeKind::Dir => panic!("read of a directory"),
            NodeKind::Broken => Err(EIO),
            NodeKind::Ctl => Ok(Answer::Bytes(self.written.clone())),
            NodeKind::Bulk => Ok(Answer::Bulk { what: offset, len: left as u32 }),
            NodeKind::Parked if !self.arrived => {
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
        open_id: OpenId,
        _file: &usize,
        offset: u64,
        data: &[u8],
    ) -> Result<u32, Error> {
        assert!(self.open.contains(&open_id), "write without open");
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
