//! The sources of settings, and their precedence.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::ExitCode;

use larder_tests::{Case, Need, Sandbox, Tree, run};

fn main() -> ExitCode {
    run(
        "config",
        &[
            Case::new("flag_environment_project_user_default", precedence),
            Case::new("which_remote_without_a_flag", default_remote),
            Case::new("a_weasel_project_names_remotes_too", remotes_of_weasel),
            Case::new("a_remote_is_relative_to_the_file_that_names_it", relative_remotes),
            Case::new("mistakes_are_named_with_file_and_line", mistakes),
            Case::new("the_project_root_is_found_from_below", project_root),
            Case::new("a_configuration_that_cannot_be_read_is_no_absent_one", unreadable),
            Case::new("a_denied_configuration_stops_only_who_needs_it", denied).needs(&[Need::Users]),
        ],
    )
}

fn user_config(sandbox: &Sandbox, toml: &str) {
    let dir = sandbox.home().join(".config/larder");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("config.toml"), toml).unwrap();
}

fn precedence() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("file"), "x").unwrap();
    let hash = |args: &[&str], env: Option<&str>| {
        let call = sandbox.larder(["hash", "content", "file"]).args(args);
        let call = match env {
            Some(value) => call.env("LARDER_HASH", value),
            None => call,
        };
        call.run().ok().line().split('-').next().unwrap().to_owned()
    };
    let md5 = "9dd4e461268c8034f5c8564e155c67a6";
    assert_eq!(hash(&[], None), "blake3");
    user_config(&sandbox, "hash = 'sha256'\n");
    assert_eq!(hash(&[], None), "sha256");
    sandbox.configure("hash = 'weasel'\n");
    assert_eq!(hash(&[], None), md5);
    assert_eq!(hash(&[], Some("sha256")), "sha256");
    assert_eq!(hash(&["--hash", "blake3"], Some("sha256")), "blake3");
    // `XDG_CONFIG_HOME` sets the directory of the user's file.
    sandbox.configure("");
    fs::create_dir_all(sandbox.root().join("xdg/larder")).unwrap();
    fs::write(sandbox.root().join("xdg/larder/config.toml"), "hash = 'weasel'\n").unwrap();
    let call = sandbox.larder(["hash", "content", "file"]).env("XDG_CONFIG_HOME", sandbox.root().join("xdg"));
    assert_eq!(call.run().ok().line(), md5);
}

fn default_remote() {
    let sandbox = Sandbox::new();
    Tree::small(1).write(&sandbox.path("model"));
    let [one, two, three] = ["one", "two", "three"].map(|name| sandbox.root().join(name));
    let remotes = |names: &[&str]| -> String {
        let line = |name: &&str| format!("{name} = '{}'\n", sandbox.root().join(name).display());
        format!("[remotes]\n{}", names.iter().map(line).collect::<String>())
    };
    sandbox.configure(&remotes(&["one"]));
    sandbox.run(["push", "model"]).ok();
    assert!(one.is_dir(), "the only remote is used");
    sandbox.configure(&remotes(&["one", "two"]));
    sandbox.run(["push", "model"]).fails(2, &["one", "two"]);
    sandbox.run(["push", "model", "-r", "two"]).ok();
    assert!(two.is_dir(), "the named remote is used");
    sandbox.configure(&format!("{}default = '{}'\n", remotes(&["one", "two"]), three.display()));
    sandbox.run(["push", "model"]).ok();
    assert!(three.is_dir(), "the default");
    let four = sandbox.root().join("four");
    sandbox.larder(["push", "model"]).env("LARDER_REMOTE", &four).run().ok();
    assert!(four.is_dir(), "the environment's");
    sandbox.configure(&format!("[remotes.table]\nurl = '{}'\n", sandbox.root().join("five").display()));
    sandbox.run(["push", "model"]).ok();
    assert!(sandbox.root().join("five").is_dir(), "a table's");
    assert!(
        !sandbox.path(".larder/store").exists(),
        "the embedded default is used only if no remote is configured"
    );
}

fn remotes_of_weasel() {
    let sandbox = Sandbox::new();
    fs::remove_file(sandbox.path("larder.toml")).unwrap();
    Tree::small(1).write(&sandbox.path("model"));
    let project_yml = |text: &str| fs::write(sandbox.path("project.yml"), text).unwrap();
    let is_made = |name: &str| sandbox.root().join(name).join("model").is_dir();
    project_yml("vars: {name: one}\nremotes: {default: '../${vars.name}', other: ../two}\n");
    sandbox.run(["push", "model"]).ok();
    assert!(is_made("one"), "its default");
    sandbox.run(["push", "model", "-r", "other"]).ok();
    assert!(is_made("two"), "the named remote is used");
    sandbox.run(["push", "model", "-r", "third"]).fails(2, &["`default`", "`other`", "`./third`"]);
    sandbox.configure("[remotes]\ndefault = '../three'\n");
    sandbox.run(["push", "model"]).ok();
    assert!(is_made("three"), "larder's own file comes first");
    // A broken remote, or one of another tool, stops only commands that use it.
    project_yml("commands: 7\n");
    sandbox.run(["push", "model"]).ok();
    sandbox.run(["push", "model", "-r", "other"]).fails(2, &["project.yml"]);
    fs::remove_file(sandbox.path("larder.toml")).unwrap();
    let embedded = sandbox.run(["push", "model"]).ok();
    assert!(embedded.stderr.contains("project.yml"), "{embedded}");
    // So does a variable for weasel.
    let with_overrides = sandbox.larder(["push", "model"]).env("WEASEL_CONFIG_OVERRIDES", "nonsense");
    project_yml("remotes: {default: ../one}\n");
    assert!(with_overrides.run().ok().stderr.contains("nonsense"));
    fs::remove_file(sandbox.path("project.yml")).unwrap();
    sandbox.configure("");
    assert!(!with_overrides.run().ok().stderr.contains("nonsense"));
    assert!(sandbox.path(".larder/store").is_dir(), "no other remote is configured");
}

