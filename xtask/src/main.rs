//! `cargo xtask`: what developers and the continuous integration run. It prints every command that it starts.

#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a program for developers, which talks to them"
)]

mod bench;
mod cargo;
mod lint;
mod process;
mod test;
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
  lint  Checks formatting, clippy, documentation and packaging, and dependencies where cargo-deny is installed.
  bench [--quick] [--backend local] [--dir DIR] [--only PART]…
        Measures the release binary against tar, zstd and weasel, and writes docs/benchmarks.md and .svg. The data go to
        DIR, by default /dev/shm. --quick measures once, and writes nothing; --only runs the rows with PART in their name.
";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let task = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    let done = match task.as_str() {
        "test" => test::run(&rest),
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
