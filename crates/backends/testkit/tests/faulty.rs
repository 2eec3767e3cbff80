//! Tests of injected faults: each happens to the selected calls only.

#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use bytes::Bytes;
use futures::TryStreamExt;
use larder_backend::{
    Backend, BackendExt, DeleteOptions, ErrorKind, GetOptions, Key, ListOptions, ObjectMeta, Operation,
    Prefix, PutOptions, Result,
};
use larder_testkit::{Effect, Fault, FaultyBackend, Gate, MemoryBackend, payload};

fn key() -> Key {
    Key::parse("a/c/h").unwrap()
}

fn pair() -> (MemoryBackend, FaultyBackend) {
    let memory = MemoryBackend::new();
    (memory.clone(), FaultyBackend::new(memory))
}

async fn put(backend: &FaultyBackend, bytes: Bytes) -> Result<ObjectMeta> {
    let mut upload = backend.begin_put(&key(), PutOptions::default()).await?;
    for chunk in bytes.chunks(10) {
        upload.write(Bytes::copy_from_slice(chunk)).await?;
    }
    upload.commit().await
}

async fn get(backend: &FaultyBackend) -> Result<Bytes> {
    backend.get_bytes(&key(), GetOptions::default(), usize::MAX).await
}

#[tokio::test]
async fn every_operation_can_fail() {
    use Operation::{Close, Commit, Delete, Get, List, Put, Stat, Sweep};

    let (memory, faulty) = pair();
    memory.insert(&key(), "bytes");
    for operation in [Stat, Get, Put, Commit, List, Delete, Sweep, Close] {
        faulty.inject(Fault::new(operation, Effect::Error(ErrorKind::Unavailable)));
        let error = match operation {
            Stat => faulty.stat(&key()).await.unwrap_err(),
            Get => get(&faulty).await.unwrap_err(),
            Put | Commit => put(&faulty, Bytes::new()).await.unwrap_err(),
            List => {
                let listing = faulty.list(&Prefix::root(), ListOptions::default());
                listing.try_collect::<Vec<_>>().await.unwrap_err()
            }
            Delete => faulty.delete(&key(), DeleteOptions::default()).await.unwrap_err(),
            Sweep => faulty.sweep(&[]).await.unwrap_err(),
            _ => faulty.close().await.unwrap_err(),
        };
        assert_eq!((error.kind(), error.operation()), (ErrorKind::Unavailable, operation));
        assert!(error.location().starts_with("memory:"), "{error}");
        assert!(faulty.pending().is_empty());
    }
    assert_eq!(memory.bytes(&key()).unwrap(), "bytes", "a failed delete deletes nothing");
    assert!(memory.open_uploads().is_empty());
}

