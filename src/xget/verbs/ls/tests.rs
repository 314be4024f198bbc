//! What is listed, of a tree in memory.

use super::*;
use peer::content::digest::Digest;
use peer::content::manifest::Entry;

fn entry(parent: u32, name: &[u8], kind: EntryKind, mode: u32) -> Entry {
    let mtime_s = 43_200;
    Entry { parent, name: name.into(), kind, mode, mtime_s, uid: 1, gid: 22, ..Entry::bare_root() }
}

/// A directory with a file of two names, a link to it, an odd name and a device.
fn tree() -> Manifest {
    let mut link = entry(0, b"to", EntryKind::Symlink, 0o777);
    link.link = (*b"dir").into();
    let mut file = entry(1, b"first", EntryKind::File, 0o4755);
    (file.size, file.digest) = (1234, Digest::of(b"x"));
    let entries = vec![
        Entry { mtime_s: 43_200, ..Entry::bare_root() },
        entry(0, b"dir", EntryKind::Dir, 0o1777),
        entry(0, b"null", EntryKind::Device((1 << 20) | 3), 0o020_666),
        entry(0, b"odd\x1b[2J", EntryKind::File, 0o600),
        link,
        file,
        entry(1, b"second", EntryKind::Hardlink(5), 0o4755),
        entry(1, b"sub", EntryKind::Dir, 0o755),
        entry(7, b"deep", EntryKind::Unreadable, 0o100_000),
    ];
    Manifest::of_entries(4096, entries)
}

fn listed(line: &str, format: Option<Format>) -> (String, Vec<Vec<u8>>) {
    let manifest = tree();
    let args = line.split_whitespace().map(OsString::from).collect();
    let asked = Asked::parse(args).unwrap();
    let mut out = Lines::new(&manifest, format.unwrap_or_else(|| asked.format()));
    let mut bytes = Vec::new();
    let mut print = |more: &[u8]| {
        bytes.extend_from_slice(more);
        Ok(())
    };
    let missing = list(&asked, &manifest, &mut out, &mut print).unwrap_or_default();
    bytes.extend(out.end());
    (String::from_utf8(bytes).unwrap(), missing)
}

const NAMES: Option<Format> = Some(Format::Names { is_quoted: false });

#[test]
fn directories_and_files_are_listed_as_ls_lists_them() {
    for (line, shown) in [
        ("", "dir\nnull\nodd\x1b[2J\nto\n"),
        ("dir", "first\nsecond\nsub\n"),
        ("/dir/", "first\nsecond\nsub\n"),
        ("to", "first\nsecond\nsub\n"),
        ("-d to dir", "to\ndir\n"),
        ("-d", ".\n"),
        ("null dir/first", "null\ndir/first\n"),
        ("dir null", "null\n\ndir:\nfirst\nsecond\nsub\n"),
        ("dir/sub dir", "dir/sub:\ndeep\n\ndir:\nfirst\nsecond\nsub\n"),
        ("-d d* n?ll", "dir\nnull\n"),
        ("-d **/s*", "dir/second\ndir/sub\n"),
        ("-d */", "dir\nto\n"),
        ("-d */.", "dir\nto\n"),
        ("-d ./[dn]*", "dir\nnull\n"),
        (r"-d [d]ir", "dir\n"),
        ("dir/*", "dir/first\ndir/second\n\ndir/sub:\ndeep\n"),
        ("-r", "to\nodd\x1b[2J\nnull\ndir\n"),
        ("-t", "dir\nnull\nodd\x1b[2J\nto\n"),
        ("-Srd null dir/first", "null\ndir/first\n"),
        ("-Sd null dir/second", "dir/second\nnull\n"),
        ("-hSr dir", "sub\nsecond\nfirst\n"),
        ("-R dir", "dir:\nfirst\nsecond\nsub\n\ndir/sub:\ndeep\n"),
        ("-R", ".:\ndir\nnull\nodd\x1b[2J\nto\n\ndir:\nfirst\nsecond\nsub\n\ndir/sub:\ndeep\n"),
    ] {
        assert_eq!(listed(line, NAMES), (shown.into(), vec![]), "{line}");
    }
}

