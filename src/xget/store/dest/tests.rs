use super::super::scan::{Scan, ScanOptions};
use super::super::served::ServedTree;
use super::super::testing::{
    NOBODY, as_nobody, bytes, name, on_file_system, picture, set_mode, set_mtime, status,
};
use super::super::writer::check::Step;
use super::super::writer::finish::FinishStep;
use super::super::writer::{State, Stored};
use super::*;
use crate::os::scratch::Dir;
use peer::content::manifest::{DEPTH_MAX, Entry, PIECE_LEN};
use peer::content::pieces::ManifestPieces;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, chown, lchown, symlink};
use std::time::Instant;

const P: usize = PIECE_LEN as usize;
const SLICE: u64 = 1 << 20;

fn scan(path: &Path) -> ServedTree {
    Scan::new(path, ScanOptions::default()).unwrap().finish().unwrap()
}

/// As a client run by root without options.
fn faithful() -> DestOptions {
    DestOptions { keep_modes: true, keep_owners: file::is_root(), sha256: None }
}

fn map_of(manifest: &Manifest) -> Rc<PieceMap> {
    Rc::new(PieceMap::new(ManifestPieces::of(&manifest.encode(), manifest.piece_len), manifest))
}

/// Whether a piece has something that is not here and can be stored.
fn wants(writer: &DestWriter, piece: u32) -> bool {
    writer.map.extents(&writer.manifest, piece).any(|extent| {
        writer.states[extent.entry as usize] != State::Failed
            && !writer.has_extent(extent.entry, piece)
    })
}

fn wants_any(writer: &DestWriter) -> bool {
    (writer.map.manifest_pieces().count()..writer.map.count()).any(|piece| wants(writer, piece))
}

/// A source and where it goes.
struct Fetch {
    source: ServedTree,
    map: Rc<PieceMap>,
    writer: DestWriter,
    /// Pieces that were stored.
    moved: usize,
}

impl Fetch {
    fn begin(source: ServedTree, path: &Path, options: DestOptions) -> Fetch {
        let map = map_of(&source.manifest);
        let mut dest = Dest::open(path, options).unwrap();
        let writer = dest.begin(source.manifest.clone(), map.clone()).unwrap();
        Fetch { source, map, writer, moved: 0 }
    }

    fn check(&mut self) -> &mut Fetch {
        while self.writer.check_step(SLICE).unwrap() != Step::Done {}
        self
    }

    fn piece(&self, piece: u32) -> Vec<u8> {
        let mut data = Vec::new();
        for extent in self.map.extents(&self.source.manifest, piece) {
            let mut part = vec![0; extent.len as usize];
            let file = self.source.open(extent.entry).unwrap();
            file.read_exact_at(&mut part, extent.offset).unwrap();
            data.extend(part);
        }
        assert_eq!(self.map.verify(&self.source.manifest, piece, &data), Ok(()));
        data
    }

    /// Stores at most so many of the pieces that are wanted.
    fn store(&mut self, at_most: usize) -> &mut Fetch {
        for piece in self.map.manifest_pieces().count()..self.map.count() {
            if wants(&self.writer, piece) && self.moved < at_most {
                let data = self.piece(piece);
                self.writer.store(piece, &data);
                assert!(!wants(&self.writer, piece));
                self.moved += 1;
            }
        }
        self
    }

    fn finish(&mut self) -> &mut Fetch {
        while self.writer.finish_step(SLICE) != FinishStep::Done {}
        self
    }

    fn all(&mut self) -> &mut Fetch {
        self.check().store(usize::MAX).finish()
    }

    fn errors(&self) -> Vec<String> {
        self.writer.failures().iter().map(|(_, error)| error.to_string()).collect()
    }

    fn entry(&self, path: &str) -> u32 {
        self.source.manifest.find(path.as_bytes(), false).unwrap()
    }

