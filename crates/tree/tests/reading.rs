//! Reading trees.

use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::fs::{FileExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use larder_tree::{
    EntryBody, EntryKind, Ignore, NoDigest, OpenFile, SpecialFiles, TreeEntry, TreeError, TreeOptions,
    TreeReader, Workers,
};

type Entry = TreeEntry<<NoDigest as larder_tree::FileDigester>::Digest>;

fn read(path: &Path, options: &TreeOptions) -> Vec<Entry> {
    TreeReader::open(path, options).collect::<Result<_, _>>().expect("the tree can be read")
}

#[test]
fn entries_come_depth_first_and_directories_before_their_children() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("a/e")).unwrap();
    for file in ["a/z", "a-b", "B"] {
        fs::write(dir.path().join(file), "").unwrap();
    }
    symlink("a/../B", dir.path().join("l")).unwrap();
    let entries = read(dir.path(), &TreeOptions::default());
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

/// A caller that keeps the bytes must neither block the reader nor increase its memory.
#[test]
fn read_ahead_is_bounded_by_bytes() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..40 {
        fs::write(dir.path().join(format!("{i:02}")), vec![i; 1 << 20]).unwrap();
    }
    let workers = Workers::new(NonZeroUsize::new(16).unwrap());
    let entries = read(dir.path(), &TreeOptions::default().with_workers(workers));
    let held: usize = entries
        .iter()
        .map(|entry| if let EntryBody::Bytes(bytes) = &entry.body { bytes.len() } else { 0 })
        .sum();
    assert!(held <= 16 << 20, "{held} bytes");
    assert_eq!(entries.len(), 41);
    assert!(entries[1..].iter().all(|entry| !matches!(entry.body, EntryBody::None)));
}

#[test]
fn a_reader_that_is_dropped_early_leaves_the_threads_to_others() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..300 {
        fs::write(dir.path().join(i.to_string()), "1").unwrap();
    }
    let options = TreeOptions::default().with_workers(Workers::new(NonZeroUsize::MIN));
    for _ in 0..20 {
        drop(TreeReader::open(dir.path(), &options).next());
    }
    assert_eq!(read(dir.path(), &options).len(), 301);
}

#[test]
fn a_socket_ends_the_reader_unless_it_is_skipped() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a"), "").unwrap();
    let _socket = UnixListener::bind(dir.path().join("b")).unwrap();
    fs::write(dir.path().join("c"), "").unwrap();
    let mut reader = TreeReader::open(dir.path(), &TreeOptions::default());
    let paths: Vec<_> = reader.by_ref().map(|entry| entry.map(|entry| entry.path).map_err(drop)).collect();
    assert_eq!(paths, [Ok(b"".to_vec()), Ok(b"a".to_vec()), Err(())]);
    assert!(reader.next().is_none());
    let skipping = TreeOptions::default().with_special_files(SpecialFiles::Skip);
    assert_eq!(read(dir.path(), &skipping).len(), 3);
}

#[test]
fn a_change_is_noticed_although_the_time_of_modification_was_set_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "0123456789").unwrap();
    let change = || {
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        let before = file.metadata().unwrap().modified().unwrap();
        // The clock of the file system has ticks. Change the file until its ctime is later.
        let changed = |file: &fs::File| {
            use std::os::unix::fs::MetadataExt as _;
            let metadata = file.metadata().unwrap();
            (metadata.ctime(), metadata.ctime_nsec())
        };
        let first = changed(&file);
        while changed(&file) == first {
            file.write_all_at(b"x", 0).unwrap();
            file.set_modified(before).unwrap();
        }
        assert_eq!(file.metadata().unwrap().modified().unwrap(), before);
    };
    let mut file = OpenFile::open(&path, Arc::new(Ignore)).unwrap();
    change();
    assert!(matches!(file.read(&mut [0; 16]), Err(TreeError::Changed { .. })));
    let state = OpenFile::open(&path, Arc::new(Ignore)).unwrap().state();
    state.check(path.clone()).unwrap();
    change();
    assert!(matches!(state.check(path.clone()), Err(TreeError::Changed { .. })));
}
