//! A failure gives one line with the location and the remedy, and the right exit code, within seconds and without a
//! secret.

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use larder_testkit::proxy::{HttpRule, Reply};
use larder_tests::{Larder, Run, Tree, noise};

use crate::store::{Store, proxy_to_server};

/// The maximum time until a failure. Half of it is for a busy machine.
const SECONDS: Duration = Duration::from_secs(10);

/// Runs the call with `-v`, which adds details, and asserts that it fails in time with a message that contains `parts`.
#[track_caller]
pub(crate) fn assert_fails_fast(larder: &Larder, code: i32, parts: &[&str]) -> Run {
    let started = Instant::now();
    let run = larder.clone().arg("-v").run();
    assert!(run.after(started) < SECONDS, "it ended after {:?}: {run}", run.after(started));
    let run = run.fails(code, parts);
    assert_no_secret(&run, &[]);
    assert_clean_message(&run);
    run
}

#[track_caller]
pub(crate) fn assert_no_secret(run: &Run, secrets: &[&str]) {
    let said = run.said();
    let given = ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"].map(|name| std::env::var(name).ok());
    for secret in given.iter().flatten().map(String::as_str).chain(secrets.iter().copied()) {
        assert!(secret.is_empty() || !said.contains(secret), "the output has a secret: {run}");
    }
}

/// Texts of the program's internals, and nested quotes, which messages must not have.
#[track_caller]
fn assert_clean_message(run: &Run) {
    for part in ["\\n", "SdkError", "Unhandled", "panicked", "Some(", "Os {"] {
        assert!(!run.stderr.contains(part), "`{part}` is not for people: {run}");
    }
}

pub(crate) fn a_bucket_that_is_missing() {
    let store = Store::new();
    Tree::small(1).write(&store.path("model"));
    Tree::new().with("large", noise(1, 40 << 20)).write(&store.path("large"));
    let bucket = format!("no-such-{}", store.unique());
    let remote = store.in_bucket(&bucket);
    let there = ["--command-hash", "x", "--content-hash", "y"];
    let commands: [&[&str]; 7] = [
        &["push", "model"],
        &["push", "large"],
        &["pull", "absent"],
        &["find", "absent"],
        &["ls"],
        &[&["pull", "absent"][..], &there].concat(),
        &[&["find", "absent"][..], &there].concat(),
    ];
    for command in commands {
        let larder = store.larder([]).args(command).args(["-r", &remote]);
        let parts =
            [&*format!("there is no bucket `{bucket}`"), "check its name", &format!("s3://{bucket}/")];
        assert_fails_fast(&larder, 5, &parts);
    }
    // A push does not create a bucket, and a dry run reports that.
    let dry = store.larder(["push", "model", "--dry-run", "-r", &remote]);
    assert_fails_fast(&dry, 5, &["there is no bucket"]);
    store.assert_clean();
}

pub(crate) fn a_password_in_an_endpoint() {
    let store = Store::new();
    for name in ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"] {
        let larder = store.larder(["ls"]).env("AWS_ENDPOINT_URL_S3", "");
        let larder = larder.env(name, "http://me:hunter2@127.0.0.1:1");
        let run = assert_fails_fast(&larder, 2, &["without user and password"]);
        assert_no_secret(&run, &["hunter2"]);
    }
}

pub(crate) fn a_server_that_is_down() {
    let store = Store::new();
    Tree::small(1).write(&store.path("model"));
    // A port without a server.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let refused = format!("127.0.0.1:{port}");
    let shown = store.shown();
    // Run all commands in parallel, because each one retries for some seconds.
    thread::scope(|scope| {
        for server in [&*refused, "no-such-host.invalid:9000"] {
            for command in [&["push", "model"][..], &["pull", "absent"], &["find", "absent"], &["ls"]] {
                let larder = store.larder([]).args(command);
                let larder = larder.env("AWS_ENDPOINT_URL_S3", format!("http://{server}"));
                let parts =
                    [shown.clone(), "cannot be reached".to_owned(), format!("endpoint http://{server}")];
                scope.spawn(move || {
                    assert_fails_fast(&larder, 5, &parts.each_ref().map(String::as_str));
                });
            }
        }
    });
}

