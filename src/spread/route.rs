//! Which node fetches which stripe from whom.
