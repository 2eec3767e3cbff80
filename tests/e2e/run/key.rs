//! The key of a run: the inputs that are in it, the calls that are refused, and the warnings.

use std::fs;
use std::os::unix::fs::symlink;

use larder_tests::Sandbox;

use crate::checkout::{Checkout, MODEL};

pub(crate) fn hash_command_prints_the_key_of_a_run() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    let variants: [&[&str]; 6] = [
        &[],
        &["--key", "size=small"],
        &["-e", "SEED=7"],
        &["-e", "SEED"],
        &["--portable"],
        &["--hash", "sha256"],
    ];
    let mut keys = Vec::new();
    for options in variants {
        let hash = ["hash", "command", "--run", "-d", "step.sh", "-d", "corpus"];
        let hash = checkout.larder(&hash).args(options).args(["--", "sh", "step.sh"]).env("SEED", "8").run();
        let key = hash.ok().line().to_owned();
        let report = [options, &["--report", "../report.json"]].concat();
        checkout.train(&report).env("SEED", "8").run().ok();
        let document = fs::read_to_string(checkout.beside("report.json")).unwrap();
        let document: serde_json::Value = serde_json::from_str(&document).unwrap();
        assert_eq!(document["command_hash"], *key, "{options:?}");
        let objects = sandbox.keys();
        assert!(objects.iter().any(|object| object.split('/').nth(1) == Some(&*key)), "{objects:?}");
        keys.push(key);
    }
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), variants.len(), "each of them is in the key");
}

pub(crate) fn the_platform_is_in_the_key() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    let hash = |options: &[&str]| {
        let call = checkout.larder(&["hash", "command", "-d", "corpus"]).args(options).args(["--", "x"]);
        call.run().ok().line().to_owned()
    };
    let platform = format!("platform={}-{}", std::env::consts::OS, std::env::consts::ARCH);
    assert_eq!(hash(&["--run"]), hash(&["--key", &platform]));
    assert_eq!(hash(&["--run", "--portable"]), hash(&[]));
}

pub(crate) fn outputs_are_not_in_the_key() {
    let sandbox = Sandbox::new();
    let script = "echo x >> ../trained\ncp corpus/a models/en\ncp corpus/b models/de\n";
    let checkout = Checkout::with_step(&sandbox, script);
    let key = |outputs: &[&str]| {
        checkout.step(&[outputs, &["--report", "../report.json"]].concat()).run().ok();
        let document = fs::read_to_string(checkout.beside("report.json")).unwrap();
        let document: serde_json::Value = serde_json::from_str(&document).unwrap();
        document["command_hash"].clone()
    };
    let one = key(&["-o", "models/en"]);
    assert_eq!(checkout.trained(), 1);
    // The record names one of the two outputs only, so it is no hit for both.
    let both = key(&["-o", "models/en", "-o", "models/de"]);
    assert_eq!((one, checkout.trained()), (both, 2));
    checkout.remove("models");
    key(&["-o", "models/de"]);
    assert_eq!(checkout.read("models/de").as_deref(), Some("b1\n"));
    key(&["-o", "models/en"]);
    assert_eq!(checkout.trained(), 2, "the second record names each of them");
}

pub(crate) fn a_run_without_dependencies_must_say_so() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    let run = |options: &[&str]| {
        checkout.larder(&["run", "-o", MODEL]).args(options).args(["--", "sh", "step.sh"]).run()
    };
    run(&[]).fails(125, &["--no-deps"]);
    assert_eq!(checkout.trained(), 0);
    run(&["--no-deps"]).ok();
    run(&["--no-deps"]).ok().says(&["up to date"]);
    assert_eq!(checkout.trained(), 1);
}

/// Asserts that the call fails with 125 before the command starts and before the remote is touched.
#[track_caller]
fn assert_refused(checkout: &Checkout<'_>, args: &[&str], parts: &[&str]) {
    let call = checkout.larder(&["run"]).args(args).args(["--", "sh", "-c", "echo x >> ../trained"]);
    let run = call.run();
    assert_eq!(checkout.trained(), 0, "the command ran: {run}");
    assert_eq!(checkout.remote(), None, "{run}");
    let run = run.exits(125);
    assert!(run.stderr.contains("error"), "{run}");
    for part in parts {
        assert!(run.stderr.contains(part), "expected `{part}`: {run}");
    }
}

