//! What is there already is used: after an interruption, of old versions, holes.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

#[test]
fn an_interrupted_run_is_resumed_piece_by_piece() {
    let from = Dir::new();
    from.write("d/f", &bytes(1, 8 * P + 5));
    let to = Dir::new();
    Fetch::begin(scan(from.path()), to.path(), faithful()).check().store(6);
    let mut again = Fetch::begin(scan(from.path()), to.path(), faithful());
    // One of the six has gone bad meanwhile.
    let temporary = fs::OpenOptions::new().write(true).open(again.temporary("d/f")).unwrap();
    temporary.write_all_at(b"?", 2 * P as u64).unwrap();
    again.all();
    assert_eq!(again.moved, 4);
    assert_eq!(picture(to.path()), picture(from.path()));
}

/// Where no space is reserved, a temporary file is as long as what has come.
#[test]
fn what_is_behind_the_end_of_an_interrupted_file_is_not_taken_for_zeros() {
    on_file_system("tmpfs", "size=4m", |to| {
        let from = Dir::new();
        from.write("f", &[bytes(1, 2 * P), vec![0; 2 * P]].concat());
        let to = to.join("d");
        Fetch::begin(scan(from.path()), &to, faithful()).check().store(1);
        let again = fetch(from.path(), &to, faithful());
        assert_eq!(again.errors(), [""; 0]);
        assert_eq!(picture(&to), picture(from.path()));
    });
}

/// Beside a file of short pieces, and in those of 128 KiB of its own.
#[test]
fn a_very_large_file_is_resumed_piece_by_piece() {
    let from = Dir::new();
    let image = fs::File::create(from.join("image")).unwrap();
    image.set_len(300 << 20).unwrap();
    // Two pieces and the begin of a third, and the last one.
    image.write_all_at(&bytes(1, 300_000), 257 << 20).unwrap();
    image.write_all_at(b"end", (300 << 20) - 3).unwrap();
    from.write("other", &bytes(2, 2 * 32_768 + 1));
    from.write("small", b"small");
    let to = Dir::new();
    let mut first = Fetch::begin(scan(from.path()), to.path(), faithful());
    first.check().store(3);
    assert_eq!(first.moved, 3, "the pack, and two of four: the rest is a hole");
    drop(first);
    let mut again = Fetch::begin(scan(from.path()), to.path(), faithful());
    let temporary = fs::OpenOptions::new().write(true).open(again.temporary("image")).unwrap();
    // The last byte of the second.
    temporary.write_all_at(b"?", (257 << 20) + 262_143).unwrap();
    again.all();
    assert_eq!(again.moved, 3 + 3, "three of the image, three of the other");
    assert_eq!(picture(to.path()), picture(from.path()));
    drop(again);
    let mut whole = Fetch::begin(scan(from.path()), to.path(), faithful());
    assert_eq!(whole.all().moved, 0);
    drop(whole);
    // An old version of it is as good as a part.
    image.write_all_at(b"?", (257 << 20) + 131_072).unwrap();
    let mut newer = Fetch::begin(scan(from.path()), to.path(), faithful());
    assert_eq!(newer.all().moved, 1);
    assert_eq!(picture(to.path()), picture(from.path()));
}

#[test]
fn remains_of_other_runs_are_swept_away_and_resumable_ones_are_not() {
    let from = Dir::new();
    from.write("d/f", b"f");
    from.write("d/blocked", b"b");
    let to = Dir::new();
    to.write("d/.xget-0123456789abcdef.part", b"old");
    to.write("d/.xget-0123456789abcdef.keep", b"not ours");
    to.write(".xget-ffffffffffffffff.part", b"old");
    fs::create_dir(to.join("d/blocked")).unwrap();
    let mut fetch = Fetch::begin(scan(from.path()), to.path(), faithful());
    let resumable = fetch.temporary("d/blocked");
    fs::write(&resumable, b"b").unwrap();
    fetch.all();
    assert_eq!(fetch.errors().len(), 1);
    assert!(!to.join("d/.xget-0123456789abcdef.part").exists());
    assert!(!to.join(".xget-ffffffffffffffff.part").exists());
    assert!(to.join("d/.xget-0123456789abcdef.keep").exists());
    assert!(resumable.exists());
}

