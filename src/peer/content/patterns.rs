//! Patterns of paths, as in gitignore(5) and rsync(1): `*` and `?` stand for what is in a
//! name, `[...]` for one byte of it, `**` in place of a name for any number of directories,
//! and `\` quotes what follows. A dot that a name begins with is as any other byte.
//!
//! Knows names and paths as bytes, and what it may cost to look whether they fit. Refuses to
//! know what is done with what fits.

use alloc::vec::Vec;

/// What there is no end of: to see whether the patterns of somebody who is trusted fit.
const NO_END: u64 = u64::MAX;

/// Patterns; of a path, whether it fits one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patterns {
    list: Vec<Pattern>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    glob: Vec<u8>,
    /// It is compared with the whole path, others with the last name of it.
    is_of_paths: bool,
    is_of_dirs: bool,
}

impl Patterns {
    /// Adds the patterns of a file, one a line, as in gitignore(5) without exceptions by
    /// `!`: with a `/` before its end it is a path from the top.
    ///
    /// # Errors
    /// The number of the line that is none.
    pub fn add(&mut self, text: &[u8]) -> Result<(), usize> {
        for (at, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let line = without_spaces_at_end(line.strip_suffix(b"\r").unwrap_or(line));
            if line.is_empty() || line[0] == b'#' {
                continue;
            }
            self.list.push(Pattern::parse(line, b"").ok_or(at + 1)?);
        }
        Ok(())
    }

    /// Adds one as rsync(1) has it for `--exclude`: without a `/` before its end it is a
    /// name at any depth, with one the end of a path, and with one at its begin a path from
    /// the top. `None` if it is none, or what is a rule of another kind there.
    #[must_use]
    pub fn exclude(&mut self, pattern: &[u8]) -> Option<()> {
        // What is in a directory goes with it.
        let is_with_contents = pattern.ends_with(b"/***");
        let pattern = &pattern[..pattern.len() - if is_with_contents { 3 } else { 0 }];
        let is_rule = pattern.starts_with(b"+ ") || pattern.starts_with(b"- ");
        self.list.push(Pattern::parse(pattern, b"**/").filter(|_| !is_rule)?);
        Some(())
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether a path itself fits, of names with `/` between them; what is below a
    /// directory that fits is its caller's to know.
    pub fn fit(&self, path: &[u8], is_dir: bool) -> bool {
        self.fit_within(path, is_dir, &mut { NO_END })
    }

    /// The same in so many steps; when none is left, it is not known.
    pub(crate) fn fit_within(&self, path: &[u8], is_dir: bool, steps: &mut u64) -> bool {
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
        self.list.iter().any(|pattern| {
            spend(steps, 1)
                && (is_dir || !pattern.is_of_dirs)
                && match pattern.is_of_paths {
                    true => path_fits_within(&pattern.glob, path, steps),
                    false => name_fits_within(&pattern.glob, name, steps),
                }
        })
    }
}

impl Pattern {
    /// `above` is put before a path that does not begin with `/`.
    fn parse(line: &[u8], above: &[u8]) -> Option<Pattern> {
        let (glob, is_of_dirs) = match line.strip_suffix(b"/") {
            Some(glob) => (glob, true),
            None => (line, false),
        };
        let is_of_paths = glob.contains(&b'/');
        let glob = match glob.strip_prefix(b"/") {
            None if is_of_paths => [above, glob].concat(),
            from_top => from_top.unwrap_or(glob).to_vec(),
        };
        // With `!` gitignore means an exception, and rsync that all before is void.
        let is_sound = line.first() != Some(&b'!') && is_sound(&glob);
        is_sound.then_some(Pattern { glob, is_of_paths, is_of_dirs })
    }
}

/// Those at the end of a line count only where `\` quotes the first of them (gitignore(5)).
fn without_spaces_at_end(line: &[u8]) -> &[u8] {
    let len = line.trim_ascii_end().len();
    let quotes = line[..len].iter().rev().take_while(|&&byte| byte == b'\\').count();
    &line[..line.len().min(len + quotes % 2)]
}

/// Whether a pattern of names with `/` between them can fit something: all of them are names,
/// each `[` has its `]` and each `\` what it quotes. Classes as `[:digit:]` are not known.
pub fn is_sound(glob: &[u8]) -> bool {
    let is_name = |name: &[u8]| !matches!(name, b"" | b"." | b"..") && is_whole(name);
    glob.split(|&byte| byte == b'/').all(is_name) && !glob.windows(2).any(|pair| pair == b"[:")
}

fn is_whole(mut glob: &[u8]) -> bool {
    while let Some((len, _)) = one(glob) {
        glob = &glob[len..];
    }
    glob.is_empty()
}

/// Whether something in a pattern stands for more than itself.
pub fn has_wildcard(mut glob: &[u8]) -> bool {
    while let Some(&first) = glob.first() {
        if matches!(first, b'*' | b'?' | b'[') {
            return true;
        }
        glob = glob.get(if first == b'\\' { 2 } else { 1 }..).unwrap_or_default();
    }
    false
}

/// The pattern that fits this path alone.
pub fn quote(path: &[u8]) -> Vec<u8> {
    let mut glob = Vec::with_capacity(path.len());
    for &byte in path {
        if matches!(byte, b'*' | b'?' | b'[' | b'\\') {
            glob.push(b'\\');
        }
        glob.push(byte);
    }
    glob
}

/// A pattern as a person types it: `\` quotes only what means something, so that names of
/// units as `a\x2d.mount` are what they are.
pub fn typed(text: &[u8]) -> Vec<u8> {
    let mut glob = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        glob.push(byte);
        if byte == b'\\' {
            let quotes = after.first().is_some_and(|next| b"*?[]\\".contains(next));
            let (quoted, after) = after.split_at(usize::from(quotes));
            glob.extend_from_slice(if quotes { quoted } else { b"\\" });
            rest = after;
        }
    }
    glob
}

