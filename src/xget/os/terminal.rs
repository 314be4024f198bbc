//! How large the terminal is, ioctl_tty(2). Refuses to know what is shown on it.

#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd};

/// Columns of the terminal at standard error, now. `None` where there is none,
/// or it does not say (a serial line).
pub fn columns() -> Option<usize> {
    Some(size(&std::io::stderr())?.1)
}

/// Rows and columns of a terminal, now.
pub fn size(terminal: &impl AsFd) -> Option<(usize, usize)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    let fd = terminal.as_fd().as_raw_fd();
    // SAFETY: TIOCGWINSZ writes to the winsize that it is given, which outlives
    // the call; a descriptor that is closed or no terminal is an error.
    let result = unsafe { libc::ioctl(fd, libc::TIOCGWINSZ, &raw mut size) };
    let is_known = result == 0 && size.ws_col > 0;
    is_known.then_some((usize::from(size.ws_row), usize::from(size.ws_col)))
}
