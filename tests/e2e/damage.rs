//! Damaged objects: larder refuses and names them, and never restores them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::process::ExitCode;

use larder_tests::{Case, Need, Sandbox, Tree, noise, run, text};

fn main() -> ExitCode {
    run(
        "damage",
        &[
            Case::new("a_flipped_bit_anywhere", flipped_bits),
            Case::new("a_truncated_or_lengthened_object", cut_or_longer),
            Case::new("an_object_swapped_for_another", swapped),
            Case::new("an_object_of_several_frames", several_frames),
            Case::new("force_leaves_the_destination_alone", destination_is_untouched),
            Case::new("the_next_newest_is_taken_where_the_newest_is_damaged", next_newest),
            Case::new("push_mends_a_damaged_object_when_forced", mended),
            Case::new("an_object_of_a_later_format_is_not_called_damaged", later_format),
            Case::new("names_that_differ_in_case_only_on_a_disk_that_folds_case", case_folding)
                .needs(&[Need::CaseFolding]),
            Case::new("an_empty_object_counts_as_absent", empty_object),
        ],
    )
}

struct Pushed {
    sandbox: Sandbox,
    key: String,
    object: Vec<u8>,
}

impl Pushed {
    fn new(tree: &Tree, compression: &str) -> Self {
        let sandbox = Sandbox::new();
        tree.write(&sandbox.path("model"));
        sandbox.run(["push", "model", "--command-hash", "x", "--compression", compression]).ok();
        fs::remove_dir_all(sandbox.path("model")).unwrap();
        let key = sandbox.keys().remove(0);
        let object = fs::read(sandbox.object()).unwrap();
        Self { sandbox, key, object }
    }

    fn put(&self, bytes: impl AsRef<[u8]>) {
        fs::write(self.sandbox.remote().join(&self.key), bytes).unwrap();
    }

    /// Asserts that a pull of these bytes fails as damage, names the object, and leaves nothing.
    #[track_caller]
    fn assert_refused(&self, bytes: impl AsRef<[u8]>) {
        self.put(&bytes);
        self.sandbox.run(["pull", "model", "--command-hash", "x"]).fails(4, &[&self.key]);
        assert!(!self.sandbox.path("model").exists(), "the pull restored something");
        self.sandbox.assert_clean();
        assert_eq!(fs::read(self.sandbox.object()).unwrap(), bytes.as_ref(), "pull changed the object");
    }
}

fn flipped_bits() {
    for compression in ["zstd", "gzip", "xz", "bzip2", "none"] {
        let tree = Tree::small(1);
        let pushed = Pushed::new(&tree, compression);
        let mut harmless = 0;
        // Flip a few hundred bits: all of the first and last bytes, and others spread evenly.
        let len = pushed.object.len();
        let spread = (0..len).step_by(len / 40);
        let offsets: Vec<usize> = (0..16).chain(spread).chain(len - 16..len).collect();
        for (turn, offset) in offsets.iter().enumerate() {
            let mut bytes = pushed.object.clone();
            bytes[*offset] ^= 1 << (turn % 8);
            pushed.put(&bytes);
            let pull = pushed.sandbox.run(["pull", "model", "--command-hash", "x", "--json"]);
            if pull.code == Some(0) {
                // The format does not use this bit (the operating system in gzip's header), so the content is verified.
                Tree::read(&pushed.sandbox.path("model")).assert_same(&tree);
                fs::remove_dir_all(pushed.sandbox.path("model")).unwrap();
                harmless += 1;
            } else {
                pushed.assert_refused(&bytes);
            }
        }
        assert!(harmless * 6 < offsets.len(), "{compression}: {harmless} of {} flips passed", offsets.len());
    }
}

fn cut_or_longer() {
    for compression in ["zstd", "gzip", "xz", "bzip2", "none"] {
        let pushed = Pushed::new(&Tree::small(1), compression);
        let len = pushed.object.len();
        for length in [1, 3, 10, 100, len / 2, len - 512, len - 20, len - 9, len - 4, len - 1] {
            pushed.assert_refused(&pushed.object[..length]);
        }
        // Zeros after the end are valid padding in two formats: multiples of four bytes in xz, and blocks in plain tar.
        let zeros: &[u8] = if matches!(compression, "xz" | "none") { &[0; 7] } else { &[0; 512] };
        for more in [&b"\0"[..], b"x", zeros, &pushed.object] {
            pushed.assert_refused([&pushed.object, more].concat());
        }
    }
}

fn swapped() {
    let pushed = Pushed::new(&Tree::small(1), "zstd");
    let other = Pushed::new(&Tree::small(2), "zstd");
    pushed.assert_refused(&other.object);
    // The same content under another output's name.
    let sandbox = Sandbox::new();
    Tree::small(1).write(&sandbox.path("models"));
    sandbox.run(["push", "models"]).ok();
    pushed.assert_refused(fs::read(sandbox.object()).unwrap());
    // A file where a directory is expected.
    let file = Sandbox::new();
    fs::write(file.path("model"), "a file").unwrap();
    file.run(["push", "model"]).ok();
    pushed.assert_refused(fs::read(file.object()).unwrap());
    // A file that is not an archive.
    for bytes in [b"<html>not found</html>".to_vec(), text(1, 5_000), noise(1, 5_000), vec![0; 10_240]] {
        pushed.assert_refused(bytes);
    }
    pushed.put(&pushed.object);
    pushed.sandbox.run(["pull", "model"]).ok();
}

