//! The name space by its trait: what is listed, found, read, parked, woken.

use super::*;
use crate::content::digest;
use crate::content::manifest::{Entry, Manifest, stride};
use crate::content::pieces::{ManifestPieces, PieceMap};
use crate::testing::small;
use alloc::format;
use alloc::string::String;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

const CONN: ConnId = ConnId(7);

fn opener(serial: u64) -> OpenId {
    OpenId { conn: CONN, serial }
}

fn ticket(serial: u64) -> Ticket {
    Ticket { conn: CONN, serial }
}

const READ: Access = Access { read: true, write: false, truncate: false };
const WRITE: Access = Access { read: false, write: true, truncate: true };

/// A master that serves the small tree of the manifest's tests.
fn master() -> (NameSpace, GenerationId) {
    let mut space = NameSpace::new(true, 10);
    space.add_peer(CONN, "10.0.0.9:5000".parse().unwrap());
    let slot = space.add_generation(Generation::whole(Rc::new(small()), None));
    space.show(slot, "info\n".into());
    (space, slot)
}

/// A client that knows the manifest of the small tree and holds no content.
fn client() -> (NameSpace, GenerationId) {
    client_of(small())
}

fn client_of(manifest: Manifest) -> (NameSpace, GenerationId) {
    let bytes = manifest.encode();
    let manifest_pieces = ManifestPieces::of(&bytes, manifest.piece_len);
    let mut space = NameSpace::new(false, 0);
    let slot = space.add_generation(Generation::empty(manifest_pieces.clone(), 4));
    space.show(slot, String::new());
    for piece in 0..manifest_pieces.count() {
        assert!(space.hold_manifest(slot, piece, &bytes[manifest_pieces.range(piece)]).is_empty());
    }
    let map = Rc::new(PieceMap::new(manifest_pieces, &manifest));
    space.set_content(slot, Rc::new(Content { manifest: Rc::new(manifest), map }));
    (space, slot)
}

fn walk(space: &mut NameSpace, aname: &[u8], path: &str) -> Result<FileId, Error> {
    let mut place = space.attach(CONN, aname)?;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        place = space.walk(&place, name.as_bytes())?;
    }
    Ok(place)
}

fn list(space: &NameSpace, dir: FileId) -> Vec<String> {
    let mut names = Vec::new();
    let mut cursor = 0;
    while let Some(entry) = space.entry(&dir, cursor) {
        assert!(entry.next > cursor, "a cursor moves on");
        cursor = entry.next;
        names.push(String::from_utf8(entry.name).unwrap());
    }
    names
}

