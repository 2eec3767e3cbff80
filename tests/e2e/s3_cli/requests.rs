//! The number of requests of each command.

use std::fs;

use larder_tests::{Larder, Run, Tree};

use crate::store::{Store, operations, proxy_to_server};

pub(crate) fn of_a_small_output() {
    let store = Store::new();
    let proxy = proxy_to_server();
    let counted = |larder: Larder| -> (Run, Vec<String>) {
        let run = larder.env("AWS_ENDPOINT_URL_S3", proxy.url()).run();
        let mut requests = operations(&proxy);
        // The first two are sent at the same time.
        requests.sort();
        (run, requests)
    };
    Tree::small(1).write(&store.path("model"));
    let push = || store.larder(["push", "model", "--json", "--command-hash", "x"]);
    let (run, requests) = counted(push());
    assert_eq!(run.ok().outcome(), "uploaded");
    // Before the first upload, larder tests whether another server than AWS honors preconditions: it creates the same
    // object twice. Then come the object and the run record.
    assert_eq!(requests, ["GET", "HEAD", "PUT", "PUT", "PUT", "PUT"]);
    let (run, requests) = counted(push());
    // The object of the test exists by now.
    assert_eq!(requests, ["GET", "HEAD", "PUT", "PUT"], "a push of a present object");
    let content = run.ok().field("content_hash");

    let with_both = |command: &str, content: &str| {
        store.larder([command, "model", "--command-hash", "x", "--content-hash", content])
    };
    assert_eq!(counted(with_both("find", &content)).1, ["HEAD"]);
    assert_eq!(counted(with_both("find", "absent")).1, ["HEAD"]);
    assert_eq!(counted(with_both("url", &content)).1, Vec::<String>::new());
    fs::remove_dir_all(store.path("model")).unwrap();
    assert_eq!(counted(with_both("pull", "absent")).1, ["GET"]);
    assert_eq!(counted(with_both("pull", &content)).1, ["GET"]);
    Tree::read(&store.path("model")).assert_same(&Tree::small(1));
    // The names at the top, then one look below each.
    assert_eq!(counted(store.larder(["ls"])).1, ["GET", "GET delimiter"]);
}

pub(crate) fn of_a_listing_by_one_hash() {
    let store = Store::new();
    let proxy = proxy_to_server();
    for seed in 0..4 {
        Tree::small(seed).write(&store.path("model"));
        for command in ["x", "y"] {
            store.run(["push", "model", "--command-hash", command]).ok();
        }
        fs::remove_dir_all(store.path("model")).unwrap();
    }
    // Objects of other outputs are not listed.
    Tree::small(1).write(&store.path("model-2"));
    store.run(["push", "model-2"]).ok();
    let content = blake3::hash(b"something else").to_hex().to_string();
    let content = format!("blake3-tree-{content}");
    let hashes: [&[&str]; 3] = [&[], &["--command-hash", "x"], &["--content-hash", &content]];
    for hash in hashes {
        let find = store.larder(["find", "model"]).args(hash).env("AWS_ENDPOINT_URL_S3", proxy.url()).run();
        assert!(matches!(find.code, Some(0 | 3)), "{find}");
        assert_eq!(operations(&proxy), ["GET", "GET"], "objects and records: {hash:?}");
    }
    store.larder(["pull", "model"]).env("AWS_ENDPOINT_URL_S3", proxy.url()).run().ok();
    assert_eq!(operations(&proxy), ["GET", "GET", "GET"], "two lists, and the object");
}

pub(crate) fn of_a_sweep_with_nothing_to_sweep() {
    let store = Store::new();
    let proxy = proxy_to_server();
    for path in ["model", "other"] {
        Tree::small(1).write(&store.path(path));
        store.run(["push", path]).ok();
    }
    for args in [["push", "model"], ["pull", "model"], ["push", "other"], ["find", "model"]] {
        store.larder(args).env("AWS_ENDPOINT_URL_S3", proxy.url()).run().ok();
    }
    let swept = proxy.count(|request| {
        request.method() == "DELETE" || request.has_query("uploads") || request.has_query("uploadId")
    });
    assert_eq!(swept, 0, "{:?}", operations(&proxy));
}

