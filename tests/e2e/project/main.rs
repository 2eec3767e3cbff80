//! `larder project`, which replaces `weasel push` and `weasel pull`, tested against the real weasel.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod audit;
mod special_files;
mod weasel;

use std::fs;
use std::process::ExitCode;

use larder_tests::{Case, Need, Sandbox, Signal, noise, run};
use serde_json::{Value, json};

fn main() -> ExitCode {
    run(
        "project",
        &[
            Case::new("larder_pulls_a_project_that_weasel_pushed", weasel::weasel_to_larder)
                .needs(&[Need::Weasel]),
            Case::new("weasel_pulls_a_project_that_larder_pushed", weasel::larder_to_weasel)
                .needs(&[Need::Weasel]),
            Case::new("pull_run_push_on_an_empty_remote", weasel::continuous_integration)
                .needs(&[Need::Weasel]),
            Case::new("the_lock_of_a_pull_is_that_of_a_run", weasel::same_lock).needs(&[Need::Weasel]),
            Case::new("overrides_name_the_script_that_ran", weasel::overrides).needs(&[Need::Weasel]),
            Case::new("exit_codes", exit_codes),
            Case::new("an_audit_offers_a_push_only_where_that_mends", audit::advice_of_audits),
            Case::new("a_refused_path_is_not_to_be_forced", refused_paths),
            Case::new("remotes_are_found_in_both_files_and_never_embedded", remotes),
            Case::new("settings_of_larder_do_not_change_keys_or_archives", settings),
            Case::new("an_interrupted_pull_says_so_and_leaves_nothing", interrupted).needs(&[Need::Signals]),
            Case::new("an_audit_finds_what_weasel_left_and_a_push_mends_it", audit::audit)
                .needs(&[Need::Weasel]),
            Case::new("mistakes_are_named", mistakes),
            Case::new(
                "special_files_are_refused_in_the_place_of_project_files",
                special_files::special_files,
            ),
            Case::new("a_link_at_the_lock_is_refused_and_kept", special_files::linked_lock),
            Case::new("a_failure_of_the_remote_is_said_once", one_failure),
        ],
    )
}

/// Creates a project with its outputs, without weasel.
pub(crate) fn plain() -> Sandbox {
    let sandbox = Sandbox::new();
    let yml = json!({
        "remotes": { "default": sandbox.remote() },
        "commands": [
            { "name": "a", "script": ["make a"], "deps": ["in"], "outputs": ["out"] },
            { "name": "b", "script": ["make b"], "deps": ["absent"], "outputs": ["other"] },
        ],
    });
    fs::write(sandbox.path("project.yml"), yml.to_string()).unwrap();
    fs::write(sandbox.path("in"), "in").unwrap();
    fs::write(sandbox.path("out"), "out").unwrap();
    sandbox
}

fn exit_codes() {
    let sandbox = plain();
    // A remote that a push would create has no objects. If its parent directory is missing too, a share may not be
    // mounted.
    sandbox.run(["project", "pull"]).ok();
    for command in ["push", "pull"] {
        sandbox.run(["project", command, "./not/mounted", "--dry-run"]).fails(5, &["not/mounted"]);
    }
    sandbox.run(["project", "push", "--dry-run"]).ok();
    assert!(!sandbox.remote().exists());
    sandbox.run(["project", "push", "--strict"]).fails(3, &["--strict"]);
    sandbox.run(["project", "push"]).ok();
    sandbox.run(["project", "pull"]).ok();
    assert!(sandbox.path("project.lock").exists());
    fs::write(sandbox.path("out"), "stale").unwrap();
    sandbox.run(["project", "pull"]).ok();
    sandbox.run(["project", "pull", "--strict"]).fails(3, &["--strict"]);
    fs::write(sandbox.path("in"), "changed").unwrap();
    let refused = sandbox.run(["project", "push"]).fails(1, &["refused", "--force"]);
    assert!(refused.stderr.contains("its dependency `in` has changed"), "{refused}");
    fs::write(sandbox.path("in"), "in").unwrap();
    fs::remove_file(sandbox.path("out")).unwrap();
    let object = sandbox.object();
    let bytes = fs::read(&object).unwrap();
    fs::write(&object, &bytes[..bytes.len() - 9]).unwrap();
    sandbox.run(["project", "pull"]).fails(4, &["damaged", "`larder project push --force` repairs it"]);
    sandbox.run(["project", "push", "--only", "nothing"]).fails(2, &["no command `nothing`", "`a`, `b`"]);
    sandbox.run(["project", "push", "--spacy-version", "3.7"]).exits(2);
    sandbox.run(["push", "out", "--vars.x=1"]).fails(2, &["--vars.x"]);
}

fn refused_paths() {
    let sandbox = plain();
    let push = |outputs: &[&str]| {
        let commands = json!([{ "name": "a", "script": ["make a"], "deps": ["in"], "outputs": outputs }]);
        let yml = json!({ "remotes": { "default": sandbox.remote() }, "commands": commands });
        fs::write(sandbox.path("project.yml"), yml.to_string()).unwrap();
        sandbox.run(["project", "push"])
    };
    let refused = push(&["../x", "/etc/passwd"]).fails(1, &["refused", "`../x`", "in project.yml"]);
    assert!(!refused.stderr.contains("--force"), "{refused}");
    push(&["out"]).ok();
    sandbox.run(["project", "pull"]).ok();
    fs::write(sandbox.path("in"), "changed").unwrap();
    push(&["out", "../x"])
        .fails(1, &["refused to push 2", "`--force` pushes", "another path in project.yml"]);
}

