//! Part of a tree by pattern, without what is excluded, and a system in use made the same
//! as that part.

#![allow(clippy::unwrap_used)] // in tests a panic is the report

mod support;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use support::proc::{Ended, Master, Proc, XGET, command, xget};
use support::reader::Reader;
use support::{Scratch, noise, tree, until};

/// A file in a directory that is made for it.
fn put(root: &Path, path: &str, bytes: impl AsRef<[u8]>) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Fetches with these words before DEST.
fn fetch(master: &Master, scratch: &Scratch, words: &[&str], dest: &Path) -> Ended {
    let mut fetch = xget();
    fetch.args(["-n", &master.addr(), "--linger", "0"]).args(words).arg(dest);
    Proc::start(fetch, scratch).wait()
}

/// What `--print-digest` says of the same words.
fn digest(scratch: &Scratch, source: &Path, words: &[&str]) -> String {
    let mut print = command(XGET);
    print.arg("--print-digest").arg(source).args(words);
    Proc::start(print, scratch).wait().expect(0).out.trim().into()
}

/// The files and directories below, without what xget has under way, as one line.
fn names(dir: &Path) -> String {
    let all = tree::look(dir);
    let names = all.keys().map(|path| path.to_string_lossy());
    let names = names.filter(|name| !name.is_empty() && !name.contains(".xget-"));
    names.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_pattern_brings_what_fits_it_and_its_digest_is_printed() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    for path in ["images/a.img", "images/b.img", "images/.c.img", "images/d.txt", "x/deep/e.img"] {
        put(&source, path, path);
    }
    for path in ["odd*", "odder", "a\\x2d.mount", "w[1]"] {
        put(&source, path, path);
    }
    let master = Master::start(&scratch, &source, &[]);
    for (number, (words, landed)) in [
        (&["images/*.img"][..], ".c.img a.img b.img"),
        (&["images/[!.d]*", "x/*"], "a.img b.img deep deep/e.img"),
        (&["**/e.img"], "e.img"),
        (&["im*/."], ".c.img a.img b.img d.txt"),
        (&["odd\\*"], "odd*"),
        (&["odd*"], "odd*"),
        (&["od?*"], "odd* odder"),
        (&["a\\x2d.mount"], "a\\x2d.mount"),
        (&["a\\x2d*"], "a\\x2d.mount"),
        (&["w[1]"], "w[1]"),
        (
            &["--exclude", ".*", "--exclude", "/images/b*", "images"],
            "images images/a.img images/d.txt",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let dest = scratch.join(format!("dest{number}"));
        fetch(&master, &scratch, words, &dest).expect(0);
        assert_eq!(names(&dest), landed, "{words:?}");
        let sources = words.iter().filter(|word| !word.starts_with("--")).count();
        let pin = digest(&scratch, &source, words);
        if sources == 1 {
            let again = [&["--digest", &pin], words].concat();
            fetch(&master, &scratch, &again, &dest).expect(0);
        }
    }
}

#[test]
fn what_fits_nothing_or_lands_twice_is_status_4_and_named() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    for path in ["a/conf", "b/conf", "c/other"] {
        put(&source, path, path);
    }
    let master = Master::start(&scratch, &source, &[]);
    let dest = scratch.join("dest");
    for (words, said) in [
        (&["*.img"][..], "*.img: nothing in what is served fits this pattern"),
        (&["c", "?/none*"], "?/none*: nothing in what is served fits this pattern"),
        (&["?/conf"], "conf: a/conf and b/conf would both land under this name"),
        (&["a/conf", "b/*"], "conf: a/conf and b/conf would both land under this name"),
        (&["--exclude", "c*", "c"], "all that the sources name is excluded"),
    ] {
        fetch(&master, &scratch, words, &dest).expect(4).says(said);
        assert!(!dest.exists(), "{words:?}");
    }
    for (words, said) in [
        (&[""][..], "it cannot be empty"),
        (&["--exclude", "", "a"], "--exclude takes of rsync"),
        (&["--exclude", "+ a", "a"], "--exclude takes of rsync"),
    ] {
        fetch(&master, &scratch, words, &dest).expect(2).says(said);
    }
    put(&source, "new.img", "new");
    fetch(&master, &scratch, &["*.img"], &dest).expect(0);
    assert_eq!(names(&dest), "new.img", "it is looked for once more");
}

