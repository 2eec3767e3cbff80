//! Errors of hashing.

use std::io;
use std::path::PathBuf;

use larder_tree::TreeError;

/// A file or a directory could not be hashed.
///
/// `Display` says what failed and on which path, and [`std::error::Error::source`] says why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HashError {
    /// The output could not be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A link in a dependency points out of it. The hash of the dependency would not cover its target.
    #[error(
        "the link `{}` leaves the dependency that it is in: declare its target as a dependency of its own",
        path.display()
    )]
    LeavesDependency {
        /// The path of the link.
        path: PathBuf,
    },
    /// The manifest could not be written.
    #[error("failed to write the manifest")]
    Manifest(#[source] io::Error),
}

impl HashError {
    /// Returns whether the [`Observer`](larder_tree::Observer) asked to stop.
    pub const fn is_cancelled(&self) -> bool {
        matches!(self, Self::Tree(TreeError::Cancelled))
    }
}
