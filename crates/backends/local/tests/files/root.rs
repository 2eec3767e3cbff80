//! The root of a remote: who creates it, and when it is missing.

use std::fs::{self};
use std::os::unix::fs::{MetadataExt, symlink};

use futures::TryStreamExt;
use larder_backend::{
    Backend, BackendExt, CreatedRoot, DeleteOptions, ErrorKind, GetOptions, ListOptions, Prefix,
};
use larder_backend_local::{CreateRoot, LocalBackend, LocalConfig};

use crate::support::{key, list, put, remote, temporaries};

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
    // An unmounted share leaves an empty directory on the device of `/`.
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
    // Reading does not write to an existing remote either.
    fs::create_dir(&root).unwrap();
    assert_eq!(backend.stat(&key("a/c/h")).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(list(&backend, ListOptions::default()).await.is_empty());
    backend.sweep(&[]).await.unwrap();
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
}

#[tokio::test]
async fn a_file_is_not_a_remote() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "x").unwrap();
    // Opening it looks at nothing, so it never waits for a share.
    let backend = LocalBackend::open(LocalConfig::new(&file)).unwrap();
    for error in [backend.stat(&key("a")).await.unwrap_err(), put(&backend, "a", "x").await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::RootMissing);
        assert!(error.to_string().contains("not a directory"), "{error}");
        assert!(error.location().contains("/file"), "{error}");
    }
}

#[tokio::test]
async fn the_root_may_be_a_link_but_nothing_below_it() {
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
    // An upload does not follow links, and does not take them for objects.
    for (name, hint) in [("directory/new", "has to be above it"), ("a/c/file", "not a regular file")] {
        let error = put(&backend, name, "x").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Other, "{error}");
        assert!(error.hint().unwrap().contains(hint), "{error}");
    }
    assert!(!outside.path().join("new").exists());
    assert_eq!(fs::read_to_string(outside.path().join("secret")).unwrap(), "secret");
    assert!(temporaries(root).is_empty());
}
