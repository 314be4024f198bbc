//! What this process gives up of what it may: another user, capabilities(7), and that it never
//! gets more.
//!
//! Refuses to know what it needs.

#![allow(unsafe_code)]

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, User};

/// Numbers of capabilities (linux/capability.h).
pub const CHOWN: u32 = 0;
pub const DAC_OVERRIDE: u32 = 1;
pub const DAC_READ_SEARCH: u32 = 2;
pub const FOWNER: u32 = 3;
pub const FSETID: u32 = 4;
pub const SYS_ADMIN: u32 = 21;
pub const SYS_RESOURCE: u32 = 24;
pub const MKNOD: u32 = 27;
pub const SETFCAP: u32 = 31;
pub const MAC_ADMIN: u32 = 33;

/// `struct __user_cap_header_struct`: of this thread, in the third version.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

const VERSION_3: u32 = 0x2008_0522;

/// `struct __user_cap_data_struct`: the first has the lower 32 capabilities.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Neither this thread nor what it executes can get more than it has (prctl(2)).
pub fn gain_no_more() -> Result<(), Errno> {
    // SAFETY: this request takes numbers alone.
    let set = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    Errno::result(set).map(drop)
}

/// No other process of the same user looks into the memory of this one, and it leaves no core
/// (PR_SET_DUMPABLE): for who has a secret.
pub fn hide_memory() {
    // SAFETY: this request takes numbers alone. It does not fail with this one.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
}

/// Whether [`hide_memory`] is in force.
#[cfg(test)]
pub fn is_memory_hidden() -> bool {
    // SAFETY: this request takes numbers alone.
    unsafe { libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 }
}

/// Gives up each capability but these, as far as it has them.
pub fn keep_capabilities(numbers: &[u32]) -> Result<(), Errno> {
    // The kernel writes there which versions it has, should this be none.
    let mut header = Header { version: VERSION_3, pid: 0 };
    let mut has = [Data::default(); 2];
    // SAFETY: the header is of the version whose data are two, to which there is room.
    let got = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, has.as_mut_ptr()) };
    Errno::result(got)?;
    if has.iter().all(|data| data.permitted | data.inheritable == 0) {
        // Where nobody may call it, nothing is missing.
        return Ok(());
    }
    let kept = numbers.iter().fold(0u64, |kept, number| kept | 1 << number);
    for (data, kept) in has.iter_mut().zip([kept as u32, (kept >> 32) as u32]) {
        data.permitted &= kept;
        *data = Data { effective: data.permitted, inheritable: 0, ..*data };
    }
    // SAFETY: as above, and nothing is written.
    let set = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, has.as_ptr()) };
    Errno::result(set).map(drop)
}

/// Becomes another user, in its own group alone, with these capabilities and no other. To be
/// called by root.
pub fn become_user(uid: u32, gid: u32, numbers: &[u32]) -> Result<(), Errno> {
    let keep = |is: libc::c_ulong| {
        // SAFETY: this request takes numbers alone.
        let kept = unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, is, 0, 0, 0) };
        Errno::result(kept).map(drop)
    };
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    keep(1)?;
    nix::unistd::setgroups(&[gid])?;
    nix::unistd::setresgid(gid, gid, gid)?;
    nix::unistd::setresuid(uid, uid, uid)?;
    keep_capabilities(numbers)?;
    keep(0)
}

/// User and group of this name, as the system's library knows it.
pub fn user(name: &str) -> Result<Option<(u32, u32)>, Errno> {
    Ok(User::from_name(name)?.map(|user| (user.uid.as_raw(), user.gid.as_raw())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::file;
    use crate::os::scratch::Dir;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn capabilities() -> u64 {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    }

    #[test]
    fn what_is_not_kept_is_gone() {
        let thread = std::thread::spawn(|| {
            keep_capabilities(&[DAC_READ_SEARCH, MAC_ADMIN]).unwrap();
            let kept = capabilities();
            assert_eq!(kept, if file::is_root() { 1 << 33 | 1 << 2 } else { 0 });
            // Asked for again, it does not come back.
            keep_capabilities(&[SYS_ADMIN, DAC_READ_SEARCH]).unwrap();
            assert_eq!(capabilities(), kept & 1 << 2);
        });
        thread.join().unwrap();
    }

    #[test]
    fn who_may_read_all_can_write_nothing_more() {
        if !file::is_root() {
            return;
        }
        let dir = Dir::new();
        let path = dir.write("f", b"f");
        std::os::unix::fs::chown(&path, Some(4711), Some(4711)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let thread = std::thread::spawn(move || {
            keep_capabilities(&[DAC_READ_SEARCH]).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"f");
            assert!(fs::write(&path, b"g").is_err());
        });
        thread.join().unwrap();
    }

    #[test]
    fn nobody_is_called_what_nobody_is_called() {
        assert_eq!(user("root"), Ok(Some((0, 0))));
        assert_eq!(user("no such user"), Ok(None));
    }
}
