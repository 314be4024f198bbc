//! Pieces on their way: stored, relayed, failed, put in place.

use super::*;

#[test]
fn nothing_is_made_before_it_begins_and_no_final_name_before_it_is_whole() {
    let from = Dir::new();
    from.write("f", &bytes(1, 3 * P));
    let to = Dir::new();
    let dest = Dest::open(&to.join("d"), faithful()).unwrap();
    assert!(!to.join("d").exists());
    drop(dest);
    let mut fetch = Fetch::begin(scan(from.path()), &to.join("d"), faithful());
    fetch.check().store(2);
    assert!(!to.join("d/f").exists());
    assert!(fetch.temporary("f").exists());
    let entry = fetch.entry("f");
    assert!(!fetch.writer.is_whole(entry));
    let pieces = fetch.map.of_entry(&fetch.source.manifest, entry);
    assert_eq!(fetch.missing(), [pieces.end - 1]);
    let mut relayed = vec![0; P];
    fetch.writer.file(entry).unwrap().0.read_exact_at(&mut relayed, P as u64).unwrap();
    assert_eq!(relayed, fetch.piece(pieces.start + 1), "relayed from the temporary file");
    assert_eq!(fetch.store_piece(pieces.end - 1), Ok(()));
    assert!(fetch.writer.is_whole(entry));
    assert_eq!(fs::read(to.join("d/f")).unwrap(), bytes(1, 3 * P));
    assert!(!fetch.temporary("f").exists());
    fetch.writer.file(entry).unwrap().0.read_exact_at(&mut relayed, P as u64).unwrap();
    assert_eq!(relayed, fetch.piece(pieces.start + 1), "and from the final one");
}

/// A pack is found when all of its files are, and not before.
#[test]
fn a_pack_of_which_a_part_is_there_is_missing_and_its_files_are_kept() {
    let from = Dir::new();
    for name in ["a", "b", "c"] {
        from.write(name, name.as_bytes());
    }
    let to = Dir::new();
    fetch(from.path(), &to.join("d"), faithful());
    fs::remove_file(to.join("d/b")).unwrap();
    let inode = status(&to.join("d/a")).ino;
    let mut again = Fetch::begin(scan(from.path()), &to.join("d"), faithful());
    again.check();
    assert_eq!(again.missing(), [again.map.manifest_pieces().count()]);
    again.store(usize::MAX).finish();
    assert_eq!(picture(&to.join("d")), picture(from.path()));
    assert_eq!(status(&to.join("d/a")).ino, inode);
    let CheckStep::Done { found } = again.writer.check_step(SLICE).unwrap() else { panic!() };
    assert_eq!(found, NONE, "what was found is given once");
}

/// A directory that appears over the temporary file's name while pieces come in.
#[test]
fn a_file_that_fails_late_is_named_with_each_of_its_pieces() {
    let from = Dir::new();
    from.write("large", &bytes(1, 3 * P));
    from.write("small", b"small");
    let to = Dir::new();
    let mut fetch = Fetch::begin(scan(from.path()), to.path(), faithful());
    fetch.check();
    let (large, small) = (fetch.entry("large"), fetch.entry("small"));
    let pieces = fetch.map.of_entry(&fetch.source.manifest, large);
    assert_eq!(fetch.store_piece(pieces.start), Ok(()));
    fs::create_dir(to.join("large")).unwrap();
    assert_eq!(fetch.store_piece(pieces.start + 1), Ok(()));
    let error = DestError::DirInTheWay(to.join("large"));
    let failed = StoreFailure { entries: vec![large], error };
    assert_eq!(fetch.store_piece(pieces.start + 2), Err(failed.clone()));
    assert_eq!(fetch.writer.failures().len(), 1);
    assert!(fetch.writer.file(large).is_err(), "nothing of it is relayed");
    assert_eq!(fetch.store_piece(pieces.start + 2), Err(failed), "nor stored any more");
    assert_eq!(fetch.writer.failures().len(), 1, "said once");
    assert!(fetch.temporary("large").exists(), "for a later run");
    fetch.store(usize::MAX).finish();
    assert!(fetch.writer.is_whole(small));
}

#[test]
fn bytes_of_another_length_do_nothing_and_what_is_whole_is_not_written_again() {
    let from = Dir::new();
    from.write("f", b"four");
    let to = Dir::new();
    let mut fetch = Fetch::begin(scan(from.path()), to.path(), faithful());
    fetch.check();
    let extents = fetch.extents(fetch.map.manifest_pieces().count());
    let failed = fetch.writer.store(&extents, b"fou").unwrap_err();
    assert_eq!(failed.entries, [1]);
    assert!(!fetch.writer.is_whole(1) && fetch.writer.failures().is_empty());
    assert_eq!(fetch.writer.store(&extents, b"four"), Ok(()));
    assert!(fetch.writer.is_whole(1));
    let inode = status(&to.join("f")).ino;
    assert_eq!(fetch.writer.store(&extents, b"four"), Ok(()), "twice is once");
    assert_eq!(status(&to.join("f")).ino, inode);
}

