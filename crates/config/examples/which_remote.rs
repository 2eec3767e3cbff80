//! Prints the project of the working directory, and the remote that a command would use there.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use larder_config::{Config, FileKind, Layer, ProjectRoot, Setting};

fn main() -> Result<(), Box<dyn std::error::Error>> {
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
