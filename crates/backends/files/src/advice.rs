//! What errors advise, in the same words for every backend.

/// The hint of a denied access.
pub const CHECK_PERMISSIONS: &str = "check who may read and write there, and in the directory of the remote";
/// The hint of a full file system.
pub const FREE_SPACE: &str = "free some space on the file system of the remote, or ask for a larger quota";
/// The problem where the root of a remote is not a directory.
pub const ROOT_IS_NO_DIRECTORY: &str = "it is a file, not a directory";
/// The problem of a file that is larger than allowed.
pub const FILE_TOO_LARGE: &str =
    "the file would exceed the size limit of this process (`ulimit -f`) or of the file system";
/// The problem of a path whose symlinks lead back to themselves.
pub const LOOP_OF_LINKS: &str = "the path has a loop of links";
/// The hint where a directory of a key cannot be created.
pub const PARENT_IS_NO_DIRECTORY: &str = "a directory has to be above it, and something else has that name";
/// The hint where something other than an object has the name of a key.
pub const NAME_IS_NO_OBJECT: &str = "what has this name is not a regular file: remove it";

/// The reason of a conflict during a download.
pub const SHORTENED: &str = "it was shortened while it was read";
/// The reason of a conflict during a download.
pub const WRITTEN: &str = "it was written to while it was read";
/// The reason of a failed upload.
pub const TEMPORARY_REMOVED: &str = "somebody removed the temporary file of this upload";

/// The reason of an upload that lost bytes.
pub fn wrong_length(has: u64, written: u64) -> String {
    format!("the temporary file has {has} bytes, and {written} were written")
}
