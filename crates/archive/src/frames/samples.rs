//! Bytes for tests.

/// Returns incompressible bytes, the same each time.
pub(super) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Returns random words, which compress like prose.
pub(super) fn text(len: usize) -> Vec<u8> {
    let order = noise(len);
    let words =
        order.iter().flat_map(|&at| format!("{:x}{} ", u32::from(at % 97) * 7919, at % 7).into_bytes());
    words.take(len).collect()
}

/// Returns the beginning of a plain tar, and then `rest`.
pub(super) fn tar(rest: &[u8]) -> Vec<u8> {
    [&[0; 512], rest].concat()
}
