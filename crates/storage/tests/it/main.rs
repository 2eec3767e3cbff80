//! Tests of the storage.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod audit;
mod find;
mod interrupted;
mod pins;
mod pull;
mod push;
mod records;
mod remembered;
mod requests;
mod reserved;
mod runs;
mod support;
