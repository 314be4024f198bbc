//! Why a command failed, as a person is told and as an exit status. Knows no command.

use peer::failure::{Failure, Status};

/// Something that is neither of the other statuses.
const UNEXPECTED: u8 = 1;
pub const USAGE: u8 = 2;

/// Why a command failed: what the user is told, and the exit status.
pub struct Failed {
    pub reasons: Vec<String>,
    pub status: u8,
}

impl Failed {
    pub fn new(why: String, status: u8) -> Failed {
        Failed { reasons: vec![why], status }
    }

    /// What the person knows: nobody reads what was asked for any more.
    pub fn silent() -> Failed {
        Failed { reasons: Vec::new(), status: UNEXPECTED }
    }

    pub fn unexpected(why: String) -> Failed {
        Failed::new(why, UNEXPECTED)
    }
}

impl From<Vec<Failure>> for Failed {
    /// The status is that of the worst.
    fn from(failures: Vec<Failure>) -> Failed {
        let worst = failures.iter().map(|failure| failure.status).max();
        Failed {
            reasons: failures.iter().map(Failure::text).collect(),
            status: worst.map_or(UNEXPECTED, exit_code),
        }
    }
}

pub fn exit_code(status: Status) -> u8 {
    match status {
        Status::Interrupted => UNEXPECTED,
        Status::Usage => USAGE,
        Status::Connection => 3,
        Status::Source | Status::Changed => 4,
        Status::Verification => 5,
        Status::NoSpace | Status::LocalIo => 6,
    }
}
