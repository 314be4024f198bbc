//! A destination made the same as its source: what goes, what stays, and when.

use super::*;
use peer::content::patterns::Patterns;

pub fn policy(purpose: Purpose, keep: &str) -> DestOptions {
    let mut patterns = Patterns::default();
    patterns.add(keep.as_bytes()).unwrap();
    let policy = Policy { purpose, keep: patterns, ..Policy::default() };
    DestOptions { policy, ..faithful() }
}

pub fn mirroring(keep: &str) -> DestOptions {
    policy(Purpose::Mirror, keep)
}

pub fn sorted(lines: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = lines.lines().collect();
    lines.sort_unstable();
    lines
}

/// What is compared, from the first step to the last.
pub fn compare(from: &Path, to: &Path, options: DestOptions) -> Fetch {
    let mut fetch = Fetch::begin(scan(from), to, options);
    fetch.check().finish();
    fetch
}

/// A source, and an older version of it with more in it.
fn old_and_new() -> (Dir, Dir) {
    let (source, dest) = (rich_tree(), Dir::new());
    fetch(source.path(), dest.path(), faithful());
    source.write("large", &bytes(77, 5 * P + 99));
    source.write("sub/deep/er/new", b"new");
    source.write("newdir/x", b"x");
    set_mode(&source.join("exact"), 0o600);
    fs::remove_file(source.join("many/000")).unwrap();
    fs::remove_file(source.join("sub/link")).unwrap();
    symlink("elsewhere", source.join("sub/link")).unwrap();
    dest.write("extra/deep/file", b"123");
    symlink("/etc", dest.join("extra/deep/etc")).unwrap();
    dest.write("sub/deep/er/gone", b"four");
    (source, dest)
}

#[test]
fn a_mirror_without_modes_leaves_those_that_are_there() {
    let (from, to) = (Dir::new(), Dir::new());
    let old = from.write("private", b"private");
    set_mtime(&old, 42, 43);
    set_mode(&to.write("private", b"private"), 0o600);
    let options = DestOptions { keep_modes: false, keep_owners: false, ..mirroring("") };
    assert_eq!(fetch(from.path(), to.path(), options).errors(), [""; 0]);
    let there = status(&to.join("private"));
    assert_eq!((there.permissions(), there.mtime_s), (0o600, 42));
}

/// A name in a directory that others write to may be another file's by then.
#[test]
fn attributes_are_given_to_what_was_looked_at_and_to_nothing_else() {
    let (source, dest) = (Dir::new(), Dir::new());
    for name in ["linked", "other", "rewritten", "same"] {
        set_mode(&source.write(name, b"right"), 0o4755);
        set_mode(&dest.write(name, b"right"), 0o600);
    }
    let outside = dest.write("outside", b"right");
    set_mode(&outside, 0o600);
    let mut fetch = Fetch::begin(scan(source.path()), dest.path(), mirroring("outside"));
    fetch.check();
    fs::remove_file(dest.join("linked")).unwrap();
    fs::hard_link(&outside, dest.join("linked")).unwrap();
    fs::remove_file(dest.join("other")).unwrap();
    set_mode(&dest.write("other", b"other"), 0o640);
    let before = status(&dest.join("rewritten")).ctime_ns;
    while status(&dest.join("rewritten")).ctime_ns == before {
        fs::write(dest.join("rewritten"), b"wrong").unwrap();
    }
    fetch.store(usize::MAX).finish();
    assert_eq!(fetch.errors().len(), 3, "{:?}", fetch.errors());
    assert!(fetch.errors().iter().all(|why| why.contains("changed meanwhile")));
    let modes = ["outside", "other", "rewritten", "same"]
        .map(|name| status(&dest.join(name)).permissions());
    assert_eq!(modes, [0o600, 0o640, 0o600, 0o4755]);
    assert!(fetch.writer.take_notes()[0].contains("nothing is deleted"));
}

