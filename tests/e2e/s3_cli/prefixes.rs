//! The prefix of a remote in its bucket, and its server.

use std::fs;

use larder_tests::Tree;

use crate::store::{Store, proxy_to_server};

pub(crate) fn a_prefix_is_literal_text() {
    let store = Store::new();
    Tree::small(1).write(&store.path("model"));
    for prefix in
        ["with space", "per%2Fcent%20", "plus+plus", "größe/日本語", "a#b@c:d", "it's ~ \"a\" &<>", "..."]
    {
        let remote = store.below(prefix);
        let missing = store.run(["find", "model", "-r", &remote]).exits(3);
        assert!(missing.stderr.contains(prefix), "{missing}");
        assert_eq!(missing.text(), "");
        let push = store.run(["push", "model", "-r", &remote, "--json"]).ok();
        let url = push.field("url");
        let key = url.strip_prefix(&format!("{}/", store.shown())).unwrap();
        assert!(key.starts_with(&format!("{prefix}/model/")), "{key}");
        assert_eq!(store.key(), key);
        assert_eq!(store.run(["find", "model", "-r", &remote]).ok().line(), url);
        assert_eq!(store.run(["ls", "-r", &remote]).ok().line(), "model");
        fs::remove_dir_all(store.path("model")).unwrap();
        store.run(["pull", "model", "-r", &remote]).ok();
        Tree::read(&store.path("model")).assert_same(&Tree::small(1));
        store.empty_remote();
    }
}

pub(crate) fn remotes_in_one_bucket_do_not_see_each_other() {
    let store = Store::new();
    // The name of one remote is a prefix of another's.
    let prefixes = ["team", "team-two", "te", "other/team"];
    for (number, prefix) in (0..).zip(prefixes) {
        let output = format!("only-in-{number}");
        Tree::small(number).write(&store.path(&output));
        Tree::small(number).write(&store.path("model"));
        let remote = store.below(prefix);
        for output in [&*output, "model"] {
            let push = store.run(["push", output, "-r", &remote, "--json", "--command-hash", "x"]).ok();
            assert_eq!(push.outcome(), "uploaded", "{prefix}: {push}");
        }
        fs::remove_dir_all(store.path("model")).unwrap();
    }
    for (number, prefix) in (0..).zip(prefixes) {
        let remote = store.below(prefix);
        let listed = store.run(["ls", "-r", &remote]).ok();
        assert_eq!(listed.text(), format!("model\nonly-in-{number}\n"), "{prefix}");
        let found = store.run(["find", "model", "--all", "-r", &remote]).ok();
        assert!(found.line().starts_with(&format!("{}/{prefix}/model/x/", store.shown())), "{found}");
        store.run(["pull", "model", "-r", &remote]).ok();
        Tree::read(&store.path("model")).assert_same(&Tree::small(number));
        fs::remove_dir_all(store.path("model")).unwrap();
        store.run(["find", "only-in-9", "-r", &remote]).exits(3);
    }
}

pub(crate) fn a_whole_bucket_is_a_remote() {
    let store = Store::new();
    let bucket = store.public_bucket(&[]);
    let remote = format!("s3://{}", bucket.name);
    Tree::small(1).write(&store.path("model"));
    assert_eq!(store.run(["ls", "-r", &remote]).ok().text(), "");
    let push = store.run(["push", "model", "-r", &remote, "--json"]).ok();
    assert!(push.field("url").starts_with(&format!("{remote}/model/")), "{push}");
    for url in [&*remote, &format!("{remote}/"), &format!("{remote}/./a/..")] {
        assert_eq!(store.run(["ls", "-r", url]).ok().line(), "model");
    }
    fs::remove_dir_all(store.path("model")).unwrap();
    store.run(["pull", "model", "-r", &remote]).ok();
    Tree::read(&store.path("model")).assert_same(&Tree::small(1));
}

pub(crate) fn the_endpoint_of_a_remote_wins_over_the_environment() {
    let store = Store::new();
    let proxy = proxy_to_server();
    let nowhere = "http://127.0.0.1:1";
    Tree::small(1).write(&store.path("model"));
    let all = |endpoint: &str, general: &str, for_s3: &str| {
        let ls = store.larder(["ls"]).env("AWS_ENDPOINT_URL", general).env("AWS_ENDPOINT_URL_S3", for_s3);
        store.configure(&format!(
            "[remotes.shared]\nurl = '{}'\nregion = 'us-east-1'\n{endpoint}",
            store.remote_url()
        ));
        ls
    };
    let endpoint = format!("endpoint = '{}'\n", proxy.url());
    all(&endpoint, nowhere, nowhere).run().ok();
    all("", nowhere, &proxy.url()).run().ok();
    all("", &proxy.url(), "").run().ok();
    assert_eq!(proxy.requests().len(), 3);
    all(&format!("endpoint = '{nowhere}'\n"), &proxy.url(), &proxy.url()).run().fails(5, &[&store.shown()]);
    assert_eq!(proxy.requests().len(), 3, "the requests went to the environment's server");
    // The query of a URL sets the same options.
    let url = format!("{}?endpoint={}", store.shown(), proxy.url());
    store.larder(["ls", "-r", &url]).env("AWS_ENDPOINT_URL_S3", nowhere).run().ok();
    assert_eq!(proxy.requests().len(), 4);
}
