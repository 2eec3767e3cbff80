//! What goes wrong before anything is sent, and what it says.

use std::fs;
use std::time::{Duration, Instant};

use larder_tests::Tree;

use crate::store::Store;

/// Whoever cannot be served hears of it in this time.
const SECONDS: Duration = Duration::from_secs(15);

pub(crate) fn a_bucket_that_is_missing() {
    let store = Store::new();
    Tree::small(1).write(&store.path("model"));
    let remote = "gs://larder-nobody-has-this-bucket/prefix";
    for command in [&["push", "model"][..], &["pull", "other"], &["ls"]] {
        let run = store.larder(["-r", remote]).args(command).run();
        run.fails(5, &["gs://larder-nobody-has-this-bucket", "bucket"]);
    }
}

pub(crate) fn credentials_that_are_missing() {
    let store = Store::new();
    Tree::small(1).write(&store.path("model"));
    let began = Instant::now();
    for command in [&["push", "model"][..], &["ls"]] {
        let larder = store.larder(["-r", "gs://bucket/prefix"]).args(command);
        let larder = larder.env("STORAGE_EMULATOR_HOST", "");
        let larder = larder.env("GOOGLE_APPLICATION_CREDENTIALS", store.path("none.json"));
        larder.run().fails(5, &["gs://bucket", "GOOGLE_APPLICATION_CREDENTIALS", "gcloud auth"]);
    }
    assert!(began.elapsed() < SECONDS, "it took {:?}", began.elapsed());
}

pub(crate) fn an_endpoint_of_the_project() {
    let store = Store::new();
    let table = "[remotes.evil]\nurl = \"gs://bucket/prefix\"\nendpoint = \"http://127.0.0.1:9\"\n";
    let file = store.path("larder.toml");
    fs::write(&file, table).unwrap();
    let larder = store.larder(["ls", "-r", "evil"]).env("STORAGE_EMULATOR_HOST", "");
    larder.run().fails(2, &["http://127.0.0.1:9", "credentials are not sent there"]);
    // Without credentials it may go there, and nobody is.
    fs::write(&file, format!("{table}anonymous = true\n")).unwrap();
    larder.args(["--stall-timeout", "3"]).run().fails(5, &["http://127.0.0.1:9"]);
}

pub(crate) fn options_that_are_none() {
    let store = Store::new();
    store.run(["ls", "-r", "gs://bucket/p?region=x"]).fails(2, &["region", "grpc_endpoint"]);
    store.run(["ls", "-r", "gs://bucket/p?endpoint=x"]).fails(2, &["endpoint", "URL"]);
    store.run(["ls", "-r", "gs://me:secret@bucket/p"]).fails(2, &["password"]);
}
