//! The name space by its trait: what is listed and found in both views, and what
//! is not to be had. What each control file does stands beside it.

use super::bulk::Bulk;
use super::file_id::{EntryId, FileId, View};
use super::generation::Generation;
use super::served;
use super::space::NameSpace;
use super::testing::*;
use crate::content::digest::{self, Digest};
use crate::content::manifest::{Entry, EntryKind, Manifest};
use crate::testing::small;
use alloc::rc::Rc;
use ninep::server::{Answer, ConnId, OpenId, Totals, Tree};
use ninep::{EACCES, EISDIR, ENOENT, ENOTDIR, EROFS, ESTALE, QTDIR, QTFILE, QTSYMLINK};

/// The small tree with attributes that tell its entries apart.
fn described() -> Manifest {
    let mut manifest = small();
    for (number, entry) in manifest.entries.iter_mut().enumerate() {
        (entry.uid, entry.gid) = (1000 + number as u32, 2000 + number as u32);
        (entry.mtime_s, entry.mtime_ns) = (number as i64 - 4, 500 + number as u32);
        entry.mode = 0o700 + number as u32;
    }
    manifest
}

fn master_of(manifest: Manifest) -> NameSpace {
    let mut space = NameSpace::new(true, 10);
    let id = space.add_generation(Generation::whole(Rc::new(manifest), None));
    space.show(id, String::new());
    space
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
    assert_eq!(walk(&mut space, b"", "a/nothing").err(), Some(ENOENT));
    assert_eq!(walk(&mut space, b"", "b/nothing").err(), Some(ENOENT));
    assert_eq!(walk(&mut space, b"", "current/nothing").err(), Some(ENOTDIR));
    assert_eq!(walk(&mut space, b"files", "b/data").err(), Some(ENOTDIR));
    assert_eq!(walk(&mut space, b"files", ".xget").err(), Some(ENOENT));
    assert_eq!(walk(&mut space, b"elsewhere", "").err(), Some(ENOENT));
}

#[test]
fn the_way_up_leads_where_one_came_from() {
    let (mut space, id) = master();
    let generation = of_generation(&space, id, "");
    for (aname, path, parent) in [
        (&b""[..], "", ""),
        (b"", "a", ""),
        (b"", "b", ""),
        (b"", "a/x", "a"),
        (b"", ".xget", ""),
        (b"", &generation, ".xget"),
        (b"files", "", ""),
        (b"files", "a", ""),
    ] {
        let parent = walk(&mut space, aname, parent);
        assert_eq!(walk(&mut space, aname, &format!("{path}/..")), parent, "{path}");
    }
    for (aname, path) in [(&b""[..], "b/data/.."), (b"", "current/.."), (b"files", "b/..")] {
        assert_eq!(walk(&mut space, aname, path).err(), Some(ENOTDIR), "{path}");
    }
}

#[test]
fn generations_are_listed_and_walked_by_their_digest() {
    let (mut space, id) = master();
    let digest = space.generation(id).unwrap().digest().to_string();
    let control = walk(&mut space, b"", ".xget").unwrap();
    assert_eq!(
        list(&space, control),
        ["info", "route", "status", "manifest", "node", "nodes", &digest]
    );
    let dir = walk(&mut space, b"", &format!(".xget/{digest}")).unwrap();
    assert_eq!(list(&space, dir), ["list", "pieces", "held", "rest", "late"]);
    assert_eq!(space.attr(&dir).name, digest.as_bytes());
    assert_eq!(walk(&mut space, b"", ".xget/ff").err(), Some(ENOENT));
    let other = Digest::default().to_string();
    assert_eq!(walk(&mut space, b"", &format!(".xget/{other}")).err(), Some(ENOENT));
    let unknown = space.walk(&dir, other.as_bytes()).err();
    assert_eq!(unknown, Some(ENOENT), "no generation within one");
}

#[test]
fn a_listing_goes_on_while_generations_come_and_go() {
    let (mut space, first) = master();
    let control = walk(&mut space, b"", ".xget").unwrap();
    let mut cursor = 0;
    for _ in 0..6 {
        cursor = space.entry(&control, cursor, true).unwrap().next;
    }
    let at_first = space.entry(&control, cursor, true).unwrap();
    space.drop_generation(first);
    assert_eq!(space.entry(&control, cursor, true), None);
    let second = space.add_generation(Generation::whole(Rc::new(described()), None));
    assert_eq!(
        space.entry(&control, at_first.next, true).unwrap().file,
        FileId::GenerationDir(second)
    );
    assert_eq!(space.entry(&control, u64::MAX, true), None);
    let root = walk(&mut space, b"", "").unwrap();
    assert_eq!(space.entry(&root, u64::MAX, true), None);
}

