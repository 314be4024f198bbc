//! An image onto what stands for a device: a file. What only a device can do is in
//! `tests/device.rs`.

use super::super::scan::{Scan, ScanOptions};
use super::super::served::ServedTree;
use super::super::testing::bytes;
use super::*;
use crate::os::scratch::Dir;
use peer::content::manifest::PIECE_LEN;
use peer::content::pieces::ManifestPieces;
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::FileExt;
use std::thread;

const P: usize = PIECE_LEN as usize;

pub(super) struct Fetch {
    source: ServedTree,
    map: Rc<PieceMap>,
    pub(super) writer: DeviceWriter,
    _dir: Dir,
}

fn scan(dir: &Path) -> (ServedTree, Rc<PieceMap>) {
    let source = Scan::new(dir, ScanOptions::default()).unwrap().finish().unwrap();
    let manifest = &source.manifest;
    let pieces = ManifestPieces::of(&manifest.encode(), manifest.piece_len);
    let map = Rc::new(PieceMap::new(pieces, manifest));
    (source, map)
}

impl Fetch {
    /// The image is fetched over what was there.
    fn begin(image: &[u8], was: &[u8], options: DeviceOptions) -> Fetch {
        let dir = Dir::new();
        dir.write("source/disk.img", image);
        let (source, map) = scan(&dir.join("source"));
        let file = Rc::new(file::unnamed_in_memory().unwrap());
        file.write_all_at(was, 0).unwrap();
        let image = Image::of(source.manifest.clone(), map.clone()).unwrap();
        let disk = Disk {
            path: "/dev/disk".into(),
            served: file.clone(),
            file,
            size_bytes: was.len() as u64,
            block_bytes: 512,
            is_ours: true,
            is_torn: Rc::default(),
        };
        let writer = DeviceWriter {
            check: Check::new(&image, options.compares, options.discards),
            flush: Flush::default(),
            finish: Finish::new(&image, &options),
            left_count: image.pieces().len() as u32,
            image,
            disk,
            failures: Vec::new(),
            changes: String::new(),
            notes: Vec::new(),
            compares: options.compares,
            settling: None,
        };
        Fetch { source, map, writer, _dir: dir }
    }

    fn check(&mut self) -> Vec<u32> {
        loop {
            if let CheckStep::Done { found } = self.writer.check_step(1).unwrap() {
                return found;
            }
        }
    }

    fn store(&mut self, pieces: impl IntoIterator<Item = u32>) {
        for piece in pieces {
            let extents: Vec<Extent> = self.map.extents(&self.source.manifest, piece).collect();
            let mut data = vec![0; extents[0].len as usize];
            let file = self.source.open(extents[0].entry).unwrap();
            file.read_exact_at(&mut data, extents[0].offset).unwrap();
            self.writer.store(&extents, &data).unwrap();
        }
    }

    fn missing(&self, found: &[u32]) -> Vec<u32> {
        self.writer.image.pieces().filter(|piece| found.binary_search(piece).is_err()).collect()
    }

    fn finish(&mut self) -> Vec<String> {
        while self.writer.finish_step(1 << 16) != FinishStep::Done {
            while self.writer.is_waiting() {
                thread::sleep(Duration::from_millis(1));
            }
        }
        self.writer.failures().iter().map(ToString::to_string).collect()
    }

    fn device(&self) -> Vec<u8> {
        let disk = &self.writer.disk;
        let mut bytes = vec![0; disk.size_bytes as usize];
        disk.file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }
}

/// What is in a place of the size of a piece.
fn place(kind: u8, number: usize) -> Vec<u8> {
    match kind {
        0 => vec![0; P],
        1 => bytes(number as u64, P),
        _ => bytes(1000 + u64::from(kind), P),
    }
}

