//! One thing that a check found.

use serde::Serialize;
use std::path::Path;

#[derive(Debug, Serialize)]
pub struct Finding {
    #[serde(rename = "error")]
    pub is_error: bool,
    pub place: String,
    pub what: String,
}

impl Finding {
    pub fn error(place: &Path, what: impl Into<String>) -> Finding {
        Finding { is_error: true, place: place.display().to_string(), what: what.into() }
    }
    pub fn warning(place: &Path, what: impl Into<String>) -> Finding {
        Finding { is_error: false, ..Finding::error(place, what) }
    }
}