/// A source and a destination in use: old and superfluous files, and such as are excluded at
/// either end.
fn make_systems(source: &Path, dest: &Path) {
    for number in 0..40 {
        put(source, &format!("etc/f{number}"), noise(number, 3_000));
        put(dest, &format!("etc/f{number}"), noise(number + number % 2, 3_000));
    }
    for (path, bytes) in [("etc/new", 3), ("var/log/source.log", 900_000), ("srv/data", 5)] {
        put(source, path, noise(7, bytes));
    }
    for path in ["var/log/own.log", "srv/own/file", "srv/gone", "etc/old", "etc/own.bak", "old/x/y"]
    {
        put(dest, path, path);
    }
    put(dest, "old/deep/z.bak", "kept");
    tree::chmod(&source.join("etc/f3"), 0o600);
}

const EXCLUDES: [&str; 6] = ["--exclude", "*.log", "--exclude", "/srv/own/", "--exclude", "*.bak"];

#[test]
fn what_is_excluded_is_not_moved_listed_or_deleted() {
    let scratch = Scratch::new();
    let (source, dest) = (scratch.dir("source"), scratch.dir("dest"));
    make_systems(&source, &dest);
    let master = Master::start(&scratch, &source, &[]);
    let sync = |more: &[&str]| {
        let words = [&["--delete"], more, &EXCLUDES, &["."]].concat();
        fetch(&master, &scratch, &words, &dest)
    };
    let before = tree::look(&dest);
    let dry = sync(&["--dry-run"]).expect(0);
    assert_eq!(tree::look(&dest), before);
    let done = sync(&[]).expect(0).says("\nxget: 42 files");
    let lines = |out: &str| {
        let is_news = |line: &&str| !line.starts_with("xget:") && !line.starts_with("attributes");
        let mut lines: Vec<_> = out.lines().filter(is_news).map(String::from).collect();
        lines.sort_unstable();
        lines
    };
    assert_eq!(lines(&dry.out), lines(&done.out));
    let told = lines(&done.out);
    assert_eq!(told.iter().filter(|line| line.starts_with("deleted")).count(), 4, "{told:#?}");
    for line in ["deleted 0 old/x/", "deleted 7 old/x/y", "deleted 7 etc/old", "deleted 8 srv/gone"]
    {
        assert!(told.iter().any(|told| told == line), "{line}: {told:#?}");
    }
    assert!(
        !told
            .iter()
            .any(|line| line.contains("log") || line.contains("own") || line.contains("bak"))
    );
    for path in ["var/log/own.log", "srv/own/file", "etc/own.bak"] {
        assert_eq!(fs::read(dest.join(path)).unwrap(), path.as_bytes());
    }
    assert_eq!(fs::read(dest.join("old/deep/z.bak")).unwrap(), b"kept");
    assert!(!dest.join("var/log/source.log").exists() && !dest.join("old/x").exists());
    for path in ["etc/new", "etc/f3", "srv/data"] {
        assert_eq!(fs::read(dest.join(path)).unwrap(), fs::read(source.join(path)).unwrap());
    }
    let moved = master.proc.out();
    assert!(!moved.contains("not done"), "{moved}");
    let again = sync(&["--dry-run"]).expect(0);
    assert_eq!(lines(&again.out), Vec::<String>::new(), "it is the same now");
    let none = scratch.join("none/below");
    for options in [&["--dry-run"][..], &["--dry-run", "--delete"]] {
        let words = [options, &["etc/f3"]].concat();
        let told = fetch(&master, &scratch, &words, &none).expect(0).out;
        assert!(told.starts_with("new ") && told.ends_with(" f3\n"), "{told}");
    }
    assert!(!scratch.join("none").exists(), "nothing is made where nothing is fetched");
}

