//! Missing or insufficient credentials: the command says so within seconds, without the secrets.

use std::fs;
use std::net::TcpListener;

use larder_tests::{Larder, Sandbox, Tree};

use crate::errors::{assert_fails_fast, assert_no_secret};
use crate::store::Store;

/// Every command that sends a request to the remote.
const COMMANDS: [&[&str]; 5] = [
    &["push", "model"],
    &["pull", "absent"],
    &["pull", "absent", "--command-hash", "x", "--content-hash", "y"],
    &["find", "absent"],
    &["ls"],
];

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

pub(crate) fn that_are_wrong() {
    let store = Store::new();
    Tree::small(1).write(&store.path("model"));
    let secret = "wrong-Secret/0123456789+abcdefghij";
    let token = "t0ken-of-a-session/that+is=none";
    let wrong: [(&str, &str, &[&str]); 3] = [
        ("AWS_SECRET_ACCESS_KEY", secret, &["the secret key is wrong", "AWS_SECRET_ACCESS_KEY"]),
        (
            "AWS_ACCESS_KEY_ID",
            "NOBODYSKEY0000000000",
            &["does not know these credentials", "AWS_ACCESS_KEY_ID"],
        ),
        ("AWS_SESSION_TOKEN", token, &["does not know these credentials", "AWS_SESSION_TOKEN"]),
    ];
    for (name, value, parts) in wrong {
        for command in COMMANDS {
            let larder = store.larder([]).args(command).env(name, value);
            let run = assert_fails_fast(&larder, 5, &[&[&*store.shown()], parts].concat());
            assert_no_secret(&run, &[secret, token]);
        }
    }
    assert_eq!(store.keys(), Vec::<String>::new());
    store.assert_clean();
}

/// A call that gets only the server's address, and the address of an instance metadata service.
fn without_credentials(sandbox: &Sandbox, metadata: &str) -> Larder {
    let names = ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_CA_BUNDLE"];
    let larder = sandbox.larder([]).env("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata);
    names.into_iter().fold(larder, |larder, name| match std::env::var_os(name) {
        Some(value) => larder.env(name, value),
        None => larder,
    })
}

pub(crate) fn that_are_missing() {
    let store = Store::new();
    let sandbox = Sandbox::new();
    Tree::small(1).write(&sandbox.path("model"));
    // The service accepts connections and never answers, as behind a firewall.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    for (metadata, commands) in [(&*silent, &COMMANDS[..2]), ("http://127.0.0.1:1", &COMMANDS)] {
        for command in commands {
            let larder = without_credentials(&sandbox, metadata).args(*command);
            let larder = larder.args(["-r", &store.remote_url()]);
            assert_fails_fast(&larder, 5, &[&store.shown(), "no AWS credentials", "AWS_PROFILE"]);
        }
    }
}

pub(crate) fn of_a_profile() {
    let store = Store::new();
    let sandbox = Sandbox::new();
    Tree::small(1).write(&sandbox.path("model"));
    fs::create_dir(sandbox.home().join(".aws")).unwrap();
    let secret = "wrong-Secret/0123456789+abcdefghij";
    let profiles = format!(
        "[team]\naws_access_key_id = {}\naws_secret_access_key = {}\naws_session_token = {}\n\
         [broken]\naws_access_key_id = x\naws_secret_access_key = {secret}\n[half]\naws_access_key_id = x\n",
        variable("AWS_ACCESS_KEY_ID"),
        variable("AWS_SECRET_ACCESS_KEY"),
        variable("AWS_SESSION_TOKEN"),
    );
    let profiles = profiles.replace("aws_session_token = \n", "");
    fs::write(sandbox.home().join(".aws/credentials"), profiles).unwrap();
    let configure = |profile: &str| {
        let toml = format!("[remotes.shared]\nurl = '{}'\nprofile = '{profile}'\n", store.remote_url());
        sandbox.configure(&toml);
    };
    let larder = |command: &[&str]| without_credentials(&sandbox, "http://127.0.0.1:1").args(command);
    configure("team");
    larder(&["push", "model"]).run().ok();
    assert_eq!(larder(&["ls"]).run().ok().line(), "model");
    let by_url = ["ls", "-r", &store.remote_url()];
    larder(&by_url).env("AWS_PROFILE", "team").run().ok();
    // The profile of the remote counts.
    larder(&["ls"]).env("AWS_PROFILE", "broken").run().ok();
    larder(&["ls"]).env("AWS_ACCESS_KEY_ID", "x").env("AWS_SECRET_ACCESS_KEY", secret).run().ok();
    for (profile, part) in
        [("broken", "AWS_ACCESS_KEY_ID"), ("half", "the profile `half`"), ("absent", "the profile `absent`")]
    {
        configure(profile);
        let run = assert_fails_fast(&larder(&["ls"]), 5, &[&store.shown(), part]);
        assert_no_secret(&run, &[secret]);
    }
}

pub(crate) fn that_are_not_needed() {
    let store = Store::new();
    // Everyone may read objects, but not list them.
    let bucket = store.public_bucket(&["s3:GetObject"]);
    let remote = store.in_bucket(&bucket.name);
    let signed = store.larder(["push", "model", "-r", &remote, "--command-hash", "x", "--json"]);
    Tree::small(1).write(&store.path("model"));
    let content = signed.run().ok().field("content_hash");

    let reader = Sandbox::new();
    let separator = if remote.contains('?') { '&' } else { '?' };
    let anonymous = format!("{remote}{separator}anonymous=true");
    let larder = |command: &[&str]| {
        without_credentials(&reader, "http://127.0.0.1:1").args(command).args(["-r", &anonymous])
    };
    let both = ["model", "--command-hash", "x", "--content-hash", &content];
    assert!(larder(&["find"]).args(both).run().ok().line().ends_with(&content));
    larder(&["pull"]).args(both).run().ok();
    Tree::read(&reader.path("model")).assert_same(&Tree::small(1));

    Tree::small(2).write(&reader.path("other"));
    let name = &*bucket.name;
    let rows: [(&[&str], &[&str]); 3] = [
        (&["ls"], &[name, "s3:ListBucket"]),
        (&["find", "model"], &[name, "s3:ListBucket"]),
        // A push looks for the object and lists its run records at the same time. Both are denied.
        (&["push", "other"], &[name, "permission denied"]),
    ];
    for (command, parts) in rows {
        assert_fails_fast(&larder(command), 5, parts);
    }
    bucket.allow(&["s3:GetObject", "s3:ListBucket"]);
    assert_eq!(larder(&["ls"]).run().ok().line(), "model");
    assert_fails_fast(&larder(&["push", "other"]), 5, &[name, "/other/", "s3:PutObject"]);
    reader.assert_clean();
}
