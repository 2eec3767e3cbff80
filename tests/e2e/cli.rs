//! The command line as an interface: documents, streams, exit codes, colors.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::process::{ExitCode, Stdio};

use larder_tests::{Case, Sandbox, Tree, redact, run};
use serde_json::{Value, json};

fn main() -> ExitCode {
    run(
        "cli",
        &[
            Case::new("json_of_push_and_pull", json_of_push_and_pull),
            Case::new("json_of_find_url_and_ls", json_of_find_url_and_ls),
            Case::new("json_of_hashes", json_of_hashes),
            Case::new("json_of_errors", json_of_errors),
            Case::new("urls_are_remote_slash_key", urls),
            Case::new("hashes_are_printed_bare", hashes),
            Case::new("hashes_can_be_explained", explained),
            Case::new("command_hashes_take_in_what_they_say", command_hashes),
            Case::new("a_closed_pipe_is_no_error", closed_pipe),
            Case::new("results_go_to_stdout_and_the_rest_to_stderr", streams),
            Case::new("colours_only_where_they_are_wanted", colours),
            Case::new("completions_and_a_manual_page", completions),
            Case::new("help_shows_what_works", help),
        ],
    )
}

const HASH: &str = "blake3-tree-HEX";

fn sandbox_with_model() -> Sandbox {
    let sandbox = Sandbox::new();
    Tree::small(1).write(&sandbox.path("models/en"));
    sandbox
}

fn document<const N: usize>(sandbox: &Sandbox, args: [&str; N], code: i32) -> Value {
    redact(sandbox.larder(args).arg("--json").run().exits(code).json(), sandbox)
}

fn result(more: &[(&str, Value)]) -> Value {
    let mut result = json!({
        "path": "models/en",
        "url": "SANDBOX/remote/models%2Fen/x/blake3-tree-HEX",
        "command_hash": "x",
        "content_hash": HASH,
    });
    for (name, value) in more {
        result[name] = value.clone();
    }
    result
}

fn answer(command: &str, results: &[Value]) -> Value {
    json!({ "schema": 1, "command": command, "ok": true, "results": results })
}

fn json_of_push_and_pull() {
    let sandbox = sandbox_with_model();
    let push = ["push", "models/en", "--command-hash", "x"];
    let pull = ["pull", "models/en", "--command-hash", "x"];
    let outcome_of = |document: Value, command: &str| -> String {
        let result = document["results"][0].clone();
        for (name, expected) in result_fields() {
            assert_eq!(result[&name], expected, "{name} of {document}");
        }
        assert_eq!(
            (&document["schema"], &document["command"], &document["ok"]),
            (&json!(1), &json!(command), &json!(true))
        );
        result["outcome"].as_str().unwrap().to_owned()
    };
    assert_eq!(outcome_of(document(&sandbox, push, 0), "push"), "uploaded");
    assert_eq!(outcome_of(document(&sandbox, push, 0), "push"), "already_present");
    assert_eq!(outcome_of(document(&sandbox, pull, 0), "pull"), "up_to_date");
    fs::write(sandbox.path("models/en/config.cfg"), "mine").unwrap();
    assert_eq!(outcome_of(document(&sandbox, pull, 0), "pull"), "kept");
    fs::remove_dir_all(sandbox.path("models")).unwrap();
    let restored = document(&sandbox, pull, 0);
    assert_eq!(restored["results"][0]["verified"], true);
    assert_eq!(outcome_of(restored, "pull"), "restored");
    let miss = document(&sandbox, ["pull", "models/de", "--command-hash", "x"], 3);
    assert_eq!(miss["ok"], false, "{miss}");
    assert_eq!(miss["error"]["kind"], "not_found", "{miss}");
}

fn result_fields() -> Vec<(String, Value)> {
    result(&[]).as_object().unwrap().clone().into_iter().collect()
}

fn json_of_find_url_and_ls() {
    let sandbox = sandbox_with_model();
    sandbox.run(["push", "models/en", "--command-hash", "x"]).ok();
    let found = document(&sandbox, ["find", "models/en"], 0);
    let outputs = document(&sandbox, ["ls"], 0);
    assert_eq!(outputs, answer("ls", &[json!({ "path": "models/en" })]));
    let listed = document(&sandbox, ["ls", "models/en"], 0);
    for (document, command) in [(&found, "find"), (&listed, "ls")] {
        let results = document["results"].as_array().unwrap();
        assert_eq!((results.len(), &document["command"]), (1, &json!(command)), "{document}");
        for (name, expected) in result_fields() {
            assert_eq!(results[0][&name], expected, "{name} of {document}");
        }
        assert_eq!(results[0].get("outcome"), None, "{document}");
    }
    let content = sandbox.keys()[0].rsplit('/').next().unwrap().to_owned();
    let url = document(&sandbox, ["url", "models/en", "--command-hash", "x", "--content-hash", &content], 0);
    assert_eq!(url, answer("url", &[result(&[])]));
}

