use super::super::error::SourceError;
use super::super::recheck::{Recheck, Verdict};
use super::super::scan::{Scan, ScanOptions, Step};
use super::super::testing::{NOBODY, as_nobody, bytes, name, on_file_system, set_mode, set_mtime};
use super::*;
use crate::os::scratch::Dir;
use peer::content::digest::{self, Digest};
use peer::content::manifest::{DEPTH_MAX, PIECE_LEN};
use peer::content::pieces::{ManifestPieces, PieceMap};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;

fn scan(path: &Path) -> ServedTree {
    Scan::new(path, ScanOptions::default()).unwrap().finish().unwrap()
}

fn scan_cached(path: &Path, cache: &Path) -> ServedTree {
    let options = ScanOptions { cache: Some(cache.into()), ..ScanOptions::default() };
    Scan::new(path, options).unwrap().finish().unwrap()
}

fn verdict(source: &ServedTree) -> Verdict {
    let mut recheck = Recheck::new(source);
    loop {
        match recheck.step(source, 3) {
            Verdict::Looking => {}
            verdict => return verdict,
        }
    }
}

fn names(source: &ServedTree) -> Vec<Vec<u8>> {
    (0..source.manifest.entries.len() as u32).map(|n| source.manifest.path(n)).collect()
}

#[test]
fn a_tree_becomes_a_canonical_index_in_any_slices() {
    let dir = Dir::new();
    dir.write("b/two", b"2");
    dir.write("a/one", &bytes(1, PIECE_LEN as usize * 9 + 5));
    dir.write("top", b"");
    fs::create_dir(dir.join("empty")).unwrap();
    symlink("../nowhere", dir.join("a/link")).unwrap();
    let source = scan(dir.path());
    let paths = ["", "a", "b", "empty", "top", "a/link", "a/one", "b/two"];
    assert_eq!(names(&source), paths.map(|p| p.as_bytes().to_vec()));
    assert_eq!(Manifest::decode(&source.manifest.encode()).as_ref(), Ok(&*source.manifest));
    assert_eq!(source.notes, []);
    let one = &source.manifest.entries[6];
    assert_eq!(one.digest, Digest::of(&fs::read(dir.join("a/one")).unwrap()));
    assert_eq!(&*source.manifest.entries[5].link, b"../nowhere");

    let mut slow = Scan::new(dir.path(), ScanOptions::default()).unwrap();
    let mut last = 0;
    let mut steps = 0;
    loop {
        match slow.step(1).unwrap() {
            Step::Walking { .. } => {}
            Step::Hashing { done_bytes, total_bytes } => {
                assert!(done_bytes >= last && done_bytes <= total_bytes);
                last = done_bytes;
            }
            Step::Done => break,
        }
        steps += 1;
    }
    assert!(steps > 10, "{steps}");
    assert_eq!(last, PIECE_LEN as u64 * 9 + 6);
    let slow = slow.finish().unwrap();
    assert_eq!(slow.manifest.encode(), source.manifest.encode());
}

#[test]
fn odd_names_are_served_as_they_are() {
    let dir = Dir::new();
    let long = [b'n'; 255];
    let odd: [&[u8]; 7] = [
        b"new\nline",
        "\u{e9}t\u{e9} \u{2603}".as_bytes(),
        b"\xff\xfe",
        b".hidden",
        b"...",
        &long,
        b"log",
    ];
    for n in odd {
        fs::write(dir.path().join(name(n)), n).unwrap();
    }
    let source = scan(dir.path());
    for n in odd {
        let entry = source.manifest.child(0, n).unwrap();
        let mut contents = vec![0; n.len()];
        source.open(entry).unwrap().read_exact_at(&mut contents, 0).unwrap();
        assert_eq!(contents, n);
    }
}