fn places(kinds: &[u8], len: usize) -> Vec<u8> {
    let mut all: Vec<u8> = kinds.iter().enumerate().flat_map(|(n, k)| place(*k, n)).collect();
    all.truncate(len);
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever was there: it is the image, what is behind it is as it was, and what was right
    /// or is zeros is not moved.
    #[test]
    fn an_image_is_what_is_there_afterwards(
        image in proptest::collection::vec(0..2u8, 2..8),
        was in proptest::collection::vec(0..3u8, 9),
        cut in 0..P,
        discards in any::<bool>(),
        is_blind in any::<bool>(),
    ) {
        let len = image.len() * P - cut;
        let wanted = places(&image, len);
        let was_there = places(&was, 9 * P);
        let options = DeviceOptions { discards, verifies: true, ..DeviceOptions::default() };
        let mut fetch = Fetch::begin(&wanted, &was_there, options);
        if is_blind {
            // No stretch has whole blocks: zeros are written.
            fetch.writer.disk.block_bytes = 1 << 30;
        }
        let found = fetch.check();
        prop_assert!(found.is_sorted());
        let missing = fetch.missing(&found);
        let moved = image.iter().zip(&was).filter(|(image, was)| **image == 1 && **was != 1).count();
        // A piece that is cut may be right or zeros by its first bytes.
        prop_assert!(missing.len() <= moved, "{missing:?} of {image:?} over {was:?}");
        fetch.store(missing);
        prop_assert_eq!(fetch.finish(), Vec::<String>::new());
        let device = fetch.device();
        prop_assert!(device[..len] == wanted[..], "{image:?} over {was:?}");
        prop_assert!(device[len..] == was_there[len..], "behind it");
        prop_assert!(!fetch.writer.disk.is_torn.get());
        // From now on it may be anybody's.
        let entry = fetch.writer.image.entry;
        prop_assert!(fetch.writer.is_whole(entry) && !fetch.writer.open(entry, 0).unwrap().is_sure);
    }
}

pub(super) fn of_kinds(image: &[u8], was: &[u8], options: DeviceOptions) -> Fetch {
    Fetch::begin(&places(image, image.len() * P), &places(was, was.len() * P), options)
}

#[test]
fn what_is_not_read_back_is_told_with_its_place() {
    let verifies = DeviceOptions { verifies: true, ..DeviceOptions::default() };
    let mut fetch = of_kinds(&[1, 1, 1], &[0, 0, 0], verifies);
    assert_eq!(fetch.check().len(), 0);
    let all = fetch.writer.image.pieces();
    fetch.store(all);
    fetch.writer.disk.file.write_all_at(b"!", 2 * P as u64 + 7).unwrap();
    let failures = fetch.finish();
    assert_eq!(failures.len(), 1);
    assert!(failures[0].contains(&format!("{P} bytes at offset {}", 2 * P)), "{failures:?}");
    assert!(fetch.writer.disk.is_torn.get(), "it is not whole");
}

#[test]
fn a_device_that_ends_early_is_told_with_the_place() {
    let verifies = DeviceOptions { verifies: true, ..DeviceOptions::default() };
    let mut fetch = of_kinds(&[1, 1], &[1, 1], verifies);
    assert_eq!(fetch.check().len(), 2);
    fetch.writer.disk.file.set_len(P as u64 + 1).unwrap();
    let failures = fetch.finish();
    assert!(failures[0].contains(&format!("at offset {P}")), "{failures:?}");
}

#[test]
fn a_device_that_is_compared_is_not_written_to() {
    let compares = DeviceOptions { compares: true, ..DeviceOptions::default() };
    let mut fetch = of_kinds(&[1, 0, 1, 1], &[1, 1, 2, 1], compares);
    let was = fetch.device();
    assert_eq!(fetch.check().len(), 2);
    assert_eq!(fetch.finish(), Vec::<String>::new());
    assert!(fetch.device() == was && !fetch.writer.disk.is_torn.get());
    assert_eq!(fetch.writer.take_changes(), format!("changed {} disk.img\n", 4 * P));
    let notes = fetch.writer.take_notes();
    assert!(notes[0].ends_with(&format!("{} of {} bytes differ", 2 * P, 4 * P)), "{notes:?}");
}