/// It would have to make way with all that is in it.
#[test]
fn what_is_excluded_makes_way_for_nothing() {
    let scratch = Scratch::new();
    let (source, dest) = (scratch.dir("source"), scratch.dir("dest"));
    put(&source, "d", "a file now");
    put(&source, "new", "new");
    put(&dest, "d/own.bak", "own");
    put(&dest, "old", "old");
    let master = Master::start(&scratch, &source, &[]);
    let words = ["--delete", "--exclude", "*.bak", "."];
    let ended = fetch(&master, &scratch, &words, &dest).expect(6);
    let ended = ended.says("d/own.bak\" has to stay: it is kept, or mounted");
    ended.says("a directory is in the way");
    assert_eq!(names(&dest), "d d/own.bak old", "nothing is changed or deleted");
    fetch(&master, &scratch, &["--delete", "--exclude", "d", "."], &dest).expect(0);
    assert_eq!(names(&dest), "d d/own.bak new");
}

#[test]
fn who_excludes_the_same_has_the_same_generation_and_a_worker_serves_it() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    put(&source, "data", noise(1, 2_000_000));
    put(&source, "left.bak", noise(2, 2_000_000));
    let master = Master::start(&scratch, &source, &[]);
    let mut numbers = 0..;
    let mut generation = |words: &[&str]| {
        let dest = scratch.join(format!("dest{}", numbers.next().unwrap()));
        let ended = fetch(&master, &scratch, words, &dest).expect(0);
        assert!(words.len() < 2 || names(&dest) == "data");
        ended.out.trim().rsplit(' ').next().unwrap().to_string()
    };
    let kept = generation(&["--exclude", "*.bak", "--exclude", "/none", "."]);
    assert_ne!(generation(&["."]), kept);
    let mut worker = xget();
    worker.args(["-n", &master.addr(), "--worker", "--exclude", "*.bak", "."]);
    worker.arg(scratch.join("dest0"));
    let mut worker = Proc::start(worker, &scratch);
    // It is not done, as who is gets no more children.
    until("it has all of it", 20, || {
        master.status().lines().skip(1).any(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            words[1] == "fetching" && words[2] == words[3] && words[3] != "0"
        })
    });
    assert_eq!(generation(&["--exclude", "/none", "--exclude", "*.bak", "./."]), kept);
    assert!(!worker.has_ended(), "{}", worker.err());
}

#[test]
fn of_a_pattern_with_delete_only_what_it_names_is_made_the_same() {
    let scratch = Scratch::new();
    let (source, dest) = (scratch.dir("source"), scratch.dir("dest"));
    put(&source, "a1/f", "1");
    put(&source, "a2/f", "2");
    put(&source, "b/f", "3");
    for path in ["a1/old", "a3/f", "b/old", "top"] {
        put(&dest, path, "old");
    }
    let master = Master::start(&scratch, &source, &[]);
    fetch(&master, &scratch, &["--delete", "a?"], &dest).expect(0);
    assert_eq!(names(&dest), "a1 a1/f a2 a2/f a3 a3/f b b/old top");
    fetch(&master, &scratch, &["--delete", "--exclude", "b", "."], &dest).expect(0);
    assert_eq!(names(&dest), "a1 a1/f a2 a2/f b b/old");
}

