//! os

pub mod file;
