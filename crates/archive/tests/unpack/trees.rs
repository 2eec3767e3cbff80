//! Trees to restore, and their visible state.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use larder_hashing::Scheme;

use crate::support::Place;

/// Adds a hard link if requested.
pub(crate) const HARD_LINKS: [(&str, &str); 2] =
    [("m/d/executable", "m/other-name"), ("m/a", "m/d/third-name")];

/// Returns a tree with every kind of entry.
pub(crate) fn with_everything(hard_links: &[(&str, &str)]) -> Place {
    let place = with_short_names();
    let root = place.staging();
    let write = |name: &[u8], content: &[u8]| {
        let path = root.join(OsStr::from_bytes(name));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    write(b"m/.hidden/.git-is-fine-here", b"1");
    write("m/gr\u{fc}\u{df}e/\u{1f980}".as_bytes(), b"2");
    write(b"m/new\nline and space", b"3");
    write(b"m/\xff\xfe undecodable", b"4");
    write(b"m/--option", b"5");
    write(b"m/back\\slash", b"6");
    let long = "n".repeat(255);
    write(format!("m/{long}/{long}/{long}").as_bytes(), b"7");
    write(format!("m/{}f", "d/".repeat(200)).as_bytes(), b"8");
    // Larger than every buffer, and not a multiple of any.
    let large: Vec<u8> =
        (0..1_300_000_u32).flat_map(|i| (i ^ i >> 9).to_be_bytes()).take(5_000_001).collect();
    write(b"m/large", &large);
    write(b"m/large-too", &large[..1 << 20]);
    write(b"m/larger-than-small", &large[..=1 << 20]);
    for number in 0..300 {
        write(format!("m/many/{number}").as_bytes(), format!("{number} ").repeat(number * 11).as_bytes());
    }
    symlink(format!("{long}/{long}/{long}"), root.join("m/long-link")).unwrap();
    symlink("nowhere", root.join("m/dangling")).unwrap();
    symlink("loop", root.join("m/loop")).unwrap();
    symlink("../d/../d//./b", root.join("m/d/unnormalised")).unwrap();
    for (file, name) in hard_links {
        fs::hard_link(root.join(file), root.join(name)).unwrap();
    }
    place
}

/// Returns a tree that ustar can represent.
pub(crate) fn with_short_names() -> Place {
    let place = Place::new();
    let root = place.staging();
    fs::create_dir_all(root.join("m/d/empty")).unwrap();
    for (name, content) in [("m/a", "a file"), ("m/d/b", "b"), ("m/d/c", ""), ("m/x", &"x".repeat(512))] {
        fs::write(root.join(name), content).unwrap();
    }
    fs::write(root.join("m/d/executable"), "").unwrap();
    fs::set_permissions(root.join("m/d/executable"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("d/b", root.join("m/link")).unwrap();
    symlink("d", root.join("m/link-to-directory")).unwrap();
    place
}

/// Describes an unpacked tree, with a line for each entry.
pub(crate) fn listing(place: &Place) -> Vec<String> {
    let mut lines = Vec::new();
    list(&place.staging().join("m"), "m", &mut lines);
    lines
}

fn list(path: &Path, name: &str, lines: &mut Vec<String>) {
    let metadata = fs::symlink_metadata(path).unwrap();
    let mode = metadata.permissions().mode();
    if metadata.is_symlink() {
        let target = fs::read_link(path).unwrap().into_os_string().into_vec();
        lines.push(format!("{name} -> {}", target.escape_ascii()));
    } else if metadata.is_file() {
        let digest = Scheme::Blake3.digest(&fs::read(path).unwrap());
        let executable = if mode & 0o100 == 0 { "-" } else { "x" };
        lines.push(format!("{name} {} {executable} {digest}", metadata.len()));
    } else {
        lines.push(format!("{name}/ {mode:o}"));
        let mut children: Vec<_> =
            fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_vec()).collect();
        children.sort();
        for child in children {
            let shown = format!("{name}/{}", child.escape_ascii());
            list(&path.join(OsStr::from_bytes(&child)), &shown, lines);
        }
    }
}
