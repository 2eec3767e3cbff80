//! Pins for tests.

use larder_hashing::{CommandHash, ContentHash, OutputPath};

use crate::larder_lock::LarderLock;
use crate::pin::Pin;

/// Returns a pin of one byte, made by the command `k`.
pub(crate) fn pin(path: &str, content: &str) -> Pin {
    Pin {
        path: OutputPath::new(path).unwrap(),
        content: ContentHash::parse(content).unwrap(),
        command: CommandHash::parse("k").unwrap(),
        bytes: 1,
        files: 1,
        remote: None,
    }
}

/// Returns such pins.
pub(crate) fn pins(pins: &[(&str, &str)]) -> LarderLock {
    let mut lock = LarderLock::default();
    for (path, content) in pins {
        lock.insert(pin(path, content)).unwrap();
    }
    lock
}
