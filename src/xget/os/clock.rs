//! The time of day for people, localtime_r(3); nothing decides by it.
//!
//! What waits or expires counts from `Instant`, which no operator sets.

#![allow(unsafe_code)]

/// `HH:MM:SS` in the local time zone, or UTC where none is set.
pub fn time_of_day() -> String {
    // SAFETY: time(2) with a null pointer only returns; localtime_r writes to
    // the tm that it is given, which outlives the call. A zeroed tm is valid.
    let tm = unsafe {
        let now = libc::time(std::ptr::null_mut());
        let mut tm: libc::tm = std::mem::zeroed();
        libc::localtime_r(&raw const now, &raw mut tm);
        tm
    };
    format!("{:02}:{:02}:{:02}", tm.tm_hour, tm.tm_min, tm.tm_sec)
}
