//! What the tests of xgetctl share: the program at a served directory of its own, and
//! roots that are small and yet have all that counts.

#![allow(dead_code)] // each test binary uses its part

use crate::support::Scratch;
use crate::support::proc::{Ended, Proc, XGET, command, copy_program};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;

pub const XGETCTL: &str = env!("CARGO_BIN_EXE_xgetctl");
pub const VERSION: &str = "6.1.0-1-test";

/// A served directory, and the command for it.
pub struct Head {
    pub scratch: Scratch,
    pub dir: PathBuf,
    /// Where initramfs/build is.
    lib: PathBuf,
}

/// Makes an initrd that says of which kernel it is.
const STAND_IN_BUILD: &str = "\
while [ $# -gt 0 ]; do
    case $1 in --kernel) kernel=$2 ;; --output) output=$2 ;; esac
    shift 2
done
ls \"$kernel\"/lib/modules/ >\"$output\"
";

impl Head {
    pub fn new() -> Head {
        need_xget();
        let scratch = Scratch::new();
        let dir = scratch.dir("srv");
        // What stands in for programs goes before all others.
        scratch.dir("bin");
        let lib = scratch.dir("lib");
        make_program(&scratch.dir("lib/initramfs").join("build"), STAND_IN_BUILD);
        Head { scratch, dir, lib }
    }

    /// With what really makes initrds, of few modules: asking for each takes its time.
    pub fn with_real_initrds() -> Head {
        let head = Head::new();
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
        let lib = head.scratch.dir("real");
        fs::create_dir(lib.join("initramfs")).unwrap();
        for part in ["initramfs/build", "initramfs/pack", "scripts"] {
            symlink(project.join(part), lib.join(part)).unwrap();
        }
        fs::write(lib.join("initramfs/modules"), "virtio_net\n").unwrap();
        Head { lib, ..head }
    }

    pub fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = command(XGETCTL);
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.scratch.join("bin").display()));
        command.env("STATE_DIRECTORY", self.scratch.join("state"));
        command.env("XGET_BINARY", XGET).env("XGET_LIB", &self.lib);
        command.arg("--root").arg(&self.dir).args(args);
        command
    }

    pub fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Ended {
        Proc::start(self.command(args), &self.scratch).wait()
    }

    /// With words that a shell would part in the same way.
    pub fn says(&self, line: &str) -> Ended {
        self.run(line.split(' '))
    }

    pub fn start(&self, line: &str) -> Proc {
        Proc::start(self.command(line.split(' ')), &self.scratch)
    }

    pub fn image(&self, name: &str) -> PathBuf {
        self.dir.join("images").join(name)
    }

    /// A program that stands in for another.
    pub fn stand_in(&self, name: &str, script: &str) {
        make_program(&self.scratch.join("bin").join(name), script);
    }

    /// All names below `images`, hidden ones too.
    pub fn names(&self) -> Vec<String> {
        let listed = fs::read_dir(self.dir.join("images")).into_iter().flatten();
        let mut names: Vec<String> =
            listed.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

fn make_program(path: &Path, script: &str) {
    fs::write(path, format!("#!/bin/sh\n{script}")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Cargo builds it for a test of the whole workspace, and not for one of this package.
fn need_xget() {
    static BUILT: Once = Once::new();
    BUILT.call_once(|| {
        if !Path::new(XGET).exists() {
            let status = Command::new(env!("CARGO")).args(["build", "-q", "-p", "xget"]).status();
            assert!(status.unwrap().success() && Path::new(XGET).exists(), "no {XGET}");
        }
    });
}

/// A file whose header is that of a kernel: Documentation/arch/x86/boot.rst.
pub fn kernel(version: &str) -> Vec<u8> {
    let mut bytes = vec![0; 0x300];
    bytes[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    bytes[0x202..0x206].copy_from_slice(b"HdrS");
    bytes[0x206..0x208].copy_from_slice(&0x020f_u16.to_le_bytes());
    bytes[0x20e..0x210].copy_from_slice(&0x100_u16.to_le_bytes());
    bytes.extend_from_slice(format!("{version} (test) #1\0").as_bytes());
    bytes
}

/// A root with a kernel, a shell, and what an image must not have.
pub fn make_root(dir: &Path) {
    for below in
        ["boot", "etc/ssh", "usr/bin", "usr/sbin", "usr/lib/systemd", "root", "proc", "tmp"]
    {
        fs::create_dir_all(dir.join(below)).unwrap();
    }
    for (link, to) in [("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib")] {
        symlink(to, dir.join(link)).unwrap();
    }
    copy_program("/bin/busybox", &dir.join("usr/bin/busybox"));
    for name in ["sh", "cat", "touch", "mount", "sleep", "ls", "rm", "wget", "grep", "test"] {
        symlink("busybox", dir.join("usr/bin").join(name)).unwrap();
    }
    fs::write(dir.join("usr/lib/systemd/systemd"), "").unwrap();
    symlink("../lib/systemd/systemd", dir.join("usr/sbin/init")).unwrap();
    fs::write(dir.join("etc/machine-id"), "0123456789abcdef0123456789abcdef\n").unwrap();
    fs::create_dir_all(dir.join("var/cache/apt/archives")).unwrap();
    fs::write(dir.join("var/cache/apt/srcpkgcache.bin"), "made anew").unwrap();
    fs::write(dir.join("var/cache/apt/archives/htop.deb"), "fetched anew").unwrap();
    fs::write(dir.join("etc/ssh/ssh_host_ed25519_key"), "secret").unwrap();
    fs::write(dir.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\n").unwrap();
    add_kernel(dir, VERSION);
}

pub fn add_kernel(dir: &Path, version: &str) {
    let modules = dir.join("usr/lib/modules").join(version);
    fs::create_dir_all(modules.join("kernel")).unwrap();
    for name in ["builtin", "builtin.modinfo", "order", "dep.bin"] {
        fs::write(modules.join(format!("modules.{name}")), "").unwrap();
    }
    fs::write(dir.join(format!("boot/vmlinuz-{version}")), kernel(version)).unwrap();
}