/// The path that a pattern without wildcards is.
pub fn unquote(glob: &[u8]) -> Vec<u8> {
    let mut is_quoted = false;
    let is_of_path = |byte: &&u8| {
        is_quoted = **byte == b'\\' && !is_quoted;
        !is_quoted
    };
    glob.iter().filter(is_of_path).copied().collect()
}

/// Takes so many steps. False when none is left.
pub(crate) fn spend(steps: &mut u64, count: usize) -> bool {
    *steps = steps.saturating_sub(count as u64);
    *steps > 0
}

fn split(path: &[u8]) -> (&[u8], Option<&[u8]>) {
    match path.iter().position(|&byte| byte == b'/') {
        Some(at) => (&path[..at], Some(&path[at + 1..])),
        None => (path, None),
    }
}

/// Whether a path fits a pattern name by name; `**` is any number of directories, and at
/// the end all that is below.
pub fn path_fits(glob: &[u8], path: &[u8]) -> bool {
    path_fits_within(glob, path, &mut { NO_END })
}

/// Goes back to the last `**` alone, as `name_fits_within` to the last `*`.
fn path_fits_within(glob: &[u8], path: &[u8], steps: &mut u64) -> bool {
    let (mut glob, mut path) = (Some(glob), Some(path));
    let mut retry = None;
    while let Some(rest) = path {
        let (name, below) = split(rest);
        match glob.map(split) {
            Some((b"**", None)) => return true,
            Some((b"**", after)) => {
                glob = after;
                retry = Some((after, below));
            }
            Some((first, after)) if name_fits_within(first, name, steps) => {
                (glob, path) = (after, below);
            }
            _ => {
                // Of `**` one directory more.
                let Some((after, next)) = retry else { return false };
                (glob, path) = (after, next);
                retry = Some((after, next.and_then(|next| split(next).1)));
            }
        }
        if !spend(steps, 1) {
            return false;
        }
    }
    glob.is_none()
}

