//! Who has the same key: a handshake of two messages, and what is sealed after it
//! (docs/protocol.md, "Keys").
//!
//! Bytes in, bytes out; random bytes are an argument. Knows no socket and no message of 9P.
//! Whatever is wrong is one error: who does not have the key learns nothing.

mod archive;
mod file;
mod key;
mod noise;

pub use archive::{ARCHIVE_LEN_MAX, Archive};
pub use file::{
    KEY_FILE, KEY_FILE_LEN_MAX, KEY_VARIABLE, NODE_KEY_FILE, check_key_file, check_key_name,
    of_cluster,
};
pub use key::{Key, KeyKind, NAME_LEN_MAX, NoKey, has_key};

use crate::control::{LINE_LEN_MAX, NODE_ANSWER_LEN_MAX};
use alloc::string::String;
use alloc::vec::Vec;
use noise::{ChaChaPoly, Sha, X25519};
use noise_protocol::{CipherState, HandshakeState, patterns};
use zeroize::Zeroize;

/// Bytes of either message: an ephemeral public key, and the tag of nothing.
pub const MESSAGE_LEN: usize = 32 + TAG_LEN;
/// Bytes that sealing adds.
pub const TAG_LEN: usize = 16;
/// What both sides mean by all this; another version has another.
const PROLOGUE: &str = "xget 1 ";
/// What who began says first, sealed: that its message was no copy of an older one.
const PROOF: &[u8] = b"here";
/// Bytes of that.
pub const PROOF_LEN: usize = PROOF.len() + TAG_LEN;

/// Bytes before each record: its length, the lower byte first.
const LENGTH_LEN: usize = 2;

/// Bytes of the longest text that is sealed with its length before it.
pub const RECORD_LEN_MAX: usize = u16::MAX as usize - TAG_LEN;
const _: () = assert!(LINE_LEN_MAX <= RECORD_LEN_MAX && NODE_ANSWER_LEN_MAX <= RECORD_LEN_MAX);

type State = HandshakeState<X25519, ChaChaPoly, Sha>;

/// The other side does not have this key, or somebody changed what it said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied;

/// Keys that are used once: of a seed, which is another after each.
pub struct Random {
    seed: [u8; 32],
}

impl Random {
    /// Of as many bytes that nobody can guess.
    pub fn new(seed: [u8; 32]) -> Random {
        Random { seed }
    }

    /// Another one, that gives away nothing of this.
    pub fn split(&mut self) -> Random {
        Random::new(self.next())
    }

    fn next(&mut self) -> [u8; 32] {
        let key = blake3::derive_key("xget 2026-11-22 ephemeral key", &self.seed);
        self.seed = blake3::derive_key("xget 2026-11-22 next seed", &self.seed);
        key
    }
}

impl Drop for Random {
    fn drop(&mut self) {
        self.seed.zeroize();
    }
}

/// A handshake that was begun.
pub struct Hello {
    state: State,
}

/// What both sides have after it.
pub struct Session {
    sending: CipherState<ChaChaPoly>,
    receiving: CipherState<ChaChaPoly>,
}

fn state(key: &Key, is_initiator: bool, random: [u8; 32]) -> State {
    let prologue: String = [PROLOGUE, &key.label()].concat();
    let (pattern, prologue) = (patterns::noise_nn_psk0(), prologue.as_bytes());
    // Of static keys there are none, and what the other sends comes later.
    let mut state = State::new(pattern, is_initiator, prologue, None, Some(random), None, None);
    state.push_psk(key.secret());
    state
}

impl Hello {
    /// Begins one.
    pub fn new(key: &Key, random: &mut Random) -> (Hello, [u8; MESSAGE_LEN]) {
        let mut state = state(key, true, random.next());
        let mut message = [0; MESSAGE_LEN];
        // Of this pattern the first message cannot fail: nothing is missing.
        let written = state.write_message(&[], &mut message);
        debug_assert!(written.is_ok());
        (Hello { state }, message)
    }

