//! Random archives. Unpacking ends, writes nothing outside, and hashes exactly the accepted bytes.

use std::fs;
use std::path::Path;

use larder_archive::UnpackError;
use larder_hashing::{HashOptions, content_hash};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::interop::compressed;
use crate::support::{Header, Place, Tar, m};

/// Unpacks, and checks the invariants of all archives.
fn unpack(archive: &[u8]) -> Result<(), TestCaseError> {
    let place = Place::new();
    let outcome = place.unpack(archive);
    prop_assert!(!matches!(outcome, Err(UnpackError::Panicked)), "{outcome:?}");
    if let Ok(unpacked) = outcome {
        let output = place.staging().join("m");
        let there = content_hash(&output, &HashOptions::default()).unwrap();
        prop_assert_eq!(unpacked.content_hash.unwrap(), there);
        stays_inside(&output, &output.canonicalize().unwrap())?;
    }
    Ok(())
}

fn stays_inside(path: &Path, root: &Path) -> Result<(), TestCaseError> {
    let metadata = fs::symlink_metadata(path).unwrap();
    if metadata.is_symlink() {
        // Otherwise the link leads nowhere.
        if let Ok(target) = path.canonicalize() {
            prop_assert!(target.starts_with(root), "{path:?} leads to {target:?}");
        }
    } else if metadata.is_dir() {
        for child in fs::read_dir(path).unwrap() {
            stays_inside(&child.unwrap().path(), root)?;
        }
    }
    Ok(())
}

/// Returns an entry of a random kind.
fn sample() -> Vec<u8> {
    m().dir("m/d/")
        .file("m/a", b"content")
        .pax(&[("path", "m/d/long"), ("mtime", "1")])
        .file("m/short", &[7; 1500])
        .gnu_long(b'L', "m/d/gnu")
        .file_with(Header { gnu: true, ..Header::new("m/g", b'0') }, b"1")
        .symlink("m/l", "d/long")
        .link(b'1', "m/h", "m/a")
        .end()
}

/// Returns paths with few components, so that they collide.
fn path() -> impl Strategy<Value = String> {
    vec(select(vec!["m", "a", "b", "..", ".", "", "l"]), 0..5).prop_map(|components| components.join("/"))
}

fn entry() -> impl Strategy<Value = (u8, String, String)> {
    let inside = path().prop_map(|path| format!("m/{path}"));
    let name = prop_oneof![8 => inside, 1 => path()];
    let kind = select(vec![b'0', b'5', b'2', b'2', b'1', b'6']);
    (kind, name, path())
}

/// Corrects the checksum of a header block.
fn sign(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..3000)) {
        unpack(&bytes)?;
    }

    #[test]
    fn any_entries(entries in vec(entry(), 0..12)) {
        let mut tar = Tar::default();
        for (kind, name, target) in &entries {
            tar = match kind {
                b'0' => tar.file(name, target.as_bytes()),
                b'1' => tar.link(b'1', name, &format!("m/{target}")),
                _ => tar.link(*kind, name, if *kind == b'2' { target } else { "" }),
            };
        }
        unpack(&tar.end())?;
    }

    #[test]
    fn changed_bytes(changes in vec((any::<Index>(), any::<u8>()), 1..6), signed in any::<bool>()) {
        let mut archive = sample();
        for (place, byte) in changes {
            let place = place.index(archive.len());
            archive[place] = byte;
            let block = place / 512 * 512;
            if signed && archive[block + 257..].starts_with(b"ustar") {
                sign(&mut archive[block..block + 512]);
            }
        }
        unpack(&archive)?;
    }

    #[test]
    #[ignore = "needs python3, tar, zstd, gzip, xz and bzip2: `cargo xtask test` runs it where they are"]
    fn changed_bytes_of_compressed_archives(
        format in 0..4_usize,
        changes in vec((any::<Index>(), any::<u8>()), 1..4),
        cut in proptest::option::of(any::<Index>()),
    ) {
        let mut archive = compressed(format, &sample());
        for (place, byte) in changes {
            let place = place.index(archive.len());
            archive[place] = byte;
        }
        if let Some(cut) = cut {
            archive.truncate(cut.index(archive.len()));
        }
        unpack(&archive)?;
    }
}
