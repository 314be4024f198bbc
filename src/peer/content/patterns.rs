//! Patterns of paths, as in gitignore(5) and rsync(1): `*` and `?` stand for what is in a
//! name, `[...]` for one byte of it, `**` in place of a name for any number of directories,
//! and `\` quotes what follows. A dot that a name begins with is as any other byte.
//!
//! Knows names and paths as bytes, and what it may cost to look whether they fit. Refuses to
//! know what is done with what fits.

use alloc::vec::Vec;

/// What there is no end of: to see whether the patterns of somebody who is trusted fit.
const NO_END: u64 = u64::MAX;

/// Bytes that are looked through for a `/` in the time of a step.
const SCANNED_IN_STEP: usize = 8;

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
    /// the top; without `*`, `?` and `[` every `\` is one. `None` if it is none, or is
    /// something else there: a rule of another kind, or a `**` that goes on after a name.
    #[must_use]
    pub fn exclude(&mut self, pattern: &[u8]) -> Option<()> {
        let quoted = (!pattern.iter().any(|byte| b"*?[".contains(byte))).then(|| quote(pattern));
        let pattern = quoted.as_deref().unwrap_or(pattern);
        // What is in a directory goes with it.
        let is_with_contents = pattern.ends_with(b"/***");
        let pattern = &pattern[..pattern.len() - if is_with_contents { 3 } else { 0 }];
        let is_rule = pattern.starts_with(b"+ ") || pattern.starts_with(b"- ");
        let is_other = is_rule || has_stars_within(pattern);
        let pattern = with_dirs_between(pattern);
        self.list.push(Pattern::parse(&pattern, b"**/").filter(|_| !is_other)?);
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
    #[inline(never)]
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

/// Whether `**` is part of a name where it means more than `*` to rsync(1), and nothing here:
/// it does not at the end of all, nor where any directory may stand before it.
fn has_stars_within(pattern: &[u8]) -> bool {
    let path = pattern.strip_suffix(b"/").unwrap_or(pattern);
    let mut at = 0;
    while let Some((len, _)) = one(&path[at..]) {
        let stars = path[at..].iter().take_while(|&&byte| byte == b'*').count();
        let end = at + stars.max(len);
        let is_name = stars == 2
            && (at == 0 || path[at - 1] == b'/')
            && matches!(path.get(end), None | Some(b'/'));
        if stars > 1 && !is_name && at != 0 && end != path.len() {
            return true;
        }
        at = end;
    }
    false
}

/// To rsync(1) `**` between others is one directory at least, here also none.
fn with_dirs_between(pattern: &[u8]) -> Vec<u8> {
    let mut made = Vec::with_capacity(pattern.len());
    let mut rest = Some(pattern);
    while let Some(names) = rest {
        let (name, after) = split(names);
        let is_between = !made.is_empty() && !matches!(after, None | Some(b""));
        made.extend_from_slice(if is_between && name == b"**" { b"*/**" } else { name });
        made.extend(after.map(|_| b'/'));
        rest = after;
    }
    made
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
#[inline(never)]
fn path_fits_within(glob: &[u8], path: &[u8], steps: &mut u64) -> bool {
    let (mut glob, mut path) = (Some(glob), Some(path));
    let mut retry = None;
    while let Some(rest) = path {
        let (name, below) = split(rest);
        let next = glob.map(split);
        let looked_at = name.len() + next.map_or(0, |(first, _)| first.len());
        if !spend(steps, 1 + looked_at / SCANNED_IN_STEP) {
            return false;
        }
        match next {
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
            let mut end = from - 1;
            while *glob.get(end)? != b']' || end < from {
                end += if glob[end] == b'\\' { 2 } else { 1 };
            }
            (!glob[..end].contains(&b'/')).then_some((end + 1, true))
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
    // In a set, too, `\` quotes what follows.
    let quoted = |at: usize| at + usize::from(set[at] == b'\\' && at + 1 < set.len());
    while at < set.len() {
        at = quoted(at);
        let (low, mut high) = (set[at], set[at]);
        at += 1;
        if set.get(at) == Some(&b'-') && at + 1 < set.len() {
            at = quoted(at + 1);
            high = set[at];
            at += 1;
        }
        is_in |= (low..=high).contains(&byte);
    }
    is_in != is_negated
}

#[cfg(test)]
mod tests;