#[test]
fn a_mirror_is_the_same_as_its_source() {
    let (source, dest) = old_and_new();
    let mut fetch = fetch(source.path(), dest.path(), mirroring(""));
    assert_eq!(fetch.errors(), [""; 0]);
    assert_eq!(picture(dest.path()), picture(source.path()));
    let lines = fetch.writer.take_changes();
    let large = format!("changed {} large", 5 * P + 99);
    let wanted = [
        "attributes 131072 exact",
        "changed 0 sub/also-large",
        "changed 0 sub/link",
        &large,
        "deleted 0 extra/",
        "deleted 0 extra/deep/",
        "deleted 0 many/000",
        "deleted 3 extra/deep/file",
        "deleted 4 extra/deep/etc",
        "deleted 4 sub/deep/er/gone",
        "new 0 newdir/",
        "new 1 newdir/x",
        "new 3 sub/deep/er/new",
    ];
    let exact = format!("attributes {} exact", 2 * P);
    let mut wanted: Vec<&str> = wanted.to_vec();
    wanted[0] = &exact;
    wanted.sort_unstable();
    assert_eq!(sorted(&lines), wanted);
    drop(fetch);
    let again = fetch_again(source.path(), dest.path());
    assert_eq!(again, "", "nothing differs any more");
}

#[test]
fn what_went_over_a_root_is_undone_and_the_rest_not_moved_again() {
    let (image, root) = (rich_tree(), Dir::new());
    let over = || policy(Purpose::Copy, "");
    let first = fetch(image.path(), root.path(), over());
    assert_eq!(first.errors(), [""; 0]);
    drop(first);
    // A layer, and the name of the node.
    let large = fs::metadata(image.join("large")).unwrap().len();
    fs::remove_file(root.join("large")).unwrap();
    root.write("large", b"of a layer");
    fs::remove_file(root.join("sub/link")).unwrap();
    root.write("sub/link", b"a file in a symlink's place");
    root.write("only/of/the/layer", b"x");
    let mut again = fetch(image.path(), root.path(), over());
    assert_eq!(again.errors(), [""; 0]);
    assert_eq!(picture(root.path()), picture(image.path()));
    assert!(again.moved as u64 <= large / P as u64 + 2, "{} pieces", again.moved);
    assert_eq!(again.writer.take_changes(), "", "nobody reads a list");
}

fn fetch_again(from: &Path, to: &Path) -> String {
    let mut again = fetch(from, to, mirroring(""));
    assert_eq!((again.errors().len(), again.moved), (0, 0));
    again.writer.take_changes()
}

#[test]
fn a_comparison_tells_what_a_mirror_does_and_writes_nothing() {
    let (source, dest) = old_and_new();
    let before = picture(dest.path());
    let comparing = policy(Purpose::Compare { removes: true }, "");
    let mut compared = compare(source.path(), dest.path(), comparing);
    assert_eq!(compared.errors(), [""; 0]);
    let told = compared.writer.take_changes();
    assert_eq!(picture(dest.path()), before);
    drop(compared);
    let mut done = fetch(source.path(), dest.path(), mirroring(""));
    assert_eq!(sorted(&told), sorted(&done.writer.take_changes()));
    let plain = policy(Purpose::Compare { removes: false }, "");
    let mut same = compare(source.path(), dest.path(), plain);
    assert_eq!((same.errors().len(), same.writer.take_changes().as_str()), (0, ""));
}

#[test]
fn the_directory_itself_becomes_the_sources_and_that_is_told() {
    let (source, dest) = (Dir::new(), Dir::new());
    source.write("a", b"a");
    set_mode(source.path(), 0o1750);
    set_mode(dest.path(), 0o705);
    let taking = |purpose| DestOptions { takes_root: true, ..policy(purpose, "") };
    let comparing = taking(Purpose::Compare { removes: true });
    let take = |mut fetch: Fetch| fetch.writer.take_changes();
    let told = take(compare(source.path(), dest.path(), comparing));
    assert_eq!(sorted(&told), ["attributes 0 ./", "new 1 a"]);
    let plain = DestOptions { keep_modes: false, keep_owners: false, ..taking(Purpose::Mirror) };
    assert_eq!(fetch(source.path(), dest.path(), plain).errors(), [""; 0]);
    assert_eq!(status(dest.path()).permissions(), 0o705, "-s");
    let done = take(fetch(source.path(), dest.path(), taking(Purpose::Mirror)));
    assert_eq!(sorted(&done), ["attributes 0 ./"]);
    assert_eq!(status(dest.path()).permissions(), 0o1750);
    assert_eq!(take(fetch(source.path(), dest.path(), taking(Purpose::Mirror))), "");
}

