//! What a directory is as a remote: who may read it, what else is in it, what becomes of leftovers.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::TryStreamExt;
use larder_backend::{
    Backend, BackendExt, CreatedRoot, DeleteOptions, ErrorKind, GetOptions, Key, ListOptions, Listed,
    ObjectMeta, Prefix, PutMode, PutOptions,
};
use larder_backend_local::{CreateRoot, LocalBackend, LocalConfig};
use larder_testkit::payload;
use tempfile::TempDir;

fn remote() -> (TempDir, LocalBackend) {
    let directory = tempfile::tempdir().unwrap();
    let backend = LocalBackend::open(LocalConfig::new(directory.path())).unwrap();
    (directory, backend)
}

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

async fn put(
    backend: &LocalBackend,
    name: &str,
    bytes: impl Into<Bytes>,
) -> larder_backend::Result<ObjectMeta> {
    let mut upload = backend.begin_put(&key(name), PutOptions::default()).await?;
    upload.write(bytes.into()).await?;
    upload.commit().await
}

async fn list(backend: &LocalBackend, options: ListOptions) -> Vec<String> {
    let items: Vec<Listed> = backend.list(&Prefix::root(), options).try_collect().await.unwrap();
    let mut names: Vec<String> = items
        .into_iter()
        .map(|item| match item {
            Listed::Object(meta) => meta.key.to_string(),
            Listed::Prefix(prefix) => prefix.to_string(),
        })
        .collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn temporaries(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root.join(".larder/1/tmp")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn an_upload_creates_as_much_of_the_root_as_it_may() {
    let directory = tempfile::tempdir().unwrap();
    for (create, path, allowed) in [
        (CreateRoot::Never, "never", false),
        (CreateRoot::LastComponent, "last", true),
        (CreateRoot::LastComponent, "no/last", false),
        (CreateRoot::All, "all/of/it", true),
    ] {
        let root = directory.path().join(path);
        let backend = LocalBackend::open(LocalConfig::new(&root).with_create(create)).unwrap();
        assert_eq!(backend.to_string(), root.to_str().unwrap());
        assert!(!root.exists(), "opening creates nothing");
        match put(&backend, "a/c/h", "bytes").await {
            Ok(_) => assert!(allowed, "{path} was created"),
            Err(error) => {
                assert!(!allowed, "{error}");
                assert_eq!(error.kind(), ErrorKind::RootMissing, "{error}");
                assert!(error.hint().is_some(), "{error}");
                assert!(error.to_string().contains(root.to_str().unwrap()), "{error}");
                assert!(!root.exists());
            }
        }
    }
}

#[tokio::test]
async fn a_root_that_no_upload_would_create_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    symlink("nowhere", directory.path().join("link")).unwrap();
    fs::write(directory.path().join("file"), "").unwrap();
    for (create, path) in [
        (CreateRoot::Never, "never"),
        (CreateRoot::LastComponent, "no/last"),
        (CreateRoot::LastComponent, "file/last"),
        (CreateRoot::LastComponent, "link"),
        (CreateRoot::All, "link"),
    ] {
        let config = LocalConfig::new(directory.path().join(path)).with_create(create);
        let backend = LocalBackend::open(config).unwrap();
        let stat = backend.stat(&key("a/c/h")).await.unwrap_err();
        let mut listing = backend.list(&Prefix::root(), ListOptions::default());
        let list = listing.try_next().await.unwrap_err();
        let put = put(&backend, "a/c/h", "x").await.unwrap_err();
        for error in [stat, list, put] {
            assert_eq!(error.kind(), ErrorKind::RootMissing, "{create:?} {path}: {error}");
        }
        assert_eq!(backend.created_root(), None);
    }
}

#[tokio::test]
async fn an_upload_says_how_it_created_the_root() {
    // The device of `/` is where an unmounted share leaves an empty directory.
    let used = tempfile::tempdir_in("/").or_else(|_| tempfile::tempdir()).unwrap();
    let is_on_root_device = fs::metadata(used.path()).unwrap().dev() == fs::metadata("/").unwrap().dev();
    let empty = used.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let in_empty = if is_on_root_device { CreatedRoot::InEmptyParent } else { CreatedRoot::InUsedParent };
    for (root, how) in [(empty.join("root"), in_empty), (used.path().join("root"), CreatedRoot::InUsedParent)]
    {
        let backend = LocalBackend::open(LocalConfig::new(&root)).unwrap();
        assert_eq!(backend.created_root(), None);
        put(&backend, "a/c/h", "x").await.unwrap();
        assert_eq!(backend.created_root(), Some(how), "{}", root.display());
        let again = LocalBackend::open(LocalConfig::new(&root)).unwrap();
        put(&again, "a/c/h2", "x").await.unwrap();
        assert_eq!(again.created_root(), None);
    }
}

#[tokio::test]
async fn reading_creates_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("missing");
    let backend = LocalBackend::open(LocalConfig::new(&root).with_create(CreateRoot::All)).unwrap();
    assert_eq!(backend.stat(&key("a/c/h")).await.unwrap_err().kind(), ErrorKind::NotFound);
    let got = backend.get(&key("a/c/h"), GetOptions::default()).await;
    assert_eq!(got.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(list(&backend, ListOptions::default()).await.is_empty());
    backend.delete(&key("a/c/h"), DeleteOptions::default()).await.unwrap();
    backend.sweep(&[]).await.unwrap();
    assert!(!root.exists());
    // An existing remote is not written to either.
    fs::create_dir(&root).unwrap();
    assert_eq!(backend.stat(&key("a/c/h")).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(list(&backend, ListOptions::default()).await.is_empty());
    backend.sweep(&[]).await.unwrap();
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
}

#[tokio::test]
async fn a_file_is_no_remote() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "x").unwrap();
    let error = LocalBackend::open(LocalConfig::new(&file)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RootMissing);
    assert!(error.to_string().contains("not a directory"), "{error}");
    assert!(error.location().ends_with("/file"));
    // It may become one later.
    let backend = LocalBackend::open(LocalConfig::new(directory.path().join("later"))).unwrap();
    fs::rename(&file, directory.path().join("later")).unwrap();
    for error in [backend.stat(&key("a")).await.unwrap_err(), put(&backend, "a", "x").await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::RootMissing);
        assert!(error.to_string().contains("not a directory"), "{error}");
    }
}

