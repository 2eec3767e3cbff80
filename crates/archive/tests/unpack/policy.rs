//! What unpacking accepts, and what it refuses: archives as nobody's tar would make them.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use bytes::Bytes;
use futures::executor::block_on;
use futures::stream;
use larder_archive::{Limits, UnpackErrorKind, UnpackOptions, unpack};
use larder_hashing::{OutputPath, Scheme};
use larder_tree::TreeLimits;

use crate::support::{Header, Place, Tar, accepted, m, refused, refused_with};

#[test]
fn what_tars_of_all_kinds_write_is_accepted() {
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
fn modes_are_what_the_umask_leaves_and_nothing_special_is_restored() {
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

// FINDINGS of what a parser alone would accept, in their order.

#[test]
fn names_that_leave_the_output_are_refused() {
    for name in ["../victim", "m/../../victim", "m/../m/a", "/m/a", "/victim", "other", "mm/a", "m/./a", ""] {
        refused(&m().file(name, b"evil").end());
    }
    refused(&m().pax(&[("path", "../victim")]).file("m/a", b"evil").end());
    refused(
        &m().gnu_long(b'L', "../victim")
            .file_with(Header { gnu: true, ..Header::new("m/a", b'0') }, b"x")
            .end(),
    );
    refused(&Tar::default().dir("..").end());
}

#[test]
fn what_is_neither_file_directory_nor_link_is_refused() {
    for kind in [b'3', b'4', b'6', b'7', b'S', b'D', b'M', b'V', b'A', b'Z', b'g'] {
        refused(&m().header(&Header::new("m/a", kind)).end());
    }
    refused(&m().header(&Header { size: 512, ..Header::new("m/d", b'5') }).raw(&[1; 512]).end());
    refused(&m().file("m/a/", b"a directory with contents").end());
}

#[test]
fn links_that_leave_the_output_by_their_text_are_refused() {
    for (name, target) in [
        ("m/l", "/etc/passwd"),
        ("m/l", ".."),
        ("m/l", "../victim"),
        ("m/d/l", "../../victim"),
        ("m/d/l", "x/../../../victim"),
        ("m", "victim"),
        ("m/l", ""),
        ("m/l", &"n/".repeat(2100)),
    ] {
        let link = Tar::default().pax(&[("linkpath", target)]).symlink(name, "").0;
        if !target.is_empty() {
            refused(&m().raw(&link).end());
        }
        if target.len() > 100 {
            continue;
        }
        refused(&m().symlink(name, target).end());
    }
    refused(&m().pax(&[("linkpath", "a\0b")]).symlink("m/l", "").end());
    accepted(&m().symlink("m/d/l", "../a").file("m/a", b"1").end());
    accepted(&m().symlink("m/dangling", "nowhere").end());
}

#[test]
fn links_that_leave_the_output_through_other_links_are_refused() {
    // Each is harmless by its text, where it stands.
    let chain = m().dir("m/x/y/z/").symlink("m/x/y/z/s", "../../..").symlink("m/x/y/z/t", "s/../victim");
    refused(&chain.end());
    refused(&m().dir("m/a/b/").symlink("m/up", "a/b").symlink("m/l", "up/../../../victim").end());
    refused(&m().dir("m/a/").symlink("m/a/top", "..").symlink("m/l", "a/top/..").end());
}

#[test]
fn nothing_is_created_through_a_link() {
    for target in [".", "d", "../..", "/tmp"] {
        refused(&m().dir("m/d/").symlink("m/l", target).file("m/l/evil", b"evil").end());
        refused(&m().dir("m/d/").symlink("m/l", target).dir("m/l/evil").end());
        refused(&m().dir("m/d/").symlink("m/l", target).symlink("m/l/evil", "x").end());
        refused(&m().dir("m/d/").file("m/l/evil", b"evil").symlink("m/l", target).end());
    }
    refused(&m().symlink("m/l", "f").file("m/l", b"evil").end());
    refused(&m().symlink("m/l", "f").symlink("m/l", "g").end());
}

#[test]
fn links_are_made_verbatim() {
    let archive = m().dir("m/d/").file("m/d/t", b"1").symlink("m/l", "d/../d//./t").end();
    let (place, _) = accepted(&archive);
    assert_eq!(fs::read_link(place.staging().join("m/l")).unwrap().as_os_str().as_bytes(), b"d/../d//./t");
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
    // Programs fill up their last record. But nobody needs so many zeros that they take time.
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
    // The first byte after the records of the pax header, the last one there, and those of the file.
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
    // Every seventh bit: each place within a byte has its turn.
    for bit in (512 * 8..1024 * 8).step_by(7) {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        // A zero in front of a number may become a space: then it is the same number.
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
    // One that only claims to be endless.
    let endless = Header { size: 0o77_777_777_777, ..Header::new("pax", b'x') };
    refused(&m().header(&endless).raw(&vec![b'1'; 2 << 20]).0);
}

#[test]
fn paths_that_are_too_deep_or_too_long_are_refused_before_anything_is_made_of_them() {
    let place = Place::new();
    let deep = format!("m/{}", "d/".repeat(3000));
    place.unpack(&m().pax(&[("path", &deep)]).dir("m/x").end()).unwrap_err();
    assert!(fs::read_dir(place.staging().join("m")).unwrap().next().is_none(), "no directories are left");
    refused(&m().pax(&[("path", &format!("m/{}f", "d/".repeat(256)))]).file("m/x", b"").end());
    accepted(&m().pax(&[("path", &format!("m/{}f", "d/".repeat(255)))]).file("m/x", b"").end());
    refused(&m().pax(&[("path", &format!("m/{}", "name/".repeat(820)))]).file("m/x", b"").end());
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
fn a_name_is_used_once() {
    refused(&m().file("m/a", b"1").file("m/a", b"2").end());
    refused(&m().file("m/a", b"1").file("m//a", b"2").end());
    refused(&m().file("m/a", b"1").dir("m/a/").end());
    refused(&m().file("m/a", b"1").file("m/a/b", b"2").end());
    refused(&m().file("m/a/b", b"1").file("m/a", b"2").end());
    refused(&m().file("m/a", b"1").link(b'1', "m/a", "m/a").end());
    refused(&Tar::default().file("m", b"1").file("m/a", b"2").end());
    // A directory may be named again: nothing is lost by it.
    accepted(&m().dir("m/d/").file("m/d/f", b"1").dir("m/d/").dir("m/").end());
}

#[test]
fn hard_links_lead_to_earlier_files_of_the_archive() {
    accepted(&m().file("m/a", b"1").link(b'1', "m/b", "./m/a").end());
    // What comes later, a directory, a link, itself, nothing, and what is outside.
    let targets = ["m/later", "m/d", "m/l", "m/h", "m/absent", "victim", "../victim", "/etc/passwd", ""];
    for target in targets {
        let archive = m().dir("m/d/").file("m/a", b"1").symlink("m/l", "a").link(b'1', "m/h", target);
        refused(&archive.file("m/later", b"2").end());
    }
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
fn an_object_of_a_later_format_is_told_apart() {
    let error = Place::new().unpack(b"larder-chunks 2\nwhatever").unwrap_err();
    assert_eq!(error.kind(), UnpackErrorKind::Unsupported);
}

#[test]
fn what_is_there_already_is_no_fault_of_the_archive() {
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
fn an_output_below_directories_makes_them() {
    let place = Place::new();
    let archive = Tar::default().file("a/b/m", b"1").end();
    let stream = stream::iter([Ok::<_, std::io::Error>(Bytes::from(archive))]);
    let output = OutputPath::new("a/b/m").unwrap();
    block_on(unpack(stream, &place.staging(), &output, &UnpackOptions::default())).unwrap();
    assert_eq!(place.read("a/b/m").unwrap(), b"1");
}

#[test]
fn a_failing_stream_gives_its_error_back() {
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

#[test]
fn names_that_are_not_text_come_back_byte_by_byte() {
    let mut header = Header::new("", b'0');
    header.name = b"m/\xff\xfe".to_vec();
    let (place, _) = accepted(&m().file_with(header, b"1").end());
    let name = std::ffi::OsStr::from_bytes(b"m/\xff\xfe");
    assert_eq!(fs::read(place.staging().join(Path::new(name))).unwrap(), b"1");
}

#[test]
fn names_that_would_exhaust_the_memory_are_refused() {
    // Links are remembered until the end: a few hundred kilobytes, compressed, would take gigabytes.
    let (dir, target) = ("d/".repeat(120) + &"n".repeat(2000), "t".repeat(3000));
    let mut tar = m();
    for number in 0..40_000 {
        let name = format!("m/{dir}{number}");
        tar = tar.pax(&[("path", &name), ("linkpath", &target)]).symlink("m/l", "t");
    }
    let why = refused(&tar.end());
    assert!(why.contains("long names"), "{why}");
}

#[test]
fn links_that_take_too_many_steps_to_follow_are_refused() {
    let steps = "x/../".repeat(700);
    let mut tar = m().dir("m/x/");
    for number in 0..30 {
        tar = tar
            .pax(&[("linkpath", &format!("{steps}c{}", number + 1))])
            .symlink(&format!("m/c{number}"), "c");
    }
    let why = refused(&tar.file("m/c30", b"1").end());
    assert!(why.contains("steps"), "{why}");
}
