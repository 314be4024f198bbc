//! What is where something else must go, and when that makes way.

use super::mirror::{compare, mirroring, policy, sorted};
use super::*;

#[test]
fn a_directory_makes_way_for_a_file_and_a_symlink_for_a_directory() {
    let (source, dest) = (Dir::new(), Dir::new());
    source.write("usr/lib/libc", b"libc");
    symlink("usr/lib", source.join("lib")).unwrap();
    source.write("now-a-file", b"file");
    source.write("now-a-dir/sub/x", &bytes(5, 2 * P));
    dest.write("lib/libc", b"old");
    dest.write("lib/deep/er", b"old");
    dest.write("now-a-file/x", b"old");
    dest.write("elsewhere/x", b"old");
    symlink("elsewhere", dest.join("now-a-dir")).unwrap();
    let comparing = policy(Purpose::Compare { removes: true }, "");
    let mut compared = compare(source.path(), dest.path(), comparing);
    let told = compared.writer.take_changes();
    drop(compared);
    let mut fetch = fetch(source.path(), dest.path(), mirroring(""));
    assert_eq!(fetch.errors(), [""; 0]);
    assert_eq!(picture(dest.path()), picture(source.path()));
    let done = fetch.writer.take_changes();
    assert!(done.contains("changed 0 now-a-dir/\n") && told.contains("changed 0 now-a-dir/\n"));
    let gone = |lines: &str| -> Vec<String> {
        let lines = sorted(lines).into_iter().filter(|line| line.starts_with("deleted"));
        lines.map(String::from).collect()
    };
    assert_eq!(gone(&told), gone(&done));
    assert_eq!(gone(&done).len(), 8, "{done}");
}

#[test]
fn where_what_is_kept_cannot_make_way_nothing_is_changed() {
    let (source, dest) = (Dir::new(), Dir::new());
    for name in ["x", "a", "z/deep/er"] {
        source.write(name, b"new");
    }
    for name in ["x/sub/this.local", "x/sub/and", "x/that", "a", "extra", "z/deep/er/goes"] {
        dest.write(name, b"old");
    }
    let before = picture(dest.path());
    let way = [format!("cannot put {:?} in place: a directory is in the way", dest.join("x"))];
    let comparing = policy(Purpose::Compare { removes: true }, "*.local");
    let mut compared = compare(source.path(), dest.path(), comparing);
    assert_eq!(compared.errors(), way);
    let notes = compared.writer.take_notes();
    assert!(notes[1].contains("nothing would be changed"), "{notes:?}");
    let told = compared.writer.take_changes();
    assert!(!told.contains("deleted 3 x/"), "what stays is not told as gone: {told}");
    drop(compared);
    let mut fetch = fetch(source.path(), dest.path(), mirroring("*.local"));
    assert_eq!(fetch.errors(), way);
    let notes = fetch.writer.take_notes();
    assert!(notes[0].contains("x/sub/this.local\" has to stay: it is kept, or mounted"));
    assert!(notes[1].contains("nothing that was there is changed"), "{notes:?}");
    assert_eq!(fetch.writer.take_changes(), "");
    let after = picture(dest.path());
    let is_file = |path: &&Vec<u8>| dest.path().join(name(path)).is_file();
    for path in before.keys().filter(is_file) {
        assert_eq!(after.get(path), before.get(path), "{:?}", name(path));
    }
}

#[test]
fn there_is_always_something_under_a_name_whose_directory_makes_way() {
    for is_back in [false, true] {
        let (merged, parted) = (Dir::new(), Dir::new());
        merged.write("usr/lib/libc", b"merged");
        symlink("usr/lib", merged.join("lib")).unwrap();
        parted.write("usr/lib/libc", b"parted");
        parted.write("lib/libc", b"parted");
        parted.write("lib/deep/er", &bytes(1, 2 * P));
        symlink("libc", parted.join("lib/link")).unwrap();
        let (from, dest) = if is_back { (parted, merged) } else { (merged, parted) };
        let mut fetch = Fetch::begin(scan(from.path()), dest.path(), mirroring(""));
        fetch.check().store(usize::MAX);
        let mut has_been_killed = false;
        while fetch.writer.finish_step(1) != FinishStep::Done {
            assert!(fs::read(dest.join("lib/libc")).is_ok(), "a program that starts needs it");
            // Killed when the name is there, and the old directory not gone.
            if !has_been_killed && dest.join("lib").is_symlink() != is_back {
                has_been_killed = true;
                drop(fetch);
                fetch = Fetch::begin(scan(from.path()), dest.path(), mirroring(""));
                fetch.check().store(usize::MAX);
            }
        }
        assert!(has_been_killed && fetch.errors().is_empty(), "{:?}", fetch.errors());
        assert_eq!(picture(dest.path()), picture(from.path()));
    }
}

/// A merged system and a parted one, and what else takes a directory's place.
fn merged(to: &Path) {
    fs::create_dir_all(to.join("usr/lib")).unwrap();
    fs::write(to.join("usr/lib/libc"), b"merged").unwrap();
    symlink("usr/lib", to.join("lib")).unwrap();
    fs::write(to.join("file"), bytes(2, 2 * P)).unwrap();
    fs::write(to.join("empty"), b"").unwrap();
    fs::hard_link(to.join("file"), to.join("other")).unwrap();
}

