//! What files are hashed to, and what is known without hashing.

use super::*;

#[test]
fn a_sparse_file_is_hashed_without_reading_its_holes() {
    let dir = Dir::new();
    let size = 40 * 1024 * 1024 + 12_345;
    let file = fs::File::create(dir.join("sparse")).unwrap();
    file.set_len(size).unwrap();
    file.write_all_at(b"in the middle", 17 * 1024 * 1024 + 100).unwrap();
    drop(file);
    dir.write("dense", &bytes(1, 30_000));
    let served = scan(dir.path());
    let [dense, sparse] = [1, 2].map(|n| &served.manifest.entries[n]);
    assert!(sparse.sparse && !dense.sparse);
    assert_eq!(sparse.digest, Digest::of(&fs::read(dir.join("sparse")).unwrap()));
    let list = &served.manifest.lists;
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
    let served = scan(dir.path());
    let (digest, list) = (served.manifest.entries[1].digest, &served.manifest.lists);
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
fn the_checksum_of_a_file_is_its_sha256() {
    let dir = Dir::new();
    dir.write("abc", b"abc");
    let served = scan(dir.path());
    let mut sum = served.checksum(1).unwrap();
    let mut steps = 0;
    let found = loop {
        steps += 1;
        if let Some(found) = sum.step(&served, 1).unwrap() {
            break found;
        }
    };
    assert_eq!(steps, 3);
    // FIPS 180-2, appendix B.1.
    let hex = peer::content::hex::Hex(&found).to_string();
    assert_eq!(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    let mut late = served.checksum(1).unwrap();
    fs::write(dir.join("abc"), b"abd!").unwrap();
    assert_eq!(late.step(&served, 10), Err(ServeError::Changed(b"abc".to_vec())));
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
    while matches!(second.step(1).unwrap(), ScanStep::Walking) {}
    let one_piece = u64::from(PIECE_LEN);
    assert_eq!(second.step(one_piece).unwrap(), ScanStep::Done);
    assert_eq!(second.finish().unwrap().manifest.encode(), first.manifest.encode());
    let status = super::super::super::testing::status(&large);
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
    let damaged = NoteReason::CacheUnused(CacheTrouble::Damaged);
    assert_eq!(fourth.notes[0].reason, damaged);
}

fn set_xattr(path: &Path, name: &std::ffi::CStr, value: &[u8]) {
    let file = fs::File::open(path).unwrap();
    Xattrs::of(file.as_fd()).set(name, value).unwrap();
}

#[test]
fn what_is_known_of_a_file_tells_of_its_extended_attributes_until_one_changes() {
    let dir = Dir::new();
    let (tree, cache) = (dir.join("tree"), dir.join("cache"));
    let paths = ["bare", "has", "sparse"].map(|name| dir.write(&format!("tree/{name}"), b"x"));
    set_xattr(&paths[1], c"user.a", b"first");
    fs::File::options().write(true).open(&paths[2]).unwrap().set_len(1 << 20).unwrap();
    settle();
    let first = scan(&tree).manifest;
    let sets: Vec<u32> = first.entries.iter().map(|entry| entry.xattrs).collect();
    assert_eq!(sets, [0, 0, 1, 0]);
    for _ in 0..3 {
        assert_eq!(scan_cached(&tree, &cache).manifest, first);
    }
    let served = scan_cached(&tree, &cache);
    assert_eq!(verdict(&served), Verdict::Same);
    for path in &paths {
        set_xattr(path, c"user.b", b"second");
        let now = scan_cached(&tree, &cache).manifest;
        assert_eq!(now, scan(&tree).manifest);
        assert!(now != served.manifest);
    }
    assert!(matches!(verdict(&served), Verdict::Differs(_, Difference::Changed)));
}

#[test]
fn an_attribute_of_what_is_no_file_is_seen_to_change_too() {
    let dir = Dir::new();
    dir.write("d/f", b"x");
    let served = scan(dir.path());
    assert_eq!(verdict(&served), Verdict::Same);
    set_xattr(&dir.join("d"), c"user.a", b"");
    let differs = Verdict::Differs(b"d".to_vec(), Difference::OtherAttributes);
    assert_eq!(verdict(&served), differs);
    let again = scan(dir.path());
    assert_eq!((again.manifest.entries[1].xattrs, again.manifest.xattrs.len()), (1, 1));
}

#[test]
fn a_cache_within_the_tree_is_not_used() {
    let dir = Dir::new();
    dir.write("d/f", b"f");
    let served = scan_cached(dir.path(), &dir.join("d/cache"));
    let inside = NoteReason::CacheUnused(CacheTrouble::InsideTree);
    assert_eq!(served.notes[0].reason, inside);
    assert!(!dir.join("d/cache").exists());
    assert_eq!(verdict(&served), Verdict::Same);
}

#[test]
fn served_pieces_are_what_the_manifest_says() {
    let dir = Dir::new();
    dir.write("a/large", &bytes(1, 700_001));
    (0..50).for_each(|i| drop(dir.write(&format!("b/{i}"), &bytes(i, 1000 * i as usize))));
    let served = scan(dir.path());
    let manifest_pieces = ManifestPieces::of(&served.manifest.encode(), PIECE_LEN);
    let map = PieceMap::new(manifest_pieces, &served.manifest);
    for piece in map.manifest_pieces().count()..map.count() {
        let mut data = Vec::new();
        for extent in map.extents(&served.manifest, piece) {
            let mut part = vec![0; extent.len as usize];
            served.open(extent.entry).unwrap().read_exact_at(&mut part, extent.offset).unwrap();
            data.extend(part);
        }
        assert_eq!(map.verify(&served.manifest, piece, &data), Ok(()));
    }
}
