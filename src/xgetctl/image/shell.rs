//! `image shell`: a command or a shell in an image, as if it ran there.
//!
//! It works on a copy, which takes the image's place in one step when all went well: nobody
//! is served an image in the middle of an upgrade. Its mounts and processes are in name
//! spaces of their own, and go with them, however it ends.

use super::build::{Roots, make_all};
use super::fit::fit;
use super::make::need_root;
use crate::failure::{Doing, Failure, Outcome};
use crate::head::{Head, Image};
use crate::listing::Change;
use crate::rooted::Rooted;
use crate::staging::Staging;
use crate::{out, program};
use clap::Args;
use rustix::fs::FileType;
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

/// Mounts what a system expects, and goes into it. The directories were looked at, so none of
/// these is a link that leads out.
const ENTER: &str = r#"
set -e
root=$1
shift
mount --bind "$root" "$root"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t sysfs -o ro,nosuid,nodev,noexec sys "$root/sys"
mount -t tmpfs -o mode=755,nosuid dev "$root/dev"
for node in null zero full random urandom tty; do
    : >"$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount --bind /dev/pts "$root/dev/pts"
mount -t tmpfs -o mode=1777,nosuid,nodev shm "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s fd/0 "$root/dev/stdin"
ln -s fd/1 "$root/dev/stdout"
ln -s fd/2 "$root/dev/stderr"
mount -t tmpfs -o mode=755,nosuid,nodev run "$root/run"
exec env -i HOME=/root "TERM=${TERM:-linux}" LANG=C.UTF-8 DEBIAN_FRONTEND="${DEBIAN_FRONTEND:-}" INITRD=No \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    chroot "$root" "$@"
"#;
const MOUNT_POINTS: [&str; 4] = ["proc", "sys", "dev", "run"];
const RESOLV_CONF: &str = "etc/resolv.conf";
/// Debian's way to say that an installed server is not to be started here.
const POLICY: &str = "usr/sbin/policy-rc.d";
const POLICY_TEXT: &str = "#!/bin/sh\n# No server is started in an image.\nexit 101\n";
const FILE_LEN_MAX: u64 = 1 << 20;

#[derive(Args, Clone, Debug)]
pub struct Shell {
    /// The image
    name: String,
    /// A command and its arguments; without one a shell
    #[arg(last = true)]
    command: Vec<OsString>,
    /// Try it out: what was changed is thrown away
    #[command(flatten)]
    change: Change,
}

impl Shell {
    pub fn run(&self, head: &Head) -> Outcome {
        let image = head.image(&self.name)?;
        if !image.root().is_dir() {
            let text = format!("{} has no root/ to go into", image.dir.display());
            return Err(Failure::source(text));
        }
        need_root("going into an image")?;
        let staging = Staging::below(&head.images())?;
        let copy = Image::at(staging.join("image"), &self.name);
        program::copy_tree(&image.dir, &copy.dir)?;
        let guests = Guests::put(&copy)?;
        self.enter(&copy)?;
        guests.take()?;
        if self.change.dry_run {
            return out::line(&format!("{} is as it was", self.name));
        }
        fit(&copy.root())?;
        make_all(&copy, &Roots::default().of(&copy), &staging)?;
        staging.put(&copy.dir, &image.dir, true)?;
        out::line(&format!("{} is changed", self.name))
    }

    fn enter(&self, copy: &Image) -> Outcome {
        let shell = program::need("sh", "dash", "going into an image")?;
        let mut command = program::isolated(&shell)?;
        command.args(["-c", ENTER, "xgetctl"]).arg(copy.root());
        if self.command.is_empty() {
            let has_bash = copy.root().join("bin/bash").exists();
            command.args([if has_bash { "/bin/bash" } else { "/bin/sh" }, "-l"]);
            out::note(&format!(
                "in a copy of {}, which takes its place when you leave; to give it up, close the \
                 terminal or say --dry-run",
                self.name
            ));
        } else {
            command.args(&self.command);
        }
        let status = program::run_on_terminal(&mut command, "go into the image")?;
        if self.command.is_empty() && status.signal().is_none() && status.code() < Some(125) {
            // The status of a shell is that of the last thing typed, whatever it was.
            return Ok(());
        }
        if status.success() {
            return Ok(());
        }
        let how = match status.signal() {
            Some(signal) => format!("was ended by signal {signal}"),
            None => format!("ended with status {}", status.code().unwrap_or_default()),
        };
        Err(Failure::machine(format!("the command {how}; {} is as it was", self.name)))
    }
}

/// Files that are in the copy while somebody works in it.
struct Guests {
    root: Rooted,
    /// What the image had for name servers; a file's bytes, or a link's target.
    resolv_conf: Option<Kept>,
    policy: bool,
}

enum Kept {
    File(Vec<u8>, u32),
    Link(String),
}

impl Guests {
    fn put(copy: &Image) -> Outcome<Guests> {
        let root = Rooted::open(&copy.root())?;
        for path in MOUNT_POINTS {
            let status = root.status(path)?;
            let kind = status.map(|status| FileType::from_raw_mode(status.st_mode));
            match kind {
                Some(FileType::Directory) => {}
                None => drop(root.make_dir(Path::new(path))?),
                _ => {
                    let text = format!("{} is no directory", root.shown(path).display());
                    return Err(Failure::wrong(text));
                }
            }
        }
        let resolv_conf = kept(&root)?;
        let host = Path::new("/etc/resolv.conf");
        let ours = std::fs::read(host).unwrap_or_default();
        root.write(RESOLV_CONF, &ours, 0o644)?;
        let policy = root.is_dir("usr/sbin")? && root.status(POLICY)?.is_none();
        if policy {
            root.write(POLICY, POLICY_TEXT.as_bytes(), 0o755)?;
        }
        Ok(Guests { root, resolv_conf, policy })
    }

    /// What was put there goes, and what was there comes back; unless somebody put
    /// something else there meanwhile.
    fn take(self) -> Outcome {
        if self.policy
            && self.root.read(POLICY, FILE_LEN_MAX)?.as_deref() == Some(POLICY_TEXT.as_bytes())
        {
            self.root.remove(POLICY)?;
        }
        let ours = std::fs::read("/etc/resolv.conf").unwrap_or_default();
        let status = self.root.status(RESOLV_CONF)?;
        let is_file = status
            .is_some_and(|status| FileType::from_raw_mode(status.st_mode) == FileType::RegularFile);
        if !is_file || self.root.read(RESOLV_CONF, FILE_LEN_MAX)?.as_deref() != Some(&ours) {
            return Ok(());
        }
        match self.resolv_conf {
            None => self.root.remove(RESOLV_CONF).map(drop),
            Some(Kept::File(bytes, mode)) => self.root.write(RESOLV_CONF, &bytes, mode),
            Some(Kept::Link(target)) => self.root.link(RESOLV_CONF, &target),
        }
    }
}

fn kept(root: &Rooted) -> Outcome<Option<Kept>> {
    let Some(status) = root.status(RESOLV_CONF)? else { return Ok(None) };
    if FileType::from_raw_mode(status.st_mode) == FileType::Symlink {
        let etc = root.make_dir(Path::new("etc"))?;
        let target = rustix::fs::readlinkat(&etc, "resolv.conf", Vec::new());
        let target = target.doing("read the link", &root.shown(RESOLV_CONF))?;
        return Ok(Some(Kept::Link(target.to_string_lossy().into_owned())));
    }
    let bytes = root.read(RESOLV_CONF, FILE_LEN_MAX)?.unwrap_or_default();
    Ok(Some(Kept::File(bytes, status.st_mode & 0o7777)))
}