    fn temporary(&self, path: &str) -> PathBuf {
        let entry = self.entry(path);
        let temporary = name::temporary(&self.source.manifest, entry);
        self.writer.path(entry).with_file_name(name_of(&temporary))
    }
}

fn name_of(bytes: &[u8]) -> &std::ffi::OsStr {
    name(bytes)
}

fn fetch(from: &Path, to: &Path, options: DestOptions) -> Fetch {
    let mut fetch = Fetch::begin(scan(from), to, options);
    fetch.all();
    fetch
}

/// A tree with some of everything.
fn rich_tree() -> Dir {
    let dir = Dir::new();
    dir.write("large", &bytes(1, 5 * P + 77));
    dir.write("exact", &bytes(2, 2 * P));
    dir.write("one-piece", &bytes(3, P));
    dir.write("empty", b"");
    dir.write("sub/deep/er/file", b"deep");
    (0..300).for_each(|i| drop(dir.write(&format!("many/{i:03}"), &bytes(i, 10 * i as usize))));
    for odd in
        [b"new\nline".as_slice(), "\u{2603} snow".as_bytes(), b"\xff\xfe", b"...", &[b'n'; 255]]
    {
        fs::write(dir.path().join(name(odd)), odd).unwrap();
    }
    fs::create_dir(dir.join("hollow")).unwrap();
    fs::hard_link(dir.join("large"), dir.join("sub/also-large")).unwrap();
    fs::hard_link(dir.join("empty"), dir.join("sub/also-empty")).unwrap();
    symlink("../large", dir.join("sub/link")).unwrap();
    symlink("/etc/passwd", dir.join("outward")).unwrap();
    let sparse = fs::File::create(dir.join("sparse")).unwrap();
    sparse.set_len(40 * P as u64).unwrap();
    sparse.write_all_at(b"island", 20 * P as u64 + 5000).unwrap();
    set_mode(&dir.join("exact"), 0o4755);
    set_mode(&dir.join("one-piece"), 0o000);
    set_mode(&dir.join("hollow"), 0o1777);
    set_mode(&dir.join("sub/deep"), 0o555);
    set_mode(&dir.join("many"), 0o2750);
    if file::is_root() {
        chown(dir.join("exact"), Some(1234), Some(4321)).unwrap();
        set_mode(&dir.join("exact"), 0o6711);
        lchown(dir.join("outward"), Some(77), Some(78)).unwrap();
        chown(dir.join("hollow"), Some(5), Some(6)).unwrap();
    }
    set_mtime(&dir.join("large"), 1_234_567_890, 123_456_789);
    set_mtime(&dir.join("exact"), -5, 1);
    set_mtime(&dir.join("outward"), 99, 999_999_999);
    set_mtime(&dir.join("sub"), 1, 2);
    set_mtime(dir.path(), 3, 4);
    dir
}

#[test]
fn a_copy_is_like_its_source_in_everything() {
    let from = rich_tree();
    let to = Dir::new();
    let dest = to.join("not/yet/there");
    let fetch = fetch(from.path(), &dest, faithful());
    assert_eq!(fetch.errors(), [""; 0]);
    let wanted = picture(from.path());
    let found = picture(&dest);
    for (path, text) in &wanted {
        assert_eq!(found.get(path), Some(text), "{:?}", name(path));
    }
    assert_eq!(found.len(), wanted.len(), "and nothing else");
    let sparse = status(&dest.join("sparse"));
    assert!(sparse.allocated_bytes <= P as u64, "{} bytes", sparse.allocated_bytes);
    assert!(file::has_hole(&fs::File::open(dest.join("sparse")).unwrap(), sparse.size));
    assert!(!wants_any(&fetch.writer));
}

