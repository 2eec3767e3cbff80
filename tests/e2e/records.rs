//! Run records: the newest version, outputs that come back together, `log`, `why`, and short hashes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::process::{Command, ExitCode};

use larder_tests::{Case, Need, Sandbox, files_below, run};
use serde_json::Value;

fn main() -> ExitCode {
    run(
        "records",
        &[
            Case::new("the_version_that_was_pushed_last_comes_back", last_push),
            Case::new("outputs_of_one_command_come_back_together", together),
            Case::new("a_record_is_an_in_toto_statement", statement),
            Case::new("a_record_holds_no_value_of_a_variable", no_secrets),
            Case::new("a_record_names_the_commit_and_the_ci_job", provenance).needs(&[Need::Git]),
            Case::new("who_pushed_is_recorded_only_if_the_configuration_says_so", identity),
            Case::new("a_record_that_cannot_be_written_fails_the_push", denied).needs(&[Need::Users]),
            Case::new("the_log_shows_the_newest_runs_first", log),
            Case::new("foreign_records_are_ignored_with_one_warning", foreign),
            Case::new("a_unique_prefix_names_a_hash", prefixes),
            Case::new("a_miss_names_the_nearest_outputs", near),
            Case::new("weasel_hashes_have_no_records", weasel),
        ],
    )
}

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.configure_remote();
    sandbox
}

fn push(sandbox: &Sandbox, text: &str, args: &[&str]) -> String {
    fs::write(sandbox.path("m.txt"), text).unwrap();
    sandbox.larder(["push", "m.txt", "--json"]).args(args).run().ok().field("content_hash")
}

/// Returns the paths of all records, relative to the remote.
fn records(sandbox: &Sandbox) -> Vec<String> {
    let mut records = files_below(&sandbox.remote());
    records.retain(|key| key.starts_with(".larder/1/runs/"));
    records
}

fn last_push() {
    let sandbox = sandbox();
    push(&sandbox, "v1", &[]);
    push(&sandbox, "v2", &[]);
    push(&sandbox, "v1", &[]);
    assert_eq!(sandbox.keys().len(), 2, "the third push found its object present");
    fs::remove_file(sandbox.path("m.txt")).unwrap();
    sandbox.run(["pull", "m.txt"]).ok();
    assert_eq!(fs::read_to_string(sandbox.path("m.txt")).unwrap(), "v1");
}

fn together() {
    let sandbox = sandbox();
    let made = |a: &str, b: &str| {
        fs::write(sandbox.path("a"), a).unwrap();
        fs::write(sandbox.path("b"), b).unwrap();
    };
    for (a, b) in [("a1", "b1"), ("a2", "b2")] {
        made(a, b);
        sandbox.run(["push", "a", "b", "--command-hash", "train"]).ok();
    }
    made("a2", "b3");
    sandbox.run(["push", "b", "--command-hash", "train"]).ok();
    fs::remove_file(sandbox.path("a")).unwrap();
    fs::remove_file(sandbox.path("b")).unwrap();
    sandbox.run(["pull", "a", "b", "--command-hash", "train"]).ok();
    let read = |name: &str| fs::read_to_string(sandbox.path(name)).unwrap();
    assert_eq!((read("a"), read("b")), ("a2".to_owned(), "b2".to_owned()));
}