/// Goes back to the last `*` alone: so it takes the product of the lengths at most.
pub(crate) fn name_fits_within(glob: &[u8], name: &[u8], steps: &mut u64) -> bool {
    // What ends in another byte need not be looked through.
    let ends = (glob.last(), name.last());
    if matches!(ends, (Some(of_glob), Some(end)) if of_glob != end && !b"*?]".contains(of_glob)) {
        return false;
    }
    let (mut glob_at, mut at, mut retry) = (0, 0, None);
    while at < name.len() {
        let rest = &glob[glob_at..];
        let (len, is_set) = one(rest).unwrap_or_default();
        if !spend(steps, len.max(1)) {
            return false;
        }
        if rest.first() == Some(&b'*') {
            glob_at += 1;
            retry = Some((glob_at, at));
        } else if len > 0 && set_has(&rest[..len], is_set, name[at]) {
            (glob_at, at) = (glob_at + len, at + 1);
        } else if let Some((star, from)) = retry {
            (glob_at, at) = (star, from + 1);
            retry = Some((star, from + 1));
        } else {
            return false;
        }
    }
    spend(steps, glob.len() - glob_at) && glob[glob_at..].iter().all(|&byte| byte == b'*')
}

/// How long what stands for one byte is, and whether it is a set of them.
fn one(glob: &[u8]) -> Option<(usize, bool)> {
    match *glob.first()? {
        b'\\' => (glob.len() > 1).then_some((2, false)),
        b'[' => {
            // `]` is one of the set where it stands first.
            let from = if matches!(glob.get(1), Some(b'!' | b'^')) { 3 } else { 2 };
            let end = glob.iter().skip(from).position(|&byte| byte == b']')?;
            let set = &glob[..from + end + 1];
            (!set.contains(&b'/')).then_some((set.len(), true))
        }
        _ => Some((1, false)),
    }
}

/// Whether what stands for one byte stands for this one.
fn set_has(glob: &[u8], is_set: bool, byte: u8) -> bool {
    if !is_set {
        return glob == b"?" || glob[glob.len() - 1] == byte;
    }
    let set = &glob[1..glob.len() - 1];
    let (set, is_negated) = match set {
        [b'!' | b'^', rest @ ..] => (rest, true),
        _ => (set, false),
    };
    let mut at = 0;
    let mut is_in = false;
    while at < set.len() {
        let (low, mut high) = (set[at], set[at]);
        at += 1;
        if set.get(at) == Some(&b'-') && at + 1 < set.len() {
            high = set[at + 1];
            at += 2;
        }
        is_in |= (low..=high).contains(&byte);
    }
    is_in != is_negated
}

#[cfg(test)]
mod tests {
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
            ("\\- a", "- a", true),
        ] {
            assert_eq!(excluded(pattern, path, false), fits, "{pattern} {path}");
        }
        for pattern in ["a/", "/x/a/", "x/a/", "a/***", "/x/a/***"] {
            assert!(excluded(pattern, "x/a", true), "{pattern}");
            assert!(!excluded(pattern, "x/a", false), "{pattern}: directories only");
        }
        for pattern in
            ["", "/", "//", "!", "! a", "+ a", "- a", "[a", "a\\", "./a", "a/../b", "/***"]
        {
            assert_eq!(Patterns::default().exclude(pattern.as_bytes()), None, "{pattern:?}");
        }
    }

    #[test]
    fn a_path_is_quoted_and_comes_back() {
        for (path, glob) in
            [("a/b.c", "a/b.c"), ("*?[]\\!", "\\*\\?\\[]\\\\!"), ("x\\*", "x\\\\\\*")]
        {
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
        for glob in
            ["*a".repeat(100) + "b*", "[ab]".repeat(300), "*".repeat(4_000), "?".repeat(250)]
        {
            let mut steps = 1_000_000;
            name_fits_within(glob.as_bytes(), &name, &mut steps);
            let taken = 1_000_000 - steps;
            assert!((240..110_000).contains(&taken), "{glob}: {taken}");
            let mut few = taken / 2;
            assert!(!name_fits_within(glob.as_bytes(), &name, &mut few) && few == 0, "{glob}");
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
            ([b'\\', quoted, rest @ ..], [byte, left @ ..]) => {
                quoted == byte && naive_name(rest, left)
            }
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
            prop_assert!(steps <= before);
            let mut patterns = Patterns::default();
            if patterns.exclude(&glob).is_some() {
                patterns.fit(&path, true);
            }
            prop_assert!(path_fits(&quote(&path), &path));
        }
    }
}
