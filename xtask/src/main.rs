//! `cargo xtask`: what developers and the continuous integration run. It prints every command that it starts.

#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a program for developers, which talks to them"
)]

mod bench;
mod cargo;
mod integration;
mod lint;
mod process;
mod servers;
mod test;
mod venv;
mod weasel;

use std::process::ExitCode;

/// What a task fails with: a sentence for whoever called it.
type Error = Box<dyn std::error::Error>;
type Result<T, E = Error> = std::result::Result<T, E>;

const USAGE: &str = "\
Usage: cargo xtask TASK

  test [--require-all] [-- FILTER…]
        Builds everything once and runs the unit, documentation, conformance and end-to-end tests and the examples:
        those whose names contain a FILTER. What the machine lacks shows as ignored with the reason; with
        --require-all, or CI=true in the environment, it is a failure.
  integration [--backend s3|gcs|ssh]… [--dir DIR] [--require-all] [-- FILTER…]
        Builds everything once and runs the tests that need a server, against a real one: for s3 the server that
        LARDER_TEST_S3_URL and the AWS_* variables name, else a MinIO on a random loopback port; for gcs the bucket that
        LARDER_TEST_GCS_URL names, at LARDER_TEST_GCS_ENDPOINT and LARDER_TEST_GCS_GRPC_ENDPOINT where these are set, else
        the testkit's server on such ports; for ssh the server that LARDER_TEST_SSH_URL and LARDER_TEST_SSH_HOME name,
        else OpenSSH's sshd. Its data go to DIR, by default the directory for temporary files; its log is shown when
        tests fail; it ends with this task, however that ends.
  minio [--dir DIR] [--fetch]
        Runs that MinIO until Ctrl-C, and prints the variables to export. With --fetch only makes sure that there is one.
  gcs-server [--dir DIR]
        Runs that server for gcs until Ctrl-C, and prints the variables to export.
  sshd [--dir DIR]
        Runs that sshd until Ctrl-C, and prints the variables to export.
  lint  Checks formatting, clippy, documentation and packaging, and dependencies where cargo-deny is installed.
  bench [--quick] [--backend local|s3|gcs|ssh] [--dir DIR] [--only PART]…
        Measures the release binary against tar, zstd and weasel, and writes docs/benchmarks.md and .svg; for s3 against
        the AWS CLI, rclone and curl, on a MinIO that it starts, for gcs against curl, on the testkit's server, for ssh
        against scp and sftp, on an sshd that it starts, and writes docs/benchmarks-BACKEND.md and .svg. The data go to
        DIR, by default /dev/shm. --quick measures once, and writes nothing; --only runs the rows with PART in their
        name.
";

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|task| task == servers::GUARD) {
        return servers::guard_child(std::env::args_os().skip(2));
    }
    let mut args = std::env::args().skip(1);
    let task = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    let done = match task.as_str() {
        "test" => test::run(&rest),
        "integration" => integration::run(&rest),
        "minio" => integration::serve_minio(&rest),
        "gcs-server" => integration::serve_gcs(&rest),
        "sshd" => integration::serve_sshd(&rest),
        "lint" => lint::run(&rest),
        "bench" => bench::run(&rest),
        bench::MEASURE => return bench::measure_child(&rest),
        "" | "help" | "-h" | "--help" => {
            print!("{USAGE}");
            Ok(())
        }
        _ => Err(format!("unknown task `{task}`\n\n{USAGE}").into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
