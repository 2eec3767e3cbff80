//! Reads, listings and deletions while other tasks write.

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::Arc;

use futures::TryStreamExt;
use larder_backend::{Backend, DeleteOptions, ErrorKind, GetOptions, ListOptions};
use larder_testkit::payload;

use crate::support::{key, list, put, remote};

#[tokio::test]
async fn a_file_that_changes_while_it_is_read_is_a_conflict() {
    for grow in [false, true] {
        let (directory, backend) = remote();
        let path = directory.path().join("a");
        put(&backend, "a", payload(1, 8 * 1024 * 1024)).await.unwrap();
        let mut stream = backend.get(&key("a"), GetOptions::default()).await.unwrap().stream;
        assert!(stream.try_next().await.unwrap().is_some());
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        if grow {
            file.write_all(b"more").unwrap();
        } else {
            file.set_len(5_000_000).unwrap();
        }
        let error = stream.try_collect::<Vec<_>>().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert!(error.location().ends_with("/a"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn deleting_beside_an_upload_does_not_harm_it() {
    let (directory, backend) = remote();
    let backend = Arc::new(backend);
    // Each task deletes its object, and so the directory that another task is about to use.
    let tasks: Vec<_> = (0..4)
        .map(|task| {
            let backend = Arc::clone(&backend);
            tokio::spawn(async move {
                for _ in 0..100 {
                    let name = format!("a/c/{task}");
                    put(&backend, &name, "x").await.unwrap();
                    backend.delete(&key(&name), DeleteOptions::default()).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert!(!directory.path().join("a").exists(), "empty directories are removed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_listing_has_the_lasting_objects_while_others_come_and_go() {
    let (_directory, backend) = remote();
    let backend = Arc::new(backend);
    for number in 0..300 {
        put(&backend, &format!("a/c/{number}"), "x").await.unwrap();
    }
    let coming_and_going = {
        let backend = Arc::clone(&backend);
        tokio::spawn(async move {
            for round in 0..100 {
                for name in [format!("a/c/new-{round}"), format!("a/{round}/h"), format!("{round}/c/h")] {
                    put(&backend, &name, "x").await.unwrap();
                    backend.delete(&key(&name), DeleteOptions::default()).await.unwrap();
                }
            }
        })
    };
    while !coming_and_going.is_finished() {
        let stayed = list(&backend, ListOptions::default()).await;
        assert_eq!(
            stayed.iter().filter(|name| name.starts_with("a/c/") && !name.contains("new")).count(),
            300
        );
        assert!(list(&backend, ListOptions::default().with_delimiter()).await.contains(&"a/".to_owned()));
    }
    coming_and_going.await.unwrap();
}
