//! Tests of larder-project, with the vectors that all implementations share and with real files.

#![expect(clippy::unwrap_used, reason = "a test that cannot build its project has failed")]

mod exchange;
mod interpolation;
mod keys;
mod refusals;
mod support;
mod vectors;
