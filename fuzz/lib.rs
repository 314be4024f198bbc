//! What several fuzz targets need: how an input is cut into steps, and a small
//! tree to serve.
//!
//! Knows nothing of what a target checks.

pub mod steps;
pub mod tree;

/// The key of the seeds.
pub fn key() -> peer::auth::Key {
    let root = peer::auth::Key::root([7; 32]);
    root.cluster().unwrap_or(root)
}

/// Of a side of a handshake.
pub fn random(seed: u8) -> peer::auth::Random {
    peer::auth::Random::new([seed; 32])
}