#[test]
fn a_user_who_may_write_into_a_directory_of_another_leaves_that_as_it_is() {
    if !file::is_root() {
        return;
    }
    let (source, dest) = (Dir::new(), Dir::new());
    source.write("a", b"a");
    set_mode(source.path(), 0o755);
    set_mode(dest.path(), 0o777);
    let (from, to) = (source.path(), dest.path());
    let errors = as_nobody(|| {
        let options = DestOptions { takes_root: true, keep_owners: false, ..mirroring("") };
        fetch(from, to, options).errors()
    });
    assert_eq!(errors, [""; 0]);
    assert_eq!(status(to).permissions(), 0o777);
}

#[test]
fn until_all_is_here_nothing_is_changed() {
    let (source, dest) = old_and_new();
    set_mode(&source.join("hollow"), 0o700);
    let before = picture(dest.path());
    let mut begun = Fetch::begin(scan(source.path()), dest.path(), mirroring(""));
    begun.check();
    let missing = begun.missing().len();
    begun.store(missing - 1);
    let half = picture(dest.path());
    let is_ours = |path: &[u8]| path.windows(6).any(|part| part == b".xget-");
    let changed = |now: &BTreeMap<Vec<u8>, String>| {
        let is_other = |(path, seen): &(&Vec<u8>, &String)| {
            // Directories have got temporary files, and so other times.
            !is_ours(path) && !path.starts_with(b"newdir") && before.get(*path) != Some(*seen)
        };
        let files = |path: &&Vec<u8>| dest.path().join(name(path)).is_file();
        now.iter().filter(is_other).map(|(path, _)| path).filter(files).count()
    };
    assert_eq!(changed(&half), 0);
    // One piece never comes: so nothing is placed, and nothing goes.
    begun.finish();
    assert_eq!(changed(&picture(dest.path())), 0);
    assert!(dest.join("extra/deep/file").exists());
    assert_eq!(status(&dest.join("hollow")).permissions(), 0o1777);
    assert!(begun.writer.take_notes()[0].contains("nothing that was there is changed"));
    drop(begun);
    let resumed = fetch(source.path(), dest.path(), mirroring(""));
    assert_eq!((resumed.errors().len(), resumed.moved), (0, 1), "the rest was there");
    assert_eq!(picture(dest.path()), picture(source.path()));
}

#[test]
fn a_destination_that_an_interrupted_run_made_gets_the_attributes_of_the_source() {
    let (source, dest) = (rich_tree(), Dir::new());
    set_mode(source.path(), 0o750);
    let new = dest.join("new");
    Fetch::begin(scan(source.path()), &new, mirroring("")).check();
    let mut ended = fetch(source.path(), &new, mirroring(""));
    assert_eq!(ended.errors(), [""; 0]);
    assert_eq!(status(&new).permissions(), 0o750);
    assert!(!ended.writer.take_changes().contains(".xget-"));
}