#[tokio::test]
async fn the_root_may_be_a_link_and_what_is_below_may_not() {
    let (directory, backend) = remote();
    let root = directory.path();
    put(&backend, "a/c/h", "bytes").await.unwrap();
    let outside = tempfile::tempdir().unwrap();
    symlink(root, outside.path().join("link")).unwrap();
    let linked = LocalBackend::open(LocalConfig::new(outside.path().join("link"))).unwrap();
    assert_eq!(linked.get_bytes(&key("a/c/h"), GetOptions::default(), 10).await.unwrap(), "bytes");
    put(&linked, "a/c/h2", "bytes").await.unwrap();

    fs::write(outside.path().join("secret"), "secret").unwrap();
    symlink(outside.path().join("secret"), root.join("a/c/file")).unwrap();
    symlink(outside.path(), root.join("directory")).unwrap();
    symlink("/dev/zero", root.join("a/c/zero")).unwrap();
    for name in ["a/c/file", "directory/secret", "a/c/zero"] {
        assert!(backend.stat(&key(name)).await.unwrap_err().is_not_found(), "{name}");
        assert!(backend.get(&key(name), GetOptions::default()).await.unwrap_err().is_not_found(), "{name}");
    }
    assert_eq!(list(&backend, ListOptions::default()).await, ["a/c/h", "a/c/h2"]);
    assert_eq!(list(&backend, ListOptions::default().with_delimiter()).await, ["a/"]);
    for name in ["a/c/file", "directory/secret", "a/c/zero", "a/c"] {
        backend.delete(&key(name), DeleteOptions::default()).await.unwrap();
    }
    assert!(root.join("a/c/file").is_symlink() && outside.path().join("secret").exists());
    // Neither does an upload follow them, nor take them for an object.
    for (name, hint) in [("directory/new", "has to be above it"), ("a/c/file", "not a regular file")] {
        let error = put(&backend, name, "x").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Other, "{error}");
        assert!(error.hint().unwrap().contains(hint), "{error}");
    }
    assert!(!outside.path().join("new").exists());
    assert_eq!(fs::read_to_string(outside.path().join("secret")).unwrap(), "secret");
    assert!(temporaries(root).is_empty());
}

#[tokio::test]
async fn what_is_no_object_is_neither_listed_nor_read() {
    let (directory, backend) = remote();
    let root = directory.path();
    put(&backend, "a/c/h", "bytes").await.unwrap();
    fs::create_dir_all(root.join("empty/of/objects")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, root.join("a/c/fifo"), rustix::fs::Mode::RWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("a/c/socket")).unwrap();
    fs::write(root.join(std::ffi::OsString::from_vec(b"a/c/\xff\xfe".to_vec())), "x").unwrap();
    fs::create_dir(root.join(std::ffi::OsString::from_vec(b"\xff".to_vec()))).unwrap();
    fs::write(root.join(std::ffi::OsString::from_vec(b"\xff/x".to_vec())), "x").unwrap();
    fs::write(root.join("a/new\nline"), "x").unwrap();
    assert_eq!(list(&backend, ListOptions::default()).await, ["a/c/h"]);
    assert_eq!(list(&backend, ListOptions::default().with_delimiter()).await, ["a/"]);
    // Reading the FIFO would wait for a writer.
    for name in ["a/c/fifo", "a/c/socket", "a/c", "empty/of"] {
        assert!(backend.stat(&key(name)).await.unwrap_err().is_not_found(), "{name}");
        assert!(backend.get(&key(name), GetOptions::default()).await.unwrap_err().is_not_found(), "{name}");
    }
}

