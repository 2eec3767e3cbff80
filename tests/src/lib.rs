//! The harness of the end-to-end tests: they drive the binary `larder` as users do, with real files, real signals,
//! real mounts, other users, and the real weasel.
//!
//! The binary's path comes in `LARDER_BIN`; `cargo xtask test` builds it once and sets that. What a test needs of the
//! machine it names in its [`Case`]: where that is missing the test shows as ignored with the reason, and with
//! `LARDER_REQUIRE_ALL=1` it fails. Tests that need a [`Server`] are run by `cargo xtask integration`, which starts it.

#![expect(clippy::unwrap_used, reason = "a harness fails by panicking: that is how a test reports")]

mod damage;
mod json;
mod mount;
mod need;
mod process;
mod run;
mod sandbox;
mod server;
mod signals;
mod suite;
mod tree;
mod weasel;

pub use damage::{DAMAGES, Damage};
pub use json::redact;
pub use mount::{Mount, Overlay};
pub use need::Need;
pub use process::Running;
pub use run::{Larder, Run};
pub use rustix::process::Signal;
pub use sandbox::{Sandbox, files_below};
pub use server::Server;
pub use suite::{Case, run};
pub use tree::{Entry, Tree, noise, text};
pub use weasel::WeaselProject;

/// The binary under test, if there is one.
pub(crate) fn larder_binary() -> Option<std::path::PathBuf> {
    let path = std::env::var_os("LARDER_BIN").map(std::path::PathBuf::from);
    path.filter(|path| path.is_absolute() && path.is_file())
}