#[test]
fn what_fits_a_pattern_is_neither_changed_nor_deleted_nor_put_there() {
    let (source, dest) = (Dir::new(), Dir::new());
    for (path, text) in [("etc/id", "image's"), ("etc/new.local", "n"), ("var/log/x", "x")] {
        source.write(path, text.as_bytes());
    }
    source.write("etc/large", &bytes(1, 3 * P));
    source.write("etc/other", b"other");
    fs::write(source.join("empty"), b"").unwrap();
    fs::hard_link(source.join("etc/id"), source.join("etc/link")).unwrap();
    dest.write("etc/id", b"mine");
    dest.write("etc/large", b"my own");
    dest.write("gone/but/this.local", b"stays");
    dest.write("gone/this", b"goes");
    dest.write("var/log/own", b"log");
    dest.write("var/gone", b"goes");
    let keep = "/etc/id\n*.local\n/var/log/\n/etc/large\n/empty\n";
    let mut fetch = fetch(source.path(), dest.path(), mirroring(keep));
    assert_eq!(fetch.errors(), [""; 0]);
    for (path, text) in [
        ("etc/id", "mine"),
        ("etc/large", "my own"),
        ("etc/other", "other"),
        ("gone/but/this.local", "stays"),
        ("var/log/own", "log"),
    ] {
        assert_eq!(fs::read(dest.join(path)).unwrap(), text.as_bytes(), "{path}");
    }
    for path in ["etc/new.local", "etc/link", "var/log/x", "empty", "gone/this", "var/gone"] {
        assert!(!dest.join(path).exists(), "{path}");
    }
    let lines = fetch.writer.take_changes();
    assert_eq!(sorted(&lines), ["deleted 4 gone/this", "deleted 4 var/gone", "new 5 etc/other"]);
    // Those who ask for these pieces get them all the same.
    assert_eq!(aside(&fetch, "etc/id", 0, 7).unwrap(), b"image's");
    let large = |at: usize| aside(&fetch, "etc/large", at, P).unwrap();
    assert_eq!([large(0), large(P), large(2 * P)].concat(), bytes(1, 3 * P));
    assert!(fetch.writer.aside(0, 0).is_none());
    assert_eq!(fs::read_dir(dest.path()).unwrap().count(), 3, "nothing of it has a name");
}

#[test]
fn a_kept_file_that_is_right_is_served_from_where_it_is() {
    let (source, dest) = (Dir::new(), Dir::new());
    source.write("same", b"same");
    dest.write("same", b"same");
    set_mode(&dest.join("same"), 0o640);
    let mut fetch = fetch(source.path(), dest.path(), mirroring("same"));
    assert_eq!((fetch.moved, status(&dest.join("same")).permissions()), (0, 0o640));
    assert!(fetch.writer.aside(1, 0).is_none() && fetch.writer.file(1).is_ok());
}

/// What is kept aside of a file.
fn aside(fetch: &Fetch, path: &str, offset: usize, len: usize) -> Option<Vec<u8>> {
    let (file, start) = fetch.writer.aside(fetch.entry(path), offset as u64)?;
    let mut there = vec![0; len];
    file.read_exact_at(&mut there, start + offset as u64).unwrap();
    Some(there)
}

#[test]
fn of_a_kept_file_what_is_right_is_served_from_it_and_the_rest_comes_aside() {
    let (source, dest) = (Dir::new(), Dir::new());
    let right = bytes(1, 40 * P + 7);
    for name in ["changed", "longer", "shorter"] {
        source.write(name, &right);
    }
    let mut changed = right.clone();
    changed[3 * P + 5] ^= 1;
    dest.write("changed", &changed);
    dest.write("longer", &[&right[..], b"and more"].concat());
    dest.write("shorter", &right[..39 * P + 1]);
    for purpose in [Purpose::Serve, Purpose::Mirror] {
        let mut fetch = Fetch::begin(scan(source.path()), dest.path(), policy(purpose, "*"));
        fetch.check();
        assert_eq!(fetch.missing().len(), 1 + 2, "{purpose:?}");
        assert!(fetch.writer.aside(1, 0).is_none(), "nothing was copied");
        fetch.store(usize::MAX).finish();
        assert_eq!(fetch.errors(), [""; 0]);
        assert_eq!(aside(&fetch, "changed", 3 * P, P).unwrap(), right[3 * P..4 * P]);
        assert!(aside(&fetch, "changed", 2 * P, P).is_none());
        assert_eq!(aside(&fetch, "shorter", 40 * P, 7).unwrap(), right[40 * P..]);
        for name in ["changed", "shorter", "longer"] {
            let (file, is_sure) = fetch.writer.file(fetch.entry(name)).unwrap();
            let mut there = vec![0; P];
            file.read_exact_at(&mut there, 2 * P as u64).unwrap();
            assert!(there == right[2 * P..3 * P] && !is_sure, "{name}");
        }
        let (file, _) = fetch.writer.aside(fetch.entry("changed"), 3 * P as u64).unwrap();
        // Three of 121 pieces.
        assert!(file.metadata().unwrap().blocks() * 512 <= 4 * P as u64);
    }
    assert!(fs::read(dest.join("changed")).unwrap() == changed);
}