#[test]
fn many_files_at_once_hold_few_descriptors() {
    let from = Dir::new();
    let count = 3 * OPEN_FILES_MAX;
    (0..count).for_each(|i| drop(from.write(&format!("{i}"), &bytes(i as u64, P + 1))));
    let to = Dir::new();
    let mut fetch = Fetch::begin(scan(from.path()), to.path(), faithful());
    fetch.check();
    let first = fetch.map.manifest_pieces().count();
    // First one piece of every file, then the other.
    for half in 0..2 {
        for file in 0..count as u32 {
            let piece = first + 2 * file + half;
            assert_eq!(fetch.store_piece(piece), Ok(()));
            assert!(fetch.writer.tree.files.open_count() <= OPEN_FILES_MAX);
        }
    }
    fetch.finish();
    assert_eq!(fetch.errors(), [""; 0]);
    assert_eq!(picture(to.path()), picture(from.path()));
}

fn sha256(data: &[u8]) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(data).into()
}

#[test]
fn a_pinned_file_gets_its_name_only_with_the_right_sha256() {
    let data = bytes(1, 3 * P);
    let from = Dir::new();
    from.write("f", &data);
    let to = Dir::new();
    let pinned = |sum| DestOptions { sha256: Some(sum), ..faithful() };
    let wrong = fetch(from.path(), &to.join("wrong"), pinned(sha256(b"else")));
    assert!(wrong.errors()[0].contains("has sha256:"), "{:?}", wrong.errors());
    assert_eq!(fs::read_dir(to.join("wrong")).unwrap().count(), 0, "nothing is left of it");
    let mut right = Fetch::begin(scan(from.path()), &to.join("right"), pinned(sha256(&data)));
    right.check().store(usize::MAX);
    assert!(!to.join("right/f").exists(), "all is here, but not its sum");
    right.finish();
    assert_eq!(right.errors(), [""; 0]);
    assert_eq!(fs::read(to.join("right/f")).unwrap(), data);
    drop(right);
    // What is there already is not trusted either, but left alone.
    let kept = fetch(from.path(), &to.join("right"), pinned(sha256(b"else")));
    assert_eq!((kept.moved, kept.errors().len()), (0, 1));
    assert!(to.join("right/f").exists());
    let two = Dir::new();
    two.write("a", b"");
    two.write("b", b"");
    let manifest = scan(two.path()).manifest;
    let mut dest = Dest::open(&to.join("two"), pinned([0; 32])).unwrap();
    assert_eq!(
        dest.begin(manifest.clone(), map_of(&manifest)).err(),
        Some(DestError::PinOfMany(2))
    );
    fs::remove_file(two.join("b")).unwrap();
    let empty = fetch(two.path(), &to.join("empty"), pinned(sha256(b"")));
    assert_eq!(empty.errors(), [""; 0]);
    let not_empty = fetch(two.path(), &to.join("empty2"), pinned(sha256(b"x")));
    assert_eq!(not_empty.errors().len(), 1);
    assert!(!to.join("empty2/a").exists());
}

#[test]
fn one_process_at_a_time() {
    let to = Dir::new();
    let first = Dest::open(to.path(), faithful()).unwrap();
    let second = Dest::open(to.path(), faithful()).err().unwrap();
    assert_eq!(second.to_string(), format!("another xget is fetching into {:?}", to.path()));
    drop(first);
    assert!(Dest::open(to.path(), faithful()).is_ok());
    let file = to.write("f", b"");
    assert_eq!(Dest::open(&file, faithful()).err(), Some(DestError::NotADirectory(file)));
    // Two that found no directory: the second to begin is refused.
    let from = Dir::new();
    let manifest = scan(from.path()).manifest;
    let mut early = Dest::open(&to.join("new"), faithful()).unwrap();
    let mut late = Dest::open(&to.join("new"), faithful()).unwrap();
    let _writer = early.begin(manifest.clone(), map_of(&manifest)).unwrap();
    assert!(matches!(late.begin(manifest.clone(), map_of(&manifest)), Err(DestError::Busy(_))));
    // The one that has it may begin with another generation.
    assert!(early.begin(manifest.clone(), map_of(&manifest)).is_ok());
}
