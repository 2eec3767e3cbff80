//! The pins of a project: which version of each output belongs to a commit.
//!
//! - A [`LarderLock`] is the content of `larder.lock`: a [`Pin`] per output.

mod clash;
mod emit;
mod error;
mod larder_lock;
mod markers;
mod merge;
mod parse;
mod pin;

pub use clash::PinClash;
pub use error::{Error, Result};
pub use larder_lock::LarderLock;
pub use merge::{ConflictedLock, LockMerge, PinConflict, Side};
pub use pin::Pin;

/// The README's example, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
