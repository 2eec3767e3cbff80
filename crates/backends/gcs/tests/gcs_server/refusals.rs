//! Permanent errors and their texts.

use std::process::Command;
use std::time::{Duration, Instant};

use larder_backend::{Backend as _, DeleteOptions, ErrorKind};
use larder_backend_gcs::{GcsBackend, GcsConfig};
use larder_testkit::gcs::{GcsCall, GcsFailure, GcsRule};
use larder_testkit::payload;

use crate::server::{config_of, explained, key, put, read, start};
use crate::trial::Outcome;

pub(crate) async fn permanent_errors_are_not_retried() -> Outcome {
    let cases = [
        (GcsFailure::permission_denied(), ErrorKind::PermissionDenied, "storage.objects."),
        (GcsFailure::unauthenticated(), ErrorKind::Unauthenticated, "log in"),
    ];
    for (failure, kind, hint) in cases {
        let server = start()?;
        let backend = GcsBackend::new(config_of(&server));
        let fired = server.fail(GcsRule::new(failure).always());
        let errors = [
            put(&backend, "a/c/h", payload(1, 10)).await.map(drop).err(),
            read(&backend, "a/c/h").await.map(drop).err(),
            backend.stat(&key("a/c/h")?).await.map(drop).err(),
            backend.delete(&key("a/c/h")?, DeleteOptions::default()).await.err(),
        ];
        assert_eq!(fired.count(), errors.len(), "it was tried again");
        for error in errors {
            let error = error.ok_or("it succeeded")?;
            let said = explained(&error);
            assert_eq!(error.kind(), kind, "{said}");
            assert!(said.contains("gs://larder-tests/some/prefix/a/c/h"), "{said}");
            assert!(said.contains(hint), "{said}");
        }
    }
    Ok(())
}

pub(crate) async fn a_missing_bucket_is_not_a_missing_object() -> Outcome {
    let server = start()?;
    let mut config = config_of(&server);
    "nobodys".clone_into(&mut config.bucket);
    let backend = GcsBackend::new(config);
    for error in [
        put(&backend, "a/c/h", payload(1, 10)).await.map(drop).err(),
        read(&backend, "a/c/h").await.map(drop).err(),
        backend.stat(&key("a/c/h")?).await.map(drop).err(),
    ] {
        let said = explained(&error.ok_or("it succeeded")?);
        assert!(said.contains("no bucket `nobodys`"), "{said}");
    }
    assert_eq!(server.count(|request| request.call() == GcsCall::CreateBucket), 0);
    Ok(())
}

/// Set in a child process whose environment has no credentials, or invalid ones.
const CHILD: &str = "LARDER_TEST_GCS_CHILD";

/// Runs this test in a child process, because credentials come from the environment.
async fn in_child(test: &str, variables: &[(&str, &str)], said: &[&str]) -> Outcome {
    if std::env::var_os(CHILD).is_some() {
        let started = Instant::now();
        let config = GcsConfig::new("larder-tests", "").with_stall_timeout(Some(Duration::from_mins(5)));
        let backend = GcsBackend::new(config);
        let early = backend.get_ready().await.err().ok_or("it is ready")?;
        assert_eq!(early.kind(), ErrorKind::Unauthenticated, "{}", explained(&early));
        let error = backend.stat(&key("a/c/h")?).await.err().ok_or("it was seen")?;
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{}", explained(&error));
        let said_now = explained(&error);
        for part in said {
            assert!(said_now.contains(part), "{said_now}");
        }
        assert!(started.elapsed() < Duration::from_secs(15), "it waited for {:?}", started.elapsed());
        return Ok(());
    }
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--exact", test]).env(CHILD, "1").env("HOME", "/nonexistent");
    command.env_remove("GOOGLE_APPLICATION_CREDENTIALS").envs(variables.iter().copied());
    let output = command.output()?;
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && shown.contains("1 passed"), "{shown}");
    Ok(())
}

pub(crate) async fn missing_credentials_are_reported_at_once() -> Outcome {
    // A missing metadata server, and one that never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0")?;
    let gone = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    for address in [gone, silent.local_addr()?] {
        in_child(
            "refusals::missing_credentials_are_reported_at_once",
            &[("GCE_METADATA_HOST", &address.to_string())],
            &["gcloud auth application-default login", "GOOGLE_APPLICATION_CREDENTIALS", "anonymous=true"],
        )
        .await?;
    }
    Ok(())
}

pub(crate) async fn a_missing_file_of_credentials_is_named() -> Outcome {
    let missing = [("GOOGLE_APPLICATION_CREDENTIALS", "/nonexistent/key.json")];
    in_child(
        "refusals::a_missing_file_of_credentials_is_named",
        &missing,
        &["/nonexistent/key.json", "GOOGLE_APPLICATION_CREDENTIALS"],
    )
    .await
}

pub(crate) async fn credentials_stay_with_google() -> Outcome {
    let server = start()?;
    let mut config = config_of(&server);
    config.options.anonymous = false;
    let error = GcsBackend::new(config).stat(&key("a/c/h")?).await.err().ok_or("it was seen")?;
    let said = explained(&error);
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{said}");
    assert!(said.contains(&server.endpoint()) && said.contains("credentials are not sent there"), "{said}");
    assert_eq!(server.requests().len(), 0);
    Ok(())
}
