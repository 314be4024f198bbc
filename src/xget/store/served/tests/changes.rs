//! What changes under a scan, and after it.

use super::*;

#[test]
fn a_changed_file_is_not_served() {
    let dir = Dir::new();
    let path = dir.write("f", b"before");
    set_mtime(&path, 1_000, 1);
    let served = scan(dir.path());
    let file = served.open(1).unwrap();
    assert!(served.unchanged(1, &file));
    // The same size, and a nanosecond later.
    fs::write(&path, b"after!").unwrap();
    set_mtime(&path, 1_000, 2);
    assert!(!served.unchanged(1, &file));
    let error = served.open(1).err().unwrap();
    assert_eq!(error, ServeError::Changed(b"f".to_vec()));
    assert!(error.to_string().contains("\"f\" has changed"), "{error}");
    assert!(matches!(verdict(&served), Verdict::Differs(p, Difference::Changed) if p == b"f"));
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
    let served = scan(dir.path());
    let file = served.open(1).unwrap();
    // Longer than a tick of the file system's clock.
    std::thread::sleep(std::time::Duration::from_millis(50));
    let in_place = fs::OpenOptions::new().write(true).open(&path).unwrap();
    in_place.write_all_at(b"after!", 0).unwrap();
    drop(in_place);
    set_mtime(&path, 1_000, 1);
    assert!(!served.unchanged(1, &file));
    assert_eq!(served.open(1).err(), Some(ServeError::Changed(b"f".to_vec())));
    assert_eq!(verdict(&served), Verdict::Differs(b"f".to_vec(), Difference::Changed));
    let again = scan(dir.path());
    assert_eq!(again.manifest.entries[1].digest, Digest::of(b"after!"));
    assert_eq!(verdict(&again), Verdict::Same);
}

#[test]
fn many_files_vanish_and_each_has_another_name() {
    let dir = Dir::new();
    fs::create_dir_all(dir.join("a")).unwrap();
    fs::create_dir_all(dir.join("b")).unwrap();
    for i in 0..3000 {
        fs::write(dir.join(&format!("a/{i:04}")), b"f").unwrap();
        fs::hard_link(dir.join(&format!("a/{i:04}")), dir.join(&format!("b/{i:04}"))).unwrap();
    }
    let mut scan = Scan::new(dir.path(), ScanOptions::default()).unwrap();
    while matches!(scan.step(1).unwrap(), ScanStep::Walking) {}
    fs::remove_dir_all(dir.join("a")).unwrap();
    let served = scan.finish().unwrap();
    let is_file = |e: &&peer::content::manifest::Entry| e.kind == EntryKind::File;
    assert_eq!(served.manifest.entries.iter().filter(is_file).count(), 3000);
    assert!(Manifest::decode(&served.manifest.encode()).is_ok());
}

#[test]
fn a_file_that_may_be_what_it_was_is_told_from_one_that_cannot_be() {
    let dir = Dir::new();
    let path = dir.write("f", b"before");
    set_mtime(&path, 1_000, 1);
    let served = scan(dir.path());
    let file = served.open(1).unwrap();
    let likeness = || served.likeness(1, &file);
    assert_eq!(likeness(), Some(Likeness::Same));
    fs::hard_link(&path, dir.join("backup")).unwrap();
    assert_eq!(likeness(), Some(Likeness::Touched));
    assert!(served.open(1).is_err(), "not as it was");
    assert_eq!(served.open_like(1).map(|(_, likeness)| likeness), Ok(Likeness::Touched));
    set_mtime(&path, 1_000, 2);
    assert_eq!(likeness(), Some(Likeness::Rewritten));
    fs::write(&path, b"before and more").unwrap();
    assert_eq!(likeness(), Some(Likeness::Rewritten), "its first bytes may be right");
    fs::write(&path, b"short").unwrap();
    assert_eq!(likeness(), None);
    fs::remove_file(&path).unwrap();
    assert_eq!(served.open_like(1).err(), Some(ServeError::Changed(b"f".to_vec())));
    fs::create_dir(&path).unwrap();
    assert_eq!(served.open_like(1).err(), Some(ServeError::Changed(b"f".to_vec())));
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
    let served = scan(&dir.join("served"));
    fs::rename(dir.join("served/d"), dir.join("served/old")).unwrap();
    symlink("../outside", dir.join("served/d")).unwrap();
    let entry = served.manifest.find(b"d/secret", false).unwrap();
    assert_eq!(served.open(entry).err(), Some(ServeError::Changed(b"d/secret".to_vec())));
    let mut found = [0; 5];
    let entry = held.manifest.find(b"d/secret", false).unwrap();
    held.open(entry).unwrap().read_exact_at(&mut found, 0).unwrap();
    assert_eq!(&found, b"right", "an open directory stays what it was");
    assert!(matches!(verdict(&served), Verdict::Differs(..)));
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
        let served = scan(dir.path());
        assert_eq!(verdict(&served), Verdict::Same, "{what}");
        change(&dir);
        assert!(matches!(verdict(&served), Verdict::Differs(..)), "{what}");
    }
}

