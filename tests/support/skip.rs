//! What a test says that cannot run. The unit tests of `xget` have this file too.

use std::io::Write;

/// What a test needs and is not here. In continuous integration (CI=true)
/// everything has to be; elsewhere the test says why it does nothing, past the
/// harness, which shows the words of failed tests only.
#[track_caller]
pub fn skip(why: &str) -> bool {
    let is_ci = std::env::var("CI").is_ok_and(|value| !matches!(&*value, "" | "0" | "false"));
    assert!(!is_ci, "needed here, and not to be had: {why}");
    let thread = std::thread::current();
    let _ = writeln!(std::io::stderr(), "skipped: {}: {why}", thread.name().unwrap_or("a test"));
    true
}
