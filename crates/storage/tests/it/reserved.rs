//! Symlinks in a checkout that lead to the files of git, of larder or of the project.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::support::{Lab, command, output, pulling, pushing};
use larder_storage::{ErrorKind, PullOptions, PushOptions};

/// A project whose remote has the output. The output is no longer in the project, and `g` is a symlink.
async fn lab_with_link(path: &str, target: impl AsRef<Path>) -> Lab {
    let lab = Lab::default();
    lab.write(path, "from the remote");
    lab.storage().push(&output(path), &command("c"), &PushOptions::default()).await.unwrap();
    fs::remove_dir_all(lab.path("g")).unwrap();
    symlink(target, lab.path("g")).unwrap();
    fs::create_dir_all(lab.path(".git/hooks")).unwrap();
    fs::create_dir_all(lab.path(".larder/store")).unwrap();
    lab
}

#[tokio::test]
async fn a_symlink_does_not_lead_a_pull_into_reserved_places() {
    for (target, path, place) in [
        (".git", "g/hooks/pre-commit", ".git/hooks/pre-commit"),
        (".git/hooks", "g/new/x", ".git/hooks/new"),
        (".larder", "g/q", ".larder/q"),
        (".", "g/larder.toml", "larder.toml"),
        (".", "g/project.yml", "project.yml"),
    ] {
        let lab = lab_with_link(path, target).await;
        for change in [
            |_: &mut PullOptions| {},
            |options: &mut PullOptions| options.force = true,
            |options: &mut PullOptions| options.dry_run = true,
        ] {
            let error = lab.storage().pull(&[output(path)], &pulling(change)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage, "{path}: {error}");
            let link = lab.path("g");
            assert!(error.to_string().contains(&format!("{} is a symlink", link.display())), "{error}");
        }
        assert!(!lab.path(place).exists(), "{path}");
    }
}

#[tokio::test]
async fn a_symlink_does_not_lead_a_push_into_reserved_places() {
    let lab = lab_with_link("g/secret", ".git").await;
    symlink(".larder", lab.path("lx")).unwrap();
    symlink(".git/secret", lab.path("direct")).unwrap();
    symlink(".", lab.path("all")).unwrap();
    lab.write(".git/secret", "s");
    lab.write(".larder/q", "q");
    lab.write("larder.toml", "");
    let objects = lab.objects();
    for path in ["g/secret", "lx/q", "direct", "g", "all", "all/larder.toml", "all/g/secret"] {
        for dry_run in [false, true] {
            let options = pushing(|options| options.dry_run = dry_run);
            let error = lab.storage().push(&output(path), &command("c"), &options).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage, "{path}: {error}");
            assert!(error.to_string().contains("is a symlink"), "{error}");
        }
    }
    assert_eq!(lab.objects(), objects);
}

#[tokio::test]
async fn a_repository_above_the_project_is_not_a_destination() {
    let outer = tempfile::tempdir().unwrap();
    fs::create_dir_all(outer.path().join(".git/hooks")).unwrap();
    let lab = lab_with_link("g/hooks/pre-commit", outer.path().join(".git")).await;
    let error = lab.storage().pull(&[output("g/hooks/pre-commit")], &pulling(|_| ())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
    assert!(!outer.path().join(".git/hooks/pre-commit").exists());
}

#[tokio::test]
async fn another_directory_cannot_be_a_reserved_place_either() {
    let lab = lab_with_link("g/x", ".git").await;
    for to in [".git", "g/hooks", ".GIT/hooks", ".larder/tmp", "g/missing/../hooks"] {
        let options = pulling(|options| options.to = Some(lab.path(to)));
        let error = lab.storage().pull(&[output("g/x")], &options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{to}: {error}");
    }
    assert!(!lab.path(".git/g").exists() && !lab.path(".git/hooks/g").exists());
}

#[tokio::test]
async fn other_symlinks_above_an_output_are_followed() {
    let elsewhere = tempfile::tempdir().unwrap();
    let lab = lab_with_link("g/x", elsewhere.path()).await;
    lab.storage().pull(&[output("g/x")], &pulling(|_| ())).await.unwrap();
    assert_eq!(fs::read_to_string(elsewhere.path().join("x")).unwrap(), "from the remote");
    lab.storage().push(&output("g/x"), &command("d"), &PushOptions::default()).await.unwrap();
    lab.storage().push(&output("g"), &command("d"), &PushOptions::default()).await.unwrap();
}