pub(crate) fn calls_that_are_refused() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    checkout.write("real/file", "x");
    symlink("real", checkout.path("link")).unwrap();
    symlink("real/file", checkout.path("file-link")).unwrap();
    let good: &[&str] = &["-d", "corpus", "-o", MODEL];
    let with = |more: &[&'static str]| [good, more].concat();
    let cases: Vec<(Vec<&str>, &[&str])> = vec![
        (vec!["-d", "corpus"], &["-o"]),
        (vec!["-o", MODEL], &["-d"]),
        (vec!["-d", "corpus", "-o", "corpus"], &["corpus"]),
        (vec!["-d", "corpus", "-o", "./corpus/"], &["corpus"]),
        (vec!["-d", "corpus", "-o", "corpus/new"], &["corpus/new"]),
        (vec!["-d", "corpus/a", "-o", "corpus"], &["corpus/a"]),
        (vec!["-d", "corpus", "-o", "models", "-o", MODEL], &["models", MODEL]),
        (with(&["-o", "."]), &["."]),
        (with(&["-o", "../outside"]), &["../outside"]),
        (with(&["-o", "link"]), &["link", "symlink"]),
        (with(&["-o", "file-link"]), &["file-link", "symlink"]),
        (with(&["-o", ".larder/x"]), &[".larder"]),
        (with(&["-o", ".git/x"]), &[".git"]),
        (with(&["-o", "larder.toml"]), &["larder.toml"]),
        (with(&["-d", "absent"]), &["absent"]),
        (with(&["-r", "nosuch"]), &["nosuch", "shared"]),
        (with(&["-r", "ftp://host/x"]), &["ftp"]),
        (with(&["--no-such-option"]), &["--no-such-option"]),
        (with(&["--mode", "write-only"]), &["write-only"]),
        (with(&["--check"]), &["--check"]),
        (with(&["--keep", "other"]), &["other"]),
        (with(&["--key", "novalue"]), &["novalue"]),
        (with(&["--hash", "sha1"]), &["sha1"]),
        (with(&["-C", "nowhere"]), &["nowhere"]),
    ];
    for (args, parts) in &cases {
        assert_refused(&checkout, args, parts);
    }
    checkout.larder(&["run", "-d", "corpus", "-o", MODEL]).run().fails(125, &[]);
    checkout.train(&["--json"]).run().exits(125).says(&["--report"]);
    assert_eq!((checkout.trained(), checkout.remote()), (0, None));
    let mode = checkout.train(&[]).env("LARDER_RUN_MODE", "write-only").run();
    mode.fails(125, &["write-only"]);
    sandbox.configure("nonsense = [");
    assert_refused(&checkout, good, &["larder.toml"]);
    assert!(!checkout.path("models").exists(), "a refused run makes no directory");
}

pub(crate) fn a_mount_point_as_an_output_is_refused() {
    let mut sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.path("models/en/deep")).unwrap();
    sandbox.mount_tmpfs("project/models/en/deep", 1);
    let checkout = Checkout::new(&sandbox);
    for output in ["models/en/deep", "models/en", "models"] {
        assert_refused(&checkout, &["-d", "corpus", "-o", output], &["models/en/deep", "mount point"]);
    }
}

