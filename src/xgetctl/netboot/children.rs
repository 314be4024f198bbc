//! The programs that `netboot --run` starts: what they say as lines of one log, and their end.
//!
//! All of them end with us, however that comes. A kernel forgets whom to tell of our death
//! when a program gives up its privileges (PR_SET_PDEATHSIG(2const)), as dnsmasq does: so a
//! shell stands between, which keeps them. Knows nothing of what they do.

use super::log::Log;
use crate::failure::{Failure, Outcome, Status, reason};
use crate::program;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process, kill_process_group, waitid,
};
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

/// How long one that is to end may take before it is killed.
const END_PATIENCE: Duration = Duration::from_secs(5);
/// How long the last words of one that has ended may take.
const LAST_WORDS_PATIENCE: Duration = Duration::from_secs(2);
const TICK: Duration = Duration::from_millis(20);
/// Lines that wait to be looked at; more are lost, and counted.
const QUEUE_MAX: usize = 10_000;
/// Its last lines that are shown again when it has ended.
const LAST_LINES: usize = 5;
/// What the shell does: it passes SIGHUP on, and ends what it started when it is to end.
const KEEPER: &str = "\
trap 'kill -KILL $! 2>/dev/null; exit 143' TERM INT
trap 'kill -HUP $! 2>/dev/null' HUP
\"$@\" &
while :; do
    wait $!
    status=$?
    kill -0 $! 2>/dev/null || exit $status
done";

/// A line of the log, by who says it.
pub struct Said {
    who: &'static str,
    text: String,
}

/// Where lines for the log go.
#[derive(Clone)]
pub struct Voice {
    who: &'static str,
    to: SyncSender<Said>,
    log: Log,
}

impl Voice {
    /// Whether anybody listens. Never waits: who reads the log slowly holds nothing up.
    pub fn say(&self, text: String) -> bool {
        match self.to.try_send(Said { who: self.who, text }) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                self.log.lose();
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        }
    }
}

struct Running {
    who: &'static str,
    child: Child,
    last: VecDeque<String>,
}

/// All that runs, and what it says.
pub struct Children {
    running: Vec<Running>,
    to: SyncSender<Said>,
    from: Receiver<Said>,
    log: Log,
}

impl Children {
    pub fn new(log: Log) -> Children {
        let (to, from) = sync_channel(QUEUE_MAX);
        Children { running: Vec::new(), to, from, log }
    }

    pub fn voice(&self, who: &'static str) -> Voice {
        Voice { who, to: self.to.clone(), log: self.log.clone() }
    }

    /// Starts a program, with what is between us if it `drops` its privileges.
    pub fn start(
        &mut self,
        who: &'static str,
        program: &Path,
        args: &[&OsStr],
        drops: bool,
    ) -> Outcome {
        let setpriv = program::need("setpriv", "util-linux", "running other programs")?;
        let mut command = Command::new(setpriv);
        let signal = if drops { "TERM" } else { "KILL" };
        command.args(["--pdeathsig", signal, "--"]);
        if drops {
            command.args(["/bin/sh", "-c", KEEPER, "sh"]);
        }
        command.arg(program).args(args);
        // ^C is for us, who then end them in order.
        command.process_group(0).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| {
            Failure::machine(format!("cannot start {}: {}", program.display(), reason(&error)))
        })?;
        let outputs: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|out| Box::new(out) as Box<dyn Read + Send>),
            child.stderr.take().map(|err| Box::new(err) as Box<dyn Read + Send>),
        ];
        for output in outputs.into_iter().flatten() {
            let voice = self.voice(who);
            std::thread::spawn(move || program::pass_lines(output, |line| voice.say(line)));
        }
        self.running.push(Running { who, child, last: VecDeque::new() });
        Ok(())
    }

    /// Puts what was said within this time into the log. Whether `awaited` was among it,
    /// after which it returns at once.
    pub fn log(&mut self, within: Duration, awaited: Option<(&str, &str)>) -> bool {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(said) = self.from.recv_timeout(left) else { return false };
            self.log_one(&said);
            if awaited.is_some_and(|(who, words)| who == said.who && said.text.contains(words)) {
                return true;
            }
            if left.is_zero() {
                return false;
            }
        }
    }

    fn log_one(&mut self, Said { who, text }: &Said) {
        if let Some(running) = self.running.iter_mut().find(|running| running.who == *who) {
            if running.last.len() == LAST_LINES {
                running.last.pop_front();
            }
            running.last.push_back(text.clone());
        }
        // dnsmasq names itself, and which part of it.
        match text.strip_prefix(who).is_some_and(|rest| rest.starts_with([':', '-', '['])) {
            true => self.log.line(text),
            false => self.log.line(&format!("{who}: {text}")),
        }
    }

    /// That all still run. One that has ended is the end of all, with its words.
    pub fn check(&mut self) -> Outcome {
        let mut ended = None;
        for (at, running) in self.running.iter().enumerate() {
            let status = status_of(&running.child).map_err(|error| {
                Failure::machine(format!("cannot look at {}: {}", running.who, reason(&error)))
            })?;
            if let Some(status) = status {
                ended = Some((at, status));
                break;
            }
        }
        let Some((at, status)) = ended else { return Ok(()) };
        self.log(LAST_WORDS_PATIENCE, None);
        Err(ended_by_itself(&self.running[at], &status))
    }

    /// Has a program read its files again.
    pub fn tell_to_reread(&self, who: &str) {
        for running in self.running.iter().filter(|running| running.who == who) {
            if let Some(pid) = pid_of(&running.child) {
                let _ = kill_process(pid, Signal::HUP);
            }
        }
    }

    fn end_all(&mut self) {
        self.signal_all(Signal::TERM);
        let deadline = Instant::now() + END_PATIENCE;
        while self.is_any_left() && Instant::now() < deadline {
            std::thread::sleep(TICK);
        }
        // The rest, and what one left whose shell was killed.
        self.signal_all(Signal::KILL);
        for running in &mut self.running {
            let _ = running.child.wait();
        }
        // What they said at the end.
        while let Ok(said) = self.from.try_recv() {
            self.log_one(&said);
        }
    }

    fn is_any_left(&self) -> bool {
        self.running.iter().any(|running| matches!(status_of(&running.child), Ok(None)))
    }

    /// Whole groups: while the first of one is not waited for, no other can have its number.
    fn signal_all(&self, signal: Signal) {
        for pid in self.running.iter().filter_map(|running| pid_of(&running.child)) {
            let _ = kill_process_group(pid, signal);
        }
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        self.end_all();
    }
}

