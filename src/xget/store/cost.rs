//! What work costs, so that slices of it take about as long as one another.
//!
//! A budget is given in bytes to read; what reads none is counted here.

/// What a file costs besides its bytes: a slice is bounded where files are
/// empty or need no reading.
pub const FILE_COST_BYTES: u64 = 16 * 1024;
