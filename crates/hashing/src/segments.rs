//! The BLAKE3 digest of a large file that several threads read at the same time.
//!
//! One thread cannot read faster than memory allows, however many cores hash. BLAKE3 is a tree over chunks of 1 KiB. An
//! aligned segment of a power of two of chunks is a subtree of its own. So each thread reads and hashes segments while
//! they are in its cache. (Sections 2.1 and 5.3 of the paper, <https://github.com/BLAKE3-team/BLAKE3-specs>. The interface
//! is `blake3::hazmat`.)
//!
//! On slow storage one thread reads, in order. Others would only wait, and block the threads for other work. Some file
//! systems also end their read-ahead when reads are out of order.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use blake3::Hasher;
use blake3::hazmat::{ChainingValue, HasherExt as _, Mode, merge_subtrees_non_root, merge_subtrees_root};
use larder_tree::TreeError;
use rayon::prelude::*;

use crate::digest::Digest;

/// The length of a segment, in bytes. It is a power of two, and small enough to stay in the cache until it is hashed.
pub(crate) const SEGMENT: usize = 512 << 10;

/// The largest number of threads that read one file. More threads would wait for memory, and each has a buffer.
const MAX_READERS: usize = 16;

/// How many segments are hashed in any order before their hashes are merged. Threads wait for each other only at the end
/// of such a window, once in 128 MiB.
const WINDOW: u64 = 256;

/// Storage is slow if it takes longer for a segment. That is less than 256 MB/s.
const SLOW: Duration = Duration::from_millis(2);

/// Computes the digest of `size` bytes, which must be more than one segment, on the threads of the current rayon pool. `read`
/// replaces the content of a buffer by a number of bytes at an offset.
pub(crate) fn digest(
    size: u64,
    read: impl Fn(&mut Vec<u8>, usize, u64) -> Result<(), TreeError> + Sync,
) -> Result<Digest, TreeError> {
    let segments = size.div_ceil(SEGMENT as u64);
    let mut buffers = vec![Vec::new(); rayon::current_num_threads().min(MAX_READERS)];
    let mut tree = SubtreeStack::default();
    let (mut is_fast, mut next) = (false, 0);
    while next < segments {
        let (readers, wanted) = if is_fast { (buffers.len(), WINDOW) } else { (1, 1) };
        let window = SegmentWindow::new(&read, size, next, segments.min(next.saturating_add(wanted)));
        buffers[..readers].par_iter_mut().try_for_each(|buffer| window.work(buffer))?;
        let taken = window.into_taken();
        (is_fast, next) = (!taken.is_slow, taken.next);
        taken.hashes.into_iter().for_each(|(_, hash)| tree.push(hash));
    }
    Ok(tree.finish())
}

/// Segments that threads take one after the other, so that the file is read almost in order.
struct SegmentWindow<'a, R> {
    read: &'a R,
    size: u64,
    taken: Mutex<TakenSegments>,
}

struct TakenSegments {
    /// The number of the next segment, and of the first one behind the window.
    next: u64,
    end: u64,
    /// Whether a segment took long. Then no more are taken.
    is_slow: bool,
    /// Each with the number of its segment.
    hashes: Vec<(u64, ChainingValue)>,
}

impl<'a, R: Fn(&mut Vec<u8>, usize, u64) -> Result<(), TreeError>> SegmentWindow<'a, R> {
    fn new(read: &'a R, size: u64, next: u64, end: u64) -> Self {
        Self {
            read,
            size,
            taken: Mutex::new(TakenSegments { next, end, is_slow: false, hashes: Vec::new() }),
        }
    }

    /// Reads and hashes segments until all are taken, or until one fails or takes long.
    fn work(&self, buffer: &mut Vec<u8>) -> Result<(), TreeError> {
        while let Some(number) = self.take() {
            let offset = number * SEGMENT as u64;
            let len = usize::try_from(self.size - offset).unwrap_or(SEGMENT).min(SEGMENT);
            let begun = Instant::now();
            let read = (self.read)(buffer, len, offset);
            let is_slow = begun.elapsed() > SLOW;
            if is_slow || read.is_err() {
                let mut taken = self.taken();
                taken.end = taken.next;
                taken.is_slow |= is_slow;
            }
            read?;
            let hash = Hasher::new().set_input_offset(offset).update(buffer).finalize_non_root();
            self.taken().hashes.push((number, hash));
        }
        Ok(())
    }