/// Those after the first of a directory are not looked at: each has to be right
/// all the same, whatever the one before it was.
#[test]
fn each_of_many_small_files_has_its_own_owner_mode_and_time() {
    const MODES: [u32; 8] = [0o644, 0o600, 0o755, 0o666, 0o444, 0o4755, 0o2750, 0o1640];
    let from = Dir::new();
    for (dir, dir_mode) in [("plain", 0o755), ("of a group", 0o2775)] {
        fs::create_dir(from.join(dir)).unwrap();
        for i in 0..48_u32 {
            let path = from.join(dir).join(format!("{i:02}"));
            fs::write(&path, [i as u8 + 1; 5]).unwrap();
            if file::is_root() {
                chown(&path, Some(i % 3 * 1000), Some(i % 5 * 100)).unwrap();
            }
            set_mode(&path, MODES[i as usize % MODES.len()]);
            set_mtime(&path, 1_000_000 + i64::from(i), i);
        }
        set_mode(&from.join(dir), dir_mode);
    }
    let to = Dir::new();
    let fetched = fetch(from.path(), &to.join("to"), faithful());
    assert_eq!(fetched.errors(), [""; 0]);
    assert_eq!(picture(&to.join("to")), picture(from.path()));
}

fn change_times(root: &Path) -> BTreeMap<PathBuf, (i64, i64)> {
    let mut found = BTreeMap::new();
    let mut left = vec![root.to_path_buf()];
    while let Some(path) = left.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        }
        found.insert(path, (meta.ctime(), meta.ctime_nsec()));
    }
    found
}

#[test]
fn an_identical_destination_is_not_touched() {
    let from = rich_tree();
    let to = Dir::new();
    fetch(from.path(), &to.join("d"), faithful());
    let before = change_times(&to.join("d"));
    let mut again = Fetch::begin(scan(from.path()), &to.join("d"), faithful());
    again.check();
    assert!(!wants_any(&again.writer));
    again.finish();
    assert_eq!(again.errors(), [""; 0]);
    for (path, times) in change_times(&to.join("d")) {
        assert_eq!(before.get(&path), Some(&times), "{path:?}");
    }
}

#[test]
fn attributes_of_right_contents_are_mended_in_place() {
    let from = rich_tree();
    let to = Dir::new();
    fetch(from.path(), &to.join("d"), faithful());
    let inode = status(&to.join("d/exact")).ino;
    set_mode(&to.join("d/exact"), 0o600);
    set_mode(&to.join("d/many/010"), 0o777);
    set_mtime(&to.join("d/sub/deep/er/file"), 1, 1);
    set_mtime(&to.join("d/outward"), 1, 1);
    let again = fetch(from.path(), &to.join("d"), faithful());
    assert_eq!(again.moved, 0);
    assert_eq!(picture(&to.join("d")), picture(from.path()));
    assert_eq!(status(&to.join("d/exact")).ino, inode);
}

#[test]
fn a_user_without_rights_gets_modes_and_times_but_no_owners_and_no_setuid() {
    let from = Dir::new();
    from.write("dir/sub/file", b"contents");
    from.write("big", &bytes(1, 3 * P));
    set_mode(&from.join("big"), 0o4755);
    set_mode(&from.join("dir/sub/file"), 0o444);
    set_mtime(&from.join("dir/sub"), 5, 6);
    set_mode(&from.join("dir/sub"), 0o555);
    set_mode(&from.join("dir"), 0o515);
    let to = Dir::new();
    set_mode(to.path(), 0o777);
    let dest = to.join("d");
    let root = file::is_root();
    for round in 0..2 {
        // The second time into the directories without the w bit.
        if round == 1 {
            from.write("dir/sub/new", b"new");
            fs::write(from.join("dir/sub/file"), b"changed!").unwrap();
            set_mtime(&from.join("dir/sub"), 5, 6);
        }
        let errors = as_nobody(|| fetch(from.path(), &dest, faithful()).errors());
        assert_eq!(errors, [""; 0]);
        assert_eq!(status(&dest.join("dir")).permissions(), 0o515);
        let sub = status(&dest.join("dir/sub"));
        assert_eq!((sub.permissions(), sub.mtime_s, sub.mtime_ns), (0o555, 5, 6));
        let big = status(&dest.join("big"));
        assert_eq!(big.permissions(), if root { 0o755 } else { 0o4755 });
        assert_eq!(big.uid, if root { NOBODY } else { file::user() });
        assert_eq!(status(&dest.join("dir/sub/file")).permissions(), 0o444);
    }
    assert_eq!(fs::read(dest.join("dir/sub/file")).unwrap(), b"changed!");
    assert_eq!(fs::read(dest.join("dir/sub/new")).unwrap(), b"new");
}

