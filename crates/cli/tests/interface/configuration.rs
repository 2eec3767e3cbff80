//! Configuration files, the environment and global options.

use std::fs;
use std::path::Path;

use insta::assert_snapshot;

use crate::support::Project;

#[test]
fn mistakes_of_the_configuration_are_named_with_file_and_line() {
    let project = Project::new();
    let mut transcript = String::new();
    let files = [
        "hash = 'blake3'\ncompresion = 'zstd'\n",
        "\nhash = 'md4'\n",
        "compression = 'zstd:99'\n",
        "[remotes\n",
        "[remotes]\none = '/one'\ntwo = '/two'\n",
        "[remotes.one]\nurl = './one'\nnonsense = true\n",
    ];
    for text in files {
        project.write("larder.toml", text);
        transcript += &project.transcript("push metrics.json");
    }
    project.write("larder.toml", "");
    let user = project.0.path().join("home/.config/larder");
    fs::create_dir_all(&user).unwrap();
    fs::write(user.join("config.toml"), "jobs = 0\n").unwrap();
    transcript += &project.transcript("push metrics.json");
    project.settings().bind(|| assert_snapshot!("configuration", transcript));
}

#[test]
fn the_environment_is_asked_after_flags_and_before_files() {
    let project = Project::new();
    let hash = |arguments: &str, variable: &str| {
        let output = project.command(arguments).env("LARDER_HASH", variable).output().unwrap();
        String::from_utf8(output.stdout).unwrap().chars().take(6).collect::<String>()
    };
    project.write("larder.toml", "hash = 'weasel'\n");
    assert_eq!(hash("hash content metrics.json --hash blake3", "sha256"), "blake3");
    assert_eq!(hash("hash content metrics.json", "sha256"), "sha256");
    assert_eq!(hash("hash content metrics.json", ""), "99914b", "an empty one counts as unset");
    let output = project.command("ls").env("LARDER_REMOTE", "./no/absent").output().unwrap();
    assert_eq!(output.status.code(), Some(5));
    let output = project.command("ls").env("LARDER_HASH", "md4").output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "error: LARDER_HASH: unknown hash scheme `md4`: it is one of blake3, sha256, weasel\n"
    );
}

#[test]
fn global_options_stand_before_and_behind_the_command() {
    let project = Project::new();
    let inside = Path::new("models");
    let before = project.command("-C models --hash sha256 hash content en").output().unwrap();
    let behind = project.command("hash content en --hash sha256 -C models").output().unwrap();
    assert_eq!(before.stdout, behind.stdout);
    assert!(before.status.success(), "{}", Project::show("", &before));
    let there =
        project.command("hash content en --hash sha256").current_dir(project.path().join(inside)).output();
    assert_eq!(there.unwrap().stdout, before.stdout);
}

/// The documentation of the configuration in `docs/`.
const DOCUMENTATION: &str = include_str!("../../configuration.md");

/// The TOML examples of the documentation.
fn examples() -> Vec<&'static str> {
    DOCUMENTATION.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn the_documentation_is_what_the_command_and_its_help_print() {
    let project = Project::new();
    for arguments in ["config", "help config"] {
        let output = project.command(arguments).output().unwrap();
        assert!(output.status.success(), "{}", Project::show(arguments, &output));
        assert_eq!(
            String::from_utf8(output.stdout).unwrap().trim_end(),
            DOCUMENTATION.trim_end(),
            "{arguments}"
        );
    }
    let published = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md"));
    // A packaged crate has a copy of it.
    if let Ok(published) = published {
        assert_eq!(published, DOCUMENTATION.as_bytes());
    }
}

#[test]
fn every_key_that_larder_knows_is_documented() {
    let project = Project::new();
    // A file with an unknown key, and the text of the examples that must show the known ones.
    let mut files = vec![("nonsense = true\n", "")];
    if cfg!(feature = "s3") {
        files.push(("[remotes.default]\nurl = 's3://bucket/x'\nnonsense = true\n", "url = \"s3://"));
    }
    if cfg!(feature = "gcs") {
        files.push(("[remotes.default]\nurl = 'gs://bucket/x'\nnonsense = true\n", "url = \"gs://"));
    }
    for (file, shown) in files {
        let examples: Vec<&str> = examples().into_iter().filter(|example| example.contains(shown)).collect();
        let examples = examples.concat();
        project.write("larder.toml", file);
        let said = project.transcript("ls");
        // The error lists the known keys.
        let (_, known) = said.split_once("known are ").unwrap_or_else(|| panic!("{said}"));
        let keys: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
        assert!(keys.len() > 2, "{said}");
        for key in keys {
            let is_shown = |line: &str| {
                let rest = line.strip_prefix(key);
                rest.is_some_and(|rest| rest.starts_with(" = ") || rest.is_empty())
            };
            assert!(examples.lines().any(is_shown), "`{key}` has no example");
        }
    }
}

#[test]
fn the_examples_of_the_documentation_can_be_used() {
    let project = Project::new();
    let built = [("s3", cfg!(feature = "s3")), ("gs", cfg!(feature = "gcs")), ("ssh", cfg!(feature = "ssh"))];
    let can_open = |url: &str| {
        let of_scheme =
            url.split_once("://").and_then(|(scheme, _)| built.iter().find(|(of, _)| *of == scheme));
        of_scheme.map_or(cfg!(feature = "local"), |(_, is_built)| *is_built)
    };
    let mut opened = 0;
    for example in examples() {
        project.write("larder.toml", example);
        let output = project.command("hash content metrics.json").output().unwrap();
        assert!(output.status.success(), "{}", Project::show(example, &output));
        let mut table = None;
        let mut in_remotes = false;
        for line in example.lines() {
            if let Some(header) = line.strip_prefix('[') {
                in_remotes = header == "remotes]";
                table = header.strip_prefix("remotes.").map(|name| name.trim_end_matches(']'));
                continue;
            }
            let Some((key, value)) = line.split_once(" = ") else { continue };
            let name = match table {
                Some(name) if key == "url" => name,
                None if in_remotes => key,
                _ => continue,
            };
            if can_open(value.trim_matches('"')) {
                let arguments = format!("url x --command-hash a --content-hash b -r {name}");
                let output = project.command(&arguments).output().unwrap();
                assert!(output.status.success(), "{}", Project::show(&arguments, &output));
                opened += 1;
            }
        }
    }
    assert!(opened >= 4, "{opened}");
}
