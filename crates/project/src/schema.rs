//! The rules of weasel's schema for a `project.yml`, before its variables are replaced.

use crate::yaml::{MapKey, Node, NodeData, Scalar, repeated};

/// A problem, and its path of keys.
#[derive(Debug, PartialEq)]
pub(crate) struct Violation {
    pub(crate) line: usize,
    pub(crate) key: String,
    pub(crate) problem: String,
}

type CheckResult = Result<(), Violation>;

fn violation(line: usize, key: &str, problem: impl Into<String>) -> CheckResult {
    Err(Violation { line, key: key.to_owned(), problem: problem.into() })
}

/// Checks all sections that weasel checks. Others may hold anything.
pub(crate) fn check(root: &Node) -> CheckResult {
    each_entry(root, "project.yml", |_, name, value| match name {
        "title" => text_or_null(value, name),
        "vars" | "env" => each_entry(value, name, |_, _, _| Ok(())),
        "workflows" => each_entry(value, name, |key, workflow, steps| {
            texts(steps, &format!("{name}.{workflow}"))
                .map_err(|violation| Violation { line: violation.line.max(key.line), ..violation })
        }),
        "assets" => each_item(value, name, asset),
        "commands" => each_item(value, name, command),
        // weasel crashes if these have another type and are not empty.
        "directories" if !value.is_null() => texts(value, name),
        "remotes" if !value.is_null() => each_entry(value, name, |_, _, _| Ok(())),
        _ => Ok(()),
    })?;
    names(root)
}

fn command(value: &Node, path: &str) -> CheckResult {
    each_entry(value, path, |key, name, value| {
        let path = format!("{path}.{name}");
        match name {
            "name" => text(value, &path),
            "help" => text_or_null(value, &path),
            "script" | "deps" | "outputs" | "outputs_no_cache" => texts(value, &path),
            "no_skip" => {
                truth(value).map_or_else(|| violation(value.line, &path, "must be true or false"), |_| Ok(()))
            }
            _ => violation(
                key.line,
                &path,
                "is no key of a command: known are `name`, `help`, `script`, `deps`, `outputs`, `outputs_no_cache`, `no_skip`",
            ),
        }
    })?;
    if value.get("name").is_none() { violation(value.line, path, "has no `name`") } else { Ok(()) }
}

/// Returns the truth value of a scalar that weasel accepts as true or false.
pub(crate) fn truth(value: &Node) -> Option<bool> {
    let NodeData::Scalar(scalar) = &value.data else { return None };
    match scalar {
        Scalar::Bool(value) => Some(*value),
        Scalar::Int(digits) if digits == "0" => Some(false),
        Scalar::Int(digits) if digits == "1" => Some(true),
        Scalar::Float(0.0) => Some(false),
        Scalar::Float(1.0) => Some(true),
        Scalar::Text(text) => match text.to_lowercase().as_str() {
            "1" | "on" | "t" | "true" | "y" | "yes" => Some(true),
            "0" | "off" | "f" | "false" | "n" | "no" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// Checks an asset, which has a `dest` or comes from git.
fn asset(value: &Node, path: &str) -> CheckResult {
    let optional = |name: &str, may_be_null: bool| match value.get(name) {
        Some(value) if may_be_null => text_or_null(value, &format!("{path}.{name}")),
        Some(value) => text(value, &format!("{path}.{name}")),
        None => Ok(()),
    };
    each_entry(value, path, |_, _, _| Ok(()))?;
    if let Some(checksum) = value.get("checksum")
        && !checksum.is_null()
        && !checksum.as_text().is_some_and(has_checksum)
    {
        return violation(checksum.line, &format!("{path}.checksum"), "must be an MD5, of 32 digits of hex");
    }
    if let Some(dest) = value.get("dest")
        && (dest.as_text().is_some() || value.get("git").is_none())
    {
        text(dest, &format!("{path}.dest"))?;
        return optional("url", true).and_then(|()| optional("description", false));
    }
    let Some(git) = value.get("git") else {
        return violation(value.line, path, "has neither `dest` nor `git`");
    };
    let path_of_git = format!("{path}.git");
    each_entry(git, &path_of_git, |_, _, _| Ok(()))?;
    for name in ["repo", "path"] {
        match git.get(name) {
            Some(value) => text(value, &format!("{path_of_git}.{name}"))?,
            None => return violation(git.line, &path_of_git, format!("has no `{name}`")),
        }
    }
    git.get("branch").map_or(Ok(()), |branch| text(branch, &format!("{path_of_git}.branch")))?;
    optional("description", true)
}

fn has_checksum(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_hexdigit()).any(|run| run.len() >= 32)
}

/// Checks that command names are unique, and that workflows contain only names of commands.
fn names(root: &Node) -> CheckResult {
    let commands: Vec<(&str, usize)> = match root.get("commands").map(|node| &node.data) {
        Some(NodeData::List(items)) => items
            .iter()
            .filter_map(|item| item.get("name"))
            .filter_map(|name| Some((name.as_text()?, name.line)))
            .collect(),
        _ => Vec::new(),
    };
    if let Some(name) = repeated(commands.iter().map(|(name, _)| *name)) {
        let line = commands.iter().rev().find(|(other, _)| *other == name).map_or(1, |(_, line)| *line);
        return violation(line, "commands", format!("has two commands with the name `{name}`"));
    }
    let is_command = |name: &str| commands.iter().any(|(command, _)| *command == name);
    let Some(workflows) = root.get("workflows") else { return Ok(()) };
    each_entry(workflows, "workflows", |key, name, steps| {
        let path = format!("workflows.{name}");
        if is_command(name) {
            return violation(key.line, &path, "has the name of a command");
        }
        each_item(steps, &path, |step, _| match step.as_text() {
            Some(step) if is_command(step) => Ok(()),
            _ => violation(
                step.line,
                &path,
                format!("names `{}`, which is no command", step.as_text().unwrap_or("")),
            ),
        })
    })
}

fn each_entry(
    value: &Node,
    path: &str,
    mut check: impl FnMut(&MapKey, &str, &Node) -> CheckResult,
) -> CheckResult {
    let NodeData::Map(entries) = &value.data else {
        return violation(value.line, path, format!("must be a mapping, and is {}", value.kind()));
    };
    for (key, value) in entries {
        let Scalar::Text(name) = &key.scalar else {
            return violation(
                key.line,
                path,
                format!("has the key `{}`, which must be a text: put it in quotes", key.scalar),
            );
        };
        check(key, name, value)?;
    }
    Ok(())
}

fn each_item(value: &Node, path: &str, mut check: impl FnMut(&Node, &str) -> CheckResult) -> CheckResult {
    let NodeData::List(items) = &value.data else {
        return violation(value.line, path, format!("must be a list, and is {}", value.kind()));
    };
    items.iter().enumerate().try_for_each(|(index, item)| check(item, &format!("{path}[{index}]")))
}

fn texts(value: &Node, path: &str) -> CheckResult {
    each_item(value, path, text)
}

fn text(value: &Node, path: &str) -> CheckResult {
    match value.as_text() {
        Some(_) => Ok(()),
        None => {
            violation(value.line, path, format!("must be a text, and is {}: put it in quotes", value.kind()))
        }
    }
}

fn text_or_null(value: &Node, path: &str) -> CheckResult {
    if value.is_null() { Ok(()) } else { text(value, path) }
}
