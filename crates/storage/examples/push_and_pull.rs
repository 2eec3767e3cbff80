//! Pushes a directory, removes it, and pulls it again.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example shows what it does")]

use std::error::Error;
use std::fs;
use std::iter::successors;
use std::process::ExitCode;

use larder_storage::{
    CommandHash, OutputPath, PullOptions, PushOptions, RemoteStorage, RemoteUrl, StorageOptions,
};

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    for cause in successors(error.source(), |&cause| cause.source()) {
        eprintln!("  caused by: {cause}");
    }
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let project = tempfile::tempdir()?;
    let remote = tempfile::tempdir()?;
    let model = project.path().join("model");
    fs::create_dir(&model)?;
    fs::write(model.join("weights"), [1, 2, 3])?;

    let url = RemoteUrl::parse(&remote.path().display().to_string(), project.path())?;
    let storage = RemoteStorage::open(project.path(), &url, StorageOptions::default())?;
    let output = OutputPath::new("model")?;
    let command = CommandHash::parse("trained-by-hand")?;
    let pushed = storage.push(&output, &command, &PushOptions::default()).await?;
    println!("{:?} {}", pushed.outcome, pushed.url);

    fs::remove_dir_all(&model)?;
    let mut options = PullOptions::default();
    options.command_hash = Some(command);
    for pulled in storage.pull(&[output], &options).await? {
        println!("{:?} {}, verified: {}", pulled.outcome, pulled.destination.display(), pulled.verified);
    }
    println!("{:?}", fs::read(model.join("weights"))?);
    storage.close().await?;
    Ok(())
}
