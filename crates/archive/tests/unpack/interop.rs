//! Archives of other programs, of a tree with every kind of entry.

use std::process::Command;
use std::sync::Mutex;

use larder_archive::{UnpackOptions, Unpacked};
use larder_hashing::{HashOptions, Scheme, content_hash};

use crate::support::{Place, bytes_of};
use crate::trees::{self, listing};

/// Runs a program that writes an archive to its standard output.
fn run(program: &str, arguments: &[&str], tree: &Place) -> Vec<u8> {
    let run = Command::new(program)
        .args(arguments)
        .current_dir(tree.staging())
        .output()
        .unwrap_or_else(|error| panic!("`{program}` has to be installed for this test: {error}"));
    assert!(run.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&run.stderr));
    run.stdout
}

/// Compresses an archive with the programs `zstd`, `gzip`, `xz` and `bzip2`.
pub(crate) fn compressed(format: usize, archive: &[u8]) -> Vec<u8> {
    static CACHE: Mutex<[Vec<u8>; 4]> = Mutex::new([const { Vec::new() }; 4]);
    let mut cache = CACHE.lock().unwrap();
    if cache[format].is_empty() {
        let place = Place::new();
        std::fs::write(place.staging().join("archive"), archive).unwrap();
        let program = ["zstd", "gzip", "xz", "bzip2"][format];
        cache[format] = run(program, &["-c", "archive"], &place);
    }
    cache[format].clone()
}

/// Unpacks the archive of another program, and compares it with the original.
#[track_caller]
fn restores(archive: &[u8], original: &Place, what: &str) {
    let place = Place::new();
    let unpacked = place.unpack(archive).unwrap_or_else(|error| panic!("{what}: {error:?}"));
    let expected = content_hash(&original.staging().join("m"), &HashOptions::default()).unwrap();
    assert_eq!(unpacked.content_hash, Some(expected), "{what}");
    assert_eq!(listing(&place), listing(original), "{what}");
}

#[test]
#[ignore = "needs python3, tar, zstd, gzip, xz and bzip2: `cargo xtask test` runs it where they are"]
fn archives_of_python_are_restored() {
    let tree = trees::with_everything(&trees::HARD_LINKS);
    let script = "
import sys, tarfile
form = getattr(tarfile, sys.argv[2] + '_FORMAT')
with tarfile.open(fileobj=sys.stdout.buffer, mode='w|' + sys.argv[1], format=form) as archive:
    archive.add('m')
";
    for compression in ["", "gz", "bz2", "xz"] {
        for format in ["GNU", "PAX"] {
            let archive = run("python3", &["-c", script, compression, format], &tree);
            restores(&archive, &tree, &format!("{format} {compression}"));
        }
    }
    let plain = trees::with_short_names();
    restores(&run("python3", &["-c", script, "gz", "USTAR"], &plain), &plain, "USTAR");
}

#[test]
#[ignore = "needs python3, tar, zstd, gzip, xz and bzip2: `cargo xtask test` runs it where they are"]
fn archives_of_tar_are_restored() {
    let tree = trees::with_everything(&trees::HARD_LINKS);
    for format in ["gnu", "pax", "oldgnu"] {
        let format = format!("--format={format}");
        for more in
            [&["-b1"][..], &["-b2048"], &["--sort=name", "--owner=0", "--mtime=@0"], &["--hard-dereference"]]
        {
            let arguments = [&["-c", &format][..], more, &["./m"]].concat();
            restores(&run("tar", &arguments, &tree), &tree, &format!("{arguments:?}"));
        }
    }
    let plain = trees::with_short_names();
    restores(&run("tar", &["-c", "--format=ustar", "m"], &plain), &plain, "ustar");
    for compression in ["--gzip", "--bzip2", "--xz", "--zstd"] {
        restores(&run("tar", &["-c", compression, "m"], &tree), &tree, compression);
    }
}

#[test]
#[ignore = "needs python3, tar, zstd, gzip, xz and bzip2: `cargo xtask test` runs it where they are"]
fn holes_that_tar_left_out_are_refused() {
    let tree = Place::new();
    std::fs::create_dir(tree.staging().join("m")).unwrap();
    let file = std::fs::File::create(tree.staging().join("m/holes")).unwrap();
    file.set_len(10 << 20).unwrap();
    for format in ["--format=gnu", "--format=pax"] {
        let archive = run("tar", &["-c", "--sparse", format, "m"], &tree);
        assert!(archive.len() < 1 << 20, "tar has left the hole out");
        let error = Place::new().unpack(&archive).unwrap_err();
        assert!(error.to_string().contains("sparse"), "{format}: {error:?}");
    }
}

#[test]
#[ignore = "needs python3, tar, zstd, gzip, xz and bzip2: `cargo xtask test` runs it where they are"]
fn an_archive_from_weasel_has_weasels_hash() {
    let tree = trees::with_short_names();
    let script = "
import sys, tarfile
with tarfile.open(fileobj=sys.stdout.buffer, mode='w|gz') as archive:
    archive.add('m', 'm')
";
    let archive = run("python3", &["-c", script], &tree);
    let place = Place::new();
    let options = UnpackOptions::default().with_scheme(Some(Scheme::Weasel));
    let Unpacked { content_hash: hash, .. } = place.unpack_with(&archive, &options).unwrap();
    // The MD5 of all bytes of all files, in the order of their paths. A link to a file counts as a file.
    let all = bytes_of(&tree, ["m/a", "m/d/b", "m/d/c", "m/link", "m/x"]);
    assert_eq!(hash.unwrap().as_str(), Scheme::Weasel.digest(&all).to_string());
}