/// Whatever rsync leaves out, and no more; but for what is refused.
#[test]
fn what_is_excluded_is_what_rsync_excludes() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    for path in [
        "a",
        "b",
        "ab",
        "a\\b",
        "\\a",
        "a\\\\b",
        "a*",
        "a*b",
        "[a]",
        ".h",
        ".d/f",
        "foo.bak",
        "]",
        "\\",
        "foo/x.bak",
        "foo/foo",
        "foox/y",
        "x/foo1/z",
        "x/y/foo",
        "x/xfoo",
        "x/a/b/y",
        "x/foo",
        "d/b\\x2d.mount",
        "b\\x2d.mount",
        "d/c/e/f",
        "d/a",
        "d/c/a",
        "- a",
        "a-b",
        "!a",
        "#a",
        "a b",
    ] {
        put(&source, path, path);
    }
    let master = Master::start(&scratch, &source, &[]);
    for pattern in [
        "a",
        "/a",
        "a*",
        "a?",
        "??",
        "[ab]",
        "[!a]",
        "[]a]",
        "[a-c]b",
        "a\\*",
        "a\\b",
        "\\a",
        "a\\\\b",
        "/a\\\\b",
        "a\\\\*",
        "a\\b*",
        "b\\x2d.mount",
        "*\\x2d.mount",
        "foo/",
        "/foo",
        "foo**",
        "**foo",
        "/foo/***",
        "x/**",
        "x/**/y",
        "/x/**/foo",
        "**/foo",
        "/**/foo",
        "d/**/a",
        "*/a",
        "c/e/",
        ".*",
        "**",
        "x/***",
        "x/foo**",
        "\\",
        "a\\",
        "[\\]]*",
        "[a\\-b]",
        "\\[a]",
        "[-] a",
        "\\- a",
        "\\!a",
        "#a",
        "**/*",
        "x/foo[1-3]/*",
        "*/foo*/",
        "[!^]",
        "[*]",
        "?",
    ] {
        let (by_rsync, dest) = (scratch.dir("by-rsync"), scratch.dir("dest"));
        let mut rsync = command("rsync");
        rsync.args(["-r", "--exclude", pattern]).arg(source.join(".")).arg(&by_rsync);
        Proc::start(rsync, &scratch).wait().expect(0);
        fetch(&master, &scratch, &["--exclude", pattern, "."], &dest).expect(0);
        assert_eq!(names(&dest), names(&by_rsync), "{pattern}");
        fs::remove_dir_all(by_rsync).unwrap();
        fs::remove_dir_all(dest).unwrap();
    }
    for pattern in ["a**b", "/**foo", "[[:alpha:]]", "./a", "a//b", "a/../b", "*\\", "[a-"] {
        let dest = scratch.dir("dest");
        fetch(&master, &scratch, &["--exclude", pattern, "."], &dest).expect(2);
    }
}

/// Patterns of somebody who means harm are refused in no time, and others are served meanwhile.
#[test]
fn hostile_patterns_hold_nobody_up() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    for number in 0..4_000 {
        put(&source, &format!("d{}/{}{number}", number % 40, "a".repeat(200)), "");
    }
    put(&source, "file", noise(1, 1_000_000));
    let master = Master::start(&scratch, &source, &[]);
    let many_stars = format!("*{}b?", "a".repeat(90));
    let many = |count: u64, word: &dyn Fn(u64) -> String| -> String {
        (0..count).map(word).collect::<Vec<_>>().join(" ")
    };
    let lines = [
        format!("join 4 7000 **/{many_stars}"),
        format!("join 4 7000 exclude={many_stars} ."),
        format!("join 4 7000 {}x", "**/".repeat(8_000)),
        format!("join 4 7000 {}", many(2_500, &|number| format!("**/*a*{number}"))),
        format!("join 4 7000 exclude={}/b exclude={many_stars} .", "a".repeat(50_000)),
        format!("join 4 7000 {} .", many(2_000, &|number| format!("exclude=*a*{number}*b*"))),
    ];
    let began = Instant::now();
    for line in lines {
        let mut reader = Reader::connect(("127.0.0.1", master.port)).unwrap();
        let route = reader.open(&[".xget", "route"], 2).unwrap();
        reader.write(route, line.replace('*', "%2a").as_bytes()).unwrap();
        let said = loop {
            let said = String::from_utf8(reader.read(route, 0).unwrap()).unwrap();
            if !said.starts_with("wait ") {
                break said;
            }
        };
        assert!(said.starts_with("error 2 "), "{said}: {}", &line[..40]);
    }
    let dest = scratch.join("dest");
    fetch(&master, &scratch, &["file"], &dest).expect(0);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    until("it is told", 10, || master.proc.out().contains("done"));
}
