//! The configuration of larder. It covers the project root, the settings in `larder.toml` and the user's
//! file, and the remote to use.
//!
//! A [`Config`] is a stack of [`Layer`]s: flags, environment, the project's file, the user's file. Each value
//! keeps its [`Origin`], because other people write the files of a project, and some settings must come from
//! the user. The crate reads only the files that it is given. It does not read environment variables or the
//! working directory. It distinguishes URLs, paths and names of remotes, but does not parse URLs.
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
mod file;
mod layer;
mod origin;
mod remote;
mod root;
mod setting;

pub use config::Config;
pub use error::{Error, Result};
pub use layer::{FileKind, Layer, MAX_JOBS, stall_timeout};
pub use origin::{FilePlace, Origin};
pub use remote::{ConfiguredRemote, Location, OptionValue, RemoteDefinition, RemoteOption};
pub use root::{ProjectRoot, RootMarker};
pub use setting::Setting;

/// The README's examples, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
