//! Frames that would take too much memory or time.

use std::error::Error;

use bytes::Bytes;
use tokio::sync::mpsc::channel;

use crate::frames::error::ReadError;
use crate::frames::reader::FrameReader;
use crate::frames::samples::{tar, text};
use crate::frames::stream::STREAM_PIECE;
use crate::frames::tests::support::{FORMATS, frame, is_damage, read, read_with, run, stored_frame, workers};
use crate::limits::Limits;

#[test]
#[ignore = "needs python3, tar, zstd, gzip, xz and bzip2: `cargo xtask test` runs it where they are"]
fn a_window_or_dictionary_beyond_the_limit_is_refused_before_it_is_allocated() {
    // The limit is 2^(10 + 17) for frames of any size.
    assert_eq!(read(&stored_frame(17 << 3, None, &[b"x"])).unwrap(), b"x");
    for (window, size) in [(17 << 3 | 1, None), (18 << 3, Some(1)), (31 << 3, None), (0xff, Some(1))] {
        let Err(ReadError::Damaged { what, .. }) = read(&stored_frame(window, size, &[b"x"])) else {
            panic!("{window} was accepted");
        };
        assert!(what.contains("window"), "{what}");
    }
    let limits = Limits::default().with_zstd_window_log(20).with_xz_dictionary(1 << 20);
    let limited = |archive: &[u8]| read_with(archive, 1000, 1, None, &limits);
    assert!(limited(&stored_frame(10 << 3, None, &[b"x"])).is_ok());
    assert!(is_damage(&limited(&stored_frame(11 << 3, None, &[b"x"]))));

    // `xz -9` has a dictionary of 64 MiB.
    assert_eq!(read(&run("xz -9", b"x")).unwrap(), b"x");
    assert!(is_damage(&read(&run("xz --lzma2=dict=128MiB", b"x"))));
    assert!(limited(&run("xz --lzma2=dict=1MiB", b"x")).is_ok());
    assert!(is_damage(&limited(&run("xz --lzma2=dict=8MiB", b"x"))));
}

#[test]
#[ignore = "needs python3, tar, zstd, gzip, xz and bzip2: `cargo xtask test` runs it where they are"]
fn a_bomb_arrives_in_small_pieces_and_stops_on_demand() {
    // A billion zeros in a few kilobytes: one frame states its size, and one does not.
    let blocks = |frame: &mut Vec<u8>| {
        for _ in 0..8000 {
            frame.extend_from_slice(&(0b10_u32 | (128 << 10) << 3).to_le_bytes()[..3]);
            frame.push(0);
        }
    };
    let mut unsized_bomb = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 17 << 3];
    blocks(&mut unsized_bomb);
    let mut sized_bomb = vec![0x28, 0xb5, 0x2f, 0xfd, 0b1000_0000, 17 << 3];
    sized_bomb.extend_from_slice(&(8000_u32 * (128 << 10)).to_le_bytes());
    blocks(&mut sized_bomb);
    for bomb in
        [unsized_bomb, sized_bomb, run("gzip", &vec![0; 50_000_000]), run("xz -0", &vec![0; 50_000_000])]
    {
        let (sender, chunks) = channel(1);
        sender.try_send(Ok(Bytes::from(bomb))).unwrap();
        let mut reader = FrameReader::new(chunks, &workers(2), &Limits::default());
        for _ in 0..20 {
            let piece = reader.next().unwrap().unwrap();
            assert!(piece.len() <= STREAM_PIECE && piece.iter().all(|byte| *byte == 0));
        }
        drop(reader);
        // The thread drops its channel when it ends.
        futures::executor::block_on(sender.closed());
    }
}

/// Each frame costs a decoder: 400,000 empty ones took 18 seconds.
#[test]
fn empty_and_tiny_frames_are_bounded_in_the_whole_stream() {
    let content = tar(&text(100));
    let skippable = [&0x184d_2a50_u32.to_le_bytes()[..], &[0; 4]].concat();
    let formats = FORMATS.iter().filter(|format| **format != "none");
    for (format, empty) in formats.map(|format| (*format, frame(format, b""))).chain([("zstd", skippable)]) {
        let whole = frame(format, &content);
        let with = |count: usize| [empty.repeat(count), whole.clone()].concat();
        assert_eq!(read(&with(1000)).unwrap(), content, "{format}");
        // One byte at a time is slow, but this is little data.
        let bytes: Vec<u8> = content.chunks(1).take(2_000).flat_map(|byte| frame(format, byte)).collect();
        assert_eq!(read(&bytes).unwrap(), &content[..2_000.min(content.len())], "{format}");

        // For xz the bytes of the input are counted, not the streams.
        let too_many = if format == "xz:0" { (5 << 20) / empty.len() } else { 17_000 };
        let in_a_row = with(too_many);
        let mixed = [empty.repeat(900), frame(format, b"x")].concat().repeat(too_many / 900 + 1);
        for archive in [in_a_row, mixed] {
            let refused = read(&archive);
            let Err(error @ ReadError::Damaged { .. }) = refused else { panic!("{format}: {refused:?}") };
            assert!(
                error.source().unwrap().to_string().contains("too many tiny frames"),
                "{format}: {error:?}"
            );
        }
    }
}

/// `tar` and a compressor, once for each small file, into one archive.
#[test]
fn many_small_archives_may_be_joined() {
    for format in FORMATS.iter().filter(|format| **format != "none") {
        // A stream of bzip2 costs more than the others.
        let (content, count) = if *format == "bzip2:1" { (9_000, 3_000) } else { (7, 20_000) };
        let small = tar(&text(content));
        let joined = frame(format, &small).repeat(count);
        assert_eq!(read(&joined).unwrap().len(), count * small.len(), "{format}");
    }
}
