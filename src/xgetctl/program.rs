//! Other people's programs: whether they are there, run to their end, and ended
//! when they are not wanted any more.
//!
//! Whatever happens to this process, none of them stays: each dies with it (setpriv(1)'s
//! --pdeathsig), and one that mounts has a mount and a process name space of its own
//! (unshare(1)), so that its mounts go with its last process. Knows nothing of what
//! they do.

use crate::failure::{Doing, Failure, Outcome, reason};
use crate::{interrupt, out};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Lines of a failed program's output that are shown.
const TAIL_LINES: usize = 20;
/// A line of its output is cut here.
const LINE_LEN_MAX: u64 = 4096;
/// How often an end, or a wish for one, is looked for.
const TICK: Duration = Duration::from_millis(50);
/// How long the last words of one that failed may take.
const LAST_WORDS_PATIENCE: Duration = Duration::from_secs(5);
/// How long one that was killed may take to be gone.
const KILL_PATIENCE: Duration = Duration::from_secs(10);
/// Where a user's PATH often does not lead, and a program of ours may be.
const MORE_PATHS: [&str; 5] = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// Where a program is.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(MORE_PATHS.iter().map(PathBuf::from));
    dirs.map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// Where a program is, or what to install.
pub fn need(name: &str, package: &str, what_for: &str) -> Outcome<PathBuf> {
    find(name).ok_or_else(|| {
        Failure::machine(format!(
            "{what_for} takes the program {name}, which is not installed; on Debian: \
             apt-get install {package}"
        ))
    })
}

/// That a file of a package is there.
pub fn need_file(path: &Path, package: &str, what_for: &str) -> Outcome {
    match path.is_file() {
        true => Ok(()),
        false => Err(Failure::machine(format!(
            "{what_for} takes {}, which is not installed; on Debian: apt-get install {package}",
            path.display()
        ))),
    }
}

/// A program that dies with us.
pub fn command(program: &Path) -> Outcome<Command> {
    let setpriv = need("setpriv", "util-linux", "running other programs")?;
    let mut command = Command::new(setpriv);
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    Ok(command)
}

/// A program whose mounts and processes are its own, and go with it.
pub fn isolated(program: &Path) -> Outcome<Command> {
    let unshare = need("unshare", "util-linux", "mounting without leaving anything")?;
    let mut command = command(&unshare)?;
    command.args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]);
    command.args(["--mount-proc", "--"]).arg(program);
    Ok(command)
}

/// Runs a program to its end. Its output is shown when it fails, and a line of it at a
/// time on a terminal. `doing` fits after "cannot".
pub fn run(command: &mut Command, doing: &str) -> Outcome {
    capture(command, doing).map(drop)
}

/// The same, and gives its standard output.
pub fn capture(command: &mut Command, doing: &str) -> Outcome<Vec<u8>> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = spawn(command, doing)?;
    let (said, lines) = mpsc::channel();
    let stdout = child.stdout.take();
    let (all, whole) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = stdout.map(|mut out| out.read_to_end(&mut bytes));
        // Nobody listens any more when the program was ended.
        let _ = all.send((bytes, read));
    });
    let stderr = child.stderr.take();
    std::thread::spawn(move || stderr.map(|err| pass_lines(err, |line| said.send(line).is_ok())));
    let mut tail = VecDeque::new();
    let spinner = out::Spinner::new(doing);
    let ended = wait(&mut child, doing, || {
        for line in lines.try_iter() {
            spinner.say(&line);
            keep(&mut tail, line);
        }
    });
    spinner.finish();
    let status = ended?;
    let (bytes, read) = whole.recv_timeout(LAST_WORDS_PATIENCE).map_err(|_| {
        let name = name_of(command);
        Failure::machine(format!("cannot {doing}: {name} left something that holds its output"))
    })?;
    if let Some(Err(error)) = read {
        return Err(Failure::machine(format!("cannot {doing}: {}", reason(&error))));
    }
    if status.success() {
        return Ok(bytes);
    }
    // The other end is closed when all was said, unless something that the program left
    // running holds it open.
    let deadline = Instant::now() + LAST_WORDS_PATIENCE;
    while let Ok(line) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        keep(&mut tail, line);
    }
    if tail.is_empty() {
        String::from_utf8_lossy(&bytes).lines().for_each(|line| keep(&mut tail, line.into()));
    }
    Err(Failure::machine(ended_badly(command, doing, status, tail.make_contiguous())))
}

/// Runs a program that has the terminal, and gives how it ended. A ^C that is typed
/// is for the program.
pub fn run_on_terminal(command: &mut Command, doing: &str) -> Outcome<ExitStatus> {
    let mut child = spawn(command, doing)?;
    let status = loop {
        if let Some(status) = ended(&mut child, doing)? {
            break status;
        }
        std::thread::sleep(TICK);
        if interrupt::is_terminal_lost_or_killed() {
            end(&mut child);
            return Err(Failure::interrupted());
        }
    };
    interrupt::forget();
    Ok(status)
}

fn keep(tail: &mut VecDeque<String>, line: String) {
    if tail.len() == TAIL_LINES {
        tail.pop_front();
    }
    tail.push_back(line);
}

