//! The head's command for people: images, layers, and what nodes boot from.
//!
//! Files below the served directory, and programs that make and change them. No
//! daemon, no database: what it knows it reads from these files each time. It is
//! never in the initramfs, and nothing of `xget` depends on it.

mod cli;
mod failure;
mod head;
mod heard;
mod image;
mod import;
mod interrupt;
mod key;
mod layers;
mod listing;
mod master;
mod netboot;
mod node;
mod out;
mod pages;
mod program;
mod rooted;
#[cfg(test)]
mod scratch;
mod staging;
mod status;
mod tab;

pub use cli::main;
