//! What command lines without a verb do, and verbs with them.
//!
//! Knows what follows from options; refuses to know how they were typed.

pub mod destinations;
pub mod fetch;
pub mod serve;
pub mod sign;
pub mod up;
