//! `cargo xtask`: tasks for developers and the continuous integration. It prints every command that it starts.

#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a program for developers, which prints to the terminal"
)]

mod bench;
mod cargo;
mod integration;
mod lint;
mod process;
mod servers;
mod test;
mod venv;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

/// The error of a task: a sentence for the caller.
type Error = Box<dyn std::error::Error>;
type Result<T, E = Error> = std::result::Result<T, E>;

/// Tasks of larder's developers.
#[derive(Parser)]
#[command(name = "xtask", bin_name = "cargo xtask")]
enum XtaskCommand {
    Test(test::TestOptions),
    Integration(integration::IntegrationOptions),
    /// Runs the MinIO of the tests until Ctrl-C, and prints the variables to export.
    Minio {
        #[command(flatten)]
        options: integration::ServeOptions,
        /// Only finds or builds MinIO, without running it.
        #[arg(long)]
        fetch: bool,
    },
    /// Runs the testkit's server for Google Cloud Storage until Ctrl-C, and prints the variables to export.
    GcsServer(integration::ServeOptions),
    /// Runs the sshd of the tests until Ctrl-C, and prints the variables to export.
    Sshd(integration::ServeOptions),
    /// Checks formatting, clippy, documentation and packaging. Checks dependencies if cargo-deny is installed.
    Lint,
    Bench(bench::BenchOptions),
    /// Runs one command of a benchmark, and prints its time and memory.
    #[command(hide = true)]
    MeasureOneCommand {
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    let done = match XtaskCommand::parse() {
        XtaskCommand::Test(options) => test::run(&options),
        XtaskCommand::Integration(options) => integration::run(&options),
        XtaskCommand::Minio { fetch: true, .. } => servers::fetch_minio(),
        // Variables of another account would override these, or not match them.
        XtaskCommand::Minio { options, .. } => {
            integration::serve("s3", &options, &["AWS_PROFILE", "AWS_SESSION_TOKEN"])
        }
        XtaskCommand::GcsServer(options) => integration::serve("gcs", &options, &[]),
        XtaskCommand::Sshd(options) => integration::serve("ssh", &options, &[]),
        XtaskCommand::Lint => lint::run(),
        XtaskCommand::Bench(options) => bench::run(&options),
        XtaskCommand::MeasureOneCommand { command } => bench::measure_child(&command),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_take_their_options_and_filters() {
        let parse = |line: &str| XtaskCommand::try_parse_from(line.split(' '));
        let Ok(XtaskCommand::Test(options)) = parse("xtask test --require-all -- crash --exact") else {
            panic!()
        };
        assert_eq!(options.filters, ["crash", "--exact"]);
        let line = "xtask integration --backend s3 --backend ssh --dir /data -- conformance";
        let Ok(XtaskCommand::Integration(options)) = parse(line) else { panic!() };
        assert_eq!((options.backends.len(), &*options.filters), (2, &["conformance".to_owned()][..]));
        let Ok(XtaskCommand::MeasureOneCommand { command }) = parse("xtask measure-one-command tar -c .")
        else {
            panic!()
        };
        assert_eq!(command, ["tar", "-c", "."]);
        parse("xtask bench --quick --backend gcs --only push").unwrap();
        for wrong in ["xtask test crash", "xtask integration --backend s4", "xtask bench --backend"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
