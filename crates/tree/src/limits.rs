//! Limits of trees.

/// The limits of a tree. The defaults are also the limits for unpacking an archive. So a tree that can be
/// packed with the defaults can also be unpacked with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TreeLimits {
    /// The number of files, directories and links, including the root.
    pub entries: u64,
    /// The number of components of a path relative to the root.
    pub depth: usize,
    /// The length of a path relative to the root, in bytes.
    pub path_bytes: usize,
}

impl TreeLimits {
    /// Sets the number of entries.
    #[must_use]
    pub const fn with_entries(mut self, entries: u64) -> Self {
        self.entries = entries;
        self
    }

    /// Sets the number of components of a path.
    #[must_use]
    pub const fn with_depth(mut self, depth: usize) -> Self {
        self.depth = depth;
        self
    }

    /// Sets the length of a path, in bytes.
    #[must_use]
    pub const fn with_path_bytes(mut self, bytes: usize) -> Self {
        self.path_bytes = bytes;
        self
    }
}

impl Default for TreeLimits {
    fn default() -> Self {
        Self { entries: 50_000_000, depth: 256, path_bytes: 4095 }
    }
}
