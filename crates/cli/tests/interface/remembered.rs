//! The stat cache of the commands.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use crate::support::Project;

/// Returns the output of a command that must succeed.
fn stdout(project: &Project, arguments: &str) -> String {
    let output = project.command(arguments).output().unwrap();
    assert!(output.status.success(), "{}", Project::show(arguments, &output));
    String::from_utf8(output.stdout).unwrap()
}

fn cache_files(project: &Project) -> usize {
    fs::read_dir(project.path().join(".larder/stat")).map_or(0, Iterator::count)
}

#[test]
fn hashing_uses_the_cache_of_a_project_that_has_a_state_directory() {
    let project = Project::new();
    let hash = stdout(&project, "hash content models/en");
    assert!(!project.path().join(".larder").exists(), "not for a small output");
    fs::create_dir(project.path().join(".larder")).unwrap();
    assert_eq!(stdout(&project, "hash content models/en --no-stat-cache"), hash);
    project.write("larder.toml", "stat_cache = false\n");
    assert_eq!(stdout(&project, "hash content models/en"), hash);
    assert_eq!(cache_files(&project), 0);
    project.write("larder.toml", "");
    assert_eq!(stdout(&project, "hash content models/en"), hash);
    assert_eq!(stdout(&project, "-C models hash content en"), hash);
    assert_eq!(cache_files(&project), 1, "one file, from every directory");
    stdout(&project, "hash command -d models/en -- x");
    assert_eq!(cache_files(&project), 2);

    project.write("models/en/weights", "4321");
    assert_ne!(stdout(&project, "hash content models/en"), hash);
}

#[test]
fn a_large_output_makes_a_project_remember_its_files() {
    let project = Project::new();
    for index in 0..1_000 {
        project.write(&format!("models/en/{index}"), "");
    }
    let hash = stdout(&project, "hash content models/en");
    assert_eq!(fs::read_to_string(project.path().join(".larder/.gitignore")).unwrap(), "*\n");
    assert_eq!(cache_files(&project), 1);
    assert_eq!(stdout(&project, "hash content models/en"), hash);
    // Without a project, nothing is created.
    fs::remove_dir_all(project.path().join(".larder")).unwrap();
    fs::remove_file(project.path().join("larder.toml")).unwrap();
    assert_eq!(stdout(&project, "hash content models/en"), hash);
    assert!(!project.path().join(".larder").exists());
}

#[test]
fn a_cache_that_cannot_be_used_is_no_error() {
    let project = Project::new();
    let hash = stdout(&project, "hash content models/en");
    let state = project.path().join(".larder");
    let elsewhere = project.0.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    symlink(&elsewhere, &state).unwrap();
    assert_eq!(stdout(&project, "hash content models/en"), hash);
    fs::remove_file(&state).unwrap();
    fs::write(&state, "a file").unwrap();
    assert_eq!(stdout(&project, "hash content models/en"), hash);
    fs::remove_file(&state).unwrap();
    fs::create_dir(&state).unwrap();
    symlink(&elsewhere, state.join("stat")).unwrap();
    assert_eq!(stdout(&project, "hash content models/en"), hash);
    fs::remove_file(state.join("stat")).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o500)).unwrap();
    assert_eq!(stdout(&project, "hash content models/en"), hash);
    fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
}
