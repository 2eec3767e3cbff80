//! Damaged frames.

use crate::frames::piece::PIECE;
use crate::frames::samples::{noise, text};
use crate::frames::tests::support::{FORMATS, frame, is_damage, read, run, stored_frame};

#[test]
#[ignore = "needs python3, tar, zstd, gzip, xz and bzip2: `cargo xtask test` runs it where they are"]
fn every_truncation_is_found() {
    for compression in FORMATS.iter().filter(|compression| **compression != "none") {
        for piece in [&b"piece"[..], &text(700), &noise(300_000)] {
            let whole = frame(compression, piece);
            let step = whole.len().div_ceil(300);
            for len in (0..whole.len()).step_by(step).chain([whole.len() - 1]) {
                assert!(is_damage(&read(&whole[..len])), "{compression} {len}");
            }
            // A truncated second frame after a whole first one.
            let twice = whole.repeat(2);
            for len in [1, 4, 5, 11, whole.len() - 1] {
                assert!(is_damage(&read(&twice[..whole.len() + len])), "{compression} {len}");
            }
        }
    }
    // Frames that are decompressed as a stream.
    for writer in ["zstd -1", "zstd -1 --no-check"] {
        let whole = run(writer, &text(10_000_000));
        for len in [7, whole.len() / 2, whole.len() - 5, whole.len() - 1] {
            assert!(is_damage(&read(&whole[..len])), "{writer} {len}");
        }
    }
}

#[test]
#[ignore = "needs python3, tar, zstd, gzip, xz and bzip2: `cargo xtask test` runs it where they are"]
fn every_flipped_bit_is_found_or_changes_nothing() {
    for compression in FORMATS.iter().filter(|compression| **compression != "none") {
        let piece = text(150);
        let whole = frame(compression, &piece);
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // The time and the operating system in a gzip header have no meaning.
            let read = read(&flipped);
            assert!(is_damage(&read) || read.unwrap() == piece, "{compression} bit {bit}");
        }
    }
    // Each frame has its own checksum. Stored bytes have no other protection.
    for compression in ["zstd", "gzip"] {
        let whole = frame(compression, &noise(PIECE));
        for broken in 0..3 {
            let mut archive = whole.repeat(3);
            archive[broken * whole.len() + PIECE / 2] ^= 1;
            assert!(is_damage(&read(&archive)), "{compression} frame {broken}");
        }
    }
    let mut streamed = run("zstd -1", &noise(10_000_000));
    streamed[7_000_000] ^= 1;
    assert!(is_damage(&read(&streamed)));
}

#[test]
#[ignore = "needs python3, tar, zstd, gzip, xz and bzip2: `cargo xtask test` runs it where they are"]
fn nothing_may_follow_the_last_frame() {
    for compression in FORMATS.iter().filter(|compression| **compression != "none") {
        let whole = frame(compression, &text(1000));
        for garbage in
            [&[0][..], &[0; 3], &[0; 512], b"g", b"garbage", &noise(1000), &whole[..1], &whole[..3]]
        {
            let archive = [&whole[..], garbage].concat();
            // The padding of xz comes in groups of four bytes.
            let padding = compression.starts_with("xz")
                && garbage.iter().all(|byte| *byte == 0)
                && garbage.len() % 4 == 0;
            assert_eq!(is_damage(&read(&archive)), !padding, "{compression} and {garbage:?}");
        }
    }
    // Another format follows, even one that the same library reads.
    let lzma = run("xz --format=lzma", b"text");
    assert!(is_damage(&read(&[frame("xz", b"text"), lzma].concat())));
    assert!(is_damage(&read(&[frame("zstd", b"text"), frame("gzip", b"text")].concat())));
}

#[test]
fn a_frame_must_have_its_stated_size() {
    assert_eq!(read(&stored_frame(0, Some(4), &[b"ab", b"cd"])).unwrap(), b"abcd");
    for size in [0, 3, 5, 1 << 20, u32::MAX] {
        assert!(is_damage(&read(&stored_frame(0, Some(size), &[b"ab", b"cd"]))), "{size}");
    }
}
