//! Reading what larder and other programs wrote, and what nobody should have written.

use std::error::Error;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bytes::Bytes;
use larder_tree::Workers;
use tokio::sync::mpsc::channel;

use super::encoder::Encoder;
use super::error::ReadError;
use super::piece::PIECE;
use super::reader::FrameReader;
use super::samples::{noise, tar, text};
use super::stream::STREAM_PIECE;
use super::writer::FrameWriter;
use crate::limits::Limits;

const FORMATS: [&str; 5] = ["zstd", "gzip", "xz:0", "bzip2:1", "none"];

fn workers(jobs: usize) -> Workers {
    Workers::new(NonZeroUsize::new(jobs).unwrap())
}

/// Reads an archive that arrives in chunks of `chunk` bytes.
fn read_in_chunks(archive: &[u8], chunk: usize, jobs: usize) -> Result<Vec<u8>, ReadError> {
    read_with(archive, chunk, jobs, None, &Limits::default())
}

fn read(archive: &[u8]) -> Result<Vec<u8>, ReadError> {
    read_in_chunks(archive, 100_000, 2)
}

fn read_with(
    archive: &[u8],
    chunk: usize,
    jobs: usize,
    failure: Option<&'static str>,
    limits: &Limits,
) -> Result<Vec<u8>, ReadError> {
    let (sender, chunks) = channel(1);
    let archive: Vec<Bytes> = archive.chunks(chunk).map(Bytes::copy_from_slice).collect();
    let feeder = thread::spawn(move || {
        let chunks = archive.into_iter().map(Ok).chain(failure.map(|failure| Err(failure.into())));
        for chunk in chunks {
            if sender.blocking_send(chunk).is_err() {
                return;
            }
        }
    });
    let mut reader = FrameReader::new(chunks, &workers(jobs), limits);
    let mut stream = Vec::new();
    let end = loop {
        match reader.next() {
            Ok(Some(piece)) => {
                assert!(!piece.is_empty(), "an empty piece would look like the end");
                stream.extend_from_slice(&piece);
            }
            Ok(None) => break Ok(stream),
            Err(error) => break Err(error),
        }
    };
    assert!(matches!(reader.next(), Ok(None)), "it stays at its end");
    drop(reader);
    feeder.join().unwrap();
    end
}

fn frame(compression: &str, piece: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    Encoder::new(compression.parse().unwrap()).unwrap().encode(piece, &mut frame).unwrap();
    frame
}

/// What a program makes of `input`.
fn run(command: &str, input: &[u8]) -> Vec<u8> {
    let mut words = command.split(' ');
    let program = words.next().unwrap();
    let mut child = Command::new(program)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("`{program}` has to be installed for this test: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let output = thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{command}");
    output.stdout
}

fn is_damage(read: &Result<Vec<u8>, ReadError>) -> bool {
    matches!(read, Err(ReadError::Damaged { .. } | ReadError::Truncated { .. }))
}

#[test]
fn what_is_written_is_read_whatever_the_chunks_and_threads() {
    let content = [tar(&text(PIECE)), noise(PIECE), text(70_000)].concat();
    for compression in FORMATS {
        let (sender, mut frames) = channel(1);
        let mut writer = FrameWriter::new(compression.parse().unwrap(), workers(2), sender);
        let archive = thread::scope(|scope| {
            scope.spawn(|| {
                writer.write(&content).unwrap();
                writer.finish().unwrap();
            });
            std::iter::from_fn(|| frames.blocking_recv()).collect::<Vec<_>>().concat()
        });
        for (chunk, jobs) in [(997, 1), (1 << 20, 3), (usize::MAX, 2)] {
            assert!(read_in_chunks(&archive, chunk, jobs).unwrap() == content, "{compression} {chunk}");
        }
    }
}

#[test]
#[ignore = "needs python3, tar, zstd, gzip, xz and bzip2: `cargo xtask test` runs it where they are"]
fn other_programs_read_what_is_written() {
    let pieces = [tar(&text(PIECE - 512)), noise(PIECE), text(1000)];
    let readers = [("zstd:7", "zstd -dc"), ("gzip", "gzip -dc"), ("xz", "xz -dc"), ("bzip2", "bzip2 -dc")];
    for (compression, reader) in readers {
        let archive: Vec<u8> = pieces.iter().flat_map(|piece| frame(compression, piece)).collect();
        assert!(run(reader, &archive) == pieces.concat(), "{compression}");
    }
}

