//! Compares random projects and locks with the real weasel, in one long-lived process. A failure prints its seed, and
//! `LARDER_SEED` repeats it alone.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod generate;
mod peer;
mod syntax;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use larder_project::{
    ExchangeOptions, FileInfo, LockFile, OutputState, Overrides, Project, ProjectCommand, ProjectExchange,
};
use larder_storage::{RemoteStorage, RemoteUrl, Scheme, StorageOptions};
use libtest_mimic::{Arguments, Completion, Trial};
use serde_json::{Value, json};

use generate::Generator;
use peer::Weasel;

fn main() -> ExitCode {
    let trial = |name: &str, test: fn(&mut Weasel)| {
        Trial::ignorable_test(name, move || match Weasel::start() {
            Some(mut weasel) => {
                test(&mut weasel);
                Ok(Completion::Completed)
            }
            None => larder_testkit::ignore(
                "LARDER_WEASEL_PYTHON names no Python with weasel: `cargo xtask test` makes one",
            ),
        })
    };
    let trials = vec![
        trial("keys_of_random_projects_are_those_of_weasel", keys),
        trial("projects_that_weasel_refuses_are_refused", keys_of_wild_projects),
        trial("yaml_is_read_as_ruamel_reads_it", yaml),
        trial("locks_have_the_layout_of_srsly", layout),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn seeds(count: u64) -> impl Iterator<Item = u64> {
    let one: Option<u64> = std::env::var("LARDER_SEED").ok().map(|seed| seed.parse().unwrap());
    let rounds: u64 = std::env::var("LARDER_ROUNDS").map_or(1, |rounds| rounds.parse().unwrap());
    one.map_or(0..count * rounds, |seed| seed..seed + 1)
}

fn keys(weasel: &mut Weasel) {
    let mut compared = 0;
    for seed in seeds(400) {
        compared += usize::from(compare(weasel, seed, &mut Generator::new(seed)));
    }
    assert!(compared > 0, "not a single project can be used");
}

fn keys_of_wild_projects(weasel: &mut Weasel) {
    for seed in seeds(400) {
        compare(weasel, seed, &mut Generator::wild(seed));
    }
}

fn yaml(weasel: &mut Weasel) {
    for text in syntax::VALUES.into_iter().flat_map(syntax::projects) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::write(root.join("project.yml"), &text).unwrap();
        let made = generate::Made::default();
        let ours = ask_larder(&root, &made);
        let question = json!({ "ask": "keys", "root": root, "overrides": [], "environment": {} });
        let theirs = weasel.ask(&question);
        match ours {
            Ok(ours) => assert_eq!(ours, theirs, "{text}"),
            Err(error) => {
                assert!(theirs.get("fails").is_some(), "only larder fails: {error}\n{theirs}\n{text}");
            }
        }
    }
}

/// Generates a project, compares the keys of both, and returns whether there are any.
fn compare(weasel: &mut Weasel, seed: u64, generator: &mut Generator) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let made = generator.project(&root);
    // Larder comes first, because weasel creates the directories of the project.
    let ours = ask_larder(&root, &made);
    let theirs = weasel.ask(&json!({
        "ask": "keys",
        "root": root,
        "overrides": made.overrides,
        "environment": made.environment,
    }));
    let yml = fs::read_to_string(root.join("project.yml")).unwrap();
    let context = || format!("LARDER_SEED={seed}\n{yml}\n{:?}\n{:?}", made.overrides, made.environment);
    match (ours, theirs.get("fails")) {
        (Ok(ours), None) => {
            assert_eq!(ours, theirs, "{}", context());
            true
        }
        (Err(_), Some(_)) => false,
        (Ok(ours), Some(fails)) => panic!("only weasel fails: {fails}\n{ours}\n{}", context()),
        (Err(error), None) => panic!("only larder fails: {error}\n{theirs}\n{}", context()),
    }
}