#[test]
fn a_file_that_changes_while_it_is_hashed_is_hashed_again() {
    let dir = Dir::new();
    let path = dir.write("f", &bytes(1, 4 << 20));
    let mut scan = Scan::new(dir.path(), ScanOptions::default()).unwrap();
    while !matches!(scan.step(1).unwrap(), ScanStep::Hashing { done_bytes: 1.., .. }) {}
    fs::write(&path, bytes(2, 3 << 20)).unwrap();
    let served = scan.finish().unwrap();
    let entry = &served.manifest.entries[1];
    assert_eq!((entry.kind, entry.size), (EntryKind::File, 3 << 20));
    assert_eq!(entry.digest, Digest::of(&bytes(2, 3 << 20)));
    assert!(Manifest::decode(&served.manifest.encode()).is_ok());
}

#[test]
fn a_file_that_keeps_changing_is_given_up() {
    let dir = Dir::new();
    let path = dir.write("f", &bytes(1, 2 << 20));
    fs::hard_link(&path, dir.join("g")).unwrap();
    dir.write("h", b"calm");
    let mut scan = Scan::new(dir.path(), ScanOptions::default()).unwrap();
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    while scan.step(1).unwrap() != ScanStep::Done {
        file.write_all(b"x").unwrap();
    }
    let served = scan.finish().unwrap();
    let kinds: Vec<EntryKind> = served.manifest.entries.iter().map(|e| e.kind).collect();
    assert_eq!(
        kinds,
        [EntryKind::Dir, EntryKind::Unreadable, EntryKind::Unreadable, EntryKind::File]
    );
    let changing = NoteReason::Unreadable(Unreadable::KeepsChanging);
    assert!(served.notes.iter().any(|n| n.reason == changing));
    assert!(Manifest::decode(&served.manifest.encode()).is_ok());
    file.write_all(b"x").unwrap();
    assert_eq!(verdict(&served), Verdict::Same, "its further changes do not end the generation");
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert!(matches!(verdict(&served), Verdict::Differs(..)), "it is calm");
    let served = Scan::new(dir.path(), ScanOptions::default()).unwrap().finish().unwrap();
    assert_eq!(served.manifest.entries[1].kind, EntryKind::File);
}

#[test]
fn files_that_vanish_before_they_are_hashed_leave_no_gap() {
    let dir = Dir::new();
    for file in ["a", "b", "d/x", "d/y", "z"] {
        dir.write(file, file.as_bytes());
    }
    fs::hard_link(dir.join("a"), dir.join("d/link")).unwrap();
    let mut scan = Scan::new(dir.path(), ScanOptions::default()).unwrap();
    while matches!(scan.step(1).unwrap(), ScanStep::Walking) {}
    fs::remove_file(dir.join("d/x")).unwrap();
    fs::remove_file(dir.join("z")).unwrap();
    let served = scan.finish().unwrap();
    let left = [&b""[..], b"a", b"b", b"d", b"d/link", b"d/y"];
    assert_eq!(names(&served), left);
    assert_eq!(served.manifest.entries[4].kind, EntryKind::Hardlink(1));
    assert!(Manifest::decode(&served.manifest.encode()).is_ok());
    assert!(served.open(5).is_ok());
}

#[test]
fn the_first_name_of_a_file_vanishes_and_another_takes_its_place() {
    let dir = Dir::new();
    dir.write("0", &bytes(1, 4 << 20));
    dir.write("a", &bytes(2, 200_000));
    fs::hard_link(dir.join("a"), dir.join("b")).unwrap();
    fs::hard_link(dir.join("a"), dir.join("c")).unwrap();
    let mut scan = Scan::new(dir.path(), ScanOptions::default()).unwrap();
    while !matches!(scan.step(1).unwrap(), ScanStep::Hashing { .. }) {}
    fs::remove_file(dir.join("a")).unwrap();
    let served = scan.finish().unwrap();
    let kinds: Vec<EntryKind> = served.manifest.entries.iter().map(|e| e.kind).collect();
    assert_eq!(kinds, [EntryKind::Dir, EntryKind::File, EntryKind::File, EntryKind::Hardlink(2)]);
    assert_eq!(served.manifest.entries[2].digest, Digest::of(&bytes(2, 200_000)));
    assert!(Manifest::decode(&served.manifest.encode()).is_ok());
}