/// Answers that MinIO never gives. The answer to `HEAD` has no body, so that larder must find the reason otherwise.
pub(crate) fn what_servers_answer() {
    let store = Store::new();
    Tree::small(1).write(&store.path("model"));
    store.run(["push", "model", "--command-hash", "x"]).ok();
    let content = store.key().rsplit('/').next().unwrap().to_owned();
    let both = ["--command-hash", "x", "--content-hash", &content];
    let shown = store.shown();
    let bucket = &*store.bucket;
    let rows: [(u16, &str, &[&str]); 7] = [
        (403, "RequestTimeTooSkewed", &["the clock of this machine is wrong"]),
        (400, "ExpiredToken", &["expired", "log in again"]),
        (403, "AccessDenied", &[bucket, "check that the credentials allow s3:"]),
        (403, "AllAccessDisabled", &[bucket]),
        (301, "PermanentRedirect", &[bucket, "eu-central-1", "region"]),
        (400, "AuthorizationHeaderMalformed", &[bucket, "eu-central-1", "region"]),
        (404, "NoSuchBucket", &[bucket, "there is no bucket"]),
    ];
    for (status, code, parts) in rows {
        let proxy = proxy_to_server();
        let message = "<Message>as the server puts it</Message>";
        let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code>{message}</Error>");
        let reply = Reply::new(status).header("x-amz-bucket-region", "eu-central-1").body(body);
        proxy.add(HttpRule::new(reply).always());
        let pull = [&["pull", "model", "--to", "copy"][..], &both].concat();
        let find = [&["find", "model"][..], &both].concat();
        for command in [&pull[..], &find, &["push", "model"], &["ls"], &["find", "model"]] {
            let larder = store.larder([]).args(command).env("AWS_ENDPOINT_URL_S3", proxy.url());
            assert_fails_fast(&larder, 5, &[&[&*shown], parts].concat());
        }
        assert!(!store.path("copy").exists());
    }

    let proxy = proxy_to_server();
    let archived = Reply::new(403).body("<Error><Code>InvalidObjectState</Code></Error>");
    proxy.add(HttpRule::new(archived).on(|request| !request.has_query("list-type")).always());
    for both in [&both[..], &[]] {
        let larder = store.larder(["pull", "model", "--to", "copy"]).args(both);
        let larder = larder.env("AWS_ENDPOINT_URL_S3", proxy.url());
        assert_fails_fast(&larder, 5, &[&shown, &content, "archived", "restore"]);
    }
    assert!(!store.path("copy").exists());
    store.assert_clean();
}

pub(crate) fn options_that_cannot_be() {
    let store = Store::new();
    let shown = store.shown();
    let rows: [(&str, &str, &[&str]); 9] = [
        ("nonsense", "true", &["nonsense", "`endpoint`, `region`"]),
        ("secret_access_key", "hunter2", &["secret_access_key"]),
        ("anonymous", "maybe", &["anonymous", "true or false"]),
        ("force_path_style", "1", &["force_path_style", "true or false"]),
        ("sse", "rot13", &["sse", "AES256"]),
        ("region", "", &["region"]),
        ("endpoint", "minio:9000", &["endpoint", "https://"]),
        ("endpoint", "https://me:hunter2@minio:9000", &["endpoint", "without user and password"]),
        ("request_payer", "me", &["request_payer", "requester"]),
    ];
    for (option, value, parts) in rows {
        let parts = [&[&*shown], parts].concat();
        let url = format!("{shown}?{option}={value}");
        let run = assert_fails_fast(&store.larder(["ls", "-r", &url]), 2, &parts);
        assert_no_secret(&run, &["hunter2"]);
        // The message names the line of the option, not that of the URL.
        store.configure(&format!("\n[remotes.shared]\nurl = '{shown}'\n\n{option} = '{value}'\n"));
        let run = assert_fails_fast(&store.larder(["ls"]), 2, &[&parts[..], &["larder.toml:5"]].concat());
        assert_no_secret(&run, &["hunter2"]);
        store.configure(&format!("\n[remotes]\nshared = '{url}'\n"));
        let run = assert_fails_fast(&store.larder(["ls"]), 2, &[&parts[..], &["larder.toml:3"]].concat());
        assert_no_secret(&run, &["hunter2"]);
    }
    store.configure(&format!("[remotes.shared]\nurl = '{shown}?region=a'\nregion = 'b'\n"));
    assert_fails_fast(&store.larder(["ls"]), 2, &["region", "larder.toml:", "keep one"]);
    let twice = format!("{shown}?region=a&region=b");
    assert_fails_fast(&store.larder(["ls", "-r", &twice]), 2, &["twice"]);
}

pub(crate) fn urls_that_cannot_be() {
    let store = Store::new();
    let bucket = &*store.bucket;
    let rows: [(String, &[&str]); 8] = [
        (format!("s3://AKIAIOSFODNN7EXAMPLE:hunter2@{bucket}/x"), &["password"]),
        // Secret keys of AWS may have slashes.
        (format!("s3://AKIAIOSFODNN7EXAMPLE:hun/hunter2+x@{bucket}/x"), &[]),
        (format!("s3://{bucket}/x?secret_access_key=hunter2&oops"), &["name=value"]),
        (format!("s3://{bucket}/x?secret_access_key=hunter2&secret_access_key=hunter2"), &["twice"]),
        ("s3:///x?secret_access_key=hunter2".to_owned(), &["bucket"]),
        ("s3://".to_owned(), &["s3://", "bucket"]),
        (format!("s3://{bucket}/../x"), &["bucket"]),
        ("s3://no bucket/x".to_owned(), &["no bucket/x"]),
    ];
    for (url, parts) in rows {
        let run = assert_fails_fast(&store.larder(["ls", "-r", &url]), 2, parts);
        assert_no_secret(&run, &["hunter2"]);
        store.configure(&format!("[remotes]\nshared = '{url}'\n"));
        let run = assert_fails_fast(&store.larder(["ls"]), 2, &[parts, &["larder.toml:2"]].concat());
        assert_no_secret(&run, &["hunter2"]);
    }
}
