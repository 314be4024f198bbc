//! Values to frames.
