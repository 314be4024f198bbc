//! How wide the terminal is, ioctl_tty(2). Refuses to know what is shown on it.

#![allow(unsafe_code)]

/// Columns of the terminal at standard error, now. `None` where there is none,
/// or it does not say (a serial line).
pub fn columns() -> Option<usize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes to the winsize that it is given, which outlives
    // the call; a descriptor that is closed or no terminal is an error.
    let result = unsafe { libc::ioctl(libc::STDERR_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    (result == 0 && size.ws_col > 0).then_some(usize::from(size.ws_col))
}
