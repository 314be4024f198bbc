//! File systems that are full, small, unlimited or read-only.

use super::*;

#[test]
fn a_lack_of_space_is_told_in_numbers_before_anything_is_moved() {
    let from = Dir::new();
    from.write("a", &bytes(1, 40 * P));
    from.write("b", &bytes(2, 4 * P));
    on_file_system("tmpfs", "size=1m", |path| {
        let mut fetch = Fetch::begin(scan(from.path()), &path.join("d"), faithful());
        let error = loop {
            match fetch.writer.check_step(SLICE) {
                Ok(CheckStep::Checking) => {}
                Ok(CheckStep::Done { .. }) => panic!("there is no space"),
                Err(error) => break error,
            }
        };
        let DestError::NoSpace { needed_bytes, free_bytes, .. } = error else { panic!("{error}") };
        assert_eq!(needed_bytes, 44 * P as u64);
        assert!(free_bytes <= 1 << 20);
        assert!(error.to_string().contains(&free_bytes.to_string()), "{error}");
        assert!(error.ends_all());
        assert_eq!(fetch.writer.check_step(SLICE), Err(error), "and again");
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
        assert!(fetch.writer.failures()[0].error.ends_all());
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
fn an_update_in_place_needs_space_for_the_difference_only() {
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

fn with(purpose: Purpose) -> DestOptions {
    DestOptions { policy: Policy { purpose, ..Policy::default() }, ..faithful() }
}

#[test]
fn who_only_compares_is_told_of_a_lack_of_room_behind_the_list() {
    let from = Dir::new();
    let names = ["0", "1", "2", "3", "4"];
    (1..).zip(names).for_each(|(seed, name)| drop(from.write(name, &bytes(seed, 4 * P))));
    from.write("new", &bytes(2, 4 * P));
    on_file_system("tmpfs", "size=1m", |path| {
        let dest = path.join("d");
        fs::create_dir(&dest).unwrap();
        names.iter().for_each(|name| fs::write(dest.join(name), bytes(7, 4 * P)).unwrap());
        let compared = |removes| {
            let options = with(Purpose::Compare { removes });
            let mut compared = Fetch::begin(scan(from.path()), &dest, options);
            compared.check().finish();
            assert_eq!(compared.errors(), [""; 0]);
            (compared.writer.take_changes(), compared.writer.take_notes())
        };
        let (changes, notes) = compared(true);
        assert_eq!(changes.lines().count(), 6, "{changes}");
        assert!(notes.len() == 1 && notes[0].contains("not enough room"), "{notes:?}");
        // What replaces file by file takes the room of the old ones.
        assert_eq!(compared(false), (changes, Vec::new()));
        names.iter().for_each(|name| fs::remove_file(dest.join(name)).unwrap());
        let mut begun = Fetch::begin(scan(from.path()), &dest, with(Purpose::Mirror));
        begun.check().store(usize::MAX);
        drop(begun);
        fs::write(path.join("other"), vec![1; 7 * P]).unwrap();
        assert_eq!(compared(true).1, [""; 0], "what came before it was killed is here");
    });
}

#[test]
fn who_writes_nothing_needs_no_room() {
    let from = Dir::new();
    from.write("a", &bytes(1, 40 * P));
    on_file_system("tmpfs", "size=1m", |path| {
        let mut serving = Fetch::begin(scan(from.path()), path, with(Purpose::Serve));
        assert_eq!(serving.check().missing().len(), 40);
    });
}

#[test]
fn symlinks_that_are_there_are_not_counted_as_new_files() {
    let from = Dir::new();
    from.write("a", b"new");
    (0..40).for_each(|number| symlink("a", from.join(&format!("link{number}"))).unwrap());
    on_file_system("tmpfs", "size=1m,nr_inodes=60", |path| {
        for purpose in [Purpose::Fill, Purpose::Mirror] {
            let fetched = fetch(from.path(), &path.join("d"), with(purpose));
            assert_eq!(fetched.errors(), [""; 0]);
            from.write("a", b"newer");
        }
        (0..40).for_each(|number| symlink("a", from.join(&format!("more{number}"))).unwrap());
        let options = with(Purpose::Mirror);
        let mut fetch = Fetch::begin(scan(from.path()), &path.join("d"), options);
        let error = loop {
            match fetch.writer.check_step(SLICE) {
                Ok(step) => assert_eq!(step, CheckStep::Checking),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, DestError::NoFilesLeft { needed: 40, .. }), "{error}");
    });
}
