//! The number of requests for pinned outputs.

use std::fs;
use std::ops::ControlFlow;

use larder_backend::Operation;
use larder_storage::{KnownVersion, OutputPath, PullOptions, PullOutcome, PushOptions};

use crate::requests::Far;
use crate::support::{command, output, pulling};

const PINS: usize = 50;

fn names() -> impl Iterator<Item = OutputPath> {
    (0..PINS).map(|index| output(&format!("outputs/{index}")))
}

/// Pushes a version of every output, and returns it. Clears the log of requests.
async fn push(far: &Far, text: &str) -> Vec<KnownVersion> {
    let mut versions = Vec::new();
    for name in names() {
        far.lab.write(name.as_str(), format!("{text} {name}"));
        let pushed = far.storage().push(&name, &command("c"), &PushOptions::default()).await.unwrap();
        versions.push(KnownVersion { command_hash: command("c"), content_hash: pushed.content_hash });
    }
    far.remote.take_operations();
    versions
}

/// Pulls these versions, and returns the requests and the number of each outcome.
async fn pull(
    far: &Far,
    wanted: &[KnownVersion],
    replaces: Option<&[KnownVersion]>,
) -> (Vec<Operation>, usize) {
    let options = |index: usize| -> PullOptions {
        pulling(|options| {
            options.command_hash = Some(wanted[index].command_hash.clone());
            options.content_hash = Some(wanted[index].content_hash.clone());
            options.replaces = replaces.map(|known| known[index].clone()).into_iter().collect();
        })
    };
    let wanted: Vec<_> = names().enumerate().map(|(index, name)| (name, options(index))).collect();
    let mut restored = 0;
    let each = |_, pulled: larder_storage::Result<larder_storage::Pulled>| {
        restored += usize::from(pulled.unwrap().outcome == PullOutcome::Restored);
        ControlFlow::Continue(())
    };
    far.storage().pull_each(&wanted, each).await;
    (far.remote.take_operations(), restored)
}

/// Counts the requests of a kind.
fn count(requests: &[Operation], kind: Operation) -> usize {
    requests.iter().filter(|request| **request == kind).count()
}

#[tokio::test]
async fn missing_pins_take_one_request_each() {
    let far = Far::default();
    let versions = push(&far, "first").await;
    fs::remove_dir_all(far.lab.project.path().join("outputs")).unwrap();
    let (requests, restored) = pull(&far, &versions, None).await;
    assert_eq!(restored, PINS);
    assert_eq!(requests, [Operation::Get; PINS]);
}

#[tokio::test]
async fn pins_that_are_behind_take_two_requests_beside_the_transfer() {
    let far = Far::default();
    let first = push(&far, "first").await;
    let second = push(&far, "second").await;
    let (requests, restored) = pull(&far, &first, Some(&second)).await;
    assert_eq!(restored, PINS);
    assert_eq!(count(&requests, Operation::Get), PINS);
    let others = requests.len() - PINS;
    assert!(others <= 2 * PINS, "{others} requests beside the transfers");
    assert_eq!(count(&requests, Operation::Stat), others, "{requests:?}");
}

#[tokio::test]
async fn a_look_at_pins_takes_one_request_each() {
    let far = Far::default();
    let versions = push(&far, "first").await;
    let versions: Vec<_> = names().zip(versions).collect();
    assert_eq!(far.storage().has_each(&versions).await.unwrap(), [true; PINS]);
    assert_eq!(far.remote.take_operations(), [Operation::Stat; PINS]);
}
