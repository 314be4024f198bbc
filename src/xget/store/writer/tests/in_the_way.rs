//! What stands in the destination and is not ours, or is something else.

use super::*;

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
    let pack = fetch.map.of_entry(&fetch.source.manifest, fetch.entry("dir/file")).start;
    assert!(fetch.holdings.has_lost(pack) && fetch.missing().is_empty());
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
    assert_eq!(check(&mut writer), NONE);
    assert!(writer.failures()[0].error.to_string().contains("temporary"));
    let failed = writer.store(&[Extent { entry: 1, offset: 0, len: 1 }], b"x").unwrap_err();
    assert_eq!((failed.entries, &failed.error), (vec![1], &writer.failures()[0].error));
}

/// As it looks on a file system that takes both names for one: what was put in
/// place last is there under both.
#[test]
fn files_that_the_file_system_takes_for_one_are_an_error() {
    let from = Dir::new();
    for (name, contents) in [("a", "one"), ("A", "two"), ("b", "three"), ("B", "four")] {
        from.write(name, contents.as_bytes());
    }
    // One file in the source, too.
    from.write("c", b"five");
    fs::hard_link(from.join("c"), from.join("C")).unwrap();
    let to = Dir::new();
    let dest = to.join("d");
    let mut fetch = Fetch::begin(scan(from.path()), &dest, faithful());
    fetch.check().store(usize::MAX);
    fs::remove_file(dest.join("A")).unwrap();
    fs::hard_link(dest.join("a"), dest.join("A")).unwrap();
    fetch.finish();
    let (one, other) = (dest.join("a"), dest.join("A"));
    let why = "are one here: this file system takes their names for the same";
    assert_eq!(fetch.errors(), [format!("{one:?} and {other:?} {why}")]);
    assert_eq!(fs::read(dest.join("b")).unwrap(), b"three");
    assert_eq!(fs::read(dest.join("C")).unwrap(), b"five");
}