#[test]
fn a_kept_sparse_file_takes_no_room_for_its_holes() {
    on_file_system("tmpfs", "size=2m", |dest| {
        let source = Dir::new();
        let log = fs::File::create(source.join("lastlog")).unwrap();
        log.set_len(64 << 20).unwrap();
        log.write_all_at(b"of the image", 30 << 20).unwrap();
        fs::write(dest.join("lastlog"), b"of the node").unwrap();
        for purpose in [Purpose::Mirror, Purpose::Fill, Purpose::Serve] {
            let mut fetch = Fetch::begin(scan(source.path()), dest, policy(purpose, "/lastlog"));
            fetch.all();
            assert_eq!((fetch.errors().len(), fetch.moved), (0, 1), "{purpose:?}");
            assert_eq!(aside(&fetch, "lastlog", 30 << 20, 12).unwrap(), b"of the image");
            assert_eq!(aside(&fetch, "lastlog", 60 << 20, P).unwrap(), vec![0; P]);
        }
        assert_eq!(fs::read(dest.join("lastlog")).unwrap(), b"of the node");
    });
}

/// It is one that would be wrong and have the status of a right one.
#[test]
fn what_is_written_to_while_it_is_looked_at_is_not_taken_for_right() {
    for options in [faithful(), mirroring("")] {
        let (source, dest) = (Dir::new(), Dir::new());
        source.write("f", &bytes(1, 8 * P));
        dest.write("f", &bytes(1, 8 * P));
        set_mtime(&source.join("f"), 1_000, 5);
        set_mtime(&dest.join("f"), 1_000, 5);
        let mut fetch = Fetch::begin(scan(source.path()), dest.path(), options);
        // Until the first of its pieces were looked at.
        (0..6).for_each(|_| assert_eq!(fetch.writer.check_step(1), Ok(CheckStep::Checking)));
        let before = status(&dest.join("f"));
        let file = fs::OpenOptions::new().write(true).open(dest.join("f")).unwrap();
        // The clock of a file system has ticks.
        while status(&dest.join("f")).ctime_ns == before.ctime_ns {
            file.write_all_at(b"?", 7).unwrap();
            set_mtime(&dest.join("f"), 1_000, 5);
        }
        fetch.all();
        assert_eq!((fetch.errors().len(), fetch.moved), (0, 1));
        assert!(fs::read(dest.join("f")).unwrap() == bytes(1, 8 * P));
    }
}

#[test]
fn what_is_mounted_below_stays_whatever_the_source_has_there() {
    on_file_system("tmpfs", "size=4m", |dest| {
        let source = Dir::new();
        source.write("a", b"a");
        source.write("data/x", b"x");
        fs::create_dir(source.join("proc")).unwrap();
        for dir in ["data", "proc", "other/mounted", "bound", "own"] {
            fs::create_dir_all(dest.join(dir)).unwrap();
        }
        fs::write(dest.join("own/file"), b"mine").unwrap();
        let mount = |from: &str, to: &str, kind: Option<&str>, flags| {
            let to = dest.join(to);
            let from = if kind.is_some() { from.into() } else { dest.join(from) };
            nix::mount::mount(Some(&from), &to, kind, flags, None::<&str>).unwrap();
        };
        let none = nix::mount::MsFlags::empty();
        for dir in ["data", "proc", "other/mounted"] {
            mount("tmpfs", dir, Some("tmpfs"), none);
            fs::write(dest.join(dir).join("theirs"), b"theirs").unwrap();
        }
        // The same file system, seen twice: by its number it is the same.
        mount("own", "bound", None, nix::mount::MsFlags::MS_BIND);
        fs::write(source.join("b"), b"b").unwrap();
        fs::create_dir(source.join("own")).unwrap();
        fs::write(source.join("own/file"), b"mine").unwrap();
        let mut fetch = fetch(source.path(), dest, mirroring(""));
        assert_eq!(fetch.errors(), [""; 0]);
        for path in ["data/theirs", "proc/theirs", "other/mounted/theirs", "bound/file", "a", "b"] {
            assert!(dest.join(path).exists(), "{path}");
        }
        assert!(!dest.join("data/x").exists());
        let notes = fetch.writer.take_notes();
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(notes[0].contains("/data\" is another file system here"), "{notes:?}");
    });
}

