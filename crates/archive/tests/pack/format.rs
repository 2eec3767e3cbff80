//! The contents of an archive, for this crate and for others.

use std::fs;

use larder_archive::{PackOptions, prepare};
use larder_hashing::{HashOptions, Scheme, content_hash};

use crate::support::{
    ParseOutput, Project, block_on, bytes, drain, list_with_python, plain, unpack_with_python,
    unpack_with_tar, workers,
};

/// Returns a tree with every kind of entry, and with several pieces of content.
fn rich() -> Project {
    let project = Project::new();
    let noise: Vec<u8> = (0_u32..5_000_000).map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[1]).collect();
    project
        .file("out/model/large.bin", &noise)
        .file("out/model/run.sh", "#!/bin/sh\n")
        .executable("out/model/run.sh")
        .file("out/model/empty-file", "")
        .directory("out/model/empty/inner")
        .file("out/model/a/z", "1")
        .file("out/model/a-b", "2")
        .file("out/model/with space\nand newline", "3")
        .file("out/model/ünïcode/日本語", "4")
        .file(bytes(b"out/model/\xff\xfe"), "5")
        .file(format!("out/model/{}", "n".repeat(200)), "6")
        .file(format!("out/model/{0}/{0}/{0}/x", "d".repeat(150)), "7")
        .file(bytes(&[&b"out/model/"[..], &b"\xe9".repeat(180)].concat()), "8")
        .directory(format!("out/model/{}", "e".repeat(120)))
        .link("out/model/link", "a/z")
        .link("out/model/sub/up", "../a")
        .link("out/model/long-link", format!("./{}", "n".repeat(200)))
        .link("out/model/dangling", "nothing");
    (0..300).for_each(|i| {
        project.file(format!("out/model/many/{i}"), format!("{i}").repeat(i));
    });
    project
}

#[test]
#[ignore = "needs python3, tar, zstd, gzip, xz and bzip2: `cargo xtask test` runs it where they are"]
fn tar_and_python_read_it_back_to_the_last_byte() {
    let project = rich();
    for scheme in Scheme::ALL {
        let options = PackOptions::new(scheme).with_compression("gzip:1".parse().unwrap());
        let (archive, packed) = project.pack("out/model", &options).unwrap();
        assert_eq!(packed.content_hash, project.hash("out/model", scheme), "{scheme}");
        assert_eq!(packed.archive_bytes, archive.len() as u64);
        for unpacked in [unpack_with_tar(&archive), unpack_with_python(&archive)] {
            // The blake3 hash covers names, kinds, links, execute bits and empty directories.
            let found = content_hash(&unpacked.path().join("out/model"), &HashOptions::default()).unwrap();
            assert_eq!(found, project.hash("out/model", Scheme::Blake3));
        }
    }
}

#[test]
fn any_number_of_threads_makes_the_same_bytes() {
    let project = rich();
    for compression in ["zstd", "gzip:1", "xz:0", "bzip2:1", "none"] {
        let options = PackOptions::default().with_compression(compression.parse().unwrap());
        let pack = |jobs| project.pack("out/model", &options.clone().with_workers(workers(jobs))).unwrap();
        let (one, eight) = (pack(1), pack(8));
        assert!(one == eight, "{compression}");
        let prepared = block_on(prepare(project.root(), &"out/model".parse_output(), &options)).unwrap();
        assert!(drain(prepared.pack()).unwrap() == one, "{compression}, from memory");
        assert!(drain(prepared.pack()).unwrap() == one, "{compression}, again");
    }
}

#[test]
fn place_and_time_do_not_change_the_bytes() {
    use std::time::{Duration, SystemTime};
    let (one, other) = (Project::new(), Project::new());
    for project in [&one, &other] {
        project.file("d/b", "1").file("d/a", "2").link("d/l", "a");
    }
    let file = fs::File::open(other.path("d/a")).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(7)).unwrap();
    assert_eq!(one.tar("d"), other.tar("d"));
}

#[test]
#[ignore = "needs python3, tar, zstd, gzip, xz and bzip2: `cargo xtask test` runs it where they are"]
fn every_entry_is_as_the_format_says() {
    let project = Project::new();
    project.file("out/d/file", "12345").file("out/d/run", "1").executable("out/d/run");
    project.directory("out/d/sub").link("out/d/to", "sub");
    let tar = project.tar("out/d");
    assert_eq!(
        list_with_python(&tar),
        [
            "'out/d' 5 0o755 0 0 '' 315619200 0 ''",
            "'out/d/file' 0 0o644 0 0 '' 315619200 5 ''",
            "'out/d/run' 0 0o755 0 0 '' 315619200 1 ''",
            "'out/d/sub' 5 0o755 0 0 '' 315619200 0 ''",
            "'out/d/to' 2 0o644 0 0 '' 315619200 0 'sub'",
        ]
    );
    // Five headers, two contents, and the two blocks of the end. The archive is not padded to twenty blocks.
    assert_eq!(tar.len(), (5 + 2 + 2) * 512);
    assert_eq!(&tar[..6], b"out/d/", "a directory's name ends with a slash");
    assert!(tar[7 * 512..].iter().all(|byte| *byte == 0));
}

