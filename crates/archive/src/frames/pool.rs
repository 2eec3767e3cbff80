//! Buffers that are used again: allocating and faulting in 4 MiB costs as much as filling it, and the allocator keeps
//! what was freed in the arena of the thread that freed it. There are never more of them than were in use at once: whoever
//! takes them bounds that.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Buffers of one capacity.
#[derive(Clone)]
pub(super) struct Pool(Arc<Inner>);

struct Inner {
    capacity: usize,
    free: Mutex<Vec<Vec<u8>>>,
}

impl Pool {
    /// Makes a pool of buffers that hold `capacity` bytes.
    pub(super) fn new(capacity: usize) -> Self {
        Self(Arc::new(Inner { capacity, free: Mutex::default() }))
    }

    /// A buffer of the pool's capacity, with whatever bytes it had before.
    pub(super) fn take(&self) -> Vec<u8> {
        let used = self.free().pop();
        used.unwrap_or_else(|| Vec::with_capacity(self.0.capacity))
    }

    /// Takes a buffer back.
    pub(super) fn give(&self, buffer: Vec<u8>) {
        if buffer.capacity() >= self.0.capacity {
            self.free().push(buffer);
        }
    }

    /// The buffer as bytes. It comes back to the pool when the last of them is dropped.
    pub(super) fn freeze(&self, buffer: Vec<u8>) -> Bytes {
        Bytes::from_owner(Frozen { buffer, pool: self.clone() })
    }

    fn free(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        // A list of buffers is whole at any moment.
        self.0.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Frozen {
    buffer: Vec<u8>,
    pool: Pool,
}

impl AsRef<[u8]> for Frozen {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.pool.give(mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_with_the_last_of_its_bytes() {
        let pool = Pool::new(16);
        let mut buffer = pool.take();
        buffer.extend_from_slice(b"content");
        let address = buffer.as_ptr();
        let bytes = pool.freeze(buffer);
        let part = bytes.slice(2..4);
        drop(bytes);
        let other = pool.take();
        assert_ne!(other.as_ptr(), address, "still in use");
        drop(part);
        let same = pool.take();
        assert_eq!(same.as_ptr(), address);
    }
}
