//! Every row of `tests/vectors/interpolation.json`.

use std::collections::BTreeMap;
use std::path::Path;

use larder_project::{Overrides, Project};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Row {
    project_yml: String,
    overrides: BTreeMap<String, Value>,
    env: BTreeMap<String, String>,
    weasel_fails: Option<String>,
    script: Option<Vec<Vec<String>>>,
    outputs: Option<Vec<Option<Vec<String>>>>,
    remotes: Option<BTreeMap<String, Value>>,
}

#[test]
fn weasel_reads_or_refuses_every_project_alike() {
    let rows: Vec<Row> = serde_json::from_str(include_str!("../vectors/interpolation.json")).unwrap();
    assert!(rows.len() > 100);
    for row in rows {
        let overrides: Vec<String> =
            row.overrides.iter().map(|(path, value)| format!("--{path}={value}")).collect();
        let overrides = Overrides::parse(overrides.iter().map(String::as_str), None).unwrap();
        let read =
            Project::parse(&row.project_yml, Path::new("/p"), &overrides, &|name| row.env.get(name).cloned());
        let yml = &row.project_yml;
        if row.weasel_fails.is_some() {
            let error = read.expect_err(yml).to_string();
            assert!(error.starts_with("/p/project.yml:"), "{yml}: {error}");
            let names = |what: &str| !yml.contains(what) || error.contains(what);
            assert!(names("vars.x") && names("HOME") && names("vars.missing"), "{yml}: {error}");
            continue;
        }
        let project = read.unwrap_or_else(|error| panic!("{yml}: {error}"));
        let scripts: Vec<_> = project.commands.iter().map(|command| command.script.clone()).collect();
        assert_eq!(Some(scripts), row.script, "{yml}");
        let outputs = row.outputs.unwrap().into_iter().map(Option::unwrap_or_default);
        assert_eq!(
            project.commands.iter().map(|command| command.outputs.clone()).collect::<Vec<_>>(),
            outputs.collect::<Vec<_>>(),
            "{yml}"
        );
        let remotes: BTreeMap<String, Value> = project
            .remotes
            .iter()
            .map(|remote| {
                let value = match &remote.location {
                    Ok(text) => Value::from(text.as_str()),
                    Err(json) => serde_json::from_str(json).unwrap(),
                };
                (remote.name.clone(), value)
            })
            .collect();
        assert_eq!(remotes, row.remotes.unwrap_or_default(), "{yml}");
    }
}