#[test]
#[ignore = "needs python3, tar, zstd, gzip, xz and bzip2: `cargo xtask test` runs it where they are"]
fn what_other_programs_write_is_read() {
    // More than a piece, and no multiple of anything.
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
            // Most formats may simply be joined.
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

#[test]
fn skippable_frames_are_skipped() {
    let skippable = |kind: u8, len: usize| {
        let len_field = u32::try_from(len).unwrap().to_le_bytes();
        [&[0x50 | kind, 0x2a, 0x4d, 0x18], &len_field[..], &noise(len)].concat()
    };
    let piece = text(1000);
    let archive = [
        skippable(0, 0),
        frame("zstd", &piece),
        skippable(15, 300_000),
        frame("zstd", &piece),
        skippable(3, 1),
    ];
    assert_eq!(read(&archive.concat()).unwrap(), piece.repeat(2));
    let cut = [&frame("zstd", &piece)[..], &skippable(0, 10)[..17]].concat();
    assert!(is_damage(&read(&cut)));
}

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
            // The second frame, where the first one was right.
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
            // The time and the operating system in a gzip header mean nothing.
            let read = read(&flipped);
            assert!(is_damage(&read) || read.unwrap() == piece, "{compression} bit {bit}");
        }
    }
    // Every frame has a checksum of its own, and each is looked at: stored bytes have no other protection.
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
            // Of xz's padding only whole groups of four bytes are right.
            let padding = compression.starts_with("xz")
                && garbage.iter().all(|byte| *byte == 0)
                && garbage.len() % 4 == 0;
            assert_eq!(is_damage(&read(&archive)), !padding, "{compression} and {garbage:?}");
        }
    }
    // Another format behind it, be it one that the same library reads.
    let lzma = run("xz --format=lzma", b"text");
    assert!(is_damage(&read(&[frame("xz", b"text"), lzma].concat())));
    assert!(is_damage(&read(&[frame("zstd", b"text"), frame("gzip", b"text")].concat())));
}

/// A zstd frame whose blocks are stored, with or without the size of its content.
fn stored_frame(window: u8, size: Option<u32>, blocks: &[&[u8]]) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, if size.is_some() { 0b1000_0000 } else { 0 }, window];
    frame.extend(size.iter().flat_map(|size| size.to_le_bytes()));
    for (index, block) in blocks.iter().enumerate() {
        let last = u32::from(index + 1 == blocks.len());
        let header = last | u32::try_from(block.len()).unwrap() << 3;
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.extend_from_slice(block);
    }
    frame
}

#[test]
fn a_frame_must_hold_as_much_as_it_says() {
    assert_eq!(read(&stored_frame(0, Some(4), &[b"ab", b"cd"])).unwrap(), b"abcd");
    for size in [0, 3, 5, 1 << 20, u32::MAX] {
        assert!(is_damage(&read(&stored_frame(0, Some(size), &[b"ab", b"cd"]))), "{size}");
    }
}

#[test]
fn a_frame_that_is_cut_into_crumbs_is_read() {
    // A block for each byte: four times as large as what is in it.
    let size = PIECE / 2;
    let content = text(size);
    let blocks: Vec<&[u8]> = content.chunks(1).collect();
    let archive = stored_frame(8 << 3, Some(u32::try_from(size).unwrap()), &blocks);
    assert!(read(&archive).unwrap() == content);
}

#[test]
#[ignore = "needs python3, tar, zstd, gzip, xz and bzip2: `cargo xtask test` runs it where they are"]
fn a_window_or_dictionary_beyond_the_limit_is_refused_before_it_is_allocated() {
    // 2^(10 + 17) is the limit, for frames of any size.
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

    // `xz -9` has 64 MiB.
    assert_eq!(read(&run("xz -9", b"x")).unwrap(), b"x");
    assert!(is_damage(&read(&run("xz --lzma2=dict=128MiB", b"x"))));
    assert!(limited(&run("xz --lzma2=dict=1MiB", b"x")).is_ok());
    assert!(is_damage(&limited(&run("xz --lzma2=dict=8MiB", b"x"))));
}

