//! Prints the commands of a project and their recorded state. Without an argument it creates an example project.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example shows what it found")]

use std::error::Error;
use std::iter::successors;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use larder_project::{LockFile, OVERRIDES_VARIABLE, Overrides, Project};

const DEMO: &str = "\
vars: {lang: de, dropout: 5e-5}
directories: [corpus]
commands:
  - {name: prep, script: ['prepare ${vars.lang}'], deps: [raw.txt], outputs: [corpus/train]}
  - {name: train, script: ['train --dropout ${vars.dropout}'], deps: [corpus/train], outputs: [model/]}
";

fn main() -> ExitCode {
    let Err(error) = run() else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    for cause in successors(error.source(), |&cause| cause.source()) {
        eprintln!("  caused by: {cause}");
    }
    ExitCode::FAILURE
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let environment = |name: &str| std::env::var(name).ok();
    let Some(root) = arguments.next().map(PathBuf::from) else {
        let root = std::env::current_dir()?;
        return look(&Project::parse(DEMO, &root, &Overrides::default(), &environment)?, &root);
    };
    let arguments: Vec<String> = arguments.collect();
    let overrides =
        Overrides::parse(arguments.iter().map(String::as_str), environment(OVERRIDES_VARIABLE).as_deref())?;
    look(&Project::read(&root, &overrides, &environment)?, &root)
}

fn look(project: &Project, root: &Path) -> Result<(), Box<dyn Error>> {
    let lock = LockFile::read(root)?;
    for remote in &project.remotes {
        println!("remote {}: {}", remote.name, remote.location.as_deref().unwrap_or("not a text"));
    }
    for command in &project.commands {
        let recorded = if lock.entry(&command.name).is_some() { "recorded" } else { "not recorded" };
        println!("{} ({recorded})", command.name);
        command.script.iter().for_each(|line| println!("  $ {line}"));
        command.deps.iter().for_each(|path| println!("  ← {path}"));
        command.outputs.iter().for_each(|path| println!("  → {path}"));
    }
    Ok(())
}
