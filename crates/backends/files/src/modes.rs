//! The modes of what an upload creates.

/// The bits of a directory's mode without setuid, which means nothing on a directory.
const OF_DIRECTORY: u32 = 0o3777;
const OF_FILE: u32 = 0o666;
/// The owner can always use what an upload creates. Without these bits no sweep could remove it.
const OWNER_OF_DIRECTORY: u32 = 0o700;
const OWNER_OF_FILE: u32 = 0o600;

/// The modes of new directories and files. Whoever shares the root shares what is in it, whatever the umask is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Modes {
    /// The mode of directories.
    pub directory: u32,
    /// The mode of files.
    pub file: u32,
}

impl Modes {
    /// Takes the modes from the mode of the root.
    pub const fn of_root(mode: u32) -> Self {
        Self { directory: (mode & OF_DIRECTORY) | OWNER_OF_DIRECTORY, file: (mode & OF_FILE) | OWNER_OF_FILE }
    }

    /// The mode that a directory gets which lacks bits of [`Modes::directory`], and has the mode `mode`.
    pub const fn completed(self, mode: u32) -> u32 {
        (mode & OF_DIRECTORY) | self.directory
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_decides_and_the_owner_can_always_work() {
        assert_eq!(Modes::of_root(0o42775), Modes { directory: 0o2775, file: 0o664 });
        assert_eq!(Modes::of_root(0o555), Modes { directory: 0o755, file: 0o644 });
        assert_eq!(Modes::of_root(0o2770).completed(0o41711), 0o3771);
    }
}