fn statement() {
    let sandbox = sandbox();
    let content = push(&sandbox, "v1", &["--command-hash", "train"]);
    let [record] = <[String; 1]>::try_from(records(&sandbox)).unwrap();
    assert!(record.starts_with(".larder/1/runs/m.txt/train/"), "{record}");
    assert!(record.ends_with(&format!(".{content}.json")), "{record}");
    let json: Value = serde_json::from_slice(&fs::read(sandbox.remote().join(&record)).unwrap()).unwrap();
    assert_eq!(json["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(json["predicateType"], "https://slsa.dev/provenance/v1");
    assert_eq!(json["subject"][0]["name"], "m.txt");
    assert_eq!(format!("blake3-{}", json["subject"][0]["digest"]["blake3"].as_str().unwrap()), content);
    let definition = &json["predicate"]["buildDefinition"];
    assert_eq!(definition["internalParameters"]["command_hash"], "train");
    assert!(definition["externalParameters"]["command"].is_null());
    assert_eq!(definition["externalParameters"]["outputs"]["m.txt"]["content_bytes"], 2);
    assert_eq!(definition["externalParameters"]["outputs"]["m.txt"]["files"], 1);
}

fn no_secrets() {
    let sandbox = sandbox();
    fs::write(sandbox.path("m.txt"), "v1").unwrap();
    let secret = "kJ8-a-value-of-the-environment";
    sandbox.larder(["push", "m.txt"]).env("API_TOKEN", secret).env("SEED", secret).run().ok();
    for key in files_below(&sandbox.remote()) {
        let bytes = fs::read(sandbox.remote().join(&key)).unwrap();
        let has = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        assert!(!has(secret.as_bytes()), "{key}");
        assert!(!has(blake3::hash(secret.as_bytes()).to_hex().as_bytes()), "{key}");
    }
}

fn log_entry(sandbox: &Sandbox) -> Value {
    sandbox.run(["log", "--json"]).ok().results().remove(0)
}

fn provenance() {
    let sandbox = sandbox();
    let git = |args: &[&str]| {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=A", "-c", "user.email=a@example.com"]).args(args);
        let output = git.current_dir(sandbox.project()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    git(&["init", "--quiet"]);
    fs::write(sandbox.path("code.py"), "1").unwrap();
    push(&sandbox, "v1", &[]);
    assert!(log_entry(&sandbox).get("git").is_none(), "there is no commit yet");
    git(&["add", "code.py"]);
    git(&["commit", "--quiet", "-m", "code"]);
    push(&sandbox, "v1", &[]);
    let commit = git(&["rev-parse", "HEAD"]);
    assert_eq!(log_entry(&sandbox)["git"], serde_json::json!({ "commit": commit, "dirty": false }));
    fs::write(sandbox.path("code.py"), "2").unwrap();
    let gitlab = "https://gitlab.example/team/project/-/jobs/7";
    sandbox.larder(["push", "m.txt"]).env("CI_JOB_URL", gitlab).run().ok();
    let entry = log_entry(&sandbox);
    assert_eq!((&entry["git"]["dirty"], &entry["ci_url"]), (&true.into(), &gitlab.into()));
    sandbox.run(["log"]).ok().says(&[&format!("{}+", &commit[..8])]);
}

fn identity() {
    let sandbox = sandbox();
    let record = |toml: &str| {
        sandbox.configure(&format!("{toml}\n[remotes]\nmine = '{}'\n", sandbox.remote().display()));
        fs::write(sandbox.path("m.txt"), "v1").unwrap();
        sandbox.larder(["push", "m.txt"]).env("LOGNAME", "ada").run().ok();
        log_entry(&sandbox)
    };
    let entry = record("");
    assert!(entry.get("user").is_none() && entry.get("host").is_none(), "{entry}");
    let entry = record("record_identity = true");
    assert_eq!(entry["user"], "ada");
    assert!(entry["host"].as_str().is_some_and(|host| !host.is_empty()));
}

fn denied() {
    use std::os::unix::fs::PermissionsExt as _;

    let sandbox = sandbox();
    push(&sandbox, "v1", &[]);
    let runs = sandbox.remote().join(".larder/1/runs/m.txt");
    let of_command = fs::read_dir(&runs).unwrap().next().unwrap().unwrap().path();
    fs::set_permissions(&of_command, fs::Permissions::from_mode(0o555)).unwrap();
    let everyone =
        |path: &std::path::Path| fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    [sandbox.root(), &sandbox.project(), &sandbox.remote()].into_iter().for_each(everyone);
    for dir in ["m.txt", ".larder", ".larder/1", ".larder/1/tmp", ".larder/1/runs"] {
        everyone(&sandbox.remote().join(dir));
    }
    for object in sandbox.keys() {
        everyone(sandbox.remote().join(object).parent().unwrap());
    }
    fs::remove_dir_all(sandbox.path(".larder")).ok();
    fs::write(sandbox.path("m.txt"), "v2").unwrap();
    let push = || {
        sandbox
            .larder(["push", "m.txt"])
            .with_binary(sandbox.public_binary())
            .as_user(12_345, &[12_345])
            .run()
    };
    push().fails(5, &["run record", "m.txt", "published", "push again"]);
    assert_eq!(sandbox.keys().len(), 2, "the object is published");
    assert_eq!(records(&sandbox).len(), 1);
    everyone(&of_command);
    push().ok();
    assert_eq!(records(&sandbox).len(), 2, "the next push writes it");
}

fn log() {
    let sandbox = sandbox();
    sandbox.run(["log"]).ok().says(&["no run is recorded"]);
    push(&sandbox, "v1", &["--command-hash", "one"]);
    push(&sandbox, "v2", &["--command-hash", "two"]);
    fs::write(sandbox.path("other"), "x").unwrap();
    sandbox.run(["push", "m.txt", "other", "--command-hash", "three"]).ok();
    let commands = |args: &[&str]| -> Vec<String> {
        let results = sandbox.larder(["log", "--json"]).args(args).run().ok().results();
        results.iter().map(|entry| entry["command_hash"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(commands(&[]), ["three", "two", "one"]);
    assert_eq!(commands(&["-n", "1"]), ["three"]);
    assert_eq!(commands(&["other"]), ["three"]);
    assert_eq!(commands(&["m.txt", "--command-hash", "two"]), ["two"]);
    let text = sandbox.run(["log"]).ok().text().to_owned();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(text.contains("m.txt + 1") && text.contains("(push)"), "{text}");
    sandbox.run(["why", "m.txt"]).ok().says(&["three and", "cannot be compared"]);
    sandbox.run(["why", "absent"]).fails(3, &["absent"]);
}

fn foreign() {
    let sandbox = sandbox();
    push(&sandbox, "v1", &["--command-hash", "one"]);
    let [record] = <[String; 1]>::try_from(records(&sandbox)).unwrap();
    let dir = sandbox.remote().join(&record).parent().unwrap().to_owned();
    let whole = fs::read_to_string(sandbox.remote().join(&record)).unwrap();
    for (number, content) in [
        "junk".to_owned(),
        whole.replace("#v1", "#v9"),
        whole.replace("m.txt", "../../m.txt"),
        "x".repeat(1 << 20),
    ]
    .iter()
    .enumerate()
    {
        fs::write(dir.join(format!("820000000000{number}.00000000deadbee{number}.x.json")), content).unwrap();
    }
    fs::write(dir.join("\u{202e}odd\u{1b}[31m"), "x").unwrap();
    let log = sandbox.run(["log"]).ok();
    assert_eq!(log.text().lines().count(), 2, "a header and one run: {log}");
    assert_eq!(log.said().matches("ignoring").count(), 1, "{log}");
    assert!(!log.said().contains('\u{202e}') && !log.said().contains('\u{1b}'), "{log}");
    fs::remove_file(sandbox.path("m.txt")).unwrap();
    sandbox.run(["pull", "m.txt"]).ok();
    assert_eq!(records(&sandbox).len(), 6, "nothing is deleted");
}

fn prefixes() {
    let sandbox = sandbox();
    let hash = |name: &str| sandbox.larder(["hash", "command", "--", name]).run().ok().line().to_owned();
    let (one, two) = (hash("one"), hash("two"));
    push(&sandbox, "v1", &["--command-hash", &one]);
    let content = push(&sandbox, "v2", &["--command-hash", &two]);
    let digits = one.strip_prefix("blake3-").unwrap();
    for prefix in [&digits[..8], &digits[..20], digits, &one[..20]] {
        fs::remove_file(sandbox.path("m.txt")).unwrap();
        sandbox.run(["pull", "m.txt", "--command-hash", prefix]).ok();
        assert_eq!(fs::read_to_string(sandbox.path("m.txt")).unwrap(), "v1", "{prefix}");
        for command in ["find", "ls", "log"] {
            let results = sandbox.run([command, "m.txt", "--command-hash", prefix, "--json"]).ok().results();
            assert_eq!(results.len(), 1, "{command}");
            assert_eq!(results[0]["command_hash"], *one, "{command}");
        }
    }
    let digest = content.strip_prefix("blake3-").unwrap();
    let found = sandbox.run(["find", "m.txt", "--content-hash", &digest[..12], "--json"]).ok();
    assert_eq!(found.field("content_hash"), content);
    // An exact name wins over the hash that begins so.
    push(&sandbox, "v3", &["--command-hash", &digits[..8]]);
    fs::remove_file(sandbox.path("m.txt")).unwrap();
    sandbox.run(["pull", "m.txt", "--command-hash", &digits[..8]]).ok();
    assert_eq!(fs::read_to_string(sandbox.path("m.txt")).unwrap(), "v3");
    // Two hashes with one beginning.
    let twin = format!("blake3-{}{}", &digits[..12], "0".repeat(52));
    push(&sandbox, "v4", &["--command-hash", &twin]);
    sandbox.run(["find", "m.txt", "--command-hash", &digits[..12]]).fails(2, &["several", &one, &twin]);
    sandbox.run(["find", "m.txt", "--command-hash", "blake3-00000000"]).fails(3, &["begins with"]);
    sandbox.run(["find", "m.txt", "--command-hash", "blake3-12"]).fails(2, &["blake3-12"]);
}

fn near() {
    let sandbox = sandbox();
    for name in ["models/en", "models/de", "corpus"] {
        fs::create_dir_all(sandbox.path("models")).unwrap();
        fs::write(sandbox.path(name), "x").unwrap();
        sandbox.run(["push", name]).ok();
    }
    for command in ["pull", "find", "ls"] {
        sandbox.run([command, "model/en"]).fails(3, &["model/en", "the remote has `models/en`"]);
    }
    sandbox.run(["find", "weights"]).fails(3, &["weights", "`larder ls` lists the outputs"]);
}

fn weasel() {
    let sandbox = sandbox();
    push(&sandbox, "v1", &["--hash", "weasel"]);
    assert_eq!(records(&sandbox), Vec::<String>::new());
}
