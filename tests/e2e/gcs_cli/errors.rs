//! Failures before the first upload, and their messages.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use larder_tests::Tree;

use crate::store::Store;

/// The maximum time until a failure.
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
    assert!(began.elapsed() < SECONDS, "it ended after {:?}", began.elapsed());
}

/// Starts a token server that refuses expired credentials as Google does, and returns its URL.
fn token_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    let body = r#"{"error":"invalid_grant","error_description":"Token has been expired or revoked."}"#;
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut request = BufReader::new(&stream);
            let mut length = 0;
            let mut line = String::new();
            while request.read_line(&mut line).is_ok_and(|count| count > 2) {
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            request.take(length).read_to_end(&mut Vec::new()).unwrap();
            let head = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nConnection: close\r\n";
            // The client may be gone.
            let _ = write!(&stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
        }
    });
    url
}

pub(crate) fn credentials_that_have_expired() {
    let store = Store::new();
    Tree::small(1).write(&store.path("model"));
    let secret = "1//refresh-me-not";
    let url = token_server();
    let credentials = format!(
        r#"{{"type":"authorized_user","client_id":"me","client_secret":"s","refresh_token":"{secret}","token_uri":"{url}"}}"#
    );
    fs::write(store.path("adc.json"), credentials).unwrap();
    let began = Instant::now();
    for command in [&["push", "model"][..], &["pull", "other"], &["ls"]] {
        let larder = store.larder(["-v", "-r", "gs://bucket/prefix"]).args(command);
        let larder = larder.env("STORAGE_EMULATOR_HOST", "");
        let larder = larder.env("GOOGLE_APPLICATION_CREDENTIALS", store.path("adc.json"));
        let run = larder.run();
        let said = ["gs://bucket", "have expired", "gcloud auth application-default login"];
        let run = run.fails(5, &said);
        assert!(!run.stderr.contains(secret), "{}", run.stderr);
    }
    assert!(began.elapsed() < SECONDS, "it ended after {:?}", began.elapsed());
}

pub(crate) fn an_endpoint_of_the_project() {
    let store = Store::new();
    let table = "[remotes.evil]\nurl = \"gs://bucket/prefix\"\nendpoint = \"http://127.0.0.1:9\"\n";
    let file = store.path("larder.toml");
    fs::write(&file, table).unwrap();
    let larder = store.larder(["ls", "-r", "evil"]).env("STORAGE_EMULATOR_HOST", "");
    larder.run().fails(2, &["http://127.0.0.1:9", "credentials are not sent there"]);
    // A request without credentials may go there, but no server answers.
    fs::write(&file, format!("{table}anonymous = true\n")).unwrap();
    larder.args(["--stall-timeout", "3"]).run().fails(5, &["http://127.0.0.1:9"]);
}

pub(crate) fn options_that_are_none() {
    let store = Store::new();
    store.run(["ls", "-r", "gs://bucket/p?region=x"]).fails(2, &["region", "grpc_endpoint"]);
    store.run(["ls", "-r", "gs://bucket/p?endpoint=x"]).fails(2, &["endpoint", "URL"]);
    store.run(["ls", "-r", "gs://me:secret@bucket/p"]).fails(2, &["password"]);
    fs::write(store.path("larder.toml"), "[remotes.named]\nurl = \"gs://bucket/p\"\n").unwrap();
    for variable in ["STORAGE_EMULATOR_HOST", "STORAGE_EMULATOR_GRPC_HOST"] {
        let larder = store.larder(["ls", "-r", "named"]).env("STORAGE_EMULATOR_HOST", "localhost:1");
        let run = larder.env(variable, "no host").run().fails(2, &[variable, "a host and a port"]);
        assert!(!run.stderr.contains("larder.toml"), "the message blames larder.toml: {}", run.stderr);
    }
}
