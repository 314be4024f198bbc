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
