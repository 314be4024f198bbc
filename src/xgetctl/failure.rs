//! Why a command failed: what a person is told, and the exit status.
//!
//! Every text says what failed, on what, why, and what to do where that is known.
//! The statuses are those of `xget`. Knows no command.

use std::fmt::Display;
use std::io;
use std::path::Path;

/// The statuses of `xget --help`, as far as they fit, and one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Interrupted, or something unexpected.
    Unexpected = 1,
    Usage = 2,
    /// No master answers.
    Unreachable = 3,
    /// What is to be read is missing or unreadable.
    Source = 4,
    /// What was read is not what it has to be.
    Wrong = 5,
    /// What is to be written to, a program that is missing or fails, or another
    /// limit of this machine.
    Machine = 6,
    /// What was waited for has not come.
    Late = 7,
    /// Only root may do it.
    Root = 10,
    /// An interface that is not there, or has no address that could be used.
    Interface = 11,
    /// Another program has the port.
    Taken = 12,
    /// What was started, and was to run on, has ended.
    Child = 13,
}

#[derive(Debug)]
pub struct Failure {
    pub status: Status,
    pub text: String,
}

pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub fn new(status: Status, text: impl Into<String>) -> Failure {
        Failure { status, text: text.into() }
    }
    pub fn usage(text: impl Into<String>) -> Failure {
        Failure::new(Status::Usage, text)
    }
    pub fn source(text: impl Into<String>) -> Failure {
        Failure::new(Status::Source, text)
    }
    pub fn wrong(text: impl Into<String>) -> Failure {
        Failure::new(Status::Wrong, text)
    }
    pub fn machine(text: impl Into<String>) -> Failure {
        Failure::new(Status::Machine, text)
    }
    pub fn interrupted() -> Failure {
        Failure::new(
            Status::Unexpected,
            "interrupted; what is in place is whole, and it can be run again",
        )
    }
}

/// Puts what was tried, and on what, before the reason.
pub trait Doing<T> {
    /// `doing` fits after "cannot": "read", "make the directory".
    fn doing(self, doing: &str, path: &Path) -> Outcome<T>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, doing: &str, path: &Path) -> Outcome<T> {
        self.map_err(|error| failed(doing, path, error.into()))
    }
}

fn failed(doing: &str, path: &Path, error: io::Error) -> Failure {
    let status = match error.kind() {
        io::ErrorKind::NotFound => Status::Source,
        _ => Status::Machine,
    };
    let remedy = match error.kind() {
        io::ErrorKind::PermissionDenied => "; run it as root, or name another --root",
        io::ErrorKind::StorageFull => "; make room there",
        io::ErrorKind::ReadOnlyFilesystem => "; it is mounted read-only",
        _ => "",
    };
    Failure::new(status, format!("cannot {doing} {}: {}{remedy}", path.display(), reason(&error)))
}

/// An error without Rust's "(os error 2)", which is of no use to anybody.
pub fn reason(error: &dyn Display) -> String {
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(end) => text[..end].into(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_was_tried_on_what_and_why() {
        let error = io::Error::from_raw_os_error(2);
        let failure = Err::<(), _>(error).doing("read", Path::new("/srv/x")).unwrap_err();
        assert_eq!(failure.text, "cannot read /srv/x: No such file or directory");
        assert_eq!(failure.status, Status::Source);
    }

    #[test]
    fn what_the_system_refuses_says_what_to_do() {
        let error = io::Error::from_raw_os_error(13);
        let failure = Err::<(), _>(error).doing("make", Path::new("/srv/x")).unwrap_err();
        assert!(failure.text.ends_with("run it as root, or name another --root"), "{failure:?}");
        assert_eq!(failure.status, Status::Machine);
    }
}
