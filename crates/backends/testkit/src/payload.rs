//! Bytes for tests.

use bytes::Bytes;

/// Generates `len` incompressible bytes. The same seed gives the same bytes. No two parts are equal, so that a test notices
/// swapped or lost parts.
pub fn payload(seed: u64, len: usize) -> Bytes {
    // SplitMix64: https://prng.di.unimi.it/splitmix64.c
    let mut state = seed;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    bytes.truncate(len);
    bytes.into()
}
