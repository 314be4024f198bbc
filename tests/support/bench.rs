//! A head and the cache of one node, for tests of `xget run`.

use super::proc::{Ended, Master, Proc, xget};
use super::{Scratch, noise};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A head with a few files, and a cache for its commands.
pub struct Bench {
    pub scratch: Scratch,
    pub source: PathBuf,
    pub master: Master,
}

impl Bench {
    pub fn new() -> Bench {
        let scratch = Scratch::new();
        let source = scratch.dir("source");
        fs::create_dir_all(source.join("dir/sub")).unwrap();
        fs::write(source.join("dir/sub/file"), b"below").unwrap();
        fs::write(source.join("disk.img"), noise(1, 3_000_000)).unwrap();
        fs::write(source.join("a,b"), b"comma").unwrap();
        let master = Master::start(&scratch, &source, &[]);
        Bench { scratch, source, master }
    }

    pub fn cache(&self) -> PathBuf {
        self.scratch.join("cache")
    }

    /// `xget run` with these options, a command behind `--` among them.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = xget();
        command
            .args(["run", "-n", &self.master.addr(), "--cache-dir"])
            .arg(self.cache())
            .args(args);
        command
    }

    pub fn start(&self, args: &[&str]) -> Proc {
        Proc::start(self.command(args), &self.scratch)
    }

    pub fn run(&self, args: &[&str]) -> Ended {
        self.start(args).wait()
    }

    /// Where a name is for a command.
    pub fn path(&self, name: &str) -> PathBuf {
        self.run(&["--", "printf", "%s", name]).expect(0).out.into()
    }

    pub fn entries(&self) -> usize {
        fs::read_dir(self.cache()).unwrap().count()
    }
}

pub fn place(path: &Path) -> (u64, i64, i64) {
    let status = fs::metadata(path).unwrap();
    (status.ino(), status.ctime(), status.ctime_nsec())
}
