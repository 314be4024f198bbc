//! What is to be had of what is served: SRC and `--exclude`, of a fetch and of
//! `--print-digest` alike.

use peer::content::manifest::Selector;
use peer::content::patterns::{self, Patterns};
use peer::request::source_is_below;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// What was typed; and what it leaves out, as who fetches leaves it alone.
pub fn selector(
    sources: Vec<OsString>,
    excludes: Vec<OsString>,
) -> Result<(Selector, Patterns), String> {
    let sources = below(sources)?;
    let mut left_alone = Patterns::default();
    for pattern in &excludes {
        left_alone.exclude(pattern.as_encoded_bytes()).ok_or_else(|| {
            format!(
                "--exclude takes of rsync's patterns what fits names, not {:?}: no class \
                 ([[:alpha:]]), no rule (`- x`, `+ x`, `!`), no `a**b`, no `.`, `..`, `//`, no \
                 `[` without its `]`, nothing empty",
                pattern.to_string_lossy()
            )
        })?;
    }
    let mut sources: Vec<_> = sources.iter().map(|source| patterns::typed(source)).collect();
    let are_patterns = sources.iter().any(|source| patterns::has_wildcard(source));
    if !are_patterns {
        // Paths are understood by older masters, too.
        sources.iter_mut().for_each(|source| *source = patterns::unquote(source));
    }
    let excludes = excludes.into_iter().map(OsString::into_vec).collect();
    Ok((Selector { sources, are_patterns, excludes }, left_alone))
}

/// What was typed, as paths.
pub fn below(sources: Vec<OsString>) -> Result<Vec<Vec<u8>>, String> {
    let sources: Vec<_> = sources.into_iter().map(OsString::into_vec).collect();
    if !sources.iter().all(|source| source_is_below(source)) {
        return Err("a SRC is a path below what the master serves, and `.` is all of it; \
                    it cannot be empty or lead above that by `..`"
            .into());
    }
    Ok(sources)
}
