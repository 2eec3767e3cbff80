//! Outputs that packing refuses.

use std::os::unix::net::UnixListener;

use larder_archive::{Limits, PackError, PackOptions, prepare};
use larder_hashing::Scheme;
use larder_tree::{TreeError, TreeLimits};

use crate::support::{ParseOutput, Project, block_on, plain};

/// Returns the error of both ways to pack the output `d`.
fn refused(project: &Project, options: &PackOptions) -> PackError {
    let prepared =
        block_on(prepare(project.root(), &"d".parse_output(), options)).expect_err("it should be refused");
    let packed = project.pack("d", options).expect_err("it should be refused");
    assert_eq!(packed.to_string(), prepared.to_string());
    packed
}

#[test]
fn special_files_are_refused() {
    for scheme in Scheme::ALL {
        let options = PackOptions::new(scheme);
        let project = Project::new();
        project.file("d/a", "1").fifo("d/sub-pipe");
        let error = refused(&project, &options);
        assert!(
            matches!(&error, PackError::Read(TreeError::Special { path, .. }) if path.ends_with("d/sub-pipe")),
            "{error}"
        );
        let project = Project::new();
        project.directory("d");
        let _socket = UnixListener::bind(project.path("d/socket")).unwrap();
        assert!(matches!(refused(&project, &options), PackError::Read(TreeError::Special { .. })));
    }
}

#[test]
fn links_that_leave_the_output_are_refused() {
    let project = || {
        let project = Project::new();
        project.file("outside", "1").file("d/x/y/z/f", "2");
        project
    };
    let links: [&[(&str, &str)]; 9] = [
        &[("d/bad", "/etc/passwd")],
        &[("d/bad", "../outside")],
        &[("d/bad", "..")],
        &[("d/x/bad", "../../outside")],
        &[("d/bad", "x/../../outside")],
        &[("d/bad", "../d/x")],
        // Inside by its text, but `s` is the top, and its `..` is outside.
        &[("d/x/y/z/s", "../../.."), ("d/x/bad", "y/z/s/../outside")],
        &[("d/x/s", ".."), ("d/x/t", "s"), ("d/x/y/bad", "../t/../d/x")],
        // Outside by its text, although its target is inside.
        &[("d/deep", "x/y/z"), ("d/bad", "deep/../../../x")],
    ];
    for links in links {
        let project = project();
        for (path, target) in links {
            project.link(path, target);
        }
        let error = refused(&project, &plain());
        let PackError::Link { path, .. } = &error else { panic!("{links:?}: {error}") };
        assert!(path.ends_with("bad"), "{links:?}: {error}");
        assert!(error.to_string().contains("replace it"), "it says what to do: {error}");
    }
}

#[test]
fn links_that_stay_are_packed() {
    let project = Project::new();
    project
        .file("d/x/y/f", "1")
        .link("d/l", "x/y/f")
        .link("d/x/up", "..")
        .link("d/x/y/round", "../../x/./y/../y/f")
        .link("d/chain", "x/up/x/up/l")
        .link("d/itself", "itself")
        .link("d/nothing", "no/thing")
        .link("d/dot", ".")
        .link("d/through-a-file", "x/y/f/../g");
    let (_, packed) = project.pack("d", &plain()).unwrap();
    assert_eq!(packed.entries, 12);
}

#[test]
fn limits_are_those_of_unpacking() {
    let project = Project::new();
    project.file("d/a/b/c", "").file("d/a/b/long-name", "");
    let limited = |limits: Limits| project.pack("d", &plain().with_limits(limits)).map(drop);
    let limited_tree = |tree: TreeLimits| limited(Limits::default().with_tree(tree));
    let limits = TreeLimits::default();
    assert!(limited_tree(limits.with_depth(3).with_entries(5).with_path_bytes(13)).is_ok());
    let depth = limited_tree(limits.with_depth(2));
    assert!(matches!(depth, Err(PackError::Read(TreeError::TooDeep { limit: 2, .. }))));
    let entries = limited_tree(limits.with_entries(4));
    assert!(matches!(entries, Err(PackError::Read(TreeError::TooManyEntries { limit: 4, .. }))));
    let path = limited_tree(limits.with_path_bytes(12));
    assert!(matches!(path, Err(PackError::Read(TreeError::PathTooLong { limit: 12, .. }))));
    project.file(format!("d/a/{}", "n".repeat(200)), "");
    let header = limited(Limits::default().with_header_bytes(1024));
    assert!(matches!(header, Err(PackError::Header { limit: 1024, .. })), "{header:?}");
}

#[test]
fn the_staging_of_a_pull_is_refused() {
    let project = Project::new();
    project.file("d/.larder-tmp-7/half", "");
    assert!(matches!(refused(&project, &plain()), PackError::Read(TreeError::Staging { .. })));
}

#[test]
fn missing_files_are_named() {
    let project = Project::new();
    let error = refused(&project, &plain());
    assert!(matches!(&error, PackError::Missing { path } if *path == project.path("d")), "{error}");
}

#[test]
fn loops_are_refused_where_links_are_followed() {
    let project = Project::new();
    project.directory("d").link("d/l", "../d");
    let error = refused(&project, &plain().with_dereference(true));
    assert!(matches!(error, PackError::Read(TreeError::Loop { .. })), "{error}");
}