    /// Takes the answer. What is given then is to be said first: [`PROOF_LEN`] bytes.
    ///
    /// # Errors
    /// It is not of who has the key.
    pub fn finish(mut self, answer: &[u8]) -> Result<(Session, Vec<u8>), Denied> {
        read(&mut self.state, answer)?;
        let (sending, receiving) = self.state.get_ciphers();
        let mut session = Session { sending, receiving };
        let proof = session.seal(PROOF);
        Ok((session, proof))
    }
}

/// What somebody said who has the key, or a copy of it.
pub struct Greeting {
    state: State,
}

impl Greeting {
    /// Looks at the first message, which costs little: who does not have the key gets no further.
    ///
    /// # Errors
    /// It does not have the key.
    pub fn open(key: &Key, random: &mut Random, message: &[u8]) -> Result<Greeting, Denied> {
        let mut state = state(key, false, random.next());
        read(&mut state, message)?;
        Ok(Greeting { state })
    }

    /// Answers who began. Nothing may follow from it until its proof is here
    /// ([`Session::is_proved_by`]): what it said may be a copy.
    ///
    /// # Errors
    /// Its point gives what everybody knows.
    pub fn answer(mut self) -> Result<(Session, [u8; MESSAGE_LEN]), Denied> {
        let mut answer = [0; MESSAGE_LEN];
        self.state.write_message(&[], &mut answer).map_err(|_| Denied)?;
        let (receiving, sending) = self.state.get_ciphers();
        Ok((Session { sending, receiving }, answer))
    }
}

fn read(state: &mut State, message: &[u8]) -> Result<(), Denied> {
    if message.len() != MESSAGE_LEN {
        return Err(Denied);
    }
    state.read_message(message, &mut []).map_err(|_| Denied)
}

impl Session {
    /// Whether this is what who began says first.
    pub fn is_proved_by(&mut self, proof: &[u8]) -> bool {
        self.open(proof).is_ok_and(|said| said == PROOF)
    }

    /// The next that is said, [`TAG_LEN`] bytes longer.
    pub fn seal(&mut self, plain: &[u8]) -> Vec<u8> {
        self.sending.encrypt_vec(plain)
    }

    /// The same with its length before it, for who reads it in parts.
    pub fn record(&mut self, plain: &[u8]) -> Vec<u8> {
        let sealed = self.seal(plain);
        let len = u16::try_from(sealed.len()).unwrap_or(u16::MAX);
        debug_assert_eq!(usize::from(len), sealed.len(), "who seals knows RECORD_LEN_MAX");
        let mut record = Vec::with_capacity(LENGTH_LEN + sealed.len());
        record.extend_from_slice(&len.to_le_bytes());
        record.extend_from_slice(&sealed);
        record
    }

    /// Takes the first record out of what was read so far; nothing where it is not whole yet.
    ///
    /// # Errors
    /// It is not of the other side.
    pub fn open_record(&mut self, read: &mut Vec<u8>) -> Result<Option<Vec<u8>>, Denied> {
        let Some(([low, high], rest)) = read.split_first_chunk::<LENGTH_LEN>() else {
            return Ok(None);
        };
        let len = usize::from(u16::from_le_bytes([*low, *high]));
        let Some(sealed) = rest.get(..len) else { return Ok(None) };
        let opened = self.open(sealed)?;
        read.drain(..LENGTH_LEN + len);
        Ok(Some(opened))
    }

    /// The next that was said, exactly as it was and in its order.
    ///
    /// # Errors
    /// It is something else; nothing that comes after it is to be believed.
    pub fn open(&mut self, sealed: &[u8]) -> Result<Vec<u8>, Denied> {
        if sealed.len() < TAG_LEN {
            return Err(Denied);
        }
        self.receiving.decrypt_vec(sealed).map_err(|()| Denied)
    }
}

#[cfg(test)]
mod tests;
