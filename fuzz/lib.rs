//! What several fuzz targets need: how an input is cut into steps, and a small
//! tree to serve.
//!
//! Knows nothing of what a target checks.

pub mod steps;
pub mod tree;
