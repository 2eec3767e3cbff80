//! Weasel's hash from unpacking equals that of the finished tree, for any order of the archive.

use larder_archive::UnpackOptions;
use larder_hashing::{HashOptions, Scheme, content_hash};

use crate::support::{Place, Tar, m};

#[test]
fn the_hash_is_that_of_the_finished_tree() {
    let large = vec![7; 3 << 20];
    let archives = [
        // In weasel's order, by the bytes of whole paths, and in an arbitrary order.
        m().file("m/a/x", b"1").file("m/a!", b"2").file("m/b", &large),
        m().file("m/a!", b"2").file("m/a/x", b"1").file("m/b", &large),
        m().file("m/b", &large).file("m/a", b"1"),
        m().file("m/a", b"1").symlink("m/l", "a").file("m/z", b"2"),
        m().file("m/a", b"1").link(b'1', "m/h", "m/a").file("m/z", b"2"),
        m().dir("m/empty/"),
        Tar::default().file("m", b"a file"),
    ];
    for (index, tar) in archives.into_iter().enumerate() {
        let place = Place::new();
        let options = UnpackOptions::default().with_scheme(Some(Scheme::Weasel));
        let unpacked = place.unpack_with(&tar.end(), &options).unwrap();
        let finished = content_hash(&place.staging().join("m"), &HashOptions::new(Scheme::Weasel)).unwrap();
        assert_eq!(unpacked.content_hash, Some(finished), "archive {index}");
    }
}
