//! Directories on a server.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use futures::TryStreamExt as _;
use larder_backend::{Backend as _, CreatedRoot, DeleteOptions, ErrorKind, ListOptions, Prefix, UploadToken};
use larder_backend_ssh::{RemotePath, SshBackend};

use crate::server::{Home, key, put, read};
use crate::trial::{DONE, Outcome};

fn mode(path: &Path) -> std::io::Result<u32> {
    Ok(fs::symlink_metadata(path)?.mode() & 0o7777)
}

pub(crate) async fn the_bits_of_the_root_are_those_of_all() -> Outcome {
    let home = Home::new()?;
    let root = home.server().directory()?;
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o2770))?;
    let backend = SshBackend::new(home.config(root.path()));
    put(&backend, "a/c/h", "shared").await?;
    for directory in ["a", "a/c", ".larder", ".larder/1", ".larder/1/tmp"] {
        assert_eq!(mode(&root.path().join(directory))?, 0o2770, "{directory}");
    }
    assert_eq!(mode(&root.path().join("a/c/h"))?, 0o660);
    backend.close().await?;
    DONE
}

pub(crate) async fn links_and_pipes_are_not_objects() -> Outcome {
    let home = Home::new()?;
    let root = home.server().directory()?;
    let elsewhere = home.server().directory()?;
    fs::create_dir_all(elsewhere.path().join("c"))?;
    fs::write(elsewhere.path().join("c/h"), "elsewhere")?;
    let backend = SshBackend::new(home.config(root.path()));
    put(&backend, "real/c/h", "here").await?;
    symlink(elsewhere.path(), root.path().join("linked"))?;
    symlink(root.path().join("real/c/h"), root.path().join("real/c/link"))?;
    let made = std::process::Command::new("mkfifo").arg(root.path().join("real/c/pipe")).status()?;
    assert!(made.success());
    for name in ["linked/c/h", "real/c/link", "real/c/pipe"] {
        assert!(backend.stat(&key(name)?).await.is_err_and(|error| error.is_not_found()), "{name}");
        assert!(read(&backend, name).await.is_err_and(|error| error.is_not_found()), "{name}");
        backend.delete(&key(name)?, DeleteOptions::default()).await?;
        assert!(fs::symlink_metadata(root.path().join(name)).is_ok(), "{name} was deleted");
    }
    let listed: Vec<_> = backend.list(&Prefix::root(), ListOptions::default()).try_collect().await?;
    assert_eq!(listed.len(), 1, "{listed:?}");
    let listed: Vec<_> =
        backend.list(&Prefix::parse("linked")?, ListOptions::default()).try_collect().await?;
    assert!(listed.is_empty(), "{listed:?}");
    backend.close().await?;
    DONE
}

pub(crate) async fn nothing_is_published_through_a_link() -> Outcome {
    let home = Home::new()?;
    let root = home.server().directory()?;
    let elsewhere = home.server().directory()?;
    symlink(elsewhere.path(), root.path().join("a"))?;
    let backend = SshBackend::new(home.config(root.path()));
    let error = put(&backend, "a/c/h", "x").await.err().ok_or("it was published")?;
    assert!(error.hint().is_some_and(|hint| hint.contains("something else has that name")), "{error}");
    assert_eq!(fs::read_dir(elsewhere.path())?.count(), 0);
    assert_eq!(fs::read_dir(root.path().join(".larder/1/tmp"))?.count(), 0);
    backend.close().await?;
    DONE
}

pub(crate) async fn at_most_the_last_directory_of_a_remote_is_made() -> Outcome {
    let home = Home::new()?;
    let above = home.server().directory()?;
    let backend = SshBackend::new(home.config(&above.path().join("missing/root")));
    let error = put(&backend, "a/c/h", "x").await.err().ok_or("it was published")?;
    assert_eq!(error.kind(), ErrorKind::RootMissing, "{error}");
    let error = backend.stat(&key("a/c/h")?).await.err().ok_or("it is there")?;
    assert_eq!(error.kind(), ErrorKind::RootMissing, "{error}");
    assert_eq!(fs::read_dir(above.path())?.count(), 0);
    symlink("nowhere", above.path().join("link"))?;
    let backend = SshBackend::new(home.config(&above.path().join("link")));
    let error = backend.stat(&key("a/c/h")?).await.err().ok_or("it is there")?;
    assert_eq!(error.kind(), ErrorKind::RootMissing, "{error}");
    fs::remove_file(above.path().join("link"))?;
    for (name, how) in [("root", CreatedRoot::InEmptyParent), ("second", CreatedRoot::InUsedParent)] {
        let backend = SshBackend::new(home.config(&above.path().join(name)));
        let error = backend.stat(&key("a/c/h")?).await.err().ok_or("it is there")?;
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        let listing = backend.list(&Prefix::root(), ListOptions::default());
        assert_eq!(listing.try_collect::<Vec<_>>().await?, []);
        backend.delete(&key("a/c/h")?, DeleteOptions::default()).await?;
        assert!(!above.path().join(name).exists(), "reading creates nothing");
        put(&backend, "a/c/h", "x").await?;
        assert_eq!(backend.created_root(), Some(how));
        backend.close().await?;
    }
    DONE
}

pub(crate) async fn a_directory_in_the_way_is_named() -> Outcome {
    let home = Home::new()?;
    let root = home.server().directory()?;
    let backend = SshBackend::new(home.config(root.path()));
    put(&backend, "a/c", "an object").await?;
    fs::create_dir_all(root.path().join("b/c"))?;
    for name in ["a/c/h", "b/c"] {
        let error = put(&backend, name, "x").await.err().ok_or("it was published")?;
        assert!(!error.is_already_exists() && error.hint().is_some(), "{error}");
    }
    assert_eq!(fs::read_dir(root.path().join(".larder/1/tmp"))?.count(), 0);
    backend.close().await?;
    DONE
}

pub(crate) async fn old_temporaries_are_swept_and_young_ones_are_not() -> Outcome {
    let home = Home::new()?;
    let root = home.server().directory()?;
    let backend = SshBackend::new(home.config(root.path()));
    put(&backend, "a/c/h", "x").await?;
    let temporaries = root.path().join(".larder/1/tmp");
    let names = ["put-0000000000000001-0000000000000001", "put-0000000000000002-0000000000000002", "foreign"];
    for (name, hours) in names.iter().zip([25, 23, 100]) {
        let file = fs::File::create(temporaries.join(name))?;
        file.set_modified(SystemTime::now() - Duration::from_hours(hours))?;
    }
    // Without uploads there is no request. A token that leads elsewhere is ignored.
    backend.sweep(&[]).await?;
    assert_eq!(fs::read_dir(&temporaries)?.count(), 3);
    backend.sweep(&[UploadToken::new("../../../a/c/h")]).await?;
    let mut left: Vec<_> = fs::read_dir(&temporaries)?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<Result<_, _>>()?;
    left.sort();
    assert_eq!(left, ["foreign", names[1]]);
    assert_eq!(read(&backend, "a/c/h").await?, "x");
    backend.close().await?;
    DONE
}

pub(crate) async fn a_home_is_where_the_server_says() -> Outcome {
    let home = Home::new()?;
    let mut config = home.config(Path::new("/"));
    config.path = RemotePath::Home(format!("larder-test-{:016x}", fastrand::u64(..)));
    let backend = SshBackend::new(config);
    let error = backend.stat(&key("a/c/h")?).await.err().ok_or("it is there")?;
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(error.location().contains("/~/larder-test-"), "{error}");
    backend.close().await?;
    DONE
}