#[test]
fn a_wrong_sha256_is_a_failure_and_a_right_one_is_none() {
    let image = places(&[1, 0, 1], 3 * P);
    let right = {
        use sha2::Digest;
        sha2::Sha256::digest(&image).into()
    };
    for (sha256, failures) in [(right, 0), ([7; 32], 1)] {
        let options = DeviceOptions { sha256: Some(sha256), ..DeviceOptions::default() };
        let mut fetch = Fetch::begin(&image, &vec![1; 3 * P], options);
        let found = fetch.check();
        fetch.store(fetch.missing(&found));
        let said = fetch.finish();
        assert_eq!(said.len(), failures, "{said:?}");
    }
}

/// What took nothing is as it was, whatever was tried.
#[test]
fn a_device_that_takes_nothing_is_not_torn() {
    for (image, was) in [([1, 1], [0, 0]), ([0, 0], [1, 1])] {
        let mut fetch = of_kinds(&image, &was, DeviceOptions::default());
        let path = fetch._dir.write("read-only", &fetch.device());
        fetch.writer.disk.file = Rc::new(File::open(path).unwrap());
        let refused = match fetch.writer.check_step(u64::MAX) {
            Ok(_) => fetch.writer.disk.write(0, b"image").unwrap_err(),
            Err(error) => error,
        };
        assert!(refused.to_string().contains("at offset 0"), "{refused}");
        assert!(!fetch.writer.disk.is_torn.get(), "{image:?} over {was:?}");
    }
}

#[test]
fn what_is_missing_in_the_end_leaves_it_torn() {
    let mut fetch = of_kinds(&[1, 1], &[0, 0], DeviceOptions::default());
    assert_eq!(fetch.check().len(), 0);
    let first = fetch.writer.image.pieces().start;
    fetch.store([first]);
    assert_eq!(fetch.finish(), Vec::<String>::new(), "who knows why says so");
    assert!(fetch.writer.disk.is_torn.get() && !fetch.writer.is_whole(fetch.writer.image.entry));
}

#[test]
fn only_one_file_is_an_image() {
    type Make = fn(&Dir);
    let cases: [(Make, &str); 5] = [
        (|_| {}, "the source has 0 entries"),
        (|dir| drop(dir.write("s/empty", b"")), "empty is empty"),
        (
            |dir| {
                dir.write("s/a", b"a");
                dir.write("s/b", b"b");
            },
            "the source has 2 entries",
        ),
        (
            |dir| std::os::unix::fs::symlink("x", dir.join("s/link")).unwrap(),
            "link is a symlink: name",
        ),
        (
            |dir| {
                let a = dir.write("s/a", b"a");
                fs::hard_link(a, dir.join("s/b")).unwrap();
            },
            "the source has 2 entries",
        ),
    ];
    for (make, words) in cases {
        let dir = Dir::new();
        fs::create_dir(dir.join("s")).unwrap();
        make(&dir);
        let (source, map) = scan(&dir.join("s"));
        let Err(error) = Image::of(source.manifest.clone(), map) else { panic!("{words}") };
        assert!(error.to_string().contains(words), "{error}");
        assert!(matches!(error, DestError::Other { status: Status::Source, .. }));
    }
    let dir = Dir::new();
    dir.write("s/deep/er/disk.img", b"image");
    let (source, map) = scan(&dir.join("s"));
    assert_eq!(Image::of(source.manifest.clone(), map).unwrap().size, 5);
}

#[test]
fn a_file_cannot_be_claimed_as_a_device() {
    let dir = Dir::new();
    let path = dir.write("f", b"f");
    assert!(!is_device(&path) && !is_device(&dir.join("none")));
    let Err(error) = Device::open(&path, DeviceOptions::default(), &mut |_| false) else {
        panic!()
    };
    assert!(error.to_string().contains("Block device required"), "{error}");
}