fn json_of_hashes() {
    let sandbox = sandbox_with_model();
    fs::write(sandbox.path("file"), "contents").unwrap();
    let content = document(&sandbox, ["hash", "content", "models/en", "file"], 0);
    let expected = [
        json!({ "path": "models/en", "scheme": "blake3", "hash": HASH }),
        json!({ "path": "file", "scheme": "blake3", "hash": "blake3-HEX" }),
    ];
    assert_eq!(content, answer("hash", &expected));
    let command = document(&sandbox, ["hash", "command", "--hash", "sha256"], 0);
    assert_eq!(command, answer("hash", &[json!({ "path": null, "scheme": "sha256", "hash": "sha256-HEX" })]));
    let explained = document(&sandbox, ["hash", "command", "--explain"], 0);
    assert_eq!(explained["results"][0]["manifest"], "larder-command 1\nsite -\nenv -\n", "{explained}");
}

fn json_of_errors() {
    let sandbox = sandbox_with_model();
    let rows: [(&[&str], i32, &str); 4] = [
        (&["push", "models/de"], 1, "models/de"),
        (&["push", "models/en", "-r", "nosuch"], 2, "nosuch"),
        (&["pull", "other", "-r", "./not/mounted"], 5, "not/mounted"),
        (&["push", "models/en", "--command-hash", "a/b"], 2, "a/b"),
    ];
    for (args, code, part) in rows {
        let run = sandbox.larder(["--json"]).args(args).run().exits(code);
        let document = run.json();
        assert_eq!((&document["schema"], &document["ok"]), (&json!(1), &json!(false)), "{document}");
        assert!(
            document["error"]["kind"].is_string() && document["error"]["causes"].is_array(),
            "{document}"
        );
        assert!(document["error"]["message"].as_str().unwrap().contains(part), "{document}");
    }
}

fn urls() {
    let sandbox = Sandbox::new();
    Tree::small(1).write(&sandbox.path("größe/my model+~"));
    sandbox.run(["push", "größe/my model+~", "--command-hash", "x"]).ok();
    let found = sandbox.run(["find", "größe/my model+~"]).ok();
    let key = sandbox.keys().remove(0);
    assert!(key.starts_with("gr%C3%B6%C3%9Fe%2Fmy+model%2B~/x/blake3-tree-"), "{key}");
    assert_eq!(found.line(), format!("{}/{key}", sandbox.remote().display()));
    let url = sandbox.run([
        "url",
        "a",
        "--command-hash",
        "c",
        "--content-hash",
        "h",
        "-r",
        "s3://bucket/a b//./c%20/",
    ]);
    if url.code == Some(0) {
        assert_eq!(url.line(), "s3://bucket/a b/c%20/a/c/h", "the prefix is literal text");
    }
}

fn hashes() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("file"), "contents").unwrap();
    fs::write(sandbox.path("other"), "").unwrap();
    let digest = blake3::hash(b"contents").to_hex();
    assert_eq!(sandbox.run(["hash", "content", "file"]).ok().text(), format!("blake3-{digest}\n"));
    let md5 = sandbox.run(["hash", "content", "other", "--hash", "weasel"]).ok();
    assert_eq!(md5.line(), "d41d8cd98f00b204e9800998ecf8427e");
    let both = sandbox.run(["hash", "content", "file", "other"]).ok();
    let empty = blake3::hash(b"").to_hex();
    assert_eq!(both.text(), format!("blake3-{digest}  file\nblake3-{empty}  other\n"));
}

fn explained() {
    let sandbox = Sandbox::new();
    Tree::new().with("a file", "x").write(&sandbox.path("tree"));
    let digest = blake3::hash(b"x").to_hex();
    let manifest = format!("larder-tree 1\nf 1 {digest} a%20file\n");
    let explained = sandbox.run(["hash", "content", "tree", "--explain"]).ok();
    assert!(explained.text().contains(&manifest), "{explained}");
    let hash = sandbox.run(["hash", "content", "tree"]).ok();
    assert_eq!(hash.line(), format!("blake3-tree-{}", blake3::hash(manifest.as_bytes()).to_hex()));
}

