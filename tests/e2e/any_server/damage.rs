//! Damaged objects: larder refuses and names them, and never restores them.

use std::fs;

use larder_tests::{DAMAGES, Tree, noise};

use crate::store::Store;

fn assert_refused(tree: &Tree, other: &Tree) {
    let store = Store::new();
    let mine = Tree::small(7);
    other.write(&store.path("model"));
    store.run(["push", "model", "--command-hash", "y"]).ok();
    let another = store.get(&store.key());
    store.empty_remote();
    fs::remove_dir_all(store.path("model")).unwrap();

    tree.write(&store.path("model"));
    store.run(["push", "model", "--command-hash", "x"]).ok();
    fs::remove_dir_all(store.path("model")).unwrap();
    mine.write(&store.path("model"));
    let key = store.key();
    let whole = store.get(&key);
    let content = key.rsplit('/').next().unwrap();
    let damaged = DAMAGES.map(|(what, damage)| (what, damage(&whole)));
    for (what, bytes) in damaged.into_iter().chain([("swapped", another)]) {
        store.put(&key, &bytes);
        for hashes in [&["--command-hash", "x"][..], &["--command-hash", "x", "--content-hash", content]] {
            let pull = store.larder(["pull", "model", "--force"]).args(hashes).run();
            assert_eq!(pull.code, Some(4), "{what}: {pull}");
            let _ = pull.fails(4, &[&store.shown(), &key]);
            Tree::read(&store.path("model")).assert_same(&mine);
        }
        assert!(store.get(&key) == bytes, "pull changed the object");
        store.assert_clean();
    }
    store.put(&key, &whole);
    store.run(["pull", "model", "--force"]).ok();
    Tree::read(&store.path("model")).assert_same(tree);
}

pub(crate) fn a_damaged_object_is_refused() {
    assert_refused(&Tree::small(1), &Tree::small(2));
}

pub(crate) fn a_large_damaged_object_is_refused() {
    // The object is read with several parallel requests.
    let tree = |seed| Tree::small(seed).with("large", noise(seed, 20 << 20));
    assert_refused(&tree(1), &tree(2));
}

pub(crate) fn the_next_newest_is_taken_where_the_newest_is_damaged() {
    let store = Store::new();
    Tree::small(1).write(&store.path("model"));
    store.run(["push", "model", "--command-hash", "x"]).ok();
    let older = store.key();
    fs::remove_dir_all(store.path("model")).unwrap();
    Tree::small(2).write(&store.path("model"));
    store.run(["push", "model", "--command-hash", "x"]).ok();
    fs::remove_dir_all(store.path("model")).unwrap();
    let newer = store.keys().into_iter().find(|key| *key != older).unwrap();
    store.put(&newer, b"damaged");
    let pull = store.run(["pull", "model", "--command-hash", "x"]).ok();
    // If the server gives both the same time, the greater name counts as the newest.
    assert!(pull.stderr.contains(&newer) || newer < older, "{pull}");
    Tree::read(&store.path("model")).assert_same(&Tree::small(1));
    fs::remove_dir_all(store.path("model")).unwrap();
    store.put(&older, b"damaged");
    store.run(["pull", "model", "--command-hash", "x"]).exits(4);
    assert!(!store.path("model").exists());
    store.assert_clean();
}
