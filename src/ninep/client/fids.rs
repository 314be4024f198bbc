//! One connection's fids: how far each file is on its way from open to clunk.
//!
//! Refuses to know tags and messages. A number is free again when its clunk and
//! all requests on it are answered, whatever their order.

use super::event::{Broken, Token};
use crate::error::Error;
use crate::message::NOFID;
use sorted::SortedMap;

/// The fid of the attach; all walks start there.
pub(super) const ROOT: u32 = 0;

#[derive(Debug)]
enum FidState {
    /// `walks` of its Rwalks are still to come. Without a token when nobody
    /// wants to know any more.
    Opening {
        token: Option<Token>,
        walks: usize,
    },
    Open,
    /// The first thing that went wrong: the reason for all that follows.
    Failed(Error),
}

#[derive(Debug)]
struct OpenFile {
    state: FidState,
    /// Tags that stand for a request on this fid.
    users: usize,
    clunked: bool,
}

#[derive(Debug)]
pub(super) struct Fids {
    table: SortedMap<u32, OpenFile>,
    pub(super) next: u32,
}

impl Fids {
    pub fn new() -> Fids {
        Fids { table: SortedMap::new(), next: ROOT + 1 }
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// A number that is not in use, and has not been for 2^32 opens.
    pub fn unused(&mut self) -> u32 {
        loop {
            let fid = self.next;
            self.next = self.next.wrapping_add(1);
            if fid != ROOT && fid != NOFID && !self.table.contains_key(&fid) {
                return fid;
            }
        }
    }

    /// An opening of `fid` begins, which takes this many walks.
    pub fn begin(&mut self, fid: u32, walks: usize, token: Option<Token>) {
        let state = FidState::Opening { token, walks };
        self.table.insert(fid, OpenFile { state, users: 0, clunked: false });
    }

    /// A request on `fid` is sent.
    pub fn add_user(&mut self, fid: u32) {
        if let Some(file) = self.table.get_mut(&fid) {
            file.users += 1;
        }
    }

    /// A request on `fid` is over.
    pub fn remove_user(&mut self, fid: u32) {
        let Some(file) = self.table.get_mut(&fid) else { return };
        file.users -= 1;
        if file.clunked && file.users == 0 {
            self.table.remove(&fid);
        }
    }

    /// Whether `fid` is to be clunked now: it is in use, and was not before.
    pub fn clunk(&mut self, fid: u32) -> bool {
        match self.table.get_mut(&fid) {
            Some(file) => !core::mem::replace(&mut file.clunked, true),
            None => false,
        }
    }

    /// Nobody wants to know whether the opening of `token` succeeds: gives its fid.
    pub fn give_up(&mut self, token: Token) -> Option<u32> {
        self.table.iter_mut().find_map(|(&fid, file)| match &mut file.state {
            FidState::Opening { token: theirs, .. } if *theirs == Some(token) => {
                *theirs = None;
                Some(fid)
            }
            _ => None,
        })
    }

    /// One of the walks to `fid` was answered, and went all the way.
    pub fn walked(&mut self, fid: u32) {
        if let Some(OpenFile { state: FidState::Opening { walks, .. }, .. }) =
            self.table.get_mut(&fid)
        {
            // Never below 0: as many were sent, and each is answered once.
            *walks -= 1;
        }
    }

    /// A walk or the open of `fid` failed. The first failure of an opening gives
    /// its token, if anybody wants to know; what fails behind it gives `None`.
    pub fn fail(&mut self, fid: u32, error: &Error) -> Option<Option<Token>> {
        let file = self.table.get_mut(&fid)?;
        let FidState::Opening { token, .. } = file.state else { return None };
        file.state = FidState::Failed(error.clone());
        Some(token)
    }

    /// Ropen came: the token of the opening, if anybody wants to know.
    pub fn opened(&mut self, fid: u32) -> Result<Option<Token>, Broken> {
        let Some(file) = self.table.get_mut(&fid) else { return Ok(None) };
        match file.state {
            // Opened where the walk ended early: not the file that was meant.
            FidState::Failed(_) => Ok(None),
            FidState::Opening { walks: 0, token } => {
                file.state = FidState::Open;
                Ok(token)
            }
            _ => Err(Broken::new("Ropen before its Rwalk")),
        }
    }

    /// A read or write succeeded; was it on the file that was meant? If not: why
    /// that one is not open.
    pub fn check_open(&self, fid: u32) -> Result<Option<Error>, Broken> {
        match self.table.get(&fid).map(|file| &file.state) {
            Some(FidState::Open) => Ok(None),
            Some(FidState::Failed(error)) => Ok(Some(error.clone())),
            Some(FidState::Opening { .. }) => Err(Broken::new("Rread or Rwrite before its Ropen")),
            None => Err(Broken::new("Rread or Rwrite on a fid that was clunked")),
        }
    }

    /// Why the opening of `fid` failed, if it did.
    pub fn failure(&self, fid: u32) -> Option<Error> {
        match &self.table.get(&fid)?.state {
            FidState::Failed(error) => Some(error.clone()),
            FidState::Opening { .. } | FidState::Open => None,
        }
    }
}
