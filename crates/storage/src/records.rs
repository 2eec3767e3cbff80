//! Run records in a remote: which outputs one run made together, and when.
//!
//! Their names alone decide which version of an output is the newest. Only `log`, `why` and `run` read their content.

mod keys;
mod listing;
mod read;
mod times;
mod why;
mod write;

pub use read::LoggedRun;
pub use why::{NearestRun, WhyReport};

pub(crate) use keys::{RecordKeys, RecordRef, all_records};
pub(crate) use listing::{RecordListing, first_page, list_records};
pub(crate) use read::{log, read_run, warn_mismatch};
pub(crate) use times::RecordTimes;
pub(crate) use why::{manifest_of, nearest, why, why_here};
pub(crate) use write::{record_check, record_outputs, record_push};