fn several_frames() {
    let tree =
        Tree::new().with("a", noise(1, 6 << 20)).with("b", text(1, 7 << 20)).with("c", noise(2, 3 << 20));
    let pushed = Pushed::new(&tree, "zstd");
    let len = pushed.object.len();
    for offset in [len / 5, len / 2, len * 4 / 5, len - 3] {
        let mut bytes = pushed.object.clone();
        bytes[offset] ^= 0x10;
        pushed.assert_refused(bytes);
        pushed.assert_refused(&pushed.object[..offset]);
    }
    pushed.put(&pushed.object);
    pushed.sandbox.run(["pull", "model"]).ok();
    Tree::read(&pushed.sandbox.path("model")).assert_same(&tree);
}

fn destination_is_untouched() {
    let pushed = Pushed::new(&Tree::small(1), "zstd");
    let mine = Tree::small(7);
    mine.write(&pushed.sandbox.path("model"));
    let mut bytes = pushed.object.clone();
    let end = bytes.len() - 1;
    bytes[end] ^= 1;
    pushed.put(bytes);
    pushed.sandbox.run(["pull", "model", "--force"]).fails(4, &[&pushed.key]);
    Tree::read(&pushed.sandbox.path("model")).assert_same(&mine);
    pushed.sandbox.assert_clean();
}

fn next_newest() {
    let pushed = Pushed::new(&Tree::small(1), "zstd");
    let sandbox = &pushed.sandbox;
    Tree::small(2).write(&sandbox.path("model"));
    sandbox.run(["push", "model", "--command-hash", "x"]).ok();
    fs::remove_dir_all(sandbox.path("model")).unwrap();
    let newer = sandbox.keys().into_iter().find(|key| *key != pushed.key).unwrap();
    let damaged = |key: &str| fs::write(sandbox.remote().join(key), b"damaged").unwrap();
    damaged(&newer);
    // The write made it the newest again. The pull reports it, and uses the next one.
    let pull = sandbox.run(["pull", "model", "--command-hash", "x"]).ok();
    assert!(pull.stderr.contains(&newer), "{pull}");
    Tree::read(&sandbox.path("model")).assert_same(&Tree::small(1));
    fs::remove_dir_all(sandbox.path("model")).unwrap();
    let given = newer.rsplit('/').next().unwrap();
    sandbox.run(["pull", "model", "--command-hash", "x", "--content-hash", given]).fails(4, &[&newer]);
    damaged(&pushed.key);
    sandbox.run(["pull", "model", "--command-hash", "x"]).exits(4);
    assert!(!sandbox.path("model").exists());
    sandbox.assert_clean();
}

fn mended() {
    let pushed = Pushed::new(&Tree::small(1), "zstd");
    let sandbox = &pushed.sandbox;
    pushed.assert_refused(&pushed.object[..pushed.object.len() / 2]);
    Tree::small(1).write(&sandbox.path("model"));
    assert_eq!(
        sandbox.run(["push", "model", "--command-hash", "x", "--json"]).ok().outcome(),
        "already_present"
    );
    assert_eq!(
        sandbox.run(["push", "model", "--command-hash", "x", "--json", "--force"]).ok().outcome(),
        "uploaded"
    );
    fs::remove_dir_all(sandbox.path("model")).unwrap();
    sandbox.run(["pull", "model", "--command-hash", "x"]).ok();
    Tree::read(&sandbox.path("model")).assert_same(&Tree::small(1));
    sandbox.assert_clean();
}

fn later_format() {
    let pushed = Pushed::new(&Tree::small(1), "zstd");
    let later = b"larder-object 2\nand what only a later version understands";
    pushed.put(later);
    let sandbox = &pushed.sandbox;
    sandbox.run(["pull", "model", "--command-hash", "x"]).fails(1, &["needs a newer larder", &pushed.key]);
    Tree::small(1).write(&sandbox.path("model"));
    let forced = sandbox.run(["push", "model", "--command-hash", "x", "--force"]);
    assert_eq!(fs::read(sandbox.object()).unwrap(), later, "the object was replaced: {forced}");
}

fn empty_object() {
    let pushed = Pushed::new(&Tree::small(1), "zstd");
    pushed.put(b"");
    let sandbox = &pushed.sandbox;
    sandbox.run(["pull", "model", "--command-hash", "x"]).exits(3);
    sandbox.run(["find", "model"]).exits(3);
    // Other files in the remote never count as objects.
    fs::write(sandbox.remote().join("model/x/.DS_Store"), "finder").unwrap();
    fs::write(sandbox.remote().join("model/notes.txt"), "mine").unwrap();
    sandbox.run(["pull", "model"]).exits(3);
    Tree::small(1).write(&sandbox.path("model"));
    assert_eq!(sandbox.run(["push", "model", "--command-hash", "x", "--json"]).ok().outcome(), "uploaded");
    fs::remove_dir_all(sandbox.path("model")).unwrap();
    sandbox.run(["pull", "model"]).ok();
    Tree::read(&sandbox.path("model")).assert_same(&Tree::small(1));
}

fn case_folding() {
    let source = Sandbox::new();
    for path in ["twice/D/a", "twice/d/b", "files/x", "files/X", "once/D/a", "once/e/D"] {
        let path = source.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "content").unwrap();
    }
    source.run(["push", "twice", "files", "once"]).ok();
    let sandbox = Sandbox::on_case_folding_disk();
    sandbox.configure(&format!("[remotes]\nshared = '{}'\n", source.remote().display()));
    fs::create_dir(sandbox.path("probe")).unwrap();
    assert!(sandbox.path("PROBE").exists(), "the disk folds case");
    for output in ["twice", "files"] {
        sandbox.run(["pull", output]).fails(4, &["exists already", "this file system"]);
        assert!(!sandbox.path(output).exists(), "a part of {output} was restored");
    }
    sandbox.run(["pull", "once"]).ok();
    for path in ["once/D/a", "once/e/D"] {
        assert_eq!(fs::read(sandbox.path(path)).unwrap(), b"content");
    }
    sandbox.assert_clean();
}
