//! Memory that is used again.

use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// The buffers of one transfer, used again by one piece after the other, for pieces of a mebibyte or so. An allocator that
/// gets back blocks of such sizes keeps them in the arenas of whichever threads freed them, and takes more of them for
/// the next pieces than are in use.
///
/// Clones share their buffers. There are never more of them than were in use at once.
///
/// ```
/// use larder_backend::BufferPool;
///
/// let pool = BufferPool::default();
/// let mut buffer = pool.take();
/// buffer.extend_from_slice(b"what was read");
/// assert_eq!(pool.freeze(buffer), "what was read");
/// assert!(pool.take().is_empty());
/// ```
#[derive(Clone, Default)]
pub struct BufferPool {
    idle: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl BufferPool {
    /// An empty buffer, with the capacity that its last user gave it.
    #[must_use]
    pub fn take(&self) -> Vec<u8> {
        self.idle().pop().unwrap_or_default()
    }

    /// The buffer as bytes. It is idle again when the last of them is dropped.
    #[must_use]
    pub fn freeze(&self, buffer: Vec<u8>) -> Bytes {
        Bytes::from_owner(Frozen { buffer, pool: self.clone() })
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        // A list of buffers is whole at any moment.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferPool").field("idle", &self.idle().len()).finish()
    }
}

struct Frozen {
    buffer: Vec<u8>,
    pool: BufferPool,
}

impl AsRef<[u8]> for Frozen {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let mut buffer = mem::take(&mut self.buffer);
        buffer.clear();
        self.pool.idle().push(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_after_the_last_of_its_bytes() {
        let pool = BufferPool::default();
        let piece = |content: &[u8]| {
            let mut buffer = pool.take();
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
}