#[test]
fn without_keep_modes_what_is_new_gets_the_usual_modes_and_old_keeps_its_own() {
    let from = Dir::new();
    set_mode(&from.write("d/f", b"contents"), 0o751);
    set_mode(&from.write("d/e", b""), 0o751);
    set_mode(&from.write("old", b"old"), 0o777);
    set_mode(&from.join("d"), 0o700);
    let to = Dir::new();
    set_mode(&to.write("old", b"old"), 0o640);
    set_mode(to.path(), 0o711);
    let fetch = fetch(from.path(), to.path(), DestOptions::default());
    assert_eq!(fetch.errors(), [""; 0]);
    let umask = file::umask();
    let modes = ["d", "d/f", "d/e", "old", "."].map(|p| status(&to.join(p)).permissions());
    // `.` is looked up in its own parent here, which is the directory itself.
    assert_eq!(modes[..4], [0o777 & !umask, 0o666 & !umask, 0o666 & !umask, 0o640]);
    assert_eq!(status(to.path()).permissions(), 0o711);
    let times = |root: &Path| ["d", "d/f", "old"].map(|p| status(&root.join(p)).mtime_ns);
    assert_eq!(times(to.path()), times(from.path()));
}

#[test]
fn an_existing_directory_keeps_mode_and_owner_and_gets_the_time() {
    let from = Dir::new();
    from.write("f", b"f");
    set_mode(from.path(), 0o750);
    set_mtime(from.path(), 42, 43);
    let to = Dir::new();
    set_mode(to.path(), 0o705);
    fetch(from.path(), to.path(), faithful());
    let there = status(to.path());
    assert_eq!((there.permissions(), there.mtime_s, there.mtime_ns), (0o705, 42, 43));
    fetch(from.path(), &to.join("made"), faithful());
    assert_eq!(status(&to.join("made")).permissions(), 0o750);
    // Several sources side by side: nobody says what the directory is like.
    let manifest = Rc::new(scan(from.path()).manifest.select(&[b"f"]).ok().unwrap().manifest);
    let mut dest = Dest::open(&to.join("side"), faithful()).unwrap();
    let mut writer = dest.begin(manifest.clone(), map_of(&manifest)).unwrap();
    while writer.check_step(SLICE).unwrap() != Step::Done {}
    writer.store(map_of(&manifest).manifest_pieces().count(), b"f");
    while writer.finish_step(SLICE) != FinishStep::Done {}
    let side = status(&to.join("side"));
    assert_eq!(side.permissions(), 0o777 & !file::umask());
    assert_ne!(side.mtime_s, 42);
}

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
    let have: Vec<bool> = pieces.clone().map(|p| fetch.writer.have(p)).collect();
    assert_eq!(have, [true, true, false]);
    let mut relayed = vec![0; P];
    fetch.writer.file(entry).unwrap().read_exact_at(&mut relayed, P as u64).unwrap();
    assert_eq!(relayed, fetch.piece(pieces.start + 1), "relayed from the temporary file");
    let data = fetch.piece(pieces.end - 1);
    let stored = fetch.writer.store(pieces.end - 1, &data);
    assert_eq!(stored, Stored { completed: vec![entry], failed: vec![] });
    assert!(fetch.writer.is_whole(entry));
    assert_eq!(fs::read(to.join("d/f")).unwrap(), bytes(1, 3 * P));
    assert!(!fetch.temporary("f").exists());
    fetch.writer.file(entry).unwrap().read_exact_at(&mut relayed, P as u64).unwrap();
    assert_eq!(relayed, fetch.piece(pieces.start + 1), "and from the final one");
}

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
fn a_file_with_names_elsewhere_is_replaced_and_not_changed() {
    let from = Dir::new();
    set_mode(&from.write("large", &bytes(1, 3 * P)), 0o644);
    set_mode(&from.write("empty", b""), 0o644);
    let to = Dir::new();
    for (file, contents) in [("large", bytes(1, 3 * P)), ("empty", Vec::new())] {
        let outside = to.write(&format!("outside-{file}"), &contents);
        set_mode(&outside, 0o600);
        fs::create_dir_all(to.join("d")).unwrap();
        fs::hard_link(&outside, to.join("d").join(file)).unwrap();
    }
    let fetch = fetch(from.path(), &to.join("d"), faithful());
    assert_eq!(fetch.errors(), [""; 0]);
    assert_eq!(fetch.moved, 0, "its contents are copied");
    for file in ["large", "empty"] {
        assert_eq!(status(&to.join(&format!("outside-{file}"))).permissions(), 0o600);
        assert_eq!(status(&to.join("d").join(file)).permissions(), 0o644);
    }
}

