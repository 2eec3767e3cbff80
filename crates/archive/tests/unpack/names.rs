//! Names and links that are refused.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use crate::support::{Header, Place, Tar, accepted, m, refused};

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
fn a_name_is_used_once() {
    refused(&m().file("m/a", b"1").file("m/a", b"2").end());
    refused(&m().file("m/a", b"1").file("m//a", b"2").end());
    refused(&m().file("m/a", b"1").dir("m/a/").end());
    refused(&m().file("m/a", b"1").file("m/a/b", b"2").end());
    refused(&m().file("m/a/b", b"1").file("m/a", b"2").end());
    refused(&m().file("m/a", b"1").link(b'1', "m/a", "m/a").end());
    refused(&Tar::default().file("m", b"1").file("m/a", b"2").end());
    // A directory may be named again, because nothing is lost.
    accepted(&m().dir("m/d/").file("m/d/f", b"1").dir("m/d/").dir("m/").end());
}

#[test]
fn too_deep_or_too_long_paths_are_refused_early() {
    let place = Place::new();
    let deep = format!("m/{}", "d/".repeat(3000));
    place.unpack(&m().pax(&[("path", &deep)]).dir("m/x").end()).unwrap_err();
    assert!(fs::read_dir(place.staging().join("m")).unwrap().next().is_none(), "no directories are left");
    refused(&m().pax(&[("path", &format!("m/{}f", "d/".repeat(256)))]).file("m/x", b"").end());
    accepted(&m().pax(&[("path", &format!("m/{}f", "d/".repeat(255)))]).file("m/x", b"").end());
    refused(&m().pax(&[("path", &format!("m/{}", "name/".repeat(820)))]).file("m/x", b"").end());
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
    // Each link is harmless by its own text.
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
fn links_keep_their_text() {
    let archive = m().dir("m/d/").file("m/d/t", b"1").symlink("m/l", "d/../d//./t").end();
    let (place, _) = accepted(&archive);
    assert_eq!(fs::read_link(place.staging().join("m/l")).unwrap().as_os_str().as_bytes(), b"d/../d//./t");
}

#[test]
fn hard_links_lead_to_earlier_files_of_the_archive() {
    accepted(&m().file("m/a", b"1").link(b'1', "m/b", "./m/a").end());
    // A later file, a directory, a link, the link itself, a missing file, and files outside.
    let targets = ["m/later", "m/d", "m/l", "m/h", "m/absent", "victim", "../victim", "/etc/passwd", ""];
    for target in targets {
        let archive = m().dir("m/d/").file("m/a", b"1").symlink("m/l", "a").link(b'1', "m/h", target);
        refused(&archive.file("m/later", b"2").end());
    }
}

#[test]
fn names_that_would_exhaust_the_memory_are_refused() {
    // Links are kept until the end. A few hundred compressed kilobytes could take gigabytes.
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
