//! The memory that all transfers of a process share.
//!
//! A large transfer alone uses all cores and several connections, and needs most of the memory that a process may take.
//! Two of them at once would need twice as much and be no faster, so large transfers take turns. Small ones need little,
//! and mostly wait for the remote, so several run at once.

use tokio::sync::{Semaphore, SemaphorePermit};

const MIB: u64 = 1 << 20;

/// What the buffers of all transfers may take together, in MiB. A transfer that could take more by its size takes all
/// of it: its own buffers are bounded by about as much.
const BUDGET: u32 = 128;

/// What a transfer of any size needs, in MiB: codecs, threads, connections.
const BASE: u64 = 4;

/// How often a byte of a small output may be in memory at once: in a piece, in its frame, and in a part of the upload.
const COPIES: u64 = 3;

/// A small object may hold a large output that compresses well. Then a piece of each frame that is being decompressed
/// is in memory. In MiB.
const PIECES_OF_SMALL_OBJECT: u64 = 32;

/// An object of up to this size, in bytes, holds no more than a few pieces.
const TINY_OBJECT: u64 = 1024;

/// One budget for the process, whatever number of storages it has open.
static MEMORY: Semaphore = Semaphore::const_new(BUDGET as usize);

/// The permission to transfer one output. Its memory is free again when this is dropped.
#[must_use]
#[derive(Debug)]
pub(crate) struct Turn {
    _permit: SemaphorePermit<'static>,
}

/// Waits until there is memory to upload an output with so many bytes of content.
///
/// Whoever holds a turn never waits for another one: so everybody gets a turn in the end.
pub(crate) async fn turn_to_upload(content_bytes: u64) -> Turn {
    turn(&MEMORY, upload_weight(content_bytes)).await
}

/// Waits until there is memory to fetch an object of so many bytes. Without a size, it may be large.
pub(crate) async fn turn_to_download(object_bytes: Option<u64>) -> Turn {
    turn(&MEMORY, object_bytes.map_or(BUDGET, download_weight)).await
}

async fn turn(memory: &'static Semaphore, weight: u32) -> Turn {
    let permit = memory.acquire_many(weight).await.expect("the budget is never closed");
    Turn { _permit: permit }
}

/// In MiB.
fn upload_weight(content_bytes: u64) -> u32 {
    weight(BASE.saturating_add(content_bytes.div_ceil(MIB).saturating_mul(COPIES)))
}

/// In MiB.
fn download_weight(object_bytes: u64) -> u32 {
    let pieces = if object_bytes > TINY_OBJECT { PIECES_OF_SMALL_OBJECT } else { BASE };
    upload_weight(object_bytes).max(weight(pieces))
}

fn weight(mib: u64) -> u32 {
    u32::try_from(mib).unwrap_or(BUDGET).min(BUDGET)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn memory() -> &'static Semaphore {
        Box::leak(Box::new(Semaphore::new(BUDGET as usize)))
    }

    #[test]
    fn small_transfers_run_at_once_and_large_ones_take_turns() {
        let memory = memory();
        let small: Vec<Turn> =
            (0..4).map(|_| turn(memory, upload_weight(MIB)).now_or_never().unwrap()).collect();
        assert!(turn(memory, upload_weight(u64::MAX)).now_or_never().is_none(), "small ones are under way");
        drop(small);
        let large = turn(memory, upload_weight(1 << 30)).now_or_never().unwrap();
        assert!(turn(memory, upload_weight(0)).now_or_never().is_none(), "a large one is under way");
        drop(large);
        let _small = turn(memory, upload_weight(0)).now_or_never().unwrap();
    }

    #[test]
    fn a_large_transfer_is_not_overtaken_for_ever() {
        let memory = memory();
        let first = turn(memory, upload_weight(MIB)).now_or_never().unwrap();
        let mut large = Box::pin(turn(memory, upload_weight(1 << 30)));
        assert!(large.as_mut().now_or_never().is_none());
        // There is room for it, but the large one was first.
        let mut second = Box::pin(turn(memory, upload_weight(MIB)));
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        let large = large.now_or_never().expect("its turn has come");
        assert!(second.as_mut().now_or_never().is_none());
        drop(large);
        assert!(second.now_or_never().is_some());
    }

    #[test]
    fn an_object_of_unknown_content_needs_room_for_pieces() {
        assert_eq!(download_weight(100), 7);
        assert_eq!(download_weight(5_000), 32);
        assert_eq!(download_weight(20 * MIB), 64);
        assert_eq!(download_weight(u64::MAX), BUDGET);
        assert!(4 * download_weight(5_000) <= BUDGET, "four small transfers fit");
    }
}
