//! The format of a file of the cache.
//!
//! A header is followed by blocks. The entries are in the order of a walk, so that one pass over the file and one over the tree
//! meet. Each block has a checksum. A damaged or truncated file is as good as its intact beginning.

use std::cmp::Ordering;
use std::io::{self, Read};

use crate::file::FileState;

/// The beginning of a file. A later format has another one.
const MAGIC: &[u8] = b"larder-stat 1\n";

/// The length of a digest in bytes.
pub(crate) const DIGEST_LEN: usize = 32;

/// A block is complete when it has this many bytes. Then one entry more or less changes one block, and few bytes are read in
/// vain.
pub(super) const BLOCK: usize = 64 << 10;

/// The largest block that is read, in bytes: an entry has a path of up to 64 KiB.
const MAX_BLOCK: usize = BLOCK + (u16::MAX as usize) + 256;

/// A file as the cache knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CachedFile {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    pub(crate) digest: [u8; DIGEST_LEN],
}

impl CachedFile {
    pub(crate) fn new(state: &FileState, digest: [u8; DIGEST_LEN]) -> Self {
        let FileState { inode, size, modified, changed, .. } = *state;
        Self { inode, size, modified, changed, digest }
    }

    /// Returns whether a file in this state is the one that the cache knows. Device numbers are not compared, because they
    /// change on NFS, btrfs and overlayfs.
    pub(crate) fn matches(&self, state: &FileState) -> bool {
        *self == Self::new(state, self.digest)
    }
}

/// Returns the header of a file for the tree `key`, recorded by a pass that began at `clock`.
pub(super) fn header(key: &[u8], clock: (i64, i64)) -> Vec<u8> {
    let mut header = MAGIC.to_vec();
    header.extend_from_slice(&(key.len() as u64).to_le_bytes());
    header.extend_from_slice(key);
    header.extend_from_slice(&clock.0.to_le_bytes());
    header.extend_from_slice(&clock.1.to_le_bytes());
    header.extend_from_slice(&crc32c::crc32c(&header).to_le_bytes());
    header
}

/// Reads the header of a file for the tree `key`. Returns the clock, and `None` if the file is of another tree or damaged.
pub(super) fn read_header(file: &mut impl Read, key: &[u8]) -> Option<(i64, i64)> {
    let mut found = vec![0; header(key, (0, 0)).len()];
    file.read_exact(&mut found).ok()?;
    let clock = &found[found.len() - 20..];
    let clock =
        (i64::from_le_bytes(clock[..8].try_into().ok()?), i64::from_le_bytes(clock[8..16].try_into().ok()?));
    (header(key, clock) == found).then_some(clock)
}

/// The length and the checksum of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockMark {
    len: u32,
    checksum: u32,
}

impl BlockMark {
    pub(super) const LEN: u64 = 8;

    pub(super) fn of(block: &[u8]) -> Self {
        let len = u32::try_from(block.len()).expect("a block is much smaller than 4 GiB");
        Self { len, checksum: crc32c::crc32c(block) }
    }

    /// The length of the block with its mark, in bytes.
    pub(super) fn total_len(self) -> u64 {
        Self::LEN + u64::from(self.len)
    }

    pub(super) fn to_bytes(self) -> [u8; 8] {
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&self.len.to_le_bytes());
        bytes[4..].copy_from_slice(&self.checksum.to_le_bytes());
        bytes
    }
}

/// Replaces the contents of `block` by the next block. Returns `None` at the end, and where the file is damaged.
pub(super) fn read_block(file: &mut impl Read, block: &mut Vec<u8>) -> Option<BlockMark> {
    let mut mark = [0; 8];
    file.read_exact(&mut mark).ok()?;
    let [a, b, c, d, checksum @ ..] = mark;
    let mark = BlockMark { len: u32::from_le_bytes([a, b, c, d]), checksum: u32::from_le_bytes(checksum) };
    let len = usize::try_from(mark.len).ok().filter(|len| (1..=MAX_BLOCK).contains(len))?;
    block.clear();
    block.try_reserve_exact(len).ok()?;
    block.resize(len, 0);
    file.read_exact(block).ok()?;
    (BlockMark::of(block) == mark).then_some(mark)
}

/// Appends an entry to a block. `previous` is the path of the entry before it, which is empty at the beginning of a block.
pub(super) fn write_entry(
    block: &mut Vec<u8>,
    previous: &[u8],
    path: &[u8],
    file: &CachedFile,
) -> io::Result<()> {
    let shared = previous.iter().zip(path).take_while(|(a, b)| a == b).count().min(usize::from(u16::MAX));
    let rest = &path[shared..];
    let too_long = |_| io::Error::from(io::ErrorKind::InvalidInput);
    block.extend_from_slice(&u16::try_from(shared).map_err(too_long)?.to_le_bytes());
    block.extend_from_slice(&u16::try_from(rest.len()).map_err(too_long)?.to_le_bytes());
    block.extend_from_slice(rest);
    block.extend_from_slice(&file.inode.to_le_bytes());
    block.extend_from_slice(&file.size.to_le_bytes());
    for time in [file.modified, file.changed] {
        block.extend_from_slice(&time.0.to_le_bytes());
        block.extend_from_slice(&time.1.to_le_bytes());
    }
    block.extend_from_slice(&file.digest);
    Ok(())
}

/// Takes an entry from the beginning of `block`. `path` is that of the entry before it, and becomes that of this one.
pub(super) fn read_entry(block: &mut &[u8], path: &mut Vec<u8>) -> Option<CachedFile> {
    let shared = usize::from(u16::from_le_bytes(take(block)?));
    let rest = usize::from(u16::from_le_bytes(take(block)?));
    let (rest, after) = block.split_at_checked(rest)?;
    *block = after;
    if shared > path.len() {
        return None;
    }
    path.truncate(shared);
    path.extend_from_slice(rest);
    let inode = u64::from_le_bytes(take(block)?);
    let size = u64::from_le_bytes(take(block)?);
    let mut time = || Some((i64::from_le_bytes(take(block)?), i64::from_le_bytes(take(block)?)));
    let (modified, changed) = (time()?, time()?);
    Some(CachedFile { inode, size, modified, changed, digest: take(block)? })
}

fn take<const N: usize>(block: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, rest) = block.split_first_chunk()?;
    *block = rest;
    Some(*bytes)
}

/// Compares two paths in the order of a walk: component by component, names by their bytes.
pub(super) fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let shared = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let rank =
        |byte: Option<&u8>| byte.map_or(0, |byte| if *byte == b'/' { 1 } else { u16::from(*byte) + 2 });
    rank(a.get(shared)).cmp(&rank(b.get(shared)))
}
