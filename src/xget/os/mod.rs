//! System calls: the only way to Linux, and the only module with `unsafe` in it.
//!
//! Each file is one kind of them, thin enough to be compared with its man page.
//! What to do with an answer is decided elsewhere.

pub mod block;
pub mod child;
pub mod clock;
pub mod daemon;
pub mod file;
pub mod kexec;
pub mod landlock;
pub mod link_socket;
pub mod loop_device;
pub mod memory;
pub mod module;
pub mod mount;
pub mod names;
pub mod netif;
pub mod newroot;
pub mod origin;
pub mod outlet;
pub mod output;
pub mod packet;
pub mod poll;
pub mod privileges;
pub mod random;
pub mod reboot;
#[cfg(test)]
pub(crate) mod scratch;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod sync;
pub mod terminal;
pub mod uevent;
#[cfg(all(panic = "abort", target_env = "musl", target_arch = "x86_64"))]
mod unwind;
pub mod watchdog;
pub mod xattr;