#[test]
#[ignore = "needs python3, tar, zstd, gzip, xz and bzip2: `cargo xtask test` runs it where they are"]
fn a_single_file_is_its_only_entry() {
    let project = Project::new();
    project.file("metrics/run.json", "{}").link("alias", "metrics/run.json");
    for output in ["metrics/run.json", "alias"] {
        let (tar, packed) = project.pack(output, &plain()).unwrap();
        assert_eq!(list_with_python(&tar), [format!("'{output}' 0 0o644 0 0 '' 315619200 2 ''")]);
        assert_eq!((packed.entries, packed.content_bytes), (1, 2));
        assert_eq!(packed.content_hash, project.hash(output, Scheme::Blake3));
    }
}

#[test]
#[ignore = "needs python3, tar, zstd, gzip, xz and bzip2: `cargo xtask test` runs it where they are"]
fn the_path_and_not_the_key_is_in_the_archive() {
    let project = Project::new();
    project.file("out/f", "1");
    let output = larder_hashing::OutputPath::with_literal_key("./out/").unwrap();
    let (tar, _) = drain(larder_archive::pack(project.root(), &output, &plain())).unwrap();
    assert!(list_with_python(&tar)[0].starts_with("'out' 5 "));
}

#[test]
fn no_archive_looks_like_an_object_of_a_later_format() {
    let project = Project::new();
    project.file("larder-model/f", "1");
    let tar = project.tar("larder-model");
    assert!(!tar.starts_with(larder_archive::LATER_FORMAT));
    assert!(tar.starts_with(b"./larder-model/\0"));
}

#[test]
#[ignore = "needs python3, tar, zstd, gzip, xz and bzip2: `cargo xtask test` runs it where they are"]
fn dereferencing_stores_what_links_point_at() {
    let project = Project::new();
    project
        .file("elsewhere/f", "1")
        .file("d/a", "2")
        .link("d/l", "../elsewhere")
        .link("d/abs", project.path("d/a"));
    project.file("copy/a", "2").file("copy/l/f", "1").file("copy/abs", "2");
    for scheme in Scheme::ALL {
        let options = PackOptions::new(scheme).with_dereference(true);
        let (archive, packed) =
            project.pack("d", &options.with_compression("gzip".parse().unwrap())).unwrap();
        assert_eq!(packed.content_hash, project.hash("copy", scheme));
        let unpacked = unpack_with_tar(&archive);
        let found = content_hash(&unpacked.path().join("d"), &HashOptions::new(Scheme::Blake3)).unwrap();
        assert_eq!(found, project.hash("copy", Scheme::Blake3));
    }
}

#[test]
#[ignore = "needs python3, tar, zstd, gzip, xz and bzip2: `cargo xtask test` runs it where they are"]
fn a_deep_tree_survives() {
    let project = Project::new();
    let deep = format!("d/{}file", "directory-level/".repeat(200));
    project.file(deep, "deep");
    let archive =
        project.pack("d", &PackOptions::default().with_compression("gzip".parse().unwrap())).unwrap().0;
    for unpacked in [unpack_with_tar(&archive), unpack_with_python(&archive)] {
        let found = content_hash(&unpacked.path().join("d"), &HashOptions::default()).unwrap();
        assert_eq!(found, project.hash("d", Scheme::Blake3));
    }
}

/// Outputs below and above the memory limit, and those that reach it midway, are packed alike.
#[test]
fn memory_limits_do_not_change_the_archive() {
    for (count, len) in [(1, 10_usize), (30, 1 << 20), (70, 1 << 20), (2, 36 << 20), (1, 72 << 20)] {
        let project = Project::new();
        (0..count).for_each(|i| {
            project.file(format!("d/{i:02}"), vec![i; len]);
        });
        for scheme in Scheme::ALL {
            let options = PackOptions::new(scheme).with_compression("zstd:1".parse().unwrap());
            let prepared = block_on(prepare(project.root(), &"d".parse_output(), &options)).unwrap();
            assert_eq!(prepared.content_bytes(), u64::from(count) * len as u64);
            assert_eq!(*prepared.content_hash(), project.hash("d", scheme));
            let (archive, packed) = drain(prepared.pack()).unwrap();
            assert_eq!(packed.content_hash, *prepared.content_hash());
            assert!(
                (archive, packed) == project.pack("d", &options).unwrap(),
                "{count} of {len} under {scheme}"
            );
        }
    }
}
