//! Directories as remotes.

#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod concurrency;
mod entries;
mod root;
mod support;
mod temporaries;
