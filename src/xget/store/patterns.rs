//! Which paths of a destination are to be left as they are.
//!
//! Patterns as in gitignore(5) and rsync(1), one a line, without exceptions by `!`.
//! Knows paths as bytes; refuses to know what is done with what fits.

/// Patterns; a path is kept that fits one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patterns {
    list: Vec<Pattern>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    glob: Vec<u8>,
    /// A `/` before its end: it is compared with the whole path, others with the
    /// last name of it.
    is_anchored: bool,
    is_of_dirs: bool,
}

impl Patterns {
    /// Adds the patterns of a file. The error is the number of the line that is none.
    pub fn add(&mut self, text: &[u8]) -> Result<(), usize> {
        for (at, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let line = without_spaces_at_end(line.strip_suffix(b"\r").unwrap_or(line));
            if line.is_empty() || line[0] == b'#' {
                continue;
            }
            self.list.push(Pattern::parse(line).ok_or(at + 1)?);
        }
        Ok(())
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether a path itself fits, of names with `/` between them; what is below a
    /// directory that fits is its caller's to know.
    pub fn fit(&self, path: &[u8], is_dir: bool) -> bool {
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
        self.list.iter().any(|pattern| {
            (is_dir || !pattern.is_of_dirs)
                && match pattern.is_anchored {
                    true => path_fits(&pattern.glob, path),
                    false => name_fits(&pattern.glob, name),
                }
        })
    }
}

impl Pattern {
    fn parse(line: &[u8]) -> Option<Pattern> {
        let (glob, is_of_dirs) = match line.strip_suffix(b"/") {
            Some(glob) => (glob, true),
            None => (line, false),
        };
        let is_anchored = glob.contains(&b'/');
        let glob = glob.strip_prefix(b"/").unwrap_or(glob);
        // With `!` gitignore means an exception, and rsync that all before is void.
        let is_sound = line[0] != b'!' && is_sound(glob);
        is_sound.then(|| Pattern { glob: glob.to_vec(), is_anchored, is_of_dirs })
    }
}

/// Those at the end of a line count only where `\` quotes the first of them (gitignore(5)).
fn without_spaces_at_end(line: &[u8]) -> &[u8] {
    let len = line.trim_ascii_end().len();
    let quotes = line[..len].iter().rev().take_while(|&&byte| byte == b'\\').count();
    &line[..line.len().min(len + quotes % 2)]
}

/// It can fit something: all of its names are names, each `[` has its `]` and each `\` what
/// it quotes, in the same name. Classes as `[:digit:]` are not known here.
fn is_sound(glob: &[u8]) -> bool {
    glob.split(|&byte| byte == b'/').all(|name| !matches!(name, b"" | b"." | b".."))
        && !glob.windows(2).any(|pair| pair == b"[:")
        && is_whole(glob)
}

fn is_whole(mut glob: &[u8]) -> bool {
    while let Some(&first) = glob.first() {
        let len = match first {
            b'*' => 1,
            _ => match one(glob) {
                Some((len, _)) => len,
                None => return false,
            },
        };
        glob = &glob[len..];
    }
    true
}

fn split(path: &[u8]) -> (&[u8], Option<&[u8]>) {
    match path.iter().position(|&byte| byte == b'/') {
        Some(at) => (&path[..at], Some(&path[at + 1..])),
        None => (path, None),
    }
}

/// Name by name; `**` is any number of directories, and at the end all that is below.
fn path_fits(glob: &[u8], path: &[u8]) -> bool {
    let ((first, rest), (name, below)) = (split(glob), split(path));
    match (first, rest, below) {
        (b"**", None, _) => true,
        (b"**", Some(rest), _) => {
            path_fits(rest, path) || below.is_some_and(|below| path_fits(glob, below))
        }
        (_, None, None) => name_fits(first, name),
        (_, Some(rest), Some(below)) => name_fits(first, name) && path_fits(rest, below),
        _ => false,
    }
}

/// Goes back to the last `*` alone: so it takes the product of the lengths at most.
fn name_fits(glob: &[u8], name: &[u8]) -> bool {
    let (mut glob_at, mut at, mut retry) = (0, 0, None);
    while at < name.len() {
        let rest = &glob[glob_at..];
        if rest.first() == Some(&b'*') {
            glob_at += 1;
            retry = Some((glob_at, at));
            continue;
        }
        let fits = one(rest).filter(|(len, set)| set_has(&rest[..*len], *set, name[at]));
        if let Some((len, _)) = fits {
            (glob_at, at) = (glob_at + len, at + 1);
        } else if let Some((star, from)) = retry {
            (glob_at, at) = (star, from + 1);
            retry = Some((star, from + 1));
        } else {
            return false;
        }
    }
    glob[glob_at..].iter().all(|&byte| byte == b'*')
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

    #[test]
    fn many_stars_take_no_time() {
        let glob = "*a".repeat(60);
        assert!(!patterns(&glob).fit(&[b'a'; 59], false));
        assert!(!patterns(&(glob + "b")).fit(&[b'a'; 255], false));
    }
}