fn text(answer: Result<Answer<Bulk>, Error>) -> String {
    match answer {
        Ok(Answer::Bytes(bytes)) => String::from_utf8(bytes).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_papers_tree_has_a_directory_for_each_file_and_the_plain_one_the_file() {
    let (mut space, _) = master();
    let root = walk(&mut space, b"", "").unwrap();
    assert_eq!(list(&space, root), ["log", ".xget", "a", "b", "current"]);
    let plain = walk(&mut space, b"files", "").unwrap();
    assert_eq!(list(&space, plain), ["a", "b", "current", "log"], "a served log is not lost");
    let file = walk(&mut space, b"/", "b").unwrap();
    assert_eq!(list(&space, file), ["data", "redir", "avail", "checksum"]);
    let data = walk(&mut space, b"", "b/data").unwrap();
    assert_eq!(space.attr(&data).size, 3);
    assert_eq!(walk(&mut space, b"", "b/data/..").err(), Some(ninep::ENOTDIR));
    assert_eq!(walk(&mut space, b"", "b/.."), Ok(root));
    assert_eq!(walk(&mut space, b"", "a/nothing").err(), Some(ninep::ENOENT));
    assert_eq!(walk(&mut space, b"elsewhere", "").err(), Some(ninep::ENOENT));
    let link = walk(&mut space, b"", "current").unwrap();
    assert_eq!(space.attr(&link).link, b"a");
    let hard = walk(&mut space, b"files", "a/z").unwrap();
    assert_eq!(space.attr(&hard).size, 2, "another name has the file's length");
}

#[test]
fn generations_are_listed_and_walked_by_their_digest() {
    let (mut space, slot) = master();
    let digest = space.generation(slot).unwrap().digest().to_string();
    let control = walk(&mut space, b"", ".xget").unwrap();
    let names = list(&space, control);
    assert_eq!(names, ["info", "route", "status", "manifest", &digest]);
    let pieces = walk(&mut space, b"", &format!(".xget/{digest}/pieces")).unwrap();
    assert_eq!(pieces, FileId::Stream { slot, stream: Stream::Pieces });
    space.drop_generation(slot);
    let answer = space.read(opener(1), &pieces, 0, 10, ticket(1));
    assert_eq!(answer, Err(ninep::ESTALE));
}

#[test]
fn reads_of_what_is_not_here_wait_for_their_piece() {
    let (mut space, slot) = client();
    let data = walk(&mut space, b"", "b/data").unwrap();
    assert_eq!(space.read(opener(1), &data, 0, 99, ticket(1)), Ok(Answer::Park));
    let pieces = FileId::Stream { slot, stream: Stream::Pieces };
    let offset = u64::from(stride(small().piece_len));
    assert_eq!(space.read(opener(2), &pieces, offset, 99, ticket(2)), Ok(Answer::Park));
    assert_eq!(space.read(opener(3), &pieces, offset, 99, ticket(3)), Ok(Answer::Park));
    space.forget(ticket(3));
    assert_eq!(space.hold(slot, 1), [ticket(1), ticket(2)]);
    assert_eq!(space.hold(slot, 1), [], "held already");
    let what = Bulk::File { slot, entry: 2, offset: 1 };
    assert_eq!(space.read(opener(1), &data, 1, 99, ticket(4)), Ok(Answer::Bulk { what, len: 2 }));
    let what = Bulk::Piece { slot, piece: 1, skip: 2 };
    let answer = space.read(opener(2), &pieces, offset + 2, 99, ticket(5));
    assert_eq!(answer, Ok(Answer::Bulk { what, len: 3 }), "b and x, 5 bytes, from the third");
    assert_eq!(text(space.read(opener(2), &pieces, 9 * offset, 99, ticket(6))), "", "the end");
    assert_eq!(text(space.read(opener(2), &pieces, u64::MAX, 99, ticket(7))), "");
}

#[test]
fn a_read_within_a_very_large_file_waits_for_a_longer_piece() {
    let mut manifest = small();
    manifest.entries.truncate(2);
    let (list, size) = (vec![Digest::default(); 2049], 8192 * 4096 + 1);
    let digest = digest::of_list(&list, size, 16_384).unwrap();
    manifest.entries[1] =
        Entry { size, digest, kind: EntryKind::File, ..manifest.entries[1].clone() };
    manifest.lists = list;
    let (mut space, slot) = client_of(manifest);
    let first = space.generation(slot).unwrap().manifest_pieces.count();
    let data = walk(&mut space, b"", "a/data").unwrap();
    let across = |space: &mut NameSpace| space.read(opener(1), &data, 32_767, 2, ticket(1));
    assert_eq!(across(&mut space), Ok(Answer::Park));
    assert_eq!(space.hold(slot, first), []);
    assert_eq!(space.hold(slot, first + 1), [ticket(1)]);
    assert_eq!(across(&mut space), Ok(Answer::Park), "its second byte is in the next piece");
    assert_eq!(space.hold(slot, first + 2), [ticket(1)]);
    let what = Bulk::File { slot, entry: 1, offset: 32_767 };
    assert_eq!(across(&mut space), Ok(Answer::Bulk { what, len: 2 }));
    let pieces = FileId::Stream { slot, stream: Stream::Pieces };
    let place = u64::from(first + 1) * 16_384;
    let what = Bulk::Piece { slot, piece: first + 1, skip: 4 };
    let answer = space.read(opener(2), &pieces, place + 4, 99_999, ticket(2));
    assert_eq!(answer, Ok(Answer::Bulk { what, len: 16_380 }));
    assert_eq!(space.hold(slot, first + 2048), [], "the last byte");
    let last = space.read(opener(2), &data, 8192 * 4096, 99, ticket(2));
    let what = Bulk::File { slot, entry: 1, offset: 8192 * 4096 };
    assert_eq!(last, Ok(Answer::Bulk { what, len: 1 }));
    assert_eq!(space.attr(&pieces).size, u64::from(first + 2049) * 16_384);
}

#[test]
fn who_does_not_wait_reads_what_is_not_here_as_empty() {
    let (mut space, slot) = client();
    let held = FileId::Stream { slot, stream: Stream::Held };
    let first = space.generation(slot).unwrap().manifest_pieces.count();
    let offset =
        u64::from(first) * u64::from(space.generation(slot).unwrap().manifest_pieces.stride());
    assert_eq!(text(space.read(opener(2), &held, offset, 99, ticket(2))), "");
    assert_eq!(space.hold(slot, first), [], "nobody waits");
    let answer = space.read(opener(2), &held, offset, 99, ticket(3));
    assert!(matches!(answer, Ok(Answer::Bulk { what: Bulk::Piece { skip: 0, .. }, .. })));
}

#[test]
fn a_conversation_is_the_masters_alone_and_ends_with_its_fid() {
    let (mut space, _) = master();
    let route = walk(&mut space, b"", ".xget/route").unwrap();
    space.open(opener(1), &route, Access { read: true, write: true, truncate: false }).unwrap();
    assert_eq!(space.write(opener(1), &route, 0, b"join 1 5 .\nleave\n"), Ok(17));
    assert_eq!(space.poll_notice(), Some(Notice::RouteLine(opener(1), b"join 1 5 .".to_vec())));
    assert_eq!(space.poll_notice(), Some(Notice::RouteLine(opener(1), b"leave".to_vec())));
    assert_eq!(space.read(opener(1), &route, 0, 99, ticket(1)), Ok(Answer::Park));
    assert_eq!(space.answer(opener(1), "parent 0 me\n"), [ticket(1)]);
    assert_eq!(text(space.read(opener(1), &route, 0, 6, ticket(1))), "parent");
    assert_eq!(text(space.read(opener(1), &route, 0, 99, ticket(1))), " 0 me\n");
    space.close(opener(1), &route);
    assert_eq!(space.poll_notice(), Some(Notice::RouteClosed(opener(1))));
    assert!(space.answer(opener(1), "late").is_empty());
    let (mut worker, _) = client();
    assert!(worker.open(opener(1), &route, READ).is_err());
}

#[test]
fn a_conversation_that_nobody_reads_is_cut_off() {
    let (mut space, _) = master();
    space.open(opener(1), &FileId::Route, READ).unwrap();
    let line = "x".repeat(1000);
    for _ in 0..=ANSWERS_LEN_MAX / 1000 {
        space.answer(opener(1), &line);
    }
    assert_eq!(space.poll_notice(), Some(Notice::RouteClosed(opener(1))));
    assert!(space.read(opener(1), &FileId::Route, 0, 99, ticket(1)).is_err());
}

#[test]
fn the_papers_files_work_by_hand() {
    let (mut space, slot) = master();
    let redir = walk(&mut space, b"", "b/redir").unwrap();
    assert_eq!(text(space.read(opener(1), &redir, 0, 99, ticket(1))), "me");
    assert_eq!(text(space.read(opener(1), &redir, 2, 99, ticket(1))), "");
    let avail = walk(&mut space, b"", "b/avail").unwrap();
    space.open(opener(2), &avail, WRITE).unwrap();
    assert_eq!(space.write(opener(2), &avail, 0, b"4000 me\0"), Ok(8));
    let other = OpenId { conn: ConnId(8), serial: 1 };
    assert_eq!(text(space.read(other, &redir, 0, 99, ticket(1))), "10.0.0.9!4000");
    space.close(opener(2), &avail);
    assert_eq!(text(space.read(other, &redir, 0, 99, ticket(1))), "me");
    assert!(space.write(opener(2), &avail, 0, b"nonsense").is_err());
    let sum = walk(&mut space, b"", "a/z/checksum").unwrap();
    assert_eq!(space.read(opener(3), &sum, 0, 99, ticket(3)), Ok(Answer::Park));
    assert_eq!(space.poll_notice(), Some(Notice::ChecksumWanted(slot, 5)));
    assert_eq!(space.set_checksum(slot, 5, Ok([0xab; 32])), [ticket(3)]);
    let wanted = format!("sha256:{}\n", "ab".repeat(32));
    assert_eq!(text(space.read(opener(3), &sum, 0, 99, ticket(3))), wanted);
    let log = walk(&mut space, b"", "log").unwrap();
    space.open(opener(4), &log, WRITE).unwrap();
    assert_eq!(space.write(opener(4), &log, 0, b"hello\nmore"), Ok(10));
    assert_eq!(space.poll_notice(), Some(Notice::LogLine(CONN, b"hello".to_vec())));
}

#[test]
fn nothing_else_can_be_written() {
    let (mut space, slot) = master();
    for place in [
        FileId::Info,
        FileId::Status,
        FileId::Plain { slot, entry: 2 },
        FileId::Member { slot, entry: 2, role: Role::Data },
    ] {
        assert_eq!(space.open(opener(1), &place, WRITE), Err(ninep::EROFS));
    }
    let (mut worker, slot) = client();
    let avail = FileId::Member { slot, entry: 2, role: Role::Avail };
    assert!(worker.open(opener(1), &avail, WRITE).is_err(), "only the master takes workers");
}

#[test]
fn what_has_no_bytes_is_not_in_the_name_space() {
    let mut manifest = small();
    let fifo = Entry { kind: EntryKind::Special, mode: 0o010644, ..manifest.entries[2].clone() };
    manifest.entries[2] = Entry { size: 0, digest: Digest::default(), ..fifo };
    let manifest = Manifest::decode(&manifest.encode()).unwrap();
    let mut space = NameSpace::new(true, 10);
    let slot = space.add_generation(Generation::whole(Rc::new(manifest), None));
    space.show(slot, String::new());
    assert_eq!(walk(&mut space, b"", "b").err(), Some(ninep::EACCES));
    let root = walk(&mut space, b"", "").unwrap();
    assert_eq!(list(&space, root), ["log", ".xget", "a", "current"]);
}
