//! What is found in a tree: names, kinds, links, what is left out.

use super::*;

#[test]
fn a_tree_becomes_a_canonical_manifest_in_any_slices() {
    let dir = Dir::new();
    dir.write("b/two", b"2");
    dir.write("a/one", &bytes(1, PIECE_LEN as usize * 9 + 5));
    dir.write("top", b"");
    fs::create_dir(dir.join("empty")).unwrap();
    symlink("../nowhere", dir.join("a/link")).unwrap();
    let served = scan(dir.path());
    let paths = ["", "a", "b", "empty", "top", "a/link", "a/one", "b/two"];
    assert_eq!(names(&served), paths.map(|p| p.as_bytes().to_vec()));
    assert_eq!(Manifest::decode(&served.manifest.encode()).as_ref(), Ok(&*served.manifest));
    assert_eq!(served.notes, []);
    let one = &served.manifest.entries[6];
    assert_eq!(one.digest, Digest::of(&fs::read(dir.join("a/one")).unwrap()));
    assert_eq!(&*served.manifest.entries[5].link, b"../nowhere");

    let mut slow = Scan::new(dir.path(), ScanOptions::default()).unwrap();
    let mut last = 0;
    let mut steps = 0;
    loop {
        match slow.step(1).unwrap() {
            ScanStep::Walking => {}
            ScanStep::Hashing { done_bytes, total_bytes } => {
                assert!(done_bytes >= last && done_bytes <= total_bytes);
                last = done_bytes;
            }
            ScanStep::Done => break,
        }
        steps += 1;
    }
    assert!(steps > 10, "{steps}");
    assert_eq!(last, PIECE_LEN as u64 * 9 + 6);
    let slow = slow.finish().unwrap();
    assert_eq!(slow.manifest.encode(), served.manifest.encode());
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
    let served = scan(dir.path());
    for n in odd {
        let entry = served.manifest.child(0, n).unwrap();
        let mut contents = vec![0; n.len()];
        served.open(entry).unwrap().read_exact_at(&mut contents, 0).unwrap();
        assert_eq!(contents, n);
    }
}

#[test]
fn a_single_file_is_served_under_its_given_name() {
    let dir = Dir::new();
    let file = dir.write("images/v7.img", &bytes(3, 300_000));
    symlink("images/v7.img", dir.join("current.img")).unwrap();
    for (path, base) in [(file, "v7.img"), (dir.join("current.img"), "current.img")] {
        let served = scan(&path);
        assert_eq!(names(&served), [b"".to_vec(), base.as_bytes().to_vec()]);
        assert!(!served.manifest.root_described);
        let whole = scan(dir.path());
        let part = whole.manifest.select(&[b"images/v7.img"]).ok().unwrap().manifest;
        if base == "v7.img" {
            assert_eq!(*served.manifest, part, "as a client selects it");
        }
        assert!(served.open(1).is_ok());
        assert_eq!(verdict(&served), Verdict::Same);
    }
    let served = scan(&dir.join("current.img"));
    dir.write("images/v8.img", b"new");
    fs::remove_file(dir.join("current.img")).unwrap();
    symlink("images/v8.img", dir.join("current.img")).unwrap();
    assert!(matches!(verdict(&served), Verdict::Differs(path, _) if path == b"current.img"));
}

#[test]
fn a_relative_path_is_served() {
    // Cargo runs tests in the package's directory.
    let served = scan(Path::new("store"));
    assert!(served.manifest.child(0, b"mod.rs").is_some());
    assert_eq!(verdict(&served), Verdict::Same);
}

#[test]
fn the_reserved_name_is_a_directory_that_is_not_served_and_in_the_root_only() {
    let dir = Dir::new();
    dir.write("below/.xget", b"");
    assert_eq!(scan(dir.path()).manifest.entries.len(), 3);
    dir.write(".xget/signatures/x", b"");
    assert_eq!(scan(dir.path()).manifest.entries.len(), 3);
    let served = scan(dir.path());
    dir.write(".xget/signatures/y", b"");
    assert_eq!(verdict(&served), Verdict::Same, "what comes there changes nothing");
    std::fs::remove_dir_all(dir.join(".xget")).unwrap();
    dir.write(".xget", b"");
    let error = Scan::new(dir.path(), ScanOptions::default()).err().unwrap();
    assert_eq!(error, ScanError::Reserved(dir.path().into()));
    assert!(error.to_string().contains("is kept for"), "{error}");
    assert!(Scan::new(&dir.join(".xget"), ScanOptions::default()).is_err());
}

