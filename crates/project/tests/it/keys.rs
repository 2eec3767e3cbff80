//! The rows of `tests/vectors/weasel.json` that apply to projects: the hashes of contents and of commands.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{Entry, Lab};
use larder_project::ExchangeOptions;

#[derive(Deserialize)]
struct Vectors {
    content: Vec<Value>,
    command: Vec<Command>,
    files: Vec<Entry>,
}

#[derive(Deserialize)]
struct Command {
    name: String,
    spacy: Option<String>,
    deps: Vec<String>,
    cmd: Vec<String>,
    weasel: String,
}

#[derive(Deserialize)]
struct Content {
    name: String,
    output: String,
    entries: Vec<Entry>,
    weasel: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../vectors/weasel.json")).unwrap()
}

#[test]
fn commands_have_the_keys_of_weasel_and_of_early_spacy() {
    let vectors = vectors();
    for row in vectors.command {
        let command = json!({"name": "c", "script": row.cmd, "deps": row.deps, "outputs": ["o"]});
        let lab = Lab::new(&json!({"commands": [command]}).to_string());
        vectors.files.iter().for_each(|file| file.make(&lab.root()));
        let mut options = ExchangeOptions::default();
        options.spacy_version =
            row.spacy.map(|version| ExchangeOptions::parse_spacy_version(&version).unwrap());
        let states = lab.with(options, &[], async |exchange| exchange.status().await.unwrap());
        let hash = states[0].command_hash.as_ref().unwrap().as_str();
        assert_eq!(hash, row.weasel, "{}", row.name);
    }
    for other in ["3.7", "4.0", "3", "3.10", "2.3"] {
        assert!(ExchangeOptions::parse_spacy_version(other).is_err(), "{other}");
    }
}

#[test]
fn outputs_have_the_content_hashes_of_weasel() {
    let mut checked = 0;
    for row in vectors().content {
        // The tests of larder-hashing cover FIFOs, hard links and names that are not text.
        let Ok(row) = serde_json::from_value::<Content>(row) else { continue };
        if row.entries.iter().any(|entry| !matches!(entry.kind.as_str(), "file" | "link")) {
            continue;
        }
        let command = json!({"name": "c", "script": [], "outputs": [row.output]});
        let lab = Lab::new(&json!({"commands": [command]}).to_string());
        row.entries.iter().for_each(|entry| entry.make(&lab.root()));
        let states = lab.status();
        assert_eq!(states[0].content_hash.as_ref().unwrap().as_str(), row.weasel, "{}", row.name);
        checked += 1;
    }
    assert!(checked >= 5);
}

#[test]
fn overrides_are_part_of_the_key() {
    let lab =
        Lab::new("vars: {seed: 1}\ncommands: [{name: c, script: ['run ${vars.seed}'], outputs: [o]}]\n");
    let hash = |overrides: &[&str]| {
        lab.with(ExchangeOptions::default(), overrides, async |exchange| {
            exchange.status().await.unwrap()[0].command_hash.clone().unwrap()
        })
    };
    assert_eq!(hash(&[]), hash(&["--vars.seed=1"]));
    assert_ne!(hash(&[]), hash(&["--vars.seed", "2"]));
}