fn remotes() {
    let sandbox = plain();
    fs::create_dir(sandbox.path("one")).unwrap();
    let yml = |remotes: Value| {
        let yml =
            json!({ "remotes": remotes, "commands": [{ "name": "a", "script": [], "outputs": ["out"] }] });
        fs::write(sandbox.path("project.yml"), yml.to_string()).unwrap();
    };
    let url = |arguments: &[&str]| {
        let run = sandbox.larder(["project", "push", "--dry-run", "--json"]).args(arguments).run().ok();
        run.field("url").rsplit('/').nth(3).unwrap().to_owned()
    };
    yml(json!({ "default": "./one/remote-y", "team": "./one/team-y" }));
    sandbox.configure("[remotes]\ndefault = './one/remote-l'\nextra = './one/extra-l'\n");
    assert_eq!(url(&[]), "remote-y");
    assert_eq!(url(&["team"]), "team-y");
    assert_eq!(url(&["-r", "extra"]), "extra-l");
    assert_eq!(url(&["team", ".", "-r", "extra"]), "team-y");
    assert_eq!(url(&["./one/given"]), "given");
    yml(json!({ "team": "./one/team-y" }));
    assert_eq!(url(&[]), "remote-l");
    sandbox.configure("");
    sandbox.run(["project", "push"]).fails(2, &["no remote is called `default`", "`team`"]);
    sandbox.run(["project", "push", "taem"]).fails(2, &["taem", "`team`", "./taem"]);
    yml(json!({}));
    sandbox.run(["project", "push"]).fails(2, &["no remote is called `default`", "project.yml"]);
    assert!(!sandbox.path(".larder/store").exists());
    yml(json!({ "default": 3 }));
    sandbox.run(["project", "push"]).fails(2, &["project.yml:1", "`default`", "3"]);
}

fn settings() {
    let sandbox = plain();
    sandbox.configure("hash = 'sha256'\ncompression = 'zstd:19'\n");
    sandbox.larder(["project", "push", "--hash", "blake3", "--json"]).env("LARDER_HASH", "sha256").run().ok();
    // The MD5 of `out`, and the MD5 of the script and the MD5 of `in`.
    assert_eq!(sandbox.keys(), ["out/4c6d191af633ead16434c7bd479b3dd1/c68271a63ddbc431c307beb7d2918275"]);
    assert!(fs::read(sandbox.object()).unwrap().starts_with(&[0x1f, 0x8b]), "gzip");
    // Run from a subdirectory, and with the project's directory as an argument.
    fs::create_dir(sandbox.path("sub")).unwrap();
    let here = sandbox.larder(["project", "push", "--json"]).in_dir(sandbox.path("sub")).run().ok();
    assert_eq!(here.results()[0]["outcome"], "already_present", "{here}");
    let from_above = ["project", "push", "default", "project", "--json"];
    let there = sandbox.larder(from_above).in_dir(sandbox.root()).run().ok();
    assert_eq!(there.results()[0]["outcome"], "already_present", "{there}");
}

fn interrupted() {
    let sandbox = plain();
    fs::write(sandbox.path("out"), noise(1, 200 << 20)).unwrap();
    sandbox.run(["project", "push"]).ok();
    fs::remove_file(sandbox.path("out")).unwrap();
    let mut pull = sandbox.larder(["project", "pull"]).spawn();
    pull.wait_until(|pull| pull.bytes_written() > 4 << 20);
    pull.signal(Signal::INT);
    let run = pull.wait();
    assert!(run.code == Some(130) || run.signal == Some(2), "{run}");
    assert!(!sandbox.path("out").exists() && !sandbox.path("project.lock").exists());
    sandbox.run(["project", "pull"]).ok();
    sandbox.assert_clean();
}

fn mistakes() {
    let sandbox = plain();
    fs::write(sandbox.path("project.yml"), "vars:\n  x: 1\ncommands:\n- name: a\n  script: ['${vars.y}']\n")
        .unwrap();
    sandbox.run(["project", "status"]).fails(2, &["project.yml:5", "`vars.y`", "not defined"]);
    fs::write(sandbox.path("project.yml"), "commands:\n- nam: a\n").unwrap();
    sandbox.run(["project", "push"]).fails(2, &["project.yml:2", "nam"]);
    fs::remove_file(sandbox.path("project.yml")).unwrap();
    sandbox.run(["project", "pull"]).fails(2, &["there is no", "project.yml"]);
    sandbox.run(["project", "pull", "default", "nowhere"]).fails(2, &["nowhere"]);
}

fn one_failure() {
    let sandbox = plain();
    let outputs: Vec<String> = (0..9).map(|number| format!("out{number}")).collect();
    let project = json!({
        "remotes": { "default": sandbox.root().join("absent/remote") },
        "commands": [{ "name": "a", "script": ["make a"], "deps": ["in"], "outputs": outputs }],
    });
    fs::write(sandbox.path("project.yml"), project.to_string()).unwrap();
    // The parent of the remote is a file, so that the remote cannot exist.
    fs::write(sandbox.root().join("absent"), "").unwrap();
    sandbox.run(["project", "pull"]).fails(5, &["remote"]);
    for output in &outputs {
        fs::write(sandbox.path(output), "out").unwrap();
    }
    for command in ["push", "status"] {
        sandbox.run(["project", command]).fails(5, &["remote"]);
    }
}
