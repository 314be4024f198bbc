use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

fn patterns(text: &str) -> Patterns {
    let mut patterns = Patterns::default();
    patterns.add(text.as_bytes()).unwrap();
    patterns
}

#[test]
fn patterns_fit_as_those_of_gitignore() {
    for (pattern, path, fits) in [
        ("/etc/machine-id", "etc/machine-id", true),
        ("/etc/machine-id", "usr/etc/machine-id", false),
        ("etc/machine-id", "usr/etc/machine-id", false),
        ("machine-id", "etc/machine-id", true),
        ("machine-id", "etc/machine-id.d", false),
        ("*.local", "etc/rc.local", true),
        ("*.local", "etc/rc.local/x", false),
        ("/*.local", "etc/rc.local", false),
        ("/etc/ssh/*_key*", "etc/ssh/ssh_host_rsa_key.pub", true),
        ("/etc/*", "etc/ssh/x", false),
        ("/etc/**", "etc/ssh/x", true),
        ("/etc/**", "etc", false),
        ("/**/log", "var/a/log", true),
        ("/**/log", "log", true),
        ("/var/**/log/x", "var/log/x", true),
        ("/var/**/log/x", "var/a/b/log/x", true),
        ("/var/**/log/x", "usr/a/log/x", false),
        ("a**b", "x/aXYb", true),
        ("**", "x/y", true),
        ("*", "x/y", true),
        ("ab?", "abc", true),
        ("ab?", "ab", false),
        ("[a-c]x", "bx", true),
        ("[!a-c]x", "bx", false),
        ("[^a-c]x", "dx", true),
        ("[]x]", "]", true),
        ("[a-]", "-", true),
        ("\\#*\\*", "#a*", true),
        ("\\#*\\*", "#ab", false),
        ("*a*b*c", "xaybzc", true),
        ("*a*b*c", "xaybzcd", false),
        ("?", "\\", true),
        ("\\?", "x", false),
        ("x  \t", "x", true),
        ("x\\ ", "x ", true),
        ("x\\  ", "x ", true),
        ("x\\\\ ", "x\\", true),
    ] {
        assert_eq!(patterns(pattern).fit(path.as_bytes(), false), fits, "{pattern} {path}");
    }
}

#[test]
fn a_slash_at_the_end_is_for_directories() {
    let kept = patterns("/var/log/ \nspool/\n");
    assert!(kept.fit(b"var/log", true) && !kept.fit(b"var/log", false));
    assert!(kept.fit(b"a/spool", true) && !kept.fit(b"a/spool", false));
}

#[test]
fn what_is_no_pattern_is_told_by_line() {
    assert_eq!(patterns("# a comment\n\n\r\nx\r\n"), patterns("x"));
    assert!(patterns("# none").is_empty());
    for (text, line) in [
        ("a\n!b", 2),
        ("[a", 1),
        ("a\\", 1),
        ("/", 1),
        ("x\ny\n[a/b]", 3),
        ("[[:digit:]]", 1),
        ("./x", 1),
        ("/a//b", 1),
        ("a/../b", 1),
    ] {
        assert_eq!(Patterns::default().add(text.as_bytes()), Err(line), "{text:?}");
    }
}

fn excluded(pattern: &str, path: &str, is_dir: bool) -> bool {
    let mut patterns = Patterns::default();
    patterns.exclude(pattern.as_bytes()).expect(pattern);
    patterns.fit(path.as_bytes(), is_dir)
}