#[test]
fn served_files_show_their_entrys_attributes() {
    let mut space = master_of(described());
    // Path, view, entry, mode, size, kind of qid.
    for (path, aname, number, mode, size, kind) in [
        ("", &b""[..], 0, 0o040700, 0, QTDIR),
        ("", b"files", 0, 0o040700, 0, QTDIR),
        ("a", b"", 1, 0o040701, 0, QTDIR),
        ("a", b"files", 1, 0o040701, 0, QTDIR),
        ("b", b"", 2, 0o040555, 0, QTDIR),
        ("b", b"files", 2, 0o100702, 3, QTFILE),
        ("b/data", b"", 2, 0o100702, 3, QTFILE),
        ("b/avail", b"", 2, 0o100666, 0, QTFILE),
        ("current", b"", 3, 0o120777, 1, QTSYMLINK),
        ("a/z", b"files", 7, 0o100707, 2, QTFILE),
    ] {
        let file = walk(&mut space, aname, path).unwrap();
        let attr = space.attr(&file);
        assert_eq!((attr.mode, attr.size), (mode, size), "{path}");
        assert_eq!((attr.uid, attr.gid), (1000 + number, 2000 + number), "{path}");
        assert_eq!((attr.mtime_s, attr.mtime_ns), (i64::from(number) - 4, 500 + number));
        assert_eq!((attr.qid, attr.qid.file_type), (space.qid(&file), kind));
        let link = if kind == QTSYMLINK { &b"a"[..] } else { b"" };
        assert_eq!(attr.link, link);
        let name = path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("/");
        assert_eq!(attr.name, name.as_bytes());
    }
    for path in ["log", ".xget", ".xget/info"] {
        let file = walk(&mut space, b"", path).unwrap();
        assert_eq!((space.attr(&file).uid, space.attr(&file).mtime_s), (0, 0), "nobody's");
    }
}

#[test]
fn symbolic_links_are_passed_over_where_a_dialect_has_none() {
    let mut space = master_of(described());
    let listed = |space: &NameSpace, dir: &FileId, links: bool| {
        let (mut names, mut cursor) = (Vec::new(), 0);
        while let Some(entry) = space.entry(dir, cursor, links) {
            names.push(String::from_utf8(entry.name).unwrap());
            cursor = entry.next;
        }
        names
    };
    for (path, all, without) in [
        ("", &["a", "b", "current", "log"][..], &["a", "b", "log"][..]),
        ("a", &["x", "y", "z"], &["x", "z"]),
    ] {
        let dir = walk(&mut space, b"files", path).unwrap();
        assert_eq!(listed(&space, &dir, true), all);
        assert_eq!(listed(&space, &dir, false), without);
    }
}

#[test]
fn the_names_of_a_file_are_one_file_with_so_many_links() {
    let mut space = master_of(described());
    let mut look = |path: &str, aname: &[u8]| {
        let file = walk(&mut space, aname, path).unwrap();
        let attr = space.attr(&file);
        assert_eq!(attr.qid, space.qid(&file));
        (attr.qid.path, attr.nlink, attr.name)
    };
    let (first, second) = (look("a/x", b"files"), look("a/z", b"files"));
    assert_eq!((first.0, first.1, second.1), (second.0, 2, 2));
    assert_eq!((&first.2[..], &second.2[..]), (&b"x"[..], &b"z"[..]));
    assert_eq!(look("b", b"files").1, 1);
    // Each is a directory of its own here.
    assert_ne!(look("a/x", b"").0, look("a/z", b"").0);
}

#[test]
fn a_file_of_the_plain_view_is_read_and_not_written() {
    let (mut space, generation) = master();
    let file = walk(&mut space, b"files", "b").unwrap();
    assert_eq!(space.qid(&file).version, 1, "it never changes");
    assert_eq!(space.open(opener(1), &file, READ), Ok(()));
    assert_eq!(space.open(opener(1), &file, WRITE), Err(EROFS));
    let what = Bulk::File { generation, entry: 2, offset: 1 };
    assert_eq!(read(&mut space, &file, 1, 1), Ok(Answer::Bulk { what, len: 2 }));
    assert_not_writable(&mut space, &file);
    let (mut space, generation) = client();
    assert_eq!(space.open(opener(1), &file, WRITE), Err(EACCES));
    assert_eq!(read(&mut space, &file, 1, 1), Ok(Answer::Park));
    assert_eq!(space.hold(generation, 1), [ticket(1)]);
}

