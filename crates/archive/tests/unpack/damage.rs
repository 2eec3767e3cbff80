//! A truncated archive and a damaged one have different errors.

use std::fs;

use larder_archive::{PackOptions, UnpackError};

use crate::round_trip::archive_of;
use crate::support::{Place, m};

const COMPRESSED: [&str; 4] = ["zstd", "gzip", "xz:0", "bzip2:1"];

/// Returns an archive of some text files.
fn archive(compression: &str) -> Vec<u8> {
    let place = Place::new();
    fs::create_dir(place.staging().join("m")).unwrap();
    for file in 0..3 {
        let lines: Vec<String> =
            (0_u64..4000).map(|line| format!("{file} {}\n", line * line * 7919 % 10_007)).collect();
        fs::write(place.staging().join(format!("m/{file}")), lines.concat()).unwrap();
    }
    archive_of(&place, &PackOptions::default().with_compression(compression.parse().unwrap())).0
}

fn failure(archive: &[u8]) -> UnpackError {
    Place::new().unpack(archive).expect_err("this archive is not whole")
}

#[test]
fn an_archive_that_is_cut_short_ends_early() {
    for compression in COMPRESSED.into_iter().chain(["none"]) {
        let whole = archive(compression);
        let len = whole.len();
        let in_its_first_bytes: &[usize] = if compression == "none" { &[] } else { &[1, 2, 3, 5, 11, 100] };
        let offsets = [512, 700, len / 3, len / 2, len - 1024, len - 600, len - 12, len - 5, len - 1];
        for &offset in [0].iter().chain(in_its_first_bytes).chain(&offsets) {
            let error = failure(&whole[..offset]);
            let is_truncated = matches!(error, UnpackError::Truncated { .. });
            assert!(is_truncated, "{compression} {offset} of {len}: {error:?}");
        }
    }
}

#[test]
fn a_bare_tar_ends_early_at_any_cut() {
    let tar = m().file("m/a", &[b'a'; 700]).file("m/b", b"b").end();
    for offset in (512..tar.len()).step_by(100) {
        let error = failure(&tar[..offset]);
        assert!(matches!(error, UnpackError::Truncated { .. }), "{offset}: {error:?}");
    }
}

#[test]
fn an_archive_with_other_bytes_is_damaged() {
    for compression in COMPRESSED {
        let whole = archive(compression);
        let middle = whole.len() / 4..whole.len() * 3 / 4;
        let step = middle.len() / 50;
        for (turn, offset) in middle.step_by(step).enumerate() {
            let mut bytes = whole.clone();
            bytes[offset] ^= 1 << (turn % 8);
            let error = failure(&bytes);
            let is_damaged = matches!(error, UnpackError::Damaged { .. });
            assert!(is_damaged, "{compression} {offset} of {}: {error:?}", whole.len());
        }
    }
}

#[test]
fn a_bare_tar_with_another_header_is_damaged() {
    let whole = m().file("m/a", b"content").file("m/b", b"content").end();
    for offset in [0, 3, 512 + 1, 512 + 124, 512 + 148, 1536 + 130] {
        let mut bytes = whole.clone();
        bytes[offset] ^= 4;
        let error = failure(&bytes);
        assert!(matches!(error, UnpackError::Damaged { .. }), "{offset}: {error:?}");
    }
}
