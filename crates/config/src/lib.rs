//! The configuration of larder: where a project begins, what its `larder.toml` and the user's own file say, and which
//! remote is meant.
//!
//! A [`Config`] is a stack of [`Layer`]s: flags, environment, the project's file, the user's file. Each value keeps
//! its [`Origin`], because files of a project come from other people and may not decide everything. The crate reads
//! the files that it is told to read, and nothing else: no environment variable, no working directory. It does not
//! take remote URLs apart either: it only tells a URL, a path and a name from each other.
//!
//! ```
//! use larder_config::{Config, FileKind, Layer, Setting};
//!
//! let flags = Layer { hash: Some(Setting::flag("--hash", "sha256".to_owned())), ..Layer::default() };
//! let text = "hash = \"blake3\"\njobs = 4\n[remotes]\nteam = \"../shared\"\n";
//! let file = Layer::from_toml(text, "/home/ann/project/larder.toml".as_ref(), FileKind::Project)?;
//!
//! let config = Config::new([flags, file]);
//! assert_eq!(config.hash().unwrap().value, "sha256");
//! assert_eq!(config.jobs().unwrap().origin.to_string(), "/home/ann/project/larder.toml:2");
//!
//! let remote = config.remote("/home/ann/project".as_ref(), "/home/ann/project/src".as_ref())?;
//! assert_eq!(remote.location.to_string(), "/home/ann/project/../shared");
//! # Ok::<(), larder_config::Error>(())
//! ```

mod config;
mod document;
mod error;
mod layer;
mod origin;
mod remote;
mod root;

pub use config::Config;
pub use error::{Error, Result};
pub use layer::{FileKind, Layer, MAX_JOBS, stall_timeout};
pub use origin::{Origin, Place, Setting};
pub use remote::{Location, OptionValue, Remote, RemoteDefinition, RemoteOption};
pub use root::{ProjectRoot, RootMarker};

/// The README's examples, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
