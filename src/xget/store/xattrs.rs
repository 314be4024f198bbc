//! Which extended attributes come along, and how something gets those that it is to have.
//!
//! Carried are the contents of people and programs (user), what the kernel grants by
//! (capabilities, ACLs, labels, trusted); not what is of one machine or one inode alone.

use crate::os::xattr::Xattrs;
use nix::errno::Errno;
use peer::content::manifest::XattrSet;
use std::ffi::{CStr, CString};

/// How names begin that come along, ...
const CARRIED: [&[u8]; 4] = [b"user.", b"security.", b"trusted.", b"system.posix_acl_"];
/// ... but for these: a sum with an inode's number in it and a machine's key (evm(7)), what
/// overlayfs keeps of its layers, and ACLs a second time (XFS).
const NOT_CARRIED: [&[u8]; 3] = [b"security.evm", b"trusted.overlay.", b"trusted.SGI_ACL_"];
/// Of these, what the source has not is taken away. The others of `security.` are labels
/// that the running system gives by itself: selinux, ima, SMACK64.
const REMOVED: [&[u8]; 4] = [b"user.", b"security.capability", b"trusted.", b"system.posix_acl_"];
/// What anybody may set on what is his.
const USER: [&[u8]; 1] = [b"user."];

/// What a destination does with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// All are kept, and what cannot be is an error. Else those of `user.`, where that can
    /// be.
    pub all: bool,
    /// What is there and is not in the manifest is taken away.
    pub exactly: bool,
}

/// An attribute that could not be read, set or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XattrError {
    pub name: Box<[u8]>,
    pub cause: Errno,
}

fn begins(name: &[u8], beginnings: &[&[u8]]) -> bool {
    beginnings.iter().any(|beginning| name.starts_with(beginning))
}

fn is_carried(name: &[u8]) -> bool {
    begins(name, &CARRIED) && !begins(name, &NOT_CARRIED)
}

/// The names in what xattr(7) lists.
fn names(listed: &[u8]) -> impl Iterator<Item = &CStr> {
    listed
        .split_inclusive(|byte| *byte == 0)
        .filter_map(|name| CStr::from_bytes_with_nul(name).ok())
}

/// What there is to carry. What vanishes meanwhile was not there.
pub fn read(of: &Xattrs) -> Result<XattrSet, Errno> {
    let listed = of.list()?;
    let mut set = XattrSet::default();
    let mut last = c"";
    // The next one in order is looked for each time: mostly there are one or two.
    let carried = || names(&listed).filter(|name| is_carried(name.to_bytes()));
    while let Some(name) = carried().filter(|name| *name > last).min() {
        last = name;
        let value = match of.get(name) {
            Err(Errno::ENODATA | Errno::ENOENT) => continue,
            value => value?,
        };
        if !set.push(name.to_bytes(), &value) {
            return Err(Errno::E2BIG);
        }
    }
    Ok(set)
}

/// Whether something has other attributes than it is to have; with `change` it gets those.
pub fn settle(
    of: &Xattrs,
    wanted: Option<&XattrSet>,
    keep: Keep,
    change: bool,
) -> Result<bool, XattrError> {
    let is_kept = |name: &[u8]| is_carried(name) && (keep.all || begins(name, &USER));
    let wanted = || wanted.into_iter().flat_map(XattrSet::iter).filter(|(name, _)| is_kept(name));
    let mut differs = false;
    // Who cannot keep all does not complain.
    let failed = |name: &[u8], cause| match keep.all {
        true => Err(XattrError { name: name.into(), cause }),
        false => Ok(()),
    };
    let listed = if keep.exactly {
        of.list().or_else(|cause| failed(b"", cause).map(|()| Vec::new()))?
    } else {
        Vec::new()
    };
    for name in names(&listed) {
        let bytes = name.to_bytes();
        let is_superfluous = is_kept(bytes) && begins(bytes, &REMOVED);
        if !is_superfluous || wanted().any(|(wanted, _)| wanted == bytes) {
            continue;
        }
        differs = true;
        match change.then(|| of.remove(name)) {
            None | Some(Ok(()) | Err(Errno::ENODATA)) => {}
            Some(Err(cause)) => failed(bytes, cause)?,
        }
    }
    for (bytes, value) in wanted() {
        let Ok(name) = CString::new(bytes) else { continue };
        match of.get(&name) {
            Ok(found) if found == value => continue,
            Err(Errno::ENOTSUP) if !keep.all => continue,
            _ => differs = true,
        }
        if change && let Err(cause) = of.set(&name, value) {
            failed(bytes, cause)?;
        }
    }
    Ok(differs)
}