#[test]
fn symlinks_in_the_destination_lead_nowhere() {
    let from = Dir::new();
    from.write("dir/file", b"contents");
    from.write("dir/sub/file", b"contents");
    from.write("plain", &bytes(1, 2 * P));
    from.write("vacant", b"");
    let to = Dir::new();
    to.write("outside/victim", b"untouched");
    let dest = to.join("d");
    fs::create_dir(&dest).unwrap();
    symlink("../outside", dest.join("dir")).unwrap();
    symlink("../outside/victim", dest.join("plain")).unwrap();
    symlink("../outside/victim", dest.join("vacant")).unwrap();
    let mut fetch = Fetch::begin(scan(from.path()), &dest, faithful());
    // Even the temporary name has been foreseen.
    symlink("../outside/victim", fetch.temporary("plain")).unwrap();
    let before = picture(&to.join("outside"));
    fetch.all();
    assert_eq!(picture(&to.join("outside")), before);
    assert_eq!(fs::read(dest.join("plain")).unwrap(), bytes(1, 2 * P));
    assert!(fs::symlink_metadata(dest.join("plain")).unwrap().is_file());
    assert!(fs::symlink_metadata(dest.join("vacant")).unwrap().is_file());
    let errors = fetch.errors();
    let about_dir = format!("cannot make the directory {:?}", dest.join("dir"));
    assert!(errors[0].starts_with(&about_dir), "{errors:?}");
    assert_eq!(errors.len(), 4, "the directory and all below: {errors:?}");
    assert!(!wants_any(&fetch.writer));
    assert!(
        !fetch
            .writer
            .have(fetch.map.of_entry(&fetch.source.manifest, fetch.entry("dir/file")).start)
    );
}

#[test]
fn a_hard_link_planted_as_temporary_file_is_not_written_to() {
    let from = Dir::new();
    from.write("f", &bytes(1, 2 * P));
    let to = Dir::new();
    let victim = to.write("victim", b"untouched");
    fs::create_dir(to.join("d")).unwrap();
    let mut fetch = Fetch::begin(scan(from.path()), &to.join("d"), faithful());
    fs::hard_link(&victim, fetch.temporary("f")).unwrap();
    fetch.all();
    assert_eq!(fs::read(&victim).unwrap(), b"untouched");
    assert_eq!(picture(&to.join("d")), picture(from.path()));
}

