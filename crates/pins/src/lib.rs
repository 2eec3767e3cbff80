//! The pins of a project: which version of each output belongs to a commit.
//!
//! - A [`LarderLock`] is the content of `larder.lock`: a [`Pin`] per output. [`LarderLock::read`] reads that of a project.
//! - A [`LockUpdate`] changes it under a lock, and replaces it in one step.
//! - A [`ConflictedLock`] has the conflict markers of git, and a [`LockMerge`] settles them pin by pin.
//! - [`Bases`] remember which version of each output was synchronized last in this checkout.
//! - [`Git`] answers questions about the work tree, and [`ignore_outputs`] keeps outputs out of it.
//!
//! The crate knows nothing about remotes. It starts `git`, and no other program.

mod base;
mod clash;
mod conflicted;
mod emit;
mod error;
mod git;
mod gitignore;
mod larder_lock;
mod markers;
mod merge;
mod parse;
mod pin;
mod pin_state;
#[cfg(test)]
mod samples;
mod update;
mod write_lock;

pub use base::{Base, Bases};
pub use clash::PinClash;
pub use conflicted::ConflictedLock;
pub use error::{Error, Result};
pub use git::{Git, PinCommit};
pub use gitignore::{ignore_outputs, ignore_state, unignore_outputs};
pub use larder_lock::LarderLock;
pub use merge::{LockMerge, PinConflict, Side};
pub use pin::Pin;
pub use pin_state::PinState;
pub use update::{LockContents, LockUpdate};
pub use write_lock::ProjectWriteLock;

/// The README's example, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
