//! One side of a connection that was made: a session of 9P, and before it the proof of a key
//! where there is one (docs/protocol.md, "Keys").
//!
//! Knows what has to be said first. Refuses to know what is asked then.

use crate::auth::{Hello, Key, MESSAGE_LEN, Random, Session};
use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use ninep::client::{Client, Event, Frame, Token};
use zeroize::Zeroize;

/// What the other side lets in by, as the tree of a Tauth.
pub const CLUSTER: &[u8] = b"cluster";
/// The same of one node, with its name behind it.
pub const NODE: &[u8] = b"node ";
/// The tree of what is for one node alone: a file.
pub const ALONE: &[u8] = b"alone";
/// Said by who answers no more handshakes for now, which is nobody's fault.
pub const BUSY: &str = "busy with others who show a key: come again";
/// The other side says nothing to a stranger, so that this one has to.
const WHO_IS_WRONG: &str = " (this side has another key than that one, or that one has none: --key, xget.key=, /etc/xget/key)";
/// Of the answer to the first message; nobody else uses it.
const ANSWER: Token = Token(u64::MAX);

/// With what somebody shows that it is of the cluster, or which node of it.
pub struct Credentials {
    key: Key,
    random: Random,
}

impl Credentials {
    /// By this key.
    pub fn new(key: Key, random: Random) -> Credentials {
        Credentials { key, random }
    }
}

/// Calls somebody.
pub struct Caller {
    /// What is asked of it leaves once the other side has shown that it has the key.
    pub client: Client,
    aname: &'static [u8],
    hello: Option<Hello>,
    session: Option<Session>,
    /// The other side did not let this one in, or this one not the other: by their keys.
    is_refused: bool,
}

impl Caller {
    /// Begins a session in the usual tree, by who has to prove something with that first.
    pub fn new(msize: u32, credentials: Option<&mut Credentials>) -> Caller {
        Caller::attached(msize, b"", credentials)
    }

    /// The same in the tree of this name.
    pub fn attached(
        msize: u32,
        aname: &'static [u8],
        credentials: Option<&mut Credentials>,
    ) -> Caller {
        let Some(Credentials { key, random }) = credentials else {
            let client = Client::attached(msize, aname);
            return Caller { client, aname, hello: None, session: None, is_refused: false };
        };
        let (hello, message) = Hello::new(key, random);
        let count = MESSAGE_LEN as u32;
        let client = Client::proving(msize, key.label().as_bytes(), &message, count, ANSWER);
        Caller { client, aname, hello: Some(hello), session: None, is_refused: false }
    }

    /// Nothing can be sealed yet.
    pub fn is_proving(&self) -> bool {
        self.hello.is_some()
    }

    /// Takes a frame, as [`Client::handle_frame`].
    ///
    /// # Errors
    /// Why the connection is of no more use.
    pub fn handle_frame<'a>(&mut self, frame: Frame<'a>) -> Result<Option<Event<'a>>, String> {
        let event = self.client.handle_frame(frame).map_err(|broken| {
            let is_busy = broken.reason.contains(BUSY);
            self.is_refused = broken.is_refusal && !is_busy;
            match self.hello {
                Some(_) if !is_busy => broken.reason + WHO_IS_WRONG,
                _ => broken.reason,
            }
        })?;
        match event {
            Some(Event::Read { token: ANSWER, data, .. }) => {
                let hello = self.hello.take().ok_or("it answers what nobody asked")?;
                let finished = hello.finish(data.unwrap_or_default());
                self.is_refused = finished.is_err();
                let (session, proof) = finished.map_err(
                    |_| "it does not have the key that was shown to it (--key), or somebody is between",
                )?;
                self.session = Some(session);
                self.client.prove(&proof, self.aname);
                Ok(None)
            }
            Some(Event::Failed { token: ANSWER, error }) => {
                self.is_refused = true;
                Err(["it does not answer who proves a key: ", &*error.text, WHO_IS_WRONG].concat())
            }
            event => Ok(event),
        }
    }

    /// Whether it ended since one side did not let in the other: so it will be again, until
    /// somebody gives one of them another key.
    pub fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// Whether all that is said is sealed.
    pub fn is_sealed(&self) -> bool {
        self.hello.is_some() || self.session.is_some()
    }

    /// What is to be said in a conversation, as it goes: nothing, before it can be sealed where
    /// it has to be.
    pub fn seal<'a>(&mut self, text: &'a [u8]) -> Cow<'a, [u8]> {
        match &mut self.session {
            Some(session) => Cow::Owned(session.seal(text)),
            None if self.hello.is_some() => Cow::Borrowed(&[]),
            None => Cow::Borrowed(text),
        }
    }

    /// Moves what is whole of what was read in a conversation behind what was understood of it.
    ///
    /// # Errors
    /// It is not of who was called.
    pub fn open(&mut self, read: &mut Vec<u8>, text: &mut Vec<u8>) -> Result<(), String> {
        let Some(session) = &mut self.session else {
            if self.hello.is_some() {
                return Err("it says something before it has shown its key".into());
            }
            text.append(read);
            return Ok(());
        };
        while let Some(mut opened) = session
            .open_record(read)
            .map_err(|_| "somebody else says something in its name: it is not sealed by it")?
        {
            text.extend_from_slice(&opened);
            opened.zeroize();
        }
        Ok(())
    }
}