fn ask_larder(root: &Path, made: &generate::Made) -> Result<Value, String> {
    let overrides = Overrides::parse(made.overrides.iter().map(String::as_str), None);
    let overrides = overrides.map_err(|error| error.to_string())?;
    let environment = |name: &str| made.environment.get(name).cloned();
    let project = Project::read(root, &overrides, &environment).map_err(|error| error.to_string())?;
    let remote = root.join("remote-of-nothing");
    fs::create_dir(&remote).unwrap();
    let url = RemoteUrl::parse(remote.to_str().unwrap(), Path::new("/")).unwrap();
    let mut options = StorageOptions::default();
    options.scheme = Scheme::Weasel;
    let storage = RemoteStorage::open(root, &url, options).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let states = runtime.block_on(async {
        let exchange = ProjectExchange::new(&project, &storage, ExchangeOptions::default()).unwrap();
        exchange.status().await.unwrap()
    });
    fs::remove_dir(&remote).unwrap();
    let mut commands = Vec::new();
    for command in &project.commands {
        let of_command = || states.iter().filter(|status| status.command == command.name);
        if let Some(error) = of_command().find_map(|status| match &status.state {
            OutputState::Failed(error) => Some(error.to_string()),
            _ => None,
        }) {
            return Err(error);
        }
        let key = of_command().find_map(|status| status.command_hash.as_ref());
        let outputs: BTreeMap<&str, Option<String>> = of_command()
            .map(|status| {
                let hash = status.content_hash.as_ref().map(ToString::to_string);
                (status.path.as_str(), hash.or_else(|| empty_directory(root, &status.path, key.is_some())))
            })
            .collect();
        commands.push(json!({
            "name": command.name,
            "script": command.script,
            "key": key.map(ToString::to_string),
            // Without a key larder does not read outputs.
            "outputs": outputs,
        }));
    }
    Ok(json!({ "commands": commands }))
}

/// Whether larder treats a path as missing although weasel hashes it.
fn empty_directory(root: &Path, path: &str, has_key: bool) -> Option<String> {
    let path = root.join(path);
    if !has_key && path.exists() {
        return Some(
            larder_hashing::content_hash(&path, &larder_hashing::HashOptions::new(Scheme::Weasel))
                .unwrap()
                .to_string(),
        );
    }
    // Weasel has created it by then.
    let is_listed = path.components().eq(root.join("out0").components());
    (path.is_dir() || is_listed).then(|| "d41d8cd98f00b204e9800998ecf8427e".to_owned())
}

fn layout(weasel: &mut Weasel) {
    for seed in seeds(2_000) {
        let mut generator = Generator::new(seed);
        let others = generator.entries();
        let name = generator.text();
        let script: Vec<String> = (0..generator.below(4)).map(|_| generator.text()).collect();
        let dep = generator.text();
        let ask = |name: Option<&str>| json!({ "ask": "layout", "data": others, "name": name, "script": script, "dep": dep });
        let before = weasel.ask(&ask(None));
        let expected = weasel.ask(&ask(Some(&name)));
        let text = |answer: &Value| answer["text"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(LockFile::FILE);
        fs::write(&path, text(&before)).unwrap();
        let mut lock =
            LockFile::read(dir.path()).unwrap_or_else(|error| panic!("LARDER_SEED={seed} {error}\n{before}"));
        let hash = larder_storage::ContentHash::parse("d41d8cd98f00b204e9800998ecf8427e").unwrap();
        let deps = [FileInfo { path: dep, hash: Some(hash) }];
        let outs = [FileInfo { path: "o".to_owned(), hash: None }];
        lock.record(&ProjectCommand::new(&name).with_script(&script), &deps, &outs);
        lock.write().unwrap();
        let written = fs::read_to_string(&path).unwrap();
        assert!(written == text(&expected), "LARDER_SEED={seed}\n{written}\n--- srsly\n{}", text(&expected));
        // The written lock is read again.
        let mut again = LockFile::read(dir.path()).unwrap();
        assert!(
            !again.record(&ProjectCommand::new(&name).with_script(&script), &deps, &outs),
            "LARDER_SEED={seed}\n{written}"
        );
    }
}
