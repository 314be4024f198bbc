//! poll(2) on descriptors that are named anew in every turn.
//!
//! Knows the kernel's array and keeps its memory; refuses to know who waits.

#![allow(unsafe_code)]

use nix::errno::Errno;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

pub const READABLE: i16 = libc::POLLIN;
pub const WRITABLE: i16 = libc::POLLOUT;
/// Said without being asked for.
pub const BROKEN: i16 = libc::POLLHUP | libc::POLLERR | libc::POLLNVAL;

/// The descriptors of one turn, by place.
#[derive(Default)]
pub struct Poll {
    fds: Vec<libc::pollfd>,
}

impl Poll {
    pub fn clear(&mut self) {
        self.fds.clear();
    }

    /// `events` are `READABLE`, `WRITABLE`, both, or 0 for `BROKEN` alone.
    pub fn add(&mut self, fd: &impl AsFd, events: i16) {
        let fd = fd.as_fd().as_raw_fd();
        self.fds.push(libc::pollfd { fd, events, revents: 0 });
    }

    /// Waits until something is ready; a signal ends it early. Gives whether
    /// anything is.
    pub fn wait(&mut self, timeout_ms: u64) -> io::Result<bool> {
        let timeout_ms = libc::c_int::try_from(timeout_ms).unwrap_or(libc::c_int::MAX);
        let (list, count) = (self.fds.as_mut_ptr(), self.fds.len() as libc::nfds_t);
        // SAFETY: pointer and length are those of one vector of pollfd, which
        // nobody else uses meanwhile. A descriptor that was closed since it
        // was added is reported as POLLNVAL.
        match Errno::result(unsafe { libc::poll(list, count, timeout_ms) }) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::EINTR) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// What is ready of the descriptor at this place.
    pub fn ready(&self, place: usize) -> i16 {
        self.fds.get(place).map_or(0, |fd| fd.revents)
    }
}
