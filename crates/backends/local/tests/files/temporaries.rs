//! Temporary files of uploads.

use std::fs::{self, File, OpenOptions};
use std::time::{Duration, SystemTime};

use larder_backend::{Backend, BackendExt, ErrorKind, ListOptions, PutOptions};
use larder_testkit::payload;

use crate::support::{key, list, remote, temporaries};

#[tokio::test]
async fn a_sweep_takes_dead_temporaries_and_nothing_else() {
    let (directory, backend) = remote();
    let root = directory.path();
    let mut living = backend.begin_put(&key("a/c/h"), PutOptions::default()).await.unwrap();
    living.write("alive".into()).await.unwrap();
    let [name] = temporaries(root).try_into().unwrap();
    let host = name.split('-').nth(1).unwrap().to_owned();
    let tmp = root.join(".larder/1/tmp");
    let make = |name: &str, age: Duration| {
        let file = File::create(tmp.join(name)).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    };
    let (young, old) = (Duration::from_hours(23), Duration::from_hours(25));
    let elsewhere = "fedcba9876543210";
    make(&format!("put-{host}-0000000000000001"), Duration::ZERO);
    make(&format!("put-{host}-0000000000000002"), old);
    make(&format!("put-{elsewhere}-0000000000000003"), young);
    make(&format!("put-{elsewhere}-0000000000000004"), old);
    make("unknown", old);
    make("put-unknown", old);
    fs::create_dir(tmp.join(format!("put-{host}-0000000000000005"))).unwrap();
    fs::create_dir(root.join(".larder/1/later")).unwrap();
    fs::write(root.join(".larder/1/later/record"), "of a later larder").unwrap();

    backend.sweep(&[]).await.unwrap();
    let mut left = temporaries(root);
    left.sort();
    let mut expected = vec![
        name,
        format!("put-{elsewhere}-0000000000000003"),
        format!("put-{host}-0000000000000005"),
        "put-unknown".to_owned(),
        "unknown".to_owned(),
    ];
    expected.sort();
    assert_eq!(left, expected);
    assert!(root.join(".larder/1/later/record").exists());
    living.commit().await.unwrap();
}

#[tokio::test]
async fn an_upload_without_its_temporary_fails() {
    let (directory, backend) = remote();
    let mut upload = backend.begin_put(&key("a/c/h"), PutOptions::default()).await.unwrap();
    upload.write("bytes".into()).await.unwrap();
    let [name] = temporaries(directory.path()).try_into().unwrap();
    fs::remove_file(directory.path().join(".larder/1/tmp").join(name)).unwrap();
    let error = upload.commit().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Other, "{error}");
    assert!(list(&backend, ListOptions::default()).await.is_empty());
    assert!(list(&backend, ListOptions::default().with_delimiter()).await.is_empty());
}

#[tokio::test]
async fn a_temporary_of_another_length_is_not_published() {
    let (directory, backend) = remote();
    let mut upload = backend.begin_put(&key("a/c/h"), PutOptions::default()).await.unwrap();
    upload.write(payload(1, 3 * 1024 * 1024)).await.unwrap();
    let [name] = temporaries(directory.path()).try_into().unwrap();
    let path = directory.path().join(".larder/1/tmp").join(name);
    // The length is more than is written, so that the order of the two does not matter.
    OpenOptions::new().write(true).open(&path).unwrap().set_len(4 * 1024 * 1024).unwrap();
    let error = upload.commit().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity, "{error}");
    assert!(backend.stat_if_exists(&key("a/c/h")).await.unwrap().is_none());
    assert!(temporaries(directory.path()).is_empty());
}

#[tokio::test]
async fn the_time_of_an_object_is_not_that_of_its_beginning() {
    let (directory, backend) = remote();
    let mut upload = backend.begin_put(&key("a"), PutOptions::default()).await.unwrap();
    upload.write(payload(1, 2 * 1024 * 1024)).await.unwrap();
    let [name] = temporaries(directory.path()).try_into().unwrap();
    let path = directory.path().join(".larder/1/tmp").join(name);
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    // This simulates a long upload without the wait: only its last step may set the time.
    while fs::metadata(&path).unwrap().len() < 2 * 1024 * 1024 {
        tokio::task::yield_now().await;
    }
    File::open(&path).unwrap().set_modified(long_ago).unwrap();
    let before = SystemTime::now() - Duration::from_secs(1);
    assert!(upload.commit().await.unwrap().last_modified >= before);
}