#[test]
fn what_is_in_the_way_is_named_and_the_rest_goes_on() {
    let from = Dir::new();
    from.write("file", b"1");
    from.write("large", &bytes(1, 2 * P));
    from.write("empty", b"");
    symlink("x", from.join("link")).unwrap();
    fs::hard_link(from.join("file"), from.join("other")).unwrap();
    from.write("dir/below", b"2");
    from.write("fine", b"3");
    let to = Dir::new();
    for name in ["file", "large", "empty", "link"] {
        to.write(&format!("{name}/inside"), b"");
    }
    to.write("dir", b"a file");
    let fetch = fetch(from.path(), to.path(), faithful());
    let shown = |name: &str| format!("{:?}", to.join(name));
    let mut wanted = vec![
        format!("cannot make the directory {}: what has its name is not a directory", shown("dir")),
        format!("cannot make {}: there is no directory for it", shown("dir/below")),
        format!("cannot make {}: the file that it is another name of is not there", shown("other")),
    ];
    for name in ["file", "large", "empty", "link"] {
        wanted.push(format!("cannot put {} in place: a directory is in the way", shown(name)));
    }
    let mut errors = fetch.errors();
    errors.sort();
    wanted.sort();
    assert_eq!(errors, wanted);
    assert_eq!(fs::read(to.join("fine")).unwrap(), b"3");
    assert_eq!(fs::read(to.join("dir")).unwrap(), b"a file");
}

#[test]
fn files_links_and_symlinks_take_each_others_places() {
    let from = Dir::new();
    from.write("a", b"a");
    fs::hard_link(from.join("a"), from.join("b")).unwrap();
    symlink("a", from.join("c")).unwrap();
    from.write("d", &bytes(1, 2 * P));
    let to = Dir::new();
    symlink("nowhere", to.join("a")).unwrap();
    to.write("b", b"a");
    to.write("c", b"was a file");
    symlink("c", to.join("d")).unwrap();
    let fetch = fetch(from.path(), to.path(), faithful());
    assert_eq!(fetch.errors(), [""; 0]);
    assert_eq!(picture(to.path()), picture(from.path()));
}

#[test]
fn names_of_our_temporary_files_are_refused() {
    let to = Dir::new();
    let from = Dir::new();
    from.write("x", b"x");
    let mut manifest = (*scan(from.path()).manifest).clone();
    manifest.entries[1].name = (*b".xget-0123456789abcdef.part").into();
    let manifest = Rc::new(manifest);
    let mut dest = Dest::open(&to.join("d"), faithful()).unwrap();
    let mut writer = dest.begin(manifest.clone(), map_of(&manifest)).unwrap();
    while writer.check_step(SLICE).unwrap() != Step::Done {}
    assert!(!wants_any(&writer));
    assert!(writer.failures()[0].1.to_string().contains("temporary"));
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
    let _filling = early.begin(manifest.clone(), map_of(&manifest)).unwrap();
    assert!(matches!(late.begin(manifest.clone(), map_of(&manifest)), Err(DestError::Busy(_))));
    // The one that has it may begin with another generation.
    assert!(early.begin(manifest.clone(), map_of(&manifest)).is_ok());
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
    let checked = begun.elapsed();
    fetch.store(usize::MAX).finish();
    assert_eq!((fetch.moved, fetch.errors().len()), (2, 0));
    let copy = status(&to.join("disk.img"));
    assert_eq!(copy.size, size);
    assert!(copy.allocated_bytes <= 64 * 1024, "{}", copy.allocated_bytes);
    eprintln!("6 GiB sparse checked in {checked:?}");
}