fn relative_remotes() {
    let sandbox = Sandbox::new();
    Tree::small(1).write(&sandbox.path("sub/model"));
    sandbox.configure("[remotes]\nshared = '../beside'\n");
    sandbox.larder(["push", "model"]).in_dir(sandbox.path("sub")).run().ok();
    assert!(sandbox.root().join("beside/sub%2Fmodel").is_dir());
    sandbox.larder(["push", "model", "-r", "../../cwd"]).in_dir(sandbox.path("sub")).run().ok();
    assert!(sandbox.root().join("cwd/sub%2Fmodel").is_dir());
    let url = format!("file://{}/per%20cent", sandbox.root().display());
    sandbox.run(["push", "sub/model", "-r", &url]).ok();
    assert!(sandbox.root().join("per cent/sub%2Fmodel").is_dir());
}

fn mistakes() {
    let sandbox = Sandbox::new();
    let rows: [(&str, &[&str]); 6] = [
        ("hash = 'blake3'\ncompresion = 'zstd'\n", &["larder.toml", "2", "compresion"]),
        ("hash = 'md4'\n", &["larder.toml", "1", "md4"]),
        ("\n\njobs = 'many'\n", &["larder.toml", "3", "jobs"]),
        ("[remotes\n", &["larder.toml", "1"]),
        ("[remotes.x]\nurl = './x'\nnonsense = true\n", &["larder.toml", "nonsense"]),
        ("compression = 'zstd:99'\n", &["larder.toml", "99"]),
    ];
    for (toml, parts) in rows {
        sandbox.configure(toml);
        for command in ["ls", "push"] {
            sandbox.larder([command]).args((command == "push").then_some("model")).run().fails(2, parts);
        }
    }
    sandbox.configure_remote();
    user_config(&sandbox, "nonsense = 1\n");
    sandbox.run(["ls"]).fails(2, &["config.toml", "1", "nonsense"]);
}

fn project_root() {
    let sandbox = Sandbox::new();
    let deep = sandbox.path("a/b/c");
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("file"), "x").unwrap();
    let path_of = || sandbox.larder(["push", "file", "--json"]).in_dir(&deep).run().ok().field("path");
    assert_eq!(path_of(), "a/b/c/file", "larder.toml");
    fs::write(sandbox.path("a/project.yml"), "{}").unwrap();
    assert_eq!(path_of(), "b/c/file", "the nearest project.yml counts");
    fs::remove_file(sandbox.path("a/project.yml")).unwrap();
    fs::remove_file(sandbox.path("larder.toml")).unwrap();
    fs::create_dir(sandbox.path("a/b/.git")).unwrap();
    assert_eq!(path_of(), "c/file", ".git, where there is neither");
}

type Make = fn(&Path);

fn unreadable() {
    let sandbox = Sandbox::new();
    Tree::small(1).write(&sandbox.path("sub/model"));
    let user = sandbox.home().join(".config/larder/config.toml");
    fs::create_dir_all(user.parent().unwrap()).unwrap();
    let ways: [(&str, Make); 4] = [
        ("directory", |path| fs::create_dir(path).unwrap()),
        ("nothing", |path| symlink("nowhere", path).unwrap()),
        ("links", |path| symlink(path.file_name().unwrap(), path).unwrap()),
        ("UTF-8", |path| fs::write(path, b"jobs = 1\n# caf\xe9\n").unwrap()),
    ];
    for path in [sandbox.path("larder.toml"), user] {
        for (said, make) in ways {
            let _ = fs::remove_file(&path);
            make(&path);
            let path_text = path.display().to_string();
            for args in [&["push", "model"][..], &["ls"], &["hash", "content", "model"]] {
                let larder = sandbox.larder([]).args(args).in_dir(sandbox.path("sub"));
                larder.run().fails(2, &[&path_text, said]);
            }
            if said == "UTF-8" {
                sandbox.run(["ls"]).fails(2, &[&format!("{path_text}:2")]);
            }
            if path.is_dir() {
                fs::remove_dir(&path).unwrap();
            }
        }
        fs::remove_file(&path).unwrap();
    }
    assert!(!sandbox.path(".larder").exists(), "nothing was stored in the project");
    sandbox.run(["push", "sub/model"]).ok();
}

fn denied() {
    /// A user id that no account has.
    const USER: u32 = 61_011;
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("file"), "x").unwrap();
    user_config(&sandbox, "hash = 'sha256'\n");
    let config = sandbox.home().join(".config/larder/config.toml");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o000)).unwrap();
    let run = |args: &[&str]| {
        let larder = sandbox.larder([]).args(args).with_binary(sandbox.public_binary());
        larder.as_user(USER, &[USER]).run()
    };
    let config = config.display().to_string();
    for args in [
        &["completions", "bash"][..],
        &["man"],
        &["--version"],
        &["--help"],
        &["hash", "content", "file", "--hash", "blake3"],
        &["hash", "env", "HOME", "--hash", "blake3"],
    ] {
        run(args).ok();
    }
    // Using another hash than the configured one would be worse than a failure.
    for args in
        [&["hash", "content", "file"][..], &["ls"], &["find", "file", "--hash", "blake3"], &["push", "file"]]
    {
        run(args).fails(2, &[&config]);
    }
}
