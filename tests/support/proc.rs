//! The real program as processes that end with the test.

use super::{Scratch, unique, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Cargo names the programs of the package whose test this is; they lie side by side.
pub const XGET: &str = match option_env!("CARGO_BIN_EXE_xget") {
    Some(xget) => xget,
    None => match option_env!("CARGO_BIN_EXE_xgetctl") {
        Some(xgetctl) => xgetctl.split_at(xgetctl.len() - "ctl".len()).0,
        None => "xget",
    },
};
/// No process of a test runs longer.
const RUN_SECONDS_MAX: u64 = 90;

/// How a process ended, and what it said.
pub struct Ended {
    /// The exit status, or 128 and the signal, as a shell has it.
    pub status: i32,
    pub out: String,
    pub err: String,
    pub took: Duration,
}

impl Ended {
    #[track_caller]
    pub fn expect(self, status: i32) -> Ended {
        assert_eq!(self.status, status, "after {:?}: {}{}", self.took, self.out, self.err);
        self
    }

    #[track_caller]
    pub fn says(self, words: &str) -> Ended {
        let said = format!("{}{}", self.out, self.err);
        assert!(said.contains(words), "{words:?} is not in: {said}");
        self
    }

    #[track_caller]
    pub fn within(self, seconds: u64) -> Ended {
        assert!(self.took <= Duration::from_secs(seconds), "took {:?}: {}", self.took, self.err);
        self
    }

    /// A figure of the summary in bytes: what stands before these words.
    #[track_caller]
    pub fn figure(&self, before: &str) -> f64 {
        let end = self.out.find(before).unwrap_or_else(|| panic!("no {before:?}: {}", self.out));
        let mut words = self.out[..end].rsplit([' ', ':', ',']).filter(|w| !w.is_empty());
        let unit = words.next().unwrap();
        let number: f64 = words.next().unwrap().parse().unwrap();
        let units = ["B", "kB", "MB", "GB"];
        number * 1000f64.powi(units.iter().position(|u| *u == unit).unwrap() as i32)
    }

    /// Bytes that moved, from the master and from peers.
    #[track_caller]
    pub fn moved(&self) -> f64 {
        self.figure(" from the master") + self.figure(" from peers")
    }
}

/// A process that ends when this is dropped.
pub struct Proc {
    child: Child,
    began: Instant,
    out: PathBuf,
    err: PathBuf,
    ended: Option<i32>,
}

/// A command whose process dies with the thread that starts it, so that
/// nothing is left when a test is killed itself.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let setpriv = "/usr/bin/setpriv";
    if !Path::new(setpriv).exists() {
        return Command::new(program);
    }
    let mut command = Command::new(setpriv);
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

pub fn xget() -> Command {
    command(XGET)
}

impl Proc {
    pub fn start(mut command: Command, scratch: &Scratch) -> Proc {
        let number = unique();
        let file = |end: &str| scratch.join(format!("{number}.{end}"));
        let (out, err) = (file("out"), file("err"));
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&err).unwrap())
            .spawn()
            .unwrap();
        Proc { child, began: Instant::now(), out, err, ended: None }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    pub fn signal(&self, signal: Signal) {
        assert!(self.ended.is_none(), "it has ended already");
        kill(self.pid(), signal).unwrap();
    }

    pub fn out(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.out).unwrap()).into_owned()
    }

    pub fn err(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.err).unwrap()).into_owned()
    }

    pub fn has_ended(&mut self) -> bool {
        if self.ended.is_none()
            && let Some(status) = self.child.try_wait().unwrap()
        {
            self.ended =
                Some(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()));
        }
        self.ended.is_some()
    }

    #[track_caller]
    pub fn wait(mut self) -> Ended {
        let deadline = self.began + Duration::from_secs(RUN_SECONDS_MAX);
        while !self.has_ended() {
            assert!(Instant::now() < deadline, "runs too long: {}{}", self.out(), self.err());
            std::thread::sleep(Duration::from_millis(5));
        }
        let took = self.began.elapsed();
        Ended { status: self.ended.unwrap(), out: self.out(), err: self.err(), took }
    }
}

impl Drop for Proc {
    fn drop(&mut self) {
        if !self.has_ended() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A copy of a program, to be run. Made by another process: a child that another test forks meanwhile
/// would have our descriptor, and who writes to a program keeps it from being run (ETXTBSY).
#[track_caller]
pub fn copy_program(program: &str, copy: &Path) {
    assert!(Command::new("cp").arg(program).arg(copy).status().unwrap().success());
}

/// A master, ready.
pub struct Master {
    pub proc: Proc,
    pub port: u16,
}

/// A port outside of the range from which the system gives ports away.
pub fn free_port() -> u16 {
    loop {
        let port = 10_000 + (std::process::id() * 131 + unique() * 7) % 20_000;
        if std::net::TcpListener::bind(("::", port as u16)).is_ok() {
            return port as u16;
        }
    }
}

impl Master {
    pub fn start(scratch: &Scratch, path: impl AsRef<OsStr>, options: &[&str]) -> Master {
        let port = free_port();
        let master = Master::on(port, scratch, path, options);
        master.await_ready();
        master
    }

    /// Does not wait until it serves.
    pub fn on(port: u16, scratch: &Scratch, path: impl AsRef<OsStr>, options: &[&str]) -> Master {
        let mut command = xget();
        command.args(["-p", &port.to_string()]).args(options);
        if !options.contains(&"--cache") {
            command.arg("--no-cache");
        }
        command.arg(path);
        Master { proc: Proc::start(command, scratch), port }
    }

    pub fn await_ready(&self) {
        let said = || format!("{}{}", self.proc.out(), self.proc.err());
        until("the master serves", 30, || {
            assert!(!said().contains("cannot listen"), "{}", said());
            self.proc.out().contains(" serving ")
        });
    }

    pub fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A client that does not linger; arguments as on the command line.
    pub fn client<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = xget();
        command.args(["-n", &self.addr(), "--linger", "0"]).args(args);
        command
    }

    /// Fetches these sources into `dest`, the last argument.
    pub fn fetch<A: AsRef<OsStr>>(
        &self,
        scratch: &Scratch,
        args: impl IntoIterator<Item = A>,
    ) -> Ended {
        Proc::start(self.client(args), scratch).wait()
    }

    pub fn status(&self) -> String {
        super::reader::read_text(("127.0.0.1", self.port), &[".xget", "status"]).unwrap()
    }
}
