//! The server for Google Cloud Storage answers as Google documents it. Each test names the page below
//! <https://cloud.google.com/storage/docs/> and the tested statement.

#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod client;
mod faults;
mod preconditions;
mod program;
mod read;
mod resumable;
mod rpc;
mod single;