#[test]
fn what_is_excluded_fits_as_in_rsync() {
    for (pattern, path, fits) in [
        ("*.o", "a.o", true),
        ("*.o", "a/b.o", true),
        ("*.o", "a/.o", true),
        ("*", "a/.hidden", true),
        ("?hidden", ".hidden", true),
        ("/a.o", "a.o", true),
        ("/a.o", "b/a.o", false),
        ("b/a.o", "c/b/a.o", true),
        ("b/a.o", "b/a.o", true),
        ("b/a.o", "cb/a.o", false),
        ("b/*.o", "b/c/a.o", false),
        ("b/**/a.o", "x/b/c/d/a.o", true),
        ("/var/**", "var/a/b", true),
        ("/var/**", "x/var/a", false),
        ("[-] a", "- a", true),
        ("b\\x2d.mount", "a/b\\x2d.mount", true),
        ("a\\b", "ab", false),
        ("a\\\\b", "a\\b", false),
        ("/a\\", "a\\", true),
        ("a\\b*", "abc", true),
        ("a\\b*", "a\\bc", false),
        ("\\*", "*", true),
        ("\\*", "a", false),
        ("**foo", "a/xfoo", true),
        ("foo**", "a/foox", true),
        ("x/foo**", "a/x/foox", true),
        ("**foo/b", "a/xfoo/b", true),
        ("x\\**b", "a/x*yb", true),
        ("[**]b", "*b", true),
        ("***", "a/b", true),
        ("x/**/y", "x/y", false),
        ("x/**/y", "x/a/y", true),
        ("/**/y", "y", false),
        ("/**/y", "a/b/y", true),
        ("**/y", "y", true),
        ("[\\]]*", "]a", true),
        ("[\\]]*", "\\a", false),
        ("[a\\-c]", "b", false),
        ("[a\\-c]", "-", true),
        ("[!\\]]", "]", false),
        ("[a-\\c]", "b", true),
    ] {
        assert_eq!(excluded(pattern, path, false), fits, "{pattern} {path}");
    }
    for pattern in ["a/", "/x/a/", "x/a/", "a/***", "/x/a/***"] {
        assert!(excluded(pattern, "x/a", true), "{pattern}");
        assert!(!excluded(pattern, "x/a", false), "{pattern}: directories only");
    }
    for pattern in ["", "/", "//", "!", "! a", "+ a", "- a", "[a", "*\\", "./a", "a/../b", "/***"]
        .into_iter()
        .chain(["foo**bak", "/**foo", "a/**foo", "foo**/b", "a**b/", "a/***/b", "a/b**/c"])
    {
        assert_eq!(Patterns::default().exclude(pattern.as_bytes()), None, "{pattern:?}");
    }
}

#[test]
fn a_path_is_quoted_and_comes_back() {
    for (path, glob) in [("a/b.c", "a/b.c"), ("*?[]\\!", "\\*\\?\\[]\\\\!"), ("x\\*", "x\\\\\\*")] {
        assert_eq!(quote(path.as_bytes()), glob.as_bytes());
        assert_eq!(unquote(glob.as_bytes()), path.as_bytes());
        assert!(!has_wildcard(glob.as_bytes()) && path_fits(glob.as_bytes(), path.as_bytes()));
    }
    for glob in ["*", "a?", "a/[b]/c", "\\\\*", "a/**", "["] {
        assert!(has_wildcard(glob.as_bytes()), "{glob}");
    }
    assert!(!has_wildcard(b"a\\") && !has_wildcard(b"]!"));
}

#[test]
fn a_backslash_that_quotes_nothing_is_one() {
    for (text, glob) in [
        ("a\\x2db", "a\\\\x2db"),
        ("\\*\\[\\]", "\\*\\[\\]"),
        ("a\\\\b", "a\\\\b"),
        ("a\\", "a\\\\"),
        ("*\\x\\?", "*\\\\x\\?"),
    ] {
        assert_eq!(typed(text.as_bytes()), glob.as_bytes(), "{text}");
    }
}

#[test]
fn many_stars_take_no_time() {
    let glob = "*a".repeat(60);
    assert!(!patterns(&glob).fit(&[b'a'; 59], false));
    assert!(!patterns(&(glob + "b")).fit(&[b'a'; 255], false));
    let (dirs, path) = ("/**/*a*".repeat(300), "aaaa/".repeat(999) + "b");
    assert!(!patterns(&(dirs + "c")).fit(path.as_bytes(), false));
}

