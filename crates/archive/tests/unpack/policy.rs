//! Archives that are accepted, and outputs that they create.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use bytes::Bytes;
use futures::executor::block_on;
use futures::stream;
use larder_archive::{UnpackErrorKind, UnpackOptions, unpack};
use larder_hashing::{OutputPath, Scheme};

use crate::support::{Header, Place, Tar, accepted, m, refused};

#[test]
fn archives_of_all_tar_programs_are_accepted() {
    let long = "n".repeat(200);
    let archive = m()
        .file("m/plain", b"1")
        .file("./m/dotted", b"2")
        .file("m//double", b"3")
        .dir("m/empty")
        .file("m/no/parents/named", b"4")
        .pax(&[("path", &format!("m/{long}")), ("mtime", "1.5")])
        .file("m/short", b"5")
        .gnu_long(b'L', &format!("m/g{long}"))
        .file_with(Header { gnu: true, ..Header::new("m/gshort", b'0') }, b"6")
        .file_with(Header { kind: 0, ..Header::new("m/old", b'0') }, b"7")
        .symlink("m/link", "no/parents")
        .link(b'1', "m/hard", "m/plain")
        .end();
    let (place, unpacked) = accepted(&archive);
    for (name, content) in [
        ("m/plain", "1"),
        ("m/dotted", "2"),
        ("m/double", "3"),
        ("m/link/named", "4"),
        (&format!("m/{long}"), "5"),
        (&format!("m/g{long}"), "6"),
        ("m/old", "7"),
        ("m/hard", "1"),
    ] {
        assert_eq!(place.read(name).as_deref(), Some(content.as_bytes()), "{name}");
    }
    assert!(place.staging().join("m/empty").is_dir());
    assert!(unpacked.is_dir);
    assert_eq!(unpacked.archive_bytes, archive.len() as u64);
}

/// `tar --no-recursion`, libarchive and Go's `archive/tar` write such archives.
#[test]
fn parents_without_an_entry_are_created() {
    let (place, unpacked) = accepted(&Tar::default().file("m/d/e/f", b"1").end());
    assert_eq!(place.read("m/d/e/f").unwrap(), b"1");
    assert!(unpacked.is_dir);
    accepted(&Tar::default().file("m/d/e/f", b"1").dir("m/d").dir("m").dir("m/d/e").end());
    accepted(&Tar::default().dir("m/d/e").symlink("m/x/y", "../d").end());
    accepted(&Tar::default().symlink("m/x/y/z", "..").end());
    refused(&Tar::default().file("m", b"1").file("m/d/f", b"1").end());
    refused(&Tar::default().file("m/d/f", b"1").file("m", b"1").end());
    refused(&Tar::default().file("m/d/f", b"1").file("m/d", b"1").end());
}

#[test]
fn a_single_file_is_an_output_and_an_empty_directory_too() {
    let (place, unpacked) = accepted(&Tar::default().file("m", b"content").end());
    assert_eq!((place.read("m").unwrap().as_slice(), unpacked.is_dir), (b"content".as_slice(), false));
    assert_eq!(
        unpacked.content_hash.unwrap().as_str(),
        format!("blake3-{}", Scheme::Blake3.digest(b"content"))
    );
    accepted(&m().end());
}

#[test]
fn large_files_and_many_small_ones_are_hashed_as_they_are_written() {
    let large: Vec<u8> = (0..1_250_000_u32).flat_map(|i| i.wrapping_mul(i).to_le_bytes()).collect();
    let mut tar = m().file("m/large", &large);
    for number in 0..3000 {
        tar = tar.file(&format!("m/{number}"), format!("{number}").repeat(number % 50).as_bytes());
    }
    let (place, _) = accepted(&tar.file("m/second", &large[1..]).end());
    assert_eq!(place.read("m/large").unwrap(), large);
    assert_eq!(place.read("m/second").unwrap(), &large[1..]);
}

#[test]
fn modes_follow_the_umask_and_special_bits_are_dropped() {
    let mode = |name: &str, mode| Header { mode, ..Header::new(name, b'0') };
    let archive = Tar::default()
        .header(&Header { mode: 0o7777, ..Header::new("m/", b'5') })
        .file_with(mode("m/x", 0o6755), b"")
        .file_with(mode("m/group", 0o077), b"")
        .file_with(mode("m/secret", 0o000), b"")
        .end();
    let (place, _) = accepted(&archive);
    fs::write(place.staging().join("plain"), "").unwrap();
    let plain = fs::metadata(place.staging().join("plain")).unwrap().permissions().mode() & 0o7777;
    let of = |name: &str| fs::metadata(place.staging().join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((of("m/group"), of("m/secret")), (plain, plain));
    assert_eq!(of("m/x"), plain | (plain & 0o444) >> 2);
    assert_eq!(of("m") & 0o7000, 0);
    assert!(
        fs::metadata(place.staging().join("m/x")).unwrap().mtime() > 1_000_000_000,
        "times are not restored"
    );
}

#[test]
fn names_that_are_not_text_come_back_byte_by_byte() {
    let mut header = Header::new("", b'0');
    header.name = b"m/\xff\xfe".to_vec();
    let (place, _) = accepted(&m().file_with(header, b"1").end());
    let name = std::ffi::OsStr::from_bytes(b"m/\xff\xfe");
    assert_eq!(fs::read(place.staging().join(Path::new(name))).unwrap(), b"1");
}

#[test]
fn parents_of_the_output_are_created() {
    let place = Place::new();
    let archive = Tar::default().file("a/b/m", b"1").end();
    let stream = stream::iter([Ok::<_, std::io::Error>(Bytes::from(archive))]);
    let output = OutputPath::new("a/b/m").unwrap();
    block_on(unpack(stream, &place.staging(), &output, &UnpackOptions::default())).unwrap();
    assert_eq!(place.read("a/b/m").unwrap(), b"1");
}

#[test]
fn existing_files_are_not_the_fault_of_the_archive() {
    for archive in [m().file("m/a", b"1").end(), Tar::default().file("m", b"1").end()] {
        for there in [Tar::default().file("m", b"0"), m().file("m/b", b"0")] {
            let place = Place::new();
            place.unpack(&there.end()).unwrap();
            assert_eq!(place.unpack(&archive).unwrap_err().kind(), UnpackErrorKind::Local);
            assert!([place.read("m"), place.read("m/b")].contains(&Some(b"0".to_vec())), "it is as it was");
        }
    }
}

#[test]
fn the_error_of_the_stream_is_returned() {
    let archive = m().file("m/a", &vec![7; 100_000]).end();
    let chunks =
        [Ok(Bytes::copy_from_slice(&archive[..5000])), Err(std::io::Error::other("the line is down"))];
    let error = block_on(unpack(
        stream::iter(chunks),
        &Place::new().staging(),
        &OutputPath::new("m").unwrap(),
        &UnpackOptions::default(),
    ))
    .unwrap_err();
    assert_eq!(error.kind(), UnpackErrorKind::Source);
    assert_eq!(error.into_source::<std::io::Error>().unwrap().to_string(), "the line is down");
}
