//! The limits of archives.

use larder_tree::TreeLimits;

/// The limits of an archive, for packing and unpacking. Every packed archive can be unpacked. The total size is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The limits of the tree in the archive. The components of the output's own path do not count.
    pub tree: TreeLimits,
    /// The bytes between the contents of two entries: headers, padding, and the records of long names.
    pub header_bytes: u64,
    /// The binary logarithm of the largest window of a zstd frame, in bytes.
    pub zstd_window_log: u32,
    /// The largest dictionary of an xz stream, in bytes.
    pub xz_dictionary: u64,
}

impl Limits {
    /// Sets the limits of the tree.
    #[must_use]
    pub const fn with_tree(mut self, tree: TreeLimits) -> Self {
        self.tree = tree;
        self
    }

    /// Sets the bytes of headers for each entry.
    #[must_use]
    pub const fn with_header_bytes(mut self, bytes: u64) -> Self {
        self.header_bytes = bytes;
        self
    }

    /// Sets the binary logarithm of zstd's window, in bytes.
    #[must_use]
    pub const fn with_zstd_window_log(mut self, log: u32) -> Self {
        self.zstd_window_log = log;
        self
    }

    /// Sets the dictionary of xz, in bytes.
    #[must_use]
    pub const fn with_xz_dictionary(mut self, bytes: u64) -> Self {
        self.xz_dictionary = bytes;
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tree: TreeLimits::default(),
            header_bytes: 1 << 20,
            zstd_window_log: 27,
            xz_dictionary: 64 << 20,
        }
    }
}

/// Counts the bytes of names and link texts, which unpacking keeps until the end. Without a bound, a small archive could
/// exhaust the memory.
#[derive(Debug, Default)]
pub(crate) struct NameBudget {
    entries: u64,
    bytes: u64,
}

/// Bytes of names beyond [`NAME_BYTES_PER_ENTRY`] for each entry.
const NAME_BYTES: u64 = 128 << 20;
const NAME_BYTES_PER_ENTRY: u64 = 256;

impl NameBudget {
    /// Adds an entry with this many bytes of names. Returns whether it is within the bound.
    #[must_use]
    pub(crate) fn add(&mut self, bytes: usize) -> bool {
        self.entries += 1;
        self.bytes += bytes as u64;
        self.bytes <= NAME_BYTES + self.entries.saturating_mul(NAME_BYTES_PER_ENTRY)
    }
}