/// As a fetch takes it.
#[test]
fn a_name_with_wildcards_goes_before_what_it_fits() {
    let names = [&b"a1"[..], b"a[1]", b"b*", b"b1"];
    let entries = names.map(|name| entry(0, name, EntryKind::File, 0o644));
    let manifest = Manifest::of_entries(4096, [&[Entry::bare_root()][..], &entries].concat());
    for (pattern, found) in [
        ("a[1]", &[&b"a[1]"[..]][..]),
        ("a[1-2]", &[b"a1"]),
        ("[a]?", &[b"a1"]),
        ("b*", &[b"b*"]),
        (r"b\*", &[b"b*"]),
        ("b**", &[b"b*", b"b1"]),
    ] {
        let listed: Vec<_> =
            fitting(&manifest, pattern.as_bytes()).into_iter().map(|p| p.1).collect();
        assert_eq!(listed, found, "{pattern}");
    }
}

#[test]
fn what_is_not_there_is_said_and_the_rest_listed() {
    let (text, missing) = listed("nothing dir/sub", NAMES);
    assert_eq!((&*text, missing), ("dir/sub:\ndeep\n", vec![b"nothing".to_vec()]));
    for pattern in ["x*", "dir/*/*/*", "[", "*[", "null/*", r"\*", "null/", "dir/first/"] {
        let (text, missing) = listed(pattern, NAMES);
        assert_eq!((&*text, missing), ("", vec![pattern.as_bytes().to_vec()]));
    }
}

#[test]
fn a_long_line_has_all_that_a_fetch_keeps() {
    let (text, _) = listed("dir", Some(Format::Long { is_quoted: false, is_human: false }));
    let lines: Vec<Vec<&str>> = text.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(lines[0][..4], ["-rwsr-xr-x", "1", "22", "1234"]);
    assert_eq!(lines[0][6..], ["first"]);
    assert_eq!(lines[1][..4], ["-rwsr-xr-x", "1", "22", "1234"], "another name of it");
    let (text, _) = listed("-l", Some(Format::Long { is_quoted: true, is_human: false }));
    let lines: Vec<Vec<&str>> = text.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(lines[0][0], "drwxrwxrwt");
    assert_eq!(lines[1][..5], ["crw-rw-rw-", "1", "22", "1,", "3"]);
    assert_eq!(lines[2][6], r"$'odd\033[2J'");
    assert_eq!(lines[3][6..], ["to", "->", "dir"]);
    assert!(text.lines().all(|line| line.find("1970-").is_some()), "{text}");
    let (text, _) = listed("-l to", Some(Format::Long { is_quoted: true, is_human: false }));
    assert!(text.starts_with("lrwxrwxrwx"), "{text}");
}

#[test]
fn programs_get_one_document() {
    let (text, _) = listed("-R", Some(Format::Json));
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let all = value.as_array().unwrap();
    assert_eq!(all.len(), 8);
    let of = |path: &str| all.iter().find(|entry| entry["path"] == path).unwrap();
    assert_eq!(of("dir/second")["bytes"], 1234);
    assert_eq!(of("dir/second")["digest"], format!("blake3:{}", Digest::of(b"x")));
    assert_eq!((&of("to")["type"], &of("to")["target"]), (&"symlink".into(), &"dir".into()));
    assert_eq!(
        (&of("null")["type"], &of("dir")["mode"]),
        (&"character device".into(), &"1777".into())
    );
    assert_eq!(of("dir/sub/deep")["type"], "unreadable");
    let (text, _) = listed("dir/sub/deep", Some(Format::Json));
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&text).unwrap().as_array().unwrap().len(),
        1
    );
    assert_eq!(listed("nothing", Some(Format::Json)).0, "[\n]\n");
}

#[test]
fn what_makes_no_sense_is_said() {
    for args in
        [&["", "x"][..], &["../x"], &["a/../.."], &["-Z"], &["--long"], &["-p", "0"], &["-n"]]
    {
        assert!(Asked::parse(args.iter().map(OsString::from).collect()).is_err(), "{args:?}");
    }
}