#[test]
fn pieces_of_an_old_version_are_copied_and_not_fetched() {
    let from = Dir::new();
    let old = bytes(1, 10 * P + 100);
    let mut new = old.clone();
    new[3 * P + 7] ^= 1;
    new.truncate(9 * P + 50);
    let to = Dir::new();
    to.write("f", &old);
    to.write("small", b"old");
    let inode = status(&to.join("f")).ino;
    from.write("f", &new);
    from.write("small", b"new");
    let mut fetch = Fetch::begin(scan(from.path()), to.path(), faithful());
    fetch.check();
    assert_eq!(fs::read(to.join("f")).unwrap(), old, "the old one stays until the end");
    fetch.store(usize::MAX).finish();
    assert_eq!(fetch.moved, 2, "the changed piece, and the pack of the small file");
    assert_eq!(picture(to.path()), picture(from.path()));
    assert_ne!(status(&to.join("f")).ino, inode);
}

#[test]
fn holes_come_back_even_over_the_garbage_of_an_interrupted_run() {
    let from = Dir::new();
    let sparse = fs::File::create(from.join("s")).unwrap();
    sparse.set_len(10 * P as u64).unwrap();
    sparse.write_all_at(&bytes(1, 5000), 3 * P as u64 + 4096).unwrap();
    let to = Dir::new();
    let mut fetch = Fetch::begin(scan(from.path()), to.path(), faithful());
    let garbage = fs::File::create(fetch.temporary("s")).unwrap();
    garbage.write_all_at(&bytes(9, P), 3 * P as u64).unwrap();
    garbage.write_all_at(b"garbage", 7 * P as u64).unwrap();
    fetch.all();
    assert_eq!(fetch.moved, 2, "what is not right there is fetched");
    assert_eq!(fs::read(to.join("s")).unwrap(), fs::read(from.join("s")).unwrap());
}

#[test]
fn six_gigabytes_of_nothing_are_checked_and_copied_in_seconds() {
    const BOUND: Duration = Duration::from_secs(60);
    let from = Dir::new();
    let size = 6u64 << 30;
    let file = fs::File::create(from.join("disk.img")).unwrap();
    file.set_len(size).unwrap();
    file.write_all_at(b"boot", 0).unwrap();
    file.write_all_at(b"end", size - 3).unwrap();
    let source = scan(from.path());
    let to = Dir::new();
    let begun = Instant::now();
    let mut fetch = Fetch::begin(source, to.path(), faithful());
    fetch.check();
    fetch.store(usize::MAX).finish();
    assert_eq!((fetch.moved, fetch.errors().len()), (2, 0));
    let copy = status(&to.join("disk.img"));
    assert_eq!(copy.size, size);
    assert!(copy.allocated_bytes <= 64 * 1024, "{}", copy.allocated_bytes);
    // To read or write them all would take longer even where nothing else runs.
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Of files of any sizes, whichever of their pieces came before.
    #[test]
    fn what_was_stored_before_an_interruption_is_not_fetched_again(
        sizes in vec(prop_oneof![0..200usize, P - 2..P + 3, 0..4 * P], 1..8),
        order in any::<u64>(),
        stored in any::<prop::sample::Index>(),
    ) {
        let (from, to) = (Dir::new(), Dir::new());
        for (i, size) in sizes.iter().enumerate() {
            from.write(&format!("d{}/{i}", i % 2), &bytes(i as u64 + 1, *size));
        }
        let mut first = Fetch::begin(scan(from.path()), to.path(), faithful());
        first.check();
        let mut pieces = first.missing();
        let total = pieces.len();
        pieces.sort_by_key(|piece| order.rotate_left(piece % 64) ^ u64::from(*piece) << 7);
        pieces.truncate(stored.index(total + 1));
        for piece in &pieces {
            prop_assert_eq!(first.store_piece(*piece), Ok(()));
        }
        drop(first);
        let mut again = Fetch::begin(scan(from.path()), to.path(), faithful());
        again.all();
        prop_assert_eq!(again.errors(), [""; 0]);
        prop_assert_eq!(again.moved, total - pieces.len());
        prop_assert_eq!(picture(to.path()), picture(from.path()));
    }
}
