//! What is served: digests, the manifest of a generation, its pieces.

pub mod bytes;
pub mod digest;
#[cfg(test)]
mod golden;
pub mod hex;
pub mod holdings;
pub mod manifest;
pub mod patterns;
pub mod pieces;
#[cfg(test)]
mod samples;
