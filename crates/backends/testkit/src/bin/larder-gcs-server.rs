//! A server with the interfaces of Google Cloud Storage: `larder-gcs-server [--bucket NAME] [--dir DIR]`.
//!
//! It creates the bucket, and prints a line `NAME=VALUE` for it and for each of its two endpoints. It logs each request to
//! standard error. It serves until its standard input closes, or until SIGTERM or Ctrl-C.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, error, thread};

use larder_testkit::gcs::GcsServer;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

const USAGE: &str = "usage: larder-gcs-server [--bucket NAME] [--dir DIR]";

type Result<T> = std::result::Result<T, Box<dyn error::Error>>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "larder-gcs-server: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let (mut bucket, mut dir) = ("larder".to_owned(), env::temp_dir());
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value; {USAGE}"));
        match argument.as_str() {
            "--bucket" => bucket = value()?,
            "--dir" => dir = PathBuf::from(value()?),
            _ => return Err(format!("unknown argument {argument}; {USAGE}").into()),
        }
    }
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(&bucket, dir))
}

async fn serve(bucket: &str, dir: PathBuf) -> Result<()> {
    // Install the handlers before the endpoints are printed, so that no signal is missed.
    let (mut terminated, mut interrupted) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let server = GcsServer::start_in(&dir)?;
    server.create_bucket(bucket);
    server.log_to(io::stderr());
    let mut out = io::stdout();
    writeln!(out, "bucket={bucket}")?;
    writeln!(out, "endpoint={}", server.endpoint())?;
    writeln!(out, "grpc_endpoint={}", server.grpc_endpoint())?;
    out.flush()?;
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
        () = end_of_input()? => {}
    }
    Ok(())
}

/// Waits for the end of standard input: the parent has closed it or has exited.
fn end_of_input() -> io::Result<impl Future<Output = ()>> {
    let (ended, end) = oneshot::channel::<()>();
    thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        let mut said = [0; 256];
        while matches!(io::stdin().read(&mut said), Ok(1..)) {}
        drop(ended);
    })?;
    Ok(async move {
        let _ = end.await;
    })
}
