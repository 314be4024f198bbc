//! How many descriptors the process may have, and how many it cannot do without.
//!
//! With fewer it would fail in the middle, with another word for it each time,
//! or blame the peers that it cannot call.

use crate::os::socket;

/// Standard ones 3, the log, the listener, the destination; open files 64,
/// directories 32 (`store::files`); the master, a parent for each of 16 stripes;
/// some to spare, for a list of names and a clock's table. Connections of others
/// come on top: without room for one it is not taken.
pub(super) const DESCRIPTORS_MIN: u64 = 128;

/// Takes as many as the system allows, and says how many that are.
///
/// # Errors
/// They are too few; for the operator.
pub(super) fn claim() -> Result<u64, String> {
    let limit = socket::raise_descriptor_limit();
    enough(limit).map(|()| limit)
}

fn enough(limit: u64) -> Result<(), String> {
    match limit < DESCRIPTORS_MIN {
        true => Err(format!(
            "may have {limit} files open, and needs {DESCRIPTORS_MIN}: raise the limit (ulimit -n, LimitNOFILE=)"
        )),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::files::{OPEN_DIRS_MAX, OPEN_FILES_MAX};

    #[test]
    fn what_is_held_open_fits_and_less_is_refused() {
        let held = OPEN_DIRS_MAX + OPEN_FILES_MAX + 3 + 3 + 1 + 16;
        assert!((held as u64) < DESCRIPTORS_MIN);
        assert!(enough(127).unwrap_err().contains("127") && enough(128).is_ok());
    }
}
