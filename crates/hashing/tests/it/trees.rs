//! What the reader of trees promises to those who pack.

use std::num::NonZeroUsize;
use std::path::Path;

use larder_hashing::{
    Body, Contents, EntryKind, HashOptions, Scheme, SiteEnvironment, TreeEntry, TreeReader, Workers,
};

use crate::support::{Playground, under};

fn read(path: &Path, options: &HashOptions) -> Vec<TreeEntry> {
    TreeReader::open(path, options, Contents::Read).collect::<Result<_, _>>().unwrap()
}

#[test]
fn entries_come_depth_first_and_directories_before_their_children() {
    let playground = Playground::new();
    playground.file("d/a/z", "").file("d/a-b", "").file("d/B", "").directory("d/a/e").link("d/l", "a/../B");
    let entries = read(&playground.path("d"), &HashOptions::default());
    let seen: Vec<_> =
        entries.iter().map(|entry| (std::str::from_utf8(&entry.path).unwrap(), &entry.kind)).collect();
    let file = &EntryKind::File { executable: false };
    let full = &EntryKind::Directory { is_empty: false };
    let empty = &EntryKind::Directory { is_empty: true };
    let link = &EntryKind::Symlink { target: b"a/../B".to_vec() };
    let expected =
        [("", full), ("B", file), ("a", full), ("a/e", empty), ("a/z", file), ("a-b", file), ("l", link)];
    assert_eq!(seen, expected);
}

#[test]
fn small_files_come_with_their_bytes_and_large_ones_open() {
    let playground = Playground::new();
    playground.file("d/large", vec![1; 3 << 20]).file("d/small", "content").executable("d/small");
    let entries = read(&playground.path("d"), &HashOptions::default());
    let [_, large, small] = entries.try_into().unwrap_or_else(|_| panic!("three entries"));
    assert_eq!(small.kind, EntryKind::File { executable: true });
    assert_eq!(small.digest, Some(Scheme::Blake3.digest(b"content")));
    assert!(matches!(&small.body, Body::Bytes(bytes) if bytes == &b"content"[..]));
    let Body::Open(mut file) = large.body else { panic!("{:?}", large.body) };
    let mut buffer = vec![0; 2 << 20];
    assert_eq!(file.read(&mut buffer).unwrap(), 2 << 20);
    assert_eq!(file.read(&mut buffer).unwrap(), 1 << 20);
    assert_eq!(file.read(&mut buffer).unwrap(), 0);
}

/// Whoever holds on to what was read must not stop the reader, nor make it hold more and more.
#[test]
fn what_is_read_ahead_is_bounded_by_bytes() {
    let playground = Playground::new();
    playground.files((0..40).map(|i| (format!("d/{i:02}"), vec![i; 1 << 20])));
    let workers = Workers::new(NonZeroUsize::new(16).unwrap());
    let entries = read(&playground.path("d"), &HashOptions::default().with_workers(workers));
    let held: usize =
        entries.iter().map(|entry| if let Body::Bytes(bytes) = &entry.body { bytes.len() } else { 0 }).sum();
    assert!(held <= 16 << 20, "{held} bytes");
    assert_eq!(entries.len(), 41);
    assert!(entries[1..].iter().all(|entry| !matches!(entry.body, Body::None)));
}

#[test]
fn it_goes_on_without_bytes_when_they_are_too_many() {
    let playground = Playground::new();
    playground.files((0..2000).map(|i| (format!("d/{i:04}"), i.to_string())));
    playground.file("d/x", vec![1; 3 << 20]);
    let mut reader = TreeReader::open(playground.path("d"), &HashOptions::default(), Contents::Read);
    reader.next().unwrap().unwrap();
    reader.stop_reading();
    let entries: Vec<_> = reader.collect::<Result<_, _>>().unwrap();
    assert!(entries.iter().all(|entry| entry.digest.is_some()));
    assert!(matches!(entries.last().unwrap().body, Body::None));
}

#[test]
fn a_reader_that_is_dropped_early_leaves_the_threads_to_others() {
    let playground = Playground::new();
    playground.files((0..300).map(|i| (format!("d/{i}"), "1")));
    let options = under(Scheme::Sha256).with_workers(Workers::new(NonZeroUsize::MIN));
    for _ in 0..20 {
        drop(TreeReader::open(playground.path("d"), &options, Contents::Hash).next());
    }
    assert_eq!(read(&playground.path("d"), &options).len(), 301);
}

#[test]
fn an_error_ends_the_reader() {
    let playground = Playground::new();
    playground.file("d/a", "").fifo("d/b").file("d/c", "");
    let mut reader = TreeReader::open(playground.path("d"), &HashOptions::default(), Contents::Hash);
    let paths: Vec<_> = reader.by_ref().map(|entry| entry.map(|entry| entry.path).map_err(drop)).collect();
    assert_eq!(paths, [Ok(b"".to_vec()), Ok(b"a".to_vec()), Err(())]);
    assert!(reader.next().is_none());
}

#[test]
#[ignore = "needs python3, tar, zstd, gzip, xz and bzip2: `cargo xtask test` runs it where they are"]
fn the_real_interpreter_answers() {
    let environment = SiteEnvironment::query(Path::new("python3")).unwrap();
    let site = larder_hashing::site_hash(&environment, Scheme::Blake3).unwrap();
    assert!(site.hash.as_str().starts_with("blake3-"));
    let mut manifest = Vec::new();
    larder_hashing::site_manifest(&environment, Scheme::Blake3, &mut manifest).unwrap();
    let manifest = String::from_utf8(manifest).unwrap();
    assert!(manifest.starts_with("larder-site 1\npython cpython 3."), "{manifest}");
}
