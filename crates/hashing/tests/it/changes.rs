//! Changes that affect a hash, and changes that do not.

use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::{Duration, SystemTime};

use larder_hashing::{DigestHasher, HashOptions, Scheme, TreeHasher, content_hash};
use larder_tree::{ReadMode, TreeOptions, TreeReader, Workers};
use proptest::prelude::*;

use crate::support::{Playground, bytes, following, hash, under};

fn example() -> Playground {
    let playground = Playground::new();
    playground.file("d/a", "x").file("d/b", "y").file("d/sub/c", "z").directory("d/empty").link("d/l", "a");
    playground
}

#[test]
fn everything_that_is_restored_changes_the_hash() {
    let original = example();
    let original = hash(&original.path("d"));
    let changes: [(&str, fn(&Path)); 9] = [
        ("a rename", |d| fs::rename(d.join("b"), d.join("e")).unwrap()),
        ("a moved boundary", |d| {
            fs::write(d.join("a"), "xy").unwrap();
            fs::write(d.join("b"), "").unwrap();
        }),
        ("other bytes", |d| fs::write(d.join("a"), "X").unwrap()),
        ("an execute bit", |d| {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(d.join("a"), fs::Permissions::from_mode(0o744)).unwrap();
        }),
        ("a missing empty directory", |d| fs::remove_dir(d.join("empty")).unwrap()),
        ("a file in an empty directory", |d| fs::write(d.join("empty/f"), "").unwrap()),
        ("another link", |d| {
            fs::remove_file(d.join("l")).unwrap();
            std::os::unix::fs::symlink("b", d.join("l")).unwrap();
        }),
        ("a file in the place of a link", |d| {
            fs::remove_file(d.join("l")).unwrap();
            fs::write(d.join("l"), "a").unwrap();
        }),
        ("a hidden file", |d| fs::write(d.join(".hidden"), "").unwrap()),
    ];
    for (what, change) in changes {
        let playground = example();
        change(&playground.path("d"));
        assert_ne!(hash(&playground.path("d")), original, "{what}");
    }
}

#[test]
fn times_and_permissions_of_others_do_not_change_the_hash() {
    use std::os::unix::fs::PermissionsExt;
    let playground = example();
    let before = hash(&playground.path("d"));
    let file = fs::File::open(playground.path("d/a")).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1)).unwrap();
    fs::set_permissions(playground.path("d/a"), fs::Permissions::from_mode(0o477)).unwrap();
    fs::set_permissions(playground.path("d/sub"), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(hash(&playground.path("d")), before);
}

#[test]
fn the_location_of_an_output_does_not_change_its_hash() {
    let playground = example();
    let before = hash(&playground.path("d"));
    fs::rename(playground.path("d"), playground.path("elsewhere")).unwrap();
    assert_eq!(hash(&playground.path("elsewhere")), before);
    playground.link("link", "elsewhere");
    assert_eq!(hash(&playground.path("link")), before);
    assert_eq!(hash(&playground.path("link/")), before);
}

#[test]
fn dereferencing_hashes_what_links_point_at() {
    let playground = Playground::new();
    playground.file("outside/f", "1").file("d/a", "2").link("d/l", "../outside").link("d/m", "a");
    playground.file("copy/a", "2").file("copy/l/f", "1").file("copy/m", "2");
    for scheme in Scheme::ALL {
        let options = under(scheme);
        let replaced = content_hash(&playground.path("d"), &following(scheme)).unwrap();
        assert_eq!(replaced, content_hash(&playground.path("copy"), &options).unwrap(), "{scheme}");
    }
}

/// Large files take another code path than small ones. One file ends inside a piece, and one fills its pieces.
#[test]
fn large_files_are_hashed_like_small_ones() {
    let playground = Playground::new();
    let data: Vec<u8> = (0_u32..9_000_001).map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[1]).collect();
    let lens = [1 << 20, (1 << 20) + 1, 4 << 20, 8 << 20, 9_000_001];
    playground.files(lens.map(|len| (format!("d/{len}"), &data[..len])));
    for scheme in Scheme::ALL {
        for len in lens {
            let found = content_hash(&playground.path(format!("d/{len}")), &under(scheme)).unwrap();
            let digest = scheme.digest(&data[..len]).to_string();
            assert!(found.as_str().ends_with(&digest), "{len} under {scheme}");
        }
    }
    let mut names: Vec<usize> = lens.to_vec();
    names.sort_by_key(ToString::to_string);
    let mut hasher = DigestHasher::new(Scheme::Weasel);
    for len in names {
        hasher.update(&data[..len]);
    }
    let all = content_hash(&playground.path("d"), &under(Scheme::Weasel)).unwrap();
    assert_eq!(all.as_str(), hasher.finish().to_string());
}