    fn take(&self) -> Option<u64> {
        let mut taken = self.taken();
        let number = taken.next;
        (number < taken.end).then(|| {
            taken.next += 1;
            number
        })
    }

    fn taken(&self) -> MutexGuard<'_, TakenSegments> {
        // A panic cannot leave it half-changed.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the segments that were taken, in order.
    fn into_taken(self) -> TakenSegments {
        let mut taken = self.taken.into_inner().unwrap_or_else(PoisonError::into_inner);
        taken.hashes.sort_unstable_by_key(|(number, _)| *number);
        taken
    }
}

/// Subtrees whose parents are not complete yet, from left to right. Each is larger than the next.
#[derive(Default)]
struct SubtreeStack {
    subtrees: Vec<ChainingValue>,
    segments: u64,
}

impl SubtreeStack {
    /// Takes the next segment.
    fn push(&mut self, hash: ChainingValue) {
        // There is one subtree for each bit of the number of segments. They are merged only when another segment follows,
        // because the root, which comes last, is merged in another way.
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

    /// Returns the digest of two or more segments.
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
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn segments_give_the_digest_of_the_whole() {
        let cycle: Vec<u8> = (0..=250).cycle().take(251 + SEGMENT).collect();
        // No segment is like another.
        let read = |buffer: &mut Vec<u8>, len: usize, offset: u64| {
            let number = offset / SEGMENT as u64;
            let start = usize::try_from(number % 251).unwrap();
            buffer.clear();
            buffer.extend_from_slice(&cycle[start..start + len]);
            buffer.iter_mut().zip(number.to_le_bytes()).for_each(|(to, byte)| *to ^= byte);
            Ok(())
        };
        let mut sizes: Vec<usize> = (2..20).map(|segments| segments * SEGMENT).collect();
        for more in [1, 1024, 1025, SEGMENT - 1] {
            sizes.extend([1, 2, 3, 4, 7, 8].map(|segments| segments * SEGMENT + more));
        }
        let window = usize::try_from(WINDOW).unwrap();
        sizes.extend([window * SEGMENT, window * SEGMENT + 1, (2 * window + 5) * SEGMENT + 1025]);
        for size in sizes {
            let mut hasher = Hasher::new();
            let mut buffer = Vec::new();
            for offset in (0..size).step_by(SEGMENT) {
                let len = SEGMENT.min(size - offset);
                read(&mut buffer, len, offset as u64).unwrap();
                hasher.update(&buffer);
            }
            let whole = Digest::new(hasher.finalize().as_bytes());
            assert_eq!(digest(size as u64, read).unwrap(), whole, "{size} bytes");
        }
    }

    #[test]
    fn nothing_is_read_after_a_failure() {
        let reads = AtomicU64::new(0);
        let read = |_: &mut Vec<u8>, _: usize, _: u64| {
            reads.fetch_add(1, Ordering::Relaxed);
            Err(TreeError::Cancelled)
        };
        assert!(matches!(digest(u64::MAX, read), Err(TreeError::Cancelled)));
        let window = SegmentWindow::new(&read, u64::MAX, 0, WINDOW);
        assert!(matches!(window.work(&mut Vec::new()), Err(TreeError::Cancelled)));
        window.work(&mut Vec::new()).unwrap();
        assert_eq!(reads.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_slow_storage_is_read_in_order_by_one_thread() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
        let end = AtomicU64::new(0);
        let read = |buffer: &mut Vec<u8>, len: usize, offset: u64| {
            // As long as a slow storage takes.
            std::thread::sleep(2 * SLOW);
            buffer.resize(len, 0);
            assert_eq!(end.swap(offset + len as u64, Ordering::Relaxed), offset);
            Ok(())
        };
        let size = 20 * SEGMENT as u64 + 1;
        pool.install(|| digest(size, read)).unwrap();
        assert_eq!(end.into_inner(), size);
    }

    #[test]
    fn a_storage_that_becomes_slow_loses_its_readers() {
        let read = |buffer: &mut Vec<u8>, len: usize, _: u64| {
            std::thread::sleep(2 * SLOW);
            buffer.resize(len, 0);
            Ok(())
        };
        let window = SegmentWindow::new(&read, u64::MAX, 5, 5 + WINDOW);
        window.work(&mut Vec::new()).unwrap();
        window.work(&mut Vec::new()).unwrap();
        let taken = window.into_taken();
        assert_eq!((taken.next, taken.hashes.len(), taken.is_slow), (6, 1, true));
    }
}
