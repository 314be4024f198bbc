//! The time of day: time(2), and localtime_r(3) for people.
//!
//! What waits or expires counts from `Instant`, which no operator sets.

#![allow(unsafe_code)]

/// A time in seconds since 1970 in the local time zone, or UTC where none is set. `None` in a year
/// that has no number.
fn local(time: i64) -> Option<libc::tm> {
    // SAFETY: localtime_r writes to the tm that it is given, which outlives the call. A
    // zeroed tm is valid.
    unsafe {
        let mut tm: libc::tm = std::mem::zeroed();
        let known = libc::localtime_r(&raw const time, &raw mut tm);
        (!known.is_null()).then_some(tm)
    }
}

/// Reads which zone it is, which the C library does once, before no file can be opened any more.
pub fn learn_zone() {
    let _ = local(0);
}

/// Seconds since 1970.
pub fn now_s() -> i64 {
    // SAFETY: time(2) with a null pointer only returns.
    unsafe { libc::time(std::ptr::null_mut()) }
}

/// `HH:MM:SS`, now.
pub fn time_of_day() -> String {
    let (h, m, s) = local(now_s()).map_or((0, 0, 0), |tm| (tm.tm_hour, tm.tm_min, tm.tm_sec));
    format!("{h:02}:{m:02}:{s:02}")
}

/// `YYYY-MM-DD HH:MM` of a time in seconds since 1970.
pub fn date(time_s: i64) -> String {
    match local(time_s) {
        Some(tm) => format!(
            "{}-{:02}-{:02} {:02}:{:02}",
            i64::from(tm.tm_year) + 1900,
            tm.tm_mon + 1,
            tm.tm_mday,
            tm.tm_hour,
            tm.tm_min
        ),
        None => format!("{time_s} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_date_or_stays_a_number() {
        // Between noons of every zone.
        assert!(date(86_400 * 365 + 43_200).starts_with("1971-01-0"), "{}", date(43_200));
        assert_eq!(date(0).len(), "1970-01-01 00:00".len());
        assert_eq!(date(i64::MAX), format!("{} s", i64::MAX));
        assert_eq!(time_of_day().len(), 8);
    }
}