#[test]
fn many_files_at_once_hold_few_descriptors() {
    let from = Dir::new();
    let count = 3 * super::super::files::OPEN_MAX;
    (0..count).for_each(|i| drop(from.write(&format!("{i}"), &bytes(i as u64, P + 1))));
    let to = Dir::new();
    let mut fetch = Fetch::begin(scan(from.path()), to.path(), faithful());
    fetch.check();
    let first = fetch.map.manifest_pieces().count();
    // First one piece of every file, then the other.
    for half in 0..2 {
        for file in 0..count as u32 {
            let piece = first + 2 * file + half;
            let data = fetch.piece(piece);
            assert_eq!(fetch.writer.store(piece, &data).failed, []);
            assert!(fetch.writer.files.len() <= super::super::files::OPEN_MAX);
        }
    }
    fetch.finish();
    assert_eq!(fetch.errors(), [""; 0]);
    assert_eq!(picture(to.path()), picture(from.path()));
}

#[test]
fn a_tree_as_deep_as_an_index_is_copied() {
    let from = Dir::new();
    let mut at = file::open_dir(from.path()).unwrap();
    for _ in 0..DEPTH_MAX - 1 {
        file::make_dir_at(&at, b"d", 0o700).unwrap();
        at = file::open_dir_at(&at, b"d").unwrap();
    }
    file::create_file_at(&at, b"f", 0o600).unwrap().write_all_at(b"deep", 0).unwrap();
    let to = Dir::new();
    let fetch = fetch(from.path(), to.path(), faithful());
    assert_eq!(fetch.errors(), [""; 0]);
    let copy = scan(to.path()).manifest;
    let original = &fetch.source.manifest;
    assert_eq!(copy.entries[1..], original.entries[1..]);
}

#[test]
fn a_lack_of_room_is_told_in_numbers_before_anything_is_moved() {
    let from = Dir::new();
    from.write("a", &bytes(1, 40 * P));
    from.write("b", &bytes(2, 4 * P));
    on_file_system("tmpfs", "size=1m", |path| {
        let mut fetch = Fetch::begin(scan(from.path()), &path.join("d"), faithful());
        let error = loop {
            match fetch.writer.check_step(SLICE) {
                Ok(Step::Checking { .. }) => {}
                Ok(Step::Done) => panic!("there is no room"),
                Err(error) => break error,
            }
        };
        let DestError::NoRoom { needed_bytes, free_bytes, .. } = error else { panic!("{error}") };
        assert_eq!(needed_bytes, 44 * P as u64);
        assert!(free_bytes <= 1 << 20);
        assert!(error.to_string().contains(&free_bytes.to_string()), "{error}");
        assert!(error.ends_all());
    });
}

#[test]
fn a_medium_that_fills_up_fails_what_does_not_fit_and_nothing_is_half_there() {
    let from = Dir::new();
    from.write("a", &bytes(1, 20 * P));
    from.write("b", &bytes(2, 4 * P));
    on_file_system("tmpfs", "size=1m", |path| {
        let mut fetch = Fetch::begin(scan(from.path()), &path.join("d"), faithful());
        fetch.check();
        // Somebody else has taken most of it since it was checked.
        fs::write(path.join("other"), vec![1; 14 * P]).unwrap();
        fetch.store(usize::MAX).finish();
        let errors = fetch.errors();
        assert!(errors.iter().all(|e| e.contains("No space left")), "{errors:?}");
        assert!(errors[0].contains(&format!("{:?}", path.join("d/a"))), "{errors:?}");
        assert!(fetch.writer.failures()[0].1.ends_all());
        assert!(!path.join("d/a").exists());
        assert!(fetch.temporary("a").exists(), "for a later run");
        drop(fetch);
        fs::remove_file(path.join("other")).unwrap();
        let mut later = Fetch::begin(scan(from.path()), &path.join("d"), faithful());
        later.all();
        assert_eq!(later.errors(), [""; 0]);
        assert!(later.moved < 20, "resumed: {}", later.moved);
        assert_eq!(picture(&path.join("d")), picture(from.path()));
    });
}