#[tokio::test]
async fn a_directory_in_the_way_is_named() {
    let (directory, backend) = remote();
    fs::create_dir_all(directory.path().join("a/c/h/x")).unwrap();
    put(&backend, "b", "bytes").await.unwrap();
    for (name, overwrite) in [("a/c/h", false), ("a/c/h", true), ("b/c/h", false), ("b/c/h", true)] {
        let mode = if overwrite { PutMode::Overwrite } else { PutMode::CreateOnly };
        let upload = backend.begin_put(&key(name), PutOptions::new(mode)).await.unwrap();
        let error = upload.commit().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Other, "{error}");
        assert!(error.hint().is_some(), "{error}");
        assert!(error.location().ends_with(name), "{error}");
    }
    assert!(temporaries(directory.path()).is_empty());
}

#[tokio::test]
async fn no_key_reaches_the_temporaries() {
    let (directory, backend) = remote();
    let upload = backend.begin_put(&key("a/c/h"), PutOptions::default()).await.unwrap();
    let [name] = temporaries(directory.path()).try_into().unwrap();
    let temporary = key(&format!(".larder/1/tmp/{name}"));
    assert_eq!(backend.stat(&temporary).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    let get = backend.get(&temporary, GetOptions::default()).await;
    assert_eq!(get.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(
        backend.delete(&temporary, DeleteOptions::default()).await.unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    let begun = backend.begin_put(&key(".larder/1/tmp/x"), PutOptions::default()).await;
    assert_eq!(begun.unwrap_err().kind(), ErrorKind::InvalidInput);
    upload.commit().await.unwrap();
}

#[tokio::test]
async fn modes_are_those_of_the_root_whatever_the_umask() {
    for (root_mode, directory_mode, file_mode) in
        [(0o2770, 0o2770, 0o660), (0o777, 0o777, 0o666), (0o755, 0o755, 0o644), (0o700, 0o700, 0o600)]
    {
        let (directory, backend) = remote();
        let root = directory.path();
        fs::set_permissions(root, Permissions::from_mode(root_mode)).unwrap();
        put(&backend, "a/c/h", "bytes").await.unwrap();
        for path in [".larder", ".larder/1", ".larder/1/tmp", "a", "a/c"] {
            assert_eq!(mode(&root.join(path)), directory_mode, "{path} below {root_mode:o}");
        }
        assert_eq!(mode(&root.join("a/c/h")), file_mode, "below {root_mode:o}");
    }
}

#[tokio::test]
async fn a_directory_that_lost_bits_gets_them_back() {
    let (directory, backend) = remote();
    let root = directory.path();
    fs::set_permissions(root, Permissions::from_mode(0o2775)).unwrap();
    fs::create_dir_all(root.join("a/c")).unwrap();
    // As a process that was killed before it came to the mode.
    fs::set_permissions(root.join("a"), Permissions::from_mode(0o700)).unwrap();
    put(&backend, "a/c/h", "bytes").await.unwrap();
    assert_eq!(mode(&root.join("a")), 0o2775);
    assert_eq!(mode(&root.join("a/c")), 0o2775);
}

#[tokio::test]
async fn a_file_that_shrinks_or_changes_while_it_is_read_is_no_object() {
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
async fn an_upload_whose_temporary_somebody_removed_fails() {
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
    // Longer than what is written, so that it does not matter which of the two comes first.
    OpenOptions::new().write(true).open(&path).unwrap().set_len(4 * 1024 * 1024).unwrap();
    let error = upload.commit().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity, "{error}");
    assert!(backend.stat_if_exists(&key("a/c/h")).await.unwrap().is_none());
    assert!(temporaries(directory.path()).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn deleting_what_is_beside_an_upload_does_not_harm_it() {
    let (directory, backend) = remote();
    let backend = Arc::new(backend);
    // Each deletes what it put, and with it the directory that the other is about to use.
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
async fn a_listing_has_what_stays_while_others_come_and_go() {
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

#[tokio::test]
async fn the_time_of_an_object_is_not_that_of_its_beginning() {
    let (directory, backend) = remote();
    let mut upload = backend.begin_put(&key("a"), PutOptions::default()).await.unwrap();
    upload.write(payload(1, 2 * 1024 * 1024)).await.unwrap();
    let [name] = temporaries(directory.path()).try_into().unwrap();
    let path = directory.path().join(".larder/1/tmp").join(name);
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    // An upload that takes long, without the wait: only its last step may set the time.
    while fs::metadata(&path).unwrap().len() < 2 * 1024 * 1024 {
        tokio::task::yield_now().await;
    }
    File::open(&path).unwrap().set_modified(long_ago).unwrap();
    let before = SystemTime::now() - Duration::from_secs(1);
    assert!(upload.commit().await.unwrap().last_modified >= before);
}