pub(crate) fn secrets_in_arguments_and_keys_are_refused() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    let secret = "s3cr3t-8";
    for name in ["API_TOKEN", "TOKENS", "MY_SECRET_1", "DB_PASSWORD", "DEPLOY_KEY"] {
        let run = |options: &[&str], argument: &str, value: &str| {
            let call = checkout.train(options).arg(argument).env(name, value);
            let run = call.run();
            assert!(!run.said().contains(secret), "{run}");
            run
        };
        let url = format!("--url=https://user:{secret}@host");
        let key = format!("url=x{secret}");
        run(&[], &url, secret).fails(125, &[name]);
        run(&["--key", &key], "x", secret).fails(125, &[name]);
        assert_eq!((checkout.trained(), checkout.remote()), (0, None), "{name}");
    }
    // The command has the variables of the options too.
    let set = format!("API_TOKEN={secret}");
    checkout.train(&["-e", &set]).arg(secret).run().fails(125, &["API_TOKEN"]);
    // A dry run follows the same rule.
    let dry = checkout.train(&["--dry-run"]).arg(secret).env("API_TOKEN", secret).run();
    dry.fails(125, &["API_TOKEN"]);
    // A short value is in too many arguments, and a variable of another name is no secret.
    checkout.train(&[]).arg("s3cr3t7").env("API_TOKEN", "s3cr3t7").run().ok();
    checkout.train(&[]).arg("plain-value").env("KEYBOARD", "plain-value").run().ok();
    // Only the joint hash of variables is published.
    checkout.train(&["-e", "API_TOKEN"]).env("API_TOKEN", secret).run().ok();
    assert_eq!(checkout.trained(), 3);
}

pub(crate) fn an_undeclared_file_in_an_argument_is_a_warning_on_hits_too() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    checkout.write("helper.cfg", "1");
    checkout.write("sub/table.csv", "1");
    let warnings = |arguments: &[&str]| {
        let run = checkout.train(&[]).args(arguments).run().ok();
        let lines = run.stderr.lines().filter(|line| line.starts_with("warning: "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    for remove in [false, false, true] {
        if remove {
            checkout.remove("models");
        }
        let found = warnings(&["helper.cfg", "./sub/table.csv"]);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("helper.cfg") && found[1].contains("sub/table.csv"), "{found:?}");
    }
    assert_eq!(checkout.trained(), 1);
    let found = warnings(&["corpus/a", MODEL, "no-such-file"]);
    assert_eq!(found, Vec::<String>::new(), "dependencies and outputs are declared");
}

pub(crate) fn the_path_of_the_project_in_a_key_is_a_warning() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    let project = sandbox.project();
    let absolute = project.join("corpus/a");
    let absolute = absolute.to_str().unwrap();
    for _ in ["a miss", "up to date"] {
        let run = checkout.train(&[]).arg(format!("--data={absolute}")).run().ok();
        assert!(
            run.stderr.lines().any(|line| line.starts_with("warning: ") && line.contains(absolute)),
            "{run}"
        );
        let run = checkout.train(&["--key", &format!("data={absolute}")]).run().ok();
        assert!(
            run.stderr.lines().any(|line| line.starts_with("warning: ") && line.contains("data")),
            "{run}"
        );
    }
}

pub(crate) fn an_absolute_path_outside_of_the_project_is_a_warning() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    fs::write(checkout.beside("outside"), "x").unwrap();
    let outside = checkout.beside("outside");
    let inside = checkout.path("corpus/a");
    let warns = |dependency: &str| {
        let run = checkout.train(&["-d", dependency]).run().ok();
        run.stderr.lines().any(|line| line.starts_with("warning: ") && line.contains(dependency))
    };
    for _ in ["a miss", "up to date"] {
        assert!(warns(outside.to_str().unwrap()));
        assert!(!warns(inside.to_str().unwrap()), "it is relative in the key");
        assert!(!warns("../outside"));
    }
}

pub(crate) fn a_git_directory_in_a_dependency_is_a_warning() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    checkout.write("corpus/.git/HEAD", "ref: refs/heads/main\n");
    let warnings = || {
        let run = checkout.train(&[]).run().ok();
        run.stderr.lines().filter(|line| line.starts_with("warning: ")).map(str::to_owned).collect::<Vec<_>>()
    };
    for _ in ["a miss", "up to date"] {
        let found = warnings();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(".git") && found[0].contains(".larderignore"), "{found:?}");
    }
    checkout.write(".larderignore", ".git\n");
    assert_eq!(warnings(), Vec::<String>::new());
    checkout.write("corpus/.git/HEAD", "ref: refs/heads/other\n");
    checkout.train(&[]).run().ok().says(&["up to date"]);
}
