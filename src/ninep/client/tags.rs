//! One connection's tags: which request each stands for, and what may answer it.
//!
//! Refuses to know what an answer means for the file that was asked for.

use super::event::{Broken, Token};
use crate::message::NOTAG;
use crate::wire::reply::Rmessage;
use alloc::format;
use alloc::vec::Vec;

/// Tag that is never given out: to flush it is to flush nothing.
pub(super) const UNUSED_TAG: u16 = NOTAG - 1;

const MISFIT: &str = "answer of a type that does not fit its request";

/// What a tag stands for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pending {
    Auth {
        fid: u32,
    },
    /// What is written by an authentication.
    Say {
        fid: u32,
        count: u32,
    },
    Attach,
    Walk {
        fid: u32,
        names: usize,
    },
    Open {
        fid: u32,
    },
    Read {
        fid: u32,
        count: u32,
        token: Token,
    },
    Write {
        fid: u32,
        count: u32,
        token: Token,
    },
    Clunk {
        fid: u32,
    },
    Flush {
        oldtag: u16,
    },
    /// Without a token when nobody wants to know any more.
    Ping {
        token: Option<Token>,
    },
}

#[derive(Clone, Copy, Debug)]
enum TagState {
    Free,
    Waiting(Pending),
    /// Its Tflush is on the way. The tag stays taken until Rflush, answered or
    /// not (flush(5)).
    GivenUp {
        pending: Pending,
        answered: bool,
    },
}

#[derive(Debug, Default)]
pub(super) struct Tags {
    states: Vec<TagState>,
    free: Vec<u16>,
}

impl Tags {
    pub fn in_use(&self) -> usize {
        self.states.len() - self.free.len()
    }

    /// A tag for a request. The caller bounds how many there are.
    pub fn take(&mut self, pending: Pending) -> u16 {
        let tag = self.free.pop().unwrap_or(self.states.len() as u16);
        match self.states.get_mut(usize::from(tag)) {
            Some(free) => *free = TagState::Waiting(pending),
            None => self.states.push(TagState::Waiting(pending)),
        }
        tag
    }

    /// The request is over, and so is its tag.
    pub fn release(&mut self, tag: u16) {
        self.states[usize::from(tag)] = TagState::Free;
        self.free.push(tag);
    }

    /// An answer came to `tag`: what it answers, or `None` if that was given up.
    /// The tag stays taken in both cases.
    pub fn answered(
        &mut self,
        tag: u16,
        message: &Rmessage<'_>,
    ) -> Result<Option<Pending>, Broken> {
        match self.states.get_mut(usize::from(tag)) {
            Some(TagState::Waiting(pending)) => {
                pending.check(message)?;
                Ok(Some(*pending))
            }
            Some(TagState::GivenUp { pending, answered: answered @ false }) => {
                *answered = true;
                pending.check(message)?;
                Ok(None)
            }
            _ => Err(Broken::new(format!("answer to tag {tag}, which asks for none"))),
        }
    }

    /// What `oldtag` stood for, if its request was given up.
    pub fn given_up(&self, oldtag: u16) -> Option<Pending> {
        match self.states[usize::from(oldtag)] {
            TagState::GivenUp { pending, .. } => Some(pending),
            TagState::Free | TagState::Waiting(_) => None,
        }
    }

    /// Nobody wants to know what `token` comes to any more: gives the tags that
    /// are to be flushed.
    pub fn give_up(&mut self, token: Token) -> Vec<u16> {
        let mut oldtags = Vec::new();
        for (oldtag, state) in self.states.iter_mut().enumerate() {
            let TagState::Waiting(pending) = *state else { continue };
            match pending {
                Pending::Ping { token: Some(theirs) } if theirs == token => {
                    *state = TagState::Waiting(Pending::Ping { token: None });
                }
                Pending::Read { token: theirs, .. } | Pending::Write { token: theirs, .. }
                    if theirs == token =>
                {
                    *state = TagState::GivenUp { pending, answered: false };
                    oldtags.push(oldtag as u16);
                }
                _ => {}
            }
        }
        oldtags
    }
}

impl Pending {
    /// Whether it is part of an authentication by this file, and leaves before all else.
    pub fn is_proof(&self, afid: u32) -> bool {
        match self {
            Pending::Auth { fid } | Pending::Say { fid, .. } | Pending::Read { fid, .. } => {
                *fid == afid
            }
            _ => false,
        }
    }

    /// The fid that it needs, and that must not be used for another file before
    /// it is answered.
    pub fn fid(&self) -> Option<u32> {
        match self {
            Pending::Auth { fid }
            | Pending::Say { fid, .. }
            | Pending::Walk { fid, .. }
            | Pending::Open { fid }
            | Pending::Read { fid, .. }
            | Pending::Write { fid, .. }
            | Pending::Clunk { fid } => Some(*fid),
            Pending::Attach | Pending::Flush { .. } | Pending::Ping { .. } => None,
        }
    }

    /// Whether this may be its answer.
    fn check(&self, message: &Rmessage<'_>) -> Result<(), Broken> {
        let (asked, got) = match (self, message) {
            (Pending::Flush { .. } | Pending::Ping { .. }, Rmessage::Flush) => return Ok(()),
            // A flush cannot fail (flush(5)).
            (Pending::Flush { .. } | Pending::Ping { .. }, _) => return Err(Broken::new(MISFIT)),
            (Pending::Auth { .. }, Rmessage::Auth { .. })
            | (Pending::Attach, Rmessage::Attach { .. })
            | (Pending::Open { .. }, Rmessage::Open { .. })
            | (Pending::Clunk { .. }, Rmessage::Clunk)
            | (_, Rmessage::Error(_)) => return Ok(()),
            (Pending::Walk { names, .. }, Rmessage::Walk { names: walked }) => (*names, *walked),
            (Pending::Read { count, .. }, Rmessage::Read { count: got, .. })
            | (
                Pending::Say { count, .. } | Pending::Write { count, .. },
                Rmessage::Write { count: got },
            ) => (*count as usize, *got as usize),
            _ => return Err(Broken::new(MISFIT)),
        };
        if got > asked {
            return Err(Broken::new(format!("answer of {got} where {asked} were asked for")));
        }
        Ok(())
    }
}
