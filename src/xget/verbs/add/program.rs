//! curl(1) or wget(1), which fetch what is at a URL into a file that is open.
//!
//! Knows their options and exit statuses. Refuses to know what the file is called.

use super::super::url::shown;
use crate::failed::{Failed, exit_code};
use crate::os::{file, signal};
use peer::failure::Status;
use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Read, Seek, SeekFrom};
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::Duration;

/// A server that does not answer a call, or brings nothing, is given up.
const CONNECT_S: &str = "30";
const STILL_S: &str = "120";
/// Between two looks whether it has ended, or we are to.
const LOOK: Duration = Duration::from_millis(50);

/// Why it is not here.
pub struct Broken {
    pub failed: Failed,
    /// The server is there, and has nothing behind so many bytes, or gives no parts at all: who
    /// begins anew may get it. All else passes, and what was kept is as good as before.
    pub gives_no_part: bool,
}

impl From<Failed> for Broken {
    fn from(failed: Failed) -> Broken {
        Broken { failed, gives_no_part: false }
    }
}

/// Fetches what is behind so many bytes and writes it there.
pub fn fetch(url: &str, file: &File, from: u64, is_quiet: bool) -> Result<(), Broken> {
    let is_watched = io::stderr().is_terminal() && !is_quiet;
    // What the server says beside its contents: curl's status does not tell 416 from 503.
    let memory = |errno| on_machine(format!("cannot make a file in memory: {errno}"));
    let mut said = file::unnamed_in_memory().map_err(memory)?;
    if let Some(status) = run(curl(url, from, is_watched), &said, file, from)? {
        let mut headers = Vec::new();
        // Unread it is as if nothing had been said.
        let _ = said.seek(SeekFrom::Start(0)).and_then(|_| said.read_to_end(&mut headers));
        let gives_no_part = from > 0 && refuses_part(status.code(), &headers);
        return judge("curl", url, status, curl_status)
            .map_err(|failed| Broken { failed, gives_no_part });
    }
    if url.to_ascii_lowercase().starts_with("file:") {
        return Err(on_machine("file: takes curl, and there is none: install it".into()).into());
    }
    match run(wget(url, is_watched), &said, file, 0)? {
        Some(status) => Ok(judge("wget", url, status, wget_status)?),
        None => {
            Err(on_machine("there is neither curl nor wget: install one of them".into()).into())
        }
    }
}

/// Whether curl ended because a part was asked for: FTP that does not take REST, a server without
/// ranges, a file that is shorter; and HTTP's 416, the last that was said after redirections.
fn refuses_part(code: Option<i32>, headers: &[u8]) -> bool {
    let text = String::from_utf8_lossy(headers);
    let last = text.lines().rfind(|line| line.starts_with("HTTP/"));
    let is_416 = || last.is_some_and(|line| line.split(' ').nth(1) == Some("416"));
    matches!(code, Some(31 | 33 | 36)) || code == Some(22) && is_416()
}

fn on_machine(text: String) -> Failed {
    Failed::new(text, exit_code(Status::LocalIo))
}

fn curl(url: &str, from: u64, is_watched: bool) -> Command {
    let mut command = Command::new("curl");
    command.args(["--fail", "--location", "--globoff", "--output", "-"]);
    // A redirection leads to no file of this machine.
    command.args(["--proto", "=http,https,ftp,file", "--proto-redir", "=http,https,ftp"]);
    command.args(["--connect-timeout", CONNECT_S, "--speed-limit", "1", "--speed-time", STILL_S]);
    command.args(if is_watched { &["--progress-bar"][..] } else { &["--silent", "--show-error"] });
    if from > 0 {
        command.args(["--continue-at", &from.to_string()]);
        // That is where `run` has a file for it.
        command.args(["--dump-header", "/dev/stdin"]);
    }
    command.args(["--url", url]);
    command
}

/// It cannot go on where another has stopped, but into a file that it opens itself.
fn wget(url: &str, is_watched: bool) -> Command {
    let mut command = Command::new("wget");
    command.args(["--output-document=-", "--tries=1"]);
    command.args([format!("--connect-timeout={CONNECT_S}"), format!("--read-timeout={STILL_S}")]);
    command.args(if is_watched { &["--quiet", "--show-progress"][..] } else { &["--no-verbose"] });
    command.args(["--", url]);
    command
}

