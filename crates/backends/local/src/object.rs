//! Objects as files.

use std::time::{Duration, SystemTime};

use larder_backend::{Key, ObjectMeta, Version};
use rustix::fs::{FileType, Stat};

/// A number of `stat` that is not negative. Its type differs between systems.
fn unsigned(number: impl TryInto<u64>) -> u64 {
    number.try_into().unwrap_or(0)
}

/// When a file was modified.
pub(crate) fn modified(stat: &Stat) -> SystemTime {
    let since_epoch =
        Duration::from_secs(unsigned(stat.st_mtime)) + Duration::from_nanos(unsigned(stat.st_mtime_nsec));
    SystemTime::UNIX_EPOCH + since_epoch
}

pub(crate) fn size(stat: &Stat) -> u64 {
    unsigned(stat.st_size)
}

/// Describes an object. Its version is the identity of the file, its length, and the times at which it and its inode were
/// changed.
pub(crate) fn describe(key: Key, stat: &Stat) -> ObjectMeta {
    let version = Version::new(format!(
        "{}-{}-{}-{}.{:09}-{}.{:09}",
        stat.st_dev,
        stat.st_ino,
        stat.st_size,
        stat.st_mtime,
        stat.st_mtime_nsec,
        stat.st_ctime,
        stat.st_ctime_nsec
    ));
    ObjectMeta::new(key, size(stat), modified(stat)).with_version(version)
}

/// Whether a file is an object.
pub(crate) fn is_object(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}
