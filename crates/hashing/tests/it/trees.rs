//! Digests of the entries of a tree.

use std::path::Path;

use larder_hashing::{HashOptions, Scheme, SiteEnvironment};
use larder_tree::{EntryBody, EntryKind, ReadMode, TreeReader};

use crate::support::Playground;

fn reader(path: &Path) -> TreeReader<Scheme> {
    TreeReader::with_digester(
        path,
        &HashOptions::default().tree_options(),
        Scheme::default(),
        ReadMode::Bytes,
    )
}

#[test]
fn small_files_come_with_their_bytes_and_large_ones_open() {
    let playground = Playground::new();
    playground.file("d/large", vec![1; 3 << 20]).file("d/small", "content").executable("d/small");
    let entries: Vec<_> = reader(&playground.path("d")).collect::<Result<_, _>>().unwrap();
    let [_, large, small] = entries.try_into().unwrap_or_else(|_| panic!("three entries"));
    assert_eq!(small.kind, EntryKind::File { executable: true });
    assert_eq!(small.digest, Some(Scheme::Blake3.digest(b"content")));
    assert!(matches!(&small.body, EntryBody::Bytes(bytes) if bytes == &b"content"[..]));
    let EntryBody::Open(mut file) = large.body else { panic!("{:?}", large.body) };
    let mut buffer = vec![0; 2 << 20];
    assert_eq!(file.read(&mut buffer).unwrap(), 2 << 20);
    assert_eq!(file.read(&mut buffer).unwrap(), 1 << 20);
    assert_eq!(file.read(&mut buffer).unwrap(), 0);
}

#[test]
fn it_goes_on_without_bytes_when_they_are_too_many() {
    let playground = Playground::new();
    playground.files((0..2000).map(|i| (format!("d/{i:04}"), i.to_string())));
    playground.file("d/x", vec![1; 3 << 20]);
    let mut reader = reader(&playground.path("d"));
    reader.next().unwrap().unwrap();
    reader.stop_reading();
    let entries: Vec<_> = reader.collect::<Result<_, _>>().unwrap();
    assert!(entries.iter().all(|entry| entry.digest.is_some()));
    assert!(matches!(entries.last().unwrap().body, EntryBody::None));
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
