//! The handshake itself: `Noise_NNpsk0_25519_ChaChaPoly_SHA256` of the Noise Protocol Framework,
//! revision 34, by the crate `noise-protocol`; its primitives by other crates.
//!
//! Knows no key's meaning, and no message of 9P.

use chacha20poly1305::{AeadInPlace, ChaCha20Poly1305, KeyInit};
use ed25519_compact::x25519;
use noise_protocol::{Cipher, DH, Hash, U8Array};
use sha2::{Digest as _, Sha256};

/// X25519 (RFC 7748).
pub(super) enum X25519 {}

impl DH for X25519 {
    type Key = [u8; 32];
    type Pubkey = [u8; 32];
    type Output = [u8; 32];

    fn name() -> &'static str {
        "25519"
    }

    /// Never called: who begins gives the random bytes (`super::Hello`), and there are none here.
    fn genkey() -> [u8; 32] {
        unreachable!("the ephemeral key is set before")
    }

    fn pubkey(key: &[u8; 32]) -> [u8; 32] {
        // The base point has no small order, so that there is always one.
        let public = x25519::SecretKey::new(*key).recover_public_key();
        public.map_or([0; 32], |public| *public)
    }

    /// A point of small order gives what everybody knows, and is refused.
    fn dh(key: &[u8; 32], public: &[u8; 32]) -> Result<[u8; 32], ()> {
        let shared = x25519::PublicKey::new(*public).dh(&x25519::SecretKey::new(*key));
        shared.map(|shared| *shared).map_err(|_| ())
    }
}

/// ChaCha20-Poly1305 (RFC 8439), with nonces as the framework has them (section 12.3).
pub(super) enum ChaChaPoly {}

const TAG_LEN: usize = 16;

fn nonce_of(number: u64) -> chacha20poly1305::Nonce {
    let mut nonce = chacha20poly1305::Nonce::default();
    nonce[4..].copy_from_slice(&number.to_le_bytes());
    nonce
}

impl Cipher for ChaChaPoly {
    type Key = [u8; 32];

    fn name() -> &'static str {
        "ChaChaPoly"
    }

    fn encrypt(key: &[u8; 32], nonce: u64, ad: &[u8], plain: &[u8], out: &mut [u8]) {
        out[..plain.len()].copy_from_slice(plain);
        Self::encrypt_in_place(key, nonce, ad, out, plain.len());
    }

    fn encrypt_in_place(
        key: &[u8; 32],
        nonce: u64,
        ad: &[u8],
        in_out: &mut [u8],
        plain_len: usize,
    ) -> usize {
        let (text, tag) = in_out[..plain_len + TAG_LEN].split_at_mut(plain_len);
        let cipher = ChaCha20Poly1305::new(key.into());
        // It fails beyond 256 GiB alone.
        let made = cipher.encrypt_in_place_detached(&nonce_of(nonce), ad, text).unwrap_or_default();
        tag.copy_from_slice(&made);
        plain_len + TAG_LEN
    }

    fn decrypt(
        key: &[u8; 32],
        nonce: u64,
        ad: &[u8],
        sealed: &[u8],
        out: &mut [u8],
    ) -> Result<(), ()> {
        let (text, tag) = sealed.split_at(sealed.len() - TAG_LEN);
        out.copy_from_slice(text);
        let cipher = ChaCha20Poly1305::new(key.into());
        let opened = cipher.decrypt_in_place_detached(&nonce_of(nonce), ad, out, tag.into());
        opened.map_err(|_| ())
    }

    fn decrypt_in_place(
        key: &[u8; 32],
        nonce: u64,
        ad: &[u8],
        in_out: &mut [u8],
        sealed_len: usize,
    ) -> Result<usize, ()> {
        let (text, tag) = in_out[..sealed_len].split_at_mut(sealed_len - TAG_LEN);
        let cipher = ChaCha20Poly1305::new(key.into());
        let opened = cipher.decrypt_in_place_detached(&nonce_of(nonce), ad, text, (&*tag).into());
        opened.map_err(|_| ()).map(|()| text.len())
    }
}

/// SHA-256 (FIPS 180-4).
#[derive(Default)]
pub(super) struct Sha(Sha256);

impl Hash for Sha {
    type Block = [u8; 64];
    type Output = [u8; 32];

    fn name() -> &'static str {
        "SHA256"
    }

    fn input(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn result(&mut self) -> [u8; 32] {
        <[u8; 32]>::from_slice(&self.0.finalize_reset())
    }
}