/// Passes a program's lines on until it has ended, or nobody listens.
pub fn pass_lines(from: impl Read, mut say: impl FnMut(String) -> bool) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while matches!(from.by_ref().take(LINE_LEN_MAX).read_until(b'\n', &mut line), Ok(1..)) {
        let text = String::from_utf8_lossy(&line);
        // What redraws a line has its last state behind the last carriage return.
        let text = text.trim_end().rsplit('\r').next().unwrap_or_default();
        if !text.is_empty() && !say(text.into()) {
            return;
        }
        line.clear();
    }
}

fn spawn(command: &mut Command, doing: &str) -> Outcome<Child> {
    interrupt::check()?;
    command.spawn().map_err(|error| {
        let program = command.get_program().display();
        Failure::machine(format!("cannot {doing}: {program}: {}", reason(&error)))
    })
}

fn ended(child: &mut Child, doing: &str) -> Outcome<Option<ExitStatus>> {
    child
        .try_wait()
        .map_err(|error| Failure::machine(format!("cannot {doing}: {}", reason(&error))))
}

fn wait(child: &mut Child, doing: &str, mut each: impl FnMut()) -> Outcome<ExitStatus> {
    loop {
        let status = ended(child, doing)?;
        each();
        if let Some(status) = status {
            // ^C goes to both of us; what the program then says is beside the point.
            interrupt::check()?;
            return Ok(status);
        }
        if interrupt::is_asked() {
            end(child);
            return Err(Failure::interrupted());
        }
        std::thread::sleep(TICK);
    }
}

/// Ends a program and what it started. unshare(1) waits for the first process of its name
/// space, with which all others die: that one is killed, and when unshare is gone, all are.
fn end(child: &mut Child) {
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    for pid in std::fs::read_to_string(children).unwrap_or_default().split_whitespace() {
        if let Some(pid) = pid.parse().ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    let deadline = Instant::now() + KILL_PATIENCE;
    let mut killed = false;
    while !matches!(child.try_wait(), Ok(Some(_)) | Err(_)) && Instant::now() < deadline {
        if !killed {
            // One without children has nobody to wait for.
            let _ = kill_process_of(child);
            killed = true;
        }
        std::thread::sleep(TICK);
    }
}

fn kill_process_of(child: &Child) -> Option<()> {
    let pid = Pid::from_raw(i32::try_from(child.id()).ok()?)?;
    kill_process(pid, Signal::TERM).ok()
}

fn ended_badly(command: &Command, doing: &str, status: ExitStatus, tail: &[String]) -> String {
    let how = match status.signal() {
        Some(signal) => format!("was ended by signal {signal}"),
        None => format!("ended with status {}", status.code().unwrap_or_default()),
    };
    let name = name_of(command);
    let said: String = tail.iter().map(|line| format!("\n  {line}")).collect();
    format!("cannot {doing}: {name} {how}{}{said}", if said.is_empty() { "" } else { ":" })
}

/// The program itself, and not what keeps it.
fn name_of(command: &Command) -> String {
    let args: Vec<&OsStr> = command.get_args().collect();
    let start = args.iter().rposition(|arg| *arg == "--").map_or(0, |at| at + 1);
    let program = args.get(start).copied().unwrap_or(command.get_program());
    Path::new(program).file_name().unwrap_or(program).to_string_lossy().into_owned()
}

/// `cp -a`: owners, modes, times, xattrs, ACLs, hard links, holes and special files; blocks
/// are shared where the file system can. A link to a tree is not copied as one: what is done
/// to the copy would be done to what it leads to.
pub fn copy_tree(from: &Path, to: &Path) -> Outcome {
    let from = &from.canonicalize().doing("copy", from)?;
    if to
        .parent()
        .and_then(|above| above.canonicalize().ok())
        .is_some_and(|to| to.starts_with(from))
    {
        let text = format!("{} holds the place that it is to be copied to", from.display());
        return Err(Failure::usage(text));
    }
    let cp = need("cp", "coreutils", "copying an image")?;
    let mut command = command(&cp)?;
    let args: [OsString; 5] =
        ["-a".into(), "--reflink=auto".into(), "--".into(), from.into(), to.into()];
    run(command.args(args), &format!("copy {}", from.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = command(Path::new("/bin/sh")).unwrap();
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_is_given_and_failures_are_shown() {
        assert_eq!(capture(&mut shell("echo a; echo b >&2"), "talk").unwrap(), b"a\n");
        let failure = run(&mut shell("echo bad luck >&2; exit 3"), "talk").unwrap_err();
        assert_eq!(failure.text, "cannot talk: sh ended with status 3:\n  bad luck");
        let failure = run(&mut shell("kill -9 $$"), "talk").unwrap_err();
        assert_eq!(failure.text, "cannot talk: sh was ended by signal 9");
    }

    #[test]
    fn only_the_end_of_a_long_output_is_shown() {
        let failure = run(&mut shell("seq 1000 >&2; exit 1"), "count").unwrap_err();
        assert_eq!(failure.text.lines().count(), TAIL_LINES + 1);
        assert!(failure.text.ends_with("\n  1000"), "{}", failure.text);
    }

    #[test]
    fn what_is_missing_is_named_with_its_package() {
        let failure = need("xget-no-such-program", "no-such", "this").unwrap_err();
        assert!(failure.text.ends_with("apt-get install no-such"), "{}", failure.text);
    }
}
