//! Archives that are damaged, ambiguous or without bounds.

use larder_archive::{Limits, UnpackErrorKind, UnpackOptions};
use larder_tree::TreeLimits;

use crate::support::{Header, Place, Tar, accepted, m, refused, refused_with};

#[test]
fn other_kinds_of_entries_are_refused() {
    for kind in [b'3', b'4', b'6', b'7', b'S', b'D', b'M', b'V', b'A', b'Z', b'g'] {
        refused(&m().header(&Header::new("m/a", kind)).end());
    }
    refused(&m().header(&Header { size: 512, ..Header::new("m/d", b'5') }).raw(&[1; 512]).end());
    refused(&m().file("m/a/", b"a directory with contents").end());
}

#[test]
fn an_archive_without_the_mark_of_its_end_is_refused() {
    let whole = m().file("m/a", b"content").end();
    let contents_end = whole.len() - 1024;
    for len in (0..whole.len()).step_by(64).chain([whole.len() - 1]) {
        let error = Place::new().unpack(&whole[..len]).expect_err(&format!("{len} bytes are not all of it"));
        assert_eq!(error.kind(), UnpackErrorKind::Integrity, "{len}: {error:?}");
    }
    refused(&whole[..contents_end]);
    refused(&whole[..contents_end + 512]);
    refused(&[&whole[..], &[0]].concat());
    // Programs pad their last record with zeros. Many megabytes of zeros are refused, because they take time.
    accepted(&[&whole[..], &[0; 512 * 18]].concat());
    accepted(&[&whole[..], &vec![0; 1 << 20]].concat());
    refused(&[&whole[..], &vec![0; 17 << 20]].concat());
}

#[test]
fn bytes_after_the_end_are_refused() {
    let whole = m().file("m/a", b"content").end();
    for after in [&b"x"[..], &[1; 512], &Tar::default().file("m/b", b"hidden").end()] {
        refused(&[&whole[..], after].concat());
        refused(&[&whole[..whole.len() - 512], after].concat());
    }
}

#[test]
fn padding_that_is_not_zero_is_refused() {
    let whole = m().pax(&[("comment", "x")]).file("m/a", b"content").file("m/b", b"").end();
    // The first and the last byte of padding after the pax records, and after the file.
    for place in [512 + 512 + 20, 512 + 1023, 2048 + 7, 2048 + 511] {
        let mut damaged = whole.clone();
        damaged[place] ^= 1;
        refused(&damaged);
    }
}

#[test]
fn a_flipped_bit_in_a_header_is_found() {
    let whole = m().file("m/a", b"content").end();
    let (_, unpacked) = accepted(&whole);
    // Every seventh bit covers each position within a byte.
    for bit in (512 * 8..1024 * 8).step_by(7) {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        // A leading zero of a number may become a space, which is the same number.
        let outcome = Place::new().unpack(&damaged);
        assert!(outcome.is_err() || *outcome.as_ref().unwrap() == unpacked, "bit {bit}: {outcome:?}");
    }
}

#[test]
fn headers_without_a_bound_are_refused_before_they_are_buffered() {
    let limits = Limits::default().with_header_bytes(64 << 10);
    let options = UnpackOptions::default().with_limits(limits);
    let long = "n".repeat(100 << 10);
    refused_with(&m().pax(&[("comment", &long)]).file("m/a", b"").end(), &options);
    refused_with(&m().gnu_long(b'L', &long).file("m/a", b"").end(), &options);
    let mut many = m();
    for _ in 0..100 {
        many = many.pax(&[("comment", "x")]);
    }
    refused_with(&many.file("m/a", b"").end(), &options);
    // This header claims a huge size.
    let endless = Header { size: 0o77_777_777_777, ..Header::new("pax", b'x') };
    refused(&m().header(&endless).raw(&vec![b'1'; 2 << 20]).0);
}

#[test]
fn sparse_files_are_refused() {
    let records =
        [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "1099511627776")];
    refused(&m().pax(&records).file("m/a", b"0\n").end());
    refused(
        &m().pax(&[("GNU.sparse.size", "1099511627776"), ("GNU.sparse.map", "0,0")]).file("m/a", b"").end(),
    );
    refused(&m().file_with(Header { gnu: true, ..Header::new("m/a", b'S') }, b"").end());
    refused(&m().pax(&[("SCHILY.realsize", "1099511627776")]).file("m/a", b"").end());
}

#[test]
fn more_entries_than_the_limit_are_refused() {
    let limits = Limits::default().with_tree(TreeLimits::default().with_entries(3));
    let options = UnpackOptions::default().with_limits(limits);
    let three = m().file("m/a", b"").symlink("m/l", "a");
    let place = Place::new();
    place.unpack_with(&three.clone().end(), &options).unwrap();
    refused_with(&three.link(b'1', "m/h", "m/a").end(), &options);
}

#[test]
fn an_archive_of_another_output_or_of_nothing_is_refused() {
    refused(&Tar::default().end());
    refused(&Tar::default().file("other", b"1").end());
    refused(&Tar::default().file("m2", b"1").end());
    refused(b"");
    refused(b"short");
    refused(&[0; 4096]);
    refused(&vec![0x55; 100_000]);
}

#[test]
fn an_object_of_a_later_format_is_recognized() {
    let error = Place::new().unpack(b"larder-chunks 2\nwhatever").unwrap_err();
    assert_eq!(error.kind(), UnpackErrorKind::Unsupported);
}
