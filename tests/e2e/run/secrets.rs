//! The remote holds no value of the environment.

use std::fs;

use larder_tests::{Sandbox, files_below};

use crate::checkout::Checkout;

pub(crate) fn no_value_of_the_environment_is_in_the_remote() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    let values =
        ["kJ8-value-of-a-token", "kJ9-value-of-a-seed", "kJ0-value-of-the-option", "kJ1-of-a-password"];
    let [token, seed, option, password] = values;
    let with_environment = |options: &[&str]| {
        let call = checkout.step(options).env("API_TOKEN", token).env("SEED", seed);
        call.env("DB_PASSWORD", password).run()
    };
    let level = format!("LEVEL={option}");
    let named = ["-e", "SEED", "-e", "API_TOKEN", "-e", &level];
    // A miss, a hit, a failure, a check, and a run that publishes late.
    let model = ["-o", "models/en"];
    with_environment(&[&named[..], &model].concat()).ok();
    checkout.remove("models");
    with_environment(&[&named[..], &model].concat()).ok().says(&["restored"]);
    with_environment(&[&named[..], &["--check", "--key", "kind=check"]].concat()).ok();
    checkout.write("corpus/b", "b2\n");
    with_environment(&[&named[..], &model, &["--mode", "read-only"]].concat()).ok();
    with_environment(&[&named[..], &model].concat()).ok().says(&["published"]);
    checkout.write("step.sh", "exit 3\n");
    with_environment(&[&named[..], &model].concat()).exits(3);
    let files = files_below(&sandbox.remote());
    assert!(files.len() >= 5, "{files:?}");
    for key in files {
        let bytes = fs::read(sandbox.remote().join(&key)).unwrap();
        let has = |needle: &str| bytes.windows(needle.len()).any(|window| window == needle.as_bytes());
        for value in values {
            assert!(!has(value) && !key.contains(value), "{key}");
            assert!(!has(blake3::hash(value.as_bytes()).to_hex().as_str()), "{key}");
        }
        // Names may be there, if the key has them.
        assert!(!has("DB_PASSWORD"), "{key}");
    }
}
