//! A copy is like its source: contents, attributes, kinds of entries.

use super::*;

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
    assert_eq!(fetch.missing(), NONE);
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
    assert_eq!(again.missing(), NONE);
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
    assert_eq!(check(&mut writer), NONE);
    writer.store(&[Extent { entry: 1, offset: 0, len: 1 }], b"f").unwrap();
    while writer.finish_step(SLICE) != FinishStep::Done {}
    let side = status(&to.join("side"));
    assert_eq!(side.permissions(), 0o777 & !file::umask());
    assert_ne!(side.mtime_s, 42);
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
    for (options, made) in [(DestOptions::default(), 0), (faithful(), usize::from(file::is_root()))]
    {
        let mut dest = Dest::open(&to.join("d"), options).unwrap();
        let mut writer = dest.begin(manifest.clone(), map_of(&manifest)).unwrap();
        while writer.check_step(1).unwrap() == CheckStep::Checking {}
        while writer.finish_step(1) != FinishStep::Done {}
        assert_eq!(writer.failures(), []);
        assert_eq!(fs::read_dir(to.join("d")).unwrap().count(), made, "root makes the fifo");
    }
}

#[test]
fn what_goes_over_something_else_leaves_directories_as_they_are() {
    let (from, to) = (Dir::new(), Dir::new());
    for dir in ["etc", "etc/new"] {
        fs::create_dir(from.join(dir)).unwrap();
        set_mode(&from.join(dir), 0o750);
    }
    fs::write(from.join("etc/new/file"), "x").unwrap();
    fs::create_dir(to.join("etc")).unwrap();
    set_mode(&to.join("etc"), 0o711);
    set_mode(to.path(), 0o705);
    let over = DestOptions { keep_dirs: true, ..faithful() };
    let fetched = fetch(from.path(), to.path(), over.clone());
    assert_eq!(fetched.errors(), [""; 0]);
    let mode = |path: &str| status(&to.join(path)).permissions();
    assert_eq!((mode("."), mode("etc"), mode("etc/new")), (0o705, 0o711, 0o750));
    drop(fetched);
    // A run that is interrupted has given what is new its attributes.
    fs::create_dir(from.join("later")).unwrap();
    set_mode(&from.join("later"), 0o770);
    let mut begun = Fetch::begin(scan(from.path()), to.path(), over);
    begun.check();
    assert_eq!(mode("later"), 0o770);
}

#[test]
fn a_directory_that_kept_its_owner_out_gets_its_mode_back_where_directories_stay() {
    let (from, to) = (Dir::new(), Dir::new());
    from.write("d/file", b"x");
    let dest = to.join("dest");
    fs::create_dir_all(dest.join("d")).unwrap();
    if file::is_root() {
        for path in [&dest, &dest.join("d")] {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
    set_mode(&dest.join("d"), 0o511);
    let options = DestOptions { keep_dirs: true, keep_owners: false, ..faithful() };
    assert_eq!(as_nobody(|| fetch(from.path(), &dest, options).errors()), [""; 0]);
    assert_eq!(status(&dest.join("d")).permissions(), 0o511);
    assert!(dest.join("d/file").exists());
}

/// As a root is: DEST is a file system that was mounted for it.
#[test]
fn a_destination_that_was_there_gets_the_attributes_of_the_root_where_that_is_wanted() {
    let (from, to) = (Dir::new(), Dir::new());
    from.write("f", b"f");
    set_mode(from.path(), 0o1711);
    set_mtime(from.path(), 1_000, 5);
    for (takes_root, mode) in [(false, 0o750), (true, 0o1711)] {
        let dest = to.join(&format!("{takes_root}"));
        fs::create_dir(&dest).unwrap();
        set_mode(&dest, 0o750);
        let options = DestOptions { takes_root, ..faithful() };
        Fetch::begin(scan(from.path()), &dest, options).all();
        let now = status(&dest);
        assert_eq!((now.permissions(), now.mtime_s, now.mtime_ns), (mode, 1_000, 5));
    }
    // Several sources have no root in common.
    let manifest = scan(from.path()).manifest.select(&[b"f"]).unwrap().manifest;
    let dest = to.join("bare");
    fs::create_dir(&dest).unwrap();
    set_mode(&dest, 0o750);
    let mut claimed = Dest::open(&dest, DestOptions { takes_root: true, ..faithful() }).unwrap();
    let manifest = Rc::new(manifest);
    let mut writer = claimed.begin(manifest.clone(), map_of(&manifest)).unwrap();
    while writer.check_step(1).unwrap() == CheckStep::Checking {}
    while writer.finish_step(1) != FinishStep::Done {}
    assert_eq!(status(&dest).permissions(), 0o750);
}