fn command_hashes() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("dep"), "1").unwrap();
    let hash = |args: &[&str]| {
        let call = sandbox.larder(["hash", "command"]).env("COLOUR", "red").args(args);
        call.run().ok().line().to_owned()
    };
    let all = [
        hash(&[]),
        hash(&["--", "train", "a b"]),
        hash(&["--", "train", "a", "b"]),
        hash(&["-d", "dep", "--", "train", "a b"]),
        hash(&["-e", "COLOUR", "--", "train", "a b"]),
        hash(&["-e", "COLOUR=blue", "--", "train", "a b"]),
        hash(&["-e", "UNSET", "--", "train", "a b"]),
        hash(&["--key", "os=linux", "--", "train", "a b"]),
    ];
    for (place, one) in all.iter().enumerate() {
        assert!(!all[..place].contains(one), "number {place} is equal to an earlier one: {all:?}");
    }
    assert_eq!(
        hash(&["-d", "dep", "-d", "./dep", "--", "train", "a b"]),
        all[3],
        "one dependency, twice named"
    );
    assert_eq!(
        hash(&["-e", "COLOUR=red", "--", "train", "a b"]),
        hash(&["-e", "COLOUR=$COLOUR", "--", "train", "a b"])
    );
    fs::write(sandbox.path("dep"), "2").unwrap();
    assert_ne!(hash(&["-d", "dep", "--", "train", "a b"]), all[3], "a dependency changed");
    let secret = sandbox.larder(["hash", "env", "TOKEN", "--explain"]).env("TOKEN", "hunter2").run().ok();
    assert!(!secret.said().contains("hunter2"), "the output has the value of a variable");
    // The scheme of a plain push.
    Tree::small(1).write(&sandbox.path("model"));
    let push = sandbox.run(["push", "model", "--json"]).ok();
    assert_eq!(push.field("command_hash"), all[0]);
}

fn closed_pipe() {
    let sandbox = sandbox_with_model();
    sandbox.run(["push", "models/en"]).ok();
    for args in [
        &["ls"][..],
        &["ls", "--json"],
        &["find", "models/en"],
        &["man"],
        &["completions", "bash"],
        &["--help"],
    ] {
        let mut command = sandbox.larder([]).args(args).command();
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && stderr.is_empty(), "{args:?}: {}: {stderr}", output.status);
    }
}

fn streams() {
    let sandbox = sandbox_with_model();
    let push = sandbox.run(["push", "models/en"]).ok();
    assert!(push.text().contains("models/en"), "{push}");
    assert!(!push.stderr.contains('\r'), "no progress bar without a terminal: {push}");
    let quiet = sandbox.run(["push", "models/en", "-q"]).ok();
    assert_eq!(quiet.stderr, "");
    let verbose = sandbox.run(["push", "models/en", "-v"]).ok();
    assert!(
        verbose.stderr.contains(sandbox.project().to_str().unwrap()),
        "the project root is said: {verbose}"
    );
    let wrong = sandbox.run(["push", "nothing"]).exits(1);
    assert_eq!(wrong.text(), "");
}

fn colours() {
    let sandbox = sandbox_with_model();
    let coloured = |args: &[&str], env: &[(&str, &str)]| {
        let mut call = sandbox.larder(["push", "nothing"]).args(args);
        for (name, value) in env {
            call = call.env(name, value);
        }
        call.run().exits(1).stderr.contains('\x1b')
    };
    assert!(!coloured(&[], &[]), "nobody looks");
    assert!(coloured(&["--color", "always"], &[]));
    assert!(coloured(&[], &[("CLICOLOR_FORCE", "1")]));
    assert!(!coloured(&[], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
    assert!(!coloured(&["--color", "never"], &[("CLICOLOR_FORCE", "1")]));
}

fn completions() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = sandbox.run(["completions", shell]).ok();
        assert!(script.text().contains("LARDER_COMPLETE"), "{shell}");
    }
    let manual = sandbox.run(["man"]).ok();
    assert!(manual.text().contains(".TH larder"), "{manual}");
}

fn help() {
    let sandbox = Sandbox::new();
    let version = sandbox.run(["--version"]).ok();
    assert!(version.line().starts_with("larder "), "{version}");
    let help = sandbox.run(["--help"]).ok();
    let commands: Vec<&str> = help.text().lines().filter_map(|line| line.split_whitespace().next()).collect();
    for command in
        ["push", "pull", "run", "find", "url", "ls", "log", "why", "hash", "config", "completions", "man"]
    {
        assert!(commands.contains(&command), "{command} is not in {help}");
        let own = sandbox.run([command, "--help"]).ok();
        // The help of `config` is the documentation of larder.toml.
        assert!(own.text().contains(if command == "config" { "# Configuration" } else { "Usage" }), "{own}");
    }
    for command in ["verify", "prune", "doctor"] {
        assert!(!commands.contains(&command), "{command} is shown and does not work: {help}");
    }
}