#[test]
fn what_cannot_be_served_is_named() {
    let dir = Dir::new();
    let missing = Scan::new(&dir.join("nope"), ScanOptions::default()).err().unwrap();
    assert_eq!(missing, ScanError::Io { path: dir.join("nope"), cause: Errno::ENOENT });
    assert!(missing.to_string().contains("nope"));
    nix::unistd::mkfifo(&dir.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let fifo = Scan::new(&dir.join("pipe"), ScanOptions::default()).err().unwrap();
    assert_eq!(fifo, ScanError::NotServable(dir.join("pipe")));
}

#[test]
fn special_files_and_remains_are_noted() {
    let dir = Dir::new();
    nix::unistd::mkfifo(&dir.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    dir.write(".xget-0123456789abcdef.part", b"half");
    let served = scan(dir.path());
    assert_eq!(served.manifest.entries.len(), 2);
    assert_eq!(served.manifest.entries[1].kind, EntryKind::Special);
    assert_eq!(served.manifest.entries[1].mode & 0o170000, 0o010000);
    let noted: Vec<NoteReason> = served.notes.iter().map(|n| n.reason).collect();
    assert_eq!(noted, [NoteReason::LeftOut(LeftOut::Temporary), NoteReason::Special("a fifo")]);
    assert_eq!(verdict(&served), Verdict::Same);
    assert!(Manifest::decode(&served.manifest.encode()).is_ok());
}

#[test]
fn hard_links_are_one_file() {
    let dir = Dir::new();
    dir.write("z", b"same");
    fs::create_dir(dir.join("a")).unwrap();
    fs::hard_link(dir.join("z"), dir.join("a/y")).unwrap();
    fs::hard_link(dir.join("z"), dir.join("b")).unwrap();
    let served = scan(dir.path());
    assert_eq!(names(&served), [&b""[..], b"a", b"b", b"z", b"a/y"]);
    let kinds: Vec<EntryKind> = served.manifest.entries.iter().map(|e| e.kind).collect();
    assert_eq!(kinds[2..], [EntryKind::File, EntryKind::Hardlink(2), EntryKind::Hardlink(2)]);
    assert_eq!(served.manifest.bytes_total(), 4);
    assert!(served.open(4).is_ok(), "any of its names can be served");
    assert_eq!(verdict(&served), Verdict::Same);
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
        let mut served = scan.finish().unwrap();
        set_mode(&shut, 0o755);
        assert_eq!(served.manifest.entries.len(), 2 + COUNT);
        assert!(served.manifest.entries[2..].iter().all(|e| e.kind == EntryKind::Unreadable));
        let denied = NoteReason::Unreadable(Unreadable::Io(Errno::EACCES));
        assert_eq!(served.notes[1].reason, denied);
        assert!(Manifest::decode(&served.manifest.encode()).is_ok());
        // As long as it stays so, the tree is the same: root, `d`, `d` open.
        served.seen[1] = Seen::of(&status(&shut));
        let mut comparison = Comparison::new(&served);
        assert_eq!(comparison.step(&served, 4), Verdict::Looking);
        set_mode(&shut, 0o444);
        assert_eq!(comparison.step(&served, 10 * COUNT as u32), Verdict::Same);
        set_mode(&shut, 0o755);
        assert!(matches!(verdict(&served), Verdict::Differs(..)));
    });
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
fn directories_may_be_as_deep_as_a_manifest() {
    let dir = Dir::new();
    let mut at = file::open_dir(dir.path()).unwrap();
    for _ in 0..DEPTH_MAX + 2 {
        file::make_dir_at(&at, b"d", 0o700).unwrap();
        at = file::open_dir_at(&at, b"d").unwrap();
    }
    let served = scan(dir.path());
    assert_eq!(served.manifest.entries.len() as u32, DEPTH_MAX + 1);
    assert_eq!(served.manifest.entries.last().unwrap().kind, EntryKind::Unreadable);
    let reasons: Vec<NoteReason> = served.notes.iter().map(|n| n.reason).collect();
    assert_eq!(reasons, [NoteReason::Unreadable(Unreadable::TooDeep)]);
    assert!(Manifest::decode(&served.manifest.encode()).is_ok());
    assert_eq!(verdict(&served), Verdict::Same);
}

#[test]
fn another_file_system_is_left_out_when_asked_but_its_directory_stays() {
    on_file_system("tmpfs", "mode=755", |path| {
        fs::create_dir(path.join("mnt")).unwrap();
        fs::write(path.join("file"), b"f").unwrap();
        let mnt = Note { path: b"mnt".to_vec(), reason: NoteReason::LeftEmpty };
        let kind = Some("tmpfs");
        let flags = nix::mount::MsFlags::empty();
        nix::mount::mount(kind, &path.join("mnt"), kind, flags, None::<&str>).unwrap();
        fs::write(path.join("mnt/foreign"), b"f").unwrap();
        for (one_file_system, count) in [(false, 4), (true, 3)] {
            let options = ScanOptions { one_file_system, cache: None };
            let served = Scan::new(path, options).unwrap().finish().unwrap();
            assert_eq!(served.manifest.entries.len(), count);
            let noted = served.notes.contains(&mnt);
            assert_eq!(noted, one_file_system);
            assert_eq!(verdict(&served), Verdict::Same);
        }
    });
}
