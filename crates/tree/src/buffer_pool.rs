//! A pool of reusable buffers.

use std::collections::TryReserveError;
use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Reusable buffers of about a mebibyte each.
///
/// Allocating 4 MiB takes as long as filling them. In addition, an allocator keeps a freed block in the arena
/// of the thread that freed it. The process then holds more memory than it uses.
///
/// Clones share their buffers. The pool never has more buffers than were in use at once.
///
/// ```
/// use larder_tree::BufferPool;
///
/// let pool = BufferPool::default();
/// let mut buffer = pool.take(4096)?;
/// buffer.clear();
/// buffer.extend_from_slice(b"content");
/// let bytes = pool.freeze(buffer);
/// assert_eq!(bytes, "content");
/// # Ok::<(), std::collections::TryReserveError>(())
/// ```
#[derive(Clone, Default)]
pub struct BufferPool {
    idle: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl BufferPool {
    /// Returns a buffer with room for `capacity` bytes. It may still contain the bytes of its last use,
    /// because overwriting them is cheaper than filling it with zeros.
    ///
    /// # Errors
    ///
    /// There is no memory for a new buffer.
    pub fn take(&self, capacity: usize) -> Result<Vec<u8>, TryReserveError> {
        // The lock must not be held while memory is allocated.
        let used = self.idle().pop();
        let mut buffer = used.unwrap_or_default();
        buffer.try_reserve_exact(capacity.saturating_sub(buffer.len()))?;
        Ok(buffer)
    }

    /// Takes a buffer back.
    pub fn put_back(&self, buffer: Vec<u8>) {
        self.idle().push(buffer);
    }

    /// Turns a buffer into bytes. The pool gets it back when the last of them is dropped.
    #[must_use]
    pub fn freeze(&self, buffer: Vec<u8>) -> Bytes {
        Bytes::from_owner(PooledBytes { buffer, pool: self.clone() })
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        // A panic cannot leave the list half-changed.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferPool").field("idle", &self.idle().len()).finish()
    }
}

struct PooledBytes {
    buffer: Vec<u8>,
    pool: BufferPool,
}

impl AsRef<[u8]> for PooledBytes {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for PooledBytes {
    fn drop(&mut self) {
        self.pool.put_back(mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_after_the_last_of_its_bytes() {
        let pool = BufferPool::default();
        let piece = |content: &[u8]| {
            let mut buffer = pool.take(16).unwrap();
            buffer.clear();
            buffer.extend_from_slice(content);
            pool.freeze(buffer)
        };
        let first = piece(b"first");
        let address = first.as_ptr();
        let part = first.slice(1..2);
        drop(first);
        let second = piece(b"second");
        assert_ne!(second.as_ptr(), address, "still in use");
        drop(part);
        let third = piece(b"3rd");
        assert_eq!((third.as_ptr(), &*third), (address, &b"3rd"[..]));
    }

    #[test]
    fn a_buffer_has_the_wanted_room_or_is_an_error() {
        let pool = BufferPool::default();
        pool.put_back(vec![7; 10]);
        let buffer = pool.take(100).unwrap();
        assert!(buffer == [7; 10] && buffer.capacity() >= 100);
        pool.take(usize::MAX / 2).unwrap_err();
    }
}