fn parted(to: &Path) {
    for path in ["usr/lib/libc", "lib/libc", "lib/deep/er", "file/x", "empty/x", "other/x/y"] {
        let path = to.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"parted").unwrap();
    }
    symlink("libc", to.join("lib/link")).unwrap();
}

/// An overlay gives no other name to a directory of its lower layer, or does with redirect_dir.
#[test]
fn on_an_overlay_what_its_lower_layer_has_makes_way() {
    for (is_back, redirect) in [(false, "off"), (true, "off"), (false, "on"), (true, "on")] {
        let ends: [fn(&Path); 2] = if is_back { [merged, parted] } else { [parted, merged] };
        let [old, new] = ends;
        on_overlay(&format!("redirect_dir={redirect}"), old, |dest| {
            let source = Dir::new();
            new(source.path());
            let comparing = policy(Purpose::Compare { removes: true }, "");
            let mut compared = compare(source.path(), dest, comparing);
            let told = compared.writer.take_changes();
            drop(compared);
            let mut fetch = fetch(source.path(), dest, mirroring(""));
            assert_eq!(fetch.errors(), [""; 0], "{is_back} {redirect}");
            assert_eq!(picture(dest), picture(source.path()));
            let done = fetch.writer.take_changes();
            assert_eq!(sorted(&done), sorted(&told), "{is_back} {redirect}");
        });
    }
}

#[test]
fn on_an_overlay_a_run_that_is_killed_while_a_directory_makes_way_is_gone_on_with() {
    let source = Dir::new();
    merged(source.path());
    // A step each until it ends by itself.
    for killed_at in 0..1_000 {
        let mut is_done = false;
        on_overlay("redirect_dir=off", parted, |dest| {
            let mut fetch = Fetch::begin(scan(source.path()), dest, mirroring(""));
            fetch.check().store(usize::MAX);
            is_done = (0..killed_at).any(|_| fetch.writer.finish_step(1) == FinishStep::Done);
            drop(fetch);
            let again = self::fetch(source.path(), dest, mirroring(""));
            assert_eq!(again.errors(), [""; 0], "killed at {killed_at}");
            assert_eq!(picture(dest), picture(source.path()), "killed at {killed_at}");
        });
        if is_done {
            return;
        }
    }
    panic!("it does not end");
}

#[test]
fn a_directory_that_made_way_in_a_killed_run_is_in_the_way_of_no_later_one() {
    let others: [fn(&Path); 3] = [
        |link| symlink("/usr/lib", link).unwrap(),
        |link| fs::write(link, b"").unwrap(),
        |link| fs::hard_link(link.with_file_name("usr/lib/libc"), link).unwrap(),
    ];
    for other in others {
        let (source, dest) = (Dir::new(), Dir::new());
        merged(source.path());
        parted(dest.path());
        let mut first = Fetch::begin(scan(source.path()), dest.path(), mirroring(""));
        first.check().store(usize::MAX);
        while !dest.join("lib").is_symlink() {
            assert_ne!(first.writer.finish_step(1), FinishStep::Done);
        }
        let left = first.temporary("lib");
        drop(first);
        assert!(left.is_dir());
        fs::remove_file(source.join("lib")).unwrap();
        other(&source.join("lib"));
        let again = fetch(source.path(), dest.path(), mirroring(""));
        assert_eq!(again.errors(), [""; 0]);
        assert_eq!(picture(dest.path()), picture(source.path()));
    }
}

#[test]
fn what_an_earlier_run_left_in_a_directory_that_waits_is_used_and_does_not_stay() {
    let (source, dest) = (Dir::new(), Dir::new());
    source.write("sub/large", &bytes(1, 4 * P));
    source.write("sub/only-then", b"old");
    source.write("sub/dir/below", b"old");
    dest.write("elsewhere/x", b"x");
    symlink("elsewhere", dest.join("sub")).unwrap();
    let mut first = Fetch::begin(scan(source.path()), dest.path(), mirroring(""));
    first.check().store(3);
    let waiting = first.temporary("sub");
    drop(first);
    assert!(waiting.is_dir());
    fs::create_dir(waiting.join("planted")).unwrap();
    fs::write(waiting.join("planted/here"), b"planted").unwrap();
    fs::remove_file(source.join("sub/only-then")).unwrap();
    fs::remove_dir_all(source.join("sub/dir")).unwrap();
    let again = fetch(source.path(), dest.path(), mirroring(""));
    assert_eq!(again.errors(), [""; 0]);
    assert_eq!(picture(dest.path()), picture(source.path()));
    assert!(again.moved < 4, "{}", again.moved);
}

#[test]
fn a_directory_of_somebody_else_under_a_temporary_name_is_not_used() {
    if !file::is_root() {
        return;
    }
    let (source, dest) = (Dir::new(), Dir::new());
    source.write("sub/file", b"ours");
    symlink("elsewhere", dest.join("sub")).unwrap();
    let mut fetch = Fetch::begin(scan(source.path()), dest.path(), mirroring(""));
    let planted = fetch.temporary("sub");
    fs::create_dir(&planted).unwrap();
    chown(&planted, Some(NOBODY), Some(NOBODY)).unwrap();
    fetch.all();
    assert!(fetch.errors()[0].contains("took the temporary name"), "{:?}", fetch.errors());
    assert!(dest.join("sub").is_symlink(), "nothing is changed");
}