#[test]
fn directories_and_links_are_neither_read_nor_written_as_files() {
    let (mut space, id) = master();
    for path in ["", "a", "b", ".xget", &of_generation(&space, id, ""), "current"] {
        let file = walk(&mut space, b"", path).unwrap();
        assert_eq!(space.open(opener(1), &file, READ), Ok(()));
        assert_eq!(read(&mut space, &file, 0, 1), Err(EISDIR));
        assert_eq!(space.open(opener(1), &file, WRITE), Err(EROFS));
        assert_not_writable(&mut space, &file);
        space.close(opener(1), &file);
        assert_eq!(notices(&mut space), []);
    }
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
    let (mut space, generation) = client_of(manifest);
    let first = space.generation(generation).unwrap().manifest_pieces.count();
    let data = file(&mut space, "a/data");
    let across = |space: &mut NameSpace| space.read(opener(1), &data, 32_767, 2, ticket(1));
    assert_eq!(across(&mut space), Ok(Answer::Park));
    assert_eq!(space.hold(generation, first), []);
    assert_eq!(space.hold(generation, first + 1), [ticket(1)]);
    assert_eq!(across(&mut space), Ok(Answer::Park), "its second byte is in the next piece");
    assert_eq!(space.hold(generation, first + 2), [ticket(1)]);
    let what = Bulk::File { generation, entry: 1, offset: 32_767 };
    assert_eq!(across(&mut space), Ok(Answer::Bulk { what, len: 2 }));
    let path = of_generation(&space, generation, "pieces");
    let pieces = file(&mut space, &path);
    let offset = u64::from(first + 1) * 16_384;
    let what = Bulk::Piece { generation, piece: first + 1, skip: 4 };
    let answer = space.read(opener(2), &pieces, offset + 4, 99_999, ticket(2));
    assert_eq!(answer, Ok(Answer::Bulk { what, len: 16_380 }));
    assert_eq!(space.hold(generation, first + 2048), [], "the last byte");
    let last = read(&mut space, &data, 8192 * 4096, 2);
    let what = Bulk::File { generation, entry: 1, offset: 8192 * 4096 };
    assert_eq!(last, Ok(Answer::Bulk { what, len: 1 }));
}

#[test]
fn what_has_no_bytes_is_not_in_the_name_space() {
    let mut manifest = small();
    let fifo = Entry { kind: EntryKind::Special, mode: 0o010644, ..manifest.entries[2].clone() };
    manifest.entries[2] = Entry { size: 0, digest: Digest::default(), ..fifo };
    let mut space = master_of(Manifest::decode(&manifest.encode()).unwrap());
    assert_eq!(walk(&mut space, b"", "b").err(), Some(EACCES));
    let root = walk(&mut space, b"", "").unwrap();
    assert_eq!(list(&space, root), ["log", ".xget", "a", "current"]);
}

#[test]
fn what_is_open_of_a_dropped_generation_is_stale() {
    let (mut space, id) = master();
    let files = ["a", "b", "current", "a/x/data"].map(|path| file(&mut space, path));
    space.drop_generation(id);
    assert_eq!(space.walk(&files[0], b"x"), Err(ESTALE));
    assert_eq!(space.walk(&files[1], b".."), Err(ESTALE));
    assert_eq!(read(&mut space, &files[3], 0, 1), Err(ESTALE));
    let modes = files.map(|file| space.attr(&file).mode);
    assert_eq!(modes, [0o040555, 0o040555, 0o120777, 0o100444]);
    assert_eq!(walk(&mut space, b"", "a"), Err(ESTALE));
    assert_eq!(list(&space, FileId::Root(View::Paper)), ["log", ".xget"]);
    assert_eq!(space.totals(), Totals::default());
}

#[test]
fn nothing_is_served_before_something_is_shown() {
    let (mut space, _) = newcomer();
    assert_eq!(walk(&mut space, b"files", "a"), Err(ENOENT));
    assert_eq!(list(&space, FileId::Root(View::Plain)), [""; 0]);
    assert_eq!(list(&space, FileId::Root(View::Paper)), ["log", ".xget"]);
}

#[test]
fn everything_is_counted_for_statfs() {
    let (space, _) = master();
    assert_eq!(space.totals(), Totals { files: 4, bytes: 5 });
}

#[test]
fn every_file_that_can_be_reached_has_a_qid_path_of_its_own() {
    let (mut space, first) = master();
    space.add_generation(Generation::whole(Rc::new(described()), None));
    let mut found = vec![FileId::Root(View::Paper), FileId::Root(View::Plain)];
    let mut next = 0;
    while let Some(dir) = found.get(next).copied() {
        let mut cursor = 0;
        while let Some(entry) = space.entry(&dir, cursor, true) {
            assert_eq!(space.walk(&dir, &entry.name), Ok(entry.file));
            cursor = entry.next;
            if !found.contains(&entry.file) {
                found.push(entry.file);
            }
        }
        next += 1;
    }
    // The second name of a file is not another file.
    let second = FileId::Plain(EntryId { generation: first, entry: 7 });
    assert!(found.contains(&second));
    found.retain(|file| *file != second);
    let mut paths: Vec<u64> = found.iter().map(|file| space.qid(file).path).collect();
    paths.sort_unstable();
    paths.dedup();
    assert_eq!(paths.len(), found.len());
    assert!(found.len() > 30, "{found:?}");
    // In the paper's view the control file hides it.
    let unseen = EntryId { generation: first, entry: 4 };
    let log = served::child(&space.generations, View::Plain, EntryId::root(first), b"log");
    assert_eq!(log, Ok(FileId::Plain(unseen)));
}

