//! The server for Google Cloud Storage answers as Google documents it. Each test names the page, and what of it holds here;
//! pages are below <https://cloud.google.com/storage/docs/>.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod client;
mod faults;
mod preconditions;
mod program;
mod read;
mod resumable;
mod rpc;
mod single;
