//! A remote that accepts connections and never answers. Every wait for it ends long before the stall timeout.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, SystemTime};

use larder_tests::{Run, Sandbox};

use crate::checkout::{Checkout, MODEL, TRAINED};

/// The stall timeout, in seconds.
const STALL_SECONDS: u32 = 100;

/// The maximum of a wait. It is far below the stall timeout, and far above the real waits, for a busy machine.
const BOUND: Duration = Duration::from_secs(30);

/// A step that leaves a file with the time of its end.
const STEP: &str = "echo x >> ../trained\ncat corpus/a corpus/b > models/en\ntouch ../ended\n";

/// Calls `check` with a checkout whose remote hangs, for SSH and for S3.
fn with_hanging_remotes(check: impl Fn(&Checkout<'_>)) {
    // The kernel accepts the connections, and nobody reads them.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    for remote in [
        format!("url = 'ssh://someone@{address}/srv/team'"),
        format!("url = 's3://bucket/team'\nendpoint = 'http://{address}'\nregion = 'us-east-1'"),
    ] {
        let sandbox = Sandbox::new();
        sandbox.configure(&format!(
            "run_lookup_timeout = 0.5\nstall_timeout = {STALL_SECONDS}\n[remotes.shared]\n{remote}\n"
        ));
        check(&Checkout::with_step(&sandbox, STEP));
        sandbox.assert_clean();
    }
}

fn train(checkout: &Checkout<'_>) -> Run {
    let train = checkout.train(&[]).env("AWS_ACCESS_KEY_ID", "someone");
    train.env("AWS_SECRET_ACCESS_KEY", "for-a-test-only").run().ok()
}

/// Asserts that a run ended within the bound after a moment.
#[track_caller]
fn assert_soon_after(moment: SystemTime, run: &Run) {
    let took = SystemTime::now().duration_since(moment).unwrap();
    assert!(took < BOUND, "it took {took:?}: {run}");
}

pub(crate) fn larder_ends_soon_after_its_command() {
    with_hanging_remotes(|checkout| {
        let run = train(checkout).says(&["warning: ", "0.5 s"]);
        assert_soon_after(fs::metadata(checkout.beside("ended")).unwrap().modified().unwrap(), &run);
        assert_eq!((checkout.trained(), checkout.read(MODEL).as_deref()), (1, Some(TRAINED)));
    });
}

pub(crate) fn a_late_publish_is_given_up() {
    with_hanging_remotes(|checkout| {
        train(checkout);
        fs::remove_file(checkout.path(".larder/remote-pause")).unwrap();
        let begun = SystemTime::now();
        let run = train(checkout).says(&["up to date", "warning: failed to publish", "0.5 s"]);
        assert_soon_after(begun, &run);
        assert_eq!(checkout.trained(), 1);
    });
}
