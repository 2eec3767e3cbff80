//! Invalid projects. Each error names the file, the line and the key.

use std::path::Path;

use larder_project::{Overrides, Project};

fn parse(text: &str) -> larder_project::Result<Project> {
    Project::parse(text, Path::new("/p"), &Overrides::default(), &|_| None)
}

fn error(text: &str) -> String {
    parse(text).expect_err(text).to_string()
}

#[test]
fn mistakes_are_named_with_file_line_and_key() {
    let rows = [
        ("- a\n", "/p/project.yml:1: `project.yml` must be a mapping, and is a list"),
        ("title: T\nvars:\n", "/p/project.yml:2: `vars` must be a mapping, and is empty"),
        ("title: 3\n", "/p/project.yml:1: `title` must be a text, and is a number: put it in quotes"),
        (
            "vars:\n  1: x\n",
            "/p/project.yml:2: `vars` has the key `1`, which must be a text: put it in quotes",
        ),
        ("commands:\n  - help: x\n", "/p/project.yml:2: `commands[0]` has no `name`"),
        (
            "commands:\n  - name: a\n    deps:\n      - 1\n",
            "/p/project.yml:4: `commands[0].deps[0]` must be a text, and is a number: put it in quotes",
        ),
        (
            "commands:\n- {name: a}\n- {name: b}\n- {name: a}\n",
            "/p/project.yml:4: `commands` has two commands with the name `a`",
        ),
        (
            "workflows: {all: [b]}\ncommands: [{name: a}]\n",
            "/p/project.yml:1: `workflows.all` names `b`, which is no command",
        ),
        (
            "workflows: {a: [a]}\ncommands: [{name: a}]\n",
            "/p/project.yml:1: `workflows.a` has the name of a command",
        ),
        ("assets:\n- {url: x}\n", "/p/project.yml:2: `assets[0]` has neither `dest` nor `git`"),
        (
            "assets:\n- {dest: x, checksum: y}\n",
            "/p/project.yml:2: `assets[0].checksum` must be an MD5, of 32 digits of hex",
        ),
        (
            "env: {A: 1}\n",
            "/p/project.yml:1: the variable `env.A` must be the name of a variable of the environment, as a text",
        ),
        ("a: 1\nb: [\n", "/p/project.yml:3: not valid YAML: "),
        (
            "\ncommands:\n- name: a\n  script: ['${vars.x}']\n",
            "/p/project.yml:4: the variable `vars.x` is not defined",
        ),
        (
            "vars: {x: 'a\"b'}\ncommands:\n- name: a\n  script: ['say ${vars.x}']\n",
            "/p/project.yml:4: the variable `vars.x` has a value that cannot stand there (with a quote, a backslash, a `$` \
             or a line break): `commands` is no longer a list",
        ),
        ("vars: {x: 'echo $HOME ${vars.y}', y: 1}\n", "`$HOME `"),
    ];
    for (text, said) in rows {
        let error = error(text);
        assert!(error.contains(said), "{text}: {error}");
    }
}

#[test]
fn values_that_crash_weasel_are_empty_or_an_error() {
    for text in ["", "# nothing\n", "directories:\n", "remotes:\n", "commands: []\nremotes: \n", "{}\n"] {
        let project = parse(text).unwrap();
        assert!(project.commands.is_empty() && project.remotes.is_empty() && project.directories.is_empty());
    }
    assert!(
        parse("commands: [{name: a}]\n").unwrap().commands[0].script.is_empty(),
        "a command without a script"
    );
    assert!(error("directories: x\n").contains("`directories` must be a list"));
    assert!(error("\u{feff}a: [\n").contains("project.yml:"));
}

#[test]
fn a_workflow_stands_for_its_commands() {
    let text = "workflows: {all: [b, a]}\ncommands: [{name: a}, {name: b}, {name: c}]\n";
    let project = parse(text).unwrap();
    let names = |wanted: &[&str]| -> Vec<String> {
        let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
        project.select(&wanted).unwrap().into_iter().map(|command| command.name.clone()).collect()
    };
    assert_eq!(names(&[]), ["a", "b", "c"]);
    assert_eq!(names(&["all"]), ["a", "b"]);
    assert_eq!(names(&["c", "a"]), ["a", "c"]);
    let unknown = project.select(&["x".to_owned()]).unwrap_err();
    assert_eq!(unknown.to_string(), "/p/project.yml has no command `x`: there are `a`, `b`, `c`, `all`");
}

#[test]
fn an_override_of_what_nothing_has_or_names_is_idle() {
    let text = "vars: {seed: 1, a_b: 1, sub: {x: 1}}\ncommands: [{name: a, script: ['${vars.new} ${vars:sub.x}']}]\n";
    let idle = |arguments: &[&str]| {
        let overrides = Overrides::parse(arguments.iter().copied().chain(["--vars.new=1"]), None).unwrap();
        Project::parse(text, Path::new("/p"), &overrides, &|_| None).unwrap().idle_overrides
    };
    assert_eq!(idle(&["--vars.seed", "2", "--vars.sub.x=1", "--vars.a-b=2"]), [""; 0]);
    let misspelt = ["--vars.sede", "2", "--vars.sub.y=1", "--vars.a-b", "2", "--project.title=x"];
    assert_eq!(idle(&misspelt), ["vars.sede", "vars.sub.y", "vars.a-b", "project.title"]);
}
