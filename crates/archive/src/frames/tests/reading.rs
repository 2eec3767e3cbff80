//! Reading frames, and streams that fail.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bytes::Bytes;
use tokio::sync::mpsc::channel;

use crate::frames::error::ReadError;
use crate::frames::piece::PIECE;
use crate::frames::reader::FrameReader;
use crate::frames::samples::{noise, tar, text};
use crate::frames::tests::support::{
    FORMATS, frame, is_damage, read, read_in_chunks, read_with, stored_frame, workers,
};
use crate::frames::writer::FrameWriter;
use crate::limits::Limits;

#[test]
fn any_chunks_and_threads_read_the_written_bytes() {
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
fn a_frame_of_tiny_blocks_is_read() {
    // One block per byte makes the frame four times as large as its content.
    let size = PIECE / 2;
    let content = text(size);
    let blocks: Vec<&[u8]> = content.chunks(1).collect();
    let archive = stored_frame(8 << 3, Some(u32::try_from(size).unwrap()), &blocks);
    assert!(read(&archive).unwrap() == content);
}

#[test]
fn a_failing_stream_is_not_damage() {
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
fn the_reader_does_not_run_far_ahead() {
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
        // The frames in the queue, one that waits for a place in it, and one in the reader.
        // The feeder counts a frame after it was sent.
        let ahead = sent.load(Ordering::SeqCst).saturating_sub(received);
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
fn errors_state_the_problem_and_their_source_the_reason() {
    let mut broken = frame("zstd", &noise(PIECE));
    broken[1_000_000] ^= 1;
    let error = read(&broken).unwrap_err();
    assert_eq!(error.to_string(), "a zstd frame cannot be decompressed");
    assert!(error.source().unwrap().to_string().contains("checksum"), "{error:?}");
    assert_eq!(read(b"").unwrap_err().to_string(), "it ends early: before its first byte");
}
