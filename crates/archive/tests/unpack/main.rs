//! Unpacking: archives of other programs, hostile archives, and cancellation.

#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod damage;
mod fuzz;
mod interop;
mod malformed;
mod names;
mod policy;
mod round_trip;
mod stopping;
mod support;
mod trees;
mod weasel;
