//! Every kind of output comes back identical.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::process::ExitCode;

use larder_tests::{Case, Entry, Need, Sandbox, Tree, noise, run};

fn main() -> ExitCode {
    run(
        "roundtrip",
        &[
            Case::new("every_kind_of_name_and_entry_in_every_compression", every_compression),
            Case::new("files_and_directories_of_every_shape", every_shape),
            Case::new("paths_are_relative_to_the_working_directory", working_directory),
            Case::new("an_output_that_is_a_link_is_followed_and_links_inside_are_kept", links),
            Case::new("dereference_stores_what_links_point_at", dereference),
            Case::new("pushing_twice_uploads_once_and_says_so", pushed_twice),
            Case::new("the_embedded_default_remote_keeps_on_this_machine", embedded_default),
            Case::new("a_pull_elsewhere_leaves_the_output_alone", pull_to),
            Case::new("a_hundred_thousand_small_files", many_files).needs(&[Need::Disk(3)]),
            Case::new("five_gib_in_constant_memory", five_gib_in_constant_memory).needs(&[Need::Disk(14)]),
            Case::new("many_outputs_and_threads_in_constant_memory", many_outputs).needs(&[Need::Disk(4)]),
            Case::new("files_of_a_mebibyte_in_constant_memory", files_of_a_mebibyte),
            Case::new("strong_compressions_in_constant_memory", strong_compressions),
        ],
    )
}

fn every_compression() {
    let sandbox = Sandbox::new();
    let tree = Tree::awkward();
    tree.write(&sandbox.path("model"));
    for compression in ["zstd", "gzip", "xz:0", "bzip2", "none", "zstd:19", "gz:1", "bz2:1"] {
        let hash = compression.replace(':', "_");
        let push = sandbox
            .run(["push", "model", "--json", "--command-hash", &hash, "--compression", compression])
            .ok();
        assert_eq!(push.outcome(), "uploaded", "{push}");
        fs::remove_dir_all(sandbox.path("model")).unwrap();
        let pull = sandbox.run(["pull", "model", "--json", "--command-hash", &hash]).ok();
        assert_eq!(pull.outcome(), "restored", "{pull}");
        assert_eq!(pull.results()[0]["verified"], true, "{pull}");
        assert_eq!(pull.field("content_hash"), push.field("content_hash"));
        Tree::read(&sandbox.path("model")).assert_same(&tree);
    }
    sandbox.assert_clean();
}

fn every_shape() {
    let empty = Tree::new();
    let shapes: [(&str, Tree); 9] = [
        ("file", Tree::of_file("contents")),
        ("empty file", Tree::of_file("")),
        ("a/deep/nested.file", Tree::of_file(noise(1, 100_000))),
        ("größe/日本語", Tree::of_file("named in other scripts")),
        ("tool", Tree::default().with_entry("", Entry::File(b"#!/bin/sh\n".to_vec(), true))),
        ("an empty directory", empty.clone()),
        ("models/en", Tree::small(1)),
        ("line\nbreak", Tree::small(2)),
        ("100%+2F~", empty.with("only", "one")),
    ];
    for scheme in ["blake3", "sha256", "weasel"] {
        let sandbox = Sandbox::new();
        for (path, tree) in &shapes {
            tree.write(&sandbox.path(path));
        }
        for (path, tree) in &shapes {
            sandbox.run(["push", path, "--hash", scheme]).ok();
            fs::rename(sandbox.path(path), sandbox.root().join("aside")).unwrap();
            let pull = sandbox.run(["pull", path, "--hash", scheme, "--json"]).ok();
            assert_eq!(pull.outcome(), "restored", "{path:?} under {scheme}: {pull}");
            Tree::read(&sandbox.path(path)).assert_same(tree);
            let aside = sandbox.root().join("aside");
            if aside.is_dir() { fs::remove_dir_all(aside) } else { fs::remove_file(aside) }.unwrap();
        }
        assert_eq!(sandbox.keys().len(), shapes.len());
    }
}

fn working_directory() {
    let sandbox = Sandbox::new();
    Tree::small(1).write(&sandbox.path("models/en"));
    let push = sandbox.larder(["push", "en", "--json"]).in_dir(sandbox.path("models")).run().ok();
    assert_eq!(push.field("path"), "models/en");
    assert!(sandbox.keys()[0].starts_with("models%2Fen/"), "{:?}", sandbox.keys());
    fs::remove_dir_all(sandbox.path("models")).unwrap();
    let call = sandbox.larder(["-C", "project", "pull", "./models//en/"]).in_dir(sandbox.root());
    call.run().ok();
    Tree::read(&sandbox.path("models/en")).assert_same(&Tree::small(1));
}

fn links() {
    let sandbox = Sandbox::new();
    Tree::small(1).write(&sandbox.path("v2"));
    symlink("v2", sandbox.path("model")).unwrap();
    sandbox.run(["push", "model"]).ok();
    // The link is replaced, and its target does not change.
    fs::write(sandbox.path("v2/config.cfg"), "changed").unwrap();
    let changed = Tree::read(&sandbox.path("v2"));
    sandbox.run(["pull", "model", "--force"]).ok();
    assert!(!sandbox.path("model").is_symlink());
    Tree::read(&sandbox.path("model")).assert_same(&Tree::small(1));
    Tree::read(&sandbox.path("v2")).assert_same(&changed);
}

