//! Signatures of generations, in the format of signify(1): what one of its keys signed, and
//! whether it is what was asked for (docs/security.md, "Signed generations").
//!
//! Ed25519 (RFC 8032). Knows keys and signed texts as bytes. Refuses to know where they are
//! kept, and what time it is.

mod statement;

pub use statement::{STATEMENT_LEN_MAX, Statement, names};

use crate::content::digest::Digest;
use crate::content::hex::Hex;
use crate::content::manifest::Selector;
use crate::control::LINE_LEN_MAX;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use ct_codecs::{Base64, Decoder, Encoder};
use ed25519_compact::{KeyPair, Seed, sha512};
use zeroize::Zeroizing;

/// Bytes of the longest comment of signify, with `untrusted comment: ` (signify.c, COMMENTMAXLEN).
const COMMENT_LEN_MAX: usize = 1024;
const COMMENT: &str = "untrusted comment: ";
/// Bytes of a signed statement, at most: comment, signature, text.
pub const SIGNED_LEN_MAX: usize = COMMENT_LEN_MAX + 128 + STATEMENT_LEN_MAX;
const _: () = assert!(3 * SIGNED_LEN_MAX + 100 < LINE_LEN_MAX, "escaped, it is one line");

/// Characters of a signature.
const LINE_LEN: usize = 100;

const ALGORITHM: &[u8; 2] = b"Ed";
/// bcrypt_pbkdf(3), for a passphrase; with no rounds there is none.
const KDF: &[u8; 2] = b"BK";

/// By it a signature says which key it is of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyNumber([u8; 8]);

impl fmt::Display for KeyNumber {
    /// As signify's own messages have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.0;
        bytes.reverse();
        Hex(&bytes).fmt(f)
    }
}

impl fmt::Debug for KeyNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Who is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    number: KeyNumber,
    key: [u8; 32],
}

/// Who signs.
pub struct SecretKey {
    number: KeyNumber,
    pair: KeyPair,
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "secret key {}", self.number)
    }
}

/// Why a signed text is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is no signed text, or it says nothing that is known here.
    Malformed(&'static str),
    /// Of a key that is not trusted.
    Stranger(KeyNumber),
    /// A key that is trusted did not sign this.
    Forged(KeyNumber),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Malformed(what) => write!(f, "its signature cannot be read: {what}"),
            Refusal::Stranger(number) => {
                write!(f, "it is signed by key {number}, which is not trusted here")
            }
            Refusal::Forged(number) => {
                write!(f, "the signature is not the one of key {number}: forged, or damaged")
            }
        }
    }
}

impl PublicKey {
    /// Of a file of signify, or the line of it that is not the comment.
    pub fn parse(text: &str) -> Result<PublicKey, &'static str> {
        let bytes: [u8; 42] = last_line(text).ok_or(
            "not a public key of signify(1): 56 characters of base64, after a line of comment or alone",
        )?;
        let (algorithm, number, key) = (&bytes[..2], &bytes[2..10], &bytes[10..]);
        if algorithm != ALGORITHM {
            return Err("a key of another algorithm than Ed25519");
        }
        Ok(PublicKey { number: KeyNumber(array(number)), key: array(key) })
    }

    /// Which one it is.
    pub fn number(&self) -> KeyNumber {
        self.number
    }
}

impl SecretKey {
    /// That follows from a seed, of this number.
    pub fn of(number: [u8; 8], seed: [u8; 32]) -> SecretKey {
        SecretKey { number: KeyNumber(number), pair: KeyPair::from_seed(Seed::new(seed)) }
    }

    /// Of a file of signify.
    pub fn parse(text: &str) -> Result<SecretKey, &'static str> {
        let found: [u8; 104] = last_line(text).ok_or("not a secret key of signify(1)")?;
        let bytes = Zeroizing::new(found);
        let (algorithm, kdf, rounds) = (&bytes[..2], &bytes[2..4], &bytes[4..8]);
        // Salt and checksum are between.
        let (number, seed, key) = (&bytes[32..40], &bytes[40..72], &bytes[72..]);
        if algorithm != ALGORITHM || kdf != KDF {
            return Err("a key of another algorithm than Ed25519");
        }
        if rounds != [0; 4] {
            return Err(
                "it has a passphrase: sign what --print-statement prints by signify -S -e itself, or make a key without one (signify -G -n)",
            );
        }
        let secret = SecretKey::of(array(number), array(seed));
        if secret.pair.pk.as_ref() != key {
            return Err("it is damaged: its two halves do not fit");
        }
        // As signify has it: of the number it says nothing.
        if sha512::Hash::hash(&bytes[40..])[..8] != bytes[24..32] {
            return Err("it is damaged: its checksum is another");
        }
        Ok(secret)
    }

    /// Its public half.
    pub fn public(&self) -> PublicKey {
        PublicKey { number: self.number, key: *self.pair.pk }
    }

    /// A statement with its signature, as `signify -S -e` writes it.
    pub fn sign(&self, statement: &Statement) -> String {
        self.sign_text(&statement.text())
    }

    fn sign_text(&self, text: &str) -> String {
        let mut bytes = Vec::from(*ALGORITHM);
        bytes.extend_from_slice(&self.number.0);
        bytes.extend_from_slice(self.pair.sk.sign(text, None).as_ref());
        let mut line = [0; LINE_LEN];
        // 74 bytes are 100 characters.
        let line = Base64::encode_to_str(&mut line, &bytes).unwrap_or_default();
        format!("{COMMENT}signed by xget, key {}\n{line}\n{text}", self.number)
    }
}