#[test]
fn a_file_that_is_mounted_is_left_as_it_is_with_what_is_behind_it() {
    on_file_system("tmpfs", "size=4m", |dest| {
        let source = Dir::new();
        let large = bytes(1, 2 * P);
        for (name, contents) in [("same", &b"same"[..]), ("other", b"other"), ("empty", b"")] {
            set_mode(&source.write(&format!("etc/{name}"), contents), 0o4755);
        }
        source.write("etc/large", &large);
        source.write("way", b"a file");
        source.write("dir/below", b"below");
        let names =
            ["etc/same", "etc/other", "etc/empty", "etc/large", "etc/extra", "way/deep/in", "dir"];
        fs::create_dir_all(dest.join("etc")).unwrap();
        fs::create_dir_all(dest.join("way/deep")).unwrap();
        let behind = Dir::new();
        for (number, path) in names.iter().enumerate() {
            let contents = if number < 3 { &b"same"[..(4 - 2 * number)] } else { &large[..P] };
            let theirs = behind.write(&number.to_string(), contents);
            set_mode(&theirs, 0o600);
            fs::write(dest.join(path), b"under it").unwrap();
            let none = None::<&str>;
            let bind = nix::mount::MsFlags::MS_BIND;
            nix::mount::mount(Some(&theirs), &dest.join(path), none, bind, none).unwrap();
        }
        let before = picture(behind.path());
        let comparing = policy(Purpose::Compare { removes: true }, "");
        let mut compared = compare(source.path(), dest, comparing);
        let told = compared.writer.take_changes();
        drop(compared);
        let way = fetch(source.path(), dest, mirroring(""));
        assert!(way.errors()[0].contains("/way\" in place: a directory is in the way"));
        assert!(dest.join("way/deep/in").exists());
        drop(way);
        fs::remove_file(source.join("way")).unwrap();
        let mut fetch = fetch(source.path(), dest, mirroring(""));
        assert_eq!(fetch.errors(), [""; 0]);
        assert_eq!(picture(behind.path()), before);
        assert!(dest.join("etc/extra").exists() && dest.join("way/deep/in").exists());
        let notes = fetch.writer.take_notes();
        assert_eq!(notes.len(), 5, "{notes:?}");
        assert!(notes[0].contains("is mounted here: it is left as it is"), "{notes:?}");
        assert_eq!(aside(&fetch, "etc/other", 0, 5).unwrap(), b"other");
        let done = fetch.writer.take_changes();
        assert!(!told.contains("deleted") && !done.contains("deleted"), "{told}\n{done}");
    });
}