/// Runs it until it ends, with an empty file as its standard input; `None` where it is not
/// installed.
fn run(
    mut command: Command,
    input: &File,
    file: &File,
    from: u64,
) -> Result<Option<ExitStatus>, Failed> {
    let failed = |error: io::Error| {
        let program = command_name(&command);
        on_machine(format!("cannot run {program}: {error}"))
    };
    let input = input.try_clone().map_err(failed)?;
    let mut out = file.try_clone().map_err(failed)?;
    // Both share their place in the file. What another program wrote there before is nothing.
    let placed = out.set_len(from).and_then(|()| out.seek(SeekFrom::Start(from)));
    placed.map_err(|error| on_machine(format!("cannot write the file: {error}")))?;
    match command.stdin(input).stdout(out).spawn() {
        Ok(child) => wait(child).map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let program = command_name(&command);
            Err(on_machine(format!("cannot run {program}: {error}")))
        }
    }
}

fn command_name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

/// It ends with us.
fn wait(mut child: Child) -> Result<ExitStatus, Failed> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) if !signal::take() => return Ok(status),
            Ok(None) if !signal::take() => thread::sleep(LOOK),
            Err(error) if error.kind() != ErrorKind::Interrupted => {
                return Err(on_machine(format!("cannot wait for it: {error}")));
            }
            Err(_) => {}
            Ok(_) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(super::interrupted());
            }
        }
    }
}

/// The program itself has said why.
fn judge(
    program: &str,
    url: &str,
    status: ExitStatus,
    meaning: fn(i32) -> Status,
) -> Result<(), Failed> {
    if status.success() {
        return Ok(());
    }
    let why = match status.code() {
        Some(code) => format!("ended with status {code}"),
        None => format!("was ended: {status}"),
    };
    let text = format!("{}: {program} {why}; nothing was added", shown(url.as_bytes()));
    Err(Failed::new(text, exit_code(status.code().map_or(Status::LocalIo, meaning))))
}

/// curl(1), EXIT CODES.
fn curl_status(code: i32) -> Status {
    match code {
        5 | 6 | 7 | 28 | 35 | 52 | 55 | 56 => Status::Connection,
        51 | 53 | 54 | 58 | 59 | 60 | 64 | 66 | 77 | 80 | 82 | 83 | 90 | 91 => Status::Verification,
        2 | 23 | 26 | 27 => Status::LocalIo,
        _ => Status::Source,
    }
}

/// wget(1), EXIT STATUS.
fn wget_status(code: i32) -> Status {
    match code {
        4 => Status::Connection,
        5 => Status::Verification,
        2 | 3 => Status::LocalIo,
        _ => Status::Source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_ends_with_is_a_status_of_ours() {
        let curl = [(7, 3), (22, 4), (18, 4), (60, 5), (23, 6), (78, 4), (37, 4)];
        assert!(curl.iter().all(|(code, status)| exit_code(curl_status(*code)) == *status));
        let wget = [(4, 3), (8, 4), (5, 5), (3, 6), (1, 4)];
        assert!(wget.iter().all(|(code, status)| exit_code(wget_status(*code)) == *status));
    }

    #[test]
    fn what_was_kept_is_given_up_where_the_server_gives_no_part_alone() {
        let said = b"HTTP/1.1 302 Found\r\nLocation: /b\r\n\r\nHTTP/2 416 \r\nx: 503\r\n\r\n";
        assert!(refuses_part(Some(22), said) && refuses_part(Some(33), b""));
        let later = [&said[..], b"HTTP/1.1 503 Busy\r\n\r\n"].concat();
        assert!(!refuses_part(Some(22), &later) && !refuses_part(Some(22), b""));
        assert!([7, 18, 23, 28, 56, 60].iter().all(|code| !refuses_part(Some(*code), said)));
        assert!(!refuses_part(None, said));
    }

    #[test]
    fn a_url_is_no_option_of_theirs() {
        let words = |command: Command| -> Vec<String> {
            command.get_args().map(|word| word.to_string_lossy().into_owned()).collect()
        };
        let curl = words(curl("http://h/[1-9]{a}", 7, false));
        assert_eq!(curl[curl.len() - 2..], ["--url", "http://h/[1-9]{a}"]);
        assert!(curl.contains(&"--globoff".into()) && curl.contains(&"7".into()));
        let wget = words(wget("http://h/a", true));
        assert_eq!(wget[wget.len() - 2..], ["--", "http://h/a"]);
    }
}
