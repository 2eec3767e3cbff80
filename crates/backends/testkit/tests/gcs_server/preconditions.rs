//! `request-preconditions`.

use std::sync::Arc;

use larder_testkit::payload;

use crate::client::{BUCKET, QUANTUM, get, put, send, server, start};

/// `request-preconditions`, "ifGenerationMatch", 0: the object is created only if none exists; otherwise 412 with
/// `conditionNotMet`. A resumable upload checks this at its end.
#[tokio::test]
async fn generation_0_stands_for_no_object_when_the_upload_ends() {
    let server = server();
    let urls = [0, 1].map(|_| "object");
    let mut sessions = Vec::new();
    for object in urls {
        sessions.push(start(&server, object, "&ifGenerationMatch=0").await);
    }
    for url in &sessions {
        assert_eq!(put(&server, url, "bytes 0-262143/*", payload(1, QUANTUM)).await.status, 308);
    }
    assert_eq!(put(&server, &sessions[1], "bytes 262144-262144/262145", "1").await.status, 200);
    let lost = put(&server, &sessions[0], "bytes 262144-262144/262145", "0").await;
    assert_eq!((lost.status, lost.reason().as_str()), (412, "conditionNotMet"));
    assert!(server.contents(BUCKET, "object").unwrap().ends_with(b"1"));
    assert!(server.open_uploads().is_empty());
}

/// `request-preconditions`, "Race conditions": one of several concurrent creators wins.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn one_of_8_concurrent_creators_wins() {
    let server = Arc::new(server());
    let creators = (0..8).map(|number| {
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let mut statuses = Vec::new();
            for round in 0..20 {
                let object = format!("{round}");
                let target = if number % 2 == 0 {
                    start(&server, &object, "&ifGenerationMatch=0").await
                } else {
                    let name = format!("name={object}&ifGenerationMatch=0");
                    format!("/upload/storage/v1/b/{BUCKET}/o?uploadType=media&{name}")
                };
                let method = if number % 2 == 0 { "PUT" } else { "POST" };
                statuses.push(send(&server, method, &target, &[], format!("of {number}")).await.status);
            }
            statuses
        })
    });
    let mut all = Vec::new();
    for creator in creators.collect::<Vec<_>>() {
        all.push(creator.await.unwrap());
    }
    for round in 0..20 {
        let mut statuses: Vec<u16> = all.iter().map(|statuses| statuses[round]).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412, 412, 412, 412, 412, 412, 412], "round {round}");
    }
}

/// `request-preconditions`, "Criteria": a matching generation succeeds, and another fails (412). A generation that must not
/// match fails (304 for a read, 412 for a change).
#[tokio::test]
async fn generations_are_compared() {
    let server = server();
    let old = server.insert(BUCKET, "object", b"old");
    let object = format!("/storage/v1/b/{BUCKET}/o/object");
    for (query, status) in [
        (format!("ifGenerationMatch={old}"), 200),
        (format!("ifGenerationMatch={}", old + 1), 412),
        (format!("ifGenerationNotMatch={old}"), 304),
        (format!("ifGenerationNotMatch={}", old + 1), 200),
        ("ifMetagenerationMatch=1".to_owned(), 200),
        ("ifMetagenerationMatch=2".to_owned(), 412),
        ("ifGenerationMatch=x".to_owned(), 400),
    ] {
        assert_eq!(get(&server, &format!("{object}?{query}"), &[]).await.status, status, "{query}");
        let media = get(&server, &format!("{object}?alt=media&{query}"), &[]).await;
        assert_eq!(media.status, status, "{query}");
    }
    let replace = format!("/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name=object&ifGenerationMatch=");
    let new = send(&server, "POST", &format!("{replace}{old}"), &[], "new").await;
    assert_eq!(new.status, 200);
    assert_eq!(send(&server, "POST", &format!("{replace}{old}"), &[], "newer").await.status, 412);
    assert_eq!(
        send(&server, "DELETE", &format!("{object}?ifGenerationMatch={old}"), &[], "").await.status,
        412
    );
    let unchanged = format!("{object}?ifGenerationNotMatch={}", server.objects(BUCKET)[0].generation);
    assert_eq!(send(&server, "DELETE", &unchanged, &[], "").await.status, 412);
    assert_eq!(server.contents(BUCKET, "object").unwrap(), "new");
}
