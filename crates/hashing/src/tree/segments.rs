//! The BLAKE3 digest of a large file, which all threads read at the same time.
//!
//! One thread reads about as fast as memory gives, and no faster however many cores hash what it has read. BLAKE3 is a tree
//! over chunks of 1 KiB: an aligned segment of a power of two of them is a subtree of its own, so that each thread reads and
//! hashes segments by itself, while they are in its cache. (Sections 2.1 and 5.3 of the paper,
//! <https://github.com/BLAKE3-team/BLAKE3-specs>; the interface is `blake3::hazmat`.)

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use blake3::Hasher;
use blake3::hazmat::{ChainingValue, HasherExt as _, Mode, merge_subtrees_non_root, merge_subtrees_root};
use rayon::prelude::*;

use crate::digest::Digest;
use crate::error::HashError;

/// The length of a segment, in bytes: a power of two, and little enough to be still in the cache when it is hashed.
pub(super) const SEGMENT: usize = 512 << 10;

/// So many threads read a file at most: more of them wait for memory, and each has a buffer.
const MAX_READERS: usize = 16;

/// How many segments are hashed in any order before their hashes are merged. A thread may wait for the last one of the
/// others: once in 128 MiB.
const WINDOW: u64 = 256;

/// The digest of `size` bytes, which `read` gives: it fills the buffer with those at an offset. There is more than one
/// segment of them. Runs on the threads of the current rayon pool.
pub(super) fn digest(
    size: u64,
    read: impl Fn(&mut [u8], u64) -> Result<(), HashError> + Sync,
) -> Result<Digest, HashError> {
    let segments = size.div_ceil(SEGMENT as u64);
    let readers = rayon::current_num_threads().min(MAX_READERS);
    let mut buffers = vec![Vec::new(); readers];
    let mut tree = Tree::default();
    let mut first = 0;
    while first < segments {
        let window = Window {
            read: &read,
            size,
            end: segments.min(first + WINDOW),
            next: AtomicU64::new(first),
            hashes: Mutex::default(),
        };
        buffers.par_iter_mut().try_for_each(|buffer| window.work(buffer))?;
        window.into_hashes().into_iter().for_each(|(_, hash)| tree.push(hash));
        first += WINDOW;
    }
    Ok(tree.finish())
}

/// Segments that threads take one after the other, so that the file is read about in order.
struct Window<'a, R> {
    read: &'a R,
    size: u64,
    end: u64,
    /// The number of the next segment that nobody has taken.
    next: AtomicU64,
    /// With the number of the segment.
    hashes: Mutex<Vec<(u64, ChainingValue)>>,
}

impl<R: Fn(&mut [u8], u64) -> Result<(), HashError>> Window<'_, R> {
    fn work(&self, buffer: &mut Vec<u8>) -> Result<(), HashError> {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.end {
                return Ok(());
            }
            let offset = number * SEGMENT as u64;
            let len = usize::try_from(self.size - offset).unwrap_or(SEGMENT).min(SEGMENT);
            buffer.resize(len, 0);
            if let Err(error) = (self.read)(buffer, offset) {
                // The others need not go on.
                self.next.store(self.end, Ordering::Relaxed);
                return Err(error);
            }
            let hash = Hasher::new().set_input_offset(offset).update(buffer).finalize_non_root();
            self.hashes.lock().unwrap_or_else(PoisonError::into_inner).push((number, hash));
        }
    }

    /// All of them, in order.
    fn into_hashes(self) -> Vec<(u64, ChainingValue)> {
        let mut hashes = self.hashes.into_inner().unwrap_or_else(PoisonError::into_inner);
        hashes.sort_unstable_by_key(|(number, _)| *number);
        hashes
    }
}

/// Subtrees whose parents are not complete yet, from left to right. All but the last are complete themselves, and each is
/// larger than the next.
#[derive(Default)]
struct Tree {
    subtrees: Vec<ChainingValue>,
    segments: u64,
}

impl Tree {
    /// Takes the next segment.
    fn push(&mut self, hash: ChainingValue) {
        // There is one subtree for each bit of the number of segments. That they are merged only now, when another one
        // follows, leaves the root to the end: it is merged in another way.
        while self.subtrees.len() > self.segments.count_ones() as usize {
            self.merge();
        }
        self.subtrees.push(hash);
        self.segments += 1;
    }

    fn merge(&mut self) {
        if let (Some(right), Some(left)) = (self.subtrees.pop(), self.subtrees.pop()) {
            self.subtrees.push(merge_subtrees_non_root(&left, &right, Mode::Hash));
        }
    }

    /// The digest of two segments or more.
    fn finish(mut self) -> Digest {
        while self.subtrees.len() > 2 {
            self.merge();
        }
        let [left, right] = self.subtrees[..] else { unreachable!("there are at least two segments") };
        Digest::new(merge_subtrees_root(&left, &right, Mode::Hash).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_give_the_digest_of_the_whole() {
        let cycle: Vec<u8> = (0..=250).cycle().take(251 + SEGMENT).collect();
        // No segment is like another.
        let read = |buffer: &mut [u8], offset: u64| {
            let number = offset / SEGMENT as u64;
            let start = usize::try_from(number % 251).unwrap();
            buffer.copy_from_slice(&cycle[start..start + buffer.len()]);
            buffer[..8].iter_mut().zip(number.to_le_bytes()).for_each(|(to, byte)| *to ^= byte);
            Ok(())
        };
        let mut sizes: Vec<usize> = (2..20).map(|segments| segments * SEGMENT).collect();
        for more in [8, 1024, 1032, SEGMENT - 1] {
            sizes.extend([1, 2, 3, 4, 7, 8].map(|segments| segments * SEGMENT + more));
        }
        let window = usize::try_from(WINDOW).unwrap();
        sizes.extend([window * SEGMENT, window * SEGMENT + 8, (2 * window + 5) * SEGMENT + 1032]);
        for size in sizes {
            let mut hasher = Hasher::new();
            let mut buffer = vec![0; SEGMENT];
            for offset in (0..size).step_by(SEGMENT) {
                let len = SEGMENT.min(size - offset);
                read(&mut buffer[..len], offset as u64).unwrap();
                hasher.update(&buffer[..len]);
            }
            let whole = Digest::new(hasher.finalize().as_bytes());
            assert_eq!(digest(size as u64, read).unwrap(), whole, "{size} bytes");
        }
    }

    #[test]
    fn nothing_is_read_long_after_a_failure() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
        let reads = AtomicU64::new(0);
        let read = |_: &mut [u8], offset: u64| {
            reads.fetch_add(1, Ordering::Relaxed);
            if offset == 0 { Err(HashError::Cancelled) } else { Ok(()) }
        };
        let failed = pool.install(|| digest(u64::MAX, read));
        assert!(matches!(failed, Err(HashError::Cancelled)), "{failed:?}");
        assert!(reads.into_inner() <= WINDOW);
    }
}
