//! What a storage promises, each promise with a test that fails when it is broken.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod audit;
mod find;
mod interrupted;
mod pull;
mod push;
mod requests;
mod support;