#[tokio::test]
async fn a_lost_answer_is_of_something_done() {
    let (memory, faulty) = pair();
    faulty.inject(Fault::new(Operation::Commit, Effect::LoseAnswer(ErrorKind::Timeout)));
    let error = put(&faulty, "bytes".into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(memory.bytes(&key()).unwrap(), "bytes");
    assert!(put(&faulty, "bytes".into()).await.unwrap_err().is_already_exists());
}

#[tokio::test]
async fn streams_go_wrong_at_the_byte() {
    let (memory, faulty) = pair();
    // The object has more than one chunk of the remote in memory.
    let bytes = payload(1, 200_000);
    memory.insert(&key(), bytes.clone());
    for position in [0, 1, 65_535, 65_536, 199_999] {
        let at = usize::try_from(position).unwrap();
        faulty.inject(Fault::new(Operation::Get, Effect::TruncateAt(position)));
        assert!(get(&faulty).await.unwrap() == bytes[..at]);

        faulty.inject(Fault::new(Operation::Get, Effect::CorruptAt(position)));
        let damaged = get(&faulty).await.unwrap();
        let differ: Vec<usize> = (0..bytes.len()).filter(|index| bytes[*index] != damaged[*index]).collect();
        assert_eq!(differ, [at]);

        faulty.inject(Fault::new(Operation::Get, Effect::FailAt(position, ErrorKind::Timeout)));
        let mut stream = faulty.get(&key(), GetOptions::default()).await.unwrap().stream;
        let mut read = 0;
        let error = loop {
            match stream.try_next().await {
                Ok(chunk) => read += chunk.unwrap().len(),
                Err(error) => break error,
            }
        };
        assert_eq!((read, error.kind()), (at, ErrorKind::Timeout));
        assert!(stream.try_next().await.unwrap().is_none());
    }
    // The fault is at the very end: all bytes arrive, and the get fails.
    faulty.inject(Fault::new(Operation::Get, Effect::FailAt(200_000, ErrorKind::Timeout)));
    assert_eq!(get(&faulty).await.unwrap_err().kind(), ErrorKind::Timeout);
    assert!(get(&faulty).await.unwrap() == bytes);
}

#[tokio::test]
async fn uploads_go_wrong_at_the_byte() {
    let (memory, faulty) = pair();
    faulty.inject(Fault::new(Operation::Put, Effect::FailAt(25, ErrorKind::NoSpace)));
    assert_eq!(put(&faulty, payload(1, 100)).await.unwrap_err().kind(), ErrorKind::NoSpace);
    assert!(memory.keys().is_empty());
    faulty.inject(Fault::new(Operation::Put, Effect::TruncateAt(25)));
    assert_eq!(put(&faulty, payload(1, 100)).await.unwrap().size, 25);
    memory.remove(&key());
    faulty.inject(Fault::new(Operation::Put, Effect::CorruptAt(25)));
    put(&faulty, payload(1, 100)).await.unwrap();
    assert_ne!(memory.bytes(&key()).unwrap()[25], payload(1, 100)[25]);
}

#[tokio::test]
async fn an_upload_with_a_failed_write_cannot_be_committed() {
    let (memory, faulty) = pair();
    faulty.inject(Fault::new(Operation::Put, Effect::FailAt(1, ErrorKind::Timeout)));
    let mut upload = faulty.begin_put(&key(), PutOptions::default()).await.unwrap();
    assert_eq!(upload.write("bytes".into()).await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(upload.write("bytes".into()).await.unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(upload.commit().await.unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(memory.keys().is_empty());
}

#[tokio::test]
async fn a_stall_ends_with_its_gate() {
    let (memory, faulty) = pair();
    let gate = Gate::new();
    faulty.inject(Fault::new(Operation::Commit, Effect::Stall(gate.clone())));
    let upload = tokio::spawn({
        let faulty = faulty.clone();
        async move { put(&faulty, "bytes".into()).await }
    });
    gate.reached().await;
    assert!(memory.keys().is_empty());
    gate.release();
    upload.await.unwrap().unwrap();

    let gate = Gate::new();
    faulty.inject(Fault::new(Operation::Get, Effect::StallAt(2, gate.clone())));
    let read = tokio::spawn(async move { get(&faulty).await });
    gate.reached().await;
    assert!(!read.is_finished());
    gate.release();
    assert_eq!(read.await.unwrap().unwrap(), "bytes");
}

#[tokio::test]
async fn faults_count_calls_and_know_keys() {
    let (memory, faulty) = pair();
    let other = Key::parse("other").unwrap();
    memory.insert(&key(), "bytes");
    memory.insert(&other, "bytes");
    let fault = Fault::new(Operation::Stat, Effect::Error(ErrorKind::Conflict));
    faulty.inject(fault.clone().on_key(&key()).after(1).times(2));
    let mut failed = Vec::new();
    for _ in 0..5 {
        assert!(faulty.stat(&other).await.is_ok());
        failed.push(faulty.stat(&key()).await.is_err());
    }
    assert_eq!(failed, [false, true, true, false, false]);
    faulty.inject(fault.always());
    for _ in 0..3 {
        assert!(faulty.stat(&other).await.is_err());
    }
    faulty.heal();
    assert!(faulty.stat(&other).await.is_ok());
}

#[tokio::test]
async fn listings_go_wrong_at_the_item() {
    let (memory, faulty) = pair();
    for name in ["a", "b", "c"] {
        memory.insert(&Key::parse(name).unwrap(), "x");
    }
    let list = async || faulty.list(&Prefix::root(), ListOptions::default()).try_collect::<Vec<_>>().await;
    faulty.inject(Fault::new(Operation::List, Effect::TruncateAt(2)));
    assert_eq!(list().await.unwrap().len(), 2);
    faulty.inject(Fault::new(Operation::List, Effect::FailAt(2, ErrorKind::Unavailable)));
    assert_eq!(list().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(list().await.unwrap().len(), 3);
}
