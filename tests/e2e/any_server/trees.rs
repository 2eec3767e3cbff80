//! Outputs come back identical.

use std::fs;

use larder_tests::{Entry, Tree, noise};

use crate::store::Store;

pub(crate) fn pushed_outputs_come_back_identical() {
    let store = Store::new();
    // The output has more than one part, together with its texts.
    let tree = Tree::awkward().with("larger", noise(9, 20 << 20));
    tree.write(&store.path("model"));
    let push = store.run(["push", "model", "--json"]).ok();
    assert_eq!(push.outcome(), "uploaded", "{push}");
    fs::remove_dir_all(store.path("model")).unwrap();
    let pull = store.run(["pull", "model", "--json"]).ok();
    assert_eq!(pull.outcome(), "restored", "{pull}");
    assert_eq!(pull.results()[0]["verified"], true, "{pull}");
    for field in ["content_hash", "command_hash", "url", "path"] {
        assert_eq!(pull.field(field), push.field(field));
    }
    Tree::read(&store.path("model")).assert_same(&tree);
    store.assert_nothing_open();
}

pub(crate) fn outputs_of_every_name() {
    let store = Store::new();
    let tool = Tree::default().with_entry("", Entry::File(b"#!/bin/sh\n".to_vec(), true));
    let outputs: [(&str, Tree); 10] = [
        ("file", Tree::of_file("contents")),
        ("empty file", Tree::of_file("")),
        ("a/deep/nested.file", Tree::of_file(noise(1, 100_000))),
        ("größe/日本語", Tree::of_file("named in other scripts")),
        ("tool", tool),
        ("an empty directory", Tree::new()),
        ("models/en", Tree::small(1)),
        ("line\nbreak", Tree::small(2)),
        ("100%+2F~", Tree::new().with("only", "one")),
        ("quote'\"`$(x)&<>?#", Tree::small(3)),
    ];
    for (path, tree) in &outputs {
        tree.write(&store.path(path));
    }
    let paths = || outputs.iter().map(|(path, _)| path);
    store.larder(["push"]).args(paths()).run().ok();

    let listed = store.run(["ls", "--json"]).ok().results();
    let listed: Vec<_> = listed.iter().map(|output| output["path"].as_str().unwrap().to_owned()).collect();
    let mut expected: Vec<_> = paths().copied().collect();
    expected.sort_unstable();
    assert_eq!(listed, expected);

    for (path, tree) in &outputs {
        let found = store.run(["find", path, "--json"]).ok();
        let (command, content) = (found.field("command_hash"), found.field("content_hash"));
        let url = store.run(["url", path, "--command-hash", &command, "--content-hash", &content]).ok();
        // The name of the output has a line break, but its key has none.
        assert_eq!(store.run(["find", path]).ok().line(), url.line());
        assert_eq!(found.field("url"), url.line());
        let key = url.line().strip_prefix(&format!("{}/", store.shown())).unwrap().to_owned();
        assert!(store.keys().contains(&key), "{key} is not in {:?}", store.keys());

        fs::rename(store.path(path), store.root().join("aside")).unwrap();
        let pull = store.run(["pull", path, "--json"]).ok();
        assert_eq!(pull.outcome(), "restored", "{path:?}: {pull}");
        Tree::read(&store.path(path)).assert_same(tree);
        let aside = store.root().join("aside");
        if aside.is_dir() { fs::remove_dir_all(aside) } else { fs::remove_file(aside) }.unwrap();
    }
    assert_eq!(store.keys().len(), outputs.len());
    store.assert_nothing_open();
}

pub(crate) fn a_present_object_is_not_sent_again() {
    let store = Store::new();
    Tree::small(1).write(&store.path("model"));
    store.run(["push", "model"]).ok();
    // The object is present, and is not read.
    store.put(&store.key(), b"somebody else's");
    let again = store.run(["push", "model"]).ok();
    assert!(again.said().contains("already present"), "{again}");
    assert_eq!(store.run(["push", "model", "--json"]).ok().outcome(), "already_present");
    assert_eq!(store.get(&store.key()), b"somebody else's");
}

pub(crate) fn a_forced_push_repairs_a_damaged_object() {
    // Upload in one request, and in parts.
    for tree in [Tree::small(1), Tree::small(1).with("large", noise(1, 24 << 20))] {
        let store = Store::new();
        tree.write(&store.path("model"));
        let push = ["push", "model", "--json", "--command-hash", "x"];
        store.run(push).ok();
        let key = store.key();
        let whole = store.get(&key);
        store.put(&key, &whole[..whole.len() / 2]);
        assert_eq!(store.run(push).ok().outcome(), "already_present");
        let forced = store.larder(push).arg("--force").run().ok();
        assert_eq!(forced.outcome(), "uploaded", "{forced}");
        fs::remove_dir_all(store.path("model")).unwrap();
        store.run(["pull", "model", "--command-hash", "x"]).ok();
        Tree::read(&store.path("model")).assert_same(&tree);
        assert_eq!(store.keys(), [key]);
        store.assert_nothing_open();
    }
}

pub(crate) fn a_pull_of_several_is_one_unit() {
    let store = Store::new();
    let outputs = [("a", Tree::small(1)), ("b/c", Tree::small(2)), ("d", Tree::of_file("d"))];
    for (path, tree) in &outputs {
        tree.write(&store.path(path));
    }
    let paths = || outputs.iter().map(|(path, _)| *path);
    store.larder(["push", "--command-hash", "x"]).args(paths()).run().ok();
    for (path, _) in &outputs {
        let path = store.path(path);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
    }
    store.larder(["pull", "absent", "--command-hash", "x"]).args(paths()).run().exits(3);
    assert!(!store.path("a").exists(), "one output is missing, so none is restored");
    store.larder(["pull"]).args(paths()).run().ok();
    for (path, tree) in &outputs {
        Tree::read(&store.path(path)).assert_same(tree);
    }
}