/// The second generation: `b` is another, `a/x` has another mode, `c` is new.
fn changed() -> Generation {
    let mut manifest = small();
    manifest.entries[2] = crate::testing::file(0, "b", b"fly");
    manifest.entries[5].mode = 0o600;
    manifest.entries.insert(3, crate::testing::file(0, "c", b"new"));
    manifest.entries[8].kind = EntryKind::Hardlink(6);
    Generation::whole(Rc::new(manifest), None)
}

#[test]
fn what_is_open_and_the_same_in_a_new_generation_stays_what_it_is() {
    let (mut space, old) = master();
    let unchanged = ["a", "current", "log", "a/x", "a/y", "a/z"];
    let plain = |space: &mut NameSpace, path: &str| walk(space, b"files", path).unwrap();
    let opened = unchanged.map(|path| plain(&mut space, path));
    let qids = opened.map(|file| space.qid(&file));
    let (dir, b) = (plain(&mut space, "a"), plain(&mut space, "b"));
    let data = file(&mut space, "a/x/data");
    let new = space.add_generation(changed());
    space.show(new, String::new());
    // As long as the old one is served, for those who fetch it, and after that.
    for is_served in [true, false] {
        if !is_served {
            space.drop_generation(old);
        }
        for (path, (known, qid)) in unchanged.iter().zip(opened.iter().zip(qids)) {
            assert_eq!((plain(&mut space, path), space.qid(known)), (*known, qid), "{path}");
        }
        let what = |entry| Bulk::File { generation: new, entry, offset: 0 };
        for file in [opened[3], opened[5], data] {
            let read = space.read(opener(1), &file, 0, 9, ticket(1));
            assert_eq!(read, Ok(Answer::Bulk { what: what(6), len: 2 }));
        }
        assert_eq!(space.attr(&opened[3]).mode, 0o100600, "with the attributes that it has now");
        assert_eq!(space.attr(&opened[5]).nlink, 2);
        let names: Vec<Vec<u8>> = entries(&space, &dir);
        assert_eq!(names, [b"x", b"y", b"z"]);
        assert_eq!(space.walk(&dir, b"x"), Ok(opened[3]));
        assert_eq!(space.walk(&dir, b".."), Ok(FileId::Root(View::Plain)));
        let read = space.read(opener(1), &b, 0, 9, ticket(1));
        let old_b = Bulk::File { generation: old, entry: 2, offset: 0 };
        let wanted = if is_served { Ok(Answer::Bulk { what: old_b, len: 3 }) } else { Err(ESTALE) };
        assert_eq!(read, wanted, "what it was, or nothing");
        assert_eq!(space.is_gone(&b), !is_served);
        assert_eq!(space.open(opener(2), &b, READ).is_ok(), is_served);
        assert!(!space.is_gone(&dir) && !space.is_gone(&data));
        let new_b = plain(&mut space, "b");
        assert_ne!(space.qid(&new_b).path, space.qid(&b).path);
    }
}

/// The names in a directory.
fn entries(space: &NameSpace, dir: &FileId) -> Vec<Vec<u8>> {
    let (mut names, mut cursor) = (Vec::new(), 0);
    while let Some(entry) = space.entry(dir, cursor, true) {
        names.push(entry.name);
        cursor = entry.next;
    }
    names
}

#[test]
fn a_worker_of_a_file_is_one_in_the_generations_that_follow_and_of_no_other_file() {
    let (mut space, old) = master();
    let avail = file(&mut space, "a/x/avail");
    space.open(opener(1), &avail, WRITE).unwrap();
    space.write(opener(1), &avail, 0, b"4000 me").unwrap();
    let new = space.add_generation(changed());
    space.show(new, String::new());
    space.drop_generation(old);
    let redir = |space: &mut NameSpace, path: &str| {
        let redir = file(space, path);
        let other = OpenId { conn: ConnId(8), serial: 1 };
        text(space.read(other, &redir, 0, 99, ticket(1)))
    };
    assert_eq!(redir(&mut space, "a/x/redir"), "10.0.0.9!4000");
    assert_eq!(redir(&mut space, "c/redir"), "me");
}
