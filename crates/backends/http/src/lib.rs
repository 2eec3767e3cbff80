//! The parts that larder's storage backends over HTTP share.
//!
//! - [`retry`] decides when a failed request is sent again, and for how long.
//! - [`progress`] watches request and response bodies, and fails when no byte moves.
//! - [`read_ahead`] reads one large object with several range requests.
//! - [`pages`] turns the pages of a listing into a stream.
//! - [`remote_option`] checks the options of a remote.
//! - [`find_cause`] and [`is_untrusted_certificate`] recognize errors by their types.
//! - [`BucketRoot`] and [`PendingAborts`] are parts of every backend with buckets.

mod bucket_root;
mod causes;
pub mod pages;
mod pending_aborts;
pub mod progress;
pub mod read_ahead;
pub mod remote_option;
pub mod retry;

pub use bucket_root::BucketRoot;
pub use causes::{find_cause, is_untrusted_certificate};
pub use pending_aborts::PendingAborts;

/// The README is tested too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
