//! Sends a request again until the server answers.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it shows what it does")]

use std::process::ExitCode;
use std::time::Duration;

use larder_backend::{Error, ErrorKind, Operation, error_chain};
use larder_backend_http::retry::{AttemptFailure, RetryBudget};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let budget = RetryBudget::new(Duration::from_secs(30));
    let mut attempts = 0;
    let answer = budget
        .retrying(|| {
            attempts += 1;
            // A server that is busy twice.
            let is_busy = attempts < 3;
            async move {
                if !is_busy {
                    return Ok("done");
                }
                let busy =
                    Error::new(ErrorKind::RateLimited, Operation::Stat, "https://storage.example/object");
                Err(AttemptFailure::from(busy).with_retry_after(Some(Duration::from_millis(100))))
            }
        })
        .await;
    match answer {
        Ok(answer) => {
            println!("{answer} after {attempts} attempts");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}", error_chain(&error));
            ExitCode::FAILURE
        }
    }
}