#[test]
#[ignore = "needs python3, tar, zstd, gzip, xz and bzip2: `cargo xtask test` runs it where they are"]
fn a_bomb_comes_out_in_small_pieces_and_stops_when_nobody_wants_more() {
    // A thousand million zeros in a few kilobytes, in one frame whose header says so, and in one that does not.
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
        // The thread lets go of what it reads from: it has ended.
        futures::executor::block_on(sender.closed());
    }
}

#[test]
fn a_stream_that_fails_is_not_a_damaged_one() {
    for compression in FORMATS {
        for content in [tar(&text(1000)), tar(&noise(PIECE))] {
            let whole = frame(compression, &content);
            for len in [0, 3, 600.min(whole.len()), whole.len() / 2, whole.len()] {
                let read = read_with(&whole[..len], 1000, 2, Some("connection reset"), &Limits::default());
                let Err(ReadError::Source(source)) = read else { panic!("{compression} {len}: {read:?}") };
                assert_eq!(source.to_string(), "connection reset");
            }
        }
    }
}

#[test]
fn a_reader_does_not_run_ahead_of_who_reads() {
    const FRAMES: usize = 400;
    let (jobs, ahead_of_decoder) = (2, 1);
    let (sender, chunks) = channel(ahead_of_decoder);
    let sent = Arc::new(AtomicUsize::new(0));
    let frame = Bytes::from(frame("zstd", &text(10_000)));
    let feeder = {
        let sent = Arc::clone(&sent);
        thread::spawn(move || {
            for _ in 0..FRAMES {
                sender.blocking_send(Ok(frame.clone())).unwrap();
                sent.fetch_add(1, Ordering::SeqCst);
            }
        })
    };
    let mut reader = FrameReader::new(chunks, &workers(jobs), &Limits::default());
    let mut received = 0;
    while reader.next().unwrap().is_some() {
        received += 1;
        // As many as fit the queue, one that waits for a place in it, and one that is being looked at.
        let ahead = sent.load(Ordering::SeqCst) - received;
        assert!(ahead <= jobs + ahead_of_decoder + 2, "{ahead} frames ahead");
        thread::yield_now();
    }
    assert_eq!(received, FRAMES);
    feeder.join().unwrap();
}

#[test]
fn an_object_of_a_later_format_is_not_damaged() {
    assert!(matches!(read(b"larder-archive 2\nwhatever"), Err(ReadError::NewerLarder)));
    assert!(matches!(read_in_chunks(b"larder-", 1, 1), Err(ReadError::NewerLarder)));
}

#[test]
fn errors_say_what_is_wrong_and_their_source_says_why() {
    let mut broken = frame("zstd", &noise(PIECE));
    broken[1_000_000] ^= 1;
    let error = read(&broken).unwrap_err();
    assert_eq!(error.to_string(), "a zstd frame cannot be decompressed");
    assert!(error.source().unwrap().to_string().contains("checksum"), "{error:?}");
    assert_eq!(read(b"").unwrap_err().to_string(), "it ends early: before its first byte");
}

/// Each takes the time of a decoder and brings nothing: 400,000 of them took 18 seconds.
#[test]
fn frames_without_data_are_bounded() {
    let content = tar(&text(100));
    let skippable = [&0x184d_2a50_u32.to_le_bytes()[..], &[0; 4]].concat();
    let formats = FORMATS.iter().filter(|format| **format != "none");
    for (format, empty) in formats.map(|format| (*format, frame(format, b""))).chain([("zstd", skippable)]) {
        let with = |count: usize| [empty.repeat(count), frame(format, &content)].concat();
        assert_eq!(read(&with(1000)).unwrap(), content, "{format}");
        // Of xz the bytes are counted, not the streams.
        let too_many = if format == "xz:0" { (9 << 20) / empty.len() } else { 1100 };
        let refused = read(&with(too_many));
        let Err(error @ ReadError::Damaged { .. }) = refused else { panic!("{format}: {refused:?}") };
        assert!(error.source().unwrap().to_string().contains("in a row have no data"), "{format}: {error:?}");
        // Data in between starts the count again.
        let between = [with(1000), with(1000)].concat();
        assert_eq!(read(&between).unwrap().len(), 2 * content.len(), "{format}");
    }
}