#[test]
fn a_single_file_is_served_under_its_given_name() {
    let dir = Dir::new();
    let file = dir.write("images/v7.img", &bytes(3, 300_000));
    symlink("images/v7.img", dir.join("current.img")).unwrap();
    for (path, base) in [(file, "v7.img"), (dir.join("current.img"), "current.img")] {
        let source = scan(&path);
        assert_eq!(names(&source), [b"".to_vec(), base.as_bytes().to_vec()]);
        assert!(!source.manifest.root_described);
        let whole = scan(dir.path());
        let part = whole.manifest.select(&[b"images/v7.img"]).ok().unwrap().manifest;
        if base == "v7.img" {
            assert_eq!(*source.manifest, part, "as a client selects it");
        }
        assert!(source.open(1).is_ok());
        assert_eq!(verdict(&source), Verdict::Same);
    }
    let source = scan(&dir.join("current.img"));
    dir.write("images/v8.img", b"new");
    fs::remove_file(dir.join("current.img")).unwrap();
    symlink("images/v8.img", dir.join("current.img")).unwrap();
    assert!(matches!(verdict(&source), Verdict::Differs(path, _) if path == b"current.img"));
}

#[test]
fn a_relative_path_is_served() {
    // Cargo runs tests in the package's directory.
    let source = scan(Path::new("store"));
    assert!(source.manifest.child(0, b"mod.rs").is_some());
    assert_eq!(verdict(&source), Verdict::Same);
}

#[test]
fn the_reserved_name_is_refused_in_the_root_only() {
    let dir = Dir::new();
    dir.write("below/.xget", b"");
    assert_eq!(scan(dir.path()).manifest.entries.len(), 3);
    dir.write(".xget", b"");
    let error = Scan::new(dir.path(), ScanOptions::default()).err().unwrap();
    assert_eq!(error, SourceError::Reserved(dir.path().into()));
    assert!(error.to_string().contains("reserved"), "{error}");
    assert!(Scan::new(&dir.join(".xget"), ScanOptions::default()).is_err());
}