fn dereference() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("outside"), "from outside").unwrap();
    Tree::new().with("inside", "from inside").write(&sandbox.path("model"));
    symlink("inside", sandbox.path("model/one")).unwrap();
    symlink("../outside", sandbox.path("model/two")).unwrap();
    sandbox.run(["push", "model"]).fails(1, &["model/two", "--dereference"]);
    sandbox.run(["push", "model", "--dereference"]).ok();
    fs::remove_dir_all(sandbox.path("model")).unwrap();
    sandbox.run(["pull", "model"]).ok();
    let expected =
        Tree::new().with("inside", "from inside").with("one", "from inside").with("two", "from outside");
    Tree::read(&sandbox.path("model")).assert_same(&expected);
}

fn pushed_twice() {
    let sandbox = Sandbox::new();
    Tree::small(1).write(&sandbox.path("model"));
    sandbox.run(["push", "model"]).ok();
    let before = sandbox.object().metadata().unwrap();
    let again = sandbox.run(["push", "model"]).ok();
    assert!(again.said().contains("already present"), "{again}");
    let after = sandbox.object().metadata().unwrap();
    assert_eq!(
        (before.ino(), before.mtime_nsec()),
        (after.ino(), after.mtime_nsec()),
        "the object is not renewed"
    );
    let third = sandbox.run(["push", "model", "--json"]).ok();
    assert_eq!(third.outcome(), "already_present");
    sandbox.assert_clean();
}

fn embedded_default() {
    let sandbox = Sandbox::new();
    sandbox.configure("");
    Tree::small(1).write(&sandbox.path("model"));
    let push = sandbox.run(["push", "model"]).ok();
    assert!(push.said().contains("kept on this machine only"), "{push}");
    assert_eq!(fs::read_to_string(sandbox.path(".larder/.gitignore")).unwrap().trim(), "*");
    assert!(sandbox.path(".larder/store/model").is_dir());
    fs::remove_dir_all(sandbox.path("model")).unwrap();
    sandbox.run(["pull", "model"]).ok();
    Tree::read(&sandbox.path("model")).assert_same(&Tree::small(1));
}

fn pull_to() {
    let sandbox = Sandbox::new();
    Tree::small(1).write(&sandbox.path("models/en"));
    sandbox.run(["push", "models/en"]).ok();
    fs::remove_dir_all(sandbox.path("models/en")).unwrap();
    Tree::small(2).write(&sandbox.path("models/en"));
    sandbox.run(["pull", "models/en", "--to", "compare"]).ok();
    Tree::read(&sandbox.path("compare/models/en")).assert_same(&Tree::small(1));
    Tree::read(&sandbox.path("models/en")).assert_same(&Tree::small(2));
}

fn many_files() {
    let sandbox = Sandbox::new();
    let path_of = |i: u32| format!("{:03}/{i:06}.txt", i % 250);
    let contents_of = |i: u32| format!("the {i}th of many small texts\n").repeat(1 + i as usize % 7);
    let root = sandbox.path("corpus");
    (0..250).for_each(|i| fs::create_dir_all(root.join(format!("{i:03}"))).unwrap());
    (0..100_000).for_each(|i| fs::write(root.join(path_of(i)), contents_of(i)).unwrap());
    sandbox.run(["push", "corpus"]).ok();
    fs::remove_dir_all(&root).unwrap();
    sandbox.run(["pull", "corpus"]).ok();
    let mut files = 0;
    for dir in fs::read_dir(&root).unwrap() {
        files += fs::read_dir(dir.unwrap().path()).unwrap().count();
    }
    assert_eq!(files, 100_000);
    for i in 0..100_000 {
        assert_eq!(fs::read_to_string(root.join(path_of(i))).unwrap(), contents_of(i), "{}", path_of(i));
    }
}

fn many_outputs() {
    Sandbox::new().assert_transfers_in_constant_memory();
}

fn files_of_a_mebibyte() {
    Sandbox::new().assert_files_in_constant_memory();
}

fn strong_compressions() {
    Sandbox::new().assert_strong_compressions_in_constant_memory();
}

/// Distinct blocks: 64 compressible ones and 64 incompressible ones in turns, so that an archive's frames have very
/// different sizes.
fn five_gib_blocks() -> impl Iterator<Item = Vec<u8>> {
    const BLOCK: usize = 1 << 20;
    let repeated = noise(5, 16 << 10).repeat(BLOCK >> 14);
    (0_u64..5 << 10).map(move |number| {
        if number / 64 % 2 == 1 {
            return noise(number, BLOCK);
        }
        let mut block = repeated.clone();
        block[..8].copy_from_slice(&number.to_le_bytes());
        block
    })
}

/// Returns the memory limit of a transfer on this machine in MiB. It is `two_cores` on a machine with two cores.
fn most_memory(two_cores: u64) -> u64 {
    let cores = std::thread::available_parallelism().map_or(2, usize::from) as u64;
    two_cores + 20 * cores.min(8).saturating_sub(2)
}

fn five_gib_in_constant_memory() {
    let sandbox = Sandbox::new();
    let mut file = BufWriter::new(File::create(sandbox.path("weights.bin")).unwrap());
    five_gib_blocks().for_each(|block| file.write_all(&block).unwrap());
    drop(file);
    let transfer = |verb: &str, most: u64| {
        let (run, peak) = sandbox.larder([verb, "weights.bin", "--command-hash", "big"]).run_and_measure();
        run.ok();
        assert!(peak <= most, "{verb} took {peak} MiB of memory, and may take {most}");
    };
    transfer("push", most_memory(128));
    fs::remove_file(sandbox.path("weights.bin")).unwrap();
    transfer("pull", most_memory(64));
    let file = File::open(sandbox.path("weights.bin")).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 5 << 30);
    let mut file = BufReader::new(file);
    for (number, expected) in five_gib_blocks().enumerate() {
        let mut block = vec![0; expected.len()];
        file.read_exact(&mut block).unwrap();
        assert!(block == expected, "block {number} differs");
    }
}