#[test]
fn what_cannot_be_removed_is_named_and_the_others_go() {
    if !file::is_root() {
        return;
    }
    let (source, dest) = (Dir::new(), Dir::new());
    source.write("a", b"a");
    dest.write("extra/stays", b"1");
    dest.write("extra/goes", b"1");
    let mut deep = dest.join("deep");
    for _ in 0..130 {
        deep.push("d");
    }
    fs::create_dir_all(&deep).unwrap();
    set_mode(dest.path(), 0o777);
    set_mode(&dest.join("extra"), 0o755);
    // A user who may not write into one of them.
    chown(dest.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let (from, to) = (source.path(), dest.path());
    let errors = as_nobody(|| {
        let options = DestOptions { keep_owners: false, ..mirroring("/deep/") };
        fetch(from, to, options).errors()
    });
    assert!(errors.iter().any(|why| why.contains("cannot remove") && why.contains("extra/stays")));
    let fetch = fetch(from, to, mirroring(""));
    assert_eq!(fetch.errors().len(), 1, "{:?}", fetch.errors());
    assert!(fetch.errors()[0].contains("deep/d/d"), "{:?}", fetch.errors());
    assert!(!dest.join("extra").exists() && deep.exists());
}

#[test]
fn of_several_sources_only_what_they_name_is_emptied() {
    let (source, dest) = (Dir::new(), Dir::new());
    source.write("one/a", b"a");
    source.write("two/b", b"b");
    dest.write("one/extra", b"goes");
    dest.write("three/c", b"stays");
    let tree = scan(source.path());
    let part = tree.manifest.select(&[b"one"]).unwrap();
    let map = map_of(&part.manifest);
    let mut place = Dest::open(dest.path(), mirroring("")).unwrap();
    let manifest = Rc::new(part.manifest);
    let mut writer = place.begin(manifest.clone(), map.clone()).unwrap();
    check(&mut writer);
    let piece = map.manifest_pieces().count();
    let extents: Vec<Extent> = map.extents(&manifest, piece).collect();
    writer.store(&extents, b"a").unwrap();
    while writer.finish_step(SLICE) != FinishStep::Done {}
    assert!(writer.failures().is_empty());
    assert!(dest.join("one/a").exists() && !dest.join("one/extra").exists());
    assert!(dest.join("three/c").exists());
}

#[test]
fn the_running_system_is_not_replaced_by_something_that_is_none() {
    let source = Dir::new();
    source.write("kernel", b"k");
    fs::create_dir(source.join("etc")).unwrap();
    let tree = scan(source.path());
    for purpose in [Purpose::Compare { removes: true }, Purpose::Compare { removes: false }] {
        let mut root = Dest::open(Path::new("/"), policy(purpose, "")).unwrap();
        let begun = root.begin(tree.manifest.clone(), map_of(&tree.manifest));
        match purpose.removes() {
            true => assert!(matches!(begun.err(), Some(DestError::NoSystem(_)))),
            false => assert!(begun.is_ok()),
        }
    }
}

#[test]
fn who_serves_writes_nothing_and_has_the_rest_aside() {
    let (source, dest) = (rich_tree(), Dir::new());
    fetch(source.path(), dest.path(), faithful());
    fs::remove_dir_all(dest.join("sub")).unwrap();
    dest.write("one-piece", b"changed");
    dest.write("extra", b"extra");
    let before = picture(dest.path());
    let mut serving = Fetch::begin(scan(source.path()), dest.path(), policy(Purpose::Serve, ""));
    let missing = serving.check().missing().len();
    assert!((1..10).contains(&missing), "{missing}");
    serving.store(usize::MAX).finish();
    assert_eq!(serving.errors(), [""; 0]);
    assert_eq!(picture(dest.path()), before);
    assert!(aside(&serving, "one-piece", 0, P).unwrap() == bytes(3, P));
}

/// A spool, a mail directory: what goes is as much as what stays. Names without ASCII letters
/// all look alike to us.
#[test]
fn many_names_are_removed_beside_many_that_stay() {
    const COUNT: u32 = 600;
    let (source, dest) = (Dir::new(), Dir::new());
    let cyrillic = |number: u32| -> String {
        (0..12).map(|bit| if number >> bit & 1 == 0 { 'а' } else { 'б' }).collect()
    };
    for number in 0..COUNT {
        fs::write(source.join(&format!("stays{number}")), b"x").unwrap();
        fs::write(source.join(&cyrillic(number)), b"x").unwrap();
    }
    drop(fetch(source.path(), dest.path(), faithful()));
    for number in 0..COUNT {
        fs::write(dest.join(&format!("GOES{number}")), b"x").unwrap();
        fs::write(dest.join(&cyrillic(number).replace('а', "в")), b"x").unwrap();
        fs::write(dest.join(&format!("STAYS{number}")), b"x").unwrap();
    }
    let before = folded::LOOKS.get();
    let fetch = fetch(source.path(), dest.path(), mirroring(""));
    assert_eq!(fetch.errors(), [""; 0]);
    assert_eq!(fs::read_dir(dest.path()).unwrap().count(), 2 * COUNT as usize);
    // 3,000 names are there; each that goes with each that stays were two million looks, and
    // minutes for directories of 10,000.
    let looks = folded::LOOKS.get() - before;
    assert!(looks < 10 * u64::from(COUNT), "{looks}");
}