#[test]
fn steps_are_counted_whatever_the_pattern_and_end() {
    let name = [b'a'; 250];
    for glob in ["*a".repeat(100) + "b*", "[ab]".repeat(300), "*".repeat(4_000), "?".repeat(250)] {
        let mut steps = 1_000_000;
        name_fits_within(glob.as_bytes(), &name, &mut steps);
        let taken = 1_000_000 - steps;
        assert!((240..110_000).contains(&taken), "{glob}: {taken}");
        let mut few = taken / 2;
        assert!(!name_fits_within(glob.as_bytes(), &name, &mut few) && few == 0, "{glob}");
    }
}

#[test]
fn a_long_name_in_a_pattern_costs_as_much_as_it_takes_to_look_through() {
    for glob in ["a".repeat(55_000) + "/b", "**/".to_string() + &"a".repeat(55_000) + "/b"] {
        let mut patterns = Patterns::default();
        patterns.exclude(glob.as_bytes()).unwrap();
        let mut steps = 1_000_000;
        assert!(!patterns.fit_within(b"b/b/b", true, &mut steps));
        assert!(1_000_000 - steps > 55_000 / 8, "{} steps", 1_000_000 - steps);
    }
}

/// What stands for what, tried in every way.
fn naive(glob: &[u8], path: &[u8]) -> bool {
    let (first, rest) = split(glob);
    let (name, below) = split(path);
    match (first, rest, below) {
        (b"**", None, _) => true,
        (b"**", Some(rest), below) => {
            naive(rest, path) || below.is_some_and(|below| naive(glob, below))
        }
        (_, None, None) => naive_name(first, name),
        (_, Some(rest), Some(below)) => naive_name(first, name) && naive(rest, below),
        _ => false,
    }
}

fn naive_name(glob: &[u8], name: &[u8]) -> bool {
    match (glob, name) {
        ([], _) => name.is_empty(),
        ([b'*', rest @ ..], _) => (0..=name.len()).any(|at| naive_name(rest, &name[at..])),
        ([b'[', b'a', b'-', b'b', b']', rest @ ..], [byte, left @ ..]) => {
            matches!(byte, b'a' | b'b') && naive_name(rest, left)
        }
        ([b'\\', quoted, rest @ ..], [byte, left @ ..]) => quoted == byte && naive_name(rest, left),
        ([one, rest @ ..], [byte, left @ ..]) => {
            (*one == b'?' || one == byte) && naive_name(rest, left)
        }
        _ => false,
    }
}

proptest! {
    #[test]
    fn what_fits_is_what_fits_in_one_of_all_ways(
        names in vec(vec(select(vec!["a", "b", "*", "?", "[a-b]", "\\*", "c"]), 1..5), 1..6),
        is_deep in vec(any::<bool>(), 6),
        path in vec("[abc*]{1,5}", 1..7),
    ) {
        let name = |(name, is_deep): (Vec<&str>, bool)| match is_deep {
            true => "**".to_string(),
            false => name.concat(),
        };
        let glob = names.into_iter().zip(is_deep).map(name).collect::<Vec<_>>().join("/");
        let (glob, path) = (glob.as_bytes(), path.join("/"));
        prop_assert!(is_sound(glob));
        prop_assert_eq!(path_fits(glob, path.as_bytes()), naive(glob, path.as_bytes()));
    }

    #[test]
    fn any_bytes_are_looked_at_in_bounded_time(
        glob in vec(any::<u8>(), 0..99),
        path in vec(any::<u8>(), 0..99),
        mut steps in 0..500u64,
    ) {
        let before = steps;
        path_fits_within(&glob, &path, &mut steps);
        // None is left where it did not come to its end.
        prop_assert!(steps == 0 || steps < before || path.is_empty());
        let mut patterns = Patterns::default();
        if patterns.exclude(&glob).is_some() {
            patterns.fit(&path, true);
        }
        prop_assert!(path_fits(&quote(&path), &path));
    }
}
