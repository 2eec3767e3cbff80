//! The documents of `--json`.

use std::fs;

use crate::support::Project;

#[test]
fn documents_of_success() {
    let project = Project::new();
    let content = "blake3-tree-".to_owned() + &"0".repeat(64);
    project.check(
        "documents-of-success",
        &[
            "push models/en metrics.json --command-hash x --json --dry-run",
            "push models/en metrics.json --command-hash x --json",
            "push models/en --command-hash x --json",
            "pull models/en --json",
            "pull metrics.json --json --to elsewhere",
            "pull metrics.json --json --to other --dry-run",
            "find models/en --json",
            "find models/en --json --all",
            &format!("url models/en --command-hash x --content-hash {content} --json"),
            "ls --json",
            "ls models/en --json",
            "hash content models/en metrics.json --json",
            "hash content models/en --json --explain",
            "hash command --json -d metrics.json -- train --fast",
            "hash command --json --explain -d metrics.json -- train --fast",
            "hash env HOME=x UNSET --json --explain --hash sha256",
            "hash content metrics.json --json --hash weasel",
        ],
    );
}

#[test]
fn documents_of_errors() {
    let project = Project::new();
    fs::create_dir(project.0.path().join("team")).unwrap();
    project.check(
        "documents-of-errors",
        &[
            "--json",
            "nonsense --json",
            "push --json",
            "push models/en --command-hash a/b --json",
            "push models/en --nonsense --json",
            "push ../x --json",
            "push models/en -r taem --json",
            "push models/en -r s3:/user:hunter2@bucket --json",
            "push models/en absent metrics.json --command-hash y --json",
            "pull absent --json",
            "pull metrics.json models/de --command-hash y --json",
            "find absent --json",
            "ls absent --json",
            "ls -r ./no/absent --json",
            "hash content absent metrics.json --json",
            "hash command -d absent --json",
            "hash command --key novalue --json",
            "hash site --python ./absent --json",
            "-C absent ls --json",
            "man --json",
        ],
    );
}