fn pid_of(child: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(child.id()).ok()?)
}

/// How it ended, if it has. It is not waited for: it keeps its number, which is its group's.
fn status_of(child: &Child) -> rustix::io::Result<Option<WaitIdStatus>> {
    let Some(pid) = pid_of(child) else { return Ok(None) };
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(pid), options)
}

fn ended_by_itself(running: &Running, status: &WaitIdStatus) -> Failure {
    let how = match (status.terminating_signal(), status.exit_status()) {
        (Some(signal), _) => format!("was ended by signal {signal}"),
        (None, code) => format!("ended with status {}", code.unwrap_or_default()),
    };
    let last: String = running.last.iter().map(|line| format!("\n  {line}")).collect();
    let colon = if last.is_empty() { "" } else { "; its last words:" };
    let text = format!("{} {how}, and so all end{colon}{last}", running.who);
    Failure::new(Status::Child, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn children() -> Children {
        Children::new(Log::new().unwrap().0)
    }

    fn shell(children: &mut Children, who: &'static str, script: &str, drops: bool) {
        let args = ["-c", script].map(OsStr::new);
        children.start(who, Path::new("/bin/sh"), &args, drops).unwrap();
    }

    fn failure(children: &mut Children) -> Failure {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            assert!(Instant::now() < deadline, "it has not ended");
            if let Err(failure) = children.check() {
                return failure;
            }
            std::thread::sleep(TICK);
        }
    }

    #[test]
    fn one_that_ends_is_the_end_of_all_with_its_last_words() {
        for drops in [false, true] {
            let mut children = children();
            shell(&mut children, "long", "exec sleep 1000", drops);
            shell(&mut children, "bad", "echo good; echo bad luck >&2; exit 3", drops);
            let failure = failure(&mut children);
            assert!(failure.text.starts_with("bad ended with status 3, and so"), "{failure:?}");
            assert!(failure.text.contains("\n  bad luck"), "{failure:?}");
            assert_eq!(failure.status, Status::Child);
            let long = pid_of(&children.running[0].child).unwrap();
            drop(children);
            assert!(kill_process(long, Signal::CONT).is_err());
        }
    }

    #[test]
    fn what_one_says_is_waited_for_and_it_is_told_to_read_again() {
        let mut children = children();
        let script = "trap 'echo again' HUP; echo ready; while :; do sleep 0.1; done";
        shell(&mut children, "one", script, true);
        let patience = Duration::from_secs(20);
        assert!(children.log(patience, Some(("one", "ready"))));
        for _ in 0..3 {
            children.tell_to_reread("one");
            assert!(children.log(patience, Some(("one", "again"))));
            children.check().unwrap();
        }
        assert!(!children.log(Duration::ZERO, Some(("one", "never"))));
    }

    #[test]
    fn what_a_killed_shell_kept_ends_too() {
        let mut children = children();
        let script = "trap '' TERM HUP; echo $$ >&2; while :; do sleep 0.1; done";
        shell(&mut children, "kept", script, true);
        let deadline = Instant::now() + Duration::from_secs(20);
        while children.running[0].last.is_empty() {
            assert!(Instant::now() < deadline, "it does not say its number");
            children.log(TICK, None);
        }
        let kept = Pid::from_raw(children.running[0].last[0].parse().unwrap()).unwrap();
        kill_process(pid_of(&children.running[0].child).unwrap(), Signal::KILL).unwrap();
        let failure = failure(&mut children);
        assert!(failure.text.starts_with("kept was ended by signal 9"), "{failure:?}");
        kill_process(kept, Signal::CONT).unwrap();
        drop(children);
        let state = || std::fs::read_to_string(format!("/proc/{}/stat", kept.as_raw_nonzero()));
        // Who waits for it is another.
        while state().is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(Instant::now() < deadline, "it runs on");
            std::thread::sleep(TICK);
        }
    }
}
