//! What tests of larder stand on.
//!
//! - [`MemoryBackend`]: a remote in memory, which logs the requests that it gets.
//! - [`FaultyBackend`]: wraps any backend and goes wrong where a test says so.
//! - [`proxy`]: puts a link or a server that goes wrong in front of a real server.
#![cfg_attr(feature = "gcs", doc = "- [`gcs`]: a server that speaks as Google Cloud Storage does.")]
//! - [`conformance`]: the promises of [`larder_backend::Backend`], as a suite that every backend runs.
//! - [`Required`]: tests that need what not every machine has are ignored with the reason, or fail where all are asked
//!   for.

pub mod conformance;
#[cfg(feature = "gcs")]
pub mod gcs;
pub mod proxy;

mod clock;
mod faulty;
mod gate;
mod journal;
mod memory;
mod payload;
mod required;

pub use clock::ManualClock;
pub use faulty::{Effect, Fault, FaultyBackend};
pub use gate::Gate;
pub use journal::FileJournal;
pub use memory::{MemoryBackend, Request};
pub use payload::payload;
pub use required::{Required, ignore, ignore_without_server};

/// The README is tested too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