pub(crate) fn of_a_run() {
    let store = Store::new();
    let proxy = proxy_to_server();
    let counted = |args: &[&str]| -> (Run, Vec<String>) {
        let call = store.larder(["run", "-d", "corpus", "-o", "model"]).args(args);
        let call = call.args(["--", "cp", "corpus", "model"]).env("AWS_ENDPOINT_URL_S3", proxy.url());
        let run = call.run().ok();
        let requests = operations(&proxy);
        (run, requests)
    };
    let puts = |requests: &[String]| requests.iter().filter(|request| request.starts_with("PUT")).count();
    fs::write(store.path("corpus"), "1").unwrap();
    // Two more requests test whether another server than AWS honors preconditions.
    let (run, requests) = counted(&[]);
    assert_eq!(puts(&requests), 4, "{requests:?} {run}");
    assert_eq!(counted(&[]).1, Vec::<String>::new(), "an output that is up to date");
    // A hit, in a clone without local state.
    fs::remove_file(store.path("model")).unwrap();
    fs::remove_dir_all(store.path(".larder")).unwrap();
    let (run, requests) = counted(&[]);
    assert!(run.stderr.contains("restored"), "{run}");
    // At most two listings and two small objects in two round trips, and the transfer.
    assert!(requests.len() <= 5 && requests.iter().all(|request| request.starts_with("GET")), "{requests:?}");
    fs::write(store.path("corpus"), "2").unwrap();
    let (run, requests) = counted(&[]);
    assert!(run.stderr.contains("corpus"), "{run}");
    // The object of the test exists by now.
    assert_eq!(puts(&requests), 3, "the test, the object and its record: {requests:?}");
    fs::write(store.path("corpus"), "3").unwrap();
    let (_, requests) = counted(&["--mode", "read-only"]);
    assert!(
        requests.iter().all(|request| request.starts_with("GET") || request.starts_with("HEAD")),
        "{requests:?}"
    );
}

pub(crate) fn of_pins() {
    const OUTPUTS: [&str; 3] = ["a", "b", "c"];
    let store = Store::new();
    let proxy = proxy_to_server();
    let counted = |args: &[&str]| -> Vec<String> {
        store.larder([]).args(args).env("AWS_ENDPOINT_URL_S3", proxy.url()).run().ok();
        let mut requests = operations(&proxy);
        requests.sort();
        requests
    };
    for output in OUTPUTS {
        fs::write(store.path(output), output).unwrap();
    }
    store.larder(["pin"]).args(OUTPUTS).run().ok();
    let first = fs::read(store.path("larder.lock")).unwrap();
    for args in [&["status"][..], &["status", "--check"], &["pull"], &["push"]] {
        assert_eq!(counted(args), Vec::<String>::new(), "all is clean: {args:?}");
    }
    assert_eq!(counted(&["status", "--online", "--check"]), ["HEAD", "HEAD", "HEAD"]);
    // Another clone has no state of its own.
    fs::remove_dir_all(store.path(".larder")).unwrap();
    for output in OUTPUTS {
        fs::remove_file(store.path(output)).unwrap();
    }
    assert_eq!(counted(&["pull"]), ["GET", "GET", "GET"]);
    fs::write(store.path("a"), "changed").unwrap();
    store.larder(["push"]).run().ok();
    // An older commit: the version of the pin and the one on disk are asked for, and one is transferred.
    fs::write(store.path("larder.lock"), first).unwrap();
    assert_eq!(counted(&["pull"]), ["GET", "HEAD", "HEAD"]);
    for output in OUTPUTS {
        assert_eq!(fs::read_to_string(store.path(output)).unwrap(), output);
    }
    assert_eq!(counted(&["status", "--check"]), Vec::<String>::new());
}
