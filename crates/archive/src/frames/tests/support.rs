//! Helpers to write and read frames.

use std::io::Write as _;
use std::num::NonZeroUsize;
use std::process::{Command, Stdio};
use std::thread;

use bytes::Bytes;
use larder_tree::Workers;
use tokio::sync::mpsc::channel;

use crate::frames::encoder::Encoder;
use crate::frames::error::ReadError;
use crate::frames::reader::FrameReader;
use crate::limits::Limits;

pub(super) const FORMATS: [&str; 5] = ["zstd", "gzip", "xz:0", "bzip2:1", "none"];

pub(super) fn workers(jobs: usize) -> Workers {
    Workers::new(NonZeroUsize::new(jobs).unwrap())
}

/// Reads an archive that arrives in chunks of `chunk` bytes.
pub(super) fn read_in_chunks(archive: &[u8], chunk: usize, jobs: usize) -> Result<Vec<u8>, ReadError> {
    read_with(archive, chunk, jobs, None, &Limits::default())
}

pub(super) fn read(archive: &[u8]) -> Result<Vec<u8>, ReadError> {
    read_in_chunks(archive, 100_000, 2)
}

pub(super) fn read_with(
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
    assert!(matches!(reader.next(), Ok(None)), "the reader stays at its end");
    drop(reader);
    feeder.join().unwrap();
    end
}

pub(super) fn frame(compression: &str, piece: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    Encoder::new(compression.parse().unwrap()).unwrap().encode(piece, &mut frame).unwrap();
    frame
}

/// Returns the output of a program for `input`.
pub(super) fn run(command: &str, input: &[u8]) -> Vec<u8> {
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

pub(super) fn is_damage(read: &Result<Vec<u8>, ReadError>) -> bool {
    matches!(read, Err(ReadError::Damaged { .. } | ReadError::Truncated { .. }))
}

/// Builds a zstd frame with stored blocks, with or without the size of its content.
pub(super) fn stored_frame(window: u8, size: Option<u32>, blocks: &[&[u8]]) -> Vec<u8> {
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
