//! What an archive may be at the most.

/// Bounds that packing and unpacking share, so that what is packed can be unpacked. Total size is not limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Files, directories and links, the output itself included.
    pub entries: u64,
    /// Components of a path, those of the output's own path not counted.
    pub depth: usize,
    /// The length of a path relative to the output, in bytes.
    pub path_bytes: usize,
    /// Bytes between the contents of two entries: header, padding, and the records of long names.
    pub header_bytes: u64,
    /// Binary logarithm of the window that a zstd frame may need, in bytes.
    pub zstd_window_log: u32,
    /// The dictionary that an xz stream may need, in bytes.
    pub xz_dictionary: u64,
}

impl Limits {
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
            entries: 50_000_000,
            depth: 256,
            path_bytes: 4095,
            header_bytes: 1 << 20,
            zstd_window_log: 27,
            xz_dictionary: 64 << 20,
        }
    }
}

/// Counts the bytes of names and link texts, which unpacking has to remember until the end. Without a bound, a small
/// archive could exhaust the memory with them.
#[derive(Debug, Default)]
pub(crate) struct NameBudget {
    entries: u64,
    bytes: u64,
}

/// Bytes of names beyond [`NAME_BYTES_PER_ENTRY`] for each entry.
const NAME_BYTES: u64 = 128 << 20;
const NAME_BYTES_PER_ENTRY: u64 = 256;

impl NameBudget {
    /// Adds an entry with so many bytes of names. Whether it is within the bound.
    #[must_use]
    pub(crate) fn add(&mut self, bytes: usize) -> bool {
        self.entries += 1;
        self.bytes += bytes as u64;
        self.bytes <= NAME_BYTES + self.entries.saturating_mul(NAME_BYTES_PER_ENTRY)
    }
}
