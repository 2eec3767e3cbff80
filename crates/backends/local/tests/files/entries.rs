//! Files and directories of the remote that are not objects, and their modes.

use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;

use larder_backend::{Backend, DeleteOptions, ErrorKind, GetOptions, ListOptions, PutMode, PutOptions};

use crate::support::{key, list, mode, put, remote, temporaries};

#[tokio::test]
async fn other_files_are_neither_listed_nor_read() {
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
async fn modes_follow_the_root_under_any_umask() {
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
    // A process that was killed before it set the mode leaves this.
    fs::set_permissions(root.join("a"), Permissions::from_mode(0o700)).unwrap();
    put(&backend, "a/c/h", "bytes").await.unwrap();
    assert_eq!(mode(&root.join("a")), 0o2775);
    assert_eq!(mode(&root.join("a/c")), 0o2775);
}
