//! A master's and a client's name space of the small tree, and the requests
//! of one connection, for the tests of every control file.

use super::bulk::Bulk;
use super::file_id::FileId;
use super::generation::{Content, Generation, GenerationId};
use super::space::{NameSpace, Notice};
use crate::content::manifest::Manifest;
use crate::content::pieces::{ManifestPieces, PieceMap};
use crate::testing::small;
use alloc::rc::Rc;
use alloc::string::String;
use ninep::server::{Access, Answer, ConnId, OpenId, Ticket, Tree};
use ninep::{ENOTDIR, Error, QTFILE};

pub const CONN: ConnId = ConnId(7);
pub const READ: Access = Access { read: true, write: false, truncate: false };
pub const WRITE: Access = Access { read: false, write: true, truncate: true };
pub const READ_WRITE: Access = Access { read: true, write: true, truncate: false };

pub fn opener(serial: u64) -> OpenId {
    OpenId { conn: CONN, serial }
}

pub fn ticket(serial: u64) -> Ticket {
    Ticket { conn: CONN, serial }
}

/// A master that serves the small tree of the manifest's tests.
pub fn master() -> (NameSpace, GenerationId) {
    let mut space = NameSpace::new(true, 10);
    space.add_peer(CONN, "10.0.0.9:5000".parse().unwrap());
    let id = space.add_generation(Generation::whole(Rc::new(small()), None));
    assert!(space.show(id, "info\n".into()).is_empty());
    (space, id)
}

/// A client that knows the manifest of the small tree and holds no content.
pub fn client() -> (NameSpace, GenerationId) {
    client_of(small())
}

pub fn client_of(manifest: Manifest) -> (NameSpace, GenerationId) {
    let bytes = manifest.encode();
    let pieces = ManifestPieces::of(&bytes, manifest.piece_len);
    let mut space = NameSpace::new(false, 0);
    let id = space.add_generation(Generation::empty(pieces.clone(), 4));
    for piece in 0..pieces.count() {
        let woken = space.hold_manifest(id, piece, &bytes[pieces.range(piece)]);
        assert!(woken.unwrap().is_empty());
    }
    let map = Rc::new(PieceMap::new(pieces, &manifest));
    space.set_content(id, Rc::new(Content { manifest: Rc::new(manifest), map }), u32::MAX);
    space.show(id, "info\n".into());
    (space, id)
}

/// A client that knows nothing yet but the name of a generation, and whose root
/// shows nothing.
pub fn newcomer() -> (NameSpace, GenerationId) {
    let bytes = [7; 4097];
    let mut pieces = ManifestPieces::of(&bytes, 4096);
    pieces.list.clear();
    let mut space = NameSpace::new(false, 0);
    let id = space.add_generation(Generation::empty(pieces, 4));
    (space, id)
}

pub fn walk(space: &mut NameSpace, aname: &[u8], path: &str) -> Result<FileId, Error> {
    let mut file = space.attach(CONN, None, aname)?;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        file = space.walk(&file, name.as_bytes())?;
    }
    Ok(file)
}

/// The file at this path of the paper's view.
pub fn file(space: &mut NameSpace, path: &str) -> FileId {
    walk(space, b"", path).unwrap()
}

/// The path of a file of a generation.
pub fn of_generation(space: &NameSpace, id: GenerationId, name: &str) -> String {
    alloc::format!(".xget/{}/{name}", space.generation(id).unwrap().digest())
}

/// The names in a directory.
pub fn list(space: &NameSpace, dir: FileId) -> Vec<String> {
    entries(space, dir).into_iter().map(|(name, _)| name).collect()
}

fn entries(space: &NameSpace, dir: FileId) -> Vec<(String, FileId)> {
    let mut entries = Vec::new();
    let mut cursor = 0;
    while let Some(entry) = space.entry(&dir, cursor, true) {
        assert!(entry.next > cursor, "a cursor moves on");
        cursor = entry.next;
        entries.push((String::from_utf8(entry.name).unwrap(), entry.file));
    }
    entries
}

/// Reads at most 99 bytes, under this number as opening and ticket.
pub fn read(
    space: &mut NameSpace,
    file: &FileId,
    offset: u64,
    serial: u64,
) -> Result<Answer<Bulk>, Error> {
    space.read(opener(serial), file, offset, 99, ticket(serial))
}

pub fn text(answer: Result<Answer<Bulk>, Error>) -> String {
    match answer {
        Ok(Answer::Bytes(bytes)) => String::from_utf8(bytes).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Reads a file of text in steps of 7 bytes, to its end and beyond.
pub fn read_all(space: &mut NameSpace, file: &FileId) -> String {
    let mut whole = String::new();
    loop {
        let offset = whole.len() as u64;
        let part = text(space.read(opener(1), file, offset, 7, ticket(1)));
        if part.is_empty() {
            assert_eq!(text(space.read(opener(1), file, offset + 1000, 7, ticket(1))), "");
            return whole;
        }
        assert!(part.len() <= 7);
        whole.push_str(&part);
    }
}

pub fn notices(space: &mut NameSpace) -> Vec<Notice> {
    core::iter::from_fn(|| space.poll_notice()).collect()
}

/// What stat and open say of a control file.
#[derive(Debug, PartialEq, Eq)]
pub struct Look {
    pub mode: u32,
    pub len: u64,
    pub version: u32,
    pub read: Result<(), Error>,
    pub write: Result<(), Error>,
}

/// Looks at a control file: it is a file, is listed once in its directory, as
/// what a walk finds, and has nothing below it. What its opening led to is dropped.
pub fn look(space: &mut NameSpace, path: &str) -> Look {
    let found = file(space, path);
    let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
    let dir = file(space, dir);
    let listed = entries(space, dir);
    assert_eq!(listed.iter().filter(|entry| **entry == (name.into(), found)).count(), 1);
    assert_eq!(listed.iter().filter(|(known, _)| known == name).count(), 1);
    for below in [&b"x"[..], b".."] {
        assert_eq!(space.walk(&found, below), Err(ENOTDIR));
    }
    assert_eq!(space.entry(&found, 0, true), None);
    let (attr, qid) = (space.attr(&found), space.qid(&found));
    assert_eq!((attr.qid, attr.nlink, qid.file_type), (qid, 1, QTFILE));
    assert_eq!((attr.name.as_slice(), attr.link.as_slice()), (name.as_bytes(), &b""[..]));
    let mut try_open = |access| {
        let result = space.open(opener(1), &found, access);
        if result.is_ok() {
            space.close(opener(1), &found);
        }
        result
    };
    let (read, write) = (try_open(READ), try_open(WRITE));
    assert_eq!(try_open(READ_WRITE).is_ok(), read.is_ok() && write.is_ok());
    notices(space);
    Look { mode: attr.mode, len: attr.size, version: qid.version, read, write }
}

/// What a file that can only be read looks like on a master, or on a client.
pub fn read_only(space: &NameSpace, len: u64) -> Look {
    let refused = if space.is_master() { ninep::EROFS } else { ninep::EACCES };
    Look { mode: 0o100444, len, version: 0, read: Ok(()), write: Err(refused) }
}

/// Writes are refused, whatever they say.
pub fn assert_not_writable(space: &mut NameSpace, file: &FileId) {
    for data in [&b""[..], b"x", b"4000 me"] {
        assert_eq!(space.write(opener(1), file, 0, data), Err(ninep::EROFS));
    }
    assert_eq!(notices(space), []);
}
