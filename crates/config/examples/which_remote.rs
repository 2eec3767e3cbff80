//! Prints the project of the working directory, and the remote that a command would use there.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example shows what it found")]

use std::error::Error;
use std::iter::successors;
use std::process::ExitCode;

use larder_config::{Config, FileKind, Layer, ProjectRoot, Setting};

fn main() -> ExitCode {
    let Err(error) = run() else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    for cause in successors(error.source(), |&cause| cause.source()) {
        eprintln!("  caused by: {cause}");
    }
    ExitCode::FAILURE
}

fn run() -> Result<(), Box<dyn Error>> {
    let working_dir = std::env::current_dir()?;
    let root = ProjectRoot::discover(&working_dir);
    println!("project root: {} ({})", root.path.display(), root.marker);

    let remote = std::env::args().nth(1).map(|chosen| Setting::flag("the first argument", chosen));
    let arguments = Layer { remote, ..Layer::default() };
    let project = root.config_file().map(|path| Layer::read(&path, FileKind::Project)).transpose()?.flatten();
    let config = Config::new([Some(arguments), project].into_iter().flatten());

    let remote = config.remote(&root.path, &working_dir)?;
    println!("remote: {} (from {})", remote.location, remote.origin);
    for option in &remote.options {
        println!("  {} = {} (from {})", option.name, option.value, option.origin);
    }
    Ok(())
}
