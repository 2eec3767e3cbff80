//! Packing and unpacking restore the original.

use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::fs::PermissionsExt as _;

use futures::TryStreamExt as _;
use futures::executor::block_on;
use larder_archive::{PackOptions, Packed, UnpackOptions, pack};
use larder_hashing::{OutputPath, Scheme};
use larder_tree::Workers;
use rustix::fs::{CWD, Mode, OFlags};

use crate::support::Place;
use crate::trees::{self, listing};

pub(crate) fn archive_of(place: &Place, options: &PackOptions) -> (Vec<u8>, Packed) {
    let mut packing = pack(&place.staging(), &OutputPath::new("m").unwrap(), options);
    block_on(async {
        let mut archive = Vec::new();
        while let Some(bytes) = packing.try_next().await.unwrap() {
            archive.extend_from_slice(&bytes);
        }
        (archive, packing.finish().await.unwrap())
    })
}

#[track_caller]
fn comes_back(original: &Place, pack: &PackOptions, unpack: &UnpackOptions) {
    let (archive, packed) = archive_of(original, pack);
    let place = Place::new();
    let unpacked = place.unpack_with(&archive, unpack).unwrap();
    assert_eq!(listing(&place), listing(original), "{pack:?}");
    assert_eq!(unpacked.content_hash.as_ref(), unpack.scheme.map(|_| &packed.content_hash), "{pack:?}");
    assert_eq!(unpacked.archive_bytes, packed.archive_bytes);
    assert_eq!(unpacked.content_bytes, packed.content_bytes);
    assert_eq!(unpacked.entries, packed.entries);
}

#[test]
fn everything_comes_back_through_every_compression() {
    let tree = trees::with_everything(&trees::HARD_LINKS);
    for compression in ["zstd", "zstd:1", "gzip:1", "xz:0", "bzip2:1", "none"] {
        for jobs in [1, 3] {
            let workers = Workers::new(NonZeroUsize::new(jobs).unwrap());
            let pack = PackOptions::default()
                .with_compression(compression.parse().unwrap())
                .with_workers(workers.clone());
            let unpack = UnpackOptions::default().with_scheme(Some(Scheme::Blake3)).with_workers(workers);
            comes_back(&tree, &pack, &unpack);
        }
    }
}

#[test]
fn every_scheme_verifies_what_it_hashed() {
    let tree = trees::with_everything(&[]);
    for scheme in Scheme::ALL {
        comes_back(&tree, &PackOptions::new(scheme), &UnpackOptions::default().with_scheme(Some(scheme)));
    }
    comes_back(&tree, &PackOptions::default(), &UnpackOptions::default());
}

#[test]
fn every_file_of_many_gets_its_own_bytes() {
    let original = Place::new();
    fs::create_dir(original.staging().join("m")).unwrap();
    // More small files than may wait for a thread, of various sizes, and some large ones.
    let sizes = [0, 1, 5_000, 0, 0, 40_000, 3, 70_000, 511, 1 << 20, (1 << 20) + 1, 17];
    for (number, size) in (0_u32..1_500).zip(sizes.into_iter().cycle()) {
        let size = if size > 100_000 && number > 200 { 100 } else { size };
        let bytes: Vec<u8> = number.to_le_bytes().into_iter().cycle().take(size).collect();
        fs::write(original.staging().join(format!("m/{number:04}")), bytes).unwrap();
    }
    for scheme in Scheme::ALL {
        comes_back(&original, &PackOptions::new(scheme), &UnpackOptions::default().with_scheme(Some(scheme)));
    }
}

#[test]
fn the_smallest_outputs_come_back() {
    let executable = Place::new();
    fs::write(executable.staging().join("m"), "#!/bin/sh").unwrap();
    fs::set_permissions(executable.staging().join("m"), fs::Permissions::from_mode(0o755)).unwrap();
    let empty_file = Place::new();
    fs::write(empty_file.staging().join("m"), "").unwrap();
    let empty_directory = Place::new();
    fs::create_dir(empty_directory.staging().join("m")).unwrap();
    for place in [executable, empty_file, empty_directory] {
        for scheme in Scheme::ALL {
            comes_back(
                &place,
                &PackOptions::new(scheme),
                &UnpackOptions::default().with_scheme(Some(scheme)),
            );
        }
    }
}

#[test]
fn a_path_may_reach_the_limit_at_any_location_of_the_output() {
    // The absolute path is longer than the system allows in one call.
    let place = Place::new();
    let name = "n".repeat(240);
    let mut directory = rustix::fs::open(place.staging(), OFlags::DIRECTORY, Mode::empty()).unwrap();
    for component in std::iter::once("m").chain([name.as_str(); 16]) {
        rustix::fs::mkdirat(&directory, component, Mode::RWXU).unwrap();
        directory = rustix::fs::openat(&directory, component, OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    let last = "n".repeat(4095 - 16 * 241);
    rustix::fs::openat(&directory, &last, OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
    let outside = rustix::fs::openat(
        CWD,
        place.staging().join("m").join([name.as_str(); 16].join("/")).join(&last),
        OFlags::RDONLY,
        Mode::empty(),
    );
    assert_eq!(outside.unwrap_err(), rustix::io::Errno::NAMETOOLONG);

    let (archive, packed) = archive_of(&place, &PackOptions::default());
    let options = UnpackOptions::default().with_scheme(Some(Scheme::Blake3));
    let restored = Place::new();
    let unpacked = restored.unpack_with(&archive, &options).unwrap();
    assert_eq!(unpacked.content_hash.unwrap(), packed.content_hash);
    let again = archive_of(&restored, &PackOptions::default()).1;
    assert_eq!(again.content_hash, packed.content_hash);
}