#[test]
fn an_update_in_place_needs_room_for_the_difference_only() {
    let from = Dir::new();
    let to_bytes = |seed| bytes(seed, 6 * P);
    (0..4).for_each(|i| drop(from.write(&format!("{i}"), &to_bytes(i))));
    on_file_system("tmpfs", "size=1m", |path| {
        fs::create_dir(path.join("d")).unwrap();
        (0..4).for_each(|i| fs::write(path.join(format!("d/{i}")), to_bytes(i + 10)).unwrap());
        let fetch = fetch(from.path(), &path.join("d"), faithful());
        assert_eq!(fetch.errors(), [""; 0]);
    });
}

#[test]
fn a_ram_disk_without_limits_is_a_destination() {
    let from = rich_tree();
    for kind in ["ramfs", "tmpfs"] {
        on_file_system(kind, "mode=755", |path| {
            // At its root, as on an initramfs, and below.
            for dest in [path.to_path_buf(), path.join("d")] {
                let fetch = fetch(from.path(), &dest, faithful());
                assert_eq!(fetch.errors(), [""; 0], "{kind}");
                fetch.writer.sync().unwrap();
            }
            let mut wanted = picture(from.path());
            let mut found = picture(&path.join("d"));
            assert!(wanted.remove(&b""[..]).is_some() && found.remove(&b""[..]).is_some());
            assert_eq!(found, wanted, "{kind}");
        });
    }
}

#[test]
fn a_file_system_without_writing_is_named_as_the_cause() {
    let from = Dir::new();
    from.write("d/f", b"f");
    on_file_system("tmpfs", "size=4m", |path| {
        fs::create_dir(path.join("dest")).unwrap();
        let flags = nix::mount::MsFlags::MS_REMOUNT | nix::mount::MsFlags::MS_RDONLY;
        nix::mount::mount(None::<&str>, path, None::<&str>, flags, None::<&str>).unwrap();
        let fetch = fetch(from.path(), &path.join("dest"), faithful());
        let errors = fetch.errors();
        assert!(errors[0].contains("dest/d\": Read-only"), "{errors:?}");
        let made = Dest::open(&path.join("new"), faithful()).unwrap();
        let mut made = made;
        let manifest = scan(from.path()).manifest;
        let error = made.begin(manifest.clone(), map_of(&manifest)).err().unwrap();
        assert!(error.to_string().contains("Read-only"), "{error}");
    });
}

#[test]
fn wrong_lengths_do_nothing() {
    let from = Dir::new();
    from.write("f", b"four");
    let to = Dir::new();
    let mut fetch = Fetch::begin(scan(from.path()), to.path(), faithful());
    fetch.check();
    let piece = fetch.map.manifest_pieces().count();
    assert_eq!(fetch.writer.store(piece, b"fou"), Stored::default());
    assert!(wants(&fetch.writer, piece));
    assert_eq!(fetch.writer.store(piece, b"four").completed, [1]);
    assert_eq!(fetch.writer.store(piece, b"four"), Stored::default(), "twice is once");
    assert!(fetch.writer.have(0), "the manifest is at hand");
    assert!(!fetch.writer.have(u32::MAX));
}

#[test]
fn special_and_unreadable_entries_are_nobodys_failure() {
    let from = Dir::new();
    nix::unistd::mkfifo(&from.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut manifest = (*scan(from.path()).manifest).clone();
    let odd = Entry {
        parent: 0,
        name: (*b"z").into(),
        kind: EntryKind::Unreadable,
        ..Entry::bare_root()
    };
    manifest.entries.push(odd);
    let manifest = Rc::new(manifest);
    let to = Dir::new();
    let mut dest = Dest::open(&to.join("d"), faithful()).unwrap();
    let mut writer = dest.begin(manifest.clone(), map_of(&manifest)).unwrap();
    while writer.check_step(1).unwrap() != Step::Done {}
    while writer.finish_step(1) != FinishStep::Done {}
    assert_eq!(writer.failures(), []);
    assert_eq!(fs::read_dir(to.join("d")).unwrap().count(), 0);
}