/// What a signed text says, and by whom.
///
/// # Errors
/// None of these keys signed it.
#[inline(never)]
pub fn open(signed: &[u8], trusted: &[PublicKey]) -> Result<(Statement, KeyNumber), Refusal> {
    let text = core::str::from_utf8(signed).map_err(|_| Refusal::Malformed("it is no text"))?;
    let (comment, rest) = text.split_once('\n').ok_or(Refusal::Malformed("it has one line"))?;
    if !comment.starts_with(COMMENT) || comment.len() > COMMENT_LEN_MAX {
        return Err(Refusal::Malformed("it does not begin with a comment of signify(1)"));
    }
    let (line, text) = rest.split_once('\n').ok_or(Refusal::Malformed("it is cut off"))?;
    let bytes: [u8; 74] =
        decode(line).ok_or(Refusal::Malformed("its second line is no signature"))?;
    if &bytes[..2] != ALGORITHM {
        return Err(Refusal::Malformed("it is of another algorithm than Ed25519"));
    }
    let number = KeyNumber(array(&bytes[2..10]));
    let signature = ed25519_compact::Signature::new(array(&bytes[10..]));
    let mut of_number = trusted.iter().filter(|key| key.number == number).peekable();
    if of_number.peek().is_none() {
        return Err(Refusal::Stranger(number));
    }
    let signed =
        |key: &PublicKey| ed25519_compact::PublicKey::new(key.key).verify(text, &signature).is_ok();
    if !of_number.any(signed) {
        return Err(Refusal::Forged(number));
    }
    let statement = Statement::parse(text)
        .ok_or(Refusal::Malformed("what is signed is no statement of xget, or of a newer one"))?;
    Ok((statement, number))
}

impl Statement {
    /// Whether it says that what was asked for is what a master announced, and not before.
    ///
    /// # Errors
    /// What it says instead.
    #[inline(never)]
    pub fn check(
        &self,
        wanted: &Selector,
        announced: Digest,
        not_before_s: u64,
    ) -> Result<(), String> {
        if self.selector != wanted.plain() {
            return Err(format!("what is signed is {}, which was not asked for", self.names()));
        }
        if self.generation != announced {
            return Err(format!(
                "blake3:{} is signed, and it serves blake3:{announced}: changed since (xget --sign \
                 KEY DIR there), or a moment ago (try again)",
                self.generation
            ));
        }
        if self.date_s < not_before_s {
            return Err(format!(
                "it was signed {} s before the oldest that is taken",
                not_before_s - self.date_s
            ));
        }
        Ok(())
    }

    /// Whether it is the root to what was started, of which these are the first digits; with none
    /// nothing was.
    ///
    /// # Errors
    /// It is that to something else.
    pub fn check_beside(&self, started: &str) -> Result<(), String> {
        let signed = self.beside.map(|digest| digest.to_string()).unwrap_or_default();
        if signed.starts_with(started) && signed.is_empty() == started.is_empty() {
            return Ok(());
        }
        let words = [
            "it is signed as a root that is started by ",
            or_nothing(&signed),
            ", and this node was started by ",
            or_nothing(started),
            " (kernel, initrds, cmdline)",
        ];
        Err(words.concat())
    }
}

fn or_nothing(digits: &str) -> &str {
    if digits.is_empty() { "nothing" } else { digits }
}

/// Of a file with a line of comment, or of the line alone.
fn last_line<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.trim_ascii_end();
    let line = match text.split_once('\n') {
        Some((comment, line)) if comment.starts_with(COMMENT) => line,
        Some(_) => return None,
        None => text,
    };
    decode(line)
}

fn decode<const N: usize>(line: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let decoded = Base64::decode(&mut bytes, line, None).ok()?;
    (decoded.len() == N).then_some(bytes)
}

/// Exactly as many bytes as it takes, by whoever calls this.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}

#[cfg(test)]
mod tests;
