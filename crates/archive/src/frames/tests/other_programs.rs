//! Frames that other programs write and read.

use crate::frames::piece::PIECE;
use crate::frames::samples::{noise, tar, text};
use crate::frames::tests::support::{frame, read, read_in_chunks, run};

#[test]
#[ignore = "needs python3, tar, zstd, gzip, xz and bzip2: `cargo xtask test` runs it where they are"]
fn other_programs_read_the_frames() {
    let pieces = [tar(&text(PIECE - 512)), noise(PIECE), text(1000)];
    let readers = [("zstd:7", "zstd -dc"), ("gzip", "gzip -dc"), ("xz", "xz -dc"), ("bzip2", "bzip2 -dc")];
    for (compression, reader) in readers {
        let archive: Vec<u8> = pieces.iter().flat_map(|piece| frame(compression, piece)).collect();
        assert!(run(reader, &archive) == pieces.concat(), "{compression}");
    }
}

#[test]
#[ignore = "needs python3, tar, zstd, gzip, xz and bzip2: `cargo xtask test` runs it where they are"]
fn frames_of_other_programs_are_read() {
    // More than a piece, and not a multiple of any buffer.
    let content = [tar(&text(5_000_000)), noise(1_234_567)].concat();
    let writers = [
        "zstd -1",
        "zstd -3 --no-check",
        "zstd -3 -T2",
        "zstd -12 --long=27",
        "gzip -9",
        "gzip -1",
        "xz -0",
        "xz -9 -T1",
        "xz -0 --check=none",
        "xz -0 --check=sha256 --block-size=1000000",
        "bzip2 -9",
        "cat",
    ];
    for writer in writers {
        let archive = run(writer, &content);
        assert!(read(&archive).unwrap() == content, "{writer}");
        if writer != "cat" {
            // Most formats allow concatenation.
            let twice = [&archive[..], &archive].concat();
            assert!(read(&twice).unwrap() == [&content[..], &content].concat(), "{writer}");
        }
    }
}

#[test]
#[ignore = "needs python3, tar, zstd, gzip, xz and bzip2: `cargo xtask test` runs it where they are"]
fn frames_of_every_size_may_follow_each_other() {
    let large = text(PIECE + 1);
    let archive = [
        frame("zstd", b""),
        frame("zstd", b"a"),
        run("zstd -1", &large),
        zstd::bulk::compress(&large, 1).unwrap(),
        frame("zstd", &noise(PIECE)),
        frame("zstd", b"b"),
    ];
    let content = [&b"a"[..], &large, &large, &noise(PIECE), b"b"].concat();
    assert!(read_in_chunks(&archive.concat(), 4096, 2).unwrap() == content);
}
