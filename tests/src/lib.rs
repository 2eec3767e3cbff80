//! The harness of the end-to-end tests: they drive the binary `larder` as users do, with real files, real signals,
//! real mounts, other users, and the real weasel.
//!
//! `cargo xtask test` builds the binary and passes its path in `LARDER_BIN`. Without the variable, each test program builds
//! the binary with cargo. A [`Case`] names its requirements on the machine. If one is missing, the test is ignored with the
//! reason; with `LARDER_REQUIRE_ALL=1` it fails. `cargo xtask integration` starts the [`Server`]s.

#![expect(clippy::unwrap_used, reason = "a test reports a failure by panicking")]

mod binary;
mod damage;
mod fifo;
mod flagless;
mod json;
mod memory;
mod mount;
mod need;
mod process;
mod run;
mod sandbox;
mod server;
mod signals;
mod suite;
mod terminal;
mod tree;
mod weasel;

pub use damage::{DAMAGES, Damage};
pub use fifo::Fifo;
pub use json::redact;
pub use mount::{CaseFoldingDisk, Mount, Overlay};
pub use need::Need;
pub use process::{Running, wait_for};
pub use run::{Larder, Run};
pub use rustix::process::Signal;
pub use sandbox::{Sandbox, files_below};
pub use server::Server;
pub use suite::{Case, run};
pub use terminal::{Key, Terminal};
pub use tree::{Entry, Tree, noise, text};
pub use weasel::WeaselProject;