#[derive(Clone, Debug)]
enum Node {
    File(Vec<u8>, bool),
    Link(Vec<u8>),
    Directory(std::collections::BTreeMap<Vec<u8>, Node>),
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte =
        prop_oneof![Just(b'a'), Just(b'-'), Just(b'\xff'), Just(b'\n'), Just(b'%'), Just(b' '), Just(b'z')];
    prop::collection::vec(byte, 1..4)
}

fn node() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![
        (prop::collection::vec(any::<u8>(), 0..40), any::<bool>())
            .prop_map(|(data, exec)| Node::File(data, exec)),
        name().prop_map(Node::Link),
    ];
    leaf.prop_recursive(3, 24, 5, |inner| {
        prop::collection::btree_map(name(), inner, 0..5).prop_map(Node::Directory)
    })
}

fn build(playground: &Playground, path: &Path, node: &Node) {
    match node {
        Node::File(data, exec) => {
            playground.file(path, data);
            if *exec {
                playground.executable(path);
            }
        }
        Node::Link(target) => {
            playground.link(path, bytes(target));
        }
        Node::Directory(children) => {
            playground.directory(path);
            for (name, child) in children {
                build(playground, &path.join(bytes(name)), child);
            }
        }
    }
}

/// Computes the manifest by its definition, with the standard library only.
fn naive_manifest(scheme: Scheme, path: &[u8], node: &Node, lines: &mut Vec<u8>) {
    let encode = |path: &[u8]| -> String {
        let keep = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(byte);
        path.iter().map(|b| if keep(b) { char::from(*b).to_string() } else { format!("%{b:02X}") }).collect()
    };
    let mut line = |kind: &str, data: &[u8]| {
        let text = format!("{kind} {} {} {}\n", data.len(), scheme.digest(data), encode(path));
        lines.extend_from_slice(text.as_bytes());
    };
    match node {
        Node::File(data, false) => line("f", data),
        Node::File(data, true) => line("x", data),
        Node::Link(target) => line("l", target),
        Node::Directory(children) if children.is_empty() && !path.is_empty() => {
            lines.extend_from_slice(format!("d - - {}\n", encode(path)).as_bytes());
        }
        Node::Directory(children) => {
            for (name, child) in children {
                let separator: &[u8] = if path.is_empty() { b"" } else { b"/" };
                naive_manifest(scheme, &[path, separator, name].concat(), child, lines);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_tree_has_the_hash_of_its_manifest_on_any_number_of_threads(
        children in prop::collection::btree_map(name(), node(), 0..8),
    ) {
        let tree = Node::Directory(children);
        let playground = Playground::new();
        build(&playground, Path::new("d"), &tree);
        for scheme in [Scheme::Blake3, Scheme::Sha256] {
            let mut expected = b"larder-tree 1\n".to_vec();
            naive_manifest(scheme, b"", &tree, &mut expected);
            for jobs in [1, 3] {
                let options = under(scheme)
                    .with_tree(TreeOptions::default().with_workers(Workers::new(NonZeroUsize::new(jobs).unwrap())));
                let (found, text) = crate::support::manifest(&playground.path("d"), &options);
                prop_assert_eq!(text.as_bytes(), &expected);
                prop_assert_eq!(found.to_string(), format!("{scheme}-tree-{}", scheme.digest(&expected)));
            }
        }
    }

    #[test]
    fn names_survive_encoding(text in any::<String>()) {
        let encoded = larder_hashing::encode_name(&text);
        prop_assert!(encoded.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-~+%".contains(&b)));
        prop_assert_eq!(larder_hashing::decode_name(&encoded), Some(text));
    }

    #[test]
    fn decoding_accepts_only_encodings(segment in "[a%+2fF~/ -]{0,6}") {
        if let Some(text) = larder_hashing::decode_name(&segment) {
            prop_assert_eq!(larder_hashing::encode_name(&text), segment);
        }
    }
}

#[test]
fn entries_that_were_read_make_the_same_hash() {
    let playground = example();
    for scheme in [Scheme::Blake3, Scheme::Sha256] {
        let options: HashOptions = under(scheme);
        let mut hasher = TreeHasher::new(scheme).unwrap();
        for entry in
            TreeReader::with_digester(playground.path("d"), &options.tree_options(), scheme, ReadMode::Bytes)
        {
            hasher.add_entry(&entry.unwrap());
        }
        assert_eq!(hasher.finish(), content_hash(&playground.path("d"), &options).unwrap());
    }
}
