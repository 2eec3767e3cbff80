//! Tools for the tests of larder.
//!
//! - [`MemoryBackend`]: a remote in memory, which logs its requests.
//! - [`FaultyBackend`]: wraps any backend and injects faults.
//! - [`proxy`]: injects faults between a client and a real server.
#![cfg_attr(feature = "gcs", doc = "- [`gcs`]: a server with the interfaces of Google Cloud Storage.")]
//! - [`conformance`]: the test suite for the promises of [`larder_backend::Backend`], which every backend runs.
//! - [`Required`]: a requirement of a test. Without it, the test is ignored with the reason, or fails if all tests are
//!   required.

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

/// Runs the examples of the README as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
