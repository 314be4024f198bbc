//! The last step into a root: its init found and checked, everything moved, the old
//! root emptied, and this process become that init. As switch_root(8) does it, in
//! the order of facts that the kernel's ramfs-rootfs-initramfs.rst gives.

use super::cmdline::Cmdline;
use super::program::{self, HEAD_LEN};
use super::system::System;
use crate::os::{file, mount, newroot};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// What the kernel tries itself (init/main.c, kernel_init).
const INITS: [&str; 4] = ["/sbin/init", "/etc/init", "/bin/init", "/bin/sh"];
/// What goes along.
const MOVED: [&str; 4] = ["/dev", "/proc", "/sys", "/run"];

/// The init that this root has, looked for from within it.
#[inline(never)]
pub fn find_init(line: &Cmdline) -> Result<String, String> {
    if let Some(asked) = line.last("init").filter(|path| !path.is_empty()) {
        return check(asked).map(|()| asked.to_string()).map_err(|why| format!("init={why}"));
    }
    let mut reasons = Vec::new();
    for path in INITS {
        match check(path) {
            Ok(()) => return Ok(path.to_string()),
            Err(why) => reasons.push(why),
        }
    }
    Err(format!("the root has no init: {}", reasons.join("; ")))
}

fn check(path: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{path}: {error}");
    let status = fs::metadata(path).map_err(failed)?;
    if !status.is_file() || status.permissions().mode() & 0o111 == 0 {
        return Err(format!(
            "{path} is no program (a file with mode {:o})",
            status.permissions().mode()
        ));
    }
    let head = newroot::head(path, HEAD_LEN).map_err(failed)?;
    let needs = program::interpreter(&head).map_err(|why| format!("{path} {why}"))?;
    match needs {
        Some(needs) if fs::metadata(&needs).is_err() => Err(format!(
            "{path} needs {needs}, which is not there: is a symlink of the root broken?"
        )),
        _ => Ok(()),
    }
}

/// Goes over to the root that is mounted there. Returns only with the reason why not,
/// when there is no way back.
#[inline(never)]
pub fn switch(system: &mut System, root: &str, init: &str, keep_watchdog: bool) -> String {
    for path in MOVED {
        let target = format!("{root}{path}");
        let _ = file::make_dir(target.as_ref(), 0o777);
        if let Err(error) = mount::move_to(path, &target) {
            log::warn!("{path} does not come along: {error}");
            let _ = mount::detach(path.as_ref());
        }
    }
    match newroot::clear("/") {
        Ok(true) => {}
        Ok(false) => log::warn!("the old root is not in memory and stays as it is"),
        Err(error) => log::warn!("the old root cannot be emptied: {error}"),
    }
    if let Err(error) = newroot::enter(root) {
        return format!("cannot make {root} the root: {error}");
    }
    super::console::finish();
    system.leave_watchdog(keep_watchdog);
    // What the kernel gave to us beside our name it meant for this one.
    let error = newroot::become_init(init, std::env::args_os().skip(1).collect());
    format!("cannot start {init}: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::scratch::Dir;

    #[test]
    fn a_program_is_looked_at_before_it_is_trusted() {
        let dir = Dir::new();
        let path = dir.join("init");
        let text = path.to_str().unwrap().to_string();
        let asked = Cmdline::parse(&format!("init={text}"));
        let reason = || find_init(&asked).unwrap_err();
        assert!(reason().contains("No such file"), "{}", reason());
        fs::write(&path, "#!/bin/sh\n").unwrap();
        assert!(reason().contains("is no program"), "{}", reason());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find_init(&asked), Ok(text));
        fs::write(&path, "#!/nonexistent/sh\n").unwrap();
        assert!(reason().contains("/nonexistent/sh, which is not there"), "{}", reason());
        fs::write(&path, "text").unwrap();
        assert!(reason().contains("neither"), "{}", reason());
        assert!(find_init(&Cmdline::parse("init=")).is_ok(), "this machine has one, or a shell");
    }
}
