//! Frames to values.