#[test]
fn what_cannot_be_served_is_named() {
    let dir = Dir::new();
    let missing = Scan::new(&dir.join("nope"), ScanOptions::default()).err().unwrap();
    assert_eq!(missing, SourceError::Io { path: dir.join("nope"), cause: Errno::ENOENT });
    assert!(missing.to_string().contains("nope"));
    nix::unistd::mkfifo(&dir.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let fifo = Scan::new(&dir.join("pipe"), ScanOptions::default()).err().unwrap();
    assert_eq!(fifo, SourceError::NotServable(dir.join("pipe")));
}

#[test]
fn special_files_and_remains_are_noted() {
    let dir = Dir::new();
    nix::unistd::mkfifo(&dir.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    dir.write(".xget-0123456789abcdef.part", b"half");
    let source = scan(dir.path());
    assert_eq!(source.manifest.entries.len(), 2);
    assert_eq!(source.manifest.entries[1].kind, EntryKind::Special);
    assert_eq!(source.manifest.entries[1].mode & 0o170000, 0o010000);
    let text: Vec<&str> = source.notes.iter().map(|n| n.reason.as_str()).collect();
    assert!(text.iter().any(|t| t.contains("a fifo")), "{text:?}");
    assert!(text.iter().any(|t| t.contains("unfinished")), "{text:?}");
    assert_eq!(verdict(&source), Verdict::Same);
    assert!(Manifest::decode(&source.manifest.encode()).is_ok());
}

#[test]
fn hard_links_are_one_file() {
    let dir = Dir::new();
    dir.write("z", b"same");
    fs::create_dir(dir.join("a")).unwrap();
    fs::hard_link(dir.join("z"), dir.join("a/y")).unwrap();
    fs::hard_link(dir.join("z"), dir.join("b")).unwrap();
    let source = scan(dir.path());
    assert_eq!(names(&source), [&b""[..], b"a", b"b", b"z", b"a/y"]);
    let kinds: Vec<EntryKind> = source.manifest.entries.iter().map(|e| e.kind).collect();
    assert_eq!(kinds[2..], [EntryKind::File, EntryKind::Hardlink(2), EntryKind::Hardlink(2)]);
    assert_eq!(source.manifest.bytes_total(), 4);
    assert!(source.open(4).is_ok(), "any of its names can be served");
    assert_eq!(verdict(&source), Verdict::Same);
}

#[test]
fn a_sparse_file_is_hashed_without_reading_its_holes() {
    let dir = Dir::new();
    let size = 40 * 1024 * 1024 + 12_345;
    let file = fs::File::create(dir.join("sparse")).unwrap();
    file.set_len(size).unwrap();
    file.write_all_at(b"in the middle", 17 * 1024 * 1024 + 100).unwrap();
    drop(file);
    dir.write("dense", &bytes(1, 30_000));
    let source = scan(dir.path());
    let [dense, sparse] = [1, 2].map(|n| &source.manifest.entries[n]);
    assert!(sparse.sparse && !dense.sparse);
    assert_eq!(sparse.digest, Digest::of(&fs::read(dir.join("sparse")).unwrap()));
    let list = &source.manifest.lists;
    assert_eq!(digest::of_list(list, size, PIECE_LEN), Some(sparse.digest));
}

#[test]
fn a_very_large_file_is_hashed_in_longer_pieces() {
    let dir = Dir::new();
    let size = 300 << 20;
    let file = fs::File::options()
        .create_new(true)
        .read(true)
        .write(true)
        .open(dir.join("image"))
        .unwrap();
    file.set_len(size).unwrap();
    let island = bytes(1, 200_000);
    file.write_all_at(&island, 257 << 20).unwrap();
    let source = scan(dir.path());
    let (digest, list) = (source.manifest.entries[1].digest, &source.manifest.lists);
    assert_eq!(list.len(), 2400, "128 KiB each");
    assert_eq!(digest::of_list(list, size, 131_072), Some(digest));
    assert_eq!(list[2056], digest::of_piece(257 << 20, &island[..131_072]));
    let mut whole = blake3::Hasher::new();
    (0..300).for_each(|mib| {
        let mut part = vec![0; 1 << 20];
        file.read_exact_at(&mut part, mib << 20).unwrap();
        whole.update(&part);
    });
    assert_eq!(digest, Digest(*whole.finalize().as_bytes()));
}

#[test]
fn a_changed_file_is_not_served() {
    let dir = Dir::new();
    let path = dir.write("f", b"before");
    set_mtime(&path, 1_000, 1);
    let source = scan(dir.path());
    let file = source.open(1).unwrap();
    assert!(source.unchanged(1, &file));
    // The same size, and a nanosecond later.
    fs::write(&path, b"after!").unwrap();
    set_mtime(&path, 1_000, 2);
    assert!(!source.unchanged(1, &file));
    let error = source.open(1).err().unwrap();
    assert_eq!(error, ServeError::Changed(b"f".to_vec()));
    assert!(error.to_string().contains("\"f\" has changed"), "{error}");
    assert!(matches!(verdict(&source), Verdict::Differs(p, "has changed") if p == b"f"));
    // Replaced by one that looks alike.
    let again = scan(dir.path());
    fs::write(dir.join("g"), b"after!").unwrap();
    set_mtime(&dir.join("g"), 1_000, 2);
    fs::rename(dir.join("g"), &path).unwrap();
    assert_eq!(again.open(1).err(), Some(ServeError::Changed(b"f".to_vec())));
    fs::remove_file(&path).unwrap();
    symlink("/etc/passwd", &path).unwrap();
    assert_eq!(again.open(1).err(), Some(ServeError::Changed(b"f".to_vec())));
}

#[test]
fn contents_are_not_served_under_the_digest_of_older_ones() {
    let dir = Dir::new();
    let path = dir.write("f", b"before");
    set_mtime(&path, 1_000, 1);
    let source = scan(dir.path());
    let file = source.open(1).unwrap();
    // Longer than a tick of the file system's clock.
    std::thread::sleep(std::time::Duration::from_millis(50));
    let in_place = fs::OpenOptions::new().write(true).open(&path).unwrap();
    in_place.write_all_at(b"after!", 0).unwrap();
    drop(in_place);
    set_mtime(&path, 1_000, 1);
    assert!(!source.unchanged(1, &file));
    assert_eq!(source.open(1).err(), Some(ServeError::Changed(b"f".to_vec())));
    assert_eq!(verdict(&source), Verdict::Differs(b"f".to_vec(), "has changed"));
    let again = scan(dir.path());
    assert_eq!(again.manifest.entries[1].digest, Digest::of(b"after!"));
    assert_eq!(verdict(&again), Verdict::Same);
}

#[test]
fn names_that_cannot_be_looked_at_are_listed() {
    /// More than are listed in one slice.
    const COUNT: usize = 2500;
    let dir = Dir::new();
    (0..COUNT).for_each(|i| drop(dir.write(&format!("tree/d/{i:04}"), b"secret")));
    dir.write("tree/d/.xget-0123456789abcdef.part", b"half");
    if file::is_root() {
        std::os::unix::fs::chown(dir.join("tree/d"), Some(NOBODY), None).unwrap();
    }
    as_nobody(|| {
        let (path, shut) = (dir.join("tree"), dir.join("tree/d"));
        let mut scan = Scan::new(&path, ScanOptions::default()).unwrap();
        scan.step(1).unwrap();
        // It is open already: its names can be read, and nothing more.
        set_mode(&shut, 0o444);
        let source = scan.finish().unwrap();
        set_mode(&shut, 0o755);
        assert_eq!(source.manifest.entries.len(), 2 + COUNT);
        assert!(source.manifest.entries[2..].iter().all(|e| e.kind == EntryKind::Unreadable));
        assert!(source.notes[1].reason.contains("Permission denied"), "{:?}", source.notes[1]);
        assert!(Manifest::decode(&source.manifest.encode()).is_ok());
        // As long as it stays so, the tree is the same: root, `d`, `d` open.
        let mut recheck = Recheck::new(&source);
        assert_eq!(recheck.step(&source, 4), Verdict::Looking);
        set_mode(&shut, 0o444);
        assert_eq!(recheck.step(&source, 10 * COUNT as u32), Verdict::Same);
        set_mode(&shut, 0o755);
        assert!(matches!(verdict(&source), Verdict::Differs(..)));
    });
}

#[test]
fn many_files_of_several_names_vanish_in_no_time() {
    let dir = Dir::new();
    fs::create_dir_all(dir.join("a")).unwrap();
    fs::create_dir_all(dir.join("b")).unwrap();
    for i in 0..3000 {
        fs::write(dir.join(&format!("a/{i:04}")), b"f").unwrap();
        fs::hard_link(dir.join(&format!("a/{i:04}")), dir.join(&format!("b/{i:04}"))).unwrap();
    }
    let mut scan = Scan::new(dir.path(), ScanOptions::default()).unwrap();
    while matches!(scan.step(1).unwrap(), Step::Walking { .. }) {}
    fs::remove_dir_all(dir.join("a")).unwrap();
    let source = scan.finish().unwrap();
    let is_file = |e: &&peer::content::manifest::Entry| e.kind == EntryKind::File;
    assert_eq!(source.manifest.entries.iter().filter(is_file).count(), 3000);
    assert!(Manifest::decode(&source.manifest.encode()).is_ok());
}

#[test]
fn a_swapped_directory_does_not_lead_outside() {
    let dir = Dir::new();
    let file = dir.write("served/d/secret", b"right");
    let outside = dir.write("outside/secret", b"WRONG");
    for path in [&file, &outside] {
        set_mtime(path, 5, 5);
    }
    let held = scan(&dir.join("served"));
    // So many that `d` is not open any more when it is swapped.
    (0..40).for_each(|i| drop(dir.write(&format!("served/e{i:02}/f"), b"f")));
    let source = scan(&dir.join("served"));
    fs::rename(dir.join("served/d"), dir.join("served/old")).unwrap();
    symlink("../outside", dir.join("served/d")).unwrap();
    let entry = source.manifest.find(b"d/secret", false).unwrap();
    assert_eq!(source.open(entry).err(), Some(ServeError::Changed(b"d/secret".to_vec())));
    let mut found = [0; 5];
    let entry = held.manifest.find(b"d/secret", false).unwrap();
    held.open(entry).unwrap().read_exact_at(&mut found, 0).unwrap();
    assert_eq!(&found, b"right", "an open directory stays what it was");
    assert!(matches!(verdict(&source), Verdict::Differs(..)));
}

#[test]
fn every_kind_of_change_ends_the_generation() {
    type Change = (&'static str, fn(&Dir));
    let changes: [Change; 7] = [
        ("new file", |d| drop(d.write("d/new", b""))),
        ("gone file", |d| fs::remove_file(d.join("d/f")).unwrap()),
        ("new mode", |d| set_mode(&d.join("d/f"), 0o600)),
        ("new link target", |d| {
            fs::remove_file(d.join("l")).unwrap();
            symlink("elsewhere", d.join("l")).unwrap();
        }),
        ("file becomes directory", |d| {
            fs::remove_file(d.join("d/f")).unwrap();
            fs::create_dir(d.join("d/f")).unwrap();
        }),
        ("root mode", |d| set_mode(d.path(), 0o700)),
        ("grown file", |d| {
            let mut file = fs::OpenOptions::new().append(true).open(d.join("d/f")).unwrap();
            file.write_all(b"more").unwrap();
        }),
    ];
    for (what, change) in changes {
        let dir = Dir::new();
        dir.write("d/f", b"contents");
        symlink("d", dir.join("l")).unwrap();
        let source = scan(dir.path());
        assert_eq!(verdict(&source), Verdict::Same, "{what}");
        change(&dir);
        assert!(matches!(verdict(&source), Verdict::Differs(..)), "{what}");
    }
}

#[test]
fn a_file_that_changes_while_it_is_hashed_is_hashed_again() {
    let dir = Dir::new();
    let path = dir.write("f", &bytes(1, 4 << 20));
    let mut scan = Scan::new(dir.path(), ScanOptions::default()).unwrap();
    while !matches!(scan.step(1).unwrap(), Step::Hashing { done_bytes: 1.., .. }) {}
    fs::write(&path, bytes(2, 3 << 20)).unwrap();
    let source = scan.finish().unwrap();
    let entry = &source.manifest.entries[1];
    assert_eq!((entry.kind, entry.size), (EntryKind::File, 3 << 20));
    assert_eq!(entry.digest, Digest::of(&bytes(2, 3 << 20)));
    assert!(Manifest::decode(&source.manifest.encode()).is_ok());
}

#[test]
fn a_file_that_keeps_changing_is_given_up() {
    let dir = Dir::new();
    let path = dir.write("f", &bytes(1, 2 << 20));
    fs::hard_link(&path, dir.join("g")).unwrap();
    dir.write("h", b"calm");
    let mut scan = Scan::new(dir.path(), ScanOptions::default()).unwrap();
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    while scan.step(1).unwrap() != Step::Done {
        file.write_all(b"x").unwrap();
    }
    let source = scan.finish().unwrap();
    let kinds: Vec<EntryKind> = source.manifest.entries.iter().map(|e| e.kind).collect();
    assert_eq!(
        kinds,
        [EntryKind::Dir, EntryKind::Unreadable, EntryKind::Unreadable, EntryKind::File]
    );
    assert!(source.notes.iter().any(|n| n.reason.contains("keeps changing")));
    assert!(Manifest::decode(&source.manifest.encode()).is_ok());
    assert_eq!(verdict(&source), Verdict::Same, "its further changes do not end the generation");
}

#[test]
fn files_that_vanish_before_they_are_hashed_leave_no_gap() {
    let dir = Dir::new();
    for file in ["a", "b", "d/x", "d/y", "z"] {
        dir.write(file, file.as_bytes());
    }
    fs::hard_link(dir.join("a"), dir.join("d/link")).unwrap();
    let mut scan = Scan::new(dir.path(), ScanOptions::default()).unwrap();
    while matches!(scan.step(1).unwrap(), Step::Walking { .. }) {}
    fs::remove_file(dir.join("d/x")).unwrap();
    fs::remove_file(dir.join("z")).unwrap();
    let source = scan.finish().unwrap();
    let left = [&b""[..], b"a", b"b", b"d", b"d/link", b"d/y"];
    assert_eq!(names(&source), left);
    assert_eq!(source.manifest.entries[4].kind, EntryKind::Hardlink(1));
    assert!(Manifest::decode(&source.manifest.encode()).is_ok());
    assert!(source.open(5).is_ok());
}

#[test]
fn the_first_name_of_a_file_vanishes_and_another_takes_its_place() {
    let dir = Dir::new();
    dir.write("0", &bytes(1, 4 << 20));
    dir.write("a", &bytes(2, 200_000));
    fs::hard_link(dir.join("a"), dir.join("b")).unwrap();
    fs::hard_link(dir.join("a"), dir.join("c")).unwrap();
    let mut scan = Scan::new(dir.path(), ScanOptions::default()).unwrap();
    while !matches!(scan.step(1).unwrap(), Step::Hashing { .. }) {}
    fs::remove_file(dir.join("a")).unwrap();
    let source = scan.finish().unwrap();
    let kinds: Vec<EntryKind> = source.manifest.entries.iter().map(|e| e.kind).collect();
    assert_eq!(kinds, [EntryKind::Dir, EntryKind::File, EntryKind::File, EntryKind::Hardlink(2)]);
    assert_eq!(source.manifest.entries[2].digest, Digest::of(&bytes(2, 200_000)));
    assert!(Manifest::decode(&source.manifest.encode()).is_ok());
}

#[test]
fn what_may_not_be_read_is_noted_and_listed() {
    let dir = Dir::new();
    set_mode(&dir.write("locked", b"secret"), 0);
    dir.write("shut/inside", b"secret");
    dir.write("open", b"public");
    set_mode(&dir.join("shut"), 0o000);
    let manifest = as_nobody(|| scan(dir.path()).manifest.encode());
    let manifest = Manifest::decode(&manifest).unwrap();
    let kinds: Vec<(&[u8], EntryKind)> =
        manifest.entries.iter().map(|e| (&*e.name, e.kind)).collect();
    let expected = [
        (&b""[..], EntryKind::Dir),
        (b"locked", EntryKind::Unreadable),
        (b"open", EntryKind::File),
        (b"shut", EntryKind::Unreadable),
    ];
    assert_eq!(kinds, expected);
    assert_eq!(manifest.entries[3].mode, 0o040000);
    set_mode(&dir.join("shut"), 0o755);
}

#[test]
fn directories_may_be_as_deep_as_an_index() {
    let dir = Dir::new();
    let mut at = file::open_dir(dir.path()).unwrap();
    for _ in 0..DEPTH_MAX + 2 {
        file::make_dir_at(&at, b"d", 0o700).unwrap();
        at = file::open_dir_at(&at, b"d").unwrap();
    }
    let source = scan(dir.path());
    assert_eq!(source.manifest.entries.len() as u32, DEPTH_MAX + 1);
    assert_eq!(source.manifest.entries.last().unwrap().kind, EntryKind::Unreadable);
    assert_eq!(source.notes.len(), 1);
    assert!(Manifest::decode(&source.manifest.encode()).is_ok());
    assert_eq!(verdict(&source), Verdict::Same);
}

#[test]
fn another_file_system_is_left_out_when_asked_but_its_directory_stays() {
    on_file_system("tmpfs", "mode=755", |path| {
        fs::create_dir(path.join("mnt")).unwrap();
        fs::write(path.join("file"), b"f").unwrap();
        let kind = Some("tmpfs");
        let flags = nix::mount::MsFlags::empty();
        nix::mount::mount(kind, &path.join("mnt"), kind, flags, None::<&str>).unwrap();
        fs::write(path.join("mnt/foreign"), b"f").unwrap();
        for (one_file_system, count) in [(false, 4), (true, 3)] {
            let options = ScanOptions { one_file_system, cache: None };
            let source = Scan::new(path, options).unwrap().finish().unwrap();
            assert_eq!(source.manifest.entries.len(), count);
            let noted = source.notes.iter().any(|n| n.path == b"mnt" && n.reason.contains("-x"));
            assert_eq!(noted, one_file_system);
            assert_eq!(verdict(&source), Verdict::Same);
        }
    });
}

#[test]
fn the_checksum_of_a_file_is_its_sha256() {
    let dir = Dir::new();
    dir.write("abc", b"abc");
    let source = scan(dir.path());
    let mut sum = source.checksum(1).unwrap();
    let mut steps = 0;
    let found = loop {
        steps += 1;
        if let Some(found) = sum.step(&source, 1).unwrap() {
            break found;
        }
    };
    assert_eq!(steps, 3);
    // FIPS 180-2, appendix B.1.
    let hex: String = found.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    let mut late = source.checksum(1).unwrap();
    fs::write(dir.join("abc"), b"abd!").unwrap();
    assert_eq!(late.step(&source, 10), Err(ServeError::Changed(b"abc".to_vec())));
}

/// The files' times have to be old enough for their digests to be kept.
fn settle() {
    std::thread::sleep(std::time::Duration::from_millis(3100));
}

#[test]
fn digests_come_from_the_cache_until_a_file_changes() {
    let dir = Dir::new();
    let cache = dir.join("cache");
    let data = bytes(1, 400_000);
    let large = dir.write("tree/large", &data);
    dir.write("tree/small", b"small");
    settle();
    let first = scan_cached(&dir.join("tree"), &cache);
    let mut second = Scan::new(
        &dir.join("tree"),
        ScanOptions { cache: Some(cache.clone()), ..ScanOptions::default() },
    )
    .unwrap();
    // With a hit no file is opened: the first slice of hashing does it all.
    while matches!(second.step(1).unwrap(), Step::Walking { .. }) {}
    let one_piece = u64::from(PIECE_LEN);
    assert_eq!(second.step(one_piece).unwrap(), Step::Done);
    assert_eq!(second.finish().unwrap().manifest.encode(), first.manifest.encode());
    let status = super::super::testing::status(&large);
    fs::write(&large, bytes(2, 400_000)).unwrap();
    // Size and mtime as before; only the ctime tells.
    set_mtime(&large, status.mtime_s, status.mtime_ns);
    let third = scan_cached(&dir.join("tree"), &cache);
    assert_eq!(third.manifest.entries[1].digest, Digest::of(&bytes(2, 400_000)));
    let mut damaged = fs::read(&cache).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&cache, damaged).unwrap();
    let fourth = scan_cached(&dir.join("tree"), &cache);
    assert_eq!(fourth.manifest.encode(), third.manifest.encode());
    assert!(fourth.notes[0].reason.contains("damaged"), "{:?}", fourth.notes);
}

#[test]
fn a_cache_within_the_tree_is_not_used() {
    let dir = Dir::new();
    dir.write("d/f", b"f");
    let source = scan_cached(dir.path(), &dir.join("d/cache"));
    assert!(source.notes[0].reason.contains("inside the served tree"));
    assert!(!dir.join("d/cache").exists());
    assert_eq!(verdict(&source), Verdict::Same);
}

#[test]
fn served_pieces_are_what_the_index_says() {
    let dir = Dir::new();
    dir.write("a/large", &bytes(1, 700_001));
    (0..50).for_each(|i| drop(dir.write(&format!("b/{i}"), &bytes(i, 1000 * i as usize))));
    let source = scan(dir.path());
    let manifest_pieces = ManifestPieces::of(&source.manifest.encode(), PIECE_LEN);
    let map = PieceMap::new(manifest_pieces, &source.manifest);
    for piece in map.manifest_pieces().count()..map.count() {
        let mut data = Vec::new();
        for extent in map.extents(&source.manifest, piece) {
            let mut part = vec![0; extent.len as usize];
            source.open(extent.entry).unwrap().read_exact_at(&mut part, extent.offset).unwrap();
            data.extend(part);
        }
        assert_eq!(map.verify(&source.manifest, piece, &data), Ok(()));
    }
}
